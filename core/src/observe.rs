//! Looking on without a role: the newest value, as a copy that is known to be whole.

use crate::mailbox::NO_SLOT;
use crate::payload::Payload;
use crate::sync::{fence, order};
use crate::view::View;
use core::sync::atomic::{AtomicU8, AtomicU64};

/// What an observer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The number of the publish, from 1.
    pub sequence: u64,
    /// When it was published, in nanoseconds of the writer's clock.
    pub time: u64,
}

/// The writer published again and again while an observer looked; it may try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overtaken;

impl core::fmt::Display for Overtaken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the writer was faster than the observer, several times; try again, or take a reader place")
    }
}

impl core::error::Error for Overtaken {}

/// How often an observer starts anew.
const ATTEMPTS: u32 = 16;

impl<T: Payload + ?Sized> View<'_, T> {
    /// Number and time of the newest publish, for whoever looks on; `None` before the first. It takes no role and writes
    /// nothing.
    ///
    /// # Progress
    /// Wait-free: at most 16 times five loads.
    ///
    /// # Errors
    /// [`Overtaken`] where the writer published at least twice during each of 16 looks.
    pub fn newest(&self) -> Result<Option<Observed>, Overtaken> {
        self.observe(|_| ())
    }

    /// Copies the newest value into `into`, for whoever looks on without a role. Where `into` is shorter than the payload,
    /// the rest is left out.
    ///
    /// The copy is whole: it is discarded and made anew where the writer came round to the slot meanwhile. A
    /// [`Reader`](crate::Reader) needs no copy and can't be overtaken.
    ///
    /// # Progress
    /// Wait-free: at most 16 copies.
    ///
    /// # Errors
    /// [`Overtaken`] where the writer published at least twice during each of 16 copies: it is faster than the copy.
    ///
    /// # Safety
    /// No writer publishes through the same mapping of this memory meanwhile, as one of this very program would: what it
    /// writes are no atomic operations, which the language wants here. Writers of other processes are no part of this
    /// program, nor is one that has a mapping of its own.
    pub unsafe fn copy_newest(&self, into: &mut [u8]) -> Result<Option<Observed>, Overtaken> {
        let length = into.len().min(self.layout().payload_size());
        self.observe(|start| {
            let mut place = into.iter_mut();
            let mut at = 0;
            if self.layout().payload_offset().is_multiple_of(8) {
                while at + 8 <= length {
                    // SAFETY: inside of the payload.
                    let word = unsafe { start.add(at) };
                    // SAFETY: aligned: slots are, and so is the offset of their payload.
                    let word = unsafe { AtomicU64::from_ptr(word.as_ptr().cast()) };
                    // ORDERING: Relaxed. The fence that follows orders it. The writer may be at it: then it is discarded.
                    let bytes = word.load(order!("observe payload", Relaxed)).to_ne_bytes();
                    for (byte, into) in bytes.into_iter().zip(place.by_ref()) {
                        *into = byte;
                    }
                    at += 8;
                }
            }
            for into in place.take(length - at) {
                // SAFETY: inside of the payload.
                let byte = unsafe { start.add(at) };
                // SAFETY: bytes are always aligned.
                let byte = unsafe { AtomicU8::from_ptr(byte.as_ptr()) };
                // ORDERING: Relaxed, as above.
                *into = byte.load(order!("observe rest of payload", Relaxed));
                at += 1;
            }
        })
    }

    /// Looks at the newest slot until nobody wrote to it meanwhile: what is known as a sequence lock, whose number is the
    /// publish's, and whose first word is the mailbox.
    ///
    /// The writer fills another slot between two publishes. So whoever looks at a slot while it is written to finds, after
    /// the fence, that the first mailbox names another slot; or, where the writer has come round and published it again,
    /// that its number is another.
    fn observe<R>(&self, mut look: impl FnMut(core::ptr::NonNull<u8>) -> R) -> Result<Option<Observed>, Overtaken> {
        let Some(mailbox) = self.mailboxes().first() else { return Ok(None) };
        for _ in 0..ATTEMPTS {
            let slot = mailbox.observe().current();
            // A foreign word may name any slot.
            let (Some(header), Some(start)) = (self.header(slot), self.payload_start(slot)) else {
                if slot == NO_SLOT {
                    return Ok(None);
                }
                continue;
            };
            let sequence = header.observe_sequence();
            let time = header.observe_time();
            look(start);
            // ORDERING: Acquire pairs with the Release fence of `publish`: whoever saw anything of what a writer did to the
            // slot later, sees below that the mailbox has moved on. Model: `an_observer_sees_one_publish`.
            fence!("observe fence", Acquire);
            if mailbox.observe().current() == slot && header.observe_sequence_again() == sequence {
                return Ok(Some(Observed { sequence, time }));
            }
        }
        Err(Overtaken)
    }
}
