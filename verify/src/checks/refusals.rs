//! What the derive macros refuse, and the words they refuse it with.

use crate::Outcome;
use crate::tools::{cargo, root, target, write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

/// Programs that do not compile, and what the compiler says of each: what is wrong, and what to do.
const REFUSED: &[(&str, &str, &[&str])] = &[
    (
        "padding",
        "#[derive(Message)] #[repr(C)] struct M { a: u8, b: u32 }",
        &[
            "bytes between the fields `a` and `b` that no field covers",
            "put larger fields first, or fill the gap with a field such as `reserved: [u8; N]`",
        ],
    ),
    (
        "padding_at_the_end",
        "#[derive(Message)] #[repr(C)] struct M { a: u32, b: u8 }",
        &["bytes after the field `b` that no field covers"],
    ),
    ("no_repr", "#[derive(Message)] struct M { a: u32 }", &["a message is `#[repr(C)]`", "found nothing"]),
    ("packed", "#[derive(Message)] #[repr(C, packed)] struct M { a: u8, b: u32 }", &["found `C, packed`"]),
    ("aligned", "#[derive(Message)] #[repr(C, align(64))] struct M { a: u32 }", &["found `C, align`"]),
    ("bare_bool", "#[derive(Message)] #[repr(C)] struct M { a: bool }", &["not every byte is a `bool`: use `Bool`"]),
    ("array_of_bools", "#[derive(Message)] #[repr(C)] struct M { a: [bool; 4] }", &["use `Bool`"]),
    (
        "bare_enum",
        "#[derive(Clone, Copy, Enumeration)] #[repr(u8)] enum E { A } #[derive(Message)] #[repr(C)] struct M { a: E }",
        &["`E` is not plain data", "the field has the type `Code<E>`"],
    ),
    (
        "code_of_no_enumeration",
        "#[derive(Clone, Copy)] #[repr(u8)] enum E { A } #[derive(Message)] #[repr(C)] struct M { a: Code<E> }",
        &["`E` does not say which numbers its values are", "#[derive(Enumeration)]"],
    ),
    (
        "a_reference",
        "#[derive(Message)] #[repr(C)] struct M { a: &'static u32 }",
        &["a reference or pointer means nothing in another process", "carry the value itself"],
    ),
    ("a_pointer", "#[derive(Message)] #[repr(C)] struct M { a: *const u8 }", &["means nothing in another process"]),
    (
        "a_generic",
        "#[derive(Message)] #[repr(C)] struct M<T> { a: T }",
        &["can't be generic", "write a struct for each type"],
    ),
    (
        "a_string",
        "#[derive(Message)] #[repr(C)] struct M { a: String }",
        &["text lies elsewhere in memory: use `[u8; N]`"],
    ),
    ("a_vector", "#[derive(Message)] #[repr(C)] struct M { a: Vec<u8> }", &["use an array `[T; N]` and a count"]),
    ("an_option", "#[derive(Message)] #[repr(C)] struct M { a: Option<u8> }", &["#[message(present = BIT)]"]),
    ("a_usize", "#[derive(Message)] #[repr(C)] struct M { a: usize }", &["use `u64` or `u32`"]),
    ("a_large_integer", "#[derive(Message)] #[repr(C)] struct M { a: u128 }", &["use an array of two `u64`"]),
    ("a_tuple", "#[derive(Message)] #[repr(C)] struct M { a: (u8, u8) }", &["write a message of its own"]),
    (
        "a_foreign_type",
        "#[derive(Message)] #[repr(C)] struct M { a: std::time::Duration }",
        &["`Duration` is not plain data"],
    ),
    ("an_atomic", "#[derive(Message)] #[repr(C)] struct M { a: std::sync::atomic::AtomicU32 }", &["is not plain data"]),
    ("a_tuple_struct", "#[derive(Message)] #[repr(C)] struct M(u32);", &["the fields of a message need names"]),
    ("no_fields", "#[derive(Message)] #[repr(C)] struct M {}", &["carries nothing"]),
    ("an_enum", "#[derive(Message)] #[repr(u8)] enum M { A }", &["derive `Enumeration` for it", "`Code<...>`"]),
    ("a_union", "#[derive(Message)] #[repr(C)] union M { a: u32, b: f32 }", &["a union can't be described"]),
    (
        "a_drop",
        "#[derive(Message)] #[repr(C)] struct M { a: u8 } impl Drop for M { fn drop(&mut self) {} }",
        &["a message can't implement Drop"],
    ),
    (
        "an_unknown_word",
        "#[derive(Message)] #[repr(C)] struct M { #[message(units = \"m\")] a: u8 }",
        &["expected `unit = \"...\"`"],
    ),
    (
        "a_word_twice",
        "#[derive(Message)] #[repr(C)] struct M { #[message(unit = \"m\", unit = \"s\")] a: u8 }",
        &["said twice"],
    ),
    (
        "a_unit_with_a_space",
        "#[derive(Message)] #[repr(C)] struct M { #[message(unit = \"m s\")] a: u8 }",
        &["expected a word"],
    ),
    (
        "no_field_for_a_bit",
        "#[derive(Message)] #[repr(C)] struct M { #[message(present = 0)] a: u8 }",
        &["needs an unsigned integer named `present` beside it"],
    ),
    (
        "too_few_bits",
        "#[derive(Message)] #[repr(C)] struct M { present: u8, #[message(present = 8)] a: u8 }",
        &["the field `present` has too few bits"],
    ),
    (
        "too_long",
        "#[derive(Message)] #[repr(C)] struct P { x: u8, y: u8 } #[derive(Message)] #[repr(C)] struct M { a: [[P; 200]; 2] }",
        &["the description of a message is longer than 3840 bytes", "shorten names"],
    ),
    ("an_enum_without_a_size", "#[derive(Clone, Copy, Enumeration)] enum E { A }", &["write `#[repr(u8)]` above it"]),
    (
        "an_enum_with_fields",
        "#[derive(Clone, Copy, Enumeration)] #[repr(u8)] enum E { A(u8) }",
        &["a value with fields can't be a number"],
    ),
    (
        "a_struct_without_the_derive",
        "struct M { a: u8 } fn f<T: Message>() {} fn g() { f::<M>() }",
        &["`M` does not describe itself", "write `#[derive(Message)]` and `#[repr(C)]`"],
    ),
    (
        "a_channel_of_text",
        "fn f() { let _ = lkas_core::Channel::<String, 1>::new(); }",
        &["`String` is not plain data", "use an array of a fixed size"],
    ),
];

/// What all of them have at their start, and one that compiles with it.
const START: &str =
    "#![allow(dead_code, unused_imports)]\nuse lkas_core::{Bool, Code, Enumeration, Message};\nfn main() {}\n";
const ACCEPTED: &str = "#[derive(Clone, Copy, Enumeration)] #[repr(u8)] enum E { A = 3, B }\n\
    #[derive(Message)] #[repr(C)] struct P { x: u8, y: i8 }\n\
    #[derive(Message)] #[repr(C)] #[message(name = \"a.M\", semantics = \"s\")] struct M { a: [P; 2], b: Bool, c: Code<E>, \
     present: u16, #[message(unit = \"m\", present = 15)] d: f64, e: [[f32; 2]; 3] }";

pub(crate) fn refusals() -> Outcome {
    let folder = target("refusals/program");
    let bins = folder.join("src/bin");
    let _ = fs::remove_dir_all(&bins);
    fs::create_dir_all(&bins).map_err(|why| format!("{}: {why}", bins.display()))?;
    let core = fs::canonicalize(root().join("core")).map_err(|why| why.to_string())?;
    let manifest = format!(
        "[package]\nname = \"refusals\"\nedition = \"2024\"\n\n[dependencies]\nlkas-core = {{ path = {core:?} }}\n\n[workspace]\n"
    );
    write(&folder.join("Cargo.toml"), &manifest)?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(|why| why.to_string())?;
    for (name, source, _) in REFUSED.iter().chain(&[("accepted", ACCEPTED, &[][..])]) {
        write(&bins.join(format!("{name}.rs")), &format!("{START}{source}\n"))?;
    }
    let found = errors(&folder)?;
    let mut wrong = Vec::new();
    for (name, _, words) in REFUSED {
        let said = found.get(*name).map(String::as_str).unwrap_or_default();
        for word in words.iter().filter(|word| !said.contains(**word)) {
            wrong.push(format!(
                "{name}: expected \"{word}\", found {}",
                if said.is_empty() { "no error" } else { said }
            ));
        }
    }
    wrong.extend(found.get("accepted").map(|said| format!("accepted: {said}")));
    println!("{} programs are refused, each with what to do about it", REFUSED.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// What the compiler says of each program.
fn errors(folder: &std::path::Path) -> Result<BTreeMap<String, String>, String> {
    let mut command = cargo(None, "refusals", &["check", "--bins", "--keep-going", "--message-format=json"]);
    let out = command
        .current_dir(folder)
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::null())
        .output()
        .map_err(|why| format!("can't run {command:?}: {why}"))?;
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        if message["message"]["level"] != "error" {
            continue;
        }
        let name = message["target"]["name"].as_str().unwrap_or_default().to_owned();
        *found.entry(name).or_default() += message["message"]["rendered"].as_str().unwrap_or_default();
    }
    Ok(found)
}
