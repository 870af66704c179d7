//! The broker as Python holds it.

use crate::detection::Detection;
use crate::errors;
use crate::image_writer::{bytes_of, contiguous, image_buffer};
use crate::shared::Shared;
use jpeg_encoder::{ColorType, Encoder, EncodingError};
use lkas_messages::names::{Category, Parameter};
use lkas_messages::{DetectionFields, VehicleState, VehicleStateFields};
use lkas_zmq::wire::{ActionRequest, FrameHeader};
use lkas_zmq::{Arrivals, BrokerOptions, Endpoint, Topic};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn endpoint(host: &str, base_port: u16) -> Endpoint {
    Endpoint { host: host.to_owned(), ..Endpoint::local(base_port) }
}

/// An object of JSON as a dictionary.
pub(crate) fn dictionary<'py>(
    py: Python<'py>,
    object: &serde_json::Map<String, serde_json::Value>,
) -> PyResult<Bound<'py, PyDict>> {
    let text = serde_json::to_string(object).map_err(errors::value)?;
    Ok(py.import("json")?.call_method1("loads", (text,))?.cast_into::<PyDict>()?)
}

/// A dictionary as JSON.
fn json(object: &Bound<'_, PyDict>) -> PyResult<serde_json::Value> {
    let text: String = object.py().import("json")?.call_method1("dumps", (object,))?.extract()?;
    serde_json::from_str(&text).map_err(|why| PyValueError::new_err(format!("no JSON: {why}; use finite numbers")))
}

type Requests = Arc<Mutex<Vec<ActionRequest>>>;

/// The broker of a system: binds the six ports from `base_port` on at `host`, passes parameters, actions and vehicle
/// states on, and broadcasts to viewers. Whoever owns it calls `poll()` regularly.
///
/// There is no authentication: it binds to this machine only, unless told otherwise.
///
/// Raises OSError where a port is in use, ValueError where the address is none.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct Broker {
    broker: Shared<lkas_zmq::Broker>,
    /// Actions that arrived and whose handlers were not called yet.
    requests: Requests,
    handlers: Mutex<BTreeMap<String, Option<Py<PyAny>>>>,
}

fn topic(name: &str) -> PyResult<Topic> {
    Topic::ALL.into_iter().find(|topic| topic.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Topic::ALL.iter().map(|topic| topic.name()).collect();
        PyValueError::new_err(format!("topic is \"{name}\", expected one of {}", names.join(", ")))
    })
}

fn parameter(category: &str, name: &str) -> PyResult<&'static Parameter> {
    let category: Category = category.parse().map_err(errors::value)?;
    Parameter::find(category, name).map_err(errors::value)
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[pymethods]
impl Broker {
    #[new]
    #[pyo3(signature = (*, host = "127.0.0.1", base_port = 5557))]
    fn new(py: Python<'_>, host: &str, base_port: u16) -> PyResult<Self> {
        let endpoint = endpoint(host, base_port);
        let text = endpoint.to_string();
        // Whoever names a host of a network means it, as with the first implementation.
        let bound = py.detach(|| lkas_zmq::Broker::bind(BrokerOptions::new(endpoint).insecure(true)));
        let broker = bound.map_err(|why| match why {
            lkas_zmq::BindError::Address(_) => errors::value(why),
            _ => PyOSError::new_err(why.to_string()),
        })?;
        let broker = Shared::new("broker", text, broker);
        Ok(Self { broker, requests: Requests::default(), handlers: Mutex::default() })
    }

