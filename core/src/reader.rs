//! A reader's side.

use crate::mailbox::{Closed, Mailbox, NO_SLOT, SleepWord, Slot};
use crate::payload::Payload;
use crate::slots::SlotRef;
use crate::view::View;
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

/// One reader of a channel. It sees the newest value, each at most once as new, and never a torn one.
///
/// Can be sent to another thread, not shared between threads:
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: T) {}
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (_, [reader]) = channel.split();
/// shared(reader);
/// ```
/// ```
/// fn sent<T: Send>(_: T) {}
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (_, [reader]) = channel.split();
/// sent(reader);
/// ```
pub struct Reader<'a, T: Payload + ?Sized> {
    view: View<'a, T>,
    mailbox: &'a Mailbox,
    place: usize,
    /// The slot that this reader looks at (I2).
    pub(crate) slot: Slot,
    /// `slot` is a predecessor's, and this reader has not shown it yet.
    inherited: bool,
    sequence: u64,
    missed: u64,
    not_sync: PhantomData<Cell<()>>,
}

impl<'a, T: Payload + ?Sized> View<'a, T> {
    /// Takes the reader's role at `place` (from 0), over a predecessor that stopped anywhere. `None` where the channel
    /// has no such place.
    ///
    /// # Progress
    /// Wait-free: one load.
    ///
    /// # Safety
    /// No other reader at this place exists, or its last step has happened before (as a lock or a join orders it) and it
    /// will never be used again.
    #[must_use = "dropping the reader leaves its place free"]
    pub unsafe fn reader(self, place: usize) -> Option<Reader<'a, T>> {
        (place < self.layout().readers()).then(|| Reader::attach(self, place))
    }
}

impl<'a, T: Payload + ?Sized> Reader<'a, T> {
    /// Holds what the mailbox says is held, without changing it (I5).
    pub(crate) fn attach(view: View<'a, T>, place: usize) -> Self {
        // The caller checked `place`; a wrong one would be a mistake in this crate, and ends in a clean panic.
        #[allow(clippy::indexing_slicing)]
        let mailbox: &Mailbox = &view.mailboxes()[place];
        let word = mailbox.peek();
        let slot = if word.is_fresh() { NO_SLOT } else { word.current() };
        Self { view, mailbox, place, slot, inherited: slot != NO_SLOT, sequence: 0, missed: 0, not_sync: PhantomData }
    }

