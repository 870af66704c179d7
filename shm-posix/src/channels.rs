//! The channels: what programs use.

use crate::claim;
use crate::clock;
use crate::contract::{Contract, Reading};
use crate::description::Description;
use crate::error::{CreateError, OpenError, PixelsError, Warning};
use crate::header::Spec;
use crate::name::ChannelName;
use crate::segment::{OpenOptions, Options, Segment};
use crate::wait::{self, Slept};
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use lkas_core::{Latest, Payload, Sample};
use lkas_messages::{Control, Detection, Image, ImageHeader, ImageShape, Message};

/// The longest that a reader sleeps without looking, so that a wake-up that nobody sent (its sender died) costs no more.
const SLICE: Duration = Duration::from_millis(100);

/// How often a wait looks before it sleeps or reads the clock: some microseconds, less than falling asleep and waking cost.
const SPINS: u32 = 100;

/// Where looking was in vain, so many waits sleep at once before one looks for long again: the writer may need this very
/// processor, or be slow.
const PATIENT_WAITS: u32 = 16;

/// Channels of a fixed-size message in shared memory. See the crate's documentation for an example.
#[derive(Debug)]
pub struct Channel<T>(PhantomData<T>);

/// Channels of [`Detection`]s.
pub type DetectionChannel = Channel<Detection>;
/// Channels of [`Control`]s.
pub type ControlChannel = Channel<Control>;

impl<T: Message + Payload> Channel<T> {
    /// Creates the channel and becomes its writer, or takes it over from a writer that is gone: then the sequence goes
    /// on, and attached readers notice nothing but a gap in time.
    ///
    /// # Errors
    /// Another writer is alive, there is not enough space, the name is used by something else, or the system refuses:
    /// see [`CreateError`].
    pub fn create(name: &ChannelName, options: Options) -> Result<Writer<T>, CreateError> {
        let spec = Spec::of::<T>(size_of::<T>(), [0; 4]);
        Segment::create(name, &spec, options).map(Writer::new)
    }

    /// Opens the channel as a reader. `options` may just be how long to wait for its writer to create it.
    ///
    /// # Errors
    /// There is no such channel, it carries another type, or all reader places are taken: see [`OpenError`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<Reader<T>, OpenError> {
        let size = size_of::<T>();
        let (segment, place) = Segment::open(name, Some((Spec::of::<T>(size, [0; 4]), size..=size)), options.into())?;
        Reader::new(segment, place, name)
    }
}

/// Channels of [`Image`]s, whose shape is chosen at creation and found by readers from the channel itself.
#[derive(Debug)]
pub struct ImageChannel(());

impl ImageChannel {
    /// Creates the channel for pictures of `shape` and becomes its writer; see [`Channel::create`]. Over a channel of
    /// another shape whose writer is gone, that one is retired and replaced.
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create(name: &ChannelName, shape: ImageShape, options: Options) -> Result<Writer<Image>, CreateError> {
        let spec = Spec::of::<Image>(shape.image_bytes(), shape.to_words());
        Segment::create(name, &spec, options).map(Writer::new)
    }

    /// Opens the channel as a reader; see [`Channel::open`].
    ///
    /// # Errors
    /// As [`Channel::open`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<Reader<Image>, OpenError> {
        let least = size_of::<ImageHeader>();
        let (segment, place) =
            Segment::open(name, Some((Spec::of::<Image>(least, [0; 4]), least..=usize::MAX)), options.into())?;
        Reader::new(segment, place, name)
    }
}

/// Channels of any type, as bytes, for tools.
#[derive(Debug)]
pub struct AnyChannel(());

impl AnyChannel {
    /// Opens the channel as a reader of plain bytes; see [`Channel::open`]. What they mean, the description says.
    ///
    /// # Errors
    /// There is no such channel, or all reader places are taken: see [`OpenError`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<(Description, Reader<[u8]>), OpenError> {
        let (segment, place) = Segment::open(name, None, options.into())?;
        let description = segment.describe().map_err(|why| OpenError::Unusable { name: name.clone(), why })?;
        Ok((description, Reader::new(segment, place, name)?))
    }
}

/// The writer of a channel in shared memory. Dropping it tells the readers that it left; the channel stays for a
/// successor until it is [unlinked](crate::unlink).
pub struct Writer<T: Payload + ?Sized> {
    // `None` only while it is dropped. Declared before the segment whose memory it uses.
    writer: Option<lkas_core::Writer<'static, T>>,
    segment: Segment,
}

impl<T: Payload + ?Sized> Writer<T> {
    fn new(segment: Segment) -> Self {
        Self { writer: Some(claim::writer(&segment)), segment }
    }

