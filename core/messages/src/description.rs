//! What a message looks like, for tools that were not compiled for it and for sides that must agree.

use crate::checksum::METHOD;

/// A message's name and fields, so that a tool can print it without being compiled for it.
pub trait Message {
    /// The type's name, as it stands in a segment's header.
    const NAME: &'static str;
    /// Its fields, in the order of their offsets.
    const FIELDS: &'static [Field];
}

/// One field of a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name.
    pub name: &'static str,
    /// How its bytes are to be read.
    pub kind: Kind,
    /// Its first byte, from the start of the message.
    pub offset: usize,
    /// Its unit, empty where it has none.
    pub unit: &'static str,
    /// The bit of the field `present` that says whether there is a value; `None` if there always is one.
    pub present_bit: Option<u8>,
}

/// How a field's bytes are to be read; all little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned integer of 16 bits.
    U16,
    /// An unsigned integer of 32 bits.
    U32,
    /// An unsigned integer of 64 bits.
    U64,
    /// A floating-point number of 32 bits.
    F32,
    /// A floating-point number of 64 bits.
    F64,
}

impl Kind {
    const ALL: [Self; 5] = [Self::U16, Self::U32, Self::U64, Self::F32, Self::F64];

    /// The kind's name as it stands in a segment's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Bytes of a field of this kind.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 | Self::F32 => 4,
            Self::U64 | Self::F64 => 8,
        }
    }
}

/// A hash (64-bit FNV-1a) over a message's name, its fields, and how check values are made: two sides that agree on it
/// agree on what the bytes are.
#[must_use]
pub const fn fingerprint<M: Message + ?Sized>() -> u64 {
    fingerprint_checked_by::<M>(METHOD)
}

const fn fingerprint_checked_by<M: Message + ?Sized>(method: &str) -> u64 {
    let mut hash = hash_bytes(0xcbf2_9ce4_8422_2325, method.as_bytes());
    hash = hash_bytes(hash, M::NAME.as_bytes());
    let mut rest = M::FIELDS;
    while let [field, tail @ ..] = rest {
        hash = hash_bytes(hash, field.name.as_bytes());
        hash = hash_bytes(hash, field.kind.name().as_bytes());
        hash = hash_bytes(hash, field.unit.as_bytes());
        let bit = match field.present_bit {
            Some(bit) => bit,
            None => u8::MAX,
        };
        hash = hash_bytes(hash, &[bit]);
        hash = hash_bytes(hash, &(field.offset as u64).to_le_bytes());
        rest = tail;
    }
    hash
}

const fn hash_bytes(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [byte, tail @ ..] = bytes {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        bytes = tail;
    }
    hash
}

/// `field!(Type, path, KIND, "unit", present bit)`: a [`Field`] whose offset the compiler works
/// out. Unit and bit may be left out.
///
/// ```
/// #[repr(C)]
/// struct Wheel {
///     rate: f32,
/// }
/// const RATE: lkas_messages::Field = lkas_messages::field!(Wheel, rate, F32, "1/s");
/// assert_eq!((RATE.name, RATE.offset), ("rate", 0));
/// ```
#[macro_export]
macro_rules! field {
    ($message:ty, $($path:ident).+, $kind:ident) => { $crate::field!($message, $($path).+, $kind, "", None) };
    ($message:ty, $($path:ident).+, $kind:ident, $unit:literal) => {
        $crate::field!($message, $($path).+, $kind, $unit, None)
    };
    ($message:ty, $($path:ident).+, $kind:ident, $unit:literal, $bit:expr) => {
        $crate::Field {
            name: stringify!($($path).+),
            kind: $crate::Kind::$kind,
            offset: core::mem::offset_of!($message, $($path).+),
            unit: $unit,
            present_bit: $bit,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Control, Detection};

    #[test]
    fn a_fingerprint_is_of_the_type_and_of_the_check() {
        let control = fingerprint::<Control>();
        assert_ne!(control, fingerprint::<Detection>());
        assert_eq!(control, fingerprint_checked_by::<Control>(METHOD));
        assert_ne!(control, fingerprint_checked_by::<Control>("another"));
    }
}
