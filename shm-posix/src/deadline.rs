//! The reader of a channel whose values must not be acted on when they are too old.

use crate::channels::Reader;
use crate::clock;
use crate::error::OpenError;
use crate::feed::{Feed, Open};
use crate::name::ChannelName;
use crate::options::OpenOptions;
use core::fmt;
use core::time::Duration;
use lkas_core::{Payload, Promise, Verdict};

/// A value as it arrived.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Received<T> {
    /// The value.
    pub value: T,
    /// The number of its publish. Only rises within one segment: where that was replaced it may begin anew.
    pub sequence: u64,
    /// When it was published, in nanoseconds of the [clock].
    pub published: u64,
    /// What its channel promised then.
    pub contract: Promise,
}

/// Why no other value can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gone {
    /// There is no channel.
    NoChannel,
    /// The writer ended without a word.
    WriterDied,
    /// The writer left in good order.
    WriterLeft,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoChannel => "there is no channel",
            Self::WriterDied => "the writer died",
            Self::WriterLeft => "the writer has ended",
        })
    }
}

/// What to think of the value that arrived last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "only a fresh value may be acted on without a thought"]
pub enum Deadline {
    /// Nothing has arrived yet.
    Empty,
    /// Not older than the contract's period; without a contract, not older than the reader's maximum age.
    Fresh,
    /// The next one is overdue, but this one may still be acted on.
    Late {
        /// How long the next one has been overdue.
        by: Duration,
    },
    /// Too old to be acted on, although there is a writer.
    Stale {
        /// How old; `None` where its time lies in the future.
        age: Option<Duration>,
    },
    /// There is nobody to send another one, and the next is overdue.
    WriterGone {
        /// Why.
        why: Gone,
        /// How old; `None` where its time lies in the future.
        age: Option<Duration>,
    },
}

impl Deadline {
    /// Whether the value may be acted on.
    #[must_use]
    pub const fn is_met(self) -> bool {
        matches!(self, Self::Fresh | Self::Late { .. })
    }
}

/// A [`Feed`] that keeps the value that arrived last, and says at any time whether it may still be acted on: fresh, late,
/// stale, or without a writer. Whatever happens to the channel, the value grows older.
///
/// # Examples
/// ```
/// use lkas_shm::{Channel, ChannelName, Deadline, DeadlineReader, Options};
/// use std::time::Duration;
/// # let name = format!("doc-deadline-{}", std::process::id());
/// # type Pressure = lkas_messages::Control;
/// # let value = lkas_messages::Control::try_from(lkas_messages::ControlFields::default())?;
///
/// let name: ChannelName = name.parse()?;
/// let max_age = Duration::from_millis(50);
/// let mut pressure = DeadlineReader::new(name.clone(), Channel::<Pressure>::open, max_age);
/// assert_eq!(pressure.deadline(), Deadline::Empty);
///
/// let mut writer = Channel::<Pressure>::create(&name, Options::new())?; // in another process
/// writer.publish(value);
/// pressure.next(Duration::from_secs(1))?;
/// if pressure.deadline().is_met() {
///     println!("{:?}", pressure.last());
/// }
/// # drop((writer, pressure));
/// # lkas_shm::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DeadlineReader<T: Payload + Copy> {
    feed: Feed<T>,
    last: Option<Received<T>>,
    max_age: Duration,
}

impl<T: Payload + Copy> DeadlineReader<T> {
    /// A reader of the channel `name`, which need not be there yet. No value older than `max_age` meets its deadline; where
    /// the channel's contract says less, that counts.
    #[must_use]
    pub fn new(name: ChannelName, open: Open<T>, max_age: Duration) -> Self {
        Self { feed: Feed::new(name, open), last: None, max_age }
    }

    /// The same, with options for opening the channel, as [`Feed::with_options`].
    #[must_use]
    pub fn with_options(self, options: OpenOptions) -> Self {
        Self { feed: self.feed.with_options(options), ..self }
    }

    /// The next new value; `None` where none came within `timeout`, or sooner as in [`Feed::next`].
    ///
    /// # Progress
    /// As [`Feed::next`], and a copy of the value.
    ///
    /// # Errors
    /// As [`Feed::next`]: the channel is there and can't be used. What arrived before goes on growing older.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Received<T>>, OpenError> {
        let Some(sample) = self.feed.next(timeout)? else { return Ok(None) };
        let (value, sequence, published) = (*sample, sample.sequence(), sample.time());
        let contract = self.feed.reader().map_or(Ok(None), Reader::contract);
        let received = Received { value, sequence, published, contract };
        self.last = Some(received);
        Ok(Some(received))
    }

    /// The value that arrived last, however old it is.
    #[must_use]
    pub fn last(&self) -> Option<&Received<T>> {
        self.last.as_ref()
    }

    /// Whether the value that arrived last may be acted on now.
    ///
    /// # Progress
    /// One reading of the clock; a system call only where the next value is overdue.
    pub fn deadline(&self) -> Deadline {
        let Some(last) = &self.last else { return Deadline::Empty };
        let age = clock::now().checked_sub(last.published).map(Duration::from_nanos);
        let too_old = age.is_none_or(|age| age > self.max_age);
        match Verdict::on(age, last.contract, || self.gone().is_none()) {
            Verdict::Fresh | Verdict::NoContract if !too_old => Deadline::Fresh,
            Verdict::Late { by } if !too_old => Deadline::Late { by },
            _ => match self.gone() {
                Some(why) => Deadline::WriterGone { why, age },
                None => Deadline::Stale { age },
            },
        }
    }

    /// Why no other value can come; `None` where there is a writer.
    ///
    /// # Progress
    /// A load and a system call.
    #[must_use]
    pub fn gone(&self) -> Option<Gone> {
        match self.feed.reader().filter(|reader| !reader.is_retired()) {
            None => Some(Gone::NoChannel),
            Some(reader) if reader.has_writer() => None,
            Some(reader) if reader.is_closed() => Some(Gone::WriterLeft),
            Some(_) => Some(Gone::WriterDied),
        }
    }

    /// How many values were published and replaced before they were taken.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.feed.missed()
    }
}
