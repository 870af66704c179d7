//! Fields of which not every bit pattern has a meaning, as the numbers that they are.

use crate::message::kind::{Kind, Scalar};
use crate::payload::Plain;
use core::fmt;
use core::marker::PhantomData;

/// A `bool` as a field of a message: one byte, 0 for false and 1 for true.
///
/// ```
/// use lkas_core::Bool;
///
/// let paused = Bool::from(true);
/// assert_eq!(paused.get(), Ok(true));
/// assert_eq!(Bool::from_number(7).get(), Err(7));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bool(u8);

// SAFETY: a number.
unsafe impl Plain for Bool {
    const KIND: Kind = Kind::Bool;
}

impl Bool {
    /// From the byte that it is in memory.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }

    /// The truth value.
    ///
    /// # Errors
    /// The byte, where it is neither 0 nor 1.
    pub const fn get(self) -> Result<bool, u8> {
        match self.0 {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(other),
        }
    }
}

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Ok(value) => value.fmt(f),
            Err(number) => write!(f, "Bool({number})"),
        }
    }
}

/// An integer that a [`Code`] can be: 8 to 64 bits, signed or unsigned.
pub trait Integer: Plain + Copy + fmt::Display + PartialEq + Into<i128> + sealed::Sealed {
    /// Which one it is.
    const SCALAR: Scalar;
}

mod sealed {
    #[allow(unnameable_types)] // that is what seals the trait
    pub trait Sealed {}
}

macro_rules! integer {
    ($($number:ty: $scalar:ident),*) => {$(
        impl sealed::Sealed for $number {}
        impl Integer for $number {
            const SCALAR: Scalar = Scalar::$scalar;
        }
    )*};
}

integer!(u8: U8, u16: U16, u32: U32, u64: U64, i8: I8, i16: I16, i32: I32, i64: I64);

/// An enum whose values stand as numbers in messages.
///
/// Derive it for an enum without fields that says how large its number is. Its names, in snake case, and numbers are part
/// of the description of every message that it stands in.
///
/// ```
/// use lkas_core::{Code, Enumeration};
///
/// #[derive(Clone, Copy, Debug, PartialEq, Enumeration)]
/// #[repr(u8)]
/// enum Gear {
///     Park = 0,
///     Drive = 4,
/// }
///
/// assert_eq!(Gear::NAMES, [("park", 0), ("drive", 4)]);
/// assert_eq!(Code::from(Gear::Drive).get(), Ok(Gear::Drive));
/// assert_eq!(Code::<Gear>::from_number(1).get(), Err(1));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which numbers its values are",
    note = "write `#[derive(Enumeration)]` and `#[repr(u8)]` (or another integer) above the enum"
)]
pub trait Enumeration: Copy + 'static {
    /// What it is in memory.
    type Number: Integer;
    /// Each value's name and number.
    const NAMES: &'static [(&'static str, i128)];

    /// The number of this value.
    fn number(self) -> Self::Number;

    /// The value of that number; `None` where it has none.
    fn from_number(number: Self::Number) -> Option<Self>;
}

/// An enum as a field of a message: its number, of which any is allowed.
#[repr(transparent)]
pub struct Code<E: Enumeration>(E::Number, PhantomData<E>);

// SAFETY: a number, and nothing else.
unsafe impl<E: Enumeration + Send + Sync> Plain for Code<E> {
    const KIND: Kind = Kind::Code(E::Number::SCALAR, E::NAMES);
}

impl<E: Enumeration> Code<E> {
    /// From the number that it is in memory.
    #[must_use]
    pub const fn from_number(number: E::Number) -> Self {
        Self(number, PhantomData)
    }

    /// The number that it is in memory.
    #[must_use]
    pub const fn number(self) -> E::Number {
        self.0
    }

    /// The value.
    ///
    /// # Errors
    /// The number, where no value has it.
    pub fn get(self) -> Result<E, E::Number> {
        E::from_number(self.0).ok_or(self.0)
    }
}

impl<E: Enumeration> From<E> for Code<E> {
    fn from(value: E) -> Self {
        Self::from_number(value.number())
    }
}

impl<E: Enumeration + Default> Default for Code<E> {
    fn default() -> Self {
        E::default().into()
    }
}

impl<E: Enumeration> Clone for Code<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Enumeration> Copy for Code<E> {}

impl<E: Enumeration> PartialEq for Code<E> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<E: Enumeration> fmt::Debug for Code<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number: i128 = self.0.into();
        match E::NAMES.iter().find(|name| name.1 == number) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "Code({number})"),
        }
    }
}
