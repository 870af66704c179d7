//! The derive macros of `lkas-core`, which re-exports and documents them. Do not depend on this crate itself.
#![forbid(unsafe_code)]

mod attributes;
mod enumeration;
mod message;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a message: a payload of channels whose fields are described.
///
/// The struct is `#[repr(C)]`, without generic parameters, and its fields leave no byte between them. A field is
/// - an integer of 8 to 64 bits, `f32`, `f64`, or an array of a kind of field,
/// - another message,
/// - a `Bool` or a `Code<Enum>`: not every byte is a `bool`, and not every number a value of an enum.
///
/// Each field can say `#[message(unit = "m/s")]`, and `#[message(present = BIT)]` where a bit of an unsigned integer named
/// `present`, in the same struct, says whether there is a value. The struct can say `#[message(name = "vehicle.Wheel")]`
/// (its own name otherwise) and `#[message(semantics = "...")]`, a text or a constant: what both sides must agree on beyond
/// the layout.
///
/// Bytes that no field covers are a compile error, as are a struct without `#[repr(C)]`, a field of which not every bit
/// pattern is a value, references, and a description that is longer than 3840 bytes.
#[proc_macro_derive(Message, attributes(message))]
pub fn message(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), message::expand, &quote!(::lkas_core))
}

/// The same for whoever knows `lkas-shm` alone.
#[doc(hidden)]
#[proc_macro_derive(ShmMessage, attributes(message))]
pub fn shm_message(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), message::expand, &quote!(::lkas_shm::lkas_core))
}

/// Makes an enum one whose values stand as numbers in messages, as a `Code`.
///
/// The enum has no fields and no generic parameters, and says which integer it is: `#[repr(u8)]` up to `#[repr(i64)]`. The
/// names in a description are those of the values in snake case.
#[proc_macro_derive(Enumeration)]
pub fn enumeration(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), enumeration::expand, &quote!(::lkas_core))
}

/// The same for whoever knows `lkas-shm` alone.
#[doc(hidden)]
#[proc_macro_derive(ShmEnumeration)]
pub fn shm_enumeration(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input), enumeration::expand, &quote!(::lkas_shm::lkas_core))
}

fn expand(
    input: DeriveInput,
    macro_: impl Fn(&DeriveInput, &Tokens) -> syn::Result<Tokens>,
    core: &Tokens,
) -> TokenStream {
    macro_(&input, core).unwrap_or_else(|error| error.to_compile_error()).into()
}
