//! What moves a vehicle, as Python holds it.

use crate::control::Control;
use crate::errors;
use crate::numbers::seconds;
use crate::shared::{self, Shared};
use core::time::Duration;
use lkas_shm::{OpenOptions, SafetyOptions};
use pyo3::prelude::*;

/// Something that changed about who drives. `str()` of it is a line for a log.
///
/// `kind`: "started", "safe_stop", "standing_still", "resumed", "emergency_stop", "emergency_stop_over" or "damaged".
/// `age` and `limit`: of a safe stop, how old the last control is and may be, in seconds; None for all others.
#[pyclass(frozen, module = "lkas_channels")]
pub(crate) struct SafetyEvent {
    /// What kind of change it is.
    #[pyo3(get)]
    kind: &'static str,
    /// Of a safe stop: how old the last control is, in seconds.
    #[pyo3(get)]
    age: Option<f64>,
    /// Of a safe stop: how old it may be, in seconds.
    #[pyo3(get)]
    limit: Option<f64>,
    text: String,
}

impl From<lkas_shm::SafetyEvent> for SafetyEvent {
    fn from(event: lkas_shm::SafetyEvent) -> Self {
        use lkas_shm::SafetyEvent as Event;
        let (mut age, mut limit) = (None, None);
        let kind = match event {
            Event::Started => "started",
            Event::SafeStop { age_s, limit_s, .. } => {
                (age, limit) = (Some(age_s), Some(limit_s));
                "safe_stop"
            }
            Event::StandingStill => "standing_still",
            Event::Resumed { .. } => "resumed",
            Event::EmergencyStop => "emergency_stop",
            Event::EmergencyStopOver => "emergency_stop_over",
            Event::Damaged { .. } => "damaged",
            _ => "other",
        };
        Self { kind, age, limit, text: event.to_string() }
    }
}

#[pymethods]
impl SafetyEvent {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<SafetyEvent {}: {}>", self.kind, self.text)
    }
}

/// The reader of the channel `name` of controls for whatever moves a vehicle: it says what to execute now, and stops the
/// vehicle when controls stop coming, grow too old, or nobody is left to send any. The channel need not be there yet.
///
/// In a loop, `next(timeout)` waits for a new control, and `decide(standing)` says what to execute. The age of a control
/// counts from the frame that it answers. A safe stop ends only after the vehicle has come to a standstill and controls
/// have been fresh again for a while.
///
/// `max_age`: seconds after which a control leads to a safe stop; where the channel's contract says less, that counts.
/// `brake`: how hard a safe stop brakes, 0 to 1. `resume_after`: for how long controls must have been fresh, in seconds.
/// `foreign_owner`: whether the channel may belong to another user.
///
/// Raises ValueError where one of them is out of its range.
#[pyclass(frozen, weakref, module = "lkas_channels")]
pub(crate) struct ControlSupervisor {
    supervisor: Shared<lkas_shm::ControlSupervisor>,
}

#[pymethods]
impl ControlSupervisor {
    #[new]
    #[pyo3(signature = (name, *, namespace = "", max_age = 0.25, brake = 0.6, resume_after = 0.5, foreign_owner = false))]
    fn new(
        name: &str,
        namespace: &str,
        max_age: f64,
        brake: f32,
        resume_after: f64,
        foreign_owner: bool,
    ) -> PyResult<Self> {
        let name = shared::channel_name(namespace, name)?;
        if !seconds("max_age", max_age).is_ok_and(|age| age < Duration::MAX) {
            return Err(errors::value(format!("max_age is {max_age}, expected a finite number of seconds, 0 or more")));
        }
        if !(0.0..=1.0).contains(&brake) {
            return Err(errors::value(format!("brake is {brake}, expected 0 to 1")));
        }
        seconds("resume_after", resume_after)?;
        let mut options = SafetyOptions::default();
        (options.max_age_s, options.brake, options.resume_after_s) = (max_age, brake, resume_after);
        let text = name.to_string();
        let supervisor = lkas_shm::ControlSupervisor::new(name, options);
        let supervisor = supervisor.with_options(OpenOptions::new().foreign_owner(foreign_owner));
        Ok(Self { supervisor: Shared::new("supervisor", text, supervisor) })
    }

    /// The next new control; None where none came within `timeout` seconds. Call it before each `decide`.
    ///
    /// Raises WrongType, NoPlace and the like where the channel is there and can't be used. `decide` stays right, so keep
    /// calling it as long as the vehicle moves.
    #[pyo3(signature = (timeout = 0.0))]
    fn next(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Control>> {
        let found = std::sync::Mutex::new(None);
        self.supervisor.wait(py, Some(timeout), |supervisor, left| {
            let received = supervisor.next(left).map_err(errors::open)?;
            let is_there = received.is_some();
            *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = received;
            Ok(is_there)
        })?;
        let received = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(received.map(|received| Control { message: received.value }))
    }

    /// What the vehicle executes now, and what changed. `standing`: whether it stands still, from its own sensors.
    ///
    /// Call it at the rate at which the vehicle is commanded. It never waits.
    fn decide(&self, py: Python<'_>, standing: bool) -> PyResult<(Control, Vec<SafetyEvent>)> {
        let (message, events) = self.supervisor.with(py, |supervisor| Ok(supervisor.decide(standing)))?;
        Ok((Control { message }, events.into_iter().map(SafetyEvent::from).collect()))
    }

    /// How many controls were published and replaced before they were taken.
    #[getter]
    fn missed(&self, py: Python<'_>) -> PyResult<u64> {
        self.supervisor.with(py, |supervisor| Ok(supervisor.missed()))
    }

    /// How many safe stops there have been.
    #[getter]
    fn safe_stops(&self, py: Python<'_>) -> PyResult<u64> {
        self.supervisor.with(py, |supervisor| Ok(supervisor.safe_stops()))
    }

    /// How many controls were not whole, and ignored.
    #[getter]
    fn damaged_controls(&self, py: Python<'_>) -> PyResult<u64> {
        self.supervisor.with(py, |supervisor| Ok(supervisor.damaged_controls()))
    }

    /// The channel's name, with its namespace.
    #[getter]
    fn name(&self) -> &str {
        self.supervisor.name()
    }

    /// Gives the reader place back.
    fn close(&self, py: Python<'_>) {
        self.supervisor.close(py);
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<ControlSupervisor of {}>", self.name())
    }
}
