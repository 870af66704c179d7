//! Where things lie: `R mailboxes`, then elsewhere or behind them `R + 2 slots`.
//!
//! A slot is its header (sequence number and publish time, 16 bytes) and the payload at its own alignment. With the feature
//! `cache-padded`, slots and mailboxes are padded to two cache lines, because processors fetch lines in pairs.

use crate::sync::Padded;
use core::fmt;

/// The most readers that a channel can have.
pub const MAX_READERS: usize = 29;

/// What the writer needs beyond one slot for each reader: one to fill, and one that is the newest.
pub(crate) const SPARE_SLOTS: usize = 2;

/// Bytes of a slot before its payload, without padding.
pub(crate) const SLOT_HEADER: usize = 16;

/// The sizes of a channel's parts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    readers: usize,
    payload_size: usize,
    payload_offset: usize,
    stride: usize,
}

impl Layout {
    /// The layout of a channel with `readers` mailboxes and payloads of `payload_size` bytes aligned to
    /// `payload_align`.
    ///
    /// # Errors
    /// [`LayoutError`] where there are too few or too many readers, the alignment is not a power of two up to 4096,
    /// or the whole would not fit the address space.
    pub const fn new(readers: usize, payload_size: usize, payload_align: usize) -> Result<Self, LayoutError> {
        if readers == 0 || readers > MAX_READERS {
            return Err(LayoutError::Readers { found: readers });
        }
        if !payload_align.is_power_of_two() || payload_align > 4096 {
            return Err(LayoutError::Alignment { found: payload_align });
        }
        // Far below overflow for 31 slots, and far above any frame.
        if payload_size > isize::MAX as usize / 64 {
            return Err(LayoutError::Size { found: payload_size });
        }
        let payload_offset = SLOT_HEADER.next_multiple_of(payload_align);
        let slot_align = align_of::<Padded<u64>>();
        let pad = if payload_align > slot_align { payload_align } else { slot_align };
        let stride = (payload_offset + payload_size).next_multiple_of(pad);
        Ok(Self { readers, payload_size, payload_offset, stride })
    }

    pub(crate) const fn of_static(readers: usize, payload_size: usize, payload_offset: usize, stride: usize) -> Self {
        Self { readers, payload_size, payload_offset, stride }
    }

    /// How many readers there can be.
    #[must_use]
    pub const fn readers(&self) -> usize {
        self.readers
    }

    /// How many slots there are: two more than readers.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.readers + SPARE_SLOTS
    }

    /// Bytes of one payload.
    #[must_use]
    pub const fn payload_size(&self) -> usize {
        self.payload_size
    }

    /// Bytes from the start of a slot to its payload.
    #[must_use]
    pub const fn payload_offset(&self) -> usize {
        self.payload_offset
    }

    /// Bytes from one slot to the next.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes of all mailboxes.
    #[must_use]
    pub const fn mailbox_bytes(&self) -> usize {
        self.readers * size_of::<Padded<crate::mailbox::Mailbox>>()
    }

    /// Bytes of all slots.
    #[must_use]
    pub const fn slot_bytes(&self) -> usize {
        self.slots() * self.stride
    }
}

/// A channel can't have this layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// Too few or too many readers.
    Readers {
        /// How many were asked for.
        found: usize,
    },
    /// The alignment is not a power of two, or too large.
    Alignment {
        /// In bytes.
        found: usize,
    },
    /// The payload is too large.
    Size {
        /// In bytes.
        found: usize,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readers { found } => write!(f, "{found} readers, expected 1 to {MAX_READERS}"),
            Self::Alignment { found } => {
                write!(f, "a payload aligned to {found} bytes, expected a power of two up to 4096")
            }
            Self::Size { found } => {
                write!(f, "a payload of {found} bytes, expected less than 1/64 of the address space")
            }
        }
    }
}

impl core::error::Error for LayoutError {}

#[cfg(all(test, not(lkas_loom)))]
mod tests {
    use super::*;

    #[test]
    fn parts_are_padded_and_aligned() {
        let layout = Layout::new(4, 72, 8).unwrap();
        assert_eq!((layout.slots(), layout.payload_offset(), layout.stride()), (6, 16, 128));
        assert_eq!((layout.mailbox_bytes(), layout.slot_bytes()), (4 * 128, 6 * 128));
        let layout = Layout::new(1, 64 + 800 * 600 * 3, 64).unwrap();
        assert_eq!((layout.payload_offset(), layout.stride() % 128), (64, 0));
        assert!(layout.stride() >= 64 + 64 + 800 * 600 * 3);
    }

    #[test]
    fn impossible_layouts_are_errors() {
        assert_eq!(Layout::new(0, 8, 8), Err(LayoutError::Readers { found: 0 }));
        assert_eq!(Layout::new(30, 8, 8), Err(LayoutError::Readers { found: 30 }));
        assert_eq!(Layout::new(1, 8, 3), Err(LayoutError::Alignment { found: 3 }));
        assert_eq!(Layout::new(1, usize::MAX, 8), Err(LayoutError::Size { found: usize::MAX }));
    }
}
