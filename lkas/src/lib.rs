//! The running lane keeping assist system: the steps from a camera frame to a steering command, and the programs made of
//! them.
//!
//! | program | what it does |
//! |---|---|
//! | `lkas` | detection and decision server, with `--broadcast` the broker |
//! | `simulation` | a road, a camera and a vehicle that obeys |
//! | `viewer` | a web page that shows it all |
//! | `lkas demo` | everything at once |
//!
//! Each process owns one channel in shared memory and reads the one before it; none needs another to be alive.
#![forbid(unsafe_code)]

pub mod broker_server;
pub mod calibrate;
pub mod cli;
pub mod decision;
pub mod decision_server;
pub mod demo;
pub mod detection;
pub mod detection_server;
pub mod evaluate;
pub mod feed;
pub mod options;
pub mod report;
pub mod scenario;
pub mod servers;
pub mod signals;
pub mod simulation;
pub mod simulation_program;
pub mod stop;
pub mod supervisor;
pub mod tools;
pub mod tuning;
pub mod viewer;
pub mod vitals;

use std::sync::OnceLock;

/// Why a program ends before it should: a message for a person.
pub type Failure = Box<dyn core::error::Error + Send + Sync>;

static SPEAKER: OnceLock<&'static str> = OnceLock::new();

/// Names this process in what it says.
fn set_speaker(name: &'static str) {
    // A process has one name, set once.
    let _ = SPEAKER.set(name);
}

/// Says something to the person at the terminal. On a terminal it first clears the live line.
fn speak(words: core::fmt::Arguments<'_>) {
    use std::io::{IsTerminal, Write};
    let mut out = std::io::stderr().lock();
    let clear = if out.is_terminal() { "\r\x1b[K" } else { "" };
    // Nobody reads it any more: no reason to stop.
    let _ = writeln!(out, "{clear}[{}] {words}", SPEAKER.get().unwrap_or(&"lkas"));
}

macro_rules! say {
    ($($words:tt)*) => { $crate::speak(format_args!($($words)*)) };
}
pub(crate) use say;
