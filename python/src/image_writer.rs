//! The writer of a camera channel.

use crate::errors;
use crate::frame::{format_name, numpy};
use crate::shared::{self, Shared};
use crate::writers::{self, Named, WriterOptions};
use core::slice;
use lkas_messages::{Image, ImageShape, PixelFormat, UncheckedImage};
use lkas_shm::{CreateError, ImageChannel, PixelsError, UncheckedImageChannel, clock};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::sync::{Mutex, PoisonError};

/// The writer of the channel `name` of camera frames of `shape` `(height, width, channels)`.
///
/// `format`: what the bytes of a pixel are, "rgb8", "bgr8" or "gray8"; with None it is "rgb8" for three channels and
/// "gray8" for one. `namespace`: prefix of the name, one for each system. `readers`: how many reader places the channel
/// has, 1 to 29; an ImageReader takes two, and each costs the memory of a frame. `period` and `max_age`: what is
/// promised to readers, in seconds. `mode` and `group`: who takes part. `foreign_owner`: whether a channel of another
/// user is taken over. `grace`: seconds to ask again for the role of a process that was just killed. `checked`: whether
/// frames have a check value, by which a reader sees damage; without one they are written faster, for programs in Python
/// that trust their memory: those of lkas refuse such a channel.
///
/// Raises WriterExists where the channel has a writer that is alive.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct ImageWriter {
    writer: Shared<Sink>,
    shape: ImageShape,
    /// The memory of the last loan, to be used again.
    spare: Mutex<Option<Py<PyAny>>>,
}

/// A writer of frames with a check value, or without.
enum Sink {
    Checked(Named<Image>),
    Unchecked(Named<UncheckedImage>),
}

impl Sink {
    fn write(&mut self, frame_id: u64, timestamp: f64, pixels: &[u8]) -> Result<(), PixelsError> {
        match self {
            Self::Checked(named) => named.writer.write(frame_id, timestamp, pixels),
            Self::Unchecked(named) => named.writer.write(frame_id, timestamp, pixels),
        }
    }

    fn look(&mut self) -> Result<bool, CreateError> {
        match self {
            Self::Checked(named) => named.look(),
            Self::Unchecked(named) => named.look(),
        }
    }

    fn sequence(&self) -> u64 {
        match self {
            Self::Checked(named) => named.writer.sequence(),
            Self::Unchecked(named) => named.writer.sequence(),
        }
    }
}

fn image_shape((height, width, channels): (u32, u32, u32), format: Option<&str>) -> PyResult<ImageShape> {
    let format = match (format, channels) {
        (None | Some("rgb8"), 3) => PixelFormat::Rgb8,
        (Some("bgr8"), 3) => PixelFormat::Bgr8,
        (None | Some("gray8"), 1) => PixelFormat::Gray8,
        (format, channels) => {
            return Err(PyValueError::new_err(format!(
                "format {} with {channels} channels, expected rgb8 or bgr8 with 3, or gray8 with 1",
                format.unwrap_or("None")
            )));
        }
    };
    ImageShape::new(width, height, format).map_err(errors::value)
}

/// What an object is, for a person: the type of its elements where it has such.
fn described(object: &Bound<'_, PyAny>) -> String {
    let kind = object.getattr("dtype").and_then(|dtype| dtype.str());
    let kind = kind.or_else(|_| object.get_type().name());
    kind.map_or_else(|_| "something else".into(), |name| name.to_string())
}

/// The memory of an image.
///
/// # Errors
/// `TypeError` where it has none, or none of bytes; and what the object itself says, as a frame that is closed does.
pub(crate) fn image_buffer(image: &Bound<'_, PyAny>) -> PyResult<PyBuffer<u8>> {
    PyBuffer::get(image).map_err(|why| {
        let py = image.py();
        if !why.get_type(py).is(py.get_type::<PyTypeError>()) && !why.is_instance_of::<PyBufferError>(py) {
            return why;
        }
        PyTypeError::new_err(format!("an image of {}, expected an array or a buffer of uint8", described(image)))
    })
}

