//! Sleeping on mailboxes and waking who sleeps: shared futexes.

use crate::clock;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use lkas_core::{Payload, SleepWord, Sleepers, View};
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::{ClockId, Timespec};
use std::time::Duration;

/// The longest that anybody sleeps without looking, so that a wake-up that nobody sent (its sender died) costs no more.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// The longest sleep where the system can't wait for several words at once.
const SLICE_WITHOUT_WAITV: Duration = Duration::from_millis(5);

/// The most words that the system waits for at once: FUTEX_WAITV_MAX in linux/futex.h.
const MOST_WORDS: usize = 128;

/// Wakes every reader that sleeps, and whoever sleeps in its place. No system call where nobody does.
#[inline]
pub(crate) fn wake<T: Payload + ?Sized>(sleepers: Sleepers, view: View<'_, T>) {
    if sleepers.is_empty() {
        return;
    }
    for word in sleepers.words(view) {
        // SAFETY: waking does not write to it.
        let word = unsafe { word.atomic() };
        // It fails only for words that can't be, and waits are sliced: nothing is lost.
        let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
    }
}

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Woken, or the word had another value already: look.
    Look,
    /// The time is over.
    TimedOut,
    /// A signal was handled.
    Interrupted,
}

impl Slept {
    fn of<T>(result: Result<T, Errno>) -> Self {
        match result {
            Err(Errno::INTR) => Self::Interrupted,
            Err(Errno::TIMEDOUT) => Self::TimedOut,
            _ => Self::Look,
        }
    }
}

fn timespec(nanoseconds: u64) -> Timespec {
    Timespec { tv_sec: (nanoseconds / 1_000_000_000) as _, tv_nsec: (nanoseconds % 1_000_000_000) as _ }
}

/// Sleeps while `word` has `value`, at most `nanoseconds`.
pub(crate) fn sleep(word: SleepWord<'_>, value: u32, nanoseconds: u64) -> Slept {
    // SAFETY: sleeping does not write to it.
    let word = unsafe { word.atomic() };
    Slept::of(futex::wait(word, Flags::empty(), value, Some(&timespec(nanoseconds))))
}

/// Words and the values that they must have for sleep to begin, to sleep on all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Words(Vec<futex::Wait>);

// SAFETY: the addresses are only given to the system, which checks them.
unsafe impl Send for Words {}

impl Words {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a reader's word.
    pub(crate) fn push(&mut self, word: SleepWord<'_>, value: u32) {
        // SAFETY: sleeping does not write to it.
        let word = unsafe { word.atomic() };
        self.add(word, value, WaitFlags::SIZE_U32);
    }

    /// Adds a word of this process alone.
    pub(crate) fn push_private(&mut self, word: &AtomicU32, value: u32) {
        self.add(word, value, WaitFlags::SIZE_U32 | WaitFlags::PRIVATE);
    }

    fn add(&mut self, word: &AtomicU32, value: u32, flags: WaitFlags) {
        let mut wait = futex::Wait::new();
        wait.val = value.into();
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        wait.flags = flags;
        self.0.push(wait);
    }

    /// Sleeps while all of them have their values, at most `timeout`. Where the system can't do that (before Linux 5.16,
    /// or where a sandbox forbids it) or there are more than 128 words, it sleeps for at most 5 ms, whatever happens.
    ///
    /// A word whose memory is gone meanwhile ends the sleep.
    pub(crate) fn sleep(&self, timeout: Duration) -> Slept {
        static MISSING: AtomicBool = AtomicBool::new(false);
        if self.0.len() <= MOST_WORDS && !self.0.is_empty() && !MISSING.load(Ordering::Relaxed) {
            let end = clock::now().saturating_add(timeout.as_nanos() as u64);
            match futex::waitv(&self.0, WaitvFlags::empty(), Some(&timespec(end)), ClockId::Monotonic) {
                Err(Errno::NOSYS | Errno::PERM) => MISSING.store(true, Ordering::Relaxed),
                slept => return Slept::of(slept),
            }
        }
        let slice = timeout.min(SLICE_WITHOUT_WAITV);
        std::thread::sleep(slice);
        if slice == timeout { Slept::TimedOut } else { Slept::Look }
    }
}

/// Wakes whoever sleeps on a word of this process alone.
pub(crate) fn wake_private(word: &AtomicU32) {
    let _ = futex::wake(word, Flags::PRIVATE, i32::MAX as u32);
}
