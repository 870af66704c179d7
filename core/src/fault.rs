//! Only for models (`--cfg lkas_loom`): lets a thread stop dead before any of its atomic operations.

use core::cell::Cell;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

loom::thread_local! {
    static STEPS_LEFT: Cell<Option<u32>> = Cell::new(None);
}

struct Died;

/// Counts down, and dies at zero. Called before each atomic operation.
pub(crate) fn step() {
    let died = STEPS_LEFT.with(|left| {
        let now = left.get();
        left.set(now.map(|n| n.saturating_sub(1)));
        now == Some(0)
    });
    if died {
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

/// Fails the model. What only a reader that breaks the protocol can cause, no model may reach.
#[allow(clippy::panic)]
pub(crate) fn must_not_happen(what: &str) {
    panic!("{what}");
}
