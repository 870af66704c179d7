//! The protocol's roles over a segment whose locks are held.

use crate::mapping::Mapping;
use crate::segment::Segment;
use lkas_core::{Payload, Reader, Writer};

/// The writer of a segment whose creation claimed the writer's role. It must not outlive the segment.
pub(crate) fn writer<T: Payload + ?Sized>(segment: &Segment) -> Writer<'static, T> {
    writer_of(&segment.mapping)
}

fn writer_of<T: Payload + ?Sized>(mapping: &Mapping) -> Writer<'static, T> {
    // SAFETY: the segment was created for `T`, and its owner drops the writer first.
    let view = unsafe { mapping.view() };
    // SAFETY: the segment's file holds the lock on the writer's byte, which orders this after a predecessor's end.
    unsafe { view.writer() }
}

/// The reader at `place` of a segment whose opening claimed that place. It must not outlive the segment.
pub(crate) fn reader<T: Payload + ?Sized>(segment: &Segment, place: usize) -> Option<Reader<'static, T>> {
    // SAFETY: the segment carries `T` by its fingerprint, and its owner drops the reader first.
    let view = unsafe { segment.mapping.view() };
    // SAFETY: the segment's file holds the lock on the place's byte, which orders this after a predecessor's end.
    unsafe { view.reader(place) }
}
