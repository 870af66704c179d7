//! A reader that finds its channel, and finds it again when it is replaced.

use crate::say;
use core::time::Duration;
use lkas_core::{Payload, Sample};
use lkas_shm::{ChannelName, OpenError, Reader, Wait};

/// How long to rest where a wait would return at once: its writer has left, and a successor is to come.
const REST: Duration = Duration::from_millis(10);

/// The values of one channel, whenever its writer comes, leaves or is replaced.
pub struct Feed<T: Payload + ?Sized> {
    name: ChannelName,
    open: fn(&ChannelName, Duration) -> Result<Reader<T>, OpenError>,
    reader: Option<Reader<T>>,
    missed_before: u64,
    said_waiting: bool,
}

impl<T: Payload + ?Sized> Feed<T> {
    /// A feed of the channel `name`, opened by `open` as soon as it is there.
    pub fn new(name: ChannelName, open: fn(&ChannelName, Duration) -> Result<Reader<T>, OpenError>) -> Self {
        Self { name, open, reader: None, missed_before: 0, said_waiting: false }
    }

    /// The next new value; `None` where none came within `timeout`. Says once when it waits for its writer.
    ///
    /// # Errors
    /// The channel is there and can't be used.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Sample<'_, T>>, OpenError> {
        if self.reader.as_ref().is_some_and(Reader::is_retired) {
            self.missed_before = self.missed();
            self.reader = None;
        }
        if self.reader.is_none() {
            match (self.open)(&self.name, timeout) {
                Ok(reader) => {
                    if core::mem::take(&mut self.said_waiting) {
                        say!("{} is there", self.name);
                    }
                    self.reader = Some(reader);
                }
                Err(OpenError::NoSuchChannel { .. }) => {
                    // Who does not wait does not say so.
                    if !timeout.is_zero() && !core::mem::replace(&mut self.said_waiting, true) {
                        say!("waiting for {}: its writer was not started yet", self.name);
                    }
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        match reader.wait(timeout) {
            Wait::Fresh => Ok(reader.take()),
            Wait::Closed => {
                std::thread::sleep(timeout.min(REST));
                Ok(None)
            }
            Wait::TimedOut | Wait::Interrupted => Ok(None),
        }
    }

    /// How many values were replaced before they were taken.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed_before + self.reader.as_ref().map_or(0, Reader::missed)
    }

    /// The reader, while the channel is there.
    #[must_use]
    pub fn reader(&mut self) -> Option<&mut Reader<T>> {
        self.reader.as_mut()
    }
}

impl<T: Payload + ?Sized> core::fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Feed").field("name", &self.name).field("reader", &self.reader).finish_non_exhaustive()
    }
}
