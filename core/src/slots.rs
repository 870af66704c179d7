//! Slots: a header that tells which publish it is, then the value; and a slot while it is open.

#[cfg(not(lkas_loom))]
use crate::layout::SLOT_HEADER;
#[cfg(target_has_atomic = "64")]
use crate::sync::{AtomicU64, order};
use crate::sync::{Reading, Watch, Writing};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// What stands before each payload.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SlotHeader {
    /// The number of this publish, from 1.
    sequence: Number,
    /// When it was published, in nanoseconds of the writer's clock.
    time: Number,
    // Whoever touches the slot keeps its guard. Without size, but under loom.
    watch: Watch,
}

#[cfg(not(lkas_loom))]
const _: () = assert!(size_of::<SlotHeader>() == SLOT_HEADER);

/// A publish's number and time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) sequence: u64,
    pub(crate) time: u64,
}

impl SlotHeader {
    #[cfg(not(lkas_loom))]
    const fn new() -> Self {
        Self { sequence: Number::new(), time: Number::new(), watch: Watch::new() }
    }

    #[cfg(lkas_loom)]
    fn new() -> Self {
        Self { sequence: Number::new(), time: Number::new(), watch: Watch::new() }
    }

    /// What stands for the slot under loom.
    #[inline]
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What stands in it.
    ///
    /// # Safety
    /// The caller holds the slot, so that nobody writes to it (I2).
    #[inline]
    pub(crate) unsafe fn stamp(&self) -> Stamp {
        // SAFETY: the caller's.
        let sequence = unsafe { self.sequence.get() };
        // SAFETY: the caller's.
        let time = unsafe { self.time.get() };
        Stamp { sequence, time }
    }

    /// Stores what is there already.
    ///
    /// # Safety
    /// The caller is the writer, and the slot is its own.
    #[inline]
    pub(crate) unsafe fn refresh(&self) {
        // SAFETY: the caller's.
        let same = unsafe { self.sequence.get() };
        // SAFETY: the caller's.
        unsafe { self.sequence.set(same) };
    }

    /// Observer: the number, before anything else of the slot is looked at.
    #[cfg(target_has_atomic = "64")]
    pub(crate) fn observe_sequence(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release of `Number::set_last`: whoever sees this number sees all of the slot
        // as it was when the number was written, or newer. Model: `an_observer_sees_one_publish`.
        self.sequence.observed().load(order!("observe sequence", Acquire))
    }

    /// Observer: the time, and the number once more, to be compared.
    #[cfg(target_has_atomic = "64")]
    pub(crate) fn observe_time(&self) -> u64 {
        // ORDERING: Relaxed. The fence that follows orders it.
        self.time.observed().load(order!("observe time", Relaxed))
    }

    /// Observer: the number again, after the mailbox was looked at again.
    #[cfg(target_has_atomic = "64")]
    pub(crate) fn observe_sequence_again(&self) -> u64 {
        // ORDERING: Relaxed. The second look at the mailbox comes before it and acquires.
        self.sequence.observed().load(order!("observe sequence again", Relaxed))
    }
}

/// A number of a slot's header. Whoever has the slot reads and writes it; observers may look at any time, so that it is
/// an atomic word wherever the processor has one of that size.
#[cfg(all(target_has_atomic = "64", not(lkas_loom)))]
#[derive(Debug)]
#[repr(transparent)]
struct Number(AtomicU64);

#[cfg(all(target_has_atomic = "64", not(lkas_loom)))]
impl Number {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// # Safety
    /// The caller holds the slot.
    #[inline]
    unsafe fn get(&self) -> u64 {
        // SAFETY: the caller holds the slot, so that nobody writes to it meanwhile. Observers only read.
        unsafe { self.0.as_ptr().read() }
    }

    /// # Safety
    /// The caller is the writer, and the slot is its own.
    #[inline]
    unsafe fn set(&self, value: u64) {
        // ORDERING: Relaxed. For readers the mailbox orders it, for observers the number that is set last.
        self.0.store(value, order!("set number", Relaxed));
    }

    /// # Safety
    /// As for [`set`](Self::set).
    #[inline]
    unsafe fn set_last(&self, value: u64) {
        // ORDERING: Release pairs with the Acquire of `observe_sequence`: an observer that sees this number sees what the
        // slot got before it. Model: `an_observer_sees_one_publish`.
        self.0.store(value, order!("set sequence", Release));
    }

