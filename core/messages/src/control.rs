//! What the vehicle shall do.

use crate::checksum::checksum;
use crate::description::{Field, Message};
use crate::error::MessageError;
use crate::field;
use crate::numbers::{finite, finite_time, sane};
use core::fmt;
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Who steers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// A person.
    Manual,
    /// A system that also plans the route.
    Autopilot,
    /// The lane keeping assist.
    LaneKeeping,
    /// Nobody: the vehicle brakes to a stop. Any code that is not known reads as this.
    #[default]
    EmergencyStop,
}

impl Mode {
    const fn code(self) -> u32 {
        match self {
            Self::EmergencyStop => 0,
            Self::Manual => 1,
            Self::Autopilot => 2,
            Self::LaneKeeping => 3,
        }
    }

    const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Manual,
            2 => Self::Autopilot,
            3 => Self::LaneKeeping,
            _ => Self::EmergencyStop,
        }
    }
}

/// How the vehicle keeps its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Departure {
    /// Near the middle.
    Centred,
    /// Away from the middle, inside the lane.
    Drift,
    /// At a line or beyond it.
    Departure,
}

impl Departure {
    const fn code(self) -> u32 {
        match self {
            Self::Centred => 1,
            Self::Drift => 2,
            Self::Departure => 3,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Centred),
            2 => Some(Self::Drift),
            3 => Some(Self::Departure),
            _ => None,
        }
    }
}

/// A command to the vehicle; 64 bytes. Built from [`ControlFields`].
///
/// Reading one from foreign memory is always safe: numbers out of range are clamped, and where a number that moves the
/// vehicle is not finite or the mode is not known, the command reads as an emergency stop.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Serialize, Deserialize)]
#[serde(try_from = "ControlFields", into = "ControlFields")]
#[repr(C)]
pub struct Control {
    frame_id: u64,
    timestamp: f64,
    steering: f32,
    throttle: f32,
    brake: f32,
    mode: u32,
    present: u32,
    departure: u32,
    lateral_offset: f32,
    lateral_offset_m: f32,
    heading_angle_deg: f32,
    lane_width_px: f32,
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
    /// Width of the lane at the bottom of the picture, in pixels. Clamped to 0 or more.
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
        if self.is_drivable() { Mode::from_code(self.mode) } else { Mode::EmergencyStop }
    }

    /// The mode is known and the numbers that move the vehicle are finite.
    fn is_drivable(&self) -> bool {
        self.mode <= Mode::LaneKeeping.code()
            && self.steering.is_finite()
            && self.throttle.is_finite()
            && self.brake.is_finite()
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

    /// Width of the lane at the bottom of the picture, in pixels.
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
        Departure::from_code(self.departure)
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
            mode: fields.mode.code(),
            present,
            departure: fields.departure.map_or(0, Departure::code),
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

impl Message for Control {
    const NAME: &'static str = "lkas.Control";
    const FIELDS: &'static [Field] = &[
        field!(Control, frame_id, U64),
        field!(Control, timestamp, F64, "s"),
        field!(Control, steering, F32),
        field!(Control, throttle, F32),
        field!(Control, brake, F32),
        field!(Control, mode, U32),
        field!(Control, present, U32),
        field!(Control, departure, U32),
        field!(Control, lateral_offset, F32, "", Some(LATERAL_OFFSET)),
        field!(Control, lateral_offset_m, F32, "m", Some(LATERAL_OFFSET_M)),
        field!(Control, heading_angle_deg, F32, "deg", Some(HEADING_ANGLE)),
        field!(Control, lane_width_px, F32, "px", Some(LANE_WIDTH)),
        field!(Control, processing_time_ms, F32, "ms"),
        field!(Control, check, U32),
    ];
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
            let control = Control::read_from_bytes(&[byte; size_of::<Control>()]).unwrap();
            assert_eq!(control.mode(), Mode::EmergencyStop, "{byte:#x}");
            assert_eq!(control.throttle(), 0.0, "{byte:#x}");
            assert!(!control.is_whole(), "{byte:#x}");
        }
        let mut control = Control::try_from(driving()).unwrap();
        control.mode = 77;
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
