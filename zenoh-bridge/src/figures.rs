//! What a mirror does, in figures: kept while it runs, and published on a channel of their own.

use core::fmt;
use lkas_shm::{Code, Enumeration, Message, Text, clock};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Channels of one mirror: those that its status has room for.
pub const CHANNELS: usize = 16;

/// Ages that the percentiles are of: the last so many.
const AGES: usize = 512;

/// Which way a channel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(u32)]
pub enum Direction {
    /// Its writer is on this machine.
    Exported = 1,
    /// Its writer is on another.
    Imported = 2,
}

/// One mirrored channel.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[message(name = "lkas.Mirrored")]
#[repr(C)]
pub struct Mirrored {
    /// Its name; empty where the place is not used.
    pub name: Text<64>,
    /// What keeps it from being mirrored; empty while it is.
    pub trouble: Text<160>,
    /// The other mirror, where the channel is imported.
    pub peer: Text<32>,
    /// Which way it goes.
    pub direction: Code<Direction>,
    /// How many importers ask for values of late, where it is exported.
    pub importers: u32,
    /// What is added to times of the other machine, where it is imported; NaN while it is not known.
    #[message(unit = "s")]
    pub offset_s: f64,
    /// That much more or less it may be.
    #[message(unit = "s")]
    pub uncertainty_s: f64,
    /// Values sent or received in the last second.
    #[message(unit = "Hz")]
    pub rate_hz: f64,
    /// From the publish on the other machine to that on this one, at most: median of late, where it is imported.
    #[message(unit = "s")]
    pub age_p50_s: f64,
    /// The same, 99th percentile.
    #[message(unit = "s")]
    pub age_p99_s: f64,
    /// Values sent or received.
    pub values: u64,
    /// Values of the writer that were replaced before they were sent.
    pub dropped: u64,
    /// What arrived and was not used.
    pub refused: u64,
    /// Bytes of values sent or received.
    #[message(unit = "B")]
    pub bytes: u64,
}

impl Default for Mirrored {
    /// A place that is not used.
    fn default() -> Self {
        Self {
            name: Text::default(),
            trouble: Text::default(),
            peer: Text::default(),
            direction: Code::from_number(0),
            importers: 0,
            offset_s: f64::NAN,
            uncertainty_s: f64::NAN,
            rate_hz: 0.0,
            age_p50_s: 0.0,
            age_p99_s: 0.0,
            values: 0,
            dropped: 0,
            refused: 0,
            bytes: 0,
        }
    }
}

/// What a mirror says of itself, once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.MirrorStatus")]
#[repr(C)]
pub struct MirrorStatus {
    /// The channels; places with an empty name are not used.
    pub channels: [Mirrored; CHANNELS],
}

/// The figures of one channel while it is mirrored.
#[derive(Debug)]
pub(crate) struct Figures(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    shown: Mirrored,
    ages: Vec<u64>,
    next_age: usize,
    /// When the rate was taken, and the number of values then.
    rated: (u64, u64),
    /// The trouble that was said last.
    said: String,
}

impl Figures {
    pub(crate) fn new(name: &str, direction: Direction) -> Self {
        let shown = Mirrored { name: name.into(), direction: direction.into(), ..Mirrored::default() };
        let said = String::new();
        Self(Mutex::new(Kept { shown, ages: Vec::new(), next_age: 0, rated: (clock::now(), 0), said }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is shown.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Mirrored)) {
        change(&mut self.kept().shown);
    }

    /// Counts a value that was sent or received.
    pub(crate) fn count(&self, bytes: usize, age: Option<u64>) {
        let mut kept = self.kept();
        kept.shown.values += 1;
        kept.shown.bytes += bytes as u64;
        if let Some(age) = age {
            let place = kept.next_age;
            match kept.ages.get_mut(place) {
                Some(kept) => *kept = age,
                None => kept.ages.push(age),
            }
            kept.next_age = (place + 1) % AGES;
        }
    }

    /// Counts something that was not used, and says why where that is new.
    pub(crate) fn refuse(&self, why: impl fmt::Display) {
        let mut kept = self.kept();
        kept.shown.refused += 1;
        Self::say(&mut kept, format!("refused: {why}"));
    }

    /// Says what keeps the channel from being mirrored, where that is new.
    pub(crate) fn trouble(&self, why: impl fmt::Display) {
        let mut kept = self.kept();
        let why = why.to_string();
        kept.shown.trouble = why.as_str().into();
        Self::say(&mut kept, why);
    }

    fn say(kept: &mut Kept, words: String) {
        if kept.said != words {
            tracing::warn!("{}: {words}", kept.shown.name);
            kept.said = words;
        }
    }

    /// Nothing keeps the channel from being mirrored.
    pub(crate) fn works(&self, how: impl fmt::Display) {
        let mut kept = self.kept();
        kept.shown.trouble = Text::default();
        let how = how.to_string();
        if kept.said != how {
            tracing::info!("{}: {how}", kept.shown.name);
            kept.said = how;
        }
    }

    /// What is shown now.
    pub(crate) fn shown(&self) -> Mirrored {
        let mut kept = self.kept();
        let now = clock::now();
        let (since, values) = kept.rated;
        let seconds = now.saturating_sub(since) as f64 * 1e-9;
        if seconds > 0.0 {
            kept.shown.rate_hz = (kept.shown.values - values) as f64 / seconds;
        }
        kept.rated = (now, kept.shown.values);
        let mut ages = kept.ages.clone();
        ages.sort_unstable();
        let at =
            |quantile: f64| ages.get((ages.len() as f64 * quantile) as usize).map_or(0.0, |age| *age as f64 * 1e-9);
        (kept.shown.age_p50_s, kept.shown.age_p99_s) = (at(0.5), at(0.99));
        kept.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_what_was_counted() {
        let figures = Figures::new("camera_feed", Direction::Imported);
        for age in 1..=AGES as u64 + 100 {
            figures.count(10, Some(age * 1_000_000));
        }
        figures.refuse("nonsense");
        figures.trouble("there is nobody");
        let shown = figures.shown();
        assert_eq!((shown.values, shown.bytes, shown.refused), (612, 6120, 1));
        assert_eq!((shown.name.as_str(), shown.trouble.as_str()), ("camera_feed", "there is nobody"));
        assert!((0.3..0.4).contains(&shown.age_p50_s) && (0.6..0.62).contains(&shown.age_p99_s), "{shown:?}");
        assert!(shown.rate_hz > 0.0);
        figures.works("it is");
        assert!(figures.shown().trouble.is_empty());
        assert_eq!(figures.shown().direction.get(), Ok(Direction::Imported));
    }
}