    fn observed(&self) -> &AtomicU64 {
        &self.0
    }
}

/// The same under loom, which would explore every order of these words too: they are atomic only for an observer.
#[cfg(lkas_loom)]
#[derive(Debug)]
struct Number(core::cell::UnsafeCell<u64>, AtomicU64);

#[cfg(lkas_loom)]
impl Number {
    fn new() -> Self {
        Self(core::cell::UnsafeCell::new(0), AtomicU64::new(0))
    }

    unsafe fn get(&self) -> u64 {
        // SAFETY: the caller holds the slot, and its guard.
        unsafe { self.0.get().read() }
    }

    unsafe fn set(&self, value: u64) {
        // SAFETY: the caller has the slot, and its guard.
        unsafe { self.0.get().write(value) };
        if crate::fault::is_observed() {
            self.1.store(value, order!("set number", Relaxed));
        }
    }

    unsafe fn set_last(&self, value: u64) {
        // SAFETY: the caller has the slot, and its guard.
        unsafe { self.0.get().write(value) };
        if crate::fault::is_observed() {
            self.1.store(value, order!("set sequence", Release));
        }
    }

    fn observed(&self) -> &AtomicU64 {
        &self.1
    }
}

/// The same where there is no atomic word of that size: there is nobody who looks on.
#[cfg(not(target_has_atomic = "64"))]
#[derive(Debug)]
#[repr(transparent)]
struct Number(core::cell::UnsafeCell<u64>);

#[cfg(not(target_has_atomic = "64"))]
impl Number {
    const fn new() -> Self {
        Self(core::cell::UnsafeCell::new(0))
    }

    #[inline]
    unsafe fn get(&self) -> u64 {
        // SAFETY: the caller holds the slot.
        unsafe { self.0.get().read() }
    }

    #[inline]
    unsafe fn set(&self, value: u64) {
        // SAFETY: the caller has the slot.
        unsafe { self.0.get().write(value) };
    }

    #[inline]
    unsafe fn set_last(&self, value: u64) {
        // SAFETY: as above.
        unsafe { self.set(value) };
    }
}

/// A slot of a static channel. In other memory the same parts lie at the offsets of a [`Layout`](crate::Layout).
#[repr(C)]
pub(crate) struct StaticSlot<T> {
    header: SlotHeader,
    payload: core::cell::UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: a slot is only reached through a `View`, whose roles exclude one another (I1, I2).
unsafe impl<T: Send + Sync> Sync for StaticSlot<T> {}

impl<T> StaticSlot<T> {
    #[cfg(not(lkas_loom))]
    pub(crate) const fn new() -> Self {
        Self { header: SlotHeader::new(), payload: core::cell::UnsafeCell::new(MaybeUninit::zeroed()) }
    }

    #[cfg(lkas_loom)]
    pub(crate) fn new() -> Self {
        Self { header: SlotHeader::new(), payload: core::cell::UnsafeCell::new(MaybeUninit::zeroed()) }
    }

    pub(crate) const PAYLOAD_OFFSET: usize = core::mem::offset_of!(Self, payload);
}

/// A slot open for reading.
pub(crate) struct SlotRef<'a, T: ?Sized> {
    pub(crate) stamp: Stamp,
    pub(crate) payload: &'a T,
    // Under loom: reading goes on until this is dropped.
    pub(crate) _guard: Reading,
}

/// A slot open for writing.
pub(crate) struct SlotMut<'a, T: ?Sized> {
    // Not a reference: an argument that holds one claims its memory until the function returns, and readers look at the
    // slot before the function that publishes it does.
    payload: NonNull<T>,
    header: &'a SlotHeader,
    // Under loom: writing goes on until this is dropped.
    _guard: Writing,
    slot: PhantomData<&'a mut T>,
}

impl<'a, T: ?Sized> SlotMut<'a, T> {
    /// # Safety
    /// `header` and `payload` are those of a slot that is the writer's own as long as this lives (I1).
    #[inline]
    pub(crate) unsafe fn new(header: &'a SlotHeader, payload: NonNull<T>) -> Self {
        Self { payload, header, _guard: header.watch().write(), slot: PhantomData }
    }
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
    pub(crate) fn finish(self, stamp: Stamp) {
        // SAFETY: the slot is open for writing.
        unsafe { self.header.time.set(stamp.time) };
        // SAFETY: as above. Last, for observers.
        unsafe { self.header.sequence.set_last(stamp.sequence) };
    }
}
