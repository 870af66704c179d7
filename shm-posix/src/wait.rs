//! Sleeping on a mailbox and waking who sleeps: shared futexes.

use lkas_core::{Payload, SleepWord, Sleepers, View};
use rustix::io::Errno;
use rustix::thread::futex::{self, Flags};
use rustix::time::Timespec;

/// Wakes every reader that sleeps. No system call where nobody does.
#[inline]
pub(crate) fn wake<T: Payload + ?Sized>(sleepers: Sleepers, view: View<'_, T>) {
    if sleepers.is_empty() {
        return;
    }
    for word in sleepers.words(view) {
        // SAFETY: waking does not write to it.
        let word = unsafe { word.atomic() };
        // It fails only for words that can't be, and a reader's waits are sliced: nothing is lost.
        let _ = futex::wake(word, Flags::empty(), 1);
    }
}

/// Why [`sleep`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slept {
    /// Woken, or the word had another value already: look.
    Look,
    /// The time is over.
    TimedOut,
    /// A signal was handled.
    Interrupted,
}

/// Sleeps while `word` has `value`, at most `nanoseconds`.
pub(crate) fn sleep(word: SleepWord<'_>, value: u32, nanoseconds: u64) -> Slept {
    let timeout = Timespec { tv_sec: (nanoseconds / 1_000_000_000) as _, tv_nsec: (nanoseconds % 1_000_000_000) as _ };
    // SAFETY: sleeping does not write to it.
    let word = unsafe { word.atomic() };
    match futex::wait(word, Flags::empty(), value, Some(&timeout)) {
        Err(Errno::INTR) => Slept::Interrupted,
        Err(Errno::TIMEDOUT) => Slept::TimedOut,
        _ => Slept::Look,
    }
}
