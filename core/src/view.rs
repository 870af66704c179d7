//! The view that finds mailboxes and slots in any memory, and grants access to slots.

use crate::layout::Layout;
use crate::mailbox::{Mailbox, MailboxState, NO_SLOT, Slot};
use crate::payload::Payload;
use crate::slots::{SlotHeader, SlotMut, SlotRef};
use crate::sync::Padded;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// A channel's mailboxes and slots wherever they lie: in a static, in shared memory, anywhere.
///
/// It is what the roles are made from. There may be one [`Writer`](crate::Writer) at a time, and one
/// [`Reader`](crate::Reader) for each place. Somebody has to see to that: the compiler does for a static channel
/// ([`split`](crate::Channel::split)), locks of the kernel do in shared memory.
pub struct View<'a, T: Payload + ?Sized> {
    mailboxes: NonNull<Padded<Mailbox>>,
    slots: NonNull<u8>,
    layout: Layout,
    // A view borrows the memory, not the values in it.
    memory: PhantomData<&'a ()>,
    payload: PhantomData<*mut T>,
}

impl<T: Payload + ?Sized> Copy for View<'_, T> {}

impl<T: Payload + ?Sized> Clone for View<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

// SAFETY: a view is an address; what is reached through it is either atomic or guarded by the roles (I1, I2), and the
// payload itself may be used from any thread (`Payload: Send + Sync`).
unsafe impl<T: Payload + ?Sized> Send for View<'_, T> {}
// SAFETY: as for Send; no method changes the view.
unsafe impl<T: Payload + ?Sized> Sync for View<'_, T> {}

impl<T: Payload + ?Sized> fmt::Debug for View<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl<'a, T: Payload + ?Sized> View<'a, T> {
    /// A view of foreign memory. Zeroed memory is an empty channel.
    ///
    /// # Safety
    /// For all of `'a`: `mailboxes` points to `layout.mailbox_bytes()` bytes, aligned to a cache line pair, readable, and
    /// writable for whoever takes a role; `slots` to `layout.slot_bytes()` bytes, aligned to the layout's payload
    /// alignment and to a cache line pair, readable, and writable for whoever makes a writer. Nobody touches them but
    /// through views of the same layout. `layout` was made for `T`: its payload is as large as the smallest `T` or
    /// larger, and aligned to `T::ALIGN`.
    #[must_use]
    pub const unsafe fn from_raw(mailboxes: NonNull<u8>, slots: NonNull<u8>, layout: Layout) -> Self {
        Self { mailboxes: mailboxes.cast(), slots, layout, memory: PhantomData, payload: PhantomData }
    }

    /// A view of a static channel that starts at `start`: mailboxes first, slots at `slots` bytes.
    pub(crate) fn of_static(start: NonNull<u8>, slots: usize, layout: Layout) -> Self {
        // SAFETY: the slots lie inside of the channel.
        let slots = unsafe { start.add(slots) };
        // SAFETY: the caller borrows the channel for `'a` and took the layout from its type; all that is written to
        // lies in atomics and cells.
        unsafe { Self::from_raw(start, slots, layout) }
    }

    /// The sizes of the channel's parts.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the mailbox at `place` (from 0) says now, for whoever looks on: it takes no role and disturbs nobody. `None`
    /// where the channel has no such place.
    ///
    /// # Progress
    /// Wait-free: two loads, which are not one moment.
    #[must_use]
    pub fn mailbox(&self, place: usize) -> Option<MailboxState> {
        self.mailboxes().get(place).map(|mailbox| mailbox.state())
    }

