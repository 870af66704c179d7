//! The writer's side.

use crate::mailbox::{NO_SLOT, SleepWord, Slot};
use crate::payload::Payload;
use crate::slots::{SlotMut, Stamp};
#[cfg(target_has_atomic = "64")]
use crate::sync::fence;
use crate::view::View;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// The one writer of a channel.
///
/// Can be sent to another thread, not shared between threads:
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (writer, _) = channel.split();
/// shared(writer);
/// ```
/// ```
/// fn sent<T: Send>(_: T) {}
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (writer, _) = channel.split();
/// sent(writer);
/// ```
pub struct Writer<'a, T: Payload + ?Sized> {
    view: View<'a, T>,
    /// The slot that no reader can reach (I1).
    pub(crate) free: Slot,
    /// The number of the newest publish.
    sequence: u64,
    /// Readers that a predecessor may have left asleep: it died between its publish and the wake-up.
    owed: Sleepers,
    not_sync: PhantomData<Cell<()>>,
}

/// The slots in use, one bit each; bit 0, "none", always is.
struct Used(u32);

impl Used {
    fn new(newest: Slot) -> Self {
        let mut used = Self(1);
        used.add(newest);
        used
    }

    fn add(&mut self, slot: Slot) {
        // A foreign word may name anything: then it takes some slot out of use, which is no more than it may.
        self.0 |= 1_u32.wrapping_shl(slot.into());
    }

    /// Of R + 2 slots at most R + 1 are in use: the newest and what each reader holds (I3).
    fn any_free(&self) -> Slot {
        self.0.trailing_ones() as Slot
    }
}

impl<'a, T: Payload + ?Sized> View<'a, T> {
    /// Takes the writer's role, over a predecessor that stopped anywhere, even in the middle of a publish.
    ///
    /// # Progress
    /// Wait-free: at most three loads and four read-modify-writes for each reader, most of them only where the predecessor
    /// left in good order or in the middle of a publish.
    ///
    /// # Safety
    /// No other writer of this channel exists, or its last step has happened before (as a lock or a join orders it) and
    /// it will never be used again.
    #[must_use = "dropping the writer leaves the channel without one"]
    pub unsafe fn writer(self) -> Writer<'a, T> {
        Writer::take_over(self)
    }
}

impl<'a, T: Payload + ?Sized> Writer<'a, T> {
    /// Finishes what a predecessor may have left half done, then goes on (I4).
    pub(crate) fn take_over(view: View<'a, T>) -> Self {
        let mut newest = NO_SLOT;
        let mut sequence = 0;
        for mailbox in view.mailboxes() {
            let word = mailbox.peek();
            if word.is_closed() {
                mailbox.reopen();
            }
            let current = word.current();
            // SAFETY: the slot is in a mailbox, so no writer writes to it (I1), and there is no other writer.
            if let Some(slot) = unsafe { view.read(current) }
                && (newest == NO_SLOT || slot.stamp.sequence > sequence)
            {
                newest = current;
                sequence = slot.stamp.sequence;
            }
        }
        let mut used = Used::new(newest);
        for mailbox in view.mailboxes() {
            let word = mailbox.look();
            if word.current() != newest {
                used.add(mailbox.put(newest).held);
            } else if word.is_fresh() {
                used.add(word.held());
            }
        }
        // Whom the predecessor did not come to wake, no mailbox says any more: the first publish wakes everybody.
        let everybody = u32::MAX >> (u32::BITS as usize - view.layout().readers());
        let owed = Sleepers(if newest == NO_SLOT { 0 } else { everybody });
        Self { view, free: used.any_free(), sequence, owed, not_sync: PhantomData }
    }

