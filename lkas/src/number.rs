//! Numbers on command lines.

use core::ops::RangeInclusive;

/// A number that has to be in that range; `expected` says so where it is not.
pub(crate) fn within(range: RangeInclusive<f64>, text: &str, expected: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| expected.to_owned())
}
