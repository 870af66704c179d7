//! Where the lane lines are in one camera frame.

use crate::checksum::{METHOD, checksum};
use crate::error::MessageError;
use crate::numbers::{finite, finite_time, sane};
use core::fmt;
use lkas_core::{Message, Plain};
use serde::{Deserialize, Serialize};

/// Coordinates beyond this many pixels are clamped: far outside of any frame.
const MAX_COORDINATE: f32 = 1.0e6;

/// One lane line as a straight segment in the frame; x to the right and y downwards, in pixels from the top left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message, Serialize, Deserialize)]
#[message(name = "lkas.Lane")]
#[repr(C)]
pub struct Lane {
    /// Horizontal position of the lower end, in pixels.
    #[message(unit = "px")]
    pub x1: f32,
    /// Vertical position of the lower end, in pixels.
    #[message(unit = "px")]
    pub y1: f32,
    /// Horizontal position of the upper end, in pixels.
    #[message(unit = "px")]
    pub x2: f32,
    /// Vertical position of the upper end, in pixels.
    #[message(unit = "px")]
    pub y2: f32,
    /// How sure the detection is, 0 to 1.
    pub confidence: f32,
}

impl Lane {
    /// The lane with confidence clamped to 0..=1 and coordinates to a million pixels either way.
    fn checked(self) -> Result<Self, MessageError> {
        let coordinate = |field, value| finite(field, value).map(|v| v.clamp(-MAX_COORDINATE, MAX_COORDINATE));
        Ok(Self {
            x1: coordinate("x1", self.x1)?,
            y1: coordinate("y1", self.y1)?,
            x2: coordinate("x2", self.x2)?,
            y2: coordinate("y2", self.y2)?,
            confidence: finite("confidence", self.confidence)?.clamp(0.0, 1.0),
        })
    }

    /// The horizontal position of the line (extended where needed) at height `y`, in pixels; `None` for a level line.
    #[must_use]
    pub fn x_at(&self, y: f32) -> Option<f32> {
        let x = self.x1 + (y - self.y1) * (self.x2 - self.x1) / (self.y2 - self.y1);
        x.is_finite().then_some(x)
    }
}

/// The lane lines found in one frame; 72 bytes. Built from [`DetectionFields`].
#[derive(Clone, Copy, Message, Serialize, Deserialize)]
#[message(name = "lkas.Detection", semantics = METHOD)]
#[serde(try_from = "DetectionFields", into = "DetectionFields")]
#[repr(C)]
pub struct Detection {
    frame_id: u64,
    #[message(unit = "s")]
    timestamp: f64,
    #[message(unit = "ms")]
    processing_time_ms: f32,
    present: u32,
    #[message(present = 0)]
    left: Lane,
    #[message(present = 1)]
    right: Lane,
    #[message(unit = "px")]
    width: u16,
    #[message(unit = "px")]
    height: u16,
    check: u32,
}

const _: () = assert!(size_of::<Detection>() == 72);

const LEFT: u8 = 0;
const RIGHT: u8 = 1;

/// What a [`Detection`] is built from and what goes over a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectionFields {
    /// The line on the left of the vehicle. Clamped: confidence to 0..=1. Refused: NaN and infinities.
    pub left: Option<Lane>,
    /// The line on the right of the vehicle, likewise.
    pub right: Option<Lane>,
    /// Width of the frame, in pixels.
    pub width: u16,
    /// Height of the frame, in pixels.
    pub height: u16,
    /// The frame in which the lines were found.
    pub frame_id: u64,
    /// When that frame was captured, in seconds. Refused: NaN and infinities.
    pub timestamp: f64,
    /// How long the detection took, in milliseconds. Clamped to 0 or more. Refused: NaN and infinities.
    pub processing_time_ms: f32,
}

impl Detection {
    /// The line on the left of the vehicle; `None` where it was not found or its numbers are not usable.
    #[must_use]
    pub fn left(&self) -> Option<Lane> {
        self.lane(LEFT, self.left)
    }

    /// The line on the right of the vehicle; `None` where it was not found or its numbers are not usable.
    #[must_use]
    pub fn right(&self) -> Option<Lane> {
        self.lane(RIGHT, self.right)
    }

    fn lane(&self, bit: u8, lane: Lane) -> Option<Lane> {
        (self.present & 1 << bit != 0).then(|| lane.checked().ok()).flatten()
    }