    fn writer(&mut self) -> &mut lkas_core::Writer<'static, T> {
        // It is there until drop.
        self.writer.get_or_insert_with(|| claim::writer(&self.segment))
    }

    /// The free slot, to be filled in place. It holds some earlier value, or zeroes: write every field.
    ///
    /// # Progress
    /// Wait-free; no copy, no system call.
    #[inline]
    pub fn loan(&mut self) -> Loan<'_, T> {
        Loan(self.writer().loan())
    }

    /// Publishes a copy of `value`.
    ///
    /// # Progress
    /// Wait-free: one copy, one reading of the clock, at most three compare-and-swaps for each reader place. A system
    /// call only for readers that sleep.
    #[inline]
    pub fn publish(&mut self, value: T)
    where
        T: Sized,
    {
        let mut loan = self.loan();
        *loan = value;
        loan.publish();
    }

    /// The number of the newest publish; 0 before the first. Goes on where a predecessor was.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.writer.as_ref().map_or(0, lkas_core::Writer::sequence)
    }

    /// Options that the system refused; the channel works without them.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.segment.warnings
    }

    /// Ends the role in good order: readers learn that no more will come. The same as dropping it.
    pub fn close(self) {}
}

impl Writer<Image> {
    /// The shape of the channel's pictures.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        // Chosen at creation by an `ImageShape`, so it is one.
        ImageShape::from_words(self.segment.shape).unwrap_or_else(|| unreachable!("created from a shape"))
    }

    /// Publishes a copy of a picture, sealed. `timestamp` is the instant that it shows, in seconds of the
    /// [clock].
    ///
    /// # Errors
    /// [`PixelsError`] unless `pixels` has exactly as many bytes as the channel's shape says.
    pub fn write(&mut self, frame_id: u64, timestamp: f64, pixels: &[u8]) -> Result<(), PixelsError> {
        let shape = self.shape();
        let mut loan = self.loan();
        let Some(place) = loan.start(shape, frame_id, timestamp).filter(|place| place.len() == pixels.len()) else {
            return Err(PixelsError { found: pixels.len(), expected: shape });
        };
        place.copy_from_slice(pixels);
        loan.seal();
        loan.publish();
        Ok(())
    }
}

impl<T: Payload + ?Sized> Drop for Writer<T> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            let view = writer.view();
            wait::wake(writer.close(), view);
        }
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("writer", &self.writer).finish_non_exhaustive()
    }
}

/// The free slot of a channel, until it is published or dropped. Dropping it discards it.
#[derive(Debug)]
#[must_use = "a loan that is dropped publishes nothing"]
pub struct Loan<'w, T: Payload + ?Sized>(lkas_core::Loan<'w, 'static, T>);

impl<T: Payload + ?Sized> Loan<'_, T> {
    /// Publishes what is in the slot, stamped with the time of now.
    ///
    /// # Progress
    /// As [`Writer::publish`], without the copy.
    #[inline]
    pub fn publish(self) {
        self.publish_at(clock::now());
    }

    /// The same with a time that is known already, in nanoseconds of the [clock].
    #[inline]
    pub fn publish_at(self, time: u64) {
        let view = self.0.view();
        wait::wake(self.0.publish(time), view);
    }
}

impl<T: Payload + ?Sized> Deref for Loan<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Payload + ?Sized> DerefMut for Loan<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A reader of a channel in shared memory. Its place is free again when it is dropped or its process ends.
pub struct Reader<T: Payload + ?Sized> {
    // Declared before the segment whose memory it uses.
    reader: lkas_core::Reader<'static, T>,
    segment: Segment,
    /// How many waits in a row have slept.
    slept: u32,
}

/// How a [`Reader::wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wait may end without a new value"]
pub enum Wait {
    /// There is a new value to take.
    Fresh,
    /// The time is over.
    TimedOut,
    /// The writer has left in good order, or the channel was replaced ([`Reader::is_retired`]).
    Closed,
    /// A signal was handled.
    Interrupted,
}

impl<T: Payload + ?Sized> Reader<T> {
    fn new(segment: Segment, place: usize, name: &ChannelName) -> Result<Self, OpenError> {
        match claim::reader(&segment, place) {
            Some(reader) => Ok(Self { reader, segment, slept: 0 }),
            None => Err(OpenError::NoPlace { name: name.clone(), places: place }),
        }
    }

