//! Latest-value channels in POSIX shared memory.
//!
//! Use it when processes on one Linux machine each need the newest value of something (a camera frame, a detection, a
//! command), at full rate, and must survive each other's death. Do not use it where every value has to arrive, between
//! machines, or between users who do not trust each other: whoever may write to a segment can make its readers see
//! garbage, and crash them by truncating it.
//!
//! ```
//! use lkas_messages::{Control, ControlFields, Mode};
//! use lkas_shm::{ChannelName, ControlChannel, Options, Wait};
//! use std::time::Duration;
//!
//! # let name = format!("doc-{}", std::process::id());
//! # let second = Duration::from_secs(1);
//! let name: ChannelName = name.parse()?;
//! let mut writer = ControlChannel::create(&name, Options::default())?;
//! let mut reader = ControlChannel::open(&name, second)?; // in another process
//!
//! let drive = ControlFields { mode: Mode::LaneKeeping, throttle: 0.2, brake: 0.0, ..Default::default() };
//! writer.publish(Control::try_from(drive)?);
//!
//! assert_eq!(reader.wait(second), Wait::Fresh);
//! let control = reader.take().expect("it is fresh");
//! assert_eq!((control.sequence(), control.throttle()), (1, 0.2));
//! # drop(control);
//! # drop((writer, reader));
//! # lkas_shm::unlink(&name)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Feed`] is a reader that finds its channel again when that is replaced. A [`ControlSupervisor`] is one for
//! whatever moves a vehicle: it says what to execute now, and stops the vehicle when controls stop coming.
//!
//! # Guarantees
//! - A value is never torn, the sequence numbers of a segment only rise, what was replaced before it was taken is counted
//!   as missed. A segment that replaces another begins anew at 1, unless its [writer moved](Writer::check_name).
//! - Publishing and taking never block and never retry without bound, whatever the other side does.
//! - A process may die at any instruction. Roles are locks of the kernel that die with it; a successor takes over and
//!   goes on; nothing has to be cleaned up.
//! - Nobody sees half a segment: it gets its name when it is complete, with all its memory reserved.
//!
//! # Costs
//! A channel with `R` reader places is one page, `R` mailboxes of 128 bytes and `R + 2` slots. Publishing is a
//! compare-and-swap for each place and a reading of the clock; taking is one read-modify-write, and a load when there is
//! nothing new. System calls happen only to sleep and to wake; a writer that takes over wakes everybody once.
//!
//! # Limits
//! Linux on little-endian machines, 1 to 29 readers for a channel, one size of value for each channel. Truncating a
//! live segment kills who uses it: keep its permissions tight.
#![deny(unsafe_code)]

// So that what the derive macros write works in this crate, too.
extern crate self as lkas_shm;

mod channel_type;
#[allow(unsafe_code)] // the end of a writer that a fork must not run
mod channels;
#[allow(unsafe_code)] // locks that rustix does not have
mod claim;
pub mod clock;
mod deadline;
mod description;
mod error;
mod feed;
mod fields;
#[allow(unsafe_code)] // handlers of a fork
mod fork;
mod header;
mod limits;
#[allow(unsafe_code)] // mapped memory
mod mapping;
mod name;
#[allow(unsafe_code)] // copies what others write meanwhile
mod observer;
mod options;
mod page;
#[allow(unsafe_code)] // words that the watcher looks at
mod poll;
#[allow(unsafe_code)] // roles, for which locks vouch
mod roles;
#[allow(unsafe_code)] // ends the role of a segment that it removes
mod segment;
#[cfg(feature = "vehicle")]
mod supervisor;
#[cfg(feature = "stream")]
#[allow(unsafe_code)] // words that the watcher looks at
mod updates;
#[cfg(feature = "vehicle")]
mod vehicle;
#[allow(unsafe_code)] // words to sleep on
mod wait;
mod waitset;
#[allow(unsafe_code)] // words of readers that are in use
mod watcher;

pub use channel_type::ChannelType;
pub use channels::{AnyChannel, Channel, Loan, NameCheck, Reader, Wait, Writer};
pub use deadline::{Deadline, DeadlineReader, Gone, Received};
pub use description::Description;
pub use error::{CreateError, HeaderError, OpenError, TypeError, UnlinkError, Warning};
pub use feed::Feed;
pub use fields::{DescribedField, FieldKind, FieldValue, PresentBit};
pub use header::MAGIC;
pub use limits::Limit;
// Also for what the derive macros write.
pub use lkas_core;
pub use lkas_core::traits::{Enumeration, Message};
pub use lkas_core::{
    Bool, Code, Contract, ContractError, Latest, MAX_READERS, Observed, Overtaken, Payload, Plain, Promise, Reading,
    Sample, Scalar, Text, Verdict, WriterIdentity,
};
pub use lkas_derive::{ShmEnumeration as Enumeration, ShmMessage as Message};
#[cfg(feature = "vehicle")]
pub use lkas_safety::{LastControl, Reason, SafetyEvent, SafetyEvents, SafetyMonitor, SafetyOptions};
pub use name::{ChannelName, ChannelNameError, MAX_NAME};
pub use observer::{Observation, Observer, ReaderPlace, channels};
pub use options::{Memory, OpenOptions, Options};
pub use page::Page;
pub use poll::PollReader;
pub use segment::{unlink, unlink_foreign};
#[cfg(feature = "vehicle")]
pub use supervisor::{ControlSupervisor, ReceivedControl};
#[cfg(feature = "stream")]
pub use updates::Updates;
#[cfg(feature = "vehicle")]
pub use vehicle::{ControlChannel, DetectionChannel, ImageChannel, PixelsError, UncheckedImageChannel};
pub use waitset::{WaitSet, Waitable};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
