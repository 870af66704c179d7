//! A segment in this process's memory: header and mailboxes writable, slots writable for the writer only.

use crate::error::Warning;
use crate::fork::Generation;
use crate::header::{Header, LIVE, PAGE, control_size, total_size};
use crate::options::Memory;
use crate::wait;
use core::ptr::NonNull;
use lkas_core::{Layout, LiveWords, Payload, Plain, View, Writer};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, munmap};

/// A mapped segment. Other processes change its bytes at any time; only the protocol says who may look where.
#[derive(Debug)]
pub(crate) struct Mapping {
    control: NonNull<u8>,
    slots: NonNull<u8>,
    layout: Layout,
    born: Generation,
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
            Ok(slots) => Ok(Self { control, slots, layout, born: Generation::now() }),
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
                warnings.extend(asked.err().map(|why| Warning::Refused { option: "huge pages", why }));
            }
            if memory.lock {
                // SAFETY: the range is mapped, and locking changes nothing of what is in it.
                let asked = unsafe { mlock(start, size) };
                warnings.extend(asked.err().map(|why| Warning::Refused { option: "locked memory", why }));
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

    /// Writes the header of a segment that nobody else knows yet.
    pub(crate) fn write_header(&mut self, header: &Header) {
        // SAFETY: the control pages are mapped, at least a page long, page-aligned, and nobody else uses them yet.
        unsafe { self.control.cast::<Header>().write(*header) }
    }

    /// The words of the header that change.
    pub(crate) fn live(&self) -> &LiveWords {
        self.born.check();
        // SAFETY: they lie inside of the header.
        let words = unsafe { self.control.add(LIVE) };
        // SAFETY: aligned, mapped as long as `self` lives, and atomics are valid whatever their bits. The mapping is
        // writable for whoever changes a word.
        unsafe { words.cast::<LiveWords>().as_ref() }
    }

    /// A view to look on, whatever the segment was made for.
    pub(crate) fn view_to_look(&self) -> View<'_, [u8]> {
        self.born.check();
        // SAFETY: bytes stand for any type; no role is taken, and the view ends before the mapping.
        unsafe { self.view() }
    }

    /// Says in the segment itself that it is replaced or removed, and wakes whoever sleeps on it.
    ///
    /// # Safety
    /// The caller holds the lock on the writer's byte, and no writer of this channel is used after.
    pub(crate) unsafe fn retire(&self) {
        self.live().retire();
        // SAFETY: closing touches no payload, so bytes stand for any type, and the writer ends here.
        let view: View<'_, [u8]> = unsafe { self.view() };
        // SAFETY: the caller's.
        let writer: Writer<'_, [u8]> = unsafe { view.writer() };
        wait::wake(writer.close(), view);
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
        if self.born.is_over() {
            // A fork does not inherit the memory; the addresses may be somebody else's by now.
            return;
        }
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
    // So that a forked child can't touch what its parent is responsible for.
    // SAFETY: the range was mapped just now; nothing in it changes.
    let kept_from_children = unsafe { madvise(start, size, Advice::LinuxDontFork) };
    let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
    if let Err(why) = kept_from_children {
        unmap(start, size);
        return Err(why);
    }
    Ok(start)
}

fn unmap(start: NonNull<u8>, size: usize) {
    // SAFETY: exactly what `map` returned, once. It can't fail for such a range.
    let _ = unsafe { munmap(start.as_ptr().cast(), size) };
}

/// Reads the header through the file, so that a file that is too short is an error and not a fault.
pub(crate) fn read_header(fd: BorrowedFd<'_>) -> Result<Option<Header>, Errno> {
    let mut page = [0; PAGE];
    let mut done = 0;
    while done < PAGE {
        match rustix::io::pread(fd, &mut page[done..], done as u64) {
            Ok(0) => return Ok(None),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(Header::from_bytes(&page))
}
