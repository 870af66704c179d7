//! The channels: what programs use.

use crate::channel_type::ChannelType;
use crate::clock;
use crate::description::Description;
use crate::error::{CreateError, OpenError, Warning};
use crate::fork::Generation;
use crate::name::ChannelName;
use crate::options::{OpenOptions, Options};
use crate::roles;
use crate::segment::{self, Segment};
use crate::wait::{self, SLICE, Slept};
use crate::watcher::Watchable;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut, RangeInclusive};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use lkas_core::{Latest, Message, Payload, Plain, Promise, Reading, Sample, SleepWord};
use rustix::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

/// How often a wait looks before it sleeps or reads the clock: some microseconds, less than falling asleep and waking cost.
const SPINS: u32 = 100;

/// Where looking was in vain, so many waits sleep at once before one looks for long again: the writer may need this very
/// processor, or be slow.
const PATIENT_WAITS: u32 = 64;

/// Channels of a fixed-size message in shared memory. See the crate's documentation for an example.
#[derive(Debug)]
pub struct Channel<T: Message + Plain>(PhantomData<T>);

impl<T: Message + Plain> Channel<T> {
    /// Creates the channel and becomes its writer, or takes it over from a writer that is gone: then the sequence goes
    /// on, and attached readers notice nothing but a gap in time.
    ///
    /// # Errors
    /// Another writer is alive, there is not enough space, the name is used by something else, or the system refuses:
    /// see [`CreateError`].
    pub fn create(name: &ChannelName, options: Options) -> Result<Writer<T>, CreateError> {
        Writer::create(name, ChannelType::of::<T>(), options)
    }

    /// Opens the channel as a reader. `options` may just be how long to wait for its writer to create it.
    ///
    /// # Errors
    /// There is no such channel, it carries another type, or all reader places are taken: see [`OpenError`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<Reader<T>, OpenError> {
        let size = size_of::<T>();
        Reader::open(name, Some((ChannelType::of::<T>(), size..=size)), &options.into())
    }
}

/// Channels of a type that is only known when the program runs, as bytes.
#[derive(Debug)]
pub struct AnyChannel(());

impl AnyChannel {
    /// Creates the channel for values of the type `of` and becomes its writer; see [`Channel::create`].
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create(name: &ChannelName, of: ChannelType, options: Options) -> Result<Writer<[u8]>, CreateError> {
        Writer::create(name, of, options)
    }

    /// Opens the channel as a reader of plain bytes; see [`Channel::open`]. What they mean, the description says.
    ///
    /// # Errors
    /// There is no such channel, or all reader places are taken: see [`OpenError`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<(Description, Reader<[u8]>), OpenError> {
        let reader: Reader<[u8]> = Reader::open(name, None, &options.into())?;
        let description = reader.segment.describe().map_err(|why| OpenError::Unusable { name: name.clone(), why })?;
        Ok((description, reader))
    }
}

/// The writer of a channel in shared memory. Dropping it tells the readers that it left; the channel stays for a
/// successor until it is [unlinked](crate::unlink).
///
/// # Fork
/// A writer belongs to the process that made it. In a forked child its methods panic, and dropping it does nothing.
pub struct Writer<T: Payload + ?Sized> {
    // Dropped by hand, before the segment whose memory it uses.
    writer: ManuallyDrop<lkas_core::Writer<'static, T>>,
    segment: Segment,
    channel_type: ChannelType,
    options: Options,
    /// Since when, of the [clock], each look at the name has found another writer there.
    contested: Option<u64>,
}

/// What [`Writer::check_name`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a channel that moved is worth a line in a log"]
pub enum NameCheck {
    /// The channel has its name.
    Kept,
    /// Somebody had removed the name. The channel has moved to a new segment of that name.
    Moved,
}

