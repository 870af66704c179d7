//! Messages: payloads that describe themselves, for tools that were not compiled for them and for sides that must agree.

mod code;
mod text;

pub use code::{Bool, Code, Enumeration, Integer};
pub use text::{DescriptionText, MAX_DESCRIPTION, MAX_TYPE_NAME, description, fingerprint, fingerprint_of};

use crate::payload::Payload;

/// A payload with a name and a description of its fields.
///
/// Derive it; see the [derive macro](derive@crate::Message) for what fields there can be.
///
/// # Examples
/// ```
/// use lkas_core::{Channel, Message};
///
/// #[derive(Clone, Copy, Message)]
/// #[repr(C)]
/// struct Wheel {
///     #[message(unit = "rad/s")]
///     rate: f32,
///     slip: f32,
/// }
///
/// let mut channel = Channel::<Wheel, 1>::new();
/// let (mut writer, [mut reader]) = channel.split();
/// writer.publish(Wheel { rate: 12.5, slip: 0.01 }, 0);
/// assert_eq!(reader.take().map(|wheel| wheel.rate), Some(12.5));
/// assert_eq!(lkas_core::description::<Wheel>().as_str(), "rate f32 0 rad/s - -\nslip f32 4 - - -\n");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe itself, as a channel in shared memory and its tools need it",
    note = "write `#[derive(Message)]` and `#[repr(C)]` above the struct"
)]
pub trait Message: Payload {
    /// The type's name. Two sides that name a type differently do not understand each other.
    const NAME: &'static str;
    /// Every field, in the order of their offsets.
    const FIELDS: &'static [Field];
    /// What both sides must agree on beyond the layout, such as how a check value in it is made. Part of the
    /// [`fingerprint`].
    const SEMANTICS: &'static str = "";
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
    /// The bit of the field `present`, in the same struct, that says whether there is a value; `None` if there always is
    /// one.
    pub present_bit: Option<u8>,
}

/// How bytes are to be read. Numbers are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number(Scalar),
    /// A byte that is 0 for false and 1 for true: a [`Bool`].
    Bool,
    /// A number that stands for a name: a [`Code`].
    Code(Scalar, &'static [(&'static str, i128)]),
    /// So many values of one kind, one after the other.
    Array(&'static Self, usize),
    /// A message within a message.
    Message(&'static [Field]),
}

/// A kind of number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// An unsigned integer of 8 bits.
    U8,
    /// An unsigned integer of 16 bits.
    U16,
    /// An unsigned integer of 32 bits.
    U32,
    /// An unsigned integer of 64 bits.
    U64,
    /// A signed integer of 8 bits.
    I8,
    /// A signed integer of 16 bits.
    I16,
    /// A signed integer of 32 bits.
    I32,
    /// A signed integer of 64 bits.
    I64,
    /// A floating-point number of 32 bits.
    F32,
    /// A floating-point number of 64 bits.
    F64,
}

impl Scalar {
    /// Every kind of number.
    pub const ALL: [Self; 10] =
        [Self::U8, Self::U16, Self::U32, Self::U64, Self::I8, Self::I16, Self::I32, Self::I64, Self::F32, Self::F64];

    /// Its name in a description: that of the type in Rust.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bytes of such a number.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

impl Kind {
    /// Bytes of a value of this kind.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Number(scalar) | Self::Code(scalar, _) => scalar.size(),
            Self::Bool => 1,
            Self::Array(of, count) => of.size() * count,
            Self::Message(fields) => match fields {
                [] => 0,
                [.., last] => last.offset + last.kind.size(),
            },
        }
    }
}
