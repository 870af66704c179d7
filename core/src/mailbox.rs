//! The mailbox: one word between the writer and one reader, and every atomic operation of the protocol.
//!
//! ```text
//!  bit 31      17       16        15 … 8   7 … 0
//!    FRESH … CLOSED   WAITING    held     current
//! ```
//!
//! `current` is the slot last put here, `held` the slot that the reader was looking at when it was put (only meaningful
//! while `FRESH`). Slots are counted from 1 and 0 is none, so zeroed memory is an empty mailbox.
//!
//! Between two puts a reader changes the word at most twice: it clears `FRESH` and it sets `WAITING`, and never the
//! other way round. That holds across any number of readers that succeed one another in the same mailbox, because
//! attaching is a mere load. Hence the bound on [`Mailbox::put`].

use crate::sync::{AtomicU32, order};

/// A slot's number, from 1; [`NO_SLOT`] is none.
pub(crate) type Slot = u8;

/// No slot.
pub(crate) const NO_SLOT: Slot = 0;

// The topmost bit, so that subtracting it clears it and carries nowhere.
const FRESH: u32 = 1 << 31;
const CLOSED: u32 = 1 << 17;
const WAITING: u32 = 1 << 16;
const HELD_SHIFT: u32 = 8;
const HELD: u32 = 0xff << HELD_SHIFT;

/// How often [`Mailbox::put`] tries: the reader can get in between twice.
const PUT_ATTEMPTS: u32 = 3;

/// A mailbox's content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u32);

impl Word {
    pub(crate) const fn current(self) -> Slot {
        self.0 as u8
    }

    /// The slot that the reader may look at besides `current`.
    pub(crate) const fn held(self) -> Slot {
        (self.0 >> HELD_SHIFT) as u8
    }

    pub(crate) const fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    pub(crate) const fn is_waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    pub(crate) const fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The word after `slot` is put: what the reader looks at now is held until it takes `slot`.
    const fn put(self, slot: Slot) -> Self {
        let held = if self.is_fresh() { self.0 } else { self.0 << HELD_SHIFT };
        Self(FRESH | held & HELD | slot as u32)
    }
}

/// What a sleeper makes of a writer that has left in good order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It wants to know.
    EndsWaiting,
    /// It knows, and waits for a successor.
    IsKnown,
}

/// What [`Mailbox::put`] found.
#[derive(Clone, Copy)]
pub(crate) struct Put {
    /// The slot that the reader may still look at; the writer must leave it alone.
    pub(crate) held: Slot,
    /// The reader has taken what was there before.
    pub(crate) taken: bool,
    /// The reader sleeps on the word, or did since the last put.
    pub(crate) waiting: bool,
}

/// One word between the writer and one reader, and beside it a counter of the reader's for whoever looks on.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Mailbox {
    word: AtomicU32,
    missed: AtomicU32,
}

#[cfg(not(lkas_loom))]
const _: () = assert!(size_of::<Mailbox>() == 8);

