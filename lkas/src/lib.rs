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
#![deny(unsafe_code)] // but for the calls of libturbojpeg

pub mod actions;
pub mod broker_server;
pub mod calibrate;
pub mod cli;
pub mod config;
pub mod decision;
pub mod decision_server;
pub mod demo;
pub mod detection;
pub mod detection_server;
pub mod encoding;
pub mod evaluate;
pub mod feed;
mod files;
pub mod foxglove;
mod inlet;
pub mod keygen;
pub mod latency;
pub mod log;
pub mod network;
pub mod notify;
mod number;
pub mod options;
pub mod orphans;
mod pace;
pub mod priority;
mod processes;
pub mod record;
pub mod report;
pub mod scenario;
pub mod servers;
pub mod signals;
pub mod simulation;
pub mod simulation_program;
pub mod status;
pub mod stop;
pub mod supervisor;
pub mod tools;
pub mod tuning;
pub mod viewer;
pub mod vitals;

/// Why a program ends before it should: a message for a person.
pub type Failure = Box<dyn core::error::Error + Send + Sync>;
