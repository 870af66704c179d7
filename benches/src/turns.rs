//! Operations of some nanoseconds, on one thread.

use crate::figures::{Group, Row};
use std::time::Instant;

/// Operations that are timed together.
const BATCH: u64 = 100;

/// Something to be measured: a name and one operation.
pub struct Rival<'a> {
    name: String,
    /// Does it as often as it is told to, with numbers from the one given. The loop is inside, so that the compiler sees
    /// the operation in it.
    batch_of: Box<dyn FnMut(u64, u64) + 'a>,
    batch: u64,
}

impl<'a> Rival<'a> {
    /// `operation` is called with a number that differs each time.
    pub fn new(name: impl Into<String>, mut operation: impl FnMut(u64) + 'a) -> Self {
        let batch_of = move |first, count| (first..first + count).for_each(&mut operation);
        Self { name: name.into(), batch_of: Box::new(batch_of), batch: BATCH }
    }

    /// For operations so slow that each can be timed.
    #[must_use]
    pub fn slow(self) -> Self {
        Self { batch: 1, ..self }
    }
}

impl core::fmt::Debug for Rival<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rival").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Measures the rivals in turn for `rounds` rounds of a hundred batches. Figures are of batches of a hundred operations
/// (of single ones where they are slow); ratios are to the first rival, round by round.
pub fn take_turns(title: &str, rounds: usize, rivals: &mut [Rival<'_>]) -> Group {
    let mut samples = vec![Vec::new(); rivals.len()];
    let mut means = vec![Vec::new(); rivals.len()];
    let mut number = 1;
    // One round more than is counted: the first warms up.
    for round in 0..=rounds {
        for (index, rival) in rivals.iter_mut().enumerate() {
            let batches = if rival.batch == 1 { 10 } else { 100 };
            let start = Instant::now();
            for _ in 0..batches {
                let start = Instant::now();
                (rival.batch_of)(number, rival.batch);
                number += rival.batch;
                if round > 0 {
                    samples[index].push(start.elapsed().as_nanos() as f64 / rival.batch as f64);
                }
            }
            if round > 0 {
                means[index].push(start.elapsed().as_nanos() as f64 / (batches * rival.batch) as f64);
            }
        }
    }
    let row = |index: usize| Row::against(&means[0], &rivals[index].name, &samples[index], &means[index]);
    let rows = (0..rivals.len()).map(row);
    Group::new(title, "ns", rows.collect())
}
