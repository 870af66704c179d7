//! How the clock of another machine differs from this one's, as an interval that is known to hold it.
//!
//! A question is sent at `sent` of this clock, answered at `theirs` of the other, and the answer is here at `back`. So
//! the moment `theirs` was between `sent` and `back`: what is to be added to times of the other clock lies between
//! `sent - theirs` and `back - theirs`. Every round trip gives such an interval, and all of them hold, so that their
//! intersection does. As the clocks drift apart, each is widened with the time since its question, as nobody knows how
//! much of the round trip the answer's way back took, and old ones are forgotten.

use std::collections::VecDeque;

/// How fast two clocks may drift apart, in parts of a million: quartz is within 50 for each.
const DRIFT_PPM: u64 = 100;

/// Round trips that are kept.
const KEPT: usize = 64;

/// After this time without an answer the offset is not known, in nanoseconds.
const SILENCE: u64 = 2_000_000_000;

/// A round trip, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    /// When the question went and when the answer was here, by this clock.
    sent: u64,
    back: u64,
    /// What is to be added at least, and at most.
    low: i128,
    high: i128,
}

/// The interval of what is to be added to times of the other clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    low: i128,
    high: i128,
}

/// The round trips of late, and what follows from them.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    kept: VecDeque<RoundTrip>,
}

impl Clocks {
    /// Adds a round trip; one whose answer came before the question is none.
    pub(crate) fn add(&mut self, sent: u64, theirs: u64, back: u64) {
        if back < sent {
            return;
        }
        let low = i128::from(sent) - i128::from(theirs);
        let high = i128::from(back) - i128::from(theirs);
        let new = RoundTrip { sent, back, low, high };
        self.kept.push_back(new);
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
        if self.intersection(back).is_none() {
            // One of the clocks was stopped or set, or another machine answers: what was known is no more.
            self.kept.clear();
            self.kept.push_back(new);
        }
    }

    /// The offset at `now`; `None` where it is not known.
    #[must_use]
    pub(crate) fn offset(&self, now: u64) -> Option<Offset> {
        let newest = self.kept.back()?;
        if now.saturating_sub(newest.back) > SILENCE {
            return None;
        }
        self.intersection(now)
    }

    fn intersection(&self, now: u64) -> Option<Offset> {
        let drift = |since: u64| i128::from(now.saturating_sub(since)) * i128::from(DRIFT_PPM) / 1_000_000;
        let low = self.kept.iter().map(|one| one.low - drift(one.sent)).max()?;
        let high = self.kept.iter().map(|one| one.high + drift(one.sent)).min()?;
        (low <= high).then_some(Offset { low, high })
    }
}

impl Offset {
    /// The earliest time of this clock that the time `theirs` of the other can be, so that an age from it is the upper
    /// bound; 0 where it lies before this clock's start.
    #[must_use]
    pub(crate) fn earliest(&self, theirs: u64) -> u64 {
        u64::try_from((i128::from(theirs) + self.low).max(0)).unwrap_or(u64::MAX)
    }

    /// The same in seconds.
    #[must_use]
    pub(crate) fn earliest_s(&self, theirs: f64) -> f64 {
        theirs + self.low as f64 * 1e-9
    }

    /// The middle of the interval, in seconds.
    #[must_use]
    pub(crate) fn seconds(&self) -> f64 {
        (self.low + self.high) as f64 * 0.5e-9
    }

    /// Half of the interval, in seconds: the offset is the middle, give or take this.
    #[must_use]
    pub(crate) fn uncertainty_s(&self) -> f64 {
        (self.high - self.low) as f64 * 0.5e-9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_best_parts_of_all_round_trips_count() {
        // The other clock is 1000 s ahead.
        let ahead = 1_000_000 * MS;
        let mut clocks = Clocks::default();
        assert_eq!(clocks.offset(0), None);
        // 1 ms there and 9 back, then 8 there and 2 back.
        clocks.add(100 * MS, ahead + 101 * MS, 110 * MS);
        clocks.add(110 * MS, ahead + 118 * MS, 120 * MS);
        let offset = clocks.offset(120 * MS).unwrap();
        assert!((offset.seconds() + 1000.0).abs() < 0.002, "{offset:?}");
        assert!((offset.uncertainty_s() - 0.0015).abs() < 1e-5, "{offset:?}");
        assert_eq!(offset.earliest(ahead + 119 * MS), 118 * MS - 2000, "1 ms too early, and the drift of 20 ms");
        assert_eq!(offset.earliest(0), 0, "before this clock's start");
    }

    #[test]
    fn silence_and_a_clock_that_jumps_make_it_unknown() {
        let mut clocks = Clocks::default();
        clocks.add(100 * MS, 500 * MS, 101 * MS);
        assert!(clocks.offset(2100 * MS).is_some());
        assert_eq!(clocks.offset(2102 * MS), None, "nothing for more than 2 s");
        clocks.add(2200 * MS, 9000 * MS, 2201 * MS);
        let offset = clocks.offset(2201 * MS).unwrap();
        assert!((offset.seconds() + 6.7995).abs() < 1e-3, "the first one is forgotten: {offset:?}");
        clocks.add(2300 * MS, 9000 * MS, 2200 * MS);
        assert_eq!(clocks.offset(2201 * MS), Some(offset), "no answer comes before its question");
    }

    proptest! {
        /// Whatever the ways take and however the clocks drift, an age is never shown as less than it is.
        #[test]
        fn the_interval_holds_the_truth(
            ahead in -1_000_000_000_000_i64..1_000_000_000_000,
            ppm in -99_i64..99,
            // A way that takes no time leaves nothing in its bound that could hide the drift.
            ways in proptest::collection::vec((
                prop_oneof![Just(0), 0_u64..50_000_000],
                prop_oneof![Just(0), 0_u64..50_000_000],
                0_u64..500_000_000,
            ), 1..80),
        ) {
            let start = 2_000_000_000_000_u64;
            let theirs = |mine: u64| {
                let since = i128::from(mine - start);
                (i128::from(mine) + i128::from(ahead) + since * i128::from(ppm) / 1_000_000) as u64
            };
            let (mut clocks, mut now) = (Clocks::default(), start);
            for (there, back, pause) in ways {
                let sent = now;
                now += there + back;
                clocks.add(sent, theirs(sent + there), now);
                let offset = clocks.offset(now).expect("true round trips agree");
                for earlier in [0, 1_000_000, 100_000_000] {
                    let moment = now.saturating_sub(earlier).max(start);
                    // Times of before the newest round trip drift by as much.
                    prop_assert!(offset.earliest(theirs(moment)) <= moment + earlier * DRIFT_PPM / 1_000_000 + 2);
                }
                prop_assert!(offset.uncertainty_s() >= 0.0);
                now += pause;
            }
        }
    }
}
