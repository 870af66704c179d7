//! What can be wrong with values that people or foreign bytes provide. The hot path has no errors.

use core::fmt;

/// A message could not be built from the numbers given.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MessageError {
    /// A field is NaN or infinite. Numbers that are merely out of range are clamped instead.
    NotFinite {
        /// The field's name.
        field: &'static str,
        /// The value found.
        found: f64,
    },
    /// An image's width, height or size is zero or too large.
    Shape {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { field, found } => {
                write!(f, "{field} is {found}, expected a finite number; pass none where there is no value")
            }
            Self::Shape { width, height } => write!(
                f,
                "an image of {width}x{height} pixels, expected 1x1 to {max}x{max}; choose another shape",
                max = crate::MAX_IMAGE_SIDE
            ),
        }
    }
}

impl core::error::Error for MessageError {}

/// A message could not be encoded or decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The destination is too short for the encoded message.
    NoSpace {
        /// Its size in bytes.
        size: usize,
    },
    /// The bytes end before the message does.
    Truncated {
        /// How many bytes there were.
        length: usize,
    },
    /// There are bytes left after the message.
    Trailing {
        /// How many.
        extra: usize,
    },
    /// The bytes are no encoding of this message type.
    Malformed,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace { size } => write!(f, "the message does not fit {size} bytes; provide a larger destination"),
            Self::Truncated { length } => write!(f, "the message is cut off after {length} bytes"),
            Self::Trailing { extra } => write!(f, "{extra} bytes follow the message, expected none"),
            Self::Malformed => write!(f, "the bytes are no encoding of this message type"),
        }
    }
}

impl core::error::Error for CodecError {}
