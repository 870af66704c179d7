//! How the benches measure: rivals in turn, round by round, so that a machine that changes its speed changes it for all.

use std::time::Instant;

/// Operations in one round of one rival.
const ROUND: u32 = 10_000;

/// Something to be measured: a name and one operation.
pub struct Rival<'a> {
    name: &'static str,
    operation: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> Rival<'a> {
    /// `operation` is called with a number that differs each time.
    pub fn new(name: &'static str, operation: impl FnMut(u64) + 'a) -> Self {
        Self { name, operation: Box::new(operation) }
    }
}

impl core::fmt::Debug for Rival<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rival").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Measures the rivals in turn for `rounds` rounds and prints for each the median of its rounds and the median of its
/// ratios to the first one, taken round by round.
pub fn compare(question: &str, rounds: usize, rivals: &mut [Rival<'_>]) {
    println!("{question}");
    let mut nanoseconds = vec![Vec::with_capacity(rounds); rivals.len()];
    let mut number = 0;
    // One round more than is counted: the first warms up.
    for round in 0..=rounds {
        for (rival, results) in rivals.iter_mut().zip(&mut nanoseconds) {
            let start = Instant::now();
            for _ in 0..ROUND {
                number += 1;
                (rival.operation)(number);
            }
            if round > 0 {
                results.push(start.elapsed().as_nanos() as f64 / f64::from(ROUND));
            }
        }
    }
    let reference = nanoseconds[0].clone();
    for (rival, results) in rivals.iter().zip(&nanoseconds) {
        let ratios = results.iter().zip(&reference).map(|(a, b)| a / b).collect();
        println!("  {:<44} {:>10.2} ns   {:>6.2} x", rival.name, median(results.clone()), median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
