//! Numbers that come in: refused or clamped.

use crate::error::MessageError;

/// Refuses NaN and infinities by name.
pub(crate) fn finite(field: &'static str, value: f32) -> Result<f32, MessageError> {
    if value.is_finite() { Ok(value) } else { Err(MessageError::NotFinite { field, found: f64::from(value) }) }
}

/// Refuses a time stamp that is NaN or infinite.
pub(crate) fn finite_time(value: f64) -> Result<f64, MessageError> {
    if value.is_finite() { Ok(value) } else { Err(MessageError::NotFinite { field: "timestamp", found: value }) }
}

/// A number from foreign memory: clamped to its range, and the safe value where it is not finite.
pub(crate) fn sane(value: f32, min: f32, max: f32, safe: f32) -> f32 {
    if value.is_finite() { value.clamp(min, max) } else { safe }
}
