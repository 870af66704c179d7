//! How the benches measure and what they write down.
//!
//! Rivals take turns, round by round, so that a machine that changes its speed changes it for all; ratios are taken
//! within a round, and their median is what counts. Every bench is a program of its own that prints its tables and, where
//! `LKAS_BENCHES` names a folder, leaves them there as JSON for the `report` program.
#![deny(unsafe_code)]

#[allow(unsafe_code)] // the processor's counter of time
mod clock;
mod figures;
mod links;
mod machine;
mod partner;
#[allow(unsafe_code)] // memory shared by hand: the limits that channels are compared with
mod shared;
mod turns;

pub use clock::{Ticks, ticks};
pub use figures::{Bench, Figures, Group, Limit, Row, Target, number};
pub use links::{Block, Duel, Link, Match, Side};
pub use machine::{Machine, one_processor, pin, processors, real_time};
pub use partner::{Partner, role, system_calls};
pub use shared::{Shared, clean, prefix};
pub use turns::{Rival, take_turns};

/// Whether the short form was asked for (`--short`): the same code, too few rounds to believe a figure.
#[must_use]
pub fn is_short() -> bool {
    std::env::args().any(|argument| argument == "--short") || std::env::var_os("LKAS_BENCHES_SHORT").is_some()
}

/// Whether a table is wanted: all are, unless arguments name parts of titles.
#[must_use]
pub fn is_wanted(title: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    parts.peek().is_none() || parts.any(|part| title.contains(&part))
}

/// `long`, or `short` in the short form.
#[must_use]
pub fn rounds(long: usize, short: usize) -> usize {
    if is_short() { short } else { long }
}

/// The bytes of a picture, in which none is like its neighbours.
#[must_use]
pub fn picture(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// The middle of `values`; NaN where there are none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
