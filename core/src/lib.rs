//! Latest-value channels: lock-free, wait-free, `no_std`, without allocation.
//!
//! Use a [`Channel`] where one side produces values at its own pace and others need the newest one, whole, at theirs: an
//! interrupt and a main loop, a control loop and a logger. Do not use it where every value has to arrive.
//!
//! ```
//! use lkas_core::Channel;
//!
//! let mut channel = Channel::<[f32; 2], 2>::new(); // steering and throttle; in a static: it is const
//! let (mut writer, [mut vehicle, _display]) = channel.split();
//!
//! writer.publish([-0.1, 0.2], 1_000);
//!
//! let control = vehicle.take().expect("something new");
//! assert_eq!((*control, control.sequence(), control.time()), ([-0.1, 0.2], 1, 1_000));
//! ```
//!
//! # Guarantees
//! - A value is never torn, and does not change while it is looked at.
//! - A take returns the newest value; each is new at most once; sequence numbers only rise in one
//!   channel's memory; what was skipped is counted.
//! - Both sides are wait-free with constant bounds, counted in atomic operations, whatever the other side does. Both may
//!   stop for ever at any instruction, and a successor goes on.
//!
//! # Costs
//! A publish is at most three compare-and-swaps for each reader, a take one read-modify-write, a take of nothing new one
//! load; none depends on the payload's size. Memory is two words for each reader, and two slots more than there are readers. With
//! the feature `cache-padded` each of these has cache lines of its own.
//!
//! # Limits
//! One writer, 1 to 29 readers, one size of value for each channel. Payloads are [plain](Plain) data: any bit pattern is a
//! value. A struct of your own becomes one by `#[derive(Message)]`.
//!
//! # Parts
//! [`Channel`] is the protocol in static memory, [`View`] the same over any other memory; the crate `lkas-shm` puts it
//! into shared memory. The design document in the repository says why it all holds.
#![no_std]
#![deny(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::std_instead_of_core)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, lkas_loom))]
extern crate std;
// So that what the derive macros write works in this crate, too.
extern crate self as lkas_core;

mod channel;
mod contract;
#[cfg(lkas_loom)]
pub mod fault;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect;
mod layout;
#[cfg(target_has_atomic = "64")]
mod live;
#[allow(unsafe_code)] // the word that readers sleep on, handed out
mod mailbox;
#[allow(unsafe_code)] // what is plain
mod message;
#[cfg(target_has_atomic = "64")]
#[allow(unsafe_code)] // copies what may change meanwhile
mod observe;
#[cfg(feature = "alloc")]
#[allow(unsafe_code)] // halves that keep the memory alive
mod owned;
#[allow(unsafe_code)] // the contract of a payload
mod payload;
#[allow(unsafe_code)] // opens slots that the protocol grants it
mod reader;
#[allow(unsafe_code)] // what a slot is
mod slots;
mod sync;
#[allow(unsafe_code)] // finds all memory
mod view;
#[allow(unsafe_code)] // opens slots that the protocol grants it
mod writer;

pub use channel::Channel;
pub use contract::{Contract, ContractError, Promise, Reading, Verdict};
pub use layout::{Layout, LayoutError, MAX_READERS};
#[cfg(target_has_atomic = "64")]
pub use live::{LiveWords, WriterIdentity};
#[cfg(feature = "derive")]
pub use lkas_derive::{Enumeration, Message};
pub use mailbox::{MailboxState, SleepWord};
pub use message::{
    Bool, Code, DescriptionText, Enumeration, Field, Integer, Kind, MAX_DESCRIPTION, MAX_TYPE_NAME, Message, Scalar,
    Text, description, fingerprint, fingerprint_of,
};
#[cfg(target_has_atomic = "64")]
pub use observe::{Observed, Overtaken};
#[cfg(feature = "alloc")]
pub use owned::{OwnedLoan, OwnedReader, OwnedWriter, channel};
pub use payload::{Payload, Plain};
pub use reader::{Latest, Reader, Sample};
pub use sync::AtomicU32;
pub use view::View;

/// The traits without the derive macros of the same name, for crates that re-export macros of their own.
#[doc(hidden)]
pub mod traits {
    pub use crate::message::{Enumeration, Message};
}

pub use writer::{Loan, Sleepers, Writer};

#[cfg(all(doctest, feature = "alloc", feature = "derive"))]
#[doc = include_str!("../README.md")]
struct Readme;
