//! Roles as locks of the kernel: open-file-description byte locks on the segment, which die with their process.
//!
//! Byte 0 is the writer's role, byte 1 + n the reader place n. A suspended process keeps its locks, and a fork does not
//! inherit them ([`fork`](crate::fork)). rustix has no call for these locks, so libc does it.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// A role in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader(usize),
}

impl Role {
    /// All roles of a channel with `places` reader places.
    pub(crate) fn all(places: usize) -> impl Iterator<Item = Self> {
        core::iter::once(Self::Writer).chain((0..places).map(Self::Reader))
    }

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
