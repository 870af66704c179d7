//! The only file that names atomics and cells: core's, or loom's when models are checked (`--cfg lkas_loom`).

#[cfg(all(target_has_atomic = "32", not(lkas_loom)))]
pub use core::sync::atomic::AtomicU32;
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

/// A value in a pair of cache lines of its own, so that nobody else's writes disturb it. Without an operating system memory
/// is dearer than that: there values lie side by side, which costs time only where several cores have caches.
#[cfg(not(target_os = "none"))]
pub(crate) use crossbeam_utils::CachePadded as Padded;
#[cfg(target_os = "none")]
pub(crate) use unpadded::Padded;

#[cfg(target_os = "none")]
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

#[cfg(not(lkas_loom))]
pub(crate) use plain::{ConstPtr, MutPtr, UnsafeCell};

#[cfg(lkas_loom)]
pub use checked::AtomicU32;
#[cfg(lkas_loom)]
pub(crate) use loom::cell::{ConstPtr, MutPtr, UnsafeCell};

/// loom's cell interface over core's cell: the guards cost nothing here, and under loom they are what sees a data race.
#[cfg(not(lkas_loom))]
mod plain {
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        #[inline]
        pub(crate) fn get(&self) -> ConstPtr<T> {
            ConstPtr(self.0.get())
        }

        #[inline]
        pub(crate) fn get_mut(&self) -> MutPtr<T> {
            MutPtr(self.0.get())
        }
    }

    #[derive(Debug)]
    pub(crate) struct ConstPtr<T>(*const T);

    impl<T> ConstPtr<T> {
        #[inline]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0)
        }
    }

    #[derive(Debug)]
    pub(crate) struct MutPtr<T>(*mut T);

    impl<T> MutPtr<T> {
        #[inline]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0)
        }
    }
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
}
