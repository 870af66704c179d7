//! From lane lines to steering: where the vehicle is in its lane, what to do about it, and when not to.
//!
//! # Steering
//! The lane's place, direction and curvature are those of the instant at which the frame was taken. What is steered now
//! takes effect later, so they are first carried forward over the loop's delay, with the steering that is still on its way
//! (a Smith predictor). Then the path's curvature is that of the road, plus feedback of heading and offset that makes the
//! offset a damped oscillator of natural frequency `omega` (R. Rajamani, *Vehicle Dynamics and Control*, 2012, section
//! 2.5): `curvature = road + 2 zeta omega / v * heading - (omega / v)^2 * offset`. The gains so follow the speed; `omega`
//! follows `kp` and is bounded by the delay.
//!
//! # Safety
//! The keeper drives only on sure lines, and knows when it does not: see [`Health`]. `docs/safety.md` is the concept.

mod geometry;
mod health;
mod motion;

pub use health::{Health, Reason};
pub use motion::Motion;

use crate::detection::{LEAST_CONFIDENCE, LaneShape, SURE};
use geometry::LaneGeometry;
use health::{Monitor, Verdict};
use lkas_messages::NameError;
use lkas_messages::names::{Category, PARAMETERS, Parameter};
use lkas_messages::{ControlFields, Departure, DetectionFields, Mode};
use motion::{Path, Predictor};

/// Width of a lane that distances in metres assume where only lines in a picture are known.
pub const LANE_WIDTH_M: f32 = 3.5;

/// Horizontal field of view of the camera that distances ahead and angles assume, in degrees, where only lines in a picture
/// are known.
pub const FIELD_OF_VIEW_DEG: f32 = 80.0;

/// Width of the vehicle in metres: its wheels touch a line when its middle is half of this away.
pub const VEHICLE_WIDTH_M: f32 = 1.8;

/// For so far without a lane the vehicle follows the last curvature, in metres: a little more than the gap between two
/// dashes. Then it is an emergency stop.
pub const HOLD_M: f32 = 8.0;
/// The same in seconds: no less than the first, no more than the second.
pub const HOLD_S: [f32; 2] = [0.4, 1.2];

/// Natural frequency of the offset's feedback at the default of `kp`, in 1/s.
const OMEGA: f32 = 2.0;
/// It is never less, whatever `kp` is: less would not keep a lane.
const LEAST_OMEGA: f32 = 0.9;

/// The vehicle is not steered harder sideways than this, in m/s².
const MOST_SIDEWAYS: f32 = 5.0;
/// Where the road asks for more than this sideways, in m/s², the vehicle slows down.
const SIDEWAYS: f32 = 3.2;

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

/// What is known beside the lines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circumstances {
    /// Time since the frame before was taken, in seconds.
    pub dt: f32,
    /// Time since this frame was taken, in seconds.
    pub age_s: f32,
    /// The lane on the ground, where the detection tells it.
    pub shape: Option<LaneShape>,
    /// What the vehicle does, where it tells it.
    pub motion: Option<Motion>,
}

impl Circumstances {
    /// Nothing but the time since the frame before.
    #[must_use]
    pub fn after(dt: f32) -> Self {
        Self { dt, age_s: 0.0, shape: None, motion: None }
    }
}

/// Where the vehicle is in its lane, at the instant at which a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    path: Path,
    width_m: f32,
    /// Width of the lane at the bottom of the picture, in pixels, if both lines are known.
    width_px: Option<f32>,
    /// How sure each line is.
    sure: [f32; 2],
    unchanged: bool,
}

/// Keeps the vehicle in its lane.
#[derive(Clone, Debug)]
pub struct LaneKeeper {
    parameters: DecisionParameters,
    geometry: LaneGeometry,
    monitor: Monitor,
    predictor: Predictor,
    departure: Option<Departure>,
    steering: f32,
}

impl LaneKeeper {
    /// A keeper that has seen no lane yet.
    #[must_use]
    pub fn new(parameters: DecisionParameters) -> Self {
        Self {
            parameters,
            geometry: LaneGeometry::default(),
            monitor: Monitor::default(),
            predictor: Predictor::default(),
            departure: None,
            steering: 0.0,
        }
    }

    /// The parameters in force.
    #[must_use]
    pub fn parameters(&self) -> &DecisionParameters {
        &self.parameters
    }

    /// How well the lane is known, and what follows from it.
    #[must_use]
    pub fn health(&self) -> Health {
        self.monitor.health()
    }

