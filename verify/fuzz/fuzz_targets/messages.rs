//! Any bytes, looked at as every message, as an image and as every encoded message.
#![no_main]

#[path = "../../tests/messages/foreign.rs"]
mod foreign;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| foreign::look_at(bytes));
