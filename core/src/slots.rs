//! All access to the memory of slots, and the view that finds slots and mailboxes in any memory.

use crate::layout::{Layout, Payload, SLOT_HEADER};
use crate::mailbox::{Mailbox, MailboxState, NO_SLOT, Slot};
use crate::reader::Reader;
use crate::sync::{ConstPtr, MutPtr, Padded, UnsafeCell};
use crate::writer::Writer;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// What stands before each payload.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct SlotHeader {
    /// The number of this publish, from 1.
    pub(crate) sequence: u64,
    /// When it was published, in nanoseconds of the writer's clock.
    pub(crate) time: u64,
}

#[cfg(not(lkas_loom))]
const _: () = assert!(size_of::<UnsafeCell<SlotHeader>>() == SLOT_HEADER);
const _: () = assert!(size_of::<SlotHeader>() == SLOT_HEADER);

/// A slot of a static channel. In other memory the same parts lie at the offsets of a [`Layout`].
#[repr(C)]
pub(crate) struct StaticSlot<T> {
    // Under loom this cell stands for the payload as well: whoever touches the payload keeps its guard.
    header: UnsafeCell<SlotHeader>,
    payload: core::cell::UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: a slot is only reached through a `View`, whose roles exclude one another (I1, I2).
unsafe impl<T: Send + Sync> Sync for StaticSlot<T> {}

impl<T> StaticSlot<T> {
    #[cfg(not(lkas_loom))]
    pub(crate) const fn new() -> Self {
        Self {
            header: UnsafeCell::new(SlotHeader { sequence: 0, time: 0 }),
            payload: core::cell::UnsafeCell::new(MaybeUninit::zeroed()),
        }
    }

    #[cfg(lkas_loom)]
    pub(crate) fn new() -> Self {
        Self {
            header: UnsafeCell::new(SlotHeader::default()),
            payload: core::cell::UnsafeCell::new(MaybeUninit::zeroed()),
        }
    }

    pub(crate) const PAYLOAD_OFFSET: usize = core::mem::offset_of!(Self, payload);
}

/// A channel's mailboxes and slots wherever they lie: in a static, in shared memory, anywhere.
///
/// It is what the roles are made from. One [`Writer`] and one [`Reader`] for each place may exist at a time; somebody
/// has to vouch for that: the compiler for a static channel ([`split`](crate::Channel::split)), a lock of the kernel in
/// shared memory.
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

    /// Takes the writer's role, over a predecessor that stopped anywhere, even in the middle of a publish.
    ///
    /// # Progress
    /// Wait-free: at most three loads and four read-modify-writes for each reader, most of them only where the predecessor
    /// left in good order or in the middle of a publish.
    ///
    /// # Safety
    /// No other writer of this channel exists, or its last step has happened before (as a lock or a join orders it) and
    /// it will never be used again.
    #[must_use = "dropping the writer leaves the channel without one"]
    pub unsafe fn writer(self) -> Writer<'a, T> {
        Writer::take_over(self)
    }

    /// Takes the reader's role at `place` (from 0), over a predecessor that stopped anywhere. `None` where the channel
    /// has no such place.
    ///
    /// # Progress
    /// Wait-free: one load.
    ///
    /// # Safety
    /// No other reader at this place exists, or its last step has happened before (as a lock or a join orders it) and it
    /// will never be used again.
    #[must_use = "dropping the reader leaves its place free"]
    pub unsafe fn reader(self, place: usize) -> Option<Reader<'a, T>> {
        (place < self.layout.readers()).then(|| Reader::attach(self, place))
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

    #[inline]
    fn header(&self, start: NonNull<u8>) -> &'a UnsafeCell<SlotHeader> {
        // SAFETY: every slot starts with its header, aligned, and any bytes are a valid one.
        unsafe { start.cast().as_ref() }
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
        let guard = self.header(start).get();
        // SAFETY: the header is not written to while the caller holds the slot (I2).
        let header = guard.with(|header| unsafe { *header });
        // SAFETY: likewise the payload; any bit pattern is a valid `T` (`Payload`).
        let payload = unsafe { &*self.payload(start) };
        Some(SlotRef { header, payload, _guard: guard })
    }

    /// Takes the first lines of `slot` (its header and a small payload) back from the cache of whoever looked at it last,
    /// ahead of writing to it: on the way from one processor to another that is a whole transfer. Their content stays as
    /// it is. A store it must be: processors may ignore a prefetch of lines that they have already, if only to look at.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    #[inline]
    pub(crate) unsafe fn fetch(&self, slot: Slot) {
        // Without an operating system there are no caches.
        let Some(start) = self.address(slot).filter(|_| cfg!(not(target_os = "none"))) else { return };
        // Under loom: checks that nobody else looks at the slot.
        let _guard = self.header(start).get_mut();
        let used = (self.layout.payload_offset() + self.layout.payload_size()).min(256);
        // What lies between header and payload belongs to neither.
        for line in (0..used).step_by(64).filter(|line| *line == 0 || *line >= self.layout.payload_offset()) {
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
        let guard = self.header(start).get_mut();
        Some(SlotMut { payload: NonNull::new(self.payload(start))?, guard, slot: PhantomData })
    }
}

/// A slot open for reading.
pub(crate) struct SlotRef<'a, T: ?Sized> {
    pub(crate) header: SlotHeader,
    pub(crate) payload: &'a T,
    // Under loom: reading goes on until this is dropped.
    _guard: ConstPtr<SlotHeader>,
}

/// A slot open for writing.
pub(crate) struct SlotMut<'a, T: ?Sized> {
    // Not a reference: an argument that holds one claims its memory until the function returns, and readers look at the
    // slot before the function that publishes it does.
    payload: NonNull<T>,
    // Under loom: writing goes on until this is dropped.
    guard: MutPtr<SlotHeader>,
    slot: PhantomData<&'a mut T>,
}

impl<T: ?Sized> SlotMut<'_, T> {
    #[inline]
    pub(crate) fn payload(&self) -> &T {
        // SAFETY: nobody else touches the open slot (I1); any bit pattern is a valid `T` (`Payload`).
        unsafe { self.payload.as_ref() }
    }

    #[inline]
    pub(crate) fn payload_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { self.payload.as_mut() }
    }

    /// Writes the header and ends writing.
    #[inline]
    pub(crate) fn finish(self, header: SlotHeader) {
        // SAFETY: the slot is open for writing (`View::write`), its header included.
        self.guard.with(|place| unsafe { place.write(header) });
    }
}