impl Mailbox {
    #[cfg(not(lkas_loom))]
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU32::new(0), missed: AtomicU32::new(0) }
    }

    #[cfg(lkas_loom)]
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(0), missed: AtomicU32::new(0) }
    }

    /// Writer: puts `slot`. At most three compare-and-swaps, as long as the reader follows the protocol.
    #[inline]
    pub(crate) fn put(&self, slot: Slot) -> Put {
        // ORDERING: Relaxed. Only a guess for the exchange below, which brings the ordering.
        let mut word = Word(self.word.load(order!("put guess", Relaxed)));
        for _attempt in 0..PUT_ATTEMPTS {
            #[cfg(lkas_loom)]
            crate::fault::note_attempt(_attempt + 1);
            let next = word.put(slot);
            // ORDERING: Release pairs with the Acquire of `take`: the slot's content is visible to the
            // reader that finds it here. Acquire pairs with the Release of `take`: when FRESH is seen cleared, all that
            // the reader did with the slot it had before has happened, and the writer may write to it. Models:
            // `no_torn_value_one_reader` (Release), `slots_are_not_reused_early` (Acquire). Failure is Relaxed: only a
            // new guess.
            let order = (order!("put exchange", AcqRel), order!("put exchange, failed", Relaxed));
            match self.word.compare_exchange(word.0, next.0, order.0, order.1) {
                Ok(_) => return Put { held: next.held(), taken: !word.is_fresh(), waiting: word.is_waiting() },
                Err(found) => word = Word(found),
            }
        }
        // Only a reader that breaks the protocol gets us here. The word is made valid again whatever it was; that
        // reader may see a slot being rewritten, the others are not affected.
        #[cfg(lkas_loom)]
        crate::fault::must_not_happen("a publish needed a fourth attempt");
        let next = word.put(slot);
        // ORDERING: as the exchange above, and for the same reasons. Model: `a_rogue_reader_costs_only_attempts`.
        self.word.swap(next.0, order!("put by force", AcqRel));
        Put { held: next.held(), taken: true, waiting: true }
    }

    /// Reader: takes what is fresh. `None` where nothing is; then the line is not written to.
    #[inline]
    pub(crate) fn take(&self) -> Option<Slot> {
        // ORDERING: Relaxed. If FRESH is seen it stays until this reader clears it; the exchange brings the ordering.
        if !Word(self.word.load(order!("take look", Relaxed))).is_fresh() {
            return None;
        }
        // A subtraction, because x86 has an instruction that returns the whole word for it and none for `and`: one step
        // instead of a loop. FRESH is set, so it clears that bit and leaves the rest.
        // ORDERING: Acquire pairs with the Release of `put`: the slot's content is visible. Release pairs with its
        // Acquire: the slot looked at until now is handed back. Models: `no_torn_value_one_reader` (Acquire),
        // `slots_are_not_reused_early` (Release).
        Some(Word(self.word.fetch_sub(FRESH, order!("take exchange", AcqRel))).current())
    }

    /// Succeeding writer: what the word says now, when all that the reader did with slots it handed back has happened.
    pub(crate) fn look(&self) -> Word {
        // ORDERING: Acquire pairs with the Release of `take`, so that a succeeding writer may reuse what a reader handed
        // back. Model: `a_succeeding_writer_goes_on`.
        Word(self.word.load(order!("look", Acquire)))
    }

    /// Either side: what the word says now, and nothing more.
    pub(crate) fn peek(&self) -> Word {
        // ORDERING: Relaxed. Flags carry no data. What a predecessor in the same role published or took is visible to
        // its successor because taking over a role happens after the predecessor's last step (`View`).
        Word(self.word.load(order!("peek", Relaxed)))
    }

    /// Reader, or whoever sleeps in its place: announces sleep on the word while it has the value returned. `None`: look
    /// again first.
    pub(crate) fn announce_sleep(&self, closed: Closed) -> Option<u32> {
        let word = self.peek();
        if word.is_fresh() || word.is_closed() && closed == Closed::EndsWaiting {
            return None;
        }
        let next = word.0 | WAITING;
        if word.is_waiting() {
            return Some(next);
        }
        // ORDERING: Relaxed. It hands nothing over: what the reader released before, `put` still acquires, because this
        // read-modify-write continues that release sequence. That no wake-up is lost follows from the word's own
        // modification order: either `put` sees WAITING, or this exchange fails. Model: `no_wake_up_is_lost`.
        let order = (order!("announce exchange", Relaxed), order!("announce exchange, failed", Relaxed));
        let done = self.word.compare_exchange(word.0, next, order.0, order.1);
        done.ok().map(|_| next)
    }

    /// Reader: says how many values it missed, for whoever looks on.
    pub(crate) fn note_missed(&self, missed: u64) {
        // ORDERING: Relaxed. A figure without data.
        self.missed.store(missed as u32, order!("note missed", Relaxed));
    }

    /// Observer: what it says now, before the slot that it names is looked at.
    #[cfg(target_has_atomic = "64")]
    pub(crate) fn observe(&self) -> Word {
        // ORDERING: Acquire pairs with the Release of `put`: the slot's number is at least that of the publish found here.
        // Model: `an_observer_sees_one_publish`.
        Word(self.word.load(order!("observe mailbox", Acquire)))
    }

    /// Anybody: what it says now.
    pub(crate) fn state(&self) -> MailboxState {
        let word = self.peek();
        let (fresh, waiting, closed) = (word.is_fresh(), word.is_waiting(), word.is_closed());
        // ORDERING: Relaxed. A figure without data.
        let missed = self.missed.load(order!("missed", Relaxed));
        MailboxState { current: word.current(), held: word.held(), fresh, waiting, closed, missed }
    }

    /// Writer: says that no more will come. Returns whether the reader sleeps.
    pub(crate) fn close(&self) -> bool {
        // ORDERING: Relaxed. A flag without data.
        Word(self.word.fetch_or(CLOSED, order!("close", Relaxed))).is_waiting()
    }

    /// Succeeding writer: takes back what [`close`](Self::close) said.
    pub(crate) fn reopen(&self) {
        // ORDERING: Relaxed. A flag without data.
        self.word.fetch_and(!CLOSED, order!("reopen", Relaxed));
    }
}

