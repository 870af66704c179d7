//! Readers of detections and controls.

use crate::control::Control;
use crate::detection::Detection;
use crate::errors;
use crate::image_reader::check_age;
use crate::numbers::{in_seconds, seconds};
use crate::shared::{self, Shared};
use core::time::Duration;
use lkas_core::Payload;
use lkas_shm::{ControlChannel, DetectionChannel, Feed, OpenError, OpenOptions, clock};
use pyo3::prelude::*;

/// How often a feed is asked to look for its channel's name, in nanoseconds.
const LOOK_EVERY: u64 = 100_000_000;

/// A message that knows whether it is whole.
pub(crate) trait Whole: Payload + Copy {
    fn is_whole(&self) -> bool;
}

impl Whole for lkas_messages::Detection {
    fn is_whole(&self) -> bool {
        self.is_whole()
    }
}

impl Whole for lkas_messages::Control {
    fn is_whole(&self) -> bool {
        self.is_whole()
    }
}

/// A value as it arrived.
#[derive(Clone, Copy)]
pub(crate) struct Arrived<T> {
    pub(crate) value: T,
    pub(crate) sequence: u64,
    pub(crate) published: u64,
}

/// A feed of whole values that keeps the last one.
pub(crate) struct Values<T: Whole> {
    feed: Feed<T>,
    last: Option<Arrived<T>>,
    /// The last one was not handed out yet.
    fresh: bool,
    overtaken: u64,
    damaged: u64,
    looked: u64,
}

impl<T: Whole> Values<T> {
    fn new(feed: Feed<T>) -> Self {
        Self { feed, last: None, fresh: false, overtaken: 0, damaged: 0, looked: clock::now() }
    }

    /// Takes what is there, if anything new is; waits at most `timeout` for it.
    fn receive(&mut self, timeout: Duration) -> Result<(), OpenError> {
        if timeout.is_zero() {
            // The short way where nothing is new, but for a look at the name now and then.
            let quiet = self.feed.reader().is_some_and(|reader| !reader.has_fresh() && !reader.is_retired());
            if quiet {
                let now = clock::now();
                if now.saturating_sub(self.looked) < LOOK_EVERY {
                    return Ok(());
                }
                self.looked = now;
            }
        }
        let attached = self.feed.find(timeout)?;
        if !attached {
            return Ok(());
        }
        let Some(sample) = self.feed.next(timeout)? else { return Ok(()) };
        if !sample.is_whole() {
            self.damaged += 1;
            return Ok(());
        }
        self.overtaken += u64::from(self.fresh);
        self.last = Some(Arrived { value: *sample, sequence: sample.sequence(), published: sample.time() });
        self.fresh = true;
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Arrived<T>>, OpenError> {
        self.receive(Duration::ZERO)?;
        Ok(self.last.filter(|_| core::mem::take(&mut self.fresh)))
    }

    fn latest(&mut self) -> Result<Option<Arrived<T>>, OpenError> {
        self.receive(Duration::ZERO)?;
        self.fresh = false;
        Ok(self.last)
    }

    fn wait(&mut self, timeout: Duration) -> Result<bool, OpenError> {
        if !self.fresh {
            self.receive(timeout)?;
        }
        Ok(self.fresh)
    }
}

macro_rules! value_reader {
    ($(#[$doc:meta])* $class:ident, $value:ident, $channel:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, weakref, module = "lkas_channels")]
        pub(crate) struct $class {
            values: Shared<Values<lkas_messages::$value>>,
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (name, *, wait = 0.0, namespace = "", place = None, foreign_owner = false))]
            fn new(
                py: Python<'_>,
                name: &str,
                wait: f64,
                namespace: &str,
                place: Option<usize>,
                foreign_owner: bool,
            ) -> PyResult<Self> {
                let name = shared::channel_name(namespace, name)?;
                let options = shared::with_place(OpenOptions::new().foreign_owner(foreign_owner), place);
                let options = options.grace(Duration::ZERO);
                let feed = shared::open_within(py, wait, options, |options| {
                    let mut feed = Feed::new(name.clone(), $channel::open).with_options(options);
                    if feed.find(options.patience)? { Ok(feed) } else { Err(OpenError::NoSuchChannel { name: name.clone() }) }
                })?;
                Ok(Self { values: Shared::new("reader", name.to_string(), Values::new(feed)) })
            }

            /// The newest value, if this reader has not had it yet; None otherwise. Never waits.
            fn take(&self, py: Python<'_>) -> PyResult<Option<$value>> {
                let taken = self.values.with(py, |values| values.take().map_err(errors::open))?;
                Ok(taken.map(|arrived| $value { message: arrived.value }))
            }

            /// The newest value, whether or not it was had before; None before the first. Never waits.
            ///
            /// Raises Stale where it was published more than `max_age` seconds ago.
            #[pyo3(signature = (max_age = None))]
            fn latest(&self, py: Python<'_>, max_age: Option<f64>) -> PyResult<Option<$value>> {
                let max_age = max_age.map(|age| seconds("max_age", age)).transpose()?;
                let latest = self.values.with(py, |values| values.latest().map_err(errors::open))?;
                if let (Some(max_age), Some(arrived)) = (max_age, &latest) {
                    check_age(self.values.name(), arrived.published, max_age)?;
                }
                Ok(latest.map(|arrived| $value { message: arrived.value }))
            }

            /// Waits until there is something to take, at most `timeout` seconds; for ever where that is None. Whether
            /// there is.
            ///
            /// Other threads run meanwhile, and signals are handled within 50 ms. Ends with False where another thread
            /// closes the reader.
            #[pyo3(signature = (timeout = None))]
            fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
                self.values.wait(py, timeout, |values, left| values.wait(left).map_err(errors::open))
            }

            /// Iterates over values, each the newest at its time; waits for each at most `timeout` seconds. Ends when
            /// the reader is closed.
            ///
            /// Raises Stale where none came in time.
            #[pyo3(signature = (timeout = None))]
            fn values<'py>(slf: Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
                slf.py().import("lkas_channels._iteration")?.call_method1("values", (slf, timeout))
            }

            fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
                Self::values(slf, None)
            }

            fn __aiter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
                slf.py().import("lkas_channels._iteration")?.call_method1("async_values", (slf,))
            }

            /// The channel's name, with its namespace.
            #[getter]
            fn name(&self) -> &str {
                self.values.name()
            }

            /// How many values were published and replaced before this reader took them.
            #[getter]
            fn missed(&self, py: Python<'_>) -> PyResult<u64> {
                self.values.with(py, |values| Ok(values.feed.missed() + values.overtaken))
            }

            /// How many values were not whole, and left out.
            #[getter]
            fn damaged(&self, py: Python<'_>) -> PyResult<u64> {
                self.values.with(py, |values| Ok(values.damaged))
            }

            /// The number of the publish of the last value that was taken; 0 before the first.
            #[getter]
            fn sequence(&self, py: Python<'_>) -> PyResult<u64> {
                self.values.with(py, |values| Ok(values.last.map_or(0, |last| last.sequence)))
            }

            /// Seconds since the last value that arrived was published; None before the first.
            #[getter]
            fn age(&self, py: Python<'_>) -> PyResult<Option<f64>> {
                let last = self.values.with(py, |values| Ok(values.last))?;
                let now = clock::now();
                Ok(last.map(|last| in_seconds(now) - in_seconds(last.published)))
            }

            /// Whether some process is the channel's writer now, running or suspended.
            #[getter]
            fn writer_alive(&self, py: Python<'_>) -> PyResult<bool> {
                self.values.with(py, |values| Ok(values.feed.reader().is_some_and(|reader| reader.has_writer())))
            }

            /// Whether `close()` was called.
            #[getter]
            fn closed(&self) -> bool {
                self.values.is_closed()
            }

            /// Gives the reader place back.
            fn close(&self, py: Python<'_>) {
                self.values.close(py);
            }

            fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
                slf
            }

            #[pyo3(signature = (*_why))]
            fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
                self.close(py);
            }

            fn __repr__(&self) -> String {
                let closed = if self.closed() { ", closed" } else { "" };
                format!("<{} of {}{closed}>", stringify!($class), self.name())
            }
        }
    };
}

value_reader!(
    /// A reader of the channel `name` of detections. It takes one reader place.
    ///
    /// It always has the newest value, never a queue of old ones, and follows its channel when that is replaced.
    ///
    /// `wait`: seconds to wait for the channel to be there. `namespace`: prefix of the name, one for each system. `place`: the
    /// number of a reader place to ask for, which may be a reserved one; where it is taken, any that is not reserved.
    /// `foreign_owner`: whether the channel may belong to another user.
    ///
    /// Raises NoChannel where there is none, WrongType where it carries something else, NoPlace where all of its reader
    /// places are taken.
    DetectionReader, Detection, DetectionChannel
);
value_reader!(
    /// A reader of the channel `name` of controls. It takes one reader place.
    ///
    /// It always has the newest value, never a queue of old ones, and follows its channel when that is replaced. What
    /// moves a vehicle uses a ControlSupervisor instead, which stops the vehicle when controls stop coming.
    ///
    /// `wait`: seconds to wait for the channel to be there. `namespace`: prefix of the name, one for each system. `place`: the
    /// number of a reader place to ask for, which may be a reserved one; where it is taken, any that is not reserved.
    /// `foreign_owner`: whether the channel may belong to another user.
    ///
    /// Raises NoChannel where there is none, WrongType where it carries something else, NoPlace where all of its reader
    /// places are taken.
    ControlReader, Control, ControlChannel
);
