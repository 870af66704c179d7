//! What a slot can hold.

use crate::message::kind::{Kind, Scalar};

/// A value that a slot can hold. Every [`Plain`] type is one; `[u8]` is one too, as many bytes as there are.
///
/// # Safety
/// Every bit pattern is a valid value, without padding and without interior mutability. For a `start` that is aligned to
/// [`ALIGN`](Self::ALIGN), [`at`](Self::at) returns a pointer to `start`, and to a value of at most `size` bytes. Where
/// `size` is too small for any value of the type, the value is the smallest one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the payload of a channel",
    label = "not plain data",
    note = "a struct of your own becomes a payload by `#[derive(Message)]` and `#[repr(C)]`",
    note = "text, vectors and references lie elsewhere in memory: use an array of a fixed size in their place"
)]
pub unsafe trait Payload: Send + Sync + 'static {
    /// The alignment that the payload of a slot needs, in bytes.
    const ALIGN: usize;

    /// The value that lies at `start` in a payload of `size` bytes.
    fn at(start: *mut u8, size: usize) -> *mut Self;
}

/// A type that can be looked at in memory that a stranger wrote, because any bytes are a value of it.
///
/// Integers and floating-point numbers of a fixed size are plain, arrays of plain types, [`Bool`](crate::Bool),
/// [`Code`](crate::Code) and every struct that derives [`Message`](crate::Message). Implement it by that derive.
///
/// # Safety
/// Every bit pattern is a valid value. There is no padding, no interior mutability and nothing to drop.
/// [`KIND`](Self::KIND) describes every byte.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not plain data: not every bit pattern is a value of it, or its layout is not fixed",
    label = "not plain data",
    note = "a struct becomes plain by `#[derive(Message)]` and `#[repr(C)]`",
    note = "an enum derives `Enumeration`, and the field has the type `Code<{Self}>`; in place of `bool` it is `Bool`",
    note = "text, vectors and references lie elsewhere in memory: use an array of a fixed size in their place"
)]
pub unsafe trait Plain: Sized + Send + Sync + 'static {
    /// How the bytes are to be read.
    const KIND: Kind;

    /// The bytes of the value.
    #[must_use]
    fn as_bytes(&self) -> &[u8] {
        let start = core::ptr::from_ref(self).cast::<u8>();
        // SAFETY: all bytes of a plain value are initialised, and nothing changes them while it is borrowed.
        unsafe { core::slice::from_raw_parts(start, size_of::<Self>()) }
    }

    /// The bytes of the value, any of which may be changed.
    #[must_use]
    fn as_bytes_mut(&mut self) -> &mut [u8] {
        let start = core::ptr::from_mut(self).cast::<u8>();
        // SAFETY: as above, and any bytes are a value.
        unsafe { core::slice::from_raw_parts_mut(start, size_of::<Self>()) }
    }

    /// The value that `bytes` are; `None` unless there are exactly as many as it has.
    #[must_use]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // SAFETY: there are as many bytes as are read, and any bytes are a value.
        (bytes.len() == size_of::<Self>()).then(|| unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

// SAFETY: what a payload needs beyond `Plain` follows from the type's size being fixed.
unsafe impl<T: Plain> Payload for T {
    const ALIGN: usize = align_of::<T>();

    #[inline]
    fn at(start: *mut u8, _size: usize) -> *mut T {
        start.cast()
    }
}

// SAFETY: bytes are bytes; as many as there are.
unsafe impl Payload for [u8] {
    const ALIGN: usize = 1;

    #[inline]
    fn at(start: *mut u8, size: usize) -> *mut Self {
        core::ptr::slice_from_raw_parts_mut(start, size)
    }
}

macro_rules! plain {
    ($($number:ty: $scalar:ident),*) => {$(
        // SAFETY: any bits are a number, and there is nothing else.
        unsafe impl Plain for $number {
            const KIND: Kind = Kind::Number(Scalar::$scalar);
        }
    )*};
}

plain!(u8: U8, u16: U16, u32: U32, u64: U64, i8: I8, i16: I16, i32: I32, i64: I64, f32: F32, f64: F64);

// SAFETY: an array has no padding beyond that of its items, which have none.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {
    const KIND: Kind = Kind::Array(&T::KIND, N);
}