    /// Accepts an action from now on: it is forwarded to the simulation, and `poll` calls `callback` with the action's
    /// parameters as keywords. None just forwards it.
    ///
    /// An error that a callback raises is printed (`sys.unraisablehook`), and the broker goes on. What is no `Exception` ends
    /// the `poll`, as Ctrl-C and `sys.exit()` do: the next one calls the handlers of what is left.
    ///
    /// Raises TypeError where it can't be called.
    #[pyo3(signature = (name, callback = None))]
    fn register_action(&self, py: Python<'_>, name: &str, callback: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        callback.as_ref().map_or(Ok(()), errors::check_callable)?;
        let callback = callback.map(Bound::unbind);
        let action = name.parse().map_err(errors::value)?;
        let requests = Arc::clone(&self.requests);
        self.broker.with(py, |broker| {
            broker.register_action(action, move |request| {
                requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
            });
            Ok(())
        })?;
        let before = self.handlers.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), callback);
        drop(before);
        Ok(())
    }

    /// Handles what has arrived and calls the handlers of actions. Never waits. How many messages there were.
    fn poll(&self, py: Python<'_>) -> PyResult<usize> {
        let count = self.broker.with(py, |broker| Ok(broker.poll().total()))?;
        // Without the broker's lock, so that a handler may use it.
        let requests = core::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner));
        let mut requests = requests.into_iter();
        while let Some(request) = requests.next() {
            let handler = {
                let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
                handlers.get(request.action.as_str()).and_then(|handler| handler.as_ref().map(|h| h.clone_ref(py)))
            };
            let Some(handler) = handler else { continue };
            let handler = handler.bind(py);
            let call = || handler.call((), Some(&dictionary(py, &request.params)?)).map(drop);
            if let Err(why) = call().or_else(|why| errors::of_callback(handler, why)) {
                self.requests.lock().unwrap_or_else(PoisonError::into_inner).splice(..0, requests);
                return Err(why);
            }
        }
        Ok(count)
    }

    /// Waits until there is something to `poll`, at most `timeout` seconds. Whether there is.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.broker.wait(py, timeout, |broker, left| Ok(broker.wait(left)))
    }

    /// Whether somebody was subscribed to `topic` at the last `poll`: "frame", "detection", "state", "telemetry",
    /// "parameter_status", "action_status", "status", "tick", "statistics", "typed_frame", "typed_detection" or "typed_state".
    fn has_viewers(&self, py: Python<'_>, topic: &str) -> PyResult<bool> {
        let topic = self::topic(topic)?;
        self.broker.with(py, |broker| Ok(broker.has_viewers(topic)))
    }

    /// Broadcasts a frame as JPEG of `quality` 1 to 100: an array or another buffer of uint8, `(height, width, 3)` or
    /// `(height, width)`. `format`: "rgb8" or "bgr8", which means nothing for gray. `timestamp`: in seconds since 1970; None is
    /// now. Encodes only where somebody watches, without the interpreter. Whether it was sent.
    ///
    /// Raises TypeError and ValueError where image, format or timestamp is none, whether or not somebody watches.
    #[pyo3(signature = (image, frame_id, *, timestamp = None, quality = 85, format = "rgb8"))]
    fn broadcast_frame(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        frame_id: u64,
        timestamp: Option<f64>,
        quality: u8,
        format: &str,
    ) -> PyResult<bool> {
        let buffer = image_buffer(image)?;
        let (height, width, color) = match (buffer.shape(), format) {
            (&[height, width, 3], "rgb8") => (height, width, ColorType::Rgb),
            (&[height, width, 3], "bgr8") => (height, width, ColorType::Bgr),
            (&([height, width] | [height, width, 1]), "rgb8" | "bgr8") => (height, width, ColorType::Luma),
            (shape, format) => {
                return Err(PyValueError::new_err(format!(
                    "an image of shape {shape:?} and format {format}, expected (height, width, 3) in rgb8 or bgr8, or \
                     (height, width)"
                )));
            }
        };
        let (Ok(width), Ok(height)) = (u16::try_from(width), u16::try_from(height)) else {
            return Err(PyValueError::new_err(format!("an image of {width}x{height}, expected sides of up to 65535")));
        };
        if width == 0 || height == 0 {
            return Err(PyValueError::new_err(format!("an image of {width}x{height}, expected at least one pixel")));
        }
        if let Some(timestamp) = timestamp.filter(|timestamp| !timestamp.is_finite()) {
            return Err(PyValueError::new_err(format!("timestamp is {timestamp}, expected a finite number")));
        }
        if !self.broker.with(py, |broker| Ok(broker.wants_frames()))? {
            return Ok(false);
        }
        let buffer = contiguous(image, buffer)?;
        let pixels = bytes_of(&buffer);
        // Without the broker's lock either: others use it meanwhile.
        let jpeg = py.detach(|| {
            let mut jpeg = Vec::new();
            Encoder::new(&mut jpeg, quality.clamp(1, 100)).encode(pixels, width, height, color)?;
            Ok(jpeg)
        });
        let jpeg = jpeg.map_err(|why: EncodingError| errors::value(why))?;
        let header = FrameHeader {
            timestamp: timestamp.unwrap_or_else(unix_seconds),
            frame_id,
            width: width.into(),
            height: height.into(),
            jpeg_size: 0,
        };
        self.broker.with(py, |broker| Ok(broker.broadcast_frame(&header, &jpeg).is_sent()))
    }

    /// Broadcasts lane lines. Whether they were sent.
    fn broadcast_detection(&self, py: Python<'_>, detection: &Bound<'_, Detection>) -> PyResult<bool> {
        let fields = DetectionFields::from(detection.get().message);
        self.broker.with(py, |broker| Ok(broker.broadcast_detection(&fields).is_sent()))
    }

    /// Broadcasts what the vehicle does, for a system whose simulation does not send vehicle status. Whether it was sent.
    ///
    /// Raises ValueError where a number is not finite.
    #[pyo3(signature = (*, steering, throttle, brake, speed_kmh, position = None, rotation = None, paused = None))]
    #[allow(clippy::too_many_arguments)]
    fn broadcast_state(
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
        VehicleState::try_from(state).map_err(errors::value)?;
        self.broker.with(py, |broker| Ok(broker.broadcast_state(&state).is_sent()))
    }

    /// Broadcasts an object of one's own choosing as `telemetry`. Whether it was sent.
    fn broadcast_telemetry(&self, py: Python<'_>, telemetry: &Bound<'_, PyDict>) -> PyResult<bool> {
        let object = json(telemetry)?;
        self.broker.with(py, |broker| Ok(broker.broadcast_telemetry(&object).is_sent()))
    }

    /// Puts a parameter in force, as if a viewer had asked for it. Returns the value in force: the nearest one in range.
    fn set_parameter(&self, py: Python<'_>, category: &str, name: &str, value: f64) -> PyResult<f64> {
        // What is not finite is refused by the broker.
        let value = parameter(category, name)?.accept(value).unwrap_or(value);
        self.broker.with(py, |broker| broker.set_parameter(category, name, value).map_err(errors::value))
    }

    /// The value of a parameter that is in force.
    fn parameter(&self, py: Python<'_>, category: &str, name: &str) -> PyResult<f64> {
        let parameter = parameter(category, name)?;
        self.broker.with(py, |broker| Ok(broker.parameter(parameter)))
    }

    /// What went through since it was bound, by kind: `received`, `forwarded`, `refused`, and why the last was refused.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = self.broker.with(py, |broker| Ok(broker.statistics()))?;
        let statistics = PyDict::new(py);
        let kind = |arrivals: &Arrivals| -> PyResult<Bound<'py, PyDict>> {
            let kind = PyDict::new(py);
            kind.set_item("received", arrivals.received)?;
            kind.set_item("forwarded", arrivals.forwarded)?;
            kind.set_item("refused", arrivals.refused)?;
            kind.set_item("last_refusal", arrivals.last_refusal.as_ref().map(ToString::to_string))?;
            Ok(kind)
        };
        statistics.set_item("actions", kind(&found.actions)?)?;
        statistics.set_item("parameters", kind(&found.parameters)?)?;
        statistics.set_item("states", kind(&found.states)?)?;
        statistics.set_item("subscriptions", kind(&found.subscriptions)?)?;
        Ok(statistics)
    }

    /// Gives the ports back, and forgets the callbacks.
    fn close(&self, py: Python<'_>) {
        self.broker.close(py);
        self.__clear__();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever has the lock is done with it before anything is collected, or keeps what it looks at alive.
        let Ok(handlers) = self.handlers.try_lock() else { return Ok(()) };
        handlers.values().flatten().try_for_each(|handler| visit.call(handler))
    }

    fn __clear__(&self) {
        let handlers = core::mem::take(&mut *self.handlers.lock().unwrap_or_else(PoisonError::into_inner));
        drop(handlers);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<Broker at {}>", self.broker.name())
    }
}