    /// The newest value, if this reader has not had it yet.
    ///
    /// # Progress
    /// Wait-free: one load; if there is something new one read-modify-write, and where values were missed one store. No
    /// copy, no system call.
    #[inline]
    pub fn take(&mut self) -> Option<Sample<'_, T>> {
        self.reader.take()
    }

    /// The newest value, whether or not it was had before; `None` until there is one.
    ///
    /// # Progress
    /// As [`take`](Self::take).
    #[inline]
    pub fn latest(&mut self) -> Option<Sample<'_, T>> {
        self.reader.latest()
    }

    /// The newest value together with the verdict on its age.
    ///
    /// # Progress
    /// As [`take`](Self::take), and one reading of the clock.
    #[inline]
    pub fn latest_within(&mut self, max_age: Duration) -> Latest<'_, T> {
        let max_age = u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX);
        self.reader.latest_within(max_age, clock::now())
    }

    /// The newest value with the verdict of the channel's contract: fresh, late and by how much, stale, or without a
    /// writer. A channel without a contract promises nothing, so that whatever it has counts as fresh.
    ///
    /// # Progress
    /// As [`take`](Self::take), and one reading of the clock. A system call only where the value is late.
    pub fn read(&mut self) -> Reading<'_, T> {
        let promised = Contract { period: Duration::MAX, max_age: Duration::MAX };
        let contract = self.contract().unwrap_or(promised);
        let Self { reader, segment, .. } = self;
        let sample = reader.latest();
        contract.judge(sample, clock::now(), || segment.has_writer())
    }

    /// What the channel's writer promises.
    #[must_use]
    pub fn contract(&self) -> Option<Contract> {
        self.segment.mapping.live().contract()
    }

    /// Options that the system refused; the channel works without them.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.segment.warnings
    }

    /// As [`wait`](Self::wait), but never asleep: for a loop that has a processor to itself.
    ///
    /// # Progress
    /// No system call at all. A writer that died is not noticed: the time runs out.
    pub fn spin(&mut self, timeout: Duration) -> Wait {
        let start = clock::now();
        loop {
            for _ in 0..SPINS {
                if self.reader.has_fresh() {
                    return Wait::Fresh;
                }
                core::hint::spin_loop();
            }
            if self.reader.is_closed() || self.is_retired() {
                return Wait::Closed;
            }
            if Duration::from_nanos(clock::now().saturating_sub(start)) >= timeout {
                return Wait::TimedOut;
            }
        }
    }

    /// Waits until there is something new, at most `timeout`: looks for a moment where that has paid off lately, then
    /// sleeps.
    ///
    /// # Progress
    /// No system call where something new is there or comes at once. Otherwise a futex wait, and one more for each
    /// 100 ms; asleep it costs no processor time.
    pub fn wait(&mut self, timeout: Duration) -> Wait {
        let start = clock::now();
        let looks = if self.slept.is_multiple_of(PATIENT_WAITS) { SPINS } else { 0 };
        for look in 0..=looks {
            if self.reader.has_fresh() {
                if look > 0 {
                    self.slept = 0;
                }
                return Wait::Fresh;
            }
            core::hint::spin_loop();
        }
        self.slept = self.slept.wrapping_add(1);
        loop {
            if self.reader.has_fresh() {
                return Wait::Fresh;
            }
            if self.reader.is_closed() || self.is_retired() {
                return Wait::Closed;
            }
            let waited = Duration::from_nanos(clock::now().saturating_sub(start));
            let Some(left) = timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Wait::TimedOut;
            };
            if let Some((word, value)) = self.reader.announce_sleep() {
                let slice = left.min(SLICE).as_nanos() as u64;
                if wait::sleep(word, value, slice) == Slept::Interrupted {
                    return Wait::Interrupted;
                }
            }
        }
    }

    /// How many values were published and replaced before this reader took them, since it opened the channel.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.reader.missed()
    }

    /// Whether the writer has left in good order.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reader.is_closed()
    }

    /// Whether some process has the writer's role now, running or suspended. One system call.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        self.segment.has_writer()
    }

    /// Whether the channel was replaced by one of another shape, or removed. Nothing will come any more: open it again.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.segment.mapping.live().is_retired()
    }

    /// Whether the segment lost its name without being retired: somebody removed its file. One system call.
    pub(crate) fn is_removed(&self) -> bool {
        !self.segment.is_linked()
    }
}

impl Reader<Image> {
    /// The shape of the channel's pictures; `None` where the header's words describe none.
    #[must_use]
    pub fn shape(&self) -> Option<ImageShape> {
        ImageShape::from_words(self.segment.shape)
            .filter(|shape| shape.image_bytes() as u64 <= self.segment.payload_size)
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("reader", &self.reader).finish_non_exhaustive()
    }
}