    /// Time from a frame to the effect of the steering that answers it, as measured, in seconds.
    #[must_use]
    pub fn delay_s(&self) -> f32 {
        self.predictor.delay_s()
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

    /// What to do about `detection` under these circumstances.
    ///
    /// - [`Health::Good`]: steering, throttle that falls as the steering grows, mode lane keeping.
    /// - [`Health::Degraded`]: the same, slowly.
    /// - [`Health::Lost`]: along the last curvature with the least throttle, for [`HOLD_M`].
    /// - [`Health::Stopped`]: an emergency stop that steers by the lane as far as it is seen, and else along the last
    ///   curvature, until both lines have been seen for a while. The same before the first lane: nothing drives on a
    ///   guess.
    pub fn decide(&mut self, detection: &DetectionFields, circumstances: &Circumstances) -> ControlFields {
        let dt = if circumstances.dt.is_finite() { circumstances.dt.clamp(0.0, 1.0) } else { 0.0 };
        self.predictor.advance(dt, circumstances.age_s, circumstances.motion);
        let place = self.place(detection, circumstances.shape.as_ref());
        let verdict = self.monitor.judge(place.as_ref(), &self.predictor, circumstances.motion, dt);
        if let (Some(place), Verdict::Use) = (&place, verdict) {
            self.predictor.correct(place.path, dt);
        }
        self.departure = place
            .filter(|_| verdict == Verdict::Use)
            .map(|place| departure((place.path.offset / (0.5 * place.width_m)).abs(), self.departure));
        let fields =
            ControlFields { frame_id: detection.frame_id, timestamp: detection.timestamp, ..ControlFields::default() };
        let mut control = self.command(fields, circumstances.motion, dt);
        if let Some(place) = place.filter(|_| verdict == Verdict::Use) {
            control.lateral_offset = Some(place.path.offset / (0.5 * place.width_m));
            control.lateral_offset_m = Some(place.path.offset);
            control.heading_angle_deg = Some(place.path.heading.to_degrees());
            control.lane_width_px = place.width_px;
            control.departure = self.departure;
        }
        control
    }

    /// What to do where no detection has come for `dt` seconds more: an emergency stop along the last curvature.
    pub fn without_detection(&mut self, dt: f32, motion: Option<Motion>) -> ControlFields {
        let dt = if dt.is_finite() { dt.clamp(0.0, 1.0) } else { 0.0 };
        self.predictor.advance(dt, self.predictor.delay_s(), motion);
        self.monitor.silence();
        self.departure = None;
        self.command(ControlFields::default(), motion, dt)
    }

    fn command(&mut self, fields: ControlFields, motion: Option<Motion>, dt: f32) -> ControlFields {
        let health = self.monitor.health();
        let stopping = matches!(health, Health::Stopped(_));
        let speed = self.predictor.speed();
        self.steering = self.steer(stopping, health == Health::Good, dt);
        if stopping {
            return ControlFields {
                mode: Mode::EmergencyStop,
                steering: self.steering,
                throttle: 0.0,
                brake: 1.0,
                ..fields
            };
        }
        let mut throttle = self.throttle();
        let mut brake = 0.0;
        let fast = motion.is_some() && speed * speed * self.predictor.path().curvature.abs() > SIDEWAYS;
        if health != Health::Good || fast {
            throttle = throttle.min(self.parameters.throttle_min);
            brake = if fast { 0.2 } else { 0.0 };
        }
        ControlFields { mode: Mode::LaneKeeping, steering: self.steering, throttle, brake, ..fields }
    }

    /// The lane's place: on the ground where the detection tells it, else from lines in the picture.
    fn place(&mut self, detection: &DetectionFields, shape: Option<&LaneShape>) -> Option<Place> {
        let sure = [detection.left, detection.right].map(|lane| lane.map_or(0.0, |lane| lane.confidence));
        let located = self.geometry.locate(detection);
        let width_px = located.map(|located| located.width_px);
        if let Some(shape) = shape {
            let numbers = [shape.middle_m, shape.width_m, shape.heading, shape.curvature];
            let usable = numbers.iter().all(|number| number.is_finite()) && shape.width_m > 1.0;
            let path = Path { offset: -shape.middle_m, heading: shape.heading, curvature: shape.curvature };
            return usable.then_some(Place {
                path,
                width_m: shape.width_m,
                width_px,
                sure: shape.seen.map(|sure| if sure.is_finite() { sure } else { 0.0 }),
                unchanged: shape.unchanged,
            });
        }
        let located = located?;
        let half = 0.5 * LANE_WIDTH_M;
        // Straight lines show the curve as a heading that changes: the predictor makes a curvature of it.
        let path = Path {
            offset: located.offset * half,
            heading: located.heading_deg.to_radians(),
            curvature: self.predictor.turning(located.heading_deg.to_radians()),
        };
        Some(Place { path, width_m: LANE_WIDTH_M, width_px, sure, unchanged: false })
    }

    fn steer(&mut self, stopping: bool, trim: bool, dt: f32) -> f32 {
        let DecisionParameters { kp, kd, steer_max, .. } = self.parameters;
        let speed = self.predictor.speed().max(3.0);
        let omega = (OMEGA * (kp / 0.5).max(0.0).sqrt()).min(self.predictor.fastest()).max(LEAST_OMEGA);
        let zeta = (0.9 + 0.6 * (kd - 0.1)).clamp(0.85, 1.4);
        let path = self.predictor.ahead();
        let trim = self.predictor.trim(trim, omega, dt);
        let feedback = 2.0 * zeta * omega / speed * path.heading - (omega / speed).powi(2) * path.offset;
        // Feedback alone never asks for more than 3 m/s² sideways.
        let bound = 3.0 / (speed * speed);
        let most = MOST_SIDEWAYS / (speed * speed);
        let curvature = (path.curvature + feedback.clamp(-bound, bound) + trim).clamp(-most, most);
        let steering = motion::steering_of(curvature);
        // A stop has to stay in the lane: what is comfortable does not count any more.
        let steer_max = if stopping { 1.0 } else { steer_max };
        let steering = steering.clamp(-steer_max, steer_max);
        self.predictor.sent(motion::curvature_of(steering), dt);
        steering
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
