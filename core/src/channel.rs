//! A channel in static memory, or anywhere in one process.

use crate::layout::{Layout, MAX_READERS, SPARE_SLOTS};
use crate::mailbox::Mailbox;
use crate::payload::Payload;
use crate::reader::Reader;
use crate::slots::StaticSlot;
use crate::sync::Padded;
use crate::view::View;
use crate::writer::Writer;
use core::fmt;
use core::ptr::NonNull;

/// A channel of `T` with one writer and `R` readers, in one piece of memory, without allocation.
///
/// The writer publishes values, each reader gets the newest one. `T` is [plain](crate::Plain) data: any bit pattern is a
/// value of it. The channel is `R` mailboxes and `R + 2` slots.
///
/// # Examples
/// ```
/// use lkas_core::Channel;
///
/// let mut channel = Channel::<[u32; 2], 2>::new();
/// let (mut writer, [mut display, mut control]) = channel.split();
///
/// writer.publish([1, 10], 0);
/// writer.publish([2, 20], 0);
/// assert_eq!(*control.take().unwrap(), [2, 20]);
/// assert!(control.take().is_none(), "nothing new");
/// assert_eq!(*control.latest().unwrap(), [2, 20]);
/// assert_eq!(*display.take().unwrap(), [2, 20]);
/// ```
///
/// There is one writer at a time:
/// ```compile_fail,E0499
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (mut writer, _) = channel.split();
/// let (mut second, _) = channel.split();
/// writer.publish(1, 0);
/// second.publish(2, 0);
/// ```
/// ```
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (mut writer, _) = channel.split();
/// writer.publish(1, 0);
/// let (mut second, _) = channel.split();
/// second.publish(2, 0);
/// assert_eq!(second.sequence(), 2);
/// ```
///
/// And one reader for each mailbox, none of which can be cloned:
/// ```compile_fail,E0599
/// let mut channel = lkas_core::Channel::<u32, 1>::new();
/// let (_, [reader]) = channel.split();
/// let second = reader.clone();
/// ```
/// ```
/// let mut channel = lkas_core::Channel::<u32, 2>::new();
/// let (_, [reader, second]) = channel.split();
/// ```
#[repr(C)]
pub struct Channel<T: Payload, const R: usize> {
    mailboxes: [Padded<Mailbox>; R],
    // `R + SPARE_SLOTS` slots: with repr(C), two arrays of the same type lie behind one another without a gap.
    spare_slots: [Padded<StaticSlot<T>>; SPARE_SLOTS],
    reader_slots: [Padded<StaticSlot<T>>; R],
}

impl<T: Payload, const R: usize> Channel<T, R> {
    /// An empty channel. All its bytes are zero.
    #[cfg(not(lkas_loom))]
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(R >= 1 && R <= MAX_READERS, "a channel has 1 to 29 readers") };
        Self {
            mailboxes: [const { Padded::new(Mailbox::new()) }; R],
            spare_slots: [const { Padded::new(StaticSlot::new()) }; SPARE_SLOTS],
            reader_slots: [const { Padded::new(StaticSlot::new()) }; R],
        }
    }

    /// An empty channel.
    #[cfg(lkas_loom)]
    #[must_use]
    pub fn new() -> Self {
        const { assert!(R >= 1 && R <= MAX_READERS, "a channel has 1 to 29 readers") };
        Self {
            mailboxes: core::array::from_fn(|_| Padded::new(Mailbox::new())),
            spare_slots: core::array::from_fn(|_| Padded::new(StaticSlot::new())),
            reader_slots: core::array::from_fn(|_| Padded::new(StaticSlot::new())),
        }
    }

    /// The writer and the readers. That there are no others is proved by the exclusive borrow.
    ///
    /// A channel that was split before goes on where it was: the sequence continues, and readers see the newest value.
    ///
    /// # Progress
    /// Wait-free: as [`View::writer`](crate::View::writer), and a load for each reader.
    ///
    /// # Examples
    /// In a static, for an interrupt and a main loop; `init` runs once.
    /// ```
    /// use lkas_core::{Channel, Reader, Writer};
    ///
    /// fn init(channel: &'static mut Channel<u32, 1>) -> (Writer<'static, u32>, Reader<'static, u32>) {
    ///     let (writer, [reader]) = channel.split();
    ///     (writer, reader)
    /// }
    /// # let (mut writer, mut reader) = init(Box::leak(Box::new(Channel::new())));
    /// # writer.publish(1, 0);
    /// # assert_eq!(*reader.take().unwrap(), 1);
    /// ```
    #[must_use = "the halves are the only way to use the channel"]
    pub fn split(&mut self) -> (Writer<'_, T>, [Reader<'_, T>; R]) {
        let view = self.view();
        (Writer::take_over(view), core::array::from_fn(|place| Reader::attach(view, place)))
    }

    /// A view, for whoever has other means than a borrow to see that roles are taken once.
    #[must_use]
    pub fn view(&self) -> View<'_, T> {
        let slot = size_of::<Padded<StaticSlot<T>>>();
        let layout = Layout::of_static(R, size_of::<T>(), StaticSlot::<T>::PAYLOAD_OFFSET, slot);
        let start = NonNull::from(self).cast::<u8>();
        View::of_static(start, core::mem::offset_of!(Self, spare_slots), layout)
    }
}

impl<T: Payload, const R: usize> Default for Channel<T, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Payload, const R: usize> fmt::Debug for Channel<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("readers", &R).finish_non_exhaustive()
    }
}
