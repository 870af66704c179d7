//! The first page of a segment: what it is, how large its parts are, what it carries.
//!
//! All numbers are little-endian. The header is written before the segment gets its name and never changes, but for the
//! [`LiveWords`] that tell who writes, what it promises, and whether the segment was replaced.

use crate::description::{self, text};
use crate::error::HeaderError;
use core::ops::RangeInclusive;
use lkas_core::{Layout, LiveWords, Payload};
use lkas_messages::{Field, ImageShape, Message, fingerprint};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The first bytes of every segment.
pub const MAGIC: [u8; 8] = *b"LKASCHAN";
/// Version 1 had the contract in two words, and hashed descriptions that could collide.
const VERSION: u32 = 2;
/// Where the words that change lie, from the first byte of the segment.
pub(crate) const LIVE: usize = core::mem::offset_of!(Header, live);
/// Bytes of the header and of a page.
pub(crate) const PAGE: usize = 4096;
const TYPE_NAME: usize = 64;
const FIELDS: usize = PAGE - 256;

#[cfg(not(target_endian = "little"))]
compile_error!("segments are little-endian");

/// The header as it lies in memory.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
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
    reserved: [u8; 72],
    type_name: [u8; TYPE_NAME],
    /// See [`description`].
    fields: [u8; FIELDS],
}

const _: () = {
    assert!(size_of::<Header>() == PAGE);
    assert!(core::mem::offset_of!(Header, slots_offset) == 24);
    assert!(core::mem::offset_of!(Header, shape) == 72);
    assert!(LIVE == 88 && size_of::<LiveWords>() == 32);
    assert!(core::mem::offset_of!(Header, type_name) == 192);
    assert!(core::mem::offset_of!(Header, fields) == 256);
};

/// What a channel is to carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) type_name: &'static str,
    pub(crate) fields: &'static [Field],
    pub(crate) fingerprint: u64,
    pub(crate) payload_size: usize,
    pub(crate) payload_align: usize,
    pub(crate) shape: [u32; 4],
}

impl Spec {
    pub(crate) const fn of<T: Message + Payload + ?Sized>(payload_size: usize, shape: [u32; 4]) -> Self {
        Self {
            type_name: T::NAME,
            fields: T::FIELDS,
            fingerprint: fingerprint::<T>(),
            payload_size,
            payload_align: T::ALIGN,
            shape,
        }
    }
}

/// Bytes before the slots: header and mailboxes, in whole pages.
pub(crate) const fn control_size(layout: &Layout) -> usize {
    (PAGE + layout.mailbox_bytes()).next_multiple_of(PAGE)
}

/// Bytes of the whole segment.
pub(crate) const fn total_size(layout: &Layout) -> usize {
    control_size(layout) + layout.slot_bytes().next_multiple_of(PAGE)
}

