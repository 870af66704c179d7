//! What a fork may not inherit: descriptors, which hold roles, and handles.
//!
//! A forked child has copies of its parent's descriptors, and a lock of the kernel ends only when the last copy is closed.
//! So a handler of pthread_atfork(3) closes them in the child. It also begins a new generation: handles of an older one
//! are dead. A process made by the bare system call clone(2), which runs no handlers, is not covered.

use core::cell::UnsafeCell;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, Ordering};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::Errno;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// How often this process, or a forefather of it, was made by a fork.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The descriptors that a fork must not inherit.
static FILES: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

type Held = Option<MutexGuard<'static, Vec<RawFd>>>;

/// The lock of [`FILES`] during a fork, so that no other thread is in the middle of opening a file.
struct DuringFork(UnsafeCell<Held>);

// SAFETY: only touched by the handlers of a fork, between locking `FILES` and unlocking it.
unsafe impl Sync for DuringFork {}

static DURING_FORK: DuringFork = DuringFork(UnsafeCell::new(None));

fn files() -> MutexGuard<'static, Vec<RawFd>> {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // SAFETY: the handlers may run at any fork, in any thread. They allocate nothing. Where there is no memory to note
        // them, nothing can be done, and a fork is as it was.
        let _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" fn before() {
    let guard = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: nobody else touches it while `FILES` is locked, except the handlers that follow in this thread.
    unsafe { DURING_FORK.0.get().write(Some(guard)) };
}

fn after() -> Held {
    // SAFETY: as in `before`, in the same thread or its copy.
    unsafe { DURING_FORK.0.get().replace(None) }
}

unsafe extern "C" fn in_parent() {
    drop(after());
}

unsafe extern "C" fn in_child() {
    // ORDERING: Relaxed. The child has one thread.
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let Some(mut files) = after() else { return };
    // Draining allocates and frees nothing.
    for file in files.drain(..) {
        // SAFETY: it was open at the fork, and every `File` that knows it is of an older generation by now.
        let _ = unsafe { libc::close(file) };
    }
}

/// When a handle was made, counted in forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u32);

impl Generation {
    pub(crate) fn now() -> Self {
        // ORDERING: Relaxed. It changes only where a process begins.
        Self(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this process was forked since.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self != Self::now()
    }

    /// Panics where this process was forked since.
    #[inline]
    pub(crate) fn check(self) {
        if self.is_over() {
            forked();
        }
    }
}

#[cold]
#[inline(never)]
fn forked() -> ! {
    panic!(
        "a channel's handle was used in a forked process: it belongs to the process that made it; create or open the \
         channel again in this one"
    );
}

/// An open file that a fork does not inherit.
#[derive(Debug)]
pub(crate) struct File {
    file: ManuallyDrop<OwnedFd>,
    born: Generation,
}

impl File {
    /// Opens a file by `open`, which does nothing else. No fork happens meanwhile.
    pub(crate) fn open(open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<Self, Errno> {
        let mut files = files();
        let file = open()?;
        files.push(file.as_raw_fd());
        Ok(Self { file: ManuallyDrop::new(file), born: Generation::now() })
    }

    /// When it was opened.
    pub(crate) fn born(&self) -> Generation {
        self.born
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.born.check();
        self.file.as_fd()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if self.born.is_over() {
            // Closed by the fork; the number may be another file's by now.
            return;
        }
        let mut files = files();
        let number = self.file.as_raw_fd();
        files.retain(|file| *file != number);
        // SAFETY: dropped once, here, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}