    #[inline]
    pub(crate) fn mailboxes(&self) -> &'a [Padded<Mailbox>] {
        // SAFETY: `from_raw` or the static channel vouches for the memory; mailboxes are atomic, so sharing is fine.
        unsafe { core::slice::from_raw_parts(self.mailboxes.as_ptr(), self.layout.readers()) }
    }

    /// The first byte of `slot`; `None` unless the channel has it. Foreign words name slots, so this is checked here
    /// and nowhere else.
    #[inline]
    fn address(&self, slot: Slot) -> Option<NonNull<u8>> {
        if slot == NO_SLOT || usize::from(slot) > self.layout.slots() {
            return None;
        }
        let offset = (usize::from(slot) - 1) * self.layout.stride();
        // SAFETY: the offset lies inside of the slots' memory, as the slot exists.
        Some(unsafe { self.slots.add(offset) })
    }

    /// The header of the slot that starts there.
    #[inline]
    fn header_at(&self, start: NonNull<u8>) -> &'a SlotHeader {
        // SAFETY: every slot starts with its header, aligned, and any bytes are a valid one.
        unsafe { start.cast().as_ref() }
    }

    /// The header of `slot`; `None` unless the channel has it.
    #[cfg(target_has_atomic = "64")]
    pub(crate) fn header(&self, slot: Slot) -> Option<&'a SlotHeader> {
        self.address(slot).map(|start| self.header_at(start))
    }

    /// The first byte of the payload of `slot`; `None` unless the channel has it.
    pub(crate) fn payload_start(&self, slot: Slot) -> Option<NonNull<u8>> {
        // SAFETY: the payload lies inside of the slot.
        self.address(slot).map(|start| unsafe { start.add(self.layout.payload_offset()) })
    }

    #[inline]
    fn payload(&self, start: NonNull<u8>) -> *mut T {
        // SAFETY: the payload lies inside of the slot.
        let payload = unsafe { start.as_ptr().add(self.layout.payload_offset()) };
        T::at(payload, self.layout.payload_size())
    }

    /// Opens a slot for reading. `None` where there is no such slot.
    ///
    /// # Safety
    /// The protocol grants it: the caller holds the slot, so that nobody writes to it while the result lives (I2).
    #[inline]
    pub(crate) unsafe fn read(&self, slot: Slot) -> Option<SlotRef<'a, T>> {
        let start = self.address(slot)?;
        let header = self.header_at(start);
        let guard = header.watch().read();
        // SAFETY: the caller holds the slot (I2).
        let stamp = unsafe { header.stamp() };
        // SAFETY: likewise the payload; any bit pattern is a valid `T` (`Payload`).
        let payload = unsafe { &*self.payload(start) };
        Some(SlotRef { stamp, payload, _guard: guard })
    }

    /// Takes the first lines of `slot` (its header and a small payload) back from the cache of whoever looked at it last,
    /// ahead of writing to it: on the way from one processor to another that is a whole transfer. Their content stays as
    /// it is. A store it must be: processors may ignore a prefetch of lines that they have already, if only to look at.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    #[inline]
    pub(crate) unsafe fn fetch(&self, slot: Slot) {
        // Without padding, channels are for processors whose cores share no cache lines.
        let Some(start) = self.address(slot).filter(|_| cfg!(feature = "cache-padded")) else { return };
        // Under loom: checks that nobody else looks at the slot.
        let _guard = self.header_at(start).watch().write();
        let used = (self.layout.payload_offset() + self.layout.payload_size()).min(256);
        // SAFETY: nobody else writes to the slot (I1).
        unsafe { self.header_at(start).refresh() };
        // What lies between header and payload belongs to neither.
        for line in (64..used).step_by(64).filter(|line| *line >= self.layout.payload_offset()) {
            // SAFETY: inside of the slot.
            let byte = unsafe { start.add(line) }.cast::<MaybeUninit<u8>>();
            // SAFETY: nobody else touches the slot (I1). Volatile, or the compiler would see that nothing changes.
            let same = unsafe { byte.read_volatile() };
            // SAFETY: as above.
            unsafe { byte.write_volatile(same) };
        }
    }

    /// Opens a slot for writing. `None` where there is no such slot.
    ///
    /// # Safety
    /// The protocol grants it: the caller is the writer and no mailbox names the slot, so that nobody else looks at it
    /// while the result lives (I1).
    #[inline]
    pub(crate) unsafe fn write(&self, slot: Slot) -> Option<SlotMut<'a, T>> {
        let start = self.address(slot)?;
        let payload = NonNull::new(self.payload(start))?;
        // SAFETY: the caller's.
        Some(unsafe { SlotMut::new(self.header_at(start), payload) })
    }
}
