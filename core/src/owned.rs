//! A channel between threads, whose halves own it together.

use crate::channel::Channel;
use crate::contract::{Contract, Reading};
use crate::payload::Payload;
use crate::reader::{Latest, Reader, Sample};
use crate::writer::{Loan, Writer};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A channel of `T` between threads: its writer and `R` readers, each of which can be moved anywhere. The memory is freed
/// with the last of them.
///
/// Where the channel can live in a static or on a stack that outlives its users, [`Channel::split`] does without
/// allocation.
///
/// # Examples
/// ```
/// let (mut writer, [mut display, mut control]) = lkas_core::channel::<[f32; 2], 2>();
/// let steering = std::thread::spawn(move || loop {
///     if let Some(sample) = control.take() {
///         break sample[0];
///     }
/// });
/// writer.publish([-0.1, 0.2], 0);
/// assert_eq!(steering.join().unwrap(), -0.1);
/// assert_eq!(display.take().map(|sample| *sample), Some([-0.1, 0.2]));
/// ```
#[must_use = "the halves are the only way to use the channel"]
pub fn channel<T: Payload, const R: usize>() -> (OwnedWriter<T>, [OwnedReader<T>; R]) {
    let memory: Arc<Channel<T, R>> = Arc::new(Channel::new());
    // SAFETY: the halves keep the memory alive, and hand out nothing that outlives them.
    let view = unsafe { (*Arc::as_ptr(&memory)).view() };
    // SAFETY: the only writer of a channel that nobody else knows.
    let writer = unsafe { view.writer() };
    let reader = |place| {
        // SAFETY: the only reader at this place.
        let reader = unsafe { view.reader(place) };
        // There are `R` places.
        let Some(reader) = reader else { unreachable!() };
        OwnedReader { reader, _memory: Box::new(memory.clone()) as Memory }
    };
    let readers = core::array::from_fn(reader);
    (OwnedWriter { writer, _memory: Box::new(memory.clone()) as Memory }, readers)
}

/// Keeps a channel's memory, whatever its type.
type Memory = Box<dyn Send + Sync>;

/// The writer of a [`channel`] between threads.
pub struct OwnedWriter<T: Payload> {
    // Declared before the memory that it uses.
    writer: Writer<'static, T>,
    _memory: Memory,
}

impl<T: Payload> OwnedWriter<T> {
    /// The free slot, to be filled in place; see [`Writer::loan`].
    #[inline]
    pub fn loan(&mut self) -> OwnedLoan<'_, T> {
        OwnedLoan(self.writer.loan())
    }

    /// Publishes a copy of `value`; see [`Writer::publish`]. `time` is now, in nanoseconds of a monotonic clock, or 0.
    ///
    /// # Progress
    /// As [`Writer::publish`].
    #[inline]
    pub fn publish(&mut self, value: T, time: u64) {
        let _ = self.writer.publish(value, time);
    }

    /// The number of the newest publish; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.writer.sequence()
    }

    /// Tells the readers that no more will come; what was published can still be taken.
    pub fn close(self) {
        let Self { writer, _memory } = self;
        let _ = writer.close();
    }
}

impl<T: Payload> fmt::Debug for OwnedWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.writer.fmt(f)
    }
}

/// The free slot of a [`channel`] between threads, until it is published or dropped. Dropping it discards it.
#[derive(Debug)]
#[must_use = "a loan that is dropped publishes nothing"]
pub struct OwnedLoan<'w, T: Payload>(Loan<'w, 'static, T>);

impl<T: Payload> OwnedLoan<'_, T> {
    /// Publishes what is in the slot; see [`Loan::publish`].
    #[inline]
    pub fn publish(self, time: u64) {
        let _ = self.0.publish(time);
    }
}

impl<T: Payload> Deref for OwnedLoan<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Payload> DerefMut for OwnedLoan<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A reader of a [`channel`] between threads.
pub struct OwnedReader<T: Payload> {
    // Declared before the memory that it uses.
    reader: Reader<'static, T>,
    _memory: Memory,
}

impl<T: Payload> OwnedReader<T> {
    /// The newest value, if this reader has not had it yet; see [`Reader::take`].
    #[inline]
    pub fn take(&mut self) -> Option<Sample<'_, T>> {
        self.reader.take()
    }

    /// The newest value, whether or not it was had before; `None` until there is one.
    #[inline]
    pub fn latest(&mut self) -> Option<Sample<'_, T>> {
        self.reader.latest()
    }

    /// The newest value together with the verdict on its age; see [`Reader::latest_within`].
    #[inline]
    pub fn latest_within(&mut self, max_age: u64, now: u64) -> Latest<'_, T> {
        self.reader.latest_within(max_age, now)
    }

    /// The newest value with the verdict by `contract`; a writer that was closed counts as gone.
    ///
    /// A value that is published after `now` was read and before this call takes it is one of the future, and so stale. Where
    /// the writer may publish meanwhile, take [`latest`](Self::latest) first, then read the clock and give both to
    /// [`Reading::new`].
    #[inline]
    pub fn read(&mut self, contract: Contract, now: u64) -> Reading<'_, T> {
        let closed = self.reader.is_closed();
        Reading::new(self.reader.latest(), now, Ok(Some(contract)), || !closed)
    }

    /// Whether [`take`](Self::take) would return something now.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        self.reader.has_fresh()
    }

    /// Whether the writer was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reader.is_closed()
    }

    /// How many values were published and replaced before this reader took them.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.reader.missed()
    }
}

impl<T: Payload> fmt::Debug for OwnedReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reader.fmt(f)
    }
}
