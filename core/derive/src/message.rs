//! `#[derive(Message)]`.

use crate::attributes::{OfField, OfMessage, no_generics, repr};
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, Result, Type};

pub(crate) fn expand(input: &DeriveInput, core: &Tokens) -> Result<Tokens> {
    let fields = fields(input)?;
    no_generics(input, "a message", "its layout is one: write a struct for each type that you need")?;
    if fields.iter().all(|field| !borrows(&field.ty)) {
        check_repr(input)?;
    }
    let about = OfMessage::parse(&input.attrs)?;
    let struct_ = &input.ident;
    let name = about.name.map_or_else(|| struct_.to_string(), |name| name.value());
    let semantics = about.semantics.map(|text| quote! { const SEMANTICS: &'static str = #text; });
    let described = each(&fields, |field, ident| describe(field, ident, struct_, core))?;
    let plain = each(&fields, |field, ident| plain(field, ident, core))?;
    let gaps = gaps(&fields, struct_);
    Ok(quote! {
        #[automatically_derived]
        impl #core::Message for #struct_ {
            const NAME: &'static str = #name;
            const FIELDS: &'static [#core::Field] = &[#(#described),*];
            #semantics
        }

        // SAFETY: every field is plain, and the assertions below say that there is nothing between them. The struct has
        // nothing to drop, as an assertion says too.
        #[automatically_derived]
        unsafe impl #core::Plain for #struct_ {
            const KIND: #core::Kind = #core::Kind::Message(<Self as #core::Message>::FIELDS);
        }

        const _: () = {
            #(#plain)*
            #(#gaps)*
            ::core::assert!(!::core::mem::needs_drop::<#struct_>(), "a message can't implement Drop: readers look at it in place");
            // An error where the description is too long.
            let _ = #core::description::<#struct_>();
        };
    })
}

fn each(fields: &[&Field], each: impl Fn(&Field, &Ident) -> Result<Tokens>) -> Result<Vec<Tokens>> {
    fields.iter().filter_map(|field| Some(each(field, field.ident.as_ref()?))).collect()
}

fn fields(input: &DeriveInput) -> Result<Vec<&Field>> {
    let named = "write a struct with named fields: `struct Name { field: f32 }`";
    let refuse = |what: &str| Err(Error::new(input.ident.span(), format!("{what}; {named}")));
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => Ok(fields.named.iter().collect()),
            Fields::Named(_) | Fields::Unit => refuse("a message without fields carries nothing"),
            Fields::Unnamed(_) => refuse("the fields of a message need names"),
        },
        Data::Enum(_) => Err(Error::new(
            input.ident.span(),
            "an enum can't be a message, as not every number is one of its values; derive `Enumeration` for it, and give a \
             struct a field of the type `Code<...>`",
        )),
        Data::Union(_) => refuse("a union can't be described"),
    }
}

fn check_repr(input: &DeriveInput) -> Result<()> {
    let found = repr(&input.attrs)?;
    if found.len() == 1 && found[0] == "C" {
        return Ok(());
    }
    let found = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let found = if found.is_empty() { "nothing".to_owned() } else { format!("`{found}`") };
    Err(Error::new(
        input.ident.span(),
        format!("a message is `#[repr(C)]`, so that its layout is the same in every program; found {found}"),
    ))
}

/// An error for types that a person may well write and that can't be fields, with what to write instead.
fn check_type(ty: &Type) -> Result<()> {
    if borrows(ty) {
        return Err(Error::new_spanned(
            ty,
            "a reference or pointer means nothing in another process; carry the value itself, or an array of a fixed size",
        ));
    }
    let of = match ty {
        Type::Array(array) => return check_type(&array.elem),
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default(),
        Type::Tuple(_) => "tuple".to_owned(),
        _ => return Ok(()),
    };
    let instead = match of.as_str() {
        "bool" => "not every byte is a `bool`: use `Bool`",
        "char" => "not every number is a `char`: use `u32`",
        "usize" => "its size is not the same on every machine: use `u64` or `u32`",
        "isize" => "its size is not the same on every machine: use `i64` or `i32`",
        "u128" | "i128" => "numbers have 8 to 64 bits: use an array of two `u64`",
        "String" => "text lies elsewhere in memory: use `[u8; N]`",
        "Vec" => "its items lie elsewhere in memory: use an array `[T; N]` and a count",
        "Box" | "Rc" | "Arc" => "what it holds lies elsewhere in memory: use the value itself",
        "Option" => {
            "not every byte is an `Option`: use the value itself, a field `present` and `#[message(present = BIT)]`"
        }
        "tuple" => "the layout of a tuple is the compiler's: write a message of its own",
        _ => return Ok(()),
    };
    Err(Error::new_spanned(ty, instead))
}

fn borrows(ty: &Type) -> bool {
    matches!(ty, Type::Reference(_) | Type::Ptr(_) | Type::BareFn(_) | Type::TraitObject(_))
}

fn describe(field: &Field, ident: &Ident, struct_: &Ident, core: &Tokens) -> Result<Tokens> {
    check_type(&field.ty)?;
    let OfField { unit, present } = OfField::parse(&field.attrs)?;
    let unit = unit.map(|unit| unit.value()).unwrap_or_default();
    let present = match present {
        Some(bit) => quote!(::core::option::Option::Some(#bit)),
        None => quote!(::core::option::Option::None),
    };
    let name = ident.to_string();
    let name = name.trim_start_matches("r#");
    let ty = &field.ty;
    Ok(quote! {
        #core::Field {
            name: #name,
            kind: <#ty as #core::Plain>::KIND,
            offset: ::core::mem::offset_of!(#struct_, #ident),
            unit: #unit,
            present_bit: #present,
        }
    })
}

fn plain(field: &Field, _: &Ident, core: &Tokens) -> Result<Tokens> {
    let ty = &field.ty;
    // At the field, so that an error points there.
    Ok(quote_spanned! { ty.span() =>
        const _: fn() = {
            fn is_plain<T: #core::Plain>() {}
            is_plain::<#ty>
        };
    })
}

/// An assertion for each place where there could be bytes that no field covers.
fn gaps(fields: &[&Field], struct_: &Ident) -> Vec<Tokens> {
    let mut ends = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let (Some(ident), ty) = (&field.ident, &field.ty) else { continue };
        let next = fields.get(index + 1).and_then(|next| next.ident.as_ref());
        let end = quote!(::core::mem::offset_of!(#struct_, #ident) + ::core::mem::size_of::<#ty>());
        let remedy = "put larger fields first, or fill the gap with a field such as `reserved: [u8; N]`";
        let (begin, message) = match next {
            Some(next) => (
                quote!(::core::mem::offset_of!(#struct_, #next)),
                format!("there are bytes between the fields `{ident}` and `{next}` that no field covers: {remedy}"),
            ),
            None => (
                quote!(::core::mem::size_of::<#struct_>()),
                format!("there are bytes after the field `{ident}` that no field covers: {remedy}"),
            ),
        };
        ends.push(quote_spanned!(ident.span() => ::core::assert!(#begin == #end, #message);));
    }
    ends
}
