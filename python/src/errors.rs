//! Errors of the channels as exceptions, which Python code defines: several have two bases.

use lkas_shm::{CreateError, HeaderError, OpenError, UnlinkError};
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;

pyo3::import_exception!(lkas_channels._errors, ChannelError);
pyo3::import_exception!(lkas_channels._errors, Forked);
pyo3::import_exception!(lkas_channels._errors, InUse);
pyo3::import_exception!(lkas_channels._errors, NoChannel);
pyo3::import_exception!(lkas_channels._errors, NoPlace);
pyo3::import_exception!(lkas_channels._errors, Released);
pyo3::import_exception!(lkas_channels._errors, Stale);
pyo3::import_exception!(lkas_channels._errors, WriterExists);
pyo3::import_exception!(lkas_channels._errors, WrongType);

fn is_type(why: &HeaderError) -> bool {
    matches!(why, HeaderError::Type { .. } | HeaderError::Shape { .. })
}

pub(crate) fn open(why: OpenError) -> PyErr {
    let text = why.to_string();
    match why {
        OpenError::NoSuchChannel { .. } => NoChannel::new_err(text),
        OpenError::NoPlace { .. } => NoPlace::new_err(text),
        OpenError::Forked { .. } => Forked::new_err(text),
        OpenError::Unusable { why, .. } if is_type(&why) => WrongType::new_err(text),
        _ => ChannelError::new_err(text),
    }
}

pub(crate) fn create(why: CreateError) -> PyErr {
    let text = why.to_string();
    match why {
        CreateError::HasWriter { .. } | CreateError::Retired { .. } => WriterExists::new_err(text),
        CreateError::Unusable { why, .. } if is_type(&why) => WrongType::new_err(text),
        CreateError::Mode { .. } | CreateError::Layout(_) => PyValueError::new_err(text),
        _ => ChannelError::new_err(text),
    }
}

pub(crate) fn unlink(why: UnlinkError) -> PyErr {
    match why {
        UnlinkError::InUse { .. } => InUse::new_err(why.to_string()),
        _ => ChannelError::new_err(why.to_string()),
    }
}

/// What a callback raised is printed where it is an error. What ends the program goes on: Ctrl-C, `sys.exit()`.
///
/// # Errors
/// What is no `Exception`.
pub(crate) fn of_callback(callback: &Bound<'_, PyAny>, why: PyErr) -> PyResult<()> {
    let py = callback.py();
    if !why.is_instance_of::<PyException>(py) {
        return Err(why);
    }
    why.write_unraisable(py, Some(callback));
    Ok(())
}

/// # Errors
/// `TypeError` where it can't be called.
pub(crate) fn check_callable(callback: &Bound<'_, PyAny>) -> PyResult<()> {
    if callback.is_callable() {
        return Ok(());
    }
    let kind = callback.get_type().name()?;
    Err(PyTypeError::new_err(format!("the callback is of type {kind}, expected a function or another callable")))
}

pub(crate) fn value(why: impl ToString) -> PyErr {
    PyValueError::new_err(why.to_string())
}
