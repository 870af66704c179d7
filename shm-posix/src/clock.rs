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

/// This process, as a segment says who writes.
pub(crate) fn identity() -> lkas_core::WriterIdentity {
    lkas_core::WriterIdentity {
        process: std::process::id(),
        time_namespace: namespace("time"),
        pid_namespace: namespace("pid"),
    }
}

/// Whether a writer's clock is the same as this process's, as far as both know. Processes of different time namespaces
/// (time_namespaces(7)) have monotonic clocks that differ.
pub(crate) fn is_shared_with(writer: lkas_core::WriterIdentity) -> bool {
    let (theirs, mine) = (writer.time_namespace, namespace("time"));
    theirs == mine || theirs == 0 || mine == 0
}

/// The namespace of that kind that this process is in, as a number; 0 where the system has none.
fn namespace(kind: &str) -> u64 {
    rustix::fs::stat(format!("/proc/self/ns/{kind}")).map_or(0, |stat| stat.st_ino)
}
