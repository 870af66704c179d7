//! A camera frame as Python holds it.

use crate::errors::{Forked, Released};
use crate::numbers::in_seconds;
use crate::places::Pin;
use crate::shared::Birth;
use core::ffi::c_int;
use lkas_messages::PixelFormat;
use lkas_shm::clock;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn format_name(format: PixelFormat) -> &'static str {
    match format {
        PixelFormat::Bgr8 => "bgr8",
        PixelFormat::Gray8 => "gray8",
        _ => "rgb8",
    }
}

/// A function of numpy, looked up once.
pub(crate) fn numpy<'py>(
    py: Python<'py>,
    cell: &PyOnceLock<Py<PyAny>>,
    name: &'static str,
) -> PyResult<Bound<'py, PyAny>> {
    let function = cell.get_or_try_init(py, || py.import("numpy")?.getattr(name).map(Bound::unbind))?;
    Ok(function.bind(py).clone())
}

/// The pixels of a frame in shared memory: whoever has a view of it keeps the frame as it is.
#[pyclass(frozen, module = "lkas_channels._native", name = "_Pixels")]
pub(crate) struct Pixels {
    pin: Pin,
    born: Birth,
    shape: [ffi::Py_ssize_t; 3],
    strides: [ffi::Py_ssize_t; 3],
}

impl Pixels {
    fn new(pin: Pin) -> Option<Self> {
        let shape = pin.view()?.shape();
        let (width, channels) = (shape.width() as isize, shape.format().channels() as isize);
        let (shape, strides) = ([shape.height() as isize, width, channels], [width * channels, channels, 1]);
        Some(Self { pin, born: Birth::now(), shape, strides })
    }

    /// A forked child has no memory where the pixels were.
    fn check_fork(&self) -> PyResult<()> {
        if self.born.is_here() {
            return Ok(());
        }
        Err(Forked::new_err(
            "the frame belongs to the process that this one was forked from; open its channel again here, or copy() it \
             before the fork",
        ))
    }
}

#[pymethods]
impl Pixels {
    /// # Safety
    /// Called by the interpreter: `view` is its own to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a frame is read-only: others look at it too; use its copy()"));
        }
        if flags & ffi::PyBUF_F_CONTIGUOUS == ffi::PyBUF_F_CONTIGUOUS {
            return Err(PyBufferError::new_err(
                "a frame's rows lie one after the other, not its columns; use its copy()",
            ));
        }
        let pixels = slf.get();
        pixels.check_fork()?;
        let Some(image) = pixels.pin.view() else {
            return Err(PyBufferError::new_err("the frame describes no image: its memory was damaged"));
        };
        let has = |wanted| flags & wanted == wanted;
        // SAFETY: the interpreter's own view. What it points to lives as long as this object, which the view refers to.
        let view = unsafe { &mut *view };
        view.buf = image.pixels().as_ptr().cast_mut().cast();
        view.len = image.pixels().len() as isize;
        view.readonly = 1;
        view.itemsize = 1;
        view.format = if has(ffi::PyBUF_FORMAT) { c"B".as_ptr().cast_mut() } else { core::ptr::null_mut() };
        view.ndim = if has(ffi::PyBUF_ND) { 3 } else { 1 };
        let none = core::ptr::null_mut();
        view.shape = if has(ffi::PyBUF_ND) { pixels.shape.as_ptr().cast_mut() } else { none };
        view.strides = if has(ffi::PyBUF_STRIDES) { pixels.strides.as_ptr().cast_mut() } else { none };
        view.suboffsets = none;
        view.internal = core::ptr::null_mut();
        view.obj = slf.into_any().into_ptr();
        Ok(())
    }
}

/// One camera frame, as it lies in shared memory.
///
/// `image` is a view of shared memory, not a copy. The view, every slice of it, and everything else that uses the
/// frame's buffer keep the frame as it is, for as long as they live; the writer never waits for them. Leave a frame by
/// `with`, `close()`, or by forgetting it: then its place in the reader is free for another, unless a view is left.
#[pyclass(frozen, module = "lkas_channels")]
pub(crate) struct Frame {
    pixels: Mutex<Option<Py<Pixels>>>,
    /// The number that its source gave it.
    #[pyo3(get)]
    frame_id: u64,
    /// The instant that it shows, in seconds of the monotonic clock: compare it with `lkas_channels.now()`.
    #[pyo3(get)]
    timestamp: f64,
    /// The number of its publish on the channel, from 1. It only rises; a gap is what was missed.
    #[pyo3(get)]
    sequence: u64,
    /// `(height, width, channels)`.
    #[pyo3(get)]
    shape: (u32, u32, u32),
    format: PixelFormat,
    published: u64,
}