impl<T: Payload + ?Sized> Writer<T> {
    pub(crate) fn create(name: &ChannelName, channel_type: ChannelType, options: Options) -> Result<Self, CreateError> {
        let segment = Segment::create(name, &channel_type, &options)?;
        let writer = ManuallyDrop::new(roles::writer(&segment));
        Ok(Self { writer, segment, channel_type, options, contested: None })
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        self.segment.name()
    }

    /// What the channel carries.
    #[must_use]
    pub fn channel_type(&self) -> &ChannelType {
        &self.channel_type
    }

    /// Whether this process was forked since the writer was made, so that it can't be used.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.segment.is_forked()
    }

    /// Looks whether the channel still has its name, which anybody with the permission can remove: `rm /dev/shm/*`, or
    /// logind's RemoveIPC when a user logs out. Without a name nobody can open it.
    ///
    /// Where the name is gone, the channel moves: to a new segment of that name, with the newest value, the same sequence
    /// and the same promise. Where another writer made a segment of that name and is gone, to that one; a value there that is
    /// newer stays. Then the old segment is retired, and readers follow ([`Feed`](crate::Feed) by itself). Call
    /// it about once a second from the loop that owns the writer.
    ///
    /// # Progress
    /// Two system calls where the name is there.
    ///
    /// # Errors
    /// The name can't be had again: see [`CreateError`]; the next call tries again. Where another writer has it
    /// ([`CreateError::HasWriter`]) and still has it at later calls, for the [grace](Options::grace) of this one, this one is
    /// retired ([`CreateError::Retired`]): its readers go over to the other, and what it publishes nobody sees.
    pub fn check_name(&mut self) -> Result<NameCheck, CreateError> {
        self.segment.check_fork();
        if self.segment.mapping.live().is_retired() {
            return Err(self.retired());
        }
        let contested = self.contested.take();
        if self.segment.is_linked() {
            return Ok(NameCheck::Kept);
        }
        let mut new = match Self::create(self.name(), self.channel_type.clone(), self.options.grace(Duration::ZERO)) {
            Ok(new) => new,
            Err(taken @ CreateError::HasWriter { .. }) => {
                // The other may be dying, or have the role for a moment as `unlink` does. To be retired is for good.
                let now = clock::now();
                let lasts = |since| Duration::from_nanos(now.saturating_sub(since)) >= self.options.grace;
                if contested.is_some_and(lasts) {
                    self.retire();
                    return Err(self.retired());
                }
                self.contested = contested.or(Some(now));
                return Err(taken);
            }
            Err(why) => return Err(why),
        };
        new.options = self.options;
        let sequence = self.writer.sequence();
        if sequence > 0 {
            let mut value = vec![0; self.channel_type.payload_size];
            let view = self.segment.mapping.view_to_look();
            // SAFETY: the only writer is borrowed here, so that nobody publishes meanwhile.
            let copied = unsafe { view.copy_newest(&mut value) };
            // Another writer may have had the name meanwhile, and left something newer. `new` is the only one there now.
            let theirs = new.segment.mapping.view_to_look().newest().ok().flatten();
            // Nor is anybody there to overtake the copy.
            if let Ok(Some(newest)) = copied
                && theirs.is_none_or(|theirs| theirs.time < newest.time)
            {
                new.writer.continue_after(newest.sequence.saturating_sub(1));
                new.publish_bytes(&value, newest.time);
            }
            new.writer.continue_after(sequence);
        }
        self.retire();
        // The old one goes, and with it the lock on a segment that nobody can find.
        drop(core::mem::replace(self, new));
        Ok(NameCheck::Moved)
    }

    /// Publishes a value that is given as bytes.
    fn publish_bytes(&mut self, bytes: &[u8], time: u64) {
        let view = self.segment.mapping.view_to_look();
        let mut loan = self.writer.loan();
        loan.copy_from_bytes(bytes);
        wait::wake(loan.publish(time), view);
    }

    fn retire(&mut self) {
        // SAFETY: this segment holds the lock on the writer's byte, and its writer is replaced before it is used again.
        unsafe { self.segment.mapping.retire() };
        self.writer = ManuallyDrop::new(roles::writer(&self.segment));
    }

    fn retired(&self) -> CreateError {
        CreateError::Retired { name: self.name().clone() }
    }

    /// The free slot, to be filled in place. It holds some earlier value, or zeroes: write every field.
    ///
    /// # Progress
    /// Wait-free; no copy, no system call.
    ///
    /// # Panics
    /// In a forked process.
    #[inline]
    pub fn loan(&mut self) -> Loan<'_, T> {
        self.segment.check_fork();
        Loan { loan: self.writer.loan(), born: Generation::now() }
    }

    /// Publishes a copy of `value`.
    ///
    /// # Progress
    /// Wait-free: one copy, one reading of the clock, at most three compare-and-swaps for each reader place. A system
    /// call only for readers that sleep; the first publish after taking a channel over that has a value makes one for
    /// each place, because the writer before may have died before it woke them.
    ///
    /// # Panics
    /// In a forked process.
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
        self.writer.sequence()
    }

    /// Options that the system refused; the channel works without them.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.segment.warnings
    }

    /// Ends the role in good order: readers learn that no more will come. The same as dropping it.
    pub fn close(self) {}
}

