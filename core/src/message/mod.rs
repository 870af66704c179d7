//! Messages: payloads that describe themselves, for tools that were not compiled for them and for sides that must agree.

mod code;
pub(crate) mod kind;
mod string;
mod text;

pub use code::{Bool, Code, Enumeration, Integer};
pub use kind::{Field, Kind, Scalar};
pub use string::Text;
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
