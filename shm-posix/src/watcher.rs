//! One thread of a process that sleeps in the place of many readers, and tells whoever asked that something is there.

use crate::clock;
use crate::fork::Generation;
use crate::name::ChannelName;
use crate::segment;
use crate::wait::{self, SLICE, Words};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
#[cfg(feature = "stream")]
use core::task::Waker;
use core::time::Duration;
use lkas_core::{LiveWords, SleepWord};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whom to tell.
#[derive(Clone, Debug)]
pub(crate) enum Tell {
    /// An eventfd(2), which becomes readable.
    Event(Arc<OwnedFd>),
    /// A task.
    #[cfg(feature = "stream")]
    Task(Waker),
}

impl Tell {
    /// Tells. Wakers and their ends are the program's own code: called without the list's lock, as they may take it, and
    /// where one of them panics, the thread still tells the others.
    fn now(self) {
        // What it panics with, the panic's hook has said.
        let _ = catch_unwind(AssertUnwindSafe(move || match &self {
            // It fails only where it is readable already.
            Self::Event(event) => drop(rustix::io::write(event, &1_u64.to_ne_bytes())),
            #[cfg(feature = "stream")]
            Self::Task(waker) => waker.wake_by_ref(),
        }));
    }
}

/// What is looked at in a reader's place.
#[derive(Debug)]
pub(crate) struct Watchable {
    pub(crate) word: SleepWord<'static>,
    pub(crate) live: &'static LiveWords,
    /// The segment's.
    pub(crate) file: BorrowedFd<'static>,
    pub(crate) name: ChannelName,
    /// Set where the segment has neither name nor writer.
    pub(crate) orphaned: Arc<AtomicBool>,
}

/// A reader that is watched.
#[derive(Debug)]
struct Entry {
    number: u64,
    watchable: Watchable,
    /// Whom to tell at the next value; `None` where nobody asked since the last one.
    tell: Option<Tell>,
    /// Whether it was told that the writer has left, and that the channel was replaced or removed.
    told: [bool; 2],
}

/// Who is watched.
#[derive(Debug, Default)]
struct List {
    /// Whether there is a thread that looks at it.
    has_thread: bool,
    last_number: u64,
    entries: Vec<Entry>,
}

/// The thread's list. There is one in each process that needs it.
#[derive(Debug, Default)]
struct Watcher {
    /// While it is locked nobody leaves it, and no code of the program runs.
    list: Mutex<List>,
    /// Changes with the list, so that the thread looks at it anew.
    changes: AtomicU32,
}

/// A reader's place in the list, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    watcher: &'static Watcher,
    number: u64,
    born: Generation,
}

impl Watched {
    /// Puts a reader on the list, and starts the thread where there is none yet.
    ///
    /// # Safety
    /// The memory stays where it is, and the file open, until the result is dropped.
    pub(crate) unsafe fn new(watchable: Watchable) -> io::Result<Self> {
        let watcher = Watcher::of_this_process();
        let mut list = watcher.lock();
        if !list.has_thread {
            // Under the lock, so that nobody is on the list without a thread. Where there is none, the next one tries again.
            std::thread::Builder::new().name("lkas-watcher".to_owned()).spawn(|| watcher.run())?;
            list.has_thread = true;
        }
        list.last_number += 1;
        let number = list.last_number;
        list.entries.push(Entry { number, watchable, tell: None, told: [false; 2] });
        Ok(Self { watcher, number, born: Generation::now() })
    }

    /// Panics where this process was forked since.
    pub(crate) fn check_fork(&self) {
        self.born.check();
    }

