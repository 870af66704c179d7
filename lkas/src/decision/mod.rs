//! From lane lines to steering: where the vehicle is in its lane, and what to do about it.
//!
//! Everything is measured in half lane widths, which a picture shows without knowing anything about its camera: at any
//! height of the picture, the distance of the lane's middle from the picture's middle divided by half the lane's width
//! there. Only the step to metres and degrees needs assumptions, [`LANE_WIDTH_M`] and [`FIELD_OF_VIEW_DEG`].
//!
//! Steering is proportional-derivative control of the *preview error*: how far to the side the lane's middle is at a
//! point [`LOOK_AHEAD_M`] in front (Rajamani, Vehicle Dynamics and Control, 2012, section 3.2). One error so holds the
//! offset, the heading and the curve ahead.

mod geometry;

use geometry::LaneGeometry;
use lkas_messages::NameError;
use lkas_messages::names::{Category, PARAMETERS, Parameter};
use lkas_messages::{ControlFields, Departure, DetectionFields, Mode};

/// Width of a lane that distances in metres assume.
pub const LANE_WIDTH_M: f32 = 3.5;

/// Horizontal field of view of the camera that distances ahead and angles assume, in degrees.
pub const FIELD_OF_VIEW_DEG: f32 = 80.0;

/// How far in front of the camera the lane's middle is aimed at, in metres.
pub const LOOK_AHEAD_M: f32 = 9.0;

/// For so long without any lane the last steering is held, in seconds. Then it is an emergency stop.
pub const HOLD_S: f32 = 0.5;

/// Time constant of the filter in front of the derivative, in seconds: one frame's noise must not jerk the wheel.
const DERIVATIVE_FILTER_S: f32 = 0.15;

/// Gaps between detections longer than this are not differentiated over, in seconds.
const LONGEST_GAP_S: f32 = 0.25;

/// Lateral offset at which drifting and departing begin, as a fraction of half the lane's width. A vehicle 1.8 m wide
/// touches the line at about 0.5.
const DRIFT: f32 = 0.25;
const DEPARTURE: f32 = 0.5;
/// How much further back each ends, so that the status does not flicker.
const HYSTERESIS: f32 = 0.05;

/// The decision server's parameters. Ranges and defaults are those of [`PARAMETERS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionParameters {
    /// Steering for a preview error of half a lane's width.
    pub kp: f32,
    /// Steering for a preview error that grows by half a lane's width a second.
    pub kd: f32,
    /// Throttle while going straight.
    pub throttle_base: f32,
    /// Throttle at the largest steering.
    pub throttle_min: f32,
    /// Steering beyond which the throttle falls.
    pub steer_threshold: f32,
    /// Largest steering.
    pub steer_max: f32,
}

impl Default for DecisionParameters {
    fn default() -> Self {
        let mut parameters =
            Self { kp: 0.0, kd: 0.0, throttle_base: 0.0, throttle_min: 0.0, steer_threshold: 0.0, steer_max: 0.0 };
        for parameter in PARAMETERS.iter().filter(|parameter| parameter.category == Category::Decision) {
            if let Some(place) = parameters.place(parameter.name) {
                *place = parameter.default as f32;
            }
        }
        parameters
    }
}

impl DecisionParameters {
    fn place(&mut self, name: &str) -> Option<&mut f32> {
        Some(match name {
            "kp" => &mut self.kp,
            "kd" => &mut self.kd,
            "throttle_base" => &mut self.throttle_base,
            "throttle_min" => &mut self.throttle_min,
            "steer_threshold" => &mut self.steer_threshold,
            "steer_max" => &mut self.steer_max,
            _ => return None,
        })
    }
}

/// Keeps the vehicle in its lane.
#[derive(Clone, Debug)]
pub struct LaneKeeper {
    parameters: DecisionParameters,
    geometry: LaneGeometry,
    /// The preview error before, and its filtered derivative for each second.
    error: Option<f32>,
    derivative: f32,
    departure: Option<Departure>,
    steering: f32,
    /// For how long there has been no lane, in seconds; infinite until there was one.
    blind_s: f32,
}

impl LaneKeeper {
    /// A keeper that has seen no lane yet.
    #[must_use]
    pub fn new(parameters: DecisionParameters) -> Self {
        Self {
            parameters,
            geometry: LaneGeometry::default(),
            error: None,
            derivative: 0.0,
            departure: None,
            steering: 0.0,
            blind_s: f32::INFINITY,
        }
    }

