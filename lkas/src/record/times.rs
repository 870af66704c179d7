//! The times of a recording: those of the channels' clock, and since 1970.

use lkas_shm::clock;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is added to a time of the channels' clock to have one since 1970, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offset(pub(super) i128);

impl Offset {
    pub(super) fn now() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self(unix as i128 - i128::from(clock::now()))
    }

    /// A time in nanoseconds of the channels' clock, in nanoseconds since 1970.
    pub(super) fn unix(self, time: u64) -> u64 {
        self.unix_of(time.into())
    }

    /// The same of a time in seconds.
    pub(super) fn unix_of_seconds(self, time: f64) -> u64 {
        self.unix_of((time * 1e9) as i128)
    }

    fn unix_of(self, time: i128) -> u64 {
        u64::try_from(time + self.0).unwrap_or(0)
    }
}
