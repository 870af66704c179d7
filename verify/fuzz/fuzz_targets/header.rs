//! A segment's header with any numbers written over it in a file of any size, and any bytes in place of one.
#![no_main]

#[path = "../../../shm-posix/tests/foreign/mod.rs"]
mod foreign;

use foreign::{look_at, patched, segment};
use std::sync::LazyLock;

static SEGMENT: LazyLock<Vec<u8>> = LazyLock::new(segment);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = look_at(bytes, bytes.len() as u64);
    let [more, patches @ ..] = bytes else { return };
    let size = SEGMENT.len().saturating_add_signed(isize::from(*more as i8) * 512);
    let _ = look_at(&patched(&SEGMENT, patches), size as u64);
});
