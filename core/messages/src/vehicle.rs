//! What the vehicle does.

use crate::checksum::{METHOD, checksum};
use crate::error::MessageError;
use crate::numbers::{finite, sane};
use core::fmt;
use lkas_core::{Bool, Message, Plain};
use serde::{Deserialize, Serialize};

/// The state of the vehicle; 52 bytes. Built from [`VehicleStateFields`].
#[derive(Clone, Copy, Message, Serialize, Deserialize)]
#[message(name = "lkas.VehicleState", semantics = METHOD)]
#[serde(try_from = "VehicleStateFields", into = "VehicleStateFields")]
#[repr(C)]
pub struct VehicleState {
    steering: f32,
    throttle: f32,
    brake: f32,
    #[message(unit = "km/h")]
    speed_kmh: f32,
    /// x, y, z.
    #[message(unit = "m", present = 0)]
    position: [f32; 3],
    /// Pitch, yaw, roll.
    #[message(unit = "deg", present = 1)]
    rotation: [f32; 3],
    present: u32,
    #[message(present = 2)]
    paused: Bool,
    reserved: [u8; 3],
    check: u32,
}

const _: () = assert!(size_of::<VehicleState>() == 52);

const POSITION: u8 = 0;
const ROTATION: u8 = 1;
const PAUSED: u8 = 2;

/// What a [`VehicleState`] is built from. The names are those of the `vehicle_status` object on the wire.
///
/// Numbers out of range are clamped to it. NaN and infinities are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VehicleStateFields {
    /// -1 (full left) to 1 (full right).
    pub steering: f32,
    /// 0 to 1.
    pub throttle: f32,
    /// 0 to 1.
    pub brake: f32,
    /// Speed in km/h, negative backwards. Not clamped.
    pub speed_kmh: f32,
    /// x, y, z in metres.
    #[serde(default)]
    pub position: Option<[f32; 3]>,
    /// Pitch, yaw, roll in degrees.
    #[serde(default)]
    pub rotation: Option<[f32; 3]>,
    /// Whether the simulation stands still on request.
    #[serde(default)]
    pub paused: Option<bool>,
}

impl VehicleState {
    /// -1 (full left) to 1 (full right); 0 where it is not finite.
    #[must_use]
    pub fn steering(&self) -> f32 {
        sane(self.steering, -1.0, 1.0, 0.0)
    }

    /// 0 to 1; 0 where it is not finite.
    #[must_use]
    pub fn throttle(&self) -> f32 {
        sane(self.throttle, 0.0, 1.0, 0.0)
    }

    /// 0 to 1; 0 where it is not finite.
    #[must_use]
    pub fn brake(&self) -> f32 {
        sane(self.brake, 0.0, 1.0, 0.0)
    }

    /// Speed in km/h, negative backwards; 0 where it is not finite.
    #[must_use]
    pub fn speed_kmh(&self) -> f32 {
        sane(self.speed_kmh, f32::MIN, f32::MAX, 0.0)
    }

    /// x, y, z in metres.
    #[must_use]
    pub fn position(&self) -> Option<[f32; 3]> {
        self.has(POSITION).then_some(self.position).filter(|p| p.iter().all(|v| v.is_finite()))
    }

    /// Pitch, yaw, roll in degrees.
    #[must_use]
    pub fn rotation(&self) -> Option<[f32; 3]> {
        self.has(ROTATION).then_some(self.rotation).filter(|r| r.iter().all(|v| v.is_finite()))
    }

    /// Whether the simulation stands still on request.
    #[must_use]
    pub fn paused(&self) -> Option<bool> {
        self.has(PAUSED).then_some(self.paused != Bool::from(false))
    }

    fn has(&self, bit: u8) -> bool {
        self.present & 1 << bit != 0
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

impl TryFrom<VehicleStateFields> for VehicleState {
    type Error = MessageError;

    fn try_from(fields: VehicleStateFields) -> Result<Self, MessageError> {
        for value in fields.position.unwrap_or_default() {
            finite("position", value)?;
        }
        for value in fields.rotation.unwrap_or_default() {
            finite("rotation", value)?;
        }
        let present = u32::from(fields.position.is_some()) << POSITION
            | u32::from(fields.rotation.is_some()) << ROTATION
            | u32::from(fields.paused.is_some()) << PAUSED;
        let mut state = Self {
            steering: finite("steering", fields.steering)?.clamp(-1.0, 1.0),
            throttle: finite("throttle", fields.throttle)?.clamp(0.0, 1.0),
            brake: finite("brake", fields.brake)?.clamp(0.0, 1.0),
            speed_kmh: finite("speed_kmh", fields.speed_kmh)?,
            position: fields.position.unwrap_or_default(),
            rotation: fields.rotation.unwrap_or_default(),
            present,
            paused: (fields.paused == Some(true)).into(),
            reserved: [0; 3],
            check: 0,
        };
        state.check = state.check_value();
        Ok(state)
    }
}

impl From<VehicleState> for VehicleStateFields {
    fn from(state: VehicleState) -> Self {
        Self {
            steering: state.steering(),
            throttle: state.throttle(),
            brake: state.brake(),
            speed_kmh: state.speed_kmh(),
            position: state.position(),
            rotation: state.rotation(),
            paused: state.paused(),
        }
    }
}

impl fmt::Debug for VehicleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        VehicleStateFields::from(*self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_a_value_of_its_own() {
        let fields = VehicleStateFields { speed_kmh: 42.0, position: Some([0.0; 3]), ..Default::default() };
        let state = VehicleState::try_from(fields).unwrap();
        assert_eq!(VehicleStateFields::from(state), fields);
        assert_eq!((state.rotation(), state.paused()), (None, None));
        assert!(state.is_whole());
    }

    #[test]
    fn numbers_are_clamped_or_refused() {
        let fields = VehicleStateFields { steering: 3.0, ..Default::default() };
        assert_eq!(VehicleState::try_from(fields).unwrap().steering(), 1.0);
        let fields = VehicleStateFields { position: Some([0.0, f32::NAN, 0.0]), ..Default::default() };
        assert!(VehicleState::try_from(fields).is_err());
        let foreign = VehicleState::from_bytes(&[0xff; size_of::<VehicleState>()]).unwrap();
        assert_eq!((foreign.speed_kmh(), foreign.position(), foreign.paused()), (0.0, None, Some(true)));
        assert!(!foreign.is_whole());
    }
}