/// The memory of an image, or of a copy whose pixels lie one after the other. numpy makes it, without the interpreter's
/// lock.
pub(crate) fn contiguous(image: &Bound<'_, PyAny>, buffer: PyBuffer<u8>) -> PyResult<PyBuffer<u8>> {
    static CONTIGUOUS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if buffer.is_c_contiguous() {
        return Ok(buffer);
    }
    PyBuffer::get(&numpy(image.py(), &CONTIGUOUS, "ascontiguousarray")?.call1((image,))?)
}

/// The bytes of what is [`contiguous`]; none of what is not.
pub(crate) fn bytes_of(buffer: &PyBuffer<u8>) -> &[u8] {
    if !buffer.is_c_contiguous() || buffer.len_bytes() == 0 {
        return &[];
    }
    // SAFETY: contiguous memory of that many bytes, which the buffer keeps in place until it is dropped. Who writes to
    // the array meanwhile, from another thread, gets some of both images, as from any copy of it, and it is not whole.
    unsafe { slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) }
}

impl ImageWriter {
    /// Whether an array is as a loan's has to be: whoever had it may have made something else of it.
    fn fits(&self, image: &Bound<'_, PyAny>) -> bool {
        let (height, width, channels) = self.expected();
        PyBuffer::<u8>::get(image).is_ok_and(|buffer| {
            !buffer.readonly() && buffer.is_c_contiguous() && buffer.shape() == [height, width, channels]
        })
    }

    fn expected(&self) -> (usize, usize, usize) {
        let shape = self.shape;
        (shape.height() as usize, shape.width() as usize, shape.format().channels() as usize)
    }

    fn publish(&self, py: Python<'_>, frame_id: u64, timestamp: Option<f64>, pixels: &[u8]) -> PyResult<()> {
        let timestamp = checked_time(timestamp)?;
        let moved = self.writer.detached(py, |sink| {
            sink.write(frame_id, timestamp, pixels).map_err(errors::value)?;
            sink.look().map_err(errors::create)
        })?;
        if moved { writers::warn_moved(py, self.writer.name()) } else { Ok(()) }
    }
}

fn checked_time(timestamp: Option<f64>) -> PyResult<f64> {
    match timestamp {
        None => Ok(clock::now_seconds()),
        Some(timestamp) if timestamp.is_finite() => Ok(timestamp),
        Some(timestamp) => Err(PyValueError::new_err(format!("timestamp is {timestamp}, expected a finite number"))),
    }
}

