//! Small random numbers: nothing here needs good ones, only ones that come back with their seed.

use std::time::Duration;

/// splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// 0 to `limit - 1`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// From a microsecond to `limit`, each order of magnitude as likely as the others: what matters happens within
    /// microseconds of some instants and within milliseconds of others.
    pub(crate) fn pause(&mut self, limit: Duration) -> Duration {
        let fraction = self.below(1 << 20) as f64 / (1 << 20) as f64;
        let microseconds = (limit.as_secs_f64() * 1e6).powf(fraction);
        Duration::from_secs_f64(microseconds * 1e-6)
    }
}
