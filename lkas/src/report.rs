//! What a run was like, in figures.

use crate::Failure;
use crate::options::SystemOptions;
use crate::status::Took;
use crate::vitals::Vitals;
use core::fmt;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The figures of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Frames that the camera published.
    pub frames: u64,
    /// Detections published.
    pub detections: u64,
    /// Controls published.
    pub controls: u64,
    /// Frames a second, over the whole run; none for a run of less than a second.
    pub fps: Option<f64>,
    /// For each channel, how many values were replaced before the process that works with them took them.
    pub missed: BTreeMap<String, u64>,
    /// Values that were not whole, found by whoever read them.
    pub torn: u64,
    /// Of the frames in which lanes were looked for, the share in which both were found; 0 to 1.
    pub both_lanes_fraction: f64,
    /// From a complete frame to the publish of the control that answers it, in milliseconds.
    pub latency_ms: Took,
    /// The same step by step, and the steps before and after it; see [`Step`](crate::latency::Step).
    pub steps_ms: Steps,
    /// Distance of the vehicle from the middle of its lane while it drove: the simulation's own, or, where pictures are
    /// replayed, as the decision server sees it.
    pub lateral_offset_m: Offset,
    /// How often a process began a safe stop.
    pub safe_stops: u64,
    /// How often a process was started again.
    pub restarts: u64,
}

/// A run that is shorter has no rate: two frames close to each other would make one of thousands a second.
pub const A_RATE_NEEDS: Duration = Duration::from_secs(1);

/// How long each step from the camera to the vehicle took, in milliseconds and in their order.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Steps {
    /// Drawing or decoding a frame.
    pub render: Took,
    /// From a complete frame to its publish.
    pub write: Took,
    /// Until detection has it.
    pub wake_detection: Took,
    /// Until the detection is published.
    pub detect: Took,
    /// Until decision has it.
    pub wake_decision: Took,
    /// Until the control is published.
    pub decide: Took,
    /// Until the vehicle has obeyed it.
    pub apply: Took,
}

impl Steps {
    fn named(&self) -> [(&'static str, Took); 7] {
        let Self { render, write, wake_detection, detect, wake_decision, decide, apply } = *self;
        [
            ("render", render),
            ("write", write),
            ("wake detection", wake_detection),
            ("detect", detect),
            ("wake decision", wake_decision),
            ("decide", decide),
            ("apply", apply),
        ]
    }
}

/// Distance in metres.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Offset {
    /// Mean.
    pub mean_abs: f64,
    /// Largest.
    pub max_abs: f64,
}

/// The latest vitals of every process.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllVitals {
    /// Of the simulation.
    pub simulation: Vitals,
    /// Of the detection server.
    pub detection: Vitals,
    /// Of the decision server.
    pub decision: Vitals,
    /// Of the broker.
    pub broker: Vitals,
}

impl AllVitals {
    /// The figures of a run in which the camera ran for `filmed`.
    #[must_use]
    pub fn report(&self, options: &SystemOptions, filmed: Duration, restarts: u64) -> Report {
        let Self { simulation, detection, decision, broker } = self;
        let missed = [
            (&options.camera, detection.missed),
            (&options.detections, decision.missed),
            (&options.controls, simulation.missed),
        ];
        Report {
            frames: simulation.published,
            detections: detection.published,
            controls: decision.published,
            fps: (filmed >= A_RATE_NEEDS).then(|| simulation.published as f64 / filmed.as_secs_f64()),
            missed: missed.map(|(name, missed)| (name.clone(), missed)).into(),
            torn: simulation.torn + detection.torn + decision.torn + broker.torn,
            both_lanes_fraction: detection.both_lanes as f64 / detection.published.max(1) as f64,
            latency_ms: simulation.latency,
            steps_ms: Steps {
                render: simulation.latency_render,
                write: simulation.latency_write,
                wake_detection: detection.latency_wake,
                detect: detection.latency_detect,
                wake_decision: decision.latency_wake,
                decide: decision.latency_decide,
                apply: simulation.latency_apply,
            },
            lateral_offset_m: Offset { mean_abs: simulation.offset_mean_abs_m, max_abs: simulation.offset_max_abs_m },
            safe_stops: simulation.safe_stops + decision.safe_stops,
            restarts,
        }
    }
}

