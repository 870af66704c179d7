//! The only file that names atomics and cells: core's, or loom's when models are checked (`--cfg lkas_loom`).

#[cfg(not(lkas_loom))]
pub use core::sync::atomic::AtomicU32;
pub(crate) use core::sync::atomic::Ordering;

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

        /// Reads the word.
        pub fn load(&self, order: Ordering) -> u32 {
            crate::fault::step();
            self.0.load(order)
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