    /// This reader's place, from 0.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place
    }

    /// How many values were published and replaced before this reader took them, since it attached.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The newest value, if this reader has not had it yet. The writer may publish while the sample is looked at: the
    /// sample stays as it is.
    ///
    /// # Progress
    /// Wait-free: one load; if there is something new one read-modify-write, and where values were missed one store. No
    /// copy, no system call.
    ///
    /// # Examples
    /// A sample ends with the next take, because then its slot goes back to the writer:
    /// ```compile_fail,E0499
    /// let mut channel = lkas_core::Channel::<u32, 1>::new();
    /// let (mut writer, [mut reader]) = channel.split();
    /// writer.publish(1, 0);
    /// let first = reader.take();
    /// let second = reader.take();
    /// drop(first);
    /// ```
    /// One after the other is what the compiler wants to see:
    /// ```
    /// let mut channel = lkas_core::Channel::<u32, 1>::new();
    /// let (mut writer, [mut reader]) = channel.split();
    /// writer.publish(1, 0);
    /// let first = reader.take();
    /// drop(first);
    /// let second = reader.take();
    /// ```
    #[inline]
    pub fn take(&mut self) -> Option<Sample<'_, T>> {
        self.advance().then(|| self.sample(true)).flatten()
    }

    /// The newest value, whether or not it was had before; `None` until there is one.
    ///
    /// # Progress
    /// As [`take`](Self::take).
    #[inline]
    pub fn latest(&mut self) -> Option<Sample<'_, T>> {
        let fresh = self.advance();
        self.sample(fresh)
    }

    /// The newest value together with the verdict on its age. `now` and `max_age` are nanoseconds of the clock with
    /// which the writer stamps. A publish time in the future counts as stale: its clock can't be trusted.
    ///
    /// So does a value that is published after `now` was read and before this call takes it: its age is `None`, new as it
    /// is. Where the writer may publish meanwhile, take [`latest`](Self::latest) first, then read the clock and give both to
    /// [`Latest::new`].
    ///
    /// # Progress
    /// As [`take`](Self::take).
    ///
    /// # Examples
    /// ```
    /// use lkas_core::{Channel, Latest};
    ///
    /// let mut channel = Channel::<u32, 1>::new();
    /// let (mut writer, [mut reader]) = channel.split();
    /// assert!(matches!(reader.latest_within(100, 0), Latest::Empty));
    /// writer.publish(7, 1_000);
    /// assert!(matches!(reader.latest_within(100, 1_050), Latest::Fresh(value) if *value == 7));
    /// assert!(matches!(reader.latest_within(100, 1_500), Latest::Stale { age: Some(500), .. }));
    /// ```
    #[inline]
    pub fn latest_within(&mut self, max_age: u64, now: u64) -> Latest<'_, T> {
        Latest::new(self.latest(), max_age, now)
    }

    /// Whether [`take`](Self::take) would return something now. Once it would, it does until this reader takes.
    ///
    /// # Progress
    /// Wait-free: one load.
    #[inline]
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        self.inherited || self.mailbox.peek().is_fresh()
    }

    /// Whether the writer has left in good order. A successor takes it back.
    ///
    /// # Progress
    /// Wait-free: one load.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.mailbox.peek().is_closed()
    }

    /// Prepares to sleep: the word and the value that it must still have when sleep begins, in the manner of a futex.
    /// `None`: look again first, there is something new or the writer has left. The next publish wakes.
    ///
    /// # Progress
    /// Wait-free: one load and at most one compare-and-swap.
    #[must_use = "sleep on the word while it has the value"]
    pub fn announce_sleep(&mut self) -> Option<(SleepWord<'a>, u32)> {
        self.announce(Closed::EndsWaiting)
    }

    /// As [`announce_sleep`](Self::announce_sleep), also where the writer has left in good order: for a reader that knows
    /// it and waits for a successor, whose first publish wakes.
    ///
    /// # Progress
    /// As [`announce_sleep`](Self::announce_sleep).
    #[must_use = "sleep on the word while it has the value"]
    pub fn announce_sleep_for_successor(&mut self) -> Option<(SleepWord<'a>, u32)> {
        self.announce(Closed::IsKnown)
    }

    fn announce(&mut self, closed: Closed) -> Option<(SleepWord<'a>, u32)> {
        if self.inherited {
            return None;
        }
        self.mailbox.announce_sleep(closed).map(|value| (SleepWord(self.mailbox), value))
    }

    /// The word that this reader sleeps on, so that another thread can sleep on the reader's behalf: it
    /// [announces](SleepWord::announce) that at any time, also while the reader takes.
    #[must_use]
    pub fn sleep_word(&self) -> SleepWord<'a> {
        SleepWord(self.mailbox)
    }

    /// Moves on to the newest slot. Whether there was one that this reader has not had.
    #[inline]
    fn advance(&mut self) -> bool {
        match self.mailbox.take() {
            Some(taken) => self.slot = taken,
            None if self.inherited => (),
            None => return false,
        }
        self.inherited = false;
        // SAFETY: the slot is this reader's from `take` or `attach` until its next `take` (I2).
        if let Some(slot) = unsafe { self.view.read(self.slot) } {
            let first = self.sequence == 0;
            let skipped = slot.stamp.sequence.saturating_sub(self.sequence).saturating_sub(1);
            if first || skipped > 0 {
                self.missed = self.missed.saturating_add(if first { 0 } else { skipped });
                self.mailbox.note_missed(self.missed);
            }
            self.sequence = slot.stamp.sequence;
        }
        true
    }

    #[inline]
    fn sample(&self, fresh: bool) -> Option<Sample<'_, T>> {
        // SAFETY: the slot is this reader's until its next `take`, which needs the exclusive borrow that the sample
        // keeps (I2).
        let slot = unsafe { self.view.read(self.slot) }?;
        Some(Sample { slot, fresh })
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Reader<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("place", &self.place)
            .field("sequence", &self.sequence)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// A reader's view of one value. It does not change while it is looked at.
pub struct Sample<'r, T: ?Sized> {
    slot: SlotRef<'r, T>,
    fresh: bool,
}

impl<T: ?Sized> Sample<'_, T> {
    /// The number of its publish, from 1; only rises in one channel's memory.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.slot.stamp.sequence
    }

    /// When it was published, in nanoseconds of the writer's clock.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.slot.stamp.time
    }

    /// Whether this reader gets it for the first time.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }
}

impl<T: ?Sized> Deref for Sample<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.slot.payload
    }
}

impl<T: fmt::Debug + ?Sized> fmt::Debug for Sample<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample")
            .field("sequence", &self.sequence())
            .field("time", &self.time())
            .field("value", &self.slot.payload)
            .finish()
    }
}

/// What [`Reader::latest_within`] found.
#[derive(Debug)]
#[must_use = "a stale value must not pass for a fresh one"]
pub enum Latest<'r, T: ?Sized> {
    /// A value that is young enough.
    Fresh(Sample<'r, T>),
    /// The newest value is too old.
    Stale {
        /// Its age in nanoseconds; `None` if it was published in the future: after `now` was read, or by a clock that can't
        /// be trusted.
        age: Option<u64>,
        /// The value all the same.
        sample: Sample<'r, T>,
    },
    /// Nothing was published yet.
    Empty,
}

impl<'r, T: ?Sized> Latest<'r, T> {
    /// The verdict on the newest value, if there is one, `now`. Times are nanoseconds of the clock with which the writer
    /// stamps.
    #[inline]
    pub fn new(sample: Option<Sample<'r, T>>, max_age: u64, now: u64) -> Self {
        let Some(sample) = sample else { return Self::Empty };
        match now.checked_sub(sample.time()) {
            Some(age) if age <= max_age => Self::Fresh(sample),
            age => Self::Stale { age, sample },
        }
    }
}
