//! A reader with a descriptor, for programs that wait by poll, epoll or an event loop of their own.

use crate::channels::Reader;
use crate::watcher::{self, Tell, Watched};
use core::time::Duration;
use lkas_core::{Latest, Payload, Reading, Sample};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::io;
use std::sync::Arc;

/// A [`Reader`] with a descriptor that becomes readable when there is a new value, when the writer has left, or when the
/// channel was replaced or removed ([`Reader::is_retired`]).
///
/// Take until there is nothing, [`arm`](Self::arm), then wait for the descriptor. It becomes readable once for each time it
/// is armed.
///
/// # Costs
/// One thread for all such readers of a process, started with the first. It sleeps on all of their channels at once, and
/// each value that is waited for costs its wake-up in addition to that of the program: tens of microseconds. Arming is a
/// lock and a system call. Each 100 ms the thread asks the system whether the channels that are waited for still have their
/// names. Channels and readers without a descriptor are not affected. Before Linux 5.16, where a sandbox
/// forbids futex_waitv(2), and with more than 127 such readers in a process, values are found within 5 ms.
///
/// # Examples
/// ```
/// use lkas_shm::{Channel, ChannelName, Message, Options, PollReader};
/// use rustix::event::{PollFd, PollFlags, poll};
/// use std::time::Duration;
/// # let name = format!("doc-poll-{}", std::process::id());
///
/// #[derive(Clone, Copy, Message)]
/// #[repr(C)]
/// struct Pressure {
///     #[message(unit = "Pa")]
///     value: f64,
/// }
///
/// let name: ChannelName = name.parse()?;
/// let mut writer = Channel::<Pressure>::create(&name, Options::new())?; // in another process
/// let mut reader = PollReader::new(Channel::<Pressure>::open(&name, Duration::ZERO)?)?;
/// reader.arm();
/// writer.publish(Pressure { value: 101_325.0 });
///
/// let mut descriptors = [PollFd::new(&reader, PollFlags::IN)]; // and others
/// poll(&mut descriptors, None)?;
/// assert_eq!(reader.take().map(|pressure| pressure.value), Some(101_325.0));
/// # drop((writer, reader));
/// # lkas_shm::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PollReader<T: Payload + ?Sized> {
    // Declared before the reader whose memory is watched.
    watched: Watched,
    event: Arc<OwnedFd>,
    reader: Reader<T>,
}

impl<T: Payload + ?Sized> PollReader<T> {
    /// Gives `reader` a descriptor.
    ///
    /// # Errors
    /// The system has no descriptor or no thread to give.
    ///
    /// # Panics
    /// In a forked process, where the reader was made before.
    pub fn new(reader: Reader<T>) -> io::Result<Self> {
        let event = watcher::event()?;
        // SAFETY: the reader is dropped after what looks at it.
        let watchable = unsafe { reader.watchable() };
        // SAFETY: the reader keeps memory and file.
        let watched = unsafe { Watched::new(watchable) }?;
        Ok(Self { watched, event, reader })
    }

    /// From now on the descriptor is not readable, until there is something new or the writer leaves: at once, where that is
    /// so already.
    ///
    /// # Progress
    /// A lock that is held for moments, and two system calls.
    ///
    /// # Panics
    /// In a forked process.
    pub fn arm(&mut self) {
        // The descriptor's state is shared with a forked child, which must not change it.
        self.watched.check_fork();
        watcher::clear(&self.event);
        self.watched.ask(Tell::Event(self.event.clone()));
    }

    /// As [`Reader::take`].
    ///
    /// # Panics
    /// In a forked process.
    pub fn take(&mut self) -> Option<Sample<'_, T>> {
        self.reader.take()
    }

    /// As [`Reader::latest`].
    ///
    /// # Panics
    /// In a forked process.
    pub fn latest(&mut self) -> Option<Sample<'_, T>> {
        self.reader.latest()
    }

    /// As [`Reader::latest_within`].
    ///
    /// # Panics
    /// In a forked process.
    pub fn latest_within(&mut self, max_age: Duration) -> Latest<'_, T> {
        self.reader.latest_within(max_age)
    }

    /// As [`Reader::read`].
    ///
    /// # Panics
    /// In a forked process.
    pub fn read(&mut self) -> Reading<'_, T> {
        self.reader.read()
    }

    /// The reader, to ask for its state.
    #[must_use]
    pub fn reader(&self) -> &Reader<T> {
        &self.reader
    }
}

impl<T: Payload + ?Sized> AsFd for PollReader<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl<T: Payload + ?Sized> AsRawFd for PollReader<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}
