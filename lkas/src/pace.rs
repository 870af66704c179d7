//! Words at a bounded pace: who is flooded with requests must not flood the log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two times that something is said.
const EVERY: Duration = Duration::from_millis(500);

/// The newest words on each subject, and how often there were new ones since they were said.
#[derive(Debug)]
pub(crate) struct Pace<K, V> {
    waiting: BTreeMap<K, (V, u64)>,
    due: Instant,
}

impl<K: Ord, V> Default for Pace<K, V> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), due: Instant::now() }
    }
}

impl<K: Ord, V> Pace<K, V> {
    /// Notes the newest words on a subject, in place of those before.
    pub(crate) fn note(&mut self, subject: K, words: V) {
        let count = self.waiting.get(&subject).map_or(0, |(_, count)| *count);
        self.waiting.insert(subject, (words, count + 1));
    }

    /// What is to be said now, with how often it changed: everything noted, at most twice a second.
    pub(crate) fn due(&mut self) -> BTreeMap<K, (V, u64)> {
        if self.waiting.is_empty() || Instant::now() < self.due {
            return BTreeMap::new();
        }
        self.due = Instant::now() + EVERY;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_of_a_flood_the_newest() {
        let mut pace = Pace::default();
        pace.note("kp", 0);
        assert_eq!(pace.due(), BTreeMap::from([("kp", (0, 1))]));
        pace.due = Instant::now() + Duration::from_secs(3600);
        for value in 1..=1000 {
            pace.note("kp", value);
            assert!(pace.due().is_empty());
        }
        pace.due = Instant::now();
        assert_eq!(pace.due(), BTreeMap::from([("kp", (1000, 1000))]));
        assert!(pace.due().is_empty());
    }
}
