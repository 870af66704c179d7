//! What a run was like, in figures.

use crate::Failure;
use crate::options::SystemOptions;
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
    /// From the capture of a frame to the publish of the control that answers it.
    pub latency_ms: Latency,
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

/// Latency in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest.
    pub max: f64,
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
            latency_ms: Latency {
                p50: simulation.latency_p50_ms,
                p99: simulation.latency_p99_ms,
                max: simulation.latency_max_ms,
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
        let Latency { p50, p99, max } = self.latency_ms;
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
        writeln!(f, "  camera to control {p50:.1} ms (99 %: {p99:.1} ms, longest {max:.1} ms)")?;
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
        vitals.broker.torn = 1;
        let report = vitals.report(&options, Duration::from_secs(2), 4);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["frames"], &json["fps"], &json["torn"]), (&60.into(), &30.0.into(), &2.into()));
        assert_eq!(json["both_lanes_fraction"], 0.8);
        assert_eq!(json["missed"], serde_json::json!({"camera_feed": 3, "lane_detection": 0, "vehicle_control": 0}));
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
