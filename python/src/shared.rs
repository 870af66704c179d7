//! What all handles share: a state behind a lock that knows forks and its own end, and waiting that Python can interrupt.

use crate::errors::{self, Forked, Released};
use crate::numbers;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use lkas_messages::ImageShape;
use lkas_shm::{ChannelName, Observer, OpenError, OpenOptions, clock};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The longest that a handle waits without looking for signals and for its own end.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// The longest that a handle waits with the state's lock while other threads use the handle too.
const SHARED_SLICE: Duration = Duration::from_millis(2);

/// For how long a handle counts as used by other threads after one of them came while it waited, in nanoseconds.
const SHARED_FOR: u64 = 10_000_000_000;

/// How often, and for how long each time, who waits lets others go first.
const YIELDS: usize = 100;
const YIELD: Duration = Duration::from_micros(50);

/// How often this process was made by a fork, as Python counts them. A lock that another thread held at the fork stays
/// locked in the child for ever, so this is looked at before any lock.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process that something was made in.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Birth(u32);

impl Birth {
    pub(crate) fn now() -> Self {
        // ORDERING: Relaxed. It changes only where a process begins.
        Self(FORKS.load(Ordering::Relaxed))
    }

    /// Whether that is this process.
    pub(crate) fn is_here(self) -> bool {
        self == Self::now()
    }
}

/// Called in each forked child.
#[pyfunction]
#[pyo3(name = "_after_fork")]
pub(crate) fn after_fork() {
    // ORDERING: Relaxed. The child has one thread.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Seconds of the monotonic clock that stamps frames, the same in all processes of this machine.
#[pyfunction]
pub(crate) fn now() -> f64 {
    clock::now_seconds()
}

/// The names of all channels of this machine, sorted.
#[pyfunction]
pub(crate) fn channels() -> PyResult<Vec<String>> {
    Ok(lkas_shm::channels()?.iter().map(ToString::to_string).collect())
}

/// Height, width, channels.
type Shape = (u32, u32, u32);

/// The type that the channel `name` carries, and `(height, width, channels)` where these are images. Takes no reader place.
///
/// Raises NoChannel where there is none.
#[pyfunction]
#[pyo3(name = "_look", signature = (name, *, namespace = ""))]
pub(crate) fn look(name: &str, namespace: &str) -> PyResult<(String, Option<Shape>)> {
    let observer = Observer::open(&channel_name(namespace, name)?).map_err(errors::open)?;
    let description = observer.description();
    let shape = ImageShape::from_words(description.shape());
    let shape = shape.map(|shape| (shape.height(), shape.width(), shape.format().channels()));
    Ok((description.type_name().to_owned(), shape))
}

/// Removes the channel `name`, where it is there. What is in use is never removed: that raises InUse.
#[pyfunction]
#[pyo3(signature = (name, *, namespace = ""))]
pub(crate) fn unlink(name: &str, namespace: &str) -> PyResult<()> {
    lkas_shm::unlink(&channel_name(namespace, name)?).map_err(errors::unlink)
}

pub(crate) fn channel_name(namespace: &str, name: &str) -> PyResult<ChannelName> {
    ChannelName::new(namespace, name).map_err(errors::value)
}

/// The options of whoever may ask for a place by its number.
pub(crate) fn with_place(options: OpenOptions, place: Option<usize>) -> OpenOptions {
    place.map_or(options, |place| options.place(place))
}

/// The state of a handle: of one process, used by one thread at a time, gone once it is closed.
pub(crate) struct Shared<S> {
    state: Mutex<Option<S>>,
    closed: AtomicBool,
    /// Threads that are in `wait`.
    waiting: AtomicU32,
    /// Threads that want the lock and have not got it.
    wanting: AtomicU32,
    /// When a thread last wanted the state while another one waited; 0 is never.
    wanted: AtomicU64,
    born: Birth,
    what: &'static str,
    name: String,
}

impl<S: Send> Shared<S> {
    pub(crate) fn new(what: &'static str, name: String, state: S) -> Self {
        Self {
            state: Mutex::new(Some(state)),
            closed: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            wanting: AtomicU32::new(0),
            wanted: AtomicU64::new(0),
            born: Birth::now(),
            what,
            name,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Relaxed. A flag without data; the lock orders the state.
        self.closed.load(Ordering::Relaxed)
    }

    fn check_fork(&self) -> PyResult<()> {
        if self.born.is_here() {
            return Ok(());
        }
        Err(Forked::new_err(format!(
            "the {} of {} belongs to the process that this one was forked from; open it again here",
            self.what, self.name
        )))
    }

    fn released(&self) -> PyErr {
        Released::new_err(format!("the {} of {} is closed", self.what, self.name))
    }

    /// Uses the state.
    ///
    /// # Errors
    /// `Forked`, `Released`, and what `work` returns.
    pub(crate) fn with<R>(&self, py: Python<'_>, work: impl FnOnce(&mut S) -> PyResult<R>) -> PyResult<R> {
        self.check_fork()?;
        let mut guard = self.lock_by(0, || self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner));
        match guard.as_mut() {
            Some(state) => work(state),
            None => Err(self.released()),
        }
    }

    /// Uses the state without the interpreter, so that other threads run.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub(crate) fn detached<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut S) -> PyResult<R> + Send,
    ) -> PyResult<R> {
        self.check_fork()?;
        py.detach(|| self.work(0, work))
    }

    /// Uses the state on behalf of who is in `wait`, or not: `own` is 1 or 0.
    fn work<R>(&self, own: u32, work: impl FnOnce(&mut S) -> PyResult<R>) -> PyResult<R> {
        let mut guard = self.lock(own);
        match guard.as_mut() {
            Some(state) if !self.is_closed() => work(state),
            _ => Err(self.released()),
        }
    }

    fn lock(&self, own: u32) -> MutexGuard<'_, Option<S>> {
        self.lock_by(own, || self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Locks the state by `lock`, and tells others who wait that somebody wants it. `own`: how many of them this is.
    fn lock_by<'a>(&self, own: u32, lock: impl FnOnce() -> MutexGuard<'a, Option<S>>) -> MutexGuard<'a, Option<S>> {
        // ORDERING: Relaxed, here and below. These numbers only say how patient to be; the lock orders the state.
        if self.waiting.load(Ordering::Relaxed) <= own {
            return lock();
        }
        self.wanted.store(clock::now(), Ordering::Relaxed);
        self.wanting.fetch_add(1, Ordering::Relaxed);
        let guard = lock();
        self.wanting.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// How long to wait with the lock: others must not wait long for it where there are others.
    fn slice(&self) -> Duration {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted > 0 && clock::now().saturating_sub(wanted) < SHARED_FOR { SHARED_SLICE } else { SLICE }
    }

    /// Lets those go first who want the lock: the one who has just released it would get it again before they wake up.
    fn let_others(&self) {
        for _ in 0..YIELDS {
            if self.wanting.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::sleep(YIELD);
        }
    }

    /// Waits until `step` says that there is something, at most `timeout`; for ever where that is `None`. `step` waits for
    /// the time that it is given and no longer. Between two steps, Python handles its signals, and other threads use the
    /// state: they wait for a step, which is short once they have come.
    ///
    /// # Errors
    /// `Forked`, `Released`, what a signal's handler raises, and what `step` returns. Where the handle is closed meanwhile,
    /// the wait has ended without anything.
    pub(crate) fn wait(
        &self,
        py: Python<'_>,
        timeout: Option<f64>,
        step: impl Fn(&mut S, Duration) -> PyResult<bool> + Sync,
    ) -> PyResult<bool>
    where
        S: Send,
    {
        let timeout = timeout.map(|timeout| numbers::seconds("timeout", timeout)).transpose()?;
        self.with(py, |_| Ok(()))?;
        let _waiting = Counted::new(&self.waiting);
        let start = Instant::now();
        loop {
            self.check_fork()?;
            let found = py.detach(|| {
                self.let_others();
                let slice = self.slice();
                let left = timeout.map_or(slice, |timeout| timeout.saturating_sub(start.elapsed()).min(slice));
                self.work(1, |state| step(state, left))
            });
            match found {
                Ok(true) => return Ok(true),
                Ok(false) => (),
                Err(_) if self.is_closed() => return Ok(false),
                Err(why) => return Err(why),
            }
            py.check_signals()?;
            if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                return Ok(false);
            }
        }
    }

    /// Ends the handle: its role is free. A thread that waits on it stops waiting. Does nothing a second time, and nothing
    /// in a forked child.
    pub(crate) fn close(&self, py: Python<'_>) {
        if self.check_fork().is_err() {
            return;
        }
        // ORDERING: Relaxed, as above.
        self.closed.store(true, Ordering::Relaxed);
        let state = py.detach(|| self.lock(0).take());
        drop(state);
    }
}

