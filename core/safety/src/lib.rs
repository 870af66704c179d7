//! What a vehicle executes when controls are late, stale, damaged or gone: a state machine, `no_std`, without allocation.
//!
//! Use it in whatever moves a vehicle: it is asked at each step what to execute now, and answers with the last control or
//! with a safe stop of its own. It knows neither channel nor clock, so it runs on a microcontroller as well as on Linux,
//! where `lkas-shm`'s `ControlSupervisor` brings both.
//!
//! ```
//! use lkas_messages::{Control, ControlFields, Mode};
//! use lkas_safety::{LastControl, Reason, SafetyEvent, SafetyMonitor, SafetyOptions};
//!
//! let mut monitor = SafetyMonitor::new(SafetyOptions::default());
//! let drive = ControlFields { mode: Mode::LaneKeeping, steering: 0.2, brake: 0.0, ..Default::default() };
//! let control = Control::try_from(drive)?;
//!
//! let last = Some(LastControl { control, age_s: 0.015, contract: Ok(None) });
//! let (execute, events) = monitor.decide(0.01, 1.0, last, false, || None);
//! assert_eq!((execute.mode(), execute.steering()), (Mode::LaneKeeping, 0.2));
//! assert_eq!(events, [SafetyEvent::Started]);
//!
//! // Nothing came for 0.3 s, and there is nobody to send anything.
//! let (execute, events) = monitor.decide(0.01, 1.3, None, false, || Some(Reason::WriterDied));
//! assert_eq!((execute.mode(), execute.throttle(), execute.brake()), (Mode::EmergencyStop, 0.0, 0.6));
//! assert_eq!(execute.steering(), 0.2, "held: a curve goes on");
//! assert_eq!(
//!     events[0].to_string(),
//!     "safe stop: the last control is 0.32 s old (limit 0.25 s); the writer of the controls died",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//! - A control that is too old, damaged, from the future or without a promise that makes sense is never executed.
//! - A safe stop ends only at standstill, after fresh controls for a while.
//! - No numbers make it panic: options that make no sense stop rather than drive.
//!
//! # Costs
//! A fixed number of steps and one check value (over 64 bytes) for each decision.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::std_instead_of_core)]

mod age;
mod event;
mod latch;
mod monitor;
mod options;
mod state;

pub use age::LastControl;
pub use event::{Reason, SafetyEvent, SafetyEvents};
pub use monitor::SafetyMonitor;
pub use options::SafetyOptions;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
