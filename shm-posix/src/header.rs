//! The first page of a segment: what it is, how large its parts are, what it carries.
//!
//! All numbers are little-endian. The header is written before the segment gets its name and never changes, but for the
//! [`LiveWords`] that tell who writes, what it promises, and whether the segment was replaced.

use crate::channel_type::ChannelType;
use crate::error::HeaderError;
use crate::fields::{DescribedField, text};
use core::ops::RangeInclusive;
use lkas_core::{Layout, LiveWords, MAX_DESCRIPTION, MAX_TYPE_NAME};

/// The first bytes of every segment.
pub const MAGIC: [u8; 8] = *b"LKASCHAN";
/// Version 1 had the contract in two words, and hashed descriptions that could collide.
const VERSION: u32 = 2;
/// Where the words that change lie, from the first byte of the segment.
pub(crate) const LIVE: usize = core::mem::offset_of!(Header, live);
/// Bytes of the header and of a page.
pub(crate) const PAGE: usize = 4096;
const TYPE_NAME: usize = MAX_TYPE_NAME + 1;
const FIELDS: usize = PAGE - 256;
const _: () = assert!(FIELDS == MAX_DESCRIPTION);

#[cfg(not(target_endian = "little"))]
compile_error!("segments are little-endian");

/// The header as it lies in memory.
// Plain, so that any page can be looked at as one.
#[derive(Clone, Copy, lkas_derive::ShmMessage)]
#[repr(C)]
pub(crate) struct Header {
    magic: [u8; 8],
    version: u32,
    readers: u32,
    total_size: u64,
    slots_offset: u64,
    payload_size: u64,
    payload_align: u64,
    payload_offset: u64,
    stride: u64,
    fingerprint: u64,
    shape: [u32; 4],
    /// [`LiveWords`]: retired, who writes, contract, namespaces.
    live: [u64; 4],
    /// How many reader places, from 0 on, are given only to those who ask by number.
    reserved_places: u32,
    reserved: [u8; 68],
    type_name: [u8; TYPE_NAME],
    /// See [`fields`](crate::fields).
    fields: [u8; FIELDS],
}

const _: () = {
    assert!(size_of::<Header>() == PAGE);
    assert!(core::mem::offset_of!(Header, slots_offset) == 24);
    assert!(core::mem::offset_of!(Header, shape) == 72);
    assert!(LIVE == 88 && size_of::<LiveWords>() == 32);
    assert!(core::mem::offset_of!(Header, reserved_places) == 120);
    assert!(core::mem::offset_of!(Header, type_name) == 192);
    assert!(core::mem::offset_of!(Header, fields) == 256);
};

/// Bytes before the slots: header and mailboxes, in whole pages.
pub(crate) const fn control_size(layout: &Layout) -> usize {
    (PAGE + layout.mailbox_bytes()).next_multiple_of(PAGE)
}

/// Bytes of the whole segment.
pub(crate) const fn total_size(layout: &Layout) -> usize {
    control_size(layout) + layout.slot_bytes().next_multiple_of(PAGE)
}