    /// Width of the frame, in pixels.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Height of the frame, in pixels.
    #[must_use]
    pub fn height(&self) -> u16 {
        self.height
    }

    /// The frame in which the lines were found.
    #[must_use]
    pub fn frame_id(&self) -> u64 {
        self.frame_id
    }

    /// When that frame was captured, in seconds; 0 where it is not finite.
    #[must_use]
    pub fn timestamp(&self) -> f64 {
        if self.timestamp.is_finite() { self.timestamp } else { 0.0 }
    }

    /// How long the detection took, in milliseconds, 0 or more.
    #[must_use]
    pub fn processing_time_ms(&self) -> f32 {
        sane(self.processing_time_ms, 0.0, f32::MAX, 0.0)
    }

    /// Whether the bytes are those that were built together.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.check == self.check_value()
    }

    fn check_value(&self) -> u32 {
        checksum(Self { check: 0, ..*self }.as_bytes())
    }
}

impl TryFrom<DetectionFields> for Detection {
    type Error = MessageError;

    fn try_from(fields: DetectionFields) -> Result<Self, MessageError> {
        let lane = |lane: Option<Lane>| lane.map_or(Ok(Lane::default()), Lane::checked);
        let mut detection = Self {
            frame_id: fields.frame_id,
            timestamp: finite_time(fields.timestamp)?,
            processing_time_ms: finite("processing_time_ms", fields.processing_time_ms)?.max(0.0),
            present: u32::from(fields.left.is_some()) << LEFT | u32::from(fields.right.is_some()) << RIGHT,
            left: lane(fields.left)?,
            right: lane(fields.right)?,
            width: fields.width,
            height: fields.height,
            check: 0,
        };
        detection.check = detection.check_value();
        Ok(detection)
    }
}

impl From<Detection> for DetectionFields {
    fn from(detection: Detection) -> Self {
        Self {
            left: detection.left(),
            right: detection.right(),
            width: detection.width(),
            height: detection.height(),
            frame_id: detection.frame_id(),
            timestamp: detection.timestamp(),
            processing_time_ms: detection.processing_time_ms(),
        }
    }
}

impl fmt::Debug for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        DetectionFields::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane { x1: 100.0, y1: 600.0, x2: 350.0, y2: 350.0, confidence: 0.9 };

    fn fields() -> DetectionFields {
        DetectionFields { left: Some(LANE), right: None, width: 800, height: 600, frame_id: 3, ..Default::default() }
    }

    #[test]
    fn none_is_a_value_of_its_own() {
        let detection = Detection::try_from(fields()).unwrap();
        assert_eq!(DetectionFields::from(detection), fields());
        assert_eq!((detection.left(), detection.right()), (Some(LANE), None));
        let at_origin = DetectionFields { right: Some(Lane::default()), ..fields() };
        assert_eq!(Detection::try_from(at_origin).unwrap().right(), Some(Lane::default()));
    }

    #[test]
    fn numbers_are_clamped_or_refused() {
        let sure = DetectionFields { left: Some(Lane { confidence: 1.5, ..LANE }), ..fields() };
        assert_eq!(Detection::try_from(sure).unwrap().left().unwrap().confidence, 1.0);
        let nowhere = DetectionFields { left: Some(Lane { x2: f32::NAN, ..LANE }), ..fields() };
        let error = Detection::try_from(nowhere).unwrap_err();
        assert!(matches!(error, MessageError::NotFinite { field: "x2", .. }), "{error}");
        let never = DetectionFields { timestamp: f64::INFINITY, ..fields() };
        assert!(Detection::try_from(never).is_err());
    }

    #[test]
    fn foreign_bytes_read_as_safe_values() {
        let detection = Detection::from_bytes(&[0xff; size_of::<Detection>()]).unwrap();
        assert_eq!((detection.left(), detection.right()), (None, None), "all ones is NaN");
        assert_eq!((detection.timestamp(), detection.processing_time_ms()), (0.0, 0.0));
        assert!(!detection.is_whole());
        assert!(Detection::try_from(fields()).unwrap().is_whole());
    }

    #[test]
    fn a_line_is_extended_to_any_height() {
        assert_eq!(LANE.x_at(600.0), Some(100.0));
        assert_eq!(LANE.x_at(475.0), Some(225.0));
        assert_eq!(Lane { y2: 600.0, ..LANE }.x_at(500.0), None);
    }
}
