//! A feed that says when it has to wait for its channel.

use core::time::Duration;
use lkas_core::{Payload, Sample};
use lkas_shm::{ChannelName, OpenError, OpenOptions, Reader};
use std::time::Instant;

/// A [`lkas_shm::Feed`] that tells the person at the terminal once when it waits for its writer, and when it is there.
#[derive(Debug)]
pub struct Feed<T: Payload + ?Sized> {
    feed: lkas_shm::Feed<T>,
    said_waiting: bool,
    found: bool,
}

impl<T: Payload + ?Sized> Feed<T> {
    /// A feed of the channel `name`, opened by `open` as soon as it is there.
    pub fn new(name: ChannelName, open: fn(&ChannelName, OpenOptions) -> Result<Reader<T>, OpenError>) -> Self {
        Self { feed: lkas_shm::Feed::new(name, open), said_waiting: false, found: false }
    }

    /// The next new value; `None` where none came within `timeout`. Who does not wait does not say so.
    ///
    /// # Errors
    /// The channel is there and can't be used.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Sample<'_, T>>, OpenError> {
        let start = Instant::now();
        if !self.feed.find(timeout)? {
            if !timeout.is_zero() && !core::mem::replace(&mut self.said_waiting, true) {
                tracing::info!("waiting for {}: its writer was not started yet", self.feed.name());
            }
            return Ok(None);
        }
        let is_new = !core::mem::replace(&mut self.found, true);
        if core::mem::take(&mut self.said_waiting) {
            tracing::info!("{} is there", self.feed.name());
        } else if is_new {
            tracing::debug!("reads {}", self.feed.name());
        }
        self.feed.next(timeout.saturating_sub(start.elapsed()))
    }

    /// How many values were replaced before they were taken.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.feed.missed()
    }
}
