//! Scenarios: drives that show whether the vehicle stays in its lane, or stops.
//!
//! A scenario is a [file](Scenario): a road, lines, light, other vehicles, a camera and a vehicle with their faults, and
//! what is expected. [`run`] drives it in lockstep, in one thread, without a clock: the same file and seed give the same
//! report to the byte. Detection, decision and the vehicle's safety monitor are those of the running system; what the
//! channels between them do is given as delays.
//!
//! ```
//! use lkas::scenario::{Scenario, run};
//!
//! let scenario: Scenario = Scenario::parse("a straight road", "duration_s = 3.0\n[camera]\nwidth = 160\nheight = 120")?;
//! let report = run(&scenario, 1)?;
//! assert_eq!(report.frames, 90);
//! # Ok::<(), lkas::Failure>(())
//! ```

mod drive;
mod faults;
mod file;
mod judge;
mod live;
mod parallel;
mod program;
mod real_time;
mod report;
mod sweep;
mod truth;

#[cfg(test)]
mod tests;

pub use drive::{Drive, run};
pub use file::{Expected, Scenario, ScenarioError};
pub(crate) use live::Live;
pub use program::{ScenarioOptions, program};
pub use report::{Outcome, Report};
pub use sweep::{Axis, Stability, Sweep, sweep};
pub use truth::Truth;
