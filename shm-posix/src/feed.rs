//! A reader that finds its channel, and finds it again.

use crate::channels::{Reader, Wait};
use crate::clock;
use crate::error::OpenError;
use crate::fork::Generation;
use crate::name::ChannelName;
use crate::options::OpenOptions;
use core::fmt;
use core::time::Duration;
use lkas_core::{Payload, Sample, SleepWord};

/// How often to look whether the channel still has its name.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a [`Feed`] opens its channel: `ControlChannel::open`, `ImageChannel::open` and the like.
pub(crate) type Open<T> = fn(&ChannelName, OpenOptions) -> Result<Reader<T>, OpenError>;

/// The values of one channel, whenever its writer comes, leaves, dies or is replaced.
///
/// It may be made before the channel is there. When a new writer replaces the channel by one of another shape, or
/// somebody removes it from the system and it is created anew, the feed goes on with the new one by itself. It follows
/// the name: a channel that lost its name is read for as long as there is no other of that name. Sequence numbers only rise
/// within one segment, so from one channel to the next they may begin anew.
///
/// Who wants to be told instead uses a [`Reader`]: its wait ends with [`Wait::Closed`], [`Reader::is_retired`] says
/// that nothing will come any more, and opening it again gives the new channel or a typed error.
///
/// # Examples
/// ```
/// use lkas_messages::{Control, ControlFields};
/// use lkas_shm::{ChannelName, ControlChannel, Feed, Options};
/// use std::time::Duration;
///
/// # let name = format!("doc-feed-{}", std::process::id());
/// # let second = Duration::from_secs(1);
/// let name: ChannelName = name.parse()?;
/// let mut feed = Feed::new(name.clone(), ControlChannel::open);
/// assert!(feed.next(Duration::ZERO)?.is_none(), "there is no channel yet");
///
/// let mut writer = ControlChannel::create(&name, Options::default())?; // in another process
/// writer.publish(Control::try_from(ControlFields { frame_id: 1, ..Default::default() })?);
/// assert_eq!(feed.next(second)?.map(|control| control.frame_id()), Some(1));
/// drop(writer);
///
/// // Another number of reader places is another shape: the segment is replaced.
/// let mut writer = ControlChannel::create(&name, Options::new().readers(8))?;
/// writer.publish(Control::try_from(ControlFields { frame_id: 2, ..Default::default() })?);
/// assert_eq!(feed.next(second)?.map(|control| control.frame_id()), Some(2));
/// # drop((feed, writer));
/// # lkas_shm::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Feed<T: Payload + ?Sized> {
    name: ChannelName,
    open: Open<T>,
    options: OpenOptions,
    reader: Option<Reader<T>>,
    missed_before: u64,
    /// When the feed last looked whether the channel has its name.
    looked: u64,
    born: Generation,
}

impl<T: Payload + ?Sized> Feed<T> {
    /// A feed of the channel `name`, to be opened by `open` as soon as it is there. Nothing is opened yet.
    #[must_use]
    pub fn new(name: ChannelName, open: Open<T>) -> Self {
        let options = OpenOptions::new();
        Self { name, open, options, reader: None, missed_before: 0, looked: 0, born: Generation::now() }
    }

    /// The same, with options for opening the channel. Their patience and grace do not count: a feed looks again at its
    /// next call.
    #[must_use]
    pub fn with_options(mut self, options: OpenOptions) -> Self {
        self.options = options;
        self
    }

    /// The name of the channel.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.name
    }

    /// Attaches to the channel unless the feed is attached to it already, and says whether it is there. Waits up to
    /// `timeout` for it to be created. [`next`](Self::next) does this by itself.
    ///
    /// # Progress
    /// Attached: loads, and two system calls each 100 ms. Otherwise files are opened and mapped.
    ///
    /// # Errors
    /// The channel is there and can't be used: it carries another type, has no free reader place, and so on; see
    /// [`OpenError`]. A later call tries again. In a forked process that is all it says ([`OpenError::Forked`]).
    pub fn find(&mut self, timeout: Duration) -> Result<bool, OpenError> {
        if self.born.is_over() {
            return Err(OpenError::Forked { name: self.name.clone() });
        }
        if self.reader.as_ref().is_some_and(Reader::is_retired) {
            self.leave();
        }
        let patience = match &self.reader {
            None => timeout,
            Some(reader) => {
                let now = clock::now();
                if Duration::from_nanos(now.saturating_sub(self.looked)) < LOOK_EVERY {
                    return Ok(true);
                }
                self.looked = now;
                if !reader.is_removed() {
                    return Ok(true);
                }
                Duration::ZERO
            }
        };
        // A place that is taken is asked for again at the next call.
        let options = self.options.patience(patience).grace(Duration::ZERO);
        match (self.open)(&self.name, options) {
            Ok(reader) => {
                self.leave();
                self.reader = Some(reader);
                Ok(true)
            }
            Err(OpenError::NoSuchChannel { .. }) => Ok(self.reader.is_some()),
            Err(error) => Err(error),
        }
    }

    /// Ends what is read now.
    fn leave(&mut self) {
        self.missed_before = self.missed();
        self.reader = None;
    }

    /// The next new value; `None` where none came within `timeout`, or sooner where the writer has left, the channel
    /// was replaced, or a signal was handled: call it again.
    ///
    /// # Progress
    /// As [`find`](Self::find), then as [`Reader::wait`] and [`Reader::take`].
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Sample<'_, T>>, OpenError> {
        let start = clock::now();
        let mut left = timeout;
        while self.find(left)? {
            left = timeout.saturating_sub(Duration::from_nanos(clock::now().saturating_sub(start)));
            let Some(reader) = &mut self.reader else { break };
            // In slices, so that a long wait follows the name too.
            match reader.wait(left.min(LOOK_EVERY)) {
                Wait::Fresh => return Ok(self.reader.as_mut().and_then(Reader::take)),
                Wait::TimedOut if left > LOOK_EVERY => left -= LOOK_EVERY,
                Wait::Closed | Wait::TimedOut | Wait::Interrupted => break,
            }
        }
        Ok(None)
    }

    /// Whether the channel that is read now has ended in a way that was not asked for before.
    pub(crate) fn has_news_of_its_end(&mut self) -> bool {
        self.reader.as_mut().is_some_and(Reader::has_news_of_its_end)
    }

    /// Announces sleep on the channel that is read now. `None` where there is none, or where to look again first.
    pub(crate) fn announce_sleep(&mut self) -> Option<(SleepWord<'static>, u32)> {
        self.reader.as_mut()?.announce()
    }

    /// How many values were published and replaced before they were taken, on all channels that were read one after the
    /// other.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed_before + self.reader.as_ref().map_or(0, Reader::missed)
    }

    /// The reader, while the feed is attached to a channel.
    #[must_use]
    pub fn reader(&self) -> Option<&Reader<T>> {
        self.reader.as_ref()
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("name", &self.name).field("reader", &self.reader).finish_non_exhaustive()
    }
}