impl Report {
    /// Writes the report as JSON.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").map_err(|why| format!("can't write the report {}: {why}", path.display()))?;
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed: Vec<_> = self.missed.iter().map(|(name, missed)| format!("{name} {missed}")).collect();
        let Took { p50_ms, p99_ms, max_ms } = self.latency_ms;
        let Offset { mean_abs, max_abs } = self.lateral_offset_m;
        let rate = self.fps.map_or_else(String::new, |fps| format!(" ({fps:.1} a second)"));
        writeln!(f, "  frames            {}{rate}", self.frames)?;
        writeln!(
            f,
            "  detections        {} (both lanes in {:.1} %)",
            self.detections,
            self.both_lanes_fraction * 100.0
        )?;
        writeln!(f, "  controls          {}", self.controls)?;
        writeln!(f, "  missed            {}", missed.join(", "))?;
        writeln!(f, "  torn              {}", self.torn)?;
        writeln!(f, "  camera to control {p50_ms:.2} ms (99 %: {p99_ms:.2} ms, longest {max_ms:.1} ms)")?;
        for (step, Took { p50_ms, p99_ms, max_ms }) in self.steps_ms.named() {
            writeln!(f, "    {step:<15} {p50_ms:.3} ms (99 %: {p99_ms:.3} ms, longest {max_ms:.1} ms)")?;
        }
        writeln!(f, "  lateral offset    {mean_abs:.2} m on average, {max_abs:.2} m at most")?;
        write!(f, "  safe stops        {}, restarts {}", self.safe_stops, self.restarts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        system: SystemOptions,
    }

    #[test]
    fn the_json_has_the_keys_that_are_promised() {
        let options = Line::parse_from(["test"]).system;
        let mut vitals = AllVitals::default();
        vitals.simulation.published = 60;
        vitals.detection = Vitals { published: 50, both_lanes: 40, missed: 3, torn: 1, ..Vitals::default() };
        vitals.decision.latency_wake = Took { p50_ms: 0.25, p99_ms: 0.5, max_ms: 1.0 };
        vitals.broker.torn = 1;
        let report = vitals.report(&options, Duration::from_secs(2), 4);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["frames"], &json["fps"], &json["torn"]), (&60.into(), &30.0.into(), &2.into()));
        assert_eq!(json["both_lanes_fraction"], 0.8);
        assert_eq!(json["missed"], serde_json::json!({"camera_feed": 3, "lane_detection": 0, "vehicle_control": 0}));
        let steps = json["steps_ms"].as_object().unwrap();
        let named = report.steps_ms.named().map(|(name, _)| name.replace(' ', "_"));
        assert_eq!(steps.len(), named.len());
        assert!(named.iter().all(|name| steps[name]["p99"].is_f64()), "{steps:?}");
        assert_eq!(json["steps_ms"]["wake_decision"], serde_json::json!({"p50": 0.25, "p99": 0.5, "max": 1.0}));
        for key in ["detections", "controls", "safe_stops", "restarts"] {
            assert!(json[key].is_u64(), "{key}");
        }
        for (key, inner) in
            [("latency_ms", &["p50", "p99", "max"][..]), ("lateral_offset_m", &["mean_abs", "max_abs"][..])]
        {
            for inner in inner {
                assert!(json[key][inner].is_f64(), "{key}.{inner}");
            }
        }
    }

    #[test]
    fn a_run_of_two_looks_has_no_rate() {
        let options = Line::parse_from(["test"]).system;
        let mut vitals = AllVitals::default();
        vitals.simulation.published = 3;
        let report = vitals.report(&options, Duration::from_nanos(1), 0);
        assert!(!report.to_string().contains("a second"), "{report}");
        assert_eq!(serde_json::to_value(&report).unwrap()["fps"], serde_json::Value::Null);
    }
}
