//! A channel as an asynchronous stream.

use crate::channels::Reader;
use crate::deadline::Received;
use crate::watcher::{Tell, Watched};
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::Stream;
use lkas_core::Payload;
use std::io;

/// The values of a channel as a [`Stream`], for asynchronous programs: the newest each time, as a copy. It ends when the
/// channel is replaced or removed; what was skipped, the sequence numbers say.
///
/// # Costs
/// As a [`PollReader`](crate::PollReader), without a descriptor: the thread wakes the task itself.
///
/// # Examples
/// ```
/// use lkas_shm::{Channel, ChannelName, Message, Options, Updates};
/// use std::time::Duration;
/// use tokio_stream::StreamExt;
/// # let name = format!("doc-updates-{}", std::process::id());
///
/// #[derive(Clone, Copy, Message)]
/// #[repr(C)]
/// struct Pressure {
///     #[message(unit = "Pa")]
///     value: f64,
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let name: ChannelName = name.parse()?;
/// let mut writer = Channel::<Pressure>::create(&name, Options::new())?; // in another process
/// let mut pressures = Updates::new(Channel::<Pressure>::open(&name, Duration::ZERO)?)?;
/// writer.publish(Pressure { value: 101_325.0 });
/// let newest = pressures.next().await.expect("the channel is there");
/// assert_eq!((newest.sequence, newest.value.value), (1, 101_325.0));
/// # drop((writer, pressures));
/// # lkas_shm::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Updates<T: Payload + Copy> {
    // Declared before the reader whose memory is watched.
    watched: Watched,
    reader: Reader<T>,
}

impl<T: Payload + Copy> Updates<T> {
    /// The values that `reader` has not had yet.
    ///
    /// # Errors
    /// The system has no thread to give.
    ///
    /// # Panics
    /// In a forked process, where the reader was made before.
    pub fn new(reader: Reader<T>) -> io::Result<Self> {
        // SAFETY: the reader is dropped after what looks at it.
        let watchable = unsafe { reader.watchable() };
        // SAFETY: the reader keeps memory and file.
        let watched = unsafe { Watched::new(watchable) }?;
        Ok(Self { watched, reader })
    }

    /// The reader, to ask for its state.
    #[must_use]
    pub fn reader(&self) -> &Reader<T> {
        &self.reader
    }
}

// Nothing in it is pinned.
impl<T: Payload + Copy> Unpin for Updates<T> {}

impl<T: Payload + Copy> Stream for Updates<T> {
    type Item = Received<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Received<T>>> {
        let contract = self.reader.contract();
        if let Some(sample) = self.reader.take() {
            let (value, sequence, published) = (*sample, sample.sequence(), sample.time());
            return Poll::Ready(Some(Received { value, sequence, published, contract }));
        }
        if self.reader.is_retired() {
            return Poll::Ready(None);
        }
        // It is told at once where something has come meanwhile.
        self.watched.ask(Tell::Task(context.waker().clone()));
        Poll::Pending
    }
}
