//! Stopping in good order: on Ctrl-C, on a polite kill, and when the process that started this one is gone.

use rustix::process::{Pid, Signal};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when the process shall end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A stop that SIGINT, SIGTERM and SIGHUP set. A second SIGINT or SIGTERM ends the process at once.
    ///
    /// # Errors
    /// The system does not let the signals be handled.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order: the first signal finds the flag not set yet.
            signal_hook::flag::register_conditional_shutdown(signal, 130, stop.0.clone())?;
            signal_hook::flag::register(signal, stop.0.clone())?;
        }
        // From a terminal that closes, or a parent that ends: the system sends it again as each of the parent's threads ends.
        signal_hook::flag::register(signal_hook::consts::SIGHUP, stop.0.clone())?;
        Ok(stop)
    }

    /// Whether the process shall end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag, for code that does not know this type.
    #[must_use]
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.0
    }
}

/// The process that started this one.
#[derive(Clone, Copy, Debug)]
pub struct Parent(Option<Pid>);

impl Parent {
    /// Whether it is still there.
    #[must_use]
    pub fn is_there(self) -> bool {
        rustix::process::getppid() == self.0
    }
}

/// In the environment of a child: the process id of its parent.
pub const PARENT: &str = "LKAS_PARENT";

/// Makes the kernel send SIGHUP to this process when the one that started it ends, however it ends.
///
/// # Errors
/// The system refuses, or that process has ended before.
pub fn with_parent() -> io::Result<Parent> {
    let parent = Parent(rustix::process::getppid());
    rustix::process::set_parent_process_death_signal(Some(Signal::HUP))?;
    let started_by = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok());
    if started_by.is_some_and(|pid| Pid::from_raw(pid) != parent.0) || !parent.is_there() {
        return Err(io::Error::other("the process that started this one has ended"));
    }
    Ok(parent)
}
