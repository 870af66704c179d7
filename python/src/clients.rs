//! The broker's clients as Python holds them.

use crate::broker::{dictionary, endpoint};
use crate::errors;
use crate::shared::Shared;
use lkas_messages::VehicleStateFields;
use lkas_messages::names::Category;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use std::sync::{Arc, Mutex, PoisonError};

fn socket(why: impl ToString) -> PyErr {
    PyOSError::new_err(why.to_string())
}

/// The exact number as Python's int where it has no fraction: OpenCV refuses 60.0 where it counts.
fn number(py: Python<'_>, value: f64) -> PyResult<Bound<'_, PyAny>> {
    if value.fract() == 0.0 && value.abs() < 9.0e15 {
        return Ok((value as i64).into_pyobject(py)?.into_any());
    }
    Ok(value.into_pyobject(py)?.into_any())
}

type Updates = Arc<Mutex<Vec<(&'static str, f64)>>>;

/// A server's side of parameters of `category`, "detection" or "decision": `poll` calls the callbacks with the name and
/// value of each that shall be in force. The broker need not be there yet; it sends the last values to whoever connects.
///
/// Values are finite and in the parameter's range; what has no fraction comes as an int.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct ParameterClient {
    client: Shared<lkas_zmq::ParameterClient>,
    updates: Updates,
    callbacks: Mutex<Vec<Py<PyAny>>>,
}

#[pymethods]
impl ParameterClient {
    #[new]
    #[pyo3(signature = (category, *, host = "127.0.0.1", base_port = 5557))]
    fn new(category: &str, host: &str, base_port: u16) -> PyResult<Self> {
        let category: Category = category.parse().map_err(errors::value)?;
        let updates = Updates::default();
        let sink = Arc::clone(&updates);
        let note = move |parameter: &'static lkas_messages::names::Parameter, value| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push((parameter.name, value));
        };
        let client = lkas_zmq::ParameterClient::connect(&endpoint(host, base_port), category, note);
        let client = Shared::new("parameter client", category.name().to_owned(), client.map_err(errors::value)?);
        Ok(Self { client, updates, callbacks: Mutex::default() })
    }

    /// Calls `callback(name, value)` for each value from now on, after those that were registered before.
    ///
    /// Raises TypeError where it can't be called.
    fn register_callback(&self, py: Python<'_>, callback: Bound<'_, PyAny>) -> PyResult<()> {
        errors::check_callable(&callback)?;
        self.client.with(py, |_| Ok(()))?;
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).push(callback.unbind());
        Ok(())
    }

    /// Calls back for what has arrived, in order. Never waits. How many values there were.
    ///
    /// An error that a callback raises is printed (`sys.unraisablehook`), and the next one is called. What is no `Exception`
    /// ends it, as Ctrl-C and `sys.exit()` do: then the next `poll` calls back for that value again, and for the rest.
    fn poll(&self, py: Python<'_>) -> PyResult<usize> {
        self.client.with(py, |client| client.poll().map_err(socket))?;
        let updates = core::mem::take(&mut *self.updates.lock().unwrap_or_else(PoisonError::into_inner));
        let callbacks: Vec<Py<PyAny>> = {
            let callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
            callbacks.iter().map(|callback| callback.clone_ref(py)).collect()
        };
        for (index, (name, value)) in updates.iter().enumerate() {
            let value = number(py, *value)?;
            for callback in &callbacks {
                let callback = callback.bind(py);
                let called = callback.call1((*name, &value)).map(drop);
                if let Err(why) = called.or_else(|why| errors::of_callback(callback, why)) {
                    let mut later = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
                    later.splice(..0, updates[index..].iter().copied());
                    return Err(why);
                }
            }
        }
        Ok(updates.len())
    }

    /// Waits until there is something to `poll`, at most `timeout` seconds. Whether there is.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.client.wait(py, timeout, |client, left| client.wait(left).map_err(socket))
    }

    /// How many messages were no values of this category, and why the last one was none.
    #[getter]
    fn refused(&self, py: Python<'_>) -> PyResult<(u64, Option<String>)> {
        self.client.with(py, |client| {
            let arrivals = client.arrivals();
            Ok((arrivals.refused, arrivals.last_refusal.as_ref().map(ToString::to_string)))
        })
    }

    /// Disconnects, and forgets the callbacks.
    fn close(&self, py: Python<'_>) {
        self.client.close(py);
        self.__clear__();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever has the lock is done with it before anything is collected, or keeps what it looks at alive.
        let Ok(callbacks) = self.callbacks.try_lock() else { return Ok(()) };
        callbacks.iter().try_for_each(|callback| visit.call(callback))
    }

    fn __clear__(&self) {
        let callbacks = core::mem::take(&mut *self.callbacks.lock().unwrap_or_else(PoisonError::into_inner));
        drop(callbacks);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }
}

