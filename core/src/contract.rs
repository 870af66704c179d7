//! What a channel promises in time, and the verdict on whether it keeps it.

use crate::reader::Sample;
use core::fmt;
use core::time::Duration;

/// What a writer promises: how often it publishes, and how old its newest value may become before nobody should act on
/// it.
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use lkas_core::{Contract, Verdict};
///
/// let ms = Duration::from_millis;
/// let contract = Contract::new(ms(20), ms(60))?;
/// let judge = |age, has_writer| Verdict::on(Some(age), Ok(Some(contract)), || has_writer);
/// assert_eq!(judge(ms(15), true), Verdict::Fresh);
/// assert_eq!(judge(ms(30), true), Verdict::Late { by: ms(10) });
/// assert_eq!(judge(ms(30), false), Verdict::WriterGone);
/// assert_eq!(judge(ms(70), true), Verdict::Stale);
///
/// assert!(Contract::new(ms(100), ms(50)).is_err(), "a value could be too old before the next is due");
/// # Ok::<(), lkas_core::ContractError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    period_us: u32,
    max_age_us: u32,
}

impl Contract {
    /// A contract: at most `period` between two publishes, and no value acted on that is older than `max_age`. Both are
    /// rounded down to whole microseconds.
    ///
    /// # Errors
    /// [`ContractError`] where `period` is below 1 µs, `max_age` is below `period`, or one is above 71 minutes (2^32 µs).
    pub const fn new(period: Duration, max_age: Duration) -> Result<Self, ContractError> {
        let (period_us, max_age_us) = (period.as_micros(), max_age.as_micros());
        if period_us == 0 || max_age_us < period_us || max_age_us > u32::MAX as u128 {
            return Err(ContractError { period, max_age });
        }
        Ok(Self { period_us: period_us as u32, max_age_us: max_age_us as u32 })
    }

    /// The longest time between two publishes.
    #[must_use]
    pub const fn period(self) -> Duration {
        Duration::from_micros(self.period_us as u64)
    }

    /// The age up to which a value may be acted on; at least the period.
    #[must_use]
    pub const fn max_age(self) -> Duration {
        Duration::from_micros(self.max_age_us as u64)
    }

    /// As one word, so that it can be published at once: the period in microseconds in the lower half, the maximum age in
    /// the upper. Never 0.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.period_us as u64 | (self.max_age_us as u64) << 32
    }

    /// From a word; `None` for 0, which promises nothing.
    ///
    /// # Errors
    /// [`ContractError`] where the word makes no sense.
    pub const fn from_word(word: u64) -> Promise {
        if word == 0 {
            return Ok(None);
        }
        let (period_us, max_age_us) = (word as u32, (word >> 32) as u32);
        if period_us == 0 || max_age_us < period_us {
            let (period, max_age) = (Duration::from_micros(period_us as u64), Duration::from_micros(max_age_us as u64));
            return Err(ContractError { period, max_age });
        }
        Ok(Some(Self { period_us, max_age_us }))
    }
}

/// What a channel says of its contract: `Ok(None)` where it promises nothing, an error where what it says makes no sense.
pub type Promise = Result<Option<Contract>, ContractError>;

/// Times that are no contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractError {
    period: Duration,
    max_age: Duration,
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a contract with a period of {:?} and a maximum age of {:?}, expected a period of at least 1 µs and a maximum \
             age from the period to 71 minutes",
            self.period, self.max_age
        )
    }
}

impl core::error::Error for ContractError {}

/// What to think of a value of some age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "only a fresh value may be acted on without a thought"]
pub enum Verdict {
    /// Not older than the period.
    Fresh,
    /// The next one is overdue, but this one may still be acted on.
    Late {
        /// How long the next one has been overdue.
        by: Duration,
    },
    /// Too old to be acted on, although there is a writer: it is stuck, suspended, or waits for something itself. Also
    /// where the time lies in the future, so that its clock can't be trusted, and where the contract makes no sense.
    Stale,
    /// There is no writer any more, and the value is older than the period. It must not be acted on.
    WriterGone,
    /// The writer promises nothing. Judge by the age.
    NoContract,
}

impl Verdict {
    /// The verdict on a value that is `age` old (`None` where its time lies in the future) by `contract`, as
    /// [`LiveWords::contract`](crate::LiveWords::contract) returns it. `has_writer` is only asked where it matters.
    #[inline]
    pub fn on(age: Option<Duration>, contract: Promise, has_writer: impl FnOnce() -> bool) -> Self {
        let (period, max_age) = match contract {
            Ok(Some(contract)) => (contract.period(), contract.max_age()),
            Ok(None) => return Self::NoContract,
            Err(_) => (Duration::ZERO, Duration::ZERO),
        };
        match age {
            Some(age) if age <= period && contract.is_ok() => Self::Fresh,
            _ if !has_writer() => Self::WriterGone,
            Some(age) if age <= max_age && contract.is_ok() => Self::Late { by: age.saturating_sub(period) },
            _ => Self::Stale,
        }
    }
}

