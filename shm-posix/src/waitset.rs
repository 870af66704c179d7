//! Waiting for several channels at once.

use crate::channels::{Reader, Wait};
use crate::clock;
use crate::feed::Feed;
use crate::wait::{SLICE, Slept, Words};
use core::time::Duration;
use lkas_core::{Payload, SleepWord};

/// How often to look for a channel that is not there yet.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a [`WaitSet`] can wait for: a [`Reader`] or a [`Feed`].
pub trait Waitable: sealed::Waitable {}

impl<T: sealed::Waitable + ?Sized> Waitable for T {}

pub(crate) mod sealed {
    use lkas_core::SleepWord;

    /// What waiting needs of a member.
    #[allow(unnameable_types)] // that is what seals the trait
    pub trait Waitable {
        /// Whether there is something new to take.
        fn has_fresh(&self) -> bool;
        /// Whether the channel has ended in a way that no wait has told of.
        fn has_news(&mut self) -> bool;
        /// Announces sleep. `None`: look again first.
        fn announce(&mut self) -> Option<(SleepWord<'static>, u32)>;
        /// Looks, now and then in a long wait, whether the channel came or went.
        fn look(&mut self);
        /// Whether there is a channel to sleep on.
        fn is_attached(&self) -> bool;
    }
}

impl<T: Payload + ?Sized> sealed::Waitable for Reader<T> {
    fn has_fresh(&self) -> bool {
        Self::has_fresh(self)
    }

    fn has_news(&mut self) -> bool {
        self.has_news_of_its_end()
    }

    fn announce(&mut self) -> Option<(SleepWord<'static>, u32)> {
        Self::announce(self)
    }

    fn look(&mut self) {
        self.look_for_name();
    }

    fn is_attached(&self) -> bool {
        true
    }
}

impl<T: Payload + ?Sized> sealed::Waitable for Feed<T> {
    fn has_fresh(&self) -> bool {
        self.reader().is_some_and(Reader::has_fresh)
    }

    // A feed finds the next channel by itself, so that it is no news for others that one has ended.
    fn has_news(&mut self) -> bool {
        if self.has_news_of_its_end() {
            self.look();
        }
        false
    }

    fn announce(&mut self) -> Option<(SleepWord<'static>, u32)> {
        self.announce_sleep()
    }

    fn look(&mut self) {
        // What is wrong with the channel, the next call of `next` says.
        let _ = self.find(Duration::ZERO);
    }

    fn is_attached(&self) -> bool {
        self.reader().is_some()
    }
}

/// Waits for several channels at once.
///
/// # Examples
/// ```
/// use lkas_shm::{Channel, ChannelName, Message, Options, Wait, WaitSet};
/// use std::time::Duration;
/// # let [speed, gear] = ["speed", "gear"].map(|name| format!("doc-waitset-{name}-{}", std::process::id()));
///
/// #[derive(Clone, Copy, Message)]
/// #[repr(C)]
/// struct Speed {
///     #[message(unit = "m/s")]
///     forward: f32,
/// }
/// # #[derive(Clone, Copy, Message)]
/// # #[repr(C)]
/// # struct Gear { number: i8 }
///
/// let (speed, gear): (ChannelName, ChannelName) = (speed.parse()?, gear.parse()?);
/// let mut writer = Channel::<Speed>::create(&speed, Options::new())?; // in another process
/// # let other = Channel::<Gear>::create(&gear, Options::new())?;
/// let mut speeds = Channel::<Speed>::open(&speed, Duration::ZERO)?;
/// let mut gears = Channel::<Gear>::open(&gear, Duration::ZERO)?;
/// writer.publish(Speed { forward: 3.5 });
///
/// let mut set = WaitSet::new();
/// if set.wait(&mut [&mut speeds, &mut gears], Duration::from_secs(1)) == Wait::Fresh {
///     if let Some(speed) = speeds.take() {
///         println!("{} m/s", speed.forward);
///     }
///     if let Some(gear) = gears.take() {
///         println!("gear {}", gear.number);
///     }
/// }
/// # drop((writer, other, speeds, gears));
/// # lkas_shm::unlink(&speed)?;
/// # lkas_shm::unlink(&gear)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct WaitSet {
    // Kept, so that only the first wait allocates.
    words: Words,
}

impl WaitSet {
    /// A set that has not waited yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until one of `members` has something new, at most `timeout`. That a writer has left is said once, as by
    /// [`Reader::wait`]; the members themselves say which one it was.
    ///
    /// # Progress
    /// No system call where something new is there. Otherwise one (futex_waitv) for each 100 ms, and asleep it costs no
    /// processor time. Before Linux 5.16, where a sandbox forbids that call, and with more than 128 members, it looks each
    /// 5 ms instead.
    ///
    /// # Panics
    /// In a forked process.
    pub fn wait(&mut self, members: &mut [&mut dyn Waitable], timeout: Duration) -> Wait {
        let start = clock::now();
        let mut left = timeout;
        let mut looked = start;
        loop {
            if members.iter().any(|member| member.has_fresh()) {
                return Wait::Fresh;
            }
            // Each one is asked, so that the next wait does not say it again of another.
            if members.iter_mut().filter_map(|member| member.has_news().then_some(())).count() > 0 {
                return Wait::Closed;
            }
            if left.is_zero() {
                return Wait::TimedOut;
            }
            self.words.clear();
            let mut look_every = SLICE;
            let mut ready = false;
            for member in members.iter_mut() {
                if !member.is_attached() {
                    look_every = LOOK_EVERY;
                } else if let Some((word, value)) = member.announce() {
                    self.words.push(word, value);
                } else {
                    ready = true;
                }
            }
            let slept = if ready { Slept::Look } else { self.words.sleep(left.min(look_every)) };
            if slept == Slept::Interrupted {
                return Wait::Interrupted;
            }
            let now = clock::now();
            // By the clock: where the system does not wait for all at once, slices are shorter.
            if slept == Slept::TimedOut || Duration::from_nanos(now.saturating_sub(looked)) >= look_every {
                members.iter_mut().for_each(|member| member.look());
                looked = now;
            }
            left = timeout.saturating_sub(Duration::from_nanos(now.saturating_sub(start)));
        }
    }
}