    /// Asks to be told once: at the next value, at once where something new is there, or when the writer leaves.
    pub(crate) fn ask(&self, tell: Tell) {
        self.born.check();
        let mut list = self.watcher.lock();
        if let Some(entry) = list.entries.iter_mut().find(|entry| entry.number == self.number) {
            let before = entry.tell.replace(tell);
            drop(list);
            self.watcher.note_change();
            drop(before);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The list of another process: its thread is not here.
        if !self.born.is_over() {
            let mut list = self.watcher.lock();
            let found = list.entries.iter().position(|entry| entry.number == self.number);
            let entry = found.map(|place| list.entries.swap_remove(place));
            drop(list);
            self.watcher.note_change();
            drop(entry);
        }
    }
}

impl Watcher {
    /// This process's watcher. A forked child makes one of its own: its parent's thread is not there, and its lock may be
    /// held for ever.
    fn of_this_process() -> &'static Self {
        static WATCHER: AtomicPtr<(Generation, Watcher)> = AtomicPtr::new(ptr::null_mut());
        loop {
            // ORDERING: Acquire pairs with the Release below: what it points to is complete.
            let found = WATCHER.load(Ordering::Acquire);
            // SAFETY: null, or leaked by the lines below, and never freed or changed.
            if let Some((born, watcher)) = unsafe { found.as_ref() }
                && !born.is_over()
            {
                return watcher;
            }
            let new: &'static (Generation, Self) = Box::leak(Box::new((Generation::now(), Self::default())));
            let pointer = ptr::from_ref(new).cast_mut();
            // ORDERING: Release pairs with the Acquire above.
            // Where another thread was faster, what was made is lost, once for each thread that comes first.
            let _ = WATCHER.compare_exchange(found, pointer, Ordering::Release, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_change(&self) {
        // ORDERING: Relaxed. The list's lock orders the list; this only ends a sleep.
        self.changes.fetch_add(1, Ordering::Relaxed);
        wait::wake_private(&self.changes);
    }

    fn run(&self) -> ! {
        block_signals();
        let mut words = Words::default();
        let mut tells = Vec::new();
        let mut looked = clock::now();
        loop {
            words.clear();
            // ORDERING: Relaxed. Read before the list: a change that comes later makes the sleep below end at once.
            words.push_private(&self.changes, self.changes.load(Ordering::Relaxed));
            let mut changed = false;
            let now = clock::now();
            let look_for_names = Duration::from_nanos(now.saturating_sub(looked)) >= SLICE;
            if look_for_names {
                looked = now;
            }
            // While the list is locked nobody leaves it, so that words and files are there.
            for entry in &mut self.lock().entries {
                if look_for_names {
                    entry.look_for_name();
                }
                changed |= entry.look(&mut words, &mut tells);
            }
            // Outside of the lock: the words are only addresses now, and where memory is gone the sleep ends.
            if changed {
                tells.drain(..).for_each(Tell::now);
            } else {
                let _ = words.sleep(SLICE);
            }
        }
    }
}

impl Entry {
    /// Adds whom to tell to `tells` where there is a reason, and otherwise the word to those to sleep on. Whether it has
    /// changed, so that there is no sleep.
    fn look(&mut self, words: &mut Words, tells: &mut Vec<Tell>) -> bool {
        if self.tell.is_none() {
            return false;
        }
        let Watchable { word, live, orphaned, .. } = &self.watchable;
        // ORDERING: Relaxed. A flag without data.
        let end = [word.is_closed(), live.is_retired() || orphaned.load(Ordering::Relaxed)];
        let ended = end != self.told && end != [false; 2];
        self.told = end;
        if !ended && let Some(value) = word.announce() {
            words.push(*word, value);
            return false;
        }
        if !ended && !word.is_fresh() {
            // The word changed while sleep was announced.
            return true;
        }
        tells.extend(self.tell.take());
        true
    }

    /// Finds out, for whoever asked, whether the segment lost its name and its writer.
    fn look_for_name(&self) {
        if self.tell.is_some() && segment::is_orphaned(&self.watchable.name, self.watchable.file) {
            // ORDERING: Relaxed. A flag without data, which stays; who is told of it looks later.
            self.watchable.orphaned.store(true, Ordering::Relaxed);
        }
    }
}

/// Signals are for the threads of the program, whose system calls they shall interrupt.
fn block_signals() {
    let mut all = core::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set.
    let _ = unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is filled; it changes this thread alone.
    let _ = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut()) };
}

/// A new eventfd(2), not readable.
pub(crate) fn event() -> Result<Arc<OwnedFd>, Errno> {
    use rustix::event::{EventfdFlags, eventfd};
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Arc::new)
}

/// Makes it not readable.
pub(crate) fn clear(event: &OwnedFd) {
    // It fails only where it is not readable anyway.
    let _ = rustix::io::read(event, &mut [0; 8]);
}
