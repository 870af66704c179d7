//! What a drive was like.

use super::truth::Truth;
use core::fmt;
use serde::{Deserialize, Serialize};

/// How a drive goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// From its start to the end, without a safe stop.
    Drives,
    /// It drives, and comes to a safe stop at least once.
    Stops,
    /// It comes no further than a metre.
    NeverStarts,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drives => "drives",
            Self::Stops => "stops",
            Self::NeverStarts => "never starts",
        })
    }
}

/// A vehicle that came no further than this has not started, in metres.
const STARTED_M: f64 = 1.0;

/// A drive in figures. Offsets are distances of the vehicle's middle from that of its lane, from the ground truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// The seed that noise was drawn from.
    pub seed: u64,
    /// Frames taken.
    pub frames: u64,
    /// Distance driven, in metres.
    pub distance_m: f64,
    /// Largest offset while moving, in metres.
    pub max_offset_m: f64,
    /// Mean offset while moving, in metres.
    pub mean_offset_m: f64,
    /// For how long a wheel was on or over a line while moving, in seconds.
    pub outside_s: f64,
    /// The part of it that was faster than 5 km/h without a safe stop begun before, in seconds: expected is 0.
    pub outside_unstopped_s: f64,
    /// Largest sideways acceleration, in m/s².
    pub max_sideways: f64,
    /// Largest speed in km/h.
    pub max_speed_kmh: f64,
    /// Safe and emergency stops begun while moving.
    pub stops: u64,
    /// When the first one began, in seconds.
    pub first_stop_s: Option<f64>,
    /// Stops that ended before the vehicle stood: expected is 0.
    pub broken_off: u64,
    /// Longest time from the beginning of a stop to standstill, in seconds.
    pub time_to_stop_s: f64,
    /// Why the first one began.
    pub reason: Option<String>,
    /// Frames in which a line of confidence 0.5 or more was wrong by more than 0.3 m, 5 or 12 m ahead.
    pub wrong_lines: u64,
    /// Lines of confidence 0.5 or more.
    pub sure_lines: u64,
    /// Frames in which both lines had a confidence of 0.5 or more.
    pub both_sure: u64,
    /// Whether the vehicle moved at the end.
    pub drives_at_end: bool,
    /// What was expected and did not hold; empty where all did.
    pub failures: Vec<String>,
    /// What was really so in each frame, where that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truths: Vec<Truth>,
}

impl Report {
    /// How the drive went.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.distance_m < STARTED_M {
            Outcome::NeverStarts
        } else if self.stops > 0 || !self.drives_at_end {
            Outcome::Stops
        } else {
            Outcome::Drives
        }
    }

    /// Whether all that was expected held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        write!(
            f,
            "{:<28} {verdict}  {:<12}  offset max {:.2} mean {:.2} m  outside {:.1} s  {} stops",
            self.name,
            self.outcome().to_string(),
            self.max_offset_m,
            self.mean_offset_m,
            self.outside_s,
            self.stops
        )?;
        if self.stops > 0 {
            write!(f, ", standing after {:.1} s", self.time_to_stop_s)?;
        }
        write!(f, "  {:.0} m, up to {:.0} km/h", self.distance_m, self.max_speed_kmh)?;
        if self.wrong_lines > 0 {
            write!(f, "  {} of {} sure lines wrong", self.wrong_lines, self.sure_lines)?;
        }
        if let Some(reason) = &self.reason {
            write!(f, "  ({reason})")?;
        }
        for failure in &self.failures {
            write!(f, "\n    {failure}")?;
        }
        Ok(())
    }
}
