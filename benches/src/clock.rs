//! Time stamps that cost little.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Now, in ticks of the processor's counter where it has one that never changes its rate (x86), else in nanoseconds.
#[inline]
#[must_use]
pub fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every processor of this kind has the instruction.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// What a tick is worth.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// Nanoseconds for each tick.
    pub nanoseconds: f64,
    /// What two readings in a row are apart, at the median, in ticks. It is taken off every interval.
    pub cost: u64,
}

impl Ticks {
    /// Measured once, against the system's clock.
    pub fn get() -> Self {
        static TICKS: OnceLock<Ticks> = OnceLock::new();
        *TICKS.get_or_init(|| {
            let (start, from) = (Instant::now(), ticks());
            std::thread::sleep(Duration::from_millis(50));
            let (elapsed, to) = (start.elapsed(), ticks());
            let mut costs: Vec<u64> = (0..1001)
                .map(|_| {
                    let from = ticks();
                    ticks().saturating_sub(from)
                })
                .collect();
            costs.sort_unstable();
            Ticks { nanoseconds: elapsed.as_nanos() as f64 / (to - from) as f64, cost: costs[500] }
        })
    }

    /// The nanoseconds from one stamp to a later one, the cost of stamping taken off.
    #[inline]
    #[must_use]
    pub fn between(&self, from: u64, to: u64) -> f64 {
        to.saturating_sub(from).saturating_sub(self.cost) as f64 * self.nanoseconds
    }
}