    /// The parameters in force.
    #[must_use]
    pub fn parameters(&self) -> &DecisionParameters {
        &self.parameters
    }

    /// Changes a parameter and returns the value in force: clamped to its range; unchanged where `value` is not finite.
    ///
    /// # Errors
    /// No parameter of the decision server has this name.
    pub fn set(&mut self, name: &str, value: f64) -> Result<f64, NameError> {
        let parameter = Parameter::find(Category::Decision, name)?;
        let Some(place) = self.parameters.place(parameter.name) else { return Ok(parameter.default) };
        if let Some(value) = parameter.accept(value) {
            *place = value as f32;
        }
        Ok(f64::from(*place))
    }

    /// What to do about `detection`, which was made `dt` seconds after the one before.
    ///
    /// - With both lanes: steering, throttle that falls as the steering grows, mode lane keeping.
    /// - With one lane: the other is assumed where the lane's last known width puts it.
    /// - With none: the last steering and the least throttle for [`HOLD_S`], then an emergency stop until a lane is back.
    ///   The same before the first lane: nothing drives on a guess.
    pub fn decide(&mut self, detection: &DetectionFields, dt: f32) -> ControlFields {
        let dt = if dt.is_finite() { dt.max(0.0) } else { 0.0 };
        let fields =
            ControlFields { frame_id: detection.frame_id, timestamp: detection.timestamp, ..ControlFields::default() };
        let Some(lane) = self.geometry.locate(detection) else { return self.without_lane(fields, dt) };
        self.blind_s = 0.0;
        self.departure = Some(departure(lane.offset.abs(), self.departure));
        self.steering = self.steer(lane.preview, dt);
        ControlFields {
            mode: Mode::LaneKeeping,
            steering: self.steering,
            throttle: self.throttle(),
            brake: 0.0,
            lateral_offset: Some(lane.offset),
            lateral_offset_m: Some(lane.offset * LANE_WIDTH_M / 2.0),
            heading_angle_deg: Some(lane.heading_deg),
            lane_width_px: Some(lane.width_px),
            departure: self.departure,
            ..fields
        }
    }

    fn without_lane(&mut self, fields: ControlFields, dt: f32) -> ControlFields {
        self.blind_s += dt;
        self.error = None;
        self.departure = None;
        if self.blind_s > HOLD_S {
            self.derivative = 0.0;
            self.steering = 0.0;
            return fields;
        }
        let throttle = self.parameters.throttle_min.min(self.throttle());
        ControlFields { mode: Mode::LaneKeeping, steering: self.steering, throttle, brake: 0.0, ..fields }
    }

    fn steer(&mut self, error: f32, dt: f32) -> f32 {
        match self.error {
            Some(before) if dt > 0.0 && dt <= LONGEST_GAP_S => {
                let share = dt / (DERIVATIVE_FILTER_S + dt);
                self.derivative += share * ((error - before) / dt - self.derivative);
            }
            _ => self.derivative = 0.0,
        }
        self.error = Some(error);
        let DecisionParameters { kp, kd, steer_max, .. } = self.parameters;
        (kp * error + kd * self.derivative).clamp(-steer_max, steer_max)
    }

    /// Falls from `throttle_base` at `steer_threshold` to `throttle_min` at `steer_max`.
    fn throttle(&self) -> f32 {
        let DecisionParameters { throttle_base, throttle_min, steer_threshold, steer_max, .. } = self.parameters;
        let beyond = self.steering.abs() - steer_threshold;
        if beyond <= 0.0 {
            return throttle_base;
        }
        let share = (beyond / (steer_max - steer_threshold).max(f32::EPSILON)).clamp(0.0, 1.0);
        throttle_base + share * (throttle_min.min(throttle_base) - throttle_base)
    }
}

/// The status for an offset of that size, where it was `before`.
fn departure(offset: f32, before: Option<Departure>) -> Departure {
    let above = |limit: f32, was: bool| offset > if was { limit - HYSTERESIS } else { limit };
    let departed = before == Some(Departure::Departure);
    if above(DEPARTURE, departed) {
        Departure::Departure
    } else if above(DRIFT, departed || before == Some(Departure::Drift)) {
        Departure::Drift
    } else {
        Departure::Centred
    }
}

#[cfg(test)]
mod tests;
