//! The only file that names atomics: core's, or loom's when models are checked (`--cfg lkas_loom`).

#[cfg(all(target_has_atomic = "32", not(lkas_loom)))]
pub use core::sync::atomic::AtomicU32;
#[cfg(all(target_has_atomic = "64", not(lkas_loom)))]
pub(crate) use core::sync::atomic::AtomicU64;
pub(crate) use core::sync::atomic::Ordering;
#[cfg(all(not(target_has_atomic = "32"), feature = "critical-section"))]
pub use portable_atomic::AtomicU32;

#[cfg(not(any(target_has_atomic = "32", feature = "critical-section")))]
compile_error!(
    "this processor has no compare-and-swap: enable lkas-core's feature `critical-section` and provide an implementation \
     of the crate critical-section"
);

/// `order!("what", Ordering)`: the ordering of one atomic operation. Its name is for `cargo verify weakened`, which
/// weakens one after the other; without loom nothing of it is left.
#[cfg(not(lkas_loom))]
macro_rules! order {
    ($what:literal, $order:ident) => {
        $crate::sync::Ordering::$order
    };
}
#[cfg(lkas_loom)]
macro_rules! order {
    ($what:literal, $order:ident) => {
        $crate::fault::order($what, $crate::sync::Ordering::$order)
    };
}
pub(crate) use order;

/// `fence!("what", Ordering)`: a fence whose ordering is named like those of [`order!`].
#[cfg(all(target_has_atomic = "64", not(lkas_loom)))]
macro_rules! fence {
    ($what:literal, $order:ident) => {
        core::sync::atomic::fence($crate::sync::Ordering::$order)
    };
}
#[cfg(lkas_loom)]
macro_rules! fence {
    ($what:literal, $order:ident) => {
        $crate::fault::fence($what, $crate::sync::Ordering::$order)
    };
}
#[cfg(target_has_atomic = "64")]
pub(crate) use fence;

/// A value in a pair of cache lines of its own, so that nobody else's writes disturb it. Without the feature
/// `cache-padded` values lie side by side: less memory, for a processor with one core, or with caches that no other core looks into.
#[cfg(feature = "cache-padded")]
pub(crate) use crossbeam_utils::CachePadded as Padded;
#[cfg(not(feature = "cache-padded"))]
pub(crate) use unpadded::Padded;

#[cfg(not(feature = "cache-padded"))]
mod unpadded {
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct Padded<T>(T);

    impl<T> Padded<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(value)
        }
    }

    impl<T> core::ops::Deref for Padded<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}

#[cfg(lkas_loom)]
pub use checked::AtomicU32;
#[cfg(lkas_loom)]
pub(crate) use checked::AtomicU64;
#[cfg(lkas_loom)]
pub(crate) use checked::{Reading, Watch, Writing};
#[cfg(not(lkas_loom))]
pub(crate) use plain::{Reading, Watch, Writing};

/// Stands for a slot under loom, which sees by its guards who looks at the slot and who writes to it. Otherwise it is
/// nothing.
#[cfg(not(lkas_loom))]
mod plain {
    #[derive(Debug)]
    pub(crate) struct Watch;

    impl Watch {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn read(&self) -> Reading {
            Reading
        }

        #[inline]
        pub(crate) fn write(&self) -> Writing {
            Writing
        }
    }

    #[derive(Debug)]
    pub(crate) struct Reading;

    #[derive(Debug)]
    pub(crate) struct Writing;
}

/// loom's atomic, with a place before each operation at which its thread can stop dead.
#[cfg(lkas_loom)]
mod checked {
    use super::Ordering;

    /// An atomic word whose operations are the steps at which a model can let a thread die.
    #[derive(Debug, Default)]
    pub struct AtomicU32(loom::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(crate) fn new(value: u32) -> Self {
            Self(loom::sync::atomic::AtomicU32::new(value))
        }

        /// As a reader that breaks the protocol: flips bits of the word.
        pub fn scribble(&self, bits: u32) {
            self.0.fetch_xor(bits, Ordering::Relaxed);
        }

        /// Reads the word.
        pub fn load(&self, order: Ordering) -> u32 {
            crate::fault::step();
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u32, order: Ordering) {
            crate::fault::step();
            self.0.store(value, order);
        }

        pub(crate) fn swap(&self, value: u32, order: Ordering) -> u32 {
            crate::fault::step();
            self.0.swap(value, order)
        }

        pub(crate) fn compare_exchange(
            &self,
            current: u32,
            new: u32,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u32, u32> {
            crate::fault::step();
            self.0.compare_exchange(current, new, success, failure)
        }

        pub(crate) fn fetch_sub(&self, value: u32, order: Ordering) -> u32 {
            crate::fault::step();
            self.0.fetch_sub(value, order)
        }

        pub(crate) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
            crate::fault::step();
            self.0.fetch_or(value, order)
        }

        pub(crate) fn fetch_and(&self, value: u32, order: Ordering) -> u32 {
            crate::fault::step();
            self.0.fetch_and(value, order)
        }
    }

    /// The same for 64 bits, as far as they are used.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            crate::fault::step();
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            crate::fault::step();
            self.0.store(value, order);
        }
    }

    /// loom's cell, whose guards are what sees a data race.
    #[derive(Debug)]
    pub(crate) struct Watch(loom::cell::UnsafeCell<()>);

    pub(crate) type Reading = loom::cell::ConstPtr<()>;
    pub(crate) type Writing = loom::cell::MutPtr<()>;

    impl Watch {
        pub(crate) fn new() -> Self {
            Self(loom::cell::UnsafeCell::new(()))
        }

        pub(crate) fn read(&self) -> Reading {
            self.0.get()
        }

        pub(crate) fn write(&self) -> Writing {
            self.0.get_mut()
        }
    }
}
