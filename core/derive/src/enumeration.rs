//! `#[derive(Enumeration)]`.

use crate::attributes::{no_generics, repr};
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

const INTEGERS: [&str; 8] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64"];

pub(crate) fn expand(input: &DeriveInput, core: &Tokens) -> Result<Tokens> {
    let enum_ = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(enum_.span(), "only an enum has values to be numbered; a struct derives `Message`"));
    };
    no_generics(input, "an enumeration", "its values are numbers, and nothing else")?;
    if data.variants.is_empty() {
        return Err(Error::new(enum_.span(), "an enum without values can't be one"));
    }
    if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        return Err(Error::new_spanned(
            variant,
            "a value with fields can't be a number; put the fields into the message, beside the `Code`",
        ));
    }
    let found = repr(&input.attrs)?;
    let Some(number) = found.iter().find(|word| INTEGERS.iter().any(|integer| *word == integer)) else {
        return Err(Error::new(
            enum_.span(),
            "write `#[repr(u8)]` above it (or u16 to u64, i8 to i64), so that its size is the same in every program",
        ));
    };
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let names = variants.iter().map(|variant| snake_case(&variant.to_string()));
    Ok(quote! {
        #[automatically_derived]
        impl #core::Enumeration for #enum_ {
            type Number = #number;
            const NAMES: &'static [(&'static str, i128)] = &[#((#names, #enum_::#variants as #number as i128)),*];

            fn number(self) -> #number {
                self as #number
            }

            fn from_number(number: #number) -> ::core::option::Option<Self> {
                #(
                    if number == #enum_::#variants as #number {
                        return ::core::option::Option::Some(#enum_::#variants);
                    }
                )*
                ::core::option::Option::None
            }
        }
    })
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.trim_start_matches("r#").chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}