impl Header {
    pub(crate) fn new(of: &ChannelType, layout: &Layout) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version: VERSION,
            readers: layout.readers() as u32,
            total_size: total_size(layout) as u64,
            slots_offset: control_size(layout) as u64,
            payload_size: of.payload_size as u64,
            payload_align: of.payload_align as u64,
            payload_offset: layout.payload_offset() as u64,
            stride: layout.stride() as u64,
            fingerprint: of.fingerprint,
            shape: of.shape,
            live: [0; 4],
            reserved_places: 0,
            reserved: [0; 68],
            type_name: [0; TYPE_NAME],
            fields: [0; FIELDS],
        };
        // A `ChannelType` is only made where both fit.
        header.type_name[..of.name.len()].copy_from_slice(of.name.as_bytes());
        header.fields[..of.fields.len()].copy_from_slice(of.fields.as_bytes());
        header
    }

    /// The same, with so many reserved places; at most all of them.
    pub(crate) fn reserving(mut self, places: usize) -> Self {
        self.reserved_places = self.readers.min(places.try_into().unwrap_or(u32::MAX));
        self
    }

    /// The same, of a segment that nobody uses: of the words that change only the contract stays.
    pub(crate) fn without_use(self) -> Self {
        Self { live: [0, self.contract_word(), 0, 0], ..self }
    }

    /// The word of the writer's contract.
    pub(crate) fn contract_word(&self) -> u64 {
        self.live[1]
    }

    /// Bytes of the whole segment, as it says itself.
    pub(crate) fn total_size(&self) -> u64 {
        self.total_size
    }

    /// How many places are reserved. No foreign number reserves more than there are.
    pub(crate) fn reserved_places(&self) -> usize {
        self.reserved_places.min(self.readers) as usize
    }

    /// Checks everything that a foreign header says against everything else, and returns the layout.
    pub(crate) fn layout(&self, file_size: u64) -> Result<Layout, HeaderError> {
        if self.magic != MAGIC {
            return Err(HeaderError::NotAChannel);
        }
        if self.version != VERSION {
            return Err(HeaderError::Version { found: self.version, expected: VERSION });
        }
        let damaged = |field, found| HeaderError::Damaged { field, found };
        let number = |field, value: u64| usize::try_from(value).map_err(|_| damaged(field, value));
        let readers = number("readers", self.readers.into())?;
        let size = number("payload_size", self.payload_size)?;
        let align = number("payload_align", self.payload_align)?;
        let layout = Layout::new(readers, size, align).map_err(|why| match why {
            lkas_core::LayoutError::Readers { .. } => damaged("readers", self.readers.into()),
            lkas_core::LayoutError::Alignment { .. } => damaged("payload_align", self.payload_align),
            _ => damaged("payload_size", self.payload_size),
        })?;
        let expected = [
            ("payload_offset", self.payload_offset, layout.payload_offset()),
            ("stride", self.stride, layout.stride()),
            ("slots_offset", self.slots_offset, control_size(&layout)),
            ("total_size", self.total_size, total_size(&layout)),
        ];
        for (field, found, expected) in expected {
            if found != expected as u64 {
                return Err(damaged(field, found));
            }
        }
        if file_size != self.total_size {
            return Err(HeaderError::Size { found: file_size, expected: self.total_size });
        }
        Ok(layout)
    }

    /// Whether the channel carries the type `of` in payloads of one of `sizes`, whatever its shape.
    pub(crate) fn check_type(&self, of: &ChannelType, sizes: &RangeInclusive<usize>) -> Result<(), HeaderError> {
        self.check_fingerprint(of)?;
        // A stranger may know the fingerprint: values are only looked at where all of one lies, and aligned.
        if self.payload_align != of.payload_align as u64 {
            return Err(HeaderError::Damaged { field: "payload_align", found: self.payload_align });
        }
        match usize::try_from(self.payload_size) {
            Ok(size) if sizes.contains(&size) => Ok(()),
            _ => Err(HeaderError::Damaged { field: "payload_size", found: self.payload_size }),
        }
    }

    fn check_fingerprint(&self, of: &ChannelType) -> Result<(), HeaderError> {
        if self.fingerprint == of.fingerprint {
            return Ok(());
        }
        Err(HeaderError::Type { found: self.type_name(), expected: of.name.clone() })
    }

    /// Whether the channel is exactly as `of` and `layout` want it.
    pub(crate) fn check(&self, of: &ChannelType, layout: &Layout) -> Result<(), HeaderError> {
        let wanted = Self::new(of, layout);
        let numbers = |header: &Self| (header.shape, header.payload_size, header.payload_align, header.readers);
        self.check_fingerprint(of)?;
        if numbers(self) == numbers(&wanted) {
            return Ok(());
        }
        Err(HeaderError::Shape { found: self.describe(), expected: wanted.describe() })
    }

    /// The type's name, as text to print.
    pub(crate) fn type_name(&self) -> String {
        text(&self.type_name)
    }

    /// The description of the type's fields.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The shape words, whose meaning is the type's.
    pub(crate) fn shape(&self) -> [u32; 4] {
        self.shape
    }

    /// What the channel carries, as far as a layout that was checked allows to say.
    pub(crate) fn channel_type(&self, layout: &Layout, fields: &[DescribedField]) -> ChannelType {
        ChannelType {
            name: self.type_name(),
            fields: fields.iter().map(ToString::to_string).collect(),
            fingerprint: self.fingerprint,
            payload_size: layout.payload_size(),
            payload_align: self.payload_align as usize,
            shape: self.shape,
        }
    }

    fn describe(&self) -> String {
        let shape = match self.shape {
            [0, 0, 0, 0] => String::new(),
            [a, b, c, d] => format!(" (shape {a} {b} {c} {d})"),
        };
        format!("{} bytes{shape} for {} readers", self.payload_size, self.readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_core::Message;

    #[derive(Message)]
    #[message(name = "test.Control")]
    #[repr(C)]
    struct Control {
        frame_id: u64,
        #[message(unit = "m", present = 1)]
        offset: f32,
        present: u32,
        others: [u64; 6],
    }

    #[derive(Message)]
    #[message(name = "test.Detection")]
    #[repr(C)]
    struct Detection {
        all: [u64; 9],
    }

    fn control() -> (ChannelType, Layout, Header) {
        let spec = ChannelType::of::<Control>();
        let layout = Layout::new(3, spec.payload_size, spec.payload_align).unwrap();
        let header = Header::new(&spec, &layout);
        (spec, layout, header)
    }

    #[test]
    fn a_new_header_is_valid_and_describes_its_type() {
        let (spec, layout, header) = control();
        assert_eq!(header.layout(header.total_size), Ok(layout));
        assert_eq!(header.check(&spec, &layout), Ok(()));
        assert_eq!(header.type_name(), "test.Control");
        let fields = text(&header.fields);
        assert!(fields.starts_with("frame_id u64 0 - - -"), "{fields}");
        assert!(fields.contains("offset f32 8 m 12:1 -"), "{fields}");
    }

    #[test]
    fn every_damaged_number_is_found() {
        let (_, _, header) = control();
        let size = header.total_size;
        let damage: [fn(&mut Header); 9] = [
            |h| h.magic[0] = 0,
            |h| h.version = 9,
            |h| h.readers = 0,
            |h| h.readers = u32::MAX,
            |h| h.payload_size = u64::MAX,
            |h| h.payload_align = 3,
            |h| h.stride += 128,
            |h| h.slots_offset = 0,
            |h| h.total_size += 4096,
        ];
        for (i, damage) in damage.iter().enumerate() {
            let mut header = header;
            damage(&mut header);
            assert!(header.layout(size).is_err(), "damage {i}");
        }
        assert_eq!(header.layout(size - 1), Err(HeaderError::Size { found: size - 1, expected: size }));
    }

    #[test]
    fn another_type_is_named() {
        let (_, _, header) = control();
        let detection = ChannelType::of::<Detection>();
        let error = header.check_type(&detection, &(72..=72)).unwrap_err();
        assert_eq!(error.to_string(), "it carries test.Control, expected test.Detection; check the names");
    }

    /// A type's fingerprint is also one of how its check values are made.
    #[test]
    fn the_same_type_of_another_release_is_refused() {
        let (spec, layout, header) = control();
        let other = ChannelType { fingerprint: spec.fingerprint ^ 1, ..spec.clone() };
        let error = header.check_type(&other, &(64..=64)).unwrap_err();
        assert_eq!(error, HeaderError::Type { found: "test.Control".to_owned(), expected: "test.Control".to_owned() });
        let text = "it carries test.Control with other fields or check values than expected; \
                    use the same release on both sides";
        assert_eq!(error.to_string(), text);
        assert_eq!(header.check(&other, &layout), Err(error));
    }

    #[test]
    fn the_right_type_in_too_little_memory_or_unaligned_is_refused() {
        let (spec, _, header) = control();
        assert_eq!(header.check_type(&spec, &(64..=64)), Ok(()));
        for size in [0, 8, 63, 65] {
            let layout = Layout::new(3, size, spec.payload_align).unwrap();
            let small = Header::new(&ChannelType { payload_size: size, ..spec.clone() }, &layout);
            assert_eq!(small.layout(small.total_size), Ok(layout), "consistent in itself");
            let damaged = HeaderError::Damaged { field: "payload_size", found: size as u64 };
            assert_eq!(small.check_type(&spec, &(64..=64)), Err(damaged));
            assert!(small.check(&spec, &control().1).is_err());
        }
        let layout = Layout::new(3, 64, 1).unwrap();
        let unaligned = Header::new(&ChannelType { payload_align: 1, ..spec.clone() }, &layout);
        let damaged = HeaderError::Damaged { field: "payload_align", found: 1 };
        assert_eq!(unaligned.check_type(&spec, &(64..=64)), Err(damaged));
        assert!(unaligned.check(&spec, &control().1).is_err());
    }
}
