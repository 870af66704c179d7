//! What a channel promises in time, and the verdict on whether it keeps it.

use core::time::Duration;
use lkas_core::Sample;

/// What a writer promises: how often it publishes, and how old its newest value may become before nobody should act on
/// it. It stands in the segment; a succeeding writer may promise something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// The longest time between two publishes.
    pub period: Duration,
    /// The age up to which a value may be used; at least the period.
    pub max_age: Duration,
}

/// A channel's newest value, or that there is none, with the verdict on its time.
#[derive(Debug)]
#[must_use = "only a fresh value may be acted on without a thought"]
pub enum Reading<'r, T: ?Sized> {
    /// Nothing was published yet.
    Empty,
    /// Not older than the period.
    Fresh(Sample<'r, T>),
    /// The next one is overdue, but this one may still be used.
    Late {
        /// How long the next one has been overdue.
        by: Duration,
        /// The newest value.
        sample: Sample<'r, T>,
    },
    /// Too old to be used, although there is a writer: it is stuck, suspended, or waits for something itself.
    Stale {
        /// How old; `None` where its time lies in the future, so that its clock can't be trusted.
        age: Option<Duration>,
        /// The newest value.
        sample: Sample<'r, T>,
    },
    /// There is no writer any more, and the value is older than the period. It must not be acted on.
    WriterGone {
        /// How old the newest value is; `None` where its time lies in the future.
        age: Option<Duration>,
        /// The newest value.
        sample: Sample<'r, T>,
    },
}

impl Contract {
    /// The verdict on `sample` at `now`, in nanoseconds of the [clock](crate::clock). `has_writer` is only asked where it
    /// matters.
    pub(crate) fn judge<'r, T: ?Sized>(
        &self,
        sample: Option<Sample<'r, T>>,
        now: u64,
        has_writer: impl FnOnce() -> bool,
    ) -> Reading<'r, T> {
        let Some(sample) = sample else { return Reading::Empty };
        let age = now.checked_sub(sample.time()).map(Duration::from_nanos);
        match age {
            Some(age) if age <= self.period => Reading::Fresh(sample),
            age if !has_writer() => Reading::WriterGone { age, sample },
            Some(age) if age <= self.max_age => Reading::Late { by: age - self.period, sample },
            age => Reading::Stale { age, sample },
        }
    }

    /// As two numbers of nanoseconds, as they stand in a segment.
    pub(crate) fn to_words(self) -> [u64; 2] {
        [self.period, self.max_age].map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    /// From the words of a segment; `None` where they say that there is no contract, or make no sense.
    pub(crate) fn from_words([period, max_age]: [u64; 2]) -> Option<Self> {
        let contract = Self { period: Duration::from_nanos(period), max_age: Duration::from_nanos(max_age) };
        (period > 0 && period <= max_age).then_some(contract)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_core::Channel;

    const CONTRACT: Contract = Contract { period: Duration::from_nanos(10), max_age: Duration::from_nanos(25) };

    #[test]
    fn a_value_is_fresh_then_late_then_stale() {
        let mut channel = Channel::<u32, 1>::new();
        let (mut writer, [mut reader]) = channel.split();
        assert!(matches!(CONTRACT.judge(reader.latest(), 0, || true), Reading::Empty));
        writer.publish(7, 100);
        let mut at = |now: u64, alive: bool| match CONTRACT.judge(reader.latest(), now, || alive) {
            Reading::Empty => "empty".to_owned(),
            Reading::Fresh(_) => "fresh".to_owned(),
            Reading::Late { by, .. } => format!("late by {by:?}"),
            Reading::Stale { age, .. } => format!("stale, {age:?}"),
            Reading::WriterGone { age, .. } => format!("gone, {age:?}"),
        };
        assert_eq!([at(100, true), at(110, true)], ["fresh", "fresh"]);
        assert_eq!(at(110, false), "fresh", "what is fresh is good whoever is gone");
        assert_eq!([at(111, true), at(125, true)], ["late by 1ns", "late by 15ns"]);
        assert_eq!(at(126, true), "stale, Some(26ns)");
        assert_eq!([at(111, false), at(500, false)], ["gone, Some(11ns)", "gone, Some(400ns)"]);
        assert_eq!(at(99, true), "stale, None", "from the future");
    }

    #[test]
    fn only_contracts_that_make_sense_are_read() {
        assert_eq!(Contract::from_words(CONTRACT.to_words()), Some(CONTRACT));
        for words in [[0, 0], [0, 5], [10, 9]] {
            assert_eq!(Contract::from_words(words), None);
        }
    }
}