/// A channel's newest value, or that there is none, with the verdict on its time.
#[derive(Debug)]
#[must_use = "only a fresh value may be acted on without a thought"]
pub enum Reading<'r, T: ?Sized> {
    /// Nothing was published yet.
    Empty,
    /// A value.
    Value {
        /// What to think of its age.
        verdict: Verdict,
        /// How old it is; `None` where its time lies in the future.
        age: Option<Duration>,
        /// The newest value, whatever the verdict.
        sample: Sample<'r, T>,
    },
}

impl<'r, T: ?Sized> Reading<'r, T> {
    /// The verdict on `sample` at `now`, in nanoseconds of the writer's clock; see [`Verdict::on`].
    #[inline]
    pub fn new(sample: Option<Sample<'r, T>>, now: u64, contract: Promise, has_writer: impl FnOnce() -> bool) -> Self {
        let Some(sample) = sample else { return Self::Empty };
        let age = now.checked_sub(sample.time()).map(Duration::from_nanos);
        Self::Value { verdict: Verdict::on(age, contract, has_writer), age, sample }
    }

    /// The verdict; `None` where nothing was published yet.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Empty => None,
            Self::Value { verdict, .. } => Some(*verdict),
        }
    }

    /// The value, only where it is fresh.
    #[must_use]
    pub fn fresh(self) -> Option<Sample<'r, T>> {
        match self {
            Self::Value { verdict: Verdict::Fresh, sample, .. } => Some(sample),
            _ => None,
        }
    }
}

#[cfg(all(test, not(lkas_loom)))]
mod tests {
    use super::*;
    use crate::Channel;
    use std::format;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn only_times_that_make_sense_are_a_contract() {
        let contract = Contract::new(ms(20), ms(60)).unwrap();
        assert_eq!((contract.period(), contract.max_age()), (ms(20), ms(60)));
        assert_eq!(Contract::from_word(contract.to_word()), Ok(Some(contract)));
        assert!(Contract::new(ms(60), ms(60)).is_ok());
        let hours = Duration::from_secs(5000);
        for (period, max_age) in
            [(ms(100), ms(50)), (Duration::ZERO, ms(5)), (Duration::from_nanos(999), ms(5)), (ms(1), hours)]
        {
            let error = Contract::new(period, max_age).unwrap_err();
            assert!(format!("{error}").contains(&format!("a period of {period:?} and a maximum age of {max_age:?}")));
        }
        assert_eq!(Contract::from_word(0), Ok(None));
        for word in [1, 1 << 32, 10 | 9 << 32] {
            assert!(Contract::from_word(word).is_err(), "{word:#x}");
        }
    }

    #[test]
    fn a_value_is_fresh_then_late_then_stale() {
        let contract = Ok(Some(Contract::new(Duration::from_micros(10), Duration::from_micros(25)).unwrap()));
        let mut channel = Channel::<u32, 1>::new();
        let (mut writer, [mut reader]) = channel.split();
        assert!(matches!(Reading::new(reader.latest(), 0, contract, || true), Reading::Empty));
        writer.publish(7, 100_000);
        let mut at =
            |now: u64, alive: bool| Reading::new(reader.latest(), now * 1000, contract, || alive).verdict().unwrap();
        let late = |us| Verdict::Late { by: Duration::from_micros(us) };
        assert_eq!([at(100, true), at(110, true)], [Verdict::Fresh; 2]);
        assert_eq!(at(110, false), Verdict::Fresh, "what is fresh is good whoever is gone");
        assert_eq!([at(111, true), at(125, true)], [late(1), late(15)]);
        assert_eq!(at(126, true), Verdict::Stale);
        assert_eq!([at(111, false), at(500, false)], [Verdict::WriterGone; 2]);
        assert_eq!(at(99, true), Verdict::Stale, "from the future");
    }

    #[test]
    fn nonsense_is_never_fresh_and_no_contract_is_no_verdict() {
        let nonsense = Contract::from_word(50 << 32 | 100);
        for age in [Some(Duration::ZERO), Some(ms(1)), None] {
            assert_eq!(Verdict::on(age, nonsense, || true), Verdict::Stale);
            assert_eq!(Verdict::on(age, nonsense, || false), Verdict::WriterGone);
            assert_eq!(Verdict::on(age, Ok(None), || unreachable!("it does not matter")), Verdict::NoContract);
        }
    }
}
