//! How long each step from the camera to the vehicle takes, measured by the process that takes it.

use crate::status::{Took, Vitals};
use core::time::Duration;
use hdrhistogram::Histogram;

/// A step of the way from a frame to the command that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// From a complete frame, before it is sealed, to the publish of the control that answers it.
    CameraToControl,
    /// Drawing or decoding a frame.
    Render,
    /// From a complete frame to its publish: to work out its check value. On a machine with few processors those that it
    /// wakes may run before its writer goes on, which is not counted.
    Write,
    /// From a publish until the process that works with the value has it.
    Wake,
    /// From a frame that was taken to the publish of its detection.
    Detect,
    /// From a detection that was taken to the publish of its control.
    Decide,
    /// From the publish of a control until the vehicle has obeyed it.
    Apply,
}

impl Step {
    const ALL: [Self; 7] =
        [Self::CameraToControl, Self::Render, Self::Write, Self::Wake, Self::Detect, Self::Decide, Self::Apply];

    /// Where a process says it.
    fn place(self, vitals: &mut Vitals) -> &mut Took {
        match self {
            Self::CameraToControl => &mut vitals.latency,
            Self::Render => &mut vitals.latency_render,
            Self::Write => &mut vitals.latency_write,
            Self::Wake => &mut vitals.latency_wake,
            Self::Detect => &mut vitals.latency_detect,
            Self::Decide => &mut vitals.latency_decide,
            Self::Apply => &mut vitals.latency_apply,
        }
    }
}

/// Shorter times count as this; nanoseconds.
const SHORTEST: u64 = 100;
/// Longer times count as this; nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// The times that steps took since the process started.
#[derive(Debug, Default)]
pub struct Latencies {
    /// One for each step that was taken at least once.
    found: [Option<Histogram<u64>>; Step::ALL.len()],
}

impl Latencies {
    /// Notes that a step took so long.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are constants.
    pub fn note(&mut self, step: Step, took: Duration) {
        let new = || Histogram::new_with_bounds(SHORTEST, LONGEST, 3).unwrap_or_else(|_| unreachable!("good bounds"));
        let found = self.found[step as usize].get_or_insert_with(new);
        found.saturating_record(took.as_nanos().try_into().unwrap_or(LONGEST));
    }

    /// Notes that a step took from `start` to `end`, both in nanoseconds of the channels' clock. Where another clock
    /// stamped one of them, the end may lie before the start, which says nothing.
    pub fn note_between(&mut self, step: Step, start: u64, end: u64) {
        if let Some(took) = end.checked_sub(start) {
            self.note(step, Duration::from_nanos(took));
        }
    }

    /// Writes the figures of all steps that were taken. Of the others, a predecessor's stay.
    pub fn write(&self, vitals: &mut Vitals) {
        for (step, found) in Step::ALL.into_iter().zip(&self.found) {
            if let Some(found) = found {
                let ms = |nanoseconds: u64| nanoseconds as f64 * 1e-6;
                *step.place(vitals) = Took {
                    p50_ms: ms(found.value_at_quantile(0.5)),
                    p99_ms: ms(found.value_at_quantile(0.99)),
                    max_ms: ms(found.max()),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_figures_and_a_predecessors_stay() {
        let mut latencies = Latencies::default();
        for milliseconds in 1..=100 {
            latencies.note(Step::Detect, Duration::from_millis(milliseconds));
        }
        latencies.note_between(Step::Wake, 5_000_000, 8_000_000);
        latencies.note_between(Step::Wake, 8_000_000, 5_000_000);
        latencies.note(Step::Write, Duration::MAX);
        let before = Took { p50_ms: 1.0, p99_ms: 2.0, max_ms: 3.0 };
        let mut vitals = Vitals { latency_decide: before, ..Vitals::default() };
        latencies.write(&mut vitals);
        let close = |found: f64, expected: f64| (found - expected).abs() <= expected * 1e-3;
        let Took { p50_ms, p99_ms, max_ms } = vitals.latency_detect;
        assert!(close(p50_ms, 50.0) && close(p99_ms, 99.0) && close(max_ms, 100.0), "{:?}", vitals.latency_detect);
        assert!(close(vitals.latency_wake.max_ms, 3.0), "{:?}", vitals.latency_wake);
        assert!(close(vitals.latency_write.max_ms, 60_000.0), "{:?}", vitals.latency_write);
        assert_eq!(vitals.latency_decide, before);
        assert_eq!(vitals.latency_render, Took::default());
    }
}
