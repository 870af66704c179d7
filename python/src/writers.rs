//! Writers: of values, and what the writer of images shares with them.

use crate::control::Control;
use crate::detection::Detection;
use crate::errors;
use crate::numbers::seconds;
use crate::shared::{self, SLICE, Shared};
use lkas_core::Payload;
use lkas_shm::{Contract, ControlChannel, CreateError, DetectionChannel, NameCheck, Options, Writer, clock};
use pyo3::exceptions::{PyRuntimeWarning, PyValueError};
use pyo3::prelude::*;
use std::time::Instant;

/// How often a writer looks whether its channel still has its name, in nanoseconds.
const LOOK_EVERY: u64 = 1_000_000_000;

/// What all writers are made with.
pub(crate) struct WriterOptions {
    pub(crate) readers: usize,
    pub(crate) period: Option<f64>,
    pub(crate) max_age: Option<f64>,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
    pub(crate) foreign_owner: bool,
    pub(crate) grace: f64,
}

impl WriterOptions {
    pub(crate) fn checked(&self) -> PyResult<Options> {
        let mut options = Options::new().readers(self.readers).mode(self.mode).foreign_owner(self.foreign_owner);
        options = options.grace(seconds("grace", self.grace)?);
        if let Some(group) = self.group {
            options = options.group(group);
        }
        match (self.period, self.max_age) {
            (None, None) => Ok(options),
            (Some(period), Some(max_age)) => {
                let contract = Contract::new(seconds("period", period)?, seconds("max_age", max_age)?);
                Ok(options.contract(contract.map_err(errors::value)?))
            }
            _ => Err(PyValueError::new_err("a contract is period and max_age, expected both or neither")),
        }
    }
}

/// A writer that looks after its name.
pub(crate) struct Named<T: Payload + ?Sized> {
    pub(crate) writer: Writer<T>,
    looked: u64,
}

impl<T: Payload + ?Sized> Named<T> {
    pub(crate) fn new(writer: Writer<T>) -> Self {
        Self { writer, looked: clock::now() }
    }

    /// Once a second: puts the channel under its name again where somebody removed it. Whether that was so.
    ///
    /// # Errors
    /// Another writer has the name, or the system refuses.
    pub(crate) fn look(&mut self) -> Result<bool, CreateError> {
        let now = clock::now();
        if now.saturating_sub(self.looked) < LOOK_EVERY {
            return Ok(false);
        }
        self.looked = now;
        Ok(self.writer.check_name()? == NameCheck::Moved)
    }
}

/// Says that a channel has moved.
pub(crate) fn warn_moved(py: Python<'_>, name: &str) -> PyResult<()> {
    let text = format!("somebody removed the channel {name} from /dev/shm; it was created again\0");
    let text = core::ffi::CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or(c"a channel was created again");
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), text, 1)
}

/// Publishes by `publish`, then looks after the name.
pub(crate) fn publish<T: Payload + ?Sized + 'static>(
    py: Python<'_>,
    shared: &Shared<Named<T>>,
    publish: impl FnOnce(&mut Writer<T>) -> PyResult<()>,
) -> PyResult<()>
where
    Named<T>: Send,
{
    let moved = shared.with(py, |named| {
        publish(&mut named.writer)?;
        named.look().map_err(errors::create)
    })?;
    if moved { warn_moved(py, shared.name()) } else { Ok(()) }
}

/// Creates a channel without the interpreter: it may wait for a predecessor's role to become free. Meanwhile, Python
/// handles its signals.
pub(crate) fn create<T: Payload + ?Sized + 'static>(
    py: Python<'_>,
    name: &lkas_shm::ChannelName,
    options: Options,
    create: impl Fn(Options) -> Result<Writer<T>, CreateError> + Sync,
) -> PyResult<Named<T>>
where
    Named<T>: Send,
{
    let start = Instant::now();
    let writer = loop {
        let left = options.grace.saturating_sub(start.elapsed());
        match py.detach(|| create(options.grace(left.min(SLICE)))) {
            Err(CreateError::HasWriter { .. }) if start.elapsed() < options.grace => py.check_signals()?,
            found => break found.map_err(errors::create)?,
        }
    };
    for warning in writer.warnings() {
        let text = std::ffi::CString::new(format!("channel {name}: {warning}")).unwrap_or_default();
        PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1)?;
    }
    Ok(Named::new(writer))
}

macro_rules! value_writer {
    ($(#[$doc:meta])* $class:ident, $value:ident, $channel:ident, $argument:ident) => {
        $(#[$doc])*
        #[pyclass(frozen, weakref, module = "lkas_channels")]
        pub(crate) struct $class {
            writer: Shared<Named<lkas_messages::$value>>,
        }

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (name, *, namespace = "", readers = 8, period = None, max_age = None, mode = 0o600,
                group = None, foreign_owner = false, grace = 1.0))]
            #[allow(clippy::too_many_arguments)]
            fn new(
                py: Python<'_>,
                name: &str,
                namespace: &str,
                readers: usize,
                period: Option<f64>,
                max_age: Option<f64>,
                mode: u32,
                group: Option<u32>,
                foreign_owner: bool,
                grace: f64,
            ) -> PyResult<Self> {
                let name = shared::channel_name(namespace, name)?;
                let options = WriterOptions { readers, period, max_age, mode, group, foreign_owner, grace }.checked()?;
                let writer = create(py, &name, options, |options| $channel::create(&name, options))?;
                Ok(Self { writer: Shared::new("writer", name.to_string(), writer) })
            }

            /// Publishes a value. Never waits for a reader.
            ///
            /// Raises WriterExists where somebody removed the channel from the system and another writer has its name.
            fn write(&self, py: Python<'_>, $argument: &Bound<'_, $value>) -> PyResult<()> {
                let message = $argument.get().message;
                publish(py, &self.writer, |writer| {
                    writer.publish(message);
                    Ok(())
                })
            }

            /// The number of the newest publish; 0 before the first. Goes on where a predecessor was.
            #[getter]
            fn sequence(&self, py: Python<'_>) -> PyResult<u64> {
                self.writer.with(py, |named| Ok(named.writer.sequence()))
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
                let closed = if self.closed() { ", closed" } else { "" };
                format!("<{} of {}{closed}>", stringify!($class), self.name())
            }
        }
    };
}

value_writer!(
    /// The writer of the channel `name` of detections.
    ///
    /// `namespace`: prefix of the name, one for each system. `readers`: how many reader places the channel has, 1 to 29.
    /// `period` and `max_age`: what is promised to readers, in seconds: how often a value comes, and how old the newest
    /// may be before nobody should act on it. `mode` and `group`: who takes part. `foreign_owner`: whether a channel of
    /// another user is taken over. `grace`: seconds to ask again for the role of a process that was just killed.
    ///
    /// Raises WriterExists where the channel has a writer that is alive.
    DetectionWriter, Detection, DetectionChannel, detection
);
value_writer!(
    /// The writer of the channel `name` of controls.
    ///
    /// `namespace`: prefix of the name, one for each system. `readers`: how many reader places the channel has, 1 to 29.
    /// `period` and `max_age`: what is promised to readers, in seconds: how often a value comes, and how old the newest
    /// may be before nobody should act on it. `mode` and `group`: who takes part. `foreign_owner`: whether a channel of
    /// another user is taken over. `grace`: seconds to ask again for the role of a process that was just killed.
    ///
    /// Raises WriterExists where the channel has a writer that is alive.
    ControlWriter, Control, ControlChannel, control
);
