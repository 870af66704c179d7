//! x
#![no_std]
#[cfg(any(test, lkas_loom))]
extern crate std;

mod checksum;
mod error;
pub mod messages;
pub mod names;
pub use checksum::checksum;
pub use error::*;
