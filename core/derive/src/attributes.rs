//! What stands in `#[repr(...)]` and `#[message(...)]`.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, DeriveInput, Error, Expr, Ident, LitInt, LitStr, Result};

/// Every word of every `#[repr(...)]`.
pub(crate) fn repr(attributes: &[Attribute]) -> Result<Vec<Ident>> {
    let mut words = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            words.extend(meta.path.get_ident().cloned());
            if meta.input.peek(syn::token::Paren) {
                // The number of `align(8)`.
                let inner;
                syn::parenthesized!(inner in meta.input);
                inner.parse::<LitInt>()?;
            }
            Ok(())
        })?;
    }
    Ok(words)
}

/// `#[message(...)]` above a struct.
#[derive(Default)]
pub(crate) struct OfMessage {
    pub(crate) name: Option<LitStr>,
    pub(crate) semantics: Option<Expr>,
}

/// `#[message(...)]` above a field.
#[derive(Default)]
pub(crate) struct OfField {
    pub(crate) unit: Option<LitStr>,
    pub(crate) present: Option<LitInt>,
}

impl OfMessage {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        each(attributes, |meta| {
            if meta.path.is_ident("name") {
                set(&mut found.name, &meta, word)
            } else if meta.path.is_ident("semantics") {
                set(&mut found.semantics, &meta, |meta| meta.value()?.parse())
            } else {
                Err(meta.error("expected `name = \"...\"` or `semantics = ...`; units stand above fields"))
            }
        })?;
        Ok(found)
    }
}

impl OfField {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut found = Self::default();
        each(attributes, |meta| {
            if meta.path.is_ident("unit") {
                set(&mut found.unit, &meta, word)
            } else if meta.path.is_ident("present") {
                set(&mut found.present, &meta, |meta| meta.value()?.parse())
            } else {
                Err(meta.error("expected `unit = \"...\"` or `present = BIT`; a name stands above the struct"))
            }
        })?;
        Ok(found)
    }
}

fn each(attributes: &[Attribute], mut take: impl FnMut(ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("message"))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut take))
}

fn set<T>(
    place: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    parse: impl Fn(&ParseNestedMeta<'_>) -> Result<T>,
) -> Result<()> {
    match place.replace(parse(meta)?) {
        None => Ok(()),
        Some(_) => Err(meta.error("said twice; leave one of them out")),
    }
}

/// A text without spaces, because it stands between spaces in the description.
fn word(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let text: LitStr = meta.value()?.parse()?;
    let forbidden = |letter: char| letter.is_whitespace() || letter.is_control() || letter == ',';
    if text.value().contains(forbidden) || text.value() == "-" {
        return Err(Error::new(
            text.span(),
            "expected a word: no spaces, no commas, and not `-`, which stands for none",
        ));
    }
    Ok(text)
}

/// The error for generic parameters.
pub(crate) fn no_generics(input: &DeriveInput, what: &str, instead: &str) -> Result<()> {
    if input.generics.params.is_empty() && input.generics.where_clause.is_none() {
        return Ok(());
    }
    Err(Error::new_spanned(&input.generics, format!("{what} can't be generic; {instead}")))
}