#[pymethods]
impl ImageWriter {
    #[new]
    #[pyo3(signature = (name, shape, *, format = None, namespace = "", readers = 8, period = None, max_age = None,
        mode = 0o600, group = None, foreign_owner = false, grace = 1.0, checked = true))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        name: &str,
        shape: (u32, u32, u32),
        format: Option<&str>,
        namespace: &str,
        readers: usize,
        period: Option<f64>,
        max_age: Option<f64>,
        mode: u32,
        group: Option<u32>,
        foreign_owner: bool,
        grace: f64,
        checked: bool,
    ) -> PyResult<Self> {
        let shape = image_shape(shape, format)?;
        let name = shared::channel_name(namespace, name)?;
        let options = WriterOptions { readers, period, max_age, mode, group, foreign_owner, grace }.checked()?;
        let sink = if checked {
            Sink::Checked(writers::create(py, &name, options, |options| ImageChannel::create(&name, shape, options))?)
        } else {
            Sink::Unchecked(writers::create(py, &name, options, |options| {
                UncheckedImageChannel::create(&name, shape, options)
            })?)
        };
        Ok(Self { writer: Shared::new("writer", name.to_string(), sink), shape, spare: Mutex::new(None) })
    }

    /// Publishes a copy of `image`: an array or another buffer of uint8 in the channel's shape; `(height, width)` will do
    /// where there is one channel. Never waits for a reader; other threads run while it copies.
    ///
    /// `timestamp`: the instant that it shows, in seconds of the monotonic clock (`lkas_channels.now()`); None is now.
    ///
    /// Raises TypeError and ValueError where the image is of another type or shape.
    #[pyo3(signature = (image, frame_id, timestamp = None))]
    fn write(&self, py: Python<'_>, image: &Bound<'_, PyAny>, frame_id: u64, timestamp: Option<f64>) -> PyResult<()> {
        let buffer = image_buffer(image)?;
        let (height, width, channels) = self.expected();
        let fits = match *buffer.shape() {
            [h, w, c] => (h, w, c) == (height, width, channels),
            [h, w] => channels == 1 && (h, w) == (height, width),
            _ => false,
        };
        if !fits {
            return Err(PyValueError::new_err(format!(
                "an image of shape {:?}, expected ({height}, {width}, {channels}); create the channel in the other shape, or \
                 resize the image",
                buffer.shape()
            )));
        }
        let buffer = contiguous(image, buffer)?;
        self.publish(py, frame_id, timestamp, bytes_of(&buffer))
    }

    /// An array to fill within `with`, which is published at its end; where an exception ends it, nothing is.
    ///
    /// It begins black, or as an earlier loan left it: fill all of it, and raise where there is nothing to fill it with.
    /// `timestamp`: as for `write`; None is the moment of this call.
    #[pyo3(signature = (frame_id, timestamp = None))]
    fn loan(slf: Bound<'_, Self>, frame_id: u64, timestamp: Option<f64>) -> PyResult<Loan> {
        static ZEROS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = slf.py();
        let timestamp = checked_time(timestamp)?;
        let spare = slf.get().spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        // SAFETY: an object that this has a reference to. With no other reference, no array uses its memory.
        let is_unused = |image: &Py<PyAny>| unsafe { pyo3::ffi::Py_REFCNT(image.as_ptr()) } == 1;
        let image = match spare.filter(is_unused).filter(|image| slf.get().fits(image.bind(py))) {
            Some(image) => image,
            None => numpy(py, &ZEROS, "zeros")?.call1((slf.get().expected(), "uint8"))?.unbind(),
        };
        Ok(Loan { writer: slf.unbind(), image: Mutex::new(Some(image)), frame_id, timestamp })
    }

    /// `(height, width, channels)`.
    #[getter]
    fn shape(&self) -> (usize, usize, usize) {
        self.expected()
    }

    /// What the bytes of a pixel are: "rgb8", "bgr8" or "gray8".
    #[getter]
    fn format(&self) -> &'static str {
        format_name(self.shape.format())
    }

    /// The number of the newest publish; 0 before the first. Goes on where a predecessor was.
    #[getter]
    fn sequence(&self, py: Python<'_>) -> PyResult<u64> {
        self.writer.with(py, |sink| Ok(sink.sequence()))
    }

    /// The channel's name, with its namespace.
    #[getter]
    fn name(&self) -> &str {
        self.writer.name()
    }

    /// Whether `close()` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.writer.is_closed()
    }

    /// Ends the role in good order: readers learn that no more will come. The channel stays for a successor.
    fn close(&self, py: Python<'_>) {
        self.writer.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<ImageWriter of {}, {}{}>", self.name(), self.shape, if self.closed() { ", closed" } else { "" })
    }
}

/// A frame to be filled and published. See `ImageWriter.loan`.
#[pyclass(frozen, module = "lkas_channels")]
pub(crate) struct Loan {
    writer: Py<ImageWriter>,
    image: Mutex<Option<Py<PyAny>>>,
    /// The number that the frame will have.
    #[pyo3(get)]
    frame_id: u64,
    /// The instant that it shows, in seconds of the monotonic clock.
    #[pyo3(get)]
    timestamp: f64,
}

#[pymethods]
impl Loan {
    /// The array to fill, of the channel's shape. Its memory is its own: what is done to it after the end of the loan
    /// changes no frame.
    ///
    /// Raises Released after the end.
    #[getter]
    fn image(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = || errors::Released::new_err(format!("the loan of frame {} has ended", self.frame_id));
        image.as_ref().map(|image| image.clone_ref(py)).ok_or_else(ended)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (kind, *_why))]
    fn __exit__(
        &self,
        py: Python<'_>,
        kind: Option<&Bound<'_, PyAny>>,
        _why: &Bound<'_, pyo3::types::PyTuple>,
    ) -> PyResult<()> {
        let image = self.image.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(image) = image else { return Ok(()) };
        let writer = self.writer.get();
        if kind.is_none() {
            writer.write(py, image.bind(py), self.frame_id, Some(self.timestamp))?;
        }
        let before = writer.spare.lock().unwrap_or_else(PoisonError::into_inner).replace(image);
        // Without the lock: what is told of its end may ask for a loan.
        drop(before);
        Ok(())
    }
}
