//! Only for models (`--cfg lkas_loom`): lets a thread stop dead before any of its atomic operations, and weakens orderings.

use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::panic::{catch_unwind, resume_unwind};
use std::{boxed::Box, env, string::String, sync::OnceLock};

loom::thread_local! {
    static STEPS_LEFT: Cell<Option<u32>> = Cell::new(None);
}

struct Died;

/// Counts down, and dies at zero. Called before each atomic operation.
pub(crate) fn step() {
    let left = STEPS_LEFT.with(|left| left.replace(left.get().map(|steps| steps.saturating_sub(1))));
    if left == Some(0) {
        STEPS_LEFT.with(|left| left.set(None));
        resume_unwind(Box::new(Died));
    }
}

/// Runs `f` and stops it dead before its atomic operation number `steps` (counted from 0). Returns whether it died.
///
/// What `f` owned is dropped, which touches no shared memory: to everybody else it looks as if the thread had stopped.
pub fn die_before_step(steps: u32, f: impl FnOnce()) -> bool {
    STEPS_LEFT.with(|left| left.set(Some(steps)));
    let result = catch_unwind(AssertUnwindSafe(f));
    STEPS_LEFT.with(|left| left.set(None));
    match result {
        Ok(()) => false,
        Err(cause) if cause.is::<Died>() => true,
        Err(cause) => resume_unwind(cause),
    }
}

/// The most attempts that any put needed so far.
static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
/// Whether there is a reader that breaks the protocol.
static ROGUE: AtomicBool = AtomicBool::new(false);
static FORCED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn note_attempt(attempt: u32) {
    ATTEMPTS.fetch_max(attempt, Ordering::Relaxed);
}

/// The most attempts that any put of this process needed.
pub fn most_attempts() -> u32 {
    ATTEMPTS.load(Ordering::Relaxed)
}

/// How often a put of this process had to be forced upon a reader that breaks the protocol.
pub fn forced_puts() -> u32 {
    FORCED.load(Ordering::Relaxed)
}

/// From here on a model has a reader that breaks the protocol.
pub fn expect_a_rogue(rogue: bool) {
    ROGUE.store(rogue, Ordering::Relaxed);
}

/// Fails the model, unless it has a reader that breaks the protocol: nobody else gets there.
#[allow(clippy::panic)]
pub(crate) fn must_not_happen(what: &str) {
    FORCED.fetch_add(1, Ordering::Relaxed);
    if !ROGUE.load(Ordering::Relaxed) {
        panic!("{what}");
    }
}

/// Whether the model has somebody who looks on without a role.
static OBSERVED: AtomicBool = AtomicBool::new(false);

/// From here on a model has an observer. The headers of slots are then atomic words for loom too, which makes every other
/// model many times larger and shows nothing there.
pub fn expect_an_observer(observed: bool) {
    OBSERVED.store(observed, Ordering::Relaxed);
}

pub(crate) fn is_observed() -> bool {
    OBSERVED.load(Ordering::Relaxed)
}

/// A fence with the ordering of `what`, which the environment may weaken to none at all. Models without an observer do
/// without it: nothing there depends on it.
pub(crate) fn fence(what: &str, strong: Ordering) {
    match order(what, strong) {
        Ordering::Relaxed => (),
        order if is_observed() => loom::sync::atomic::fence(order),
        _ => (),
    }
}

/// The ordering of the operation `what`: its own, unless the environment weakens it (`LKAS_WEAKEN="what=Relaxed"`).
#[allow(clippy::panic)]
pub(crate) fn order(what: &str, strong: Ordering) -> Ordering {
    static WEAKENED: OnceLock<Option<(String, Ordering)>> = OnceLock::new();
    let weakened = WEAKENED.get_or_init(|| {
        let text = env::var("LKAS_WEAKEN").ok()?;
        match text.split_once('=') {
            Some((what, "Relaxed")) => Some((what.into(), Ordering::Relaxed)),
            Some((what, "Acquire")) => Some((what.into(), Ordering::Acquire)),
            Some((what, "Release")) => Some((what.into(), Ordering::Release)),
            _ => panic!("LKAS_WEAKEN is \"{text}\", expected what=Relaxed, what=Acquire or what=Release"),
        }
    });
    weakened.as_ref().filter(|(name, _)| name == what).map_or(strong, |(_, weak)| *weak)
}
