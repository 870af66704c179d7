//! Latest-value channels, messages and codec of a lane keeping assist system.
#![no_std]
#![warn(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![warn(clippy::std_instead_of_core)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

#[cfg(any(test, lkas_loom))]
extern crate std;

mod channel;
mod checksum;
pub mod codec;
mod error;
#[cfg(lkas_loom)]
pub mod fault;
#[cfg(feature = "inspect")]
#[doc(hidden)]
pub mod inspect;
mod layout;
mod mailbox;
pub mod messages;
pub mod names;
mod reader;
mod slots;
mod sync;
mod writer;

pub use channel::Channel;
pub use checksum::checksum;
pub use error::{CodecError, MessageError, NameError};
pub use layout::{Layout, LayoutError, MAX_READERS, Payload};
pub use reader::{Latest, Reader, Sample};
pub use slots::View;
pub use sync::AtomicU32;
pub use writer::{Loan, Sleepers, Writer};
