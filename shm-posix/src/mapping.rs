//! A segment in this process's memory: header and mailboxes writable, slots writable for the writer only.

use crate::error::Warning;
use crate::header::{Header, LiveWords, PAGE, control_size, total_size};
use crate::segment::Memory;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use lkas_core::{Layout, Payload, View};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, munmap};
use zerocopy::{FromZeros, IntoBytes};

/// A mapped segment. Other processes change its bytes at any time; only the protocol says who may look where.
#[derive(Debug)]
pub(crate) struct Mapping {
    control: NonNull<u8>,
    slots: NonNull<u8>,
    layout: Layout,
}

// SAFETY: an address of memory that belongs to no thread; what is done with it is up to the roles.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; the methods only hand out atomics and views.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a segment whose size was checked against `layout`.
    pub(crate) fn new(fd: BorrowedFd<'_>, layout: Layout, slots_writable: bool, memory: Memory) -> Result<Self, Errno> {
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        let slots = if slots_writable { writable } else { ProtFlags::READ };
        let present = if memory.prefault { MapFlags::POPULATE } else { MapFlags::empty() };
        Self::with(fd, layout, writable, slots, MapFlags::SHARED | present)
    }

    fn with(
        fd: BorrowedFd<'_>,
        layout: Layout,
        control: ProtFlags,
        slots: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self, Errno> {
        let control_size = control_size(&layout);
        let control = map(fd, 0, control_size, control, flags)?;
        match map(fd, control_size, total_size(&layout) - control_size, slots, flags) {
            Ok(slots) => Ok(Self { control, slots, layout }),
            Err(why) => {
                unmap(control, control_size);
                Err(why)
            }
        }
    }

    /// Asks the system to hold the memory as `memory` says, and returns what it refused.
    pub(crate) fn hold(&self, memory: Memory) -> Vec<Warning> {
        let control = (self.control, control_size(&self.layout));
        let slots = (self.slots, total_size(&self.layout) - control.1);
        let mut warnings = Vec::new();
        for (start, size) in [control, slots] {
            let start = start.as_ptr().cast();
            if memory.huge_pages {
                // SAFETY: the range is mapped, and the advice changes nothing of what is in it.
                let asked = unsafe { madvise(start, size, Advice::LinuxHugepage) };
                warnings.extend(asked.err().map(|why| Warning::new("huge pages", why)));
            }
            if memory.lock {
                // SAFETY: the range is mapped, and locking changes nothing of what is in it.
                let asked = unsafe { mlock(start, size) };
                warnings.extend(asked.err().map(|why| Warning::new("locked memory", why)));
            }
        }
        warnings.dedup();
        warnings
    }

    /// Maps a segment to look on: nothing can be written, and pages come in only when they are looked at.
    pub(crate) fn to_look(fd: BorrowedFd<'_>, layout: Layout) -> Result<Self, Errno> {
        Self::with(fd, layout, ProtFlags::READ, ProtFlags::READ, MapFlags::SHARED)
    }

    /// The sizes of the parts.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Sequence number and publish time in the header of `slot`, from 1; `None` where there is no such slot. Whether
    /// they belong together, the caller has to see.
    pub(crate) fn slot_header(&self, slot: u8) -> Option<(u64, u64)> {
        let index = usize::from(slot).checked_sub(1).filter(|index| *index < self.layout.slots())?;
        let word = |at: usize| {
            // SAFETY: the slot's header lies inside of the slots.
            let word = unsafe { self.slots.add(index * self.layout.stride() + at) };
            // SAFETY: aligned, and mapped as long as `self` lives. The slot's writer may be at it, which is why this is
            // an atomic load: the number may be a mixture of two, never a fault.
            let word = unsafe { AtomicU64::from_ptr(word.as_ptr().cast()) };
            // ORDERING: Acquire, so that the caller's second look at the mailbox comes after it.
            word.load(Ordering::Acquire)
        };
        Some((word(0), word(8)))
    }

    /// Writes the header of a segment that nobody else knows yet.
    pub(crate) fn write_header(&mut self, header: &Header) {
        // SAFETY: the control pages are mapped, at least a page long, page-aligned, and nobody else uses them yet.
        unsafe { self.control.cast::<Header>().write(*header) }
    }

    /// The words of the header that change.
    pub(crate) fn live(&self) -> LiveWords<'_> {
        // SAFETY: the control pages are mapped as long as `self` lives.
        unsafe { LiveWords::new(self.control) }
    }

    /// The channel in this memory.
    ///
    /// # Safety
    /// The view is not used after the mapping is dropped, and the segment was made for `T`.
    pub(crate) unsafe fn view<T: Payload + ?Sized>(&self) -> View<'static, T> {
        // SAFETY: the mailboxes follow the header's page.
        let mailboxes = unsafe { self.control.add(PAGE) };
        // SAFETY: sizes and alignment follow from `layout`, and pages are aligned to more than any part needs. Other
        // processes access the memory through views of the same layout, which the header guarantees (I6).
        unsafe { View::from_raw(mailboxes, self.slots, self.layout) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let control_size = control_size(&self.layout);
        unmap(self.slots, total_size(&self.layout) - control_size);
        unmap(self.control, control_size);
    }
}

fn map(
    fd: BorrowedFd<'_>,
    offset: usize,
    size: usize,
    protection: ProtFlags,
    flags: MapFlags,
) -> Result<NonNull<u8>, Errno> {
    // SAFETY: the kernel chooses the address, so no memory in use is replaced.
    let start = unsafe { mmap(core::ptr::null_mut(), size, protection, flags, fd, offset as u64) }?;
    NonNull::new(start.cast()).ok_or(Errno::NOMEM)
}

fn unmap(start: NonNull<u8>, size: usize) {
    // SAFETY: exactly what `map` returned, once. It can't fail for such a range.
    let _ = unsafe { munmap(start.as_ptr().cast(), size) };
}

/// Reads the header through the file, so that a file that is too short is an error and not a fault.
pub(crate) fn read_header(fd: BorrowedFd<'_>) -> Result<Option<Header>, Errno> {
    let mut header = Header::new_zeroed();
    let mut done = 0;
    while done < PAGE {
        match rustix::io::pread(fd, &mut header.as_mut_bytes()[done..], done as u64) {
            Ok(0) => return Ok(None),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(Some(header))
}