impl Header {
    pub(crate) fn new(spec: &Spec, layout: &Layout) -> Self {
        let mut header = Self {
            magic: MAGIC,
            version: VERSION,
            readers: layout.readers() as u32,
            total_size: total_size(layout) as u64,
            slots_offset: control_size(layout) as u64,
            payload_size: spec.payload_size as u64,
            payload_align: spec.payload_align as u64,
            payload_offset: layout.payload_offset() as u64,
            stride: layout.stride() as u64,
            fingerprint: spec.fingerprint,
            shape: spec.shape,
            live: [0; 4],
            reserved: [0; 72],
            type_name: [0; TYPE_NAME],
            fields: [0; FIELDS],
        };
        // A name that does not fit is cut off: it is for people, the fingerprint is what is compared.
        let name = spec.type_name.as_bytes();
        let name = &name[..name.len().min(TYPE_NAME - 1)];
        header.type_name[..name.len()].copy_from_slice(name);
        description::write(spec.fields, &mut header.fields);
        header
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

    /// Whether the channel carries `spec`'s type in payloads of one of `sizes`, whatever its shape.
    pub(crate) fn check_type(&self, spec: &Spec, sizes: &RangeInclusive<usize>) -> Result<(), HeaderError> {
        if self.fingerprint != spec.fingerprint {
            return Err(HeaderError::Type { found: self.type_name(), expected: spec.type_name });
        }
        // A stranger may know the fingerprint: values are only looked at where all of one lies, and aligned.
        if self.payload_align != spec.payload_align as u64 {
            return Err(HeaderError::Damaged { field: "payload_align", found: self.payload_align });
        }
        match usize::try_from(self.payload_size) {
            Ok(size) if sizes.contains(&size) => Ok(()),
            _ => Err(HeaderError::Damaged { field: "payload_size", found: self.payload_size }),
        }
    }

    /// Whether the channel is exactly as `spec` and `layout` want it.
    pub(crate) fn check(&self, spec: &Spec, layout: &Layout) -> Result<(), HeaderError> {
        let wanted = Self::new(spec, layout);
        let numbers = |header: &Self| (header.shape, header.payload_size, header.payload_align, header.readers);
        if self.fingerprint != spec.fingerprint {
            return Err(HeaderError::Type { found: self.type_name(), expected: spec.type_name });
        }
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

    /// The shape words: for images width, height, channels and pixel format.
    pub(crate) fn shape(&self) -> [u32; 4] {
        self.shape
    }

    /// The bytes of one payload.
    pub(crate) fn payload_size(&self) -> u64 {
        self.payload_size
    }

    fn describe(&self) -> String {
        let what = match ImageShape::from_words(self.shape) {
            Some(shape) => shape.to_string(),
            None => format!("{} bytes", self.payload_size),
        };
        format!("{what} for {} readers", self.readers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::{Control, Detection};

    fn control() -> (Spec, Layout, Header) {
        let spec = Spec::of::<Control>(size_of::<Control>(), [0; 4]);
        let layout = Layout::new(3, spec.payload_size, spec.payload_align).unwrap();
        (spec, layout, Header::new(&spec, &layout))
    }

    #[test]
    fn a_new_header_is_valid_and_describes_its_type() {
        let (spec, layout, header) = control();
        assert_eq!(header.layout(header.total_size), Ok(layout));
        assert_eq!(header.check(&spec, &layout), Ok(()));
        assert_eq!(header.type_name(), "lkas.Control");
        let fields = text(&header.fields);
        assert!(fields.starts_with("frame_id u64 0 - -"), "{fields}");
        assert!(fields.contains("lateral_offset_m f32 44 m 1"), "{fields}");
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
        let detection = Spec::of::<Detection>(size_of::<Detection>(), [0; 4]);
        let error = header.check_type(&detection, &(72..=72)).unwrap_err();
        assert_eq!(error.to_string(), "it carries lkas.Control, expected lkas.Detection; check the names");
    }

    /// A type's fingerprint is also one of how its check values are made.
    #[test]
    fn the_same_type_of_another_release_is_refused() {
        let (spec, layout, header) = control();
        let other = Spec { fingerprint: spec.fingerprint ^ 1, ..spec };
        let error = header.check_type(&other, &(64..=64)).unwrap_err();
        assert_eq!(error, HeaderError::Type { found: "lkas.Control".to_owned(), expected: "lkas.Control" });
        let text = "it carries lkas.Control with other fields or check values than expected; \
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
            let small = Header::new(&Spec { payload_size: size, ..spec }, &layout);
            assert_eq!(small.layout(small.total_size), Ok(layout), "consistent in itself");
            let damaged = HeaderError::Damaged { field: "payload_size", found: size as u64 };
            assert_eq!(small.check_type(&spec, &(64..=64)), Err(damaged));
            assert!(small.check(&spec, &control().1).is_err());
        }
        let layout = Layout::new(3, 64, 1).unwrap();
        let unaligned = Header::new(&Spec { payload_align: 1, ..spec }, &layout);
        let damaged = HeaderError::Damaged { field: "payload_align", found: 1 };
        assert_eq!(unaligned.check_type(&spec, &(64..=64)), Err(damaged));
        assert!(unaligned.check(&spec, &control().1).is_err());
    }
}