/// Counts for as long as it lives.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Drop for Shared<S> {
    fn drop(&mut self) {
        if !self.born.is_here() {
            // What belongs to the parent: its threads are not here, and closing it properly might wait for them.
            core::mem::forget(self.state.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// Opens a channel by `open` with `options`, again and again: for up to `wait` seconds while there is none, and for the grace
/// of the options while all places are taken. Meanwhile, Python handles its signals.
///
/// # Errors
/// As `open`, and what a signal's handler raises.
pub(crate) fn open_within<R: Send>(
    py: Python<'_>,
    wait: f64,
    options: OpenOptions,
    open: impl Fn(OpenOptions) -> Result<R, OpenError> + Sync,
) -> PyResult<R> {
    let wait = numbers::seconds("wait", wait)?;
    let start = Instant::now();
    let mut taken_since = None;
    loop {
        let asked = Instant::now();
        let left = wait.saturating_sub(start.elapsed());
        let grace = options.grace.saturating_sub(taken_since.unwrap_or(asked).elapsed());
        match py.detach(|| open(options.patience(left.min(SLICE)).grace(grace.min(SLICE)))) {
            Err(OpenError::NoSuchChannel { .. }) if start.elapsed() < wait => py.check_signals()?,
            Err(OpenError::NoPlace { .. }) if !grace.is_zero() => {
                taken_since.get_or_insert(asked);
                py.check_signals()?;
            }
            found => return found.map_err(errors::open),
        }
    }
}