impl<T: Payload + ?Sized> Drop for Writer<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and not used after.
        let writer = unsafe { ManuallyDrop::take(&mut self.writer) };
        if !self.segment.is_forked() {
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
///
/// # Fork
/// As its [`Writer`]: in a forked child it panics where it is looked at, filled or published. A reference that was lent
/// before the fork must not be used in the child.
#[derive(Debug)]
#[must_use = "a loan that is dropped publishes nothing"]
pub struct Loan<'w, T: Payload + ?Sized> {
    loan: lkas_core::Loan<'w, 'static, T>,
    born: Generation,
}

impl<T: Payload + ?Sized> Loan<'_, T> {
    /// Publishes what is in the slot, stamped with the time of now.
    ///
    /// # Progress
    /// As [`Writer::publish`], without the copy.
    ///
    /// # Panics
    /// In a forked process.
    #[inline]
    pub fn publish(self) {
        self.publish_at(clock::now());
    }

    /// The same with a time that is known already, in nanoseconds of the [clock].
    ///
    /// # Panics
    /// In a forked process.
    #[inline]
    pub fn publish_at(self, time: u64) {
        self.born.check();
        let view = self.loan.view();
        wait::wake(self.loan.publish(time), view);
    }
}

impl<T: Payload + ?Sized> Deref for Loan<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.born.check();
        &self.loan
    }
}

impl<T: Payload + ?Sized> DerefMut for Loan<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.born.check();
        &mut self.loan
    }
}

/// A reader of a channel in shared memory. Its place is free again when it is dropped or its process ends.
///
/// # Fork
/// A reader belongs to the process that made it. In a forked child its methods panic, and dropping it does nothing. A
/// sample that is held across a fork must not be looked at in the child: its memory is not there, or is the child's own.
pub struct Reader<T: Payload + ?Sized> {
    // Declared before the segment whose memory it uses.
    reader: lkas_core::Reader<'static, T>,
    segment: Segment,
    /// How many waits in a row have slept.
    slept: u32,
    /// Whether somebody found that the segment has neither name nor writer: this reader, or who watches it.
    orphaned: Arc<AtomicBool>,
    /// The last end that a wait has told of.
    told: Option<End>,
}

/// How a channel can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Retired,
}

/// How a [`Reader::wait`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a wait may end without a new value"]
pub enum Wait {
    /// There is a new value to take.
    Fresh,
    /// The time is over.
    TimedOut,
    /// The writer has left in good order, or the channel was replaced or removed ([`Reader::is_retired`]). Said once: the
    /// next wait waits for a successor.
    Closed,
    /// A signal was handled.
    Interrupted,
}

