//! Messages of a lane keeping assist system as plain data for channels and wires: `no_std`, without allocation.
//!
//! Use it with the channels of [`lkas_core`], or with its [`codec`] alone over a wire that finds flipped bits. Do not use
//! it for data that has no fixed size.
//!
//! ```
//! use lkas_messages::{Control, ControlFields, Mode, codec};
//!
//! let drive = ControlFields { mode: Mode::LaneKeeping, throttle: 0.2, brake: 0.0, ..ControlFields::default() };
//! let control = Control::try_from(drive)?;
//! assert_eq!((control.throttle(), control.steering()), (0.2, 0.0));
//!
//! let mut space = [0; 64];
//! let frame = codec::encode_framed(&control, &mut space)?; // for a serial line with a check of its own
//! let received: Control = codec::decode_framed(frame)?;
//! assert_eq!(received.throttle(), 0.2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Messages
//! Each message is two types. The *message* ([`Detection`], [`Control`], [`VehicleState`]) is the memory layout: every
//! bit pattern is a valid value of it, so it can be read from memory that a stranger wrote, and its accessors make each
//! number safe to use. Its *fields* ([`DetectionFields`] and so on) is an ordinary struct with `Option`s, from which a
//! message is built and checked, and which is what goes over a wire. No number stands for "none". An [`Image`] is a
//! header and as many pixels as its slot holds.
//!
//! Time stamps are seconds of the clock of whoever took the frame; on one machine that is the monotonic clock, the
//! same one that stamps a publish. Every message carries the id and the time stamp of the camera frame that it
//! answers, so the age of a steering command is always counted from the frame it was made from.
//!
//! # Guarantees
//! - No bytes make reading or decoding panic, and no number that is read is NaN, infinite or out of its range.
//! - A message says whether its bytes are those that were built together (`is_whole`). That holds in memory: the [`codec`]
//!   leaves check values out and makes them anew, so a wire needs a check of its own.
//! - Whatever can't be understood reads as the safe choice: an unknown control mode is an emergency stop.
//!
//! # Costs
//! A check value over each message: some 20 nanoseconds, and a few hundredths of the copy for a camera frame of 1.44 MB, where
//! the processor has the instructions for it (x86-64, 64-bit Arm) and the feature `std` finds them while the program runs.
//! Without the feature, those that the program was built for are used; without any, tables of 16 KiB and about a sixth of
//! that speed. The values are the same.
//!
//! # Limits
//! Images of up to 16384 x 16384 pixels; names of up to 32 bytes.
#![no_std]
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::std_instead_of_core)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

mod checksum;
pub mod codec;
mod control;
mod detection;
mod error;
#[allow(unsafe_code)] // a payload whose size is only known at run time
mod image;
pub mod names;
mod numbers;
mod vehicle;

pub use checksum::checksum;
pub use control::{Control, ControlFields, Departure, Mode};
pub use detection::{Detection, DetectionFields, Lane};
pub use error::{CodecError, MessageError};
pub use image::{Image, ImageHeader, ImageShape, ImageView, MAX_IMAGE_SIDE, PixelFormat, UncheckedImage};
pub use names::NameError;
pub use vehicle::{VehicleState, VehicleStateFields};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
