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

/// A parameter's or an action's name can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// No character at all.
    Empty,
    /// Longer than [`MAX_NAME`](crate::names::MAX_NAME) bytes.
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A character that is not a lower-case letter, a digit or an underscore.
    Character {
        /// The first such character.
        found: char,
    },
    /// Well formed, but nobody knows it.
    Unknown {
        /// The name found.
        found: crate::names::Name,
        /// What it should have been the name of.
        expected: &'static str,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = crate::names::MAX_NAME;
        match self {
            Self::Empty => write!(f, "an empty name, expected 1 to {max} of a-z, 0-9 and _"),
            Self::TooLong { length } => write!(f, "a name of {length} bytes, expected at most {max}"),
            Self::Character { found } => write!(f, "a name with {found:?} in it, expected only a-z, 0-9 and _"),
            Self::Unknown { found, expected } => write!(f, "\"{found}\" is not {expected}"),
        }
    }
}

impl core::error::Error for NameError {}

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
