//! Roles as locks of the kernel: open-file-description byte locks on the segment, which die with their process.
//!
//! Byte 0 is the writer's role, byte 1 + n the reader place n. A suspended process keeps its locks. rustix has no call
//! for these locks, so libc does it.

use crate::mapping::Mapping;
use crate::segment::Segment;
use lkas_core::{Payload, Reader, View, Writer};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// A role in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader(usize),
}

impl Role {
    fn byte(self) -> i64 {
        match self {
            Self::Writer => 0,
            Self::Reader(place) => 1 + place as i64,
        }
    }
}

/// Takes `role` for the open file `fd`, until it is closed. `false` where somebody else has it.
pub(crate) fn claim(fd: BorrowedFd<'_>, role: Role) -> Result<bool, Errno> {
    match lock(fd, libc::F_OFD_SETLK, role) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(why) => Err(why),
    }
}

/// Whether somebody other than the open file `fd` has `role`.
pub(crate) fn is_taken(fd: BorrowedFd<'_>, role: Role) -> Result<bool, Errno> {
    lock(fd, libc::F_OFD_GETLK, role).map(|kind| i32::from(kind) != libc::F_UNLCK)
}

fn lock(fd: BorrowedFd<'_>, command: i32, role: Role) -> Result<i16, Errno> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: role.byte(),
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: `lock` is a valid `flock` that lives through the call, and `fd` is open.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) };
    if result == -1 {
        let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(Errno::from_raw_os_error(code));
    }
    Ok(lock.l_type)
}

/// The writer of a segment whose creation claimed the writer's role. It must not outlive the segment.
pub(crate) fn writer<T: Payload + ?Sized>(segment: &Segment) -> Writer<'static, T> {
    // SAFETY: the segment was created for `T`, and its owner drops the writer first.
    let view = unsafe { segment.mapping.view() };
    // SAFETY: the segment's file holds the lock on the writer's byte, which orders this after a predecessor's end.
    unsafe { view.writer() }
}

/// A writer over a mapping whose writer's role the caller has claimed, to close it. It must not outlive the mapping.
pub(crate) fn retiring_writer(mapping: &Mapping) -> Writer<'static, u8> {
    // SAFETY: closing touches no payload, so bytes stand for any type; the caller drops the writer first.
    let view = unsafe { mapping.view() };
    // SAFETY: the caller holds the lock on the writer's byte.
    unsafe { view.writer() }
}

/// A view to look on, whatever the segment was made for.
pub(crate) fn view_to_look(mapping: &Mapping) -> View<'_, [u8]> {
    // SAFETY: bytes stand for any type; no role is taken, and the view ends before the mapping.
    unsafe { mapping.view() }
}

/// The reader at `place` of a segment whose opening claimed that place. It must not outlive the segment.
pub(crate) fn reader<T: Payload + ?Sized>(segment: &Segment, place: usize) -> Option<Reader<'static, T>> {
    // SAFETY: the segment carries `T` by its fingerprint, and its owner drops the reader first.
    let view = unsafe { segment.mapping.view() };
    // SAFETY: the segment's file holds the lock on the place's byte, which orders this after a predecessor's end.
    unsafe { view.reader(place) }
}
