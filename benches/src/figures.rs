//! What benches find, as tables and as JSON.

use crate::machine::Machine;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a quantity is spread.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// The median.
    pub p50: f64,
    /// What 99 of 100 are below.
    pub p99: f64,
    /// What 999 of 1000 are below.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
    /// How many there were.
    pub samples: u64,
}

impl Figures {
    /// Of `samples`, through a histogram of three digits.
    ///
    /// # Panics
    /// Never: the histogram's bounds hold any sample.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        // Hundredths, so that parts of a nanosecond are not lost.
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1 << 50, 3).expect("good bounds");
        for sample in samples {
            histogram.saturating_record((sample * 100.0) as u64);
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 100.0;
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
            max: samples.iter().copied().fold(0.0, f64::max),
            samples: histogram.len(),
        }
    }
}

/// One line of a table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// Who or what was measured.
    pub name: String,
    /// What was found.
    pub figures: Option<Figures>,
    /// How often it is as much as the group's first row; the median over rounds.
    pub ratio: Option<f64>,
    /// The same, over the rounds in which the two processors were near to each other.
    pub near: Option<f64>,
    /// The same, over the rounds in which they were far apart.
    pub far: Option<f64>,
    /// One number where there is no spread.
    pub value: Option<f64>,
}

impl Row {
    /// A row with nothing in it yet.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// A row of `samples`, whose ratio is the middle one of those that each round's `means` have to the `reference`'s.
    #[must_use]
    pub fn against(reference: &[f64], name: &str, samples: &[f64], means: &[f64]) -> Self {
        let ratios = means.iter().zip(reference).map(|(one, reference)| one / reference).collect();
        Self { figures: Some(Figures::of(samples)), ratio: Some(crate::median(ratios)), ..Self::named(name) }
    }

    /// A row with one number.
    #[must_use]
    pub fn value(name: &str, value: f64) -> Self {
        Self { value: Some(value), ..Self::named(name) }
    }
}

/// Rows that can be compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// What was measured.
    pub title: String,
    /// The unit of all figures.
    pub unit: String,
    /// The rows; the first one is what ratios refer to.
    pub rows: Vec<Row>,
}

impl Group {
    /// A group of `rows`.
    #[must_use]
    pub fn new(title: &str, unit: &str, rows: Vec<Row>) -> Self {
        Self { title: title.to_owned(), unit: unit.to_owned(), rows }
    }

    /// The row whose name starts so.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn row(&self, name: &str) -> &Row {
        let row = self.rows.iter().find(|row| row.name.starts_with(name));
        row.unwrap_or_else(|| panic!("\"{}\" has no row {name}", self.title))
    }

    /// The median of a row.
    #[must_use]
    pub fn p50(&self, name: &str) -> f64 {
        self.row(name).figures.map_or(f64::NAN, |figures| figures.p50)
    }
}

/// Which side of a number is good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Limit {
    /// As much or less.
    AtMost(f64),
    /// Just that.
    Exactly(f64),
}

impl core::fmt::Display for Limit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {}", number(*limit)),
            Self::Exactly(limit) => write!(f, "{}", number(*limit)),
        }
    }
}

/// A figure for people: two places, unless it is whole or large.
#[must_use]
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// What was aimed at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// In words.
    pub what: String,
    /// What was found.
    pub found: f64,
    /// What is good.
    pub limit: Limit,
}

impl Target {
    /// `what` shall be within `limit`.
    #[must_use]
    pub fn new(what: &str, found: f64, limit: Limit) -> Self {
        Self { what: what.to_owned(), found, limit }
    }

    /// Whether it was.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtMost(limit) => self.found <= limit,
            Limit::Exactly(limit) => self.found == limit,
        }
    }
}

/// All that one bench found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bench {
    /// Its name, as `cargo bench --bench` knows it.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// How it asks.
    pub method: String,
    /// What its figures do not show.
    pub unseen: String,
    /// The machine.
    pub machine: Machine,
    /// Whether this was the short form.
    pub short: bool,
    /// The tables.
    pub groups: Vec<Group>,
    /// What was aimed at.
    pub targets: Vec<Target>,
}

impl Bench {
    /// A bench that has measured nothing yet.
    #[must_use]
    pub fn new(name: &str, question: &str, method: &str, unseen: &str) -> Self {
        println!("\n{name}: {question}");
        Self {
            name: name.to_owned(),
            question: question.to_owned(),
            method: method.to_owned(),
            unseen: unseen.to_owned(),
            machine: Machine::this(),
            short: crate::is_short(),
            groups: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Prints a group and keeps it.
    pub fn add(&mut self, group: Group) {
        println!("\n  {}, in {}", group.title, group.unit);
        println!("  {:<50} {:>9} {:>9} {:>9} {:>10} {:>8}", "", "p50", "p99", "p99.9", "max", "ratio");
        for row in &group.rows {
            print!("  {:<50}", row.name);
            if let Some(value) = row.value {
                print!(" {value:>9.2}");
            }
            if let Some(Figures { p50, p99, p99_9, max, .. }) = row.figures {
                print!(" {p50:>9.2} {p99:>9.2} {p99_9:>9.2} {max:>10.1}");
            }
            for ratio in [row.ratio, row.near, row.far].into_iter().flatten() {
                print!(" {ratio:>7.2}x");
            }
            println!();
        }
        self.groups.push(group);
    }

    /// Prints what was aimed at and keeps it.
    pub fn aim(&mut self, what: &str, found: f64, limit: Limit) {
        let target = Target::new(what, found, limit);
        let verdict = if target.is_met() { "met" } else { "MISSED" };
        println!("  {verdict:<6} {what}: {found:.2}, aimed: {limit}");
        self.targets.push(target);
    }

    /// Leaves it for the report, where one was asked for.
    ///
    /// # Panics
    /// The file can't be written.
    pub fn save(&self) {
        let Some(folder) = std::env::var_os("LKAS_BENCHES").map(PathBuf::from) else { return };
        let path = folder.join(&self.name).with_extension("json");
        let text = serde_json::to_string_pretty(self).expect("plain data");
        std::fs::write(&path, text).unwrap_or_else(|why| panic!("can't write {}: {why}", path.display()));
    }
}