    /// The channel's memory.
    #[must_use]
    pub fn view(&self) -> View<'a, T> {
        self.view
    }

    /// The number of the newest publish; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Goes on counting after `sequence`, where that is more than what this channel has seen: for a writer that continues
    /// the values of another channel, so that their numbers never go back.
    pub fn continue_after(&mut self, sequence: u64) {
        self.sequence = self.sequence.max(sequence);
    }

    /// The free slot, to be filled in place. It holds some earlier value, or zeroes: write every field. Readers go on with
    /// what was published before, and don't see the slot until it is published.
    ///
    /// # Progress
    /// Wait-free; touches nothing that is shared.
    ///
    /// # Examples
    /// ```
    /// let mut channel = lkas_core::Channel::<[u8; 64], 1>::new();
    /// let (mut writer, [mut reader]) = channel.split();
    /// let mut loan = writer.loan();
    /// loan.fill(7);
    /// loan.publish(0); // dropping it instead would publish nothing
    /// assert_eq!(*reader.take().unwrap(), [7; 64]);
    /// ```
    #[inline]
    pub fn loan(&mut self) -> Loan<'_, 'a, T> {
        // SAFETY: `free` is in no mailbox (I1), and the loan borrows the only writer.
        match unsafe { self.view.write(self.free) } {
            Some(slot) => Loan { writer: self, slot },
            // `any_free` returns a slot of this channel whatever is in the mailboxes (I3).
            None => unreachable!("R + 2 slots, and at most R + 1 in use"),
        }
    }

    /// Publishes a copy of `value`. `time` is now, in nanoseconds of a monotonic clock (0 where there is none); readers
    /// tell a value's age by it. Readers may take while this runs: each gets this value or the one before, never a mixture.
    ///
    /// # Progress
    /// Wait-free: one copy of the value, and as [`Loan::publish`].
    #[inline]
    pub fn publish(&mut self, value: T, time: u64) -> Sleepers
    where
        T: Sized,
    {
        let mut loan = self.loan();
        *loan = value;
        loan.publish(time)
    }

    // Always: as a function of its own it is a third longer (instructions, by the bench of that name).
    #[inline(always)]
    fn put_everywhere(&mut self) -> Sleepers {
        let mut used = Used::new(self.free);
        let mut sleepers = core::mem::replace(&mut self.owed, Sleepers(0));
        let mut taken = false;
        for (place, mailbox) in self.view.mailboxes().iter().enumerate() {
            let put = mailbox.put(self.free);
            used.add(put.held);
            taken |= put.taken;
            sleepers.0 |= u32::from(put.waiting) << place;
        }
        self.free = used.any_free();
        // ORDERING: Release pairs with the Acquire fence of `View::newest`: an observer that sees anything of what this
        // writer does to the next slot sees that the mailboxes have moved on. No reader needs it, and on x86 it is no
        // instruction. Model: `an_observer_sees_one_publish`.
        #[cfg(target_has_atomic = "64")]
        fence!("publish fence", Release);
        if taken {
            // SAFETY: `free` is in no mailbox (I1), and the loan that was published is gone.
            unsafe { self.view.fetch(self.free) };
        }
        sleepers
    }

    /// Tells the readers that no more will come; what was published can still be taken. A later writer takes it back.
    ///
    /// # Progress
    /// Wait-free: one read-modify-write for each reader.
    ///
    /// # Examples
    /// ```
    /// let mut channel = lkas_core::Channel::<u32, 1>::new();
    /// let (mut writer, [mut reader]) = channel.split();
    /// writer.publish(1, 0);
    /// writer.close();
    /// assert!(reader.is_closed());
    /// assert_eq!(*reader.take().unwrap(), 1);
    /// ```
    pub fn close(self) -> Sleepers {
        let mut sleepers = self.owed;
        for (place, mailbox) in self.view.mailboxes().iter().enumerate() {
            sleepers.0 |= u32::from(mailbox.close()) << place;
        }
        sleepers
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Writer<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// The free slot, until it is published or dropped. Dropping it discards it: a panic never publishes half a value.
#[must_use = "a loan that is dropped publishes nothing"]
pub struct Loan<'w, 'a, T: Payload + ?Sized> {
    writer: &'w mut Writer<'a, T>,
    slot: SlotMut<'a, T>,
}

impl<'a, T: Payload + ?Sized> Loan<'_, 'a, T> {
    /// The channel's memory.
    #[must_use]
    pub fn view(&self) -> View<'a, T> {
        self.writer.view
    }

    /// Fills the slot with `bytes`, as many as it takes; any bytes are a value. What they leave over stays as it is.
    pub fn copy_from_bytes(&mut self, bytes: &[u8]) {
        let view = self.writer.view;
        let Some(start) = view.payload_start(self.writer.free) else { return };
        let count = bytes.len().min(view.layout().payload_size());
        // SAFETY: the slot is this loan's (I1), its payload has so many bytes, and any bytes are a valid `T` (`Payload`).
        unsafe { start.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
    }

    /// Publishes what is in the slot. `time` is now, in nanoseconds of a monotonic clock (0 where there is none).
    ///
    /// # Progress
    /// Wait-free: for each reader a load and one compare-and-swap, at most three; where one has taken since the last publish,
    /// the eight bytes of the next slot's sequence number and at most three more are rewritten. No copy, no system call,
    /// whatever the payload's size.
    // Always: as a function of its own it is half as long again (instructions, by the bench of that name).
    #[inline(always)]
    pub fn publish(self, time: u64) -> Sleepers {
        let sequence = self.writer.sequence.wrapping_add(1);
        self.writer.sequence = sequence;
        self.slot.finish(Stamp { sequence, time });
        self.writer.put_everywhere()
    }
}

impl<T: Payload + ?Sized> Deref for Loan<'_, '_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.slot.payload()
    }
}

impl<T: Payload + ?Sized> DerefMut for Loan<'_, '_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.slot.payload_mut()
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Loan<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").finish_non_exhaustive()
    }
}

/// The readers to be woken after a publish: those that announced that they sleep since the publish before.
///
/// The first publish after a take-over names all readers, because the predecessor may have died before it woke them.
/// Programs whose readers never sleep ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleepers(u32);

impl Sleepers {
    /// Whether nobody has to be woken.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The words that the readers sleep on.
    pub fn words<'a, T: Payload + ?Sized>(self, view: View<'a, T>) -> impl Iterator<Item = SleepWord<'a>> {
        let mailboxes = view.mailboxes().iter().enumerate();
        mailboxes.filter(move |(place, _)| self.0 & 1 << place != 0).map(|(_, mailbox)| SleepWord(mailbox))
    }
}