/// The simulation's side of actions: "pause", "resume", "respawn". The broker need not be there yet.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct ActionClient {
    client: Shared<lkas_zmq::ActionClient>,
}

#[pymethods]
impl ActionClient {
    #[new]
    #[pyo3(signature = (*, host = "127.0.0.1", base_port = 5557))]
    fn new(host: &str, base_port: u16) -> PyResult<Self> {
        let client = lkas_zmq::ActionClient::connect(&endpoint(host, base_port)).map_err(errors::value)?;
        Ok(Self { client: Shared::new("action client", endpoint(host, base_port).to_string(), client) })
    }

    /// The next action that was asked for and its parameters; None if there is none now. Never waits.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<(String, Bound<'py, PyDict>)>> {
        let request = self.client.with(py, |client| client.poll().map_err(socket))?;
        let named = |request: lkas_zmq::wire::ActionRequest| {
            Ok((request.action.as_str().to_owned(), dictionary(py, &request.params)?))
        };
        request.map(named).transpose()
    }

    /// Waits until there is something to `poll`, at most `timeout` seconds. Whether there is.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.client.wait(py, timeout, |client, left| client.wait(left).map_err(socket))
    }

    /// Disconnects.
    fn close(&self, py: Python<'_>) {
        self.client.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }
}

/// The simulation's side of vehicle status. The broker need not be there yet.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct VehicleStatusClient {
    client: Shared<lkas_zmq::VehicleStatusClient>,
}

#[pymethods]
impl VehicleStatusClient {
    #[new]
    #[pyo3(signature = (*, host = "127.0.0.1", base_port = 5557))]
    fn new(host: &str, base_port: u16) -> PyResult<Self> {
        let client = lkas_zmq::VehicleStatusClient::connect(&endpoint(host, base_port)).map_err(errors::value)?;
        Ok(Self { client: Shared::new("status client", endpoint(host, base_port).to_string(), client) })
    }

    /// Sends what the vehicle does. `steering`: -1 (full left) to 1 (full right); `throttle` and `brake`: 0 to 1;
    /// `position`: x, y, z in metres; `rotation`: pitch, yaw, roll in degrees. False where the broker does not listen yet:
    /// then it is dropped. Never waits.
    #[pyo3(signature = (*, steering, throttle, brake, speed_kmh, position = None, rotation = None, paused = None))]
    #[allow(clippy::too_many_arguments)]
    fn send(
        &self,
        py: Python<'_>,
        steering: f32,
        throttle: f32,
        brake: f32,
        speed_kmh: f32,
        position: Option<[f32; 3]>,
        rotation: Option<[f32; 3]>,
        paused: Option<bool>,
    ) -> PyResult<bool> {
        let state = VehicleStateFields { steering, throttle, brake, speed_kmh, position, rotation, paused };
        self.client.with(py, |client| {
            client.send(&state).map_err(|why| match why {
                lkas_zmq::SendError::Refused(_) => errors::value(why),
                _ => socket(why),
            })
        })
    }

    /// Waits until the broker listens, at most `timeout` seconds. Whether it does.
    #[pyo3(signature = (timeout = None))]
    fn wait_connected(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.client.wait(py, timeout, |client, left| client.wait_connected(left).map_err(socket))
    }

    /// Disconnects.
    fn close(&self, py: Python<'_>) {
        self.client.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }
}
