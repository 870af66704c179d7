//! Only for checks (feature `inspect`): which slots roles have in hand.

use crate::payload::Payload;
use crate::reader::Reader;
use crate::writer::Writer;

/// The slot that the writer fills next.
pub fn free_slot<T: Payload + ?Sized>(writer: &Writer<'_, T>) -> u8 {
    writer.free
}

/// The slot that the reader looks at, 0 for none.
pub fn held_slot<T: Payload + ?Sized>(reader: &Reader<'_, T>) -> u8 {
    reader.slot
}
