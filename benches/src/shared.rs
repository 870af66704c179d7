//! Memory shared by hand between two processes: what the limits are made of.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::shm::{Mode, OFlags};
use std::io;

/// Words and bytes at the same place in two processes' memory. Zeroed at first; gone with the last of the two.
#[derive(Debug)]
pub struct Shared {
    start: NonNull<u8>,
    size: usize,
}

/// One cache line pair, so that neighbours do not disturb each other.
const APART: usize = 128;

impl Shared {
    /// `bytes` of memory (and 16 pairs of lines for words) under `name`, made by whoever comes first.
    ///
    /// # Errors
    /// Whatever the system has against it.
    pub fn open(name: &str, bytes: usize) -> io::Result<Self> {
        let size = 16 * APART + bytes;
        let flags = OFlags::CREATE | OFlags::RDWR;
        let file = rustix::shm::open(name, flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::ftruncate(&file, size as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping, where the system likes.
        let start = unsafe { rustix::mm::mmap(core::ptr::null_mut(), size, access, flags, &file, 0) }?;
        NonNull::new(start.cast()).map(|start| Self { start, size }).ok_or_else(|| io::Error::other("mapped at zero"))
    }

    /// The word `index`, below 16, in a pair of lines of its own.
    ///
    /// # Panics
    /// There is no such word.
    #[inline]
    #[must_use]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < 16);
        // SAFETY: inside of the mapping.
        let word = unsafe { self.start.add(index * APART) };
        // SAFETY: aligned, mapped as long as `self` lives, and only ever used as an atomic.
        unsafe { AtomicU64::from_ptr(word.as_ptr().cast()) }
    }

    /// Where the bytes begin.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> *mut u8 {
        // SAFETY: inside of the mapping.
        unsafe { self.start.add(16 * APART) }.as_ptr()
    }

    /// Copies `from` to the bytes.
    ///
    /// # Panics
    /// They are more than there are.
    #[inline]
    pub fn write(&self, from: &[u8]) {
        assert!(16 * APART + from.len() <= self.size);
        // SAFETY: as many bytes are there; whoever calls this has made sure by a flag that the other does not look.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), self.bytes(), from.len()) };
    }

    /// Copies the bytes to `to`.
    ///
    /// # Panics
    /// They are more than there are.
    #[inline]
    pub fn read(&self, to: &mut [u8]) {
        assert!(16 * APART + to.len() <= self.size);
        // SAFETY: as many bytes are there; whoever calls this has made sure by a flag that the other does not write.
        unsafe { core::ptr::copy_nonoverlapping(self.bytes(), to.as_mut_ptr(), to.len()) };
    }
}

// SAFETY: the mapping belongs to nobody in particular; words are atomics, bytes are guarded by them.
unsafe impl Send for Shared {}

// SAFETY: as above; the bytes are copied by whoever a word allows to.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: nothing borrowed from `self` is left.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// How all names of this process's benches in shared memory start.
#[must_use]
pub fn prefix() -> String {
    format!("bench-{}", std::process::id())
}

/// Takes away all names in shared memory and among temporary files that start so.
pub fn clean(prefix: &str) {
    for folder in ["/dev/shm".into(), std::env::temp_dir()] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                // Who comes too late finds it gone.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}
