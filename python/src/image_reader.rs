//! The reader of a camera channel.

use crate::errors::{self, Stale};
use crate::frame::Frame;
use crate::numbers::seconds;
use crate::places::{Places, Taken};
use crate::shared::{self, Shared};
use core::time::Duration;
use lkas_shm::{OpenOptions, clock};
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::prelude::*;

/// A reader of the camera frames of the channel `name`.
///
/// It always has the newest frame, never a queue of old ones, and follows its channel when that is replaced.
///
/// `wait`: seconds to wait for the channel to be there. `namespace`: prefix of the name, one for each system.
/// `places`: reader places of the channel that this takes, which is how many frames it can keep at a time. With two, the
/// last frame may still be in use while the next is taken, as in a `for` loop. `place`: the number of the first place to
/// ask for, which may be a reserved one; where it is taken, any that is not reserved. `foreign_owner`: whether the channel may
/// belong to another user.
///
/// Raises NoChannel where there is none, WrongType where it carries something else, NoPlace where all of its reader
/// places are taken.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct ImageReader {
    places: Shared<Places>,
}

impl ImageReader {
    fn frame(&self, py: Python<'_>, take: impl FnOnce(&mut Places) -> PyResult<Taken>) -> PyResult<Option<Frame>> {
        let taken = self.places.with(py, take)?;
        match taken {
            Taken::Frame(pin) => Frame::new(py, pin),
            Taken::Nothing => Ok(None),
            Taken::AllPinned => {
                let count = self.places.with(py, |places| Ok(places.count()))?;
                Err(PyBufferError::new_err(format!(
                    "all {count} frames that this reader of {} can keep are in use by arrays; drop one, copy() it, or open \
                     the reader with more places",
                    self.places.name()
                )))
            }
        }
    }
}

#[pymethods]
impl ImageReader {
    #[new]
    #[pyo3(signature = (name, *, wait = 0.0, namespace = "", places = 2, place = None, foreign_owner = false))]
    fn new(
        py: Python<'_>,
        name: &str,
        wait: f64,
        namespace: &str,
        places: usize,
        place: Option<usize>,
        foreign_owner: bool,
    ) -> PyResult<Self> {
        if !(1..=lkas_core::MAX_READERS).contains(&places) {
            let most = lkas_core::MAX_READERS;
            return Err(PyValueError::new_err(format!("places is {places}, expected 1 to {most}")));
        }
        let name = shared::channel_name(namespace, name)?;
        let options = shared::with_place(OpenOptions::new().foreign_owner(foreign_owner), place);
        let found = shared::open_within(py, wait, options, |options| Places::open(&name, options, places))?;
        Ok(Self { places: Shared::new("reader", name.to_string(), found) })
    }

    /// The newest frame, if this reader has not had it yet; None otherwise. Never waits.
    ///
    /// Raises BufferError where there is a new one and arrays use all frames that this reader can keep.
    fn take(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        self.frame(py, |places| places.take().map_err(errors::open))
    }

    /// The newest frame, whether or not it was had before; None before the first. Never waits.
    ///
    /// Raises Stale where it was published more than `max_age` seconds ago, and BufferError as `take`.
    #[pyo3(signature = (max_age = None))]
    fn latest(&self, py: Python<'_>, max_age: Option<f64>) -> PyResult<Option<Frame>> {
        let max_age = max_age.map(|age| seconds("max_age", age)).transpose()?;
        self.frame(py, |places| {
            let taken = places.latest().map_err(errors::open)?;
            if let (Some(max_age), Taken::Frame(pin)) = (max_age, &taken) {
                check_age(self.places.name(), pin.published(), max_age)?;
            }
            Ok(taken)
        })
    }

    /// Waits until there is something to take, at most `timeout` seconds; for ever where that is None. Whether there is.
    ///
    /// Other threads run meanwhile, and signals are handled within 50 ms. Ends with False where another thread closes
    /// the reader.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.places.wait(py, timeout, |places, left| places.wait(left).map_err(errors::open))
    }

    /// Iterates over frames, each the newest at its time; waits for each at most `timeout` seconds. Ends when the reader
    /// is closed.
    ///
    /// Raises Stale where none came in time. A frame may be used until the turn after its own; keep a copy() for longer.
    #[pyo3(signature = (timeout = None))]
    fn frames<'py>(slf: Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("lkas_channels._iteration")?.call_method1("values", (slf, timeout))
    }

    fn __iter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        Self::frames(slf, None)
    }

    fn __aiter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        slf.py().import("lkas_channels._iteration")?.call_method1("async_values", (slf,))
    }

    /// The channel's name, with its namespace.
    #[getter]
    fn name(&self) -> &str {
        self.places.name()
    }

    /// How many frames were published and replaced before this reader took them.
    #[getter]
    fn missed(&self, py: Python<'_>) -> PyResult<u64> {
        self.places.with(py, |places| Ok(places.missed()))
    }

    /// How many frames this reader can keep in use at a time.
    #[getter]
    fn places(&self, py: Python<'_>) -> PyResult<usize> {
        self.places.with(py, |places| Ok(places.count()))
    }

    /// How many are in use now, by frames that are not closed and by arrays.
    #[getter]
    fn pinned(&self, py: Python<'_>) -> PyResult<usize> {
        self.places.with(py, |places| Ok(places.pinned()))
    }

    /// How many frames described no image and were left out.
    #[getter]
    fn damaged(&self, py: Python<'_>) -> PyResult<u64> {
        self.places.with(py, |places| Ok(places.damaged()))
    }

    /// `(height, width, channels)` of the channel's frames.
    #[getter]
    fn shape(&self, py: Python<'_>) -> PyResult<(u32, u32, u32)> {
        let shape = self.places.with(py, |places| Ok(places.shape()))?;
        let unknown = || errors::ChannelError::new_err(format!("the channel {} says no shape", self.places.name()));
        shape.map(|shape| (shape.height(), shape.width(), shape.format().channels())).ok_or_else(unknown)
    }

    /// Whether some process is the channel's writer now, running or suspended.
    #[getter]
    fn writer_alive(&self, py: Python<'_>) -> PyResult<bool> {
        self.places.with(py, |places| Ok(places.has_writer()))
    }

    /// Whether `close()` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.places.is_closed()
    }

    /// Gives the reader places back, but for those whose frames are still in use. Frames and arrays stay as they are.
    fn close(&self, py: Python<'_>) {
        self.places.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<ImageReader of {}{}>", self.places.name(), if self.closed() { ", closed" } else { "" })
    }
}

/// # Errors
/// `Stale` where the value is older than `max_age`, or from the future: then its clock can't be trusted.
pub(crate) fn check_age(name: &str, published: u64, max_age: Duration) -> PyResult<()> {
    let Some(age) = clock::now().checked_sub(published).map(Duration::from_nanos) else {
        return Err(Stale::new_err(format!("the newest value of {name} is from the future; compare the clocks")));
    };
    if age <= max_age {
        return Ok(());
    }
    let (age, limit) = (age.as_secs_f64(), max_age.as_secs_f64());
    Err(Stale::new_err(format!(
        "the newest value of {name} is {age:.3} s old, expected at most {limit:.3} s; look at its writer"
    )))
}
