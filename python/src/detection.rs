//! A detection as Python holds it.

use crate::errors;
use crate::numbers::shortest;
use core::hash::{Hash, Hasher};
use lkas_messages::DetectionFields;
use pyo3::prelude::*;
use std::collections::hash_map::DefaultHasher;

/// One lane line as a straight segment in the frame: a frozen dataclass.
///
/// `x1`, `y1`: its lower end, `x2`, `y2`: its upper end, in pixels from the top left, y downwards. `confidence`: how sure
/// the detection is, clamped to 0 to 1. NaN and infinities raise ValueError.
#[pyclass(frozen, module = "lkas_channels")]
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    pub(crate) lane: lkas_messages::Lane,
}

#[pymethods]
impl Lane {
    #[new]
    #[pyo3(signature = (x1, y1, x2, y2, confidence = 1.0))]
    fn new(x1: f32, y1: f32, x2: f32, y2: f32, confidence: f32) -> PyResult<Self> {
        let lane = lkas_messages::Lane { x1, y1, x2, y2, confidence };
        // Through the message, which checks and clamps.
        let fields = DetectionFields { left: Some(lane), ..DetectionFields::default() };
        let checked = lkas_messages::Detection::try_from(fields).map_err(errors::value)?;
        Ok(Self { lane: checked.left().unwrap_or(lane) })
    }

    /// Horizontal position of the lower end, in pixels.
    #[getter]
    fn x1(&self) -> f64 {
        shortest(self.lane.x1)
    }

    /// Vertical position of the lower end, in pixels.
    #[getter]
    fn y1(&self) -> f64 {
        shortest(self.lane.y1)
    }

    /// Horizontal position of the upper end, in pixels.
    #[getter]
    fn x2(&self) -> f64 {
        shortest(self.lane.x2)
    }

    /// Vertical position of the upper end, in pixels.
    #[getter]
    fn y2(&self) -> f64 {
        shortest(self.lane.y2)
    }

    /// How sure the detection is, 0 to 1.
    #[getter]
    fn confidence(&self) -> f64 {
        shortest(self.lane.confidence)
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.lane == other.lane
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        // Whole pixels: what is equal has equal ones, whatever the sign of zero.
        (self.lane.x1 as i64, self.lane.x2 as i64).hash(&mut hasher);
        hasher.finish()
    }
}

/// The lane lines found in one frame: a frozen dataclass.
///
/// `left`, `right`: the lines beside the vehicle; None where there is none. `width`, `height`: of the frame, in pixels.
/// `frame_id`, `timestamp`: the frame, and when it was captured, in seconds of the monotonic clock.
/// `processing_time_ms`: how long the detection took. NaN and infinities raise ValueError.
#[pyclass(frozen, module = "lkas_channels")]
#[derive(Clone, Copy)]
pub(crate) struct Detection {
    pub(crate) message: lkas_messages::Detection,
}

#[pymethods]
impl Detection {
    #[new]
    #[pyo3(signature = (left = None, right = None, width = 0, height = 0, frame_id = 0, timestamp = 0.0,
        processing_time_ms = 0.0))]
    fn new(
        left: Option<PyRef<'_, Lane>>,
        right: Option<PyRef<'_, Lane>>,
        width: u16,
        height: u16,
        frame_id: u64,
        timestamp: f64,
        processing_time_ms: f32,
    ) -> PyResult<Self> {
        let lane = |lane: Option<PyRef<'_, Lane>>| lane.map(|lane| lane.lane);
        let (left, right) = (lane(left), lane(right));
        let fields = DetectionFields { left, right, width, height, frame_id, timestamp, processing_time_ms };
        Ok(Self { message: fields.try_into().map_err(errors::value)? })
    }

    /// The line on the left of the vehicle.
    #[getter]
    fn left(&self) -> Option<Lane> {
        self.message.left().map(|lane| Lane { lane })
    }

    /// The line on the right of the vehicle.
    #[getter]
    fn right(&self) -> Option<Lane> {
        self.message.right().map(|lane| Lane { lane })
    }

    /// Width of the frame, in pixels; 0 where unknown.
    #[getter]
    fn width(&self) -> u16 {
        self.message.width()
    }

    /// Height of the frame, in pixels; 0 where unknown.
    #[getter]
    fn height(&self) -> u16 {
        self.message.height()
    }

    /// The frame in which the lines were found.
    #[getter]
    fn frame_id(&self) -> u64 {
        self.message.frame_id()
    }

    /// When that frame was captured, in seconds of the monotonic clock.
    #[getter]
    fn timestamp(&self) -> f64 {
        self.message.timestamp()
    }

    /// How long the detection took, in milliseconds.
    #[getter]
    fn processing_time_ms(&self) -> f64 {
        shortest(self.message.processing_time_ms())
    }

    fn __eq__(&self, other: &Self) -> bool {
        DetectionFields::from(self.message) == DetectionFields::from(other.message)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.message.frame_id(), self.message.width(), self.message.height()).hash(&mut hasher);
        hasher.finish()
    }
}
