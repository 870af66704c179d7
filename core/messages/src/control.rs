//! What the vehicle shall do.

use crate::checksum::{METHOD, checksum};
use crate::error::MessageError;
use crate::numbers::{finite, finite_time, sane};
use core::fmt;
use lkas_core::{Code, Enumeration, Message, Plain};
use serde::{Deserialize, Serialize};

/// Who steers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Enumeration)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u32)]
pub enum Mode {
    /// Nobody: the vehicle brakes to a stop. Any number that is not known reads as this.
    #[default]
    EmergencyStop = 0,
    /// A person.
    Manual = 1,
    /// A system that also plans the route.
    Autopilot = 2,
    /// The lane keeping assist.
    LaneKeeping = 3,
}

/// How the vehicle keeps its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Enumeration)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u32)]
pub enum Departure {
    /// Near the middle.
    Centred = 1,
    /// Away from the middle, inside the lane.
    Drift = 2,
    /// At a line or beyond it.
    Departure = 3,
}

/// A command to the vehicle; 64 bytes. Built from [`ControlFields`].
///
/// Reading one from foreign memory is always safe: numbers out of range are clamped, and where a number that moves the
/// vehicle is not finite or the mode is not known, the command reads as an emergency stop.
#[derive(Clone, Copy, Message, Serialize, Deserialize)]
#[message(name = "lkas.Control", semantics = METHOD)]
#[serde(try_from = "ControlFields", into = "ControlFields")]
#[repr(C)]
pub struct Control {
    frame_id: u64,
    #[message(unit = "s")]
    timestamp: f64,
    steering: f32,
    throttle: f32,
    brake: f32,
    mode: Code<Mode>,
    present: u32,
    /// 0 where it is not known.
    departure: Code<Departure>,
    #[message(present = 0)]
    lateral_offset: f32,
    #[message(unit = "m", present = 1)]
    lateral_offset_m: f32,
    #[message(unit = "deg", present = 2)]
    heading_angle_deg: f32,
    #[message(unit = "px", present = 3)]
    lane_width_px: f32,
    #[message(unit = "ms")]
    processing_time_ms: f32,
    check: u32,
}

const _: () = assert!(size_of::<Control>() == 64);

const LATERAL_OFFSET: u8 = 0;
const LATERAL_OFFSET_M: u8 = 1;
const HEADING_ANGLE: u8 = 2;
const LANE_WIDTH: u8 = 3;

/// What a [`Control`] is built from and what goes over a wire. The default is an emergency stop.
///
/// Numbers out of range are clamped to it. NaN and infinities are refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlFields {
    /// Who steers.
    pub mode: Mode,
    /// -1 (full left) to 1 (full right).
    pub steering: f32,
    /// 0 to 1. An emergency stop has none: it is cleared.
    pub throttle: f32,
    /// 0 to 1.
    pub brake: f32,
    /// Distance of the vehicle from the middle of the lane as a fraction of half the lane's width, positive to the
    /// right; -1 and 1 are the lines. Not clamped.
    pub lateral_offset: Option<f32>,
    /// The same in metres.
    pub lateral_offset_m: Option<f32>,
    /// Direction of the lane relative to the vehicle's, in degrees, positive to the right. Clamped to -180..=180.
    pub heading_angle_deg: Option<f32>,
    /// Width of the lane at the bottom of the frame, in pixels. Clamped to 0 or more.
    pub lane_width_px: Option<f32>,
    /// How the vehicle keeps its lane.
    pub departure: Option<Departure>,
    /// The frame from which this was decided.
    pub frame_id: u64,
    /// When that frame was captured, in seconds.
    pub timestamp: f64,
    /// How long the decision took, in milliseconds. Clamped to 0 or more.
    pub processing_time_ms: f32,
}

impl Default for ControlFields {
    fn default() -> Self {
        Self {
            mode: Mode::EmergencyStop,
            steering: 0.0,
            throttle: 0.0,
            brake: 1.0,
            lateral_offset: None,
            lateral_offset_m: None,
            heading_angle_deg: None,
            lane_width_px: None,
            departure: None,
            frame_id: 0,
            timestamp: 0.0,
            processing_time_ms: 0.0,
        }
    }
}