/// What a mailbox says at one moment, for whoever looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxState {
    /// The slot last put here, from 1; 0 for none. Foreign memory may name slots that there are not.
    pub current: u8,
    /// The slot that the reader looked at when `current` was put; meaningful while `fresh`.
    pub held: u8,
    /// Whether the reader has not taken `current` yet.
    pub fresh: bool,
    /// Whether the reader sleeps, or did since the last put.
    pub waiting: bool,
    /// Whether the writer has left in good order.
    pub closed: bool,
    /// How many values the reader missed since it attached, modulo 2^32, as it said at its last miss.
    pub missed: u32,
}

/// The word that a reader sleeps on, in the manner of a futex.
#[derive(Clone, Copy, Debug)]
pub struct SleepWord<'a>(pub(crate) &'a Mailbox);

impl<'a> SleepWord<'a> {
    /// Announces that somebody sleeps on the word in the reader's place, and returns the value that it must still have
    /// when sleep begins. `None`: there is something new. The next publish wakes.
    ///
    /// Any thread may do this at any time, also while the reader takes: a bit that says "somebody sleeps" is set once
    /// between two publishes, whoever sets it.
    ///
    /// # Progress
    /// Wait-free: one load and at most one compare-and-swap.
    #[must_use = "sleep on the word while it has the value"]
    pub fn announce(self) -> Option<u32> {
        self.0.announce_sleep(Closed::IsKnown)
    }

    /// Whether the writer has left in good order.
    #[must_use]
    pub fn is_closed(self) -> bool {
        self.0.peek().is_closed()
    }

    /// Whether there is something that the reader has not taken.
    #[must_use]
    pub fn is_fresh(self) -> bool {
        self.0.peek().is_fresh()
    }

    /// The word itself, for a system call that sleeps on it or wakes who does.
    ///
    /// # Safety
    /// Nobody writes to it: it says which slots are in use.
    #[must_use]
    pub unsafe fn atomic(self) -> &'a AtomicU32 {
        &self.0.word
    }
}

#[cfg(all(test, not(lkas_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_empty_mailbox_is_all_zero() {
        let word = Mailbox::new().peek();
        assert!(word == Word(0));
        assert_eq!((word.current(), word.held(), word.is_fresh()), (NO_SLOT, NO_SLOT, false));
    }

    #[test]
    fn the_slot_looked_at_is_held_until_the_next_take() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.take(), None);
        assert_eq!(mailbox.put(1).held, NO_SLOT);
        assert_eq!(mailbox.take(), Some(1));
        assert_eq!(mailbox.take(), None);
        assert_eq!(mailbox.put(2).held, 1);
        assert_eq!(mailbox.put(3).held, 1, "the reader still looks at 1");
        assert_eq!(mailbox.take(), Some(3));
        assert_eq!(mailbox.put(1).held, 3);
    }

    #[test]
    fn a_put_ends_waiting_and_says_so() {
        let mailbox = Mailbox::new();
        let asleep = mailbox.announce_sleep(Closed::EndsWaiting).unwrap();
        assert_eq!(mailbox.announce_sleep(Closed::EndsWaiting), Some(asleep), "waiting stays until the next put");
        assert!(mailbox.put(1).waiting);
        assert_eq!(mailbox.announce_sleep(Closed::EndsWaiting), None, "there is something to take");
        mailbox.take();
        assert!(!mailbox.put(2).waiting);
    }

    #[test]
    fn a_closed_mailbox_lets_nobody_sleep() {
        let mailbox = Mailbox::new();
        assert!(mailbox.announce_sleep(Closed::EndsWaiting).is_some());
        assert!(mailbox.close());
        assert_eq!(mailbox.announce_sleep(Closed::EndsWaiting), None);
        mailbox.reopen();
        assert!(mailbox.announce_sleep(Closed::EndsWaiting).is_some());
    }
}
