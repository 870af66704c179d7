//! The clock that stamps every publish.

use rustix::time::{ClockId, clock_gettime};

/// Now, in nanoseconds of `CLOCK_MONOTONIC`: the same for all processes of one machine, never set, only rising.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at 0 and reaches 2^64 ns after 584 years.
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Now, in seconds of the same clock, as messages stamp captures.
#[must_use]
pub fn now_seconds() -> f64 {
    now() as f64 * 1e-9
}

/// The time namespace of this process (time_namespaces(7)), as a number; 0 where the system has none. Processes of
/// different ones have monotonic clocks that differ.
pub(crate) fn namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/time").map_or(0, |stat| stat.st_ino)
}
