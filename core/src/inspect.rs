//! Only for checks (feature `inspect`): looks into mailboxes and roles.

use crate::layout::Payload;
use crate::reader::Reader;
use crate::slots::View;
use crate::writer::Writer;

/// What a mailbox says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The slot last put here, 0 for none.
    pub current: u8,
    /// The slot that the reader looked at when it was put; meaningful while `fresh`.
    pub held: u8,
    /// Whether the reader has not taken `current`.
    pub fresh: bool,
    /// Whether the reader sleeps.
    pub waiting: bool,
    /// Whether the writer has left.
    pub closed: bool,
}

/// All mailboxes of a channel.
pub fn mailboxes<'a, T: Payload + ?Sized>(view: View<'a, T>) -> impl Iterator<Item = Seen> + 'a {
    view.mailboxes().iter().map(|mailbox| {
        let word = mailbox.peek();
        Seen {
            current: word.current(),
            held: word.held(),
            fresh: word.is_fresh(),
            waiting: word.is_waiting(),
            closed: word.is_closed(),
        }
    })
}

/// The slot that the writer fills next.
pub fn free_slot<T: Payload + ?Sized>(writer: &Writer<'_, T>) -> u8 {
    writer.free
}

/// The slot that the reader looks at, 0 for none.
pub fn held_slot<T: Payload + ?Sized>(reader: &Reader<'_, T>) -> u8 {
    reader.slot
}
