//! A control as Python holds it.

use crate::errors;
use crate::numbers::shortest;
use core::hash::{Hash, Hasher};
use lkas_messages::{ControlFields, Departure, Mode};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::collections::hash_map::DefaultHasher;

pub(crate) const MODES: [(Mode, &str); 4] = [
    (Mode::Manual, "manual"),
    (Mode::Autopilot, "autopilot"),
    (Mode::LaneKeeping, "lane_keeping"),
    (Mode::EmergencyStop, "emergency_stop"),
];
const DEPARTURES: [(Departure, &str); 3] =
    [(Departure::Centred, "centred"), (Departure::Drift, "drift"), (Departure::Departure, "departure")];

/// The enumeration of Python, looked up once.
struct Members {
    class: &'static str,
    members: PyOnceLock<Vec<Py<PyAny>>>,
}

static MODE: Members = Members { class: "Mode", members: PyOnceLock::new() };
static DEPARTURE: Members = Members { class: "Departure", members: PyOnceLock::new() };

impl Members {
    fn get<T: PartialEq>(&self, py: Python<'_>, all: &[(T, &str)], value: &T) -> PyResult<Py<PyAny>> {
        let members = self.members.get_or_try_init(py, || {
            let class = py.import("lkas_channels._messages")?.getattr(self.class)?;
            all.iter().map(|(_, name)| class.call1((*name,)).map(Bound::unbind)).collect::<PyResult<Vec<_>>>()
        })?;
        let place = all.iter().position(|(known, _)| known == value).unwrap_or(all.len() - 1);
        Ok(members[place].clone_ref(py))
    }
}

fn named<T: Copy>(what: &str, all: &[(T, &str)], name: &str) -> PyResult<T> {
    let found = all.iter().find(|(_, known)| *known == name).map(|(value, _)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
        PyValueError::new_err(format!("{what} is \"{name}\", expected one of {}", names.join(", ")))
    })
}

/// What the vehicle shall do: a frozen dataclass. The default is an emergency stop.
///
/// Numbers out of range are clamped; NaN and infinities raise ValueError. `mode`: who steers. `steering`: -1 (full left)
/// to 1 (full right). `throttle`, `brake`: 0 to 1; an emergency stop has no throttle. `lateral_offset`: distance of the
/// vehicle from the middle of the lane as a fraction of half its width, positive to the right; `lateral_offset_m`: in
/// metres. `heading_angle_deg`: direction of the lane relative to the vehicle's, positive to the right.
/// `lane_width_px`: at the bottom of the frame. `departure`: how the vehicle keeps its lane. `frame_id`, `timestamp`: the
/// frame that it answers, and when that was captured, in seconds of the monotonic clock; a supervisor counts the control's
/// age from there. `processing_time_ms`: how long the decision took.
#[pyclass(frozen, module = "lkas_channels")]
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) message: lkas_messages::Control,
}

impl Control {
    fn fields(&self) -> ControlFields {
        ControlFields::from(self.message)
    }
}

#[pymethods]
impl Control {
    #[new]
    #[pyo3(signature = (mode = "emergency_stop", steering = 0.0, throttle = 0.0, brake = 1.0, lateral_offset = None,
        lateral_offset_m = None, heading_angle_deg = None, lane_width_px = None, departure = None, frame_id = 0,
        timestamp = 0.0, processing_time_ms = 0.0))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        mode: &str,
        steering: f32,
        throttle: f32,
        brake: f32,
        lateral_offset: Option<f32>,
        lateral_offset_m: Option<f32>,
        heading_angle_deg: Option<f32>,
        lane_width_px: Option<f32>,
        departure: Option<&str>,
        frame_id: u64,
        timestamp: f64,
        processing_time_ms: f32,
    ) -> PyResult<Self> {
        let fields = ControlFields {
            mode: named("mode", &MODES, mode)?,
            steering,
            throttle,
            brake,
            lateral_offset,
            lateral_offset_m,
            heading_angle_deg,
            lane_width_px,
            departure: departure.map(|name| named("departure", &DEPARTURES, name)).transpose()?,
            frame_id,
            timestamp,
            processing_time_ms,
        };
        Ok(Self { message: fields.try_into().map_err(errors::value)? })
    }

    /// Who steers.
    #[getter]
    fn mode(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        MODE.get(py, &MODES, &self.message.mode())
    }

    /// -1 (full left) to 1 (full right).
    #[getter]
    fn steering(&self) -> f64 {
        shortest(self.message.steering())
    }

    /// 0 to 1.
    #[getter]
    fn throttle(&self) -> f64 {
        shortest(self.message.throttle())
    }

    /// 0 to 1.
    #[getter]
    fn brake(&self) -> f64 {
        shortest(self.message.brake())
    }

    /// Distance from the middle of the lane as a fraction of half its width, positive to the right.
    #[getter]
    fn lateral_offset(&self) -> Option<f64> {
        self.message.lateral_offset().map(shortest)
    }

    /// The same in metres.
    #[getter]
    fn lateral_offset_m(&self) -> Option<f64> {
        self.message.lateral_offset_m().map(shortest)
    }

    /// Direction of the lane relative to the vehicle's, in degrees, positive to the right.
    #[getter]
    fn heading_angle_deg(&self) -> Option<f64> {
        self.message.heading_angle_deg().map(shortest)
    }

    /// Width of the lane at the bottom of the frame, in pixels.
    #[getter]
    fn lane_width_px(&self) -> Option<f64> {
        self.message.lane_width_px().map(shortest)
    }

    /// How the vehicle keeps its lane.
    #[getter]
    fn departure(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.message.departure().map(|departure| DEPARTURE.get(py, &DEPARTURES, &departure)).transpose()
    }

    /// The frame from which this was decided.
    #[getter]
    fn frame_id(&self) -> u64 {
        self.message.frame_id()
    }

    /// When that frame was captured, in seconds of the monotonic clock.
    #[getter]
    fn timestamp(&self) -> f64 {
        self.message.timestamp()
    }

    /// How long the decision took, in milliseconds.
    #[getter]
    fn processing_time_ms(&self) -> f64 {
        shortest(self.message.processing_time_ms())
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.fields() == other.fields()
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.message.frame_id(), self.message.mode()).hash(&mut hasher);
        hasher.finish()
    }
}