impl Control {
    /// Who steers. An emergency stop where the code is not known or steering, throttle or brake is not finite.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.mode.get() {
            Ok(mode) if self.is_drivable() => mode,
            _ => Mode::EmergencyStop,
        }
    }

    /// The mode is known and the numbers that move the vehicle are finite.
    fn is_drivable(&self) -> bool {
        self.mode.get().is_ok() && self.steering.is_finite() && self.throttle.is_finite() && self.brake.is_finite()
    }

    /// -1 (full left) to 1 (full right); 0 where it is not finite.
    #[must_use]
    pub fn steering(&self) -> f32 {
        sane(self.steering, -1.0, 1.0, 0.0)
    }

    /// 0 to 1; 0 in an emergency stop.
    #[must_use]
    pub fn throttle(&self) -> f32 {
        if self.mode() == Mode::EmergencyStop { 0.0 } else { sane(self.throttle, 0.0, 1.0, 0.0) }
    }

    /// 0 to 1; 1 where the command is not usable.
    #[must_use]
    pub fn brake(&self) -> f32 {
        if self.is_drivable() { sane(self.brake, 0.0, 1.0, 1.0) } else { 1.0 }
    }

    /// Distance from the middle of the lane as a fraction of half its width, positive to the right.
    #[must_use]
    pub fn lateral_offset(&self) -> Option<f32> {
        self.optional(LATERAL_OFFSET, self.lateral_offset)
    }

    /// Distance from the middle of the lane in metres, positive to the right.
    #[must_use]
    pub fn lateral_offset_m(&self) -> Option<f32> {
        self.optional(LATERAL_OFFSET_M, self.lateral_offset_m)
    }

    /// Direction of the lane relative to the vehicle's, in degrees, positive to the right.
    #[must_use]
    pub fn heading_angle_deg(&self) -> Option<f32> {
        self.optional(HEADING_ANGLE, self.heading_angle_deg).map(|angle| angle.clamp(-180.0, 180.0))
    }

    /// Width of the lane at the bottom of the frame, in pixels.
    #[must_use]
    pub fn lane_width_px(&self) -> Option<f32> {
        self.optional(LANE_WIDTH, self.lane_width_px).map(|width| width.max(0.0))
    }

    fn optional(&self, bit: u8, value: f32) -> Option<f32> {
        (self.present & 1 << bit != 0 && value.is_finite()).then_some(value)
    }

    /// How the vehicle keeps its lane.
    #[must_use]
    pub fn departure(&self) -> Option<Departure> {
        self.departure.get().ok()
    }

    /// The frame from which this was decided.
    #[must_use]
    pub fn frame_id(&self) -> u64 {
        self.frame_id
    }

    /// When that frame was captured, in seconds; 0 where it is not finite.
    #[must_use]
    pub fn timestamp(&self) -> f64 {
        if self.timestamp.is_finite() { self.timestamp } else { 0.0 }
    }

    /// How long the decision took, in milliseconds, 0 or more.
    #[must_use]
    pub fn processing_time_ms(&self) -> f32 {
        sane(self.processing_time_ms, 0.0, f32::MAX, 0.0)
    }

    /// Whether the bytes are those that were built together. A receiver that moves something checks this first.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.check == self.check_value()
    }

    fn check_value(&self) -> u32 {
        checksum(Self { check: 0, ..*self }.as_bytes())
    }
}

impl TryFrom<ControlFields> for Control {
    type Error = MessageError;