impl<T: Payload + ?Sized> Reader<T> {
    pub(crate) fn open(
        name: &ChannelName,
        wanted: Option<(ChannelType, RangeInclusive<usize>)>,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let (segment, place) = Segment::open(name, wanted, options)?;
        match roles::reader(&segment, place) {
            Some(reader) => Ok(Self { reader, segment, slept: 0, orphaned: Arc::default(), told: None }),
            None => {
                let places = segment.mapping.layout().readers();
                Err(OpenError::NoPlace { name: name.clone(), places, reserved: 0 })
            }
        }
    }

    /// The newest value, if this reader has not had it yet.
    ///
    /// # Progress
    /// Wait-free: one load; if there is something new one read-modify-write, and where values were missed one store. No
    /// copy, no system call.
    ///
    /// # Panics
    /// In a forked process.
    #[inline]
    pub fn take(&mut self) -> Option<Sample<'_, T>> {
        self.segment.check_fork();
        self.reader.take()
    }

    /// The newest value, whether or not it was had before; `None` until there is one.
    ///
    /// # Progress
    /// As [`take`](Self::take).
    ///
    /// # Panics
    /// In a forked process.
    #[inline]
    pub fn latest(&mut self) -> Option<Sample<'_, T>> {
        self.segment.check_fork();
        self.reader.latest()
    }

    /// The newest value together with the verdict on its age.
    ///
    /// # Progress
    /// As [`take`](Self::take), and one reading of the clock.
    ///
    /// # Panics
    /// In a forked process.
    #[inline]
    pub fn latest_within(&mut self, max_age: Duration) -> Latest<'_, T> {
        self.segment.check_fork();
        let max_age = u64::try_from(max_age.as_nanos()).unwrap_or(u64::MAX);
        let sample = self.reader.latest();
        // The clock after the value: one that is published in between would be of the future.
        Latest::new(sample, max_age, clock::now())
    }

    /// The newest value with the verdict of the channel's contract: fresh, late and by how much, stale, without a writer,
    /// or without a contract.
    ///
    /// # Progress
    /// As [`take`](Self::take), and one reading of the clock. A system call only where the value is late.
    ///
    /// # Panics
    /// In a forked process.
    pub fn read(&mut self) -> Reading<'_, T> {
        let contract = self.contract();
        let Self { reader, segment, .. } = self;
        let sample = reader.latest();
        Reading::new(sample, clock::now(), contract, || segment.has_writer())
    }

    /// What the channel's writer promises; `None` where it promises nothing.
    ///
    /// # Errors
    /// [`ContractError`](crate::ContractError) where the segment says something that makes no sense. [`read`](Self::read) then judges values as
    /// stale.
    ///
    /// # Panics
    /// In a forked process.
    pub fn contract(&self) -> Promise {
        self.segment.mapping.live().contract()
    }

    /// Whether this process was forked since the reader was made, so that it can't be used.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.segment.is_forked()
    }

    /// What a sleeper in this reader's place looks at.
    ///
    /// # Safety
    /// It is not used after the reader is dropped.
    pub(crate) unsafe fn watchable(&self) -> Watchable {
        self.segment.check_fork();
        let live = core::ptr::from_ref(self.segment.mapping.live());
        // SAFETY: the caller's.
        let live = unsafe { &*live };
        // SAFETY: likewise; the file is open until then.
        let file = unsafe { BorrowedFd::borrow_raw(self.segment.fd().as_raw_fd()) };
        let (name, orphaned) = (self.segment.name().clone(), self.orphaned.clone());
        Watchable { word: self.reader.sleep_word(), live, file, name, orphaned }
    }

    /// Whether there is something new to take.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        self.segment.check_fork();
        self.reader.has_fresh()
    }

    /// Four words whose meaning is the type's, as the segment has them.
    #[must_use]
    pub fn shape_words(&self) -> [u32; 4] {
        self.segment.shape
    }

    /// Bytes of a value.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        self.segment.mapping.layout().payload_size()
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
    ///
    /// # Panics
    /// In a forked process.
    pub fn spin(&mut self, timeout: Duration) -> Wait {
        self.segment.check_fork();
        let start = clock::now();
        loop {
            for _ in 0..SPINS {
                if self.reader.has_fresh() {
                    return Wait::Fresh;
                }
                core::hint::spin_loop();
            }
            if self.has_news_of_its_end() {
                return Wait::Closed;
            }
            if Duration::from_nanos(clock::now().saturating_sub(start)) >= timeout {
                return Wait::TimedOut;
            }
        }
    }

    /// Waits until there is something new, at most `timeout`: looks for a moment where that has paid off lately, then
    /// sleeps. That the writer has left is said once; the next call waits for a successor.
    ///
    /// # Progress
    /// No system call where something new is there or comes at once. Otherwise a futex wait, and one more for each
    /// 100 ms; asleep it costs no processor time.
    ///
    /// # Panics
    /// In a forked process.
    pub fn wait(&mut self, timeout: Duration) -> Wait {
        self.segment.check_fork();
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
        let start = clock::now();
        let mut left = timeout;
        loop {
            if self.has_news_of_its_end() {
                return Wait::Closed;
            }
            if left.is_zero() {
                return Wait::TimedOut;
            }
            if let Some((word, value)) = self.announce() {
                let slice = left.min(SLICE).as_nanos() as u64;
                match wait::sleep(word, value, slice) {
                    Slept::Interrupted => return Wait::Interrupted,
                    Slept::TimedOut => self.look_for_name(),
                    Slept::Look => (),
                }
            }
            // Who has something to do is not kept from it by the clock.
            if self.reader.has_fresh() {
                return Wait::Fresh;
            }
            left = timeout.saturating_sub(Duration::from_nanos(clock::now().saturating_sub(start)));
        }
    }

    /// Announces sleep, also where the writer has left and a wait has told of it. `None`: look again first.
    pub(crate) fn announce(&mut self) -> Option<(SleepWord<'static>, u32)> {
        match self.told {
            None => self.reader.announce_sleep(),
            Some(_) => self.reader.announce_sleep_for_successor(),
        }
    }

    /// Whether the channel has ended in a way that no wait has told of.
    pub(crate) fn has_news_of_its_end(&mut self) -> bool {
        let end = if self.is_retired() {
            Some(End::Retired)
        } else if self.reader.is_closed() {
            Some(End::Closed)
        } else {
            None
        };
        core::mem::replace(&mut self.told, end) != end && end.is_some()
    }

    /// Finds out whether the segment lost its name and its writer.
    pub(crate) fn look_for_name(&mut self) {
        if segment::is_orphaned(self.segment.name(), self.segment.fd()) {
            // ORDERING: Relaxed. A flag without data, which stays.
            self.orphaned.store(true, Ordering::Relaxed);
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
        self.segment.check_fork();
        self.reader.is_closed()
    }

    /// Whether some process has the writer's role now, running or suspended. One system call.
    #[must_use]
    pub fn has_writer(&self) -> bool {
        self.segment.has_writer()
    }

    /// Whether the channel was replaced by one of another shape, or removed. Nothing will come any more: open it again.
    ///
    /// Also where a wait, or who watches for a [`PollReader`](crate::PollReader) or a stream, found that the segment has
    /// neither name nor writer.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        // ORDERING: Relaxed. A flag without data.
        self.orphaned.load(Ordering::Relaxed) || self.segment.mapping.live().is_retired()
    }

    /// Whether the segment lost its name without being retired: somebody removed its file, or gave it another name. Two
    /// system calls.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        !self.segment.is_linked()
    }
}

impl<T: Payload + ?Sized> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("reader", &self.reader).finish_non_exhaustive()
    }
}