impl Frame {
    /// `None` where the slot describes no image.
    pub(crate) fn new(py: Python<'_>, pin: Pin) -> PyResult<Option<Self>> {
        let Some(shape) = pin.view().map(|view| view.shape()) else { return Ok(None) };
        let (frame_id, timestamp) = (pin.frame_id(), pin.timestamp());
        let (sequence, published, format) = (pin.sequence(), pin.published(), shape.format());
        let shape = (shape.height(), shape.width(), format.channels());
        let Some(pixels) = Pixels::new(pin) else { return Ok(None) };
        let pixels = Mutex::new(Some(Py::new(py, pixels)?));
        Ok(Some(Self { pixels, frame_id, timestamp, sequence, shape, format, published }))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Py<Pixels>>> {
        self.pixels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pixels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Pixels>> {
        let pixels = self.slot().as_ref().map(|pixels| pixels.clone_ref(py).into_bound(py));
        if let Some(pixels) = &pixels {
            pixels.get().check_fork()?;
        }
        let why = || format!("frame {} is closed; copy() what is needed for longer", self.frame_id);
        pixels.ok_or_else(|| Released::new_err(why()))
    }
}

#[pymethods]
impl Frame {
    /// The pixels: an array of shape `(height, width, channels)` and type uint8 over shared memory, read-only.
    ///
    /// Raises Released once the frame is closed.
    #[getter]
    fn image<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static ASARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        numpy(py, &ASARRAY, "asarray")?.call1((self.pixels(py)?,))
    }

    /// The pixels as an array of one's own, which may be written to and outlives everything.
    ///
    /// Raises Released once the frame is closed.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        numpy(py, &ARRAY, "array")?.call1((self.pixels(py)?,))
    }

    /// For numpy, which would make something else of a frame that is closed than an error.
    #[pyo3(signature = (dtype = None, copy = None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = if copy == Some(true) { self.copy(py)? } else { self.image(py)? };
        match dtype {
            Some(dtype) => array.call_method1("astype", (dtype,)),
            None => Ok(array),
        }
    }

    /// What the bytes of a pixel are: "rgb8", "bgr8" or "gray8".
    #[getter]
    fn format(&self) -> &'static str {
        format_name(self.format)
    }

    /// Seconds since it was published, now.
    #[getter]
    fn age(&self) -> f64 {
        let (now, published) = (clock::now(), self.published);
        if now >= published { in_seconds(now - published) } else { -in_seconds(published - now) }
    }

    /// Whether `close()` was called, or its `with` left.
    #[getter]
    fn closed(&self) -> bool {
        self.slot().is_none()
    }

    /// Whether header and pixels are those that were published together, by their check value. Reads every byte. In a
    /// channel of frames without check values, whether it describes an image at all.
    ///
    /// Raises Released once the frame is closed.
    fn is_whole(&self, py: Python<'_>) -> PyResult<bool> {
        let pixels = self.pixels(py)?;
        let pixels = pixels.get();
        Ok(py.detach(|| pixels.pin.is_whole()))
    }

    /// Gives the frame back. Arrays that were made of it stay as they are and keep it in use until they are gone.
    fn close(&self) {
        let pixels = self.slot().take();
        drop(pixels);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let (height, width, _) = self.shape;
        let closed = if self.closed() { ", closed" } else { "" };
        format!("<Frame {} of {width}x{height} {}, sequence {}{closed}>", self.frame_id, self.format(), self.sequence)
    }

    /// # Safety
    /// Called by the interpreter: `view` is its own to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let pixels = slf.get().pixels(slf.py())?;
        // SAFETY: redirected to the object that has the pixels, which the view refers to then.
        let filled = unsafe { ffi::PyObject_GetBuffer(pixels.as_ptr(), view, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
