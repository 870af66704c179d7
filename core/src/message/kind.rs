//! How the bytes of a message are to be read.

/// One field of a [`Message`](crate::Message).
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
    /// A byte that is 0 for false and 1 for true: a [`Bool`](crate::Bool).
    Bool,
    /// A number that stands for a name: a [`Code`](crate::Code).
    Code(Scalar, &'static [(&'static str, i128)]),
    /// So many bytes of UTF-8, the rest of them zero: a [`Text`](crate::Text).
    Text(usize),
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
            Self::Text(size) => size,
            Self::Array(of, count) => of.size() * count,
            Self::Message(fields) => match fields {
                [] => 0,
                [.., last] => last.offset + last.kind.size(),
            },
        }
    }
}
