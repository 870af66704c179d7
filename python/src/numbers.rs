//! Numbers on their way between Python and the channels.

use core::time::Duration;
use pyo3::PyResult;

/// A number of 32 bits as the shortest decimal that names it: 0.1 for what is 0.100000001490116.
pub(crate) fn shortest(value: f32) -> f64 {
    let wide = f64::from(value);
    if wide.fract() == 0.0 || !wide.is_finite() {
        return wide;
    }
    value.to_string().parse().unwrap_or(wide)
}

/// Seconds from Python as a duration; infinity is for ever.
pub(crate) fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    if value.is_nan() || value < 0.0 {
        return Err(crate::errors::value(format!("{name} is {value}, expected seconds, 0 or more")));
    }
    Ok(Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX))
}

/// Nanoseconds as seconds.
pub(crate) fn in_seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 * 1e-9
}
