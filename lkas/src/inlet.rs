//! A channel that is waited for by a descriptor, together with other things.

use core::time::Duration;
use lkas_core::{Payload, Sample};
use lkas_shm::{ChannelName, OpenError, OpenOptions, PollReader, Reader};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// How often a channel that is not there, or whose writer is not, is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The newest value of a channel that may come late, go and come again.
#[derive(Debug)]
pub(crate) struct Inlet<T: Payload + ?Sized> {
    name: ChannelName,
    open: fn(&ChannelName, OpenOptions) -> Result<Reader<T>, OpenError>,
    reader: Option<PollReader<T>>,
    missed_before: u64,
    look_due: Instant,
}

impl<T: Payload + ?Sized> Inlet<T> {
    /// An inlet of the channel `name`, opened by `open` as soon as it is there.
    pub(crate) fn new(name: ChannelName, open: fn(&ChannelName, OpenOptions) -> Result<Reader<T>, OpenError>) -> Self {
        Self { name, open, reader: None, missed_before: 0, look_due: Instant::now() }
    }

    /// Looks for the channel where it is time to, and gets ready to be waited for.
    ///
    /// # Errors
    /// The channel is there and can't be used, or the system has no descriptor to give.
    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        let retired = self.reader.as_ref().is_some_and(|reader| reader.reader().is_retired());
        if retired {
            self.leave();
            self.look_due = Instant::now();
        }
        if Instant::now() >= self.look_due {
            self.look_due = Instant::now() + LOOK_EVERY;
            let gone = self.reader.as_ref().is_none_or(|reader| reader.reader().is_removed());
            if gone {
                let options = OpenOptions::new().patience(Duration::ZERO).grace(Duration::ZERO);
                match (self.open)(&self.name, options) {
                    Ok(reader) => {
                        self.leave();
                        self.reader = Some(PollReader::new(reader).map_err(Failure::Descriptor)?);
                    }
                    Err(OpenError::NoSuchChannel { .. }) => {}
                    Err(error) => return Err(Failure::Open(error)),
                }
            }
        }
        if let Some(reader) = &mut self.reader {
            reader.arm();
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.missed_before = self.missed();
        self.reader = None;
    }

    /// What can be read once there is something new; `None` while the channel is not there.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(AsFd::as_fd)
    }

    /// When to prepare anew though nothing comes.
    pub(crate) fn due(&self) -> Instant {
        self.look_due
    }

    /// The newest value, where there is a new one. Never waits.
    pub(crate) fn take(&mut self) -> Option<Sample<'_, T>> {
        self.reader.as_mut()?.take()
    }

    /// How many values were replaced before they were taken.
    pub(crate) fn missed(&self) -> u64 {
        self.missed_before + self.reader.as_ref().map_or(0, |reader| reader.reader().missed())
    }
}

/// Why an inlet can't be used.
#[derive(Debug)]
pub(crate) enum Failure {
    Open(OpenError),
    Descriptor(io::Error),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Descriptor(error) => write!(f, "no descriptor to wait for a channel: {error}"),
        }
    }
}

impl core::error::Error for Failure {}