    fn try_from(fields: ControlFields) -> Result<Self, MessageError> {
        let mut present = 0;
        let mut optional = |bit: u8, field, value: Option<f32>, min, max| match value {
            Some(value) => {
                present |= 1 << bit;
                finite(field, value).map(|value| value.clamp(min, max))
            }
            None => Ok(0.0),
        };
        let lateral_offset = optional(LATERAL_OFFSET, "lateral_offset", fields.lateral_offset, f32::MIN, f32::MAX)?;
        let lateral_offset_m =
            optional(LATERAL_OFFSET_M, "lateral_offset_m", fields.lateral_offset_m, f32::MIN, f32::MAX)?;
        let heading_angle_deg = optional(HEADING_ANGLE, "heading_angle_deg", fields.heading_angle_deg, -180.0, 180.0)?;
        let lane_width_px = optional(LANE_WIDTH, "lane_width_px", fields.lane_width_px, 0.0, f32::MAX)?;
        let throttle = finite("throttle", fields.throttle)?.clamp(0.0, 1.0);
        let mut control = Self {
            frame_id: fields.frame_id,
            timestamp: finite_time(fields.timestamp)?,
            steering: finite("steering", fields.steering)?.clamp(-1.0, 1.0),
            throttle: if fields.mode == Mode::EmergencyStop { 0.0 } else { throttle },
            brake: finite("brake", fields.brake)?.clamp(0.0, 1.0),
            mode: fields.mode.into(),
            present,
            departure: fields.departure.map_or(Code::from_number(0), Code::from),
            lateral_offset,
            lateral_offset_m,
            heading_angle_deg,
            lane_width_px,
            processing_time_ms: finite("processing_time_ms", fields.processing_time_ms)?.max(0.0),
            check: 0,
        };
        control.check = control.check_value();
        Ok(control)
    }
}

impl From<Control> for ControlFields {
    fn from(control: Control) -> Self {
        Self {
            mode: control.mode(),
            steering: control.steering(),
            throttle: control.throttle(),
            brake: control.brake(),
            lateral_offset: control.lateral_offset(),
            lateral_offset_m: control.lateral_offset_m(),
            heading_angle_deg: control.heading_angle_deg(),
            lane_width_px: control.lane_width_px(),
            departure: control.departure(),
            frame_id: control.frame_id(),
            timestamp: control.timestamp(),
            processing_time_ms: control.processing_time_ms(),
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ControlFields::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driving() -> ControlFields {
        ControlFields {
            mode: Mode::LaneKeeping,
            steering: 0.25,
            throttle: 0.5,
            brake: 0.0,
            lateral_offset: Some(0.0),
            departure: Some(Departure::Centred),
            frame_id: 9,
            timestamp: 2.5,
            ..ControlFields::default()
        }
    }

    #[test]
    fn fields_survive_and_zero_is_not_none() {
        let control = Control::try_from(driving()).unwrap();
        assert_eq!(ControlFields::from(control), driving());
        assert_eq!((control.lateral_offset(), control.lateral_offset_m()), (Some(0.0), None));
        assert!(control.is_whole());
    }

    #[test]
    fn out_of_range_is_clamped_and_not_finite_is_refused() {
        let wild = ControlFields { steering: -7.0, throttle: 2.0, brake: -1.0, ..driving() };
        let control = Control::try_from(wild).unwrap();
        assert_eq!((control.steering(), control.throttle(), control.brake()), (-1.0, 1.0, 0.0));
        for nonsense in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(Control::try_from(ControlFields { steering: nonsense, ..driving() }).is_err());
            assert!(Control::try_from(ControlFields { throttle: nonsense, ..driving() }).is_err());
            assert!(Control::try_from(ControlFields { brake: nonsense, ..driving() }).is_err());
            assert!(Control::try_from(ControlFields { lateral_offset: Some(nonsense), ..driving() }).is_err());
        }
        assert!(Control::try_from(ControlFields { timestamp: f64::NAN, ..driving() }).is_err());
    }

    #[test]
    fn foreign_bytes_never_drive() {
        for byte in [0x00, 0x7f, 0xff] {
            let control = Control::from_bytes(&[byte; size_of::<Control>()]).unwrap();
            assert_eq!(control.mode(), Mode::EmergencyStop, "{byte:#x}");
            assert_eq!(control.throttle(), 0.0, "{byte:#x}");
            assert!(!control.is_whole(), "{byte:#x}");
        }
        let mut control = Control::try_from(driving()).unwrap();
        control.mode = Code::from_number(77);
        assert_eq!((control.mode(), control.throttle(), control.brake()), (Mode::EmergencyStop, 0.0, 1.0));
        let mut control = Control::try_from(driving()).unwrap();
        control.steering = f32::NAN;
        assert_eq!((control.mode(), control.steering(), control.brake()), (Mode::EmergencyStop, 0.0, 1.0));
        assert!(!control.is_whole());
    }

    #[test]
    fn the_default_is_an_emergency_stop() {
        let control = Control::try_from(ControlFields::default()).unwrap();
        assert_eq!((control.mode(), control.throttle(), control.brake()), (Mode::EmergencyStop, 0.0, 1.0));
    }
}
