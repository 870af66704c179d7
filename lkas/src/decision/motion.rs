//! How the vehicle moves against its lane: carried forward over the delay of the loop, and from frame to frame.

use std::collections::VecDeque;

/// Distance between the axles that the step from a path's curvature to steering assumes, in metres.
const WHEELBASE_M: f32 = 2.7;

/// Angle of the front wheels at full steering, in degrees.
const MAX_WHEEL_ANGLE_DEG: f32 = 35.0;

/// Time constant with which the wheels follow, in seconds.
const STEERING_LAG_S: f32 = 0.08;

/// The speed that gains assume where the vehicle does not tell its own, in m/s.
const ASSUMED_SPEED: f32 = 12.0;

/// From a control's publish to its effect where the vehicle does not tell it, in seconds.
const ASSUMED_TRANSPORT_S: f32 = 0.03;

/// Longer delays than this are not predicted over, in seconds.
const LONGEST_S: f32 = 0.6;

/// The measured delay rises at once and falls with this time constant, in seconds.
const DELAY_FALLS_S: f32 = 1.5;

/// Step of the prediction in seconds.
const STEP_S: f32 = 0.01;

/// Time constant of the curvature that straight lines show, in seconds.
const TURNING_S: f32 = 0.35;

/// What the vehicle says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Motion {
    /// Speed in m/s, 0 or more.
    pub speed: f32,
    /// The wheels' angle, -1 (full left) to 1 (full right).
    pub steering: f32,
    /// From the capture of a frame to the instant at which the vehicle began to execute the control that answers it, for
    /// the last such control, in seconds.
    pub control_age_s: f32,
}

/// A vehicle in its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Path {
    /// Distance from the lane's middle in metres, positive to the right.
    pub(super) offset: f32,
    /// The lane's direction relative to the vehicle's in radians, positive to the right.
    pub(super) heading: f32,
    /// The lane's curvature in 1/m, positive to the right.
    pub(super) curvature: f32,
}

/// The steering for a path of that curvature, before any limit.
pub(super) fn steering_of(curvature: f32) -> f32 {
    (curvature * WHEELBASE_M).atan() / MAX_WHEEL_ANGLE_DEG.to_radians()
}

/// The curvature of the path for that steering.
pub(super) fn curvature_of(steering: f32) -> f32 {
    (steering * MAX_WHEEL_ANGLE_DEG.to_radians()).tan() / WHEELBASE_M
}

/// Where the vehicle will be when what is decided now takes effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Predictor {
    path: Path,
    speed: f32,
    /// The curvature of the vehicle's own path.
    own: f32,
    delay_s: f32,
    /// What was sent for each of the last frames, the newest first: for how long it counts, and the path's curvature.
    sent: VecDeque<(f32, f32)>,
    trim: f32,
    /// The direction that straight lines showed last.
    direction: Option<f32>,
    turning: f32,
    dt: f32,
}

impl Predictor {
    /// From a frame to the effect of the steering that answers it, in seconds.
    pub(super) fn delay_s(&self) -> f32 {
        self.delay_s
    }

    pub(super) fn speed(&self) -> f32 {
        self.speed
    }

    /// The vehicle in its lane when the last frame was taken.
    pub(super) fn path(&self) -> Path {
        self.path
    }

    /// The highest natural frequency of feedback that this delay and frame rate leave stable with a margin, in 1/s.
    pub(super) fn fastest(&self) -> f32 {
        0.62 / (0.16 + 0.45 * self.delay_s + 0.5 * self.dt)
    }

    /// Lets the vehicle drive on for `dt` seconds, to the instant of a frame that is now `age_s` old.
    pub(super) fn advance(&mut self, dt: f32, age_s: f32, motion: Option<Motion>) {
        let finite = |value: f32, otherwise: f32| if value.is_finite() { value } else { otherwise };
        self.dt = dt.min(0.2);
        let transport = motion.map_or(ASSUMED_TRANSPORT_S, |_| 0.0);
        let told = motion.map_or(0.0, |motion| finite(motion.control_age_s, LONGEST_S));
        let delay = (finite(age_s, 0.0).max(0.0) + transport).max(told).min(2.0);
        let falls = (-dt / DELAY_FALLS_S).exp();
        self.delay_s = delay.max(self.delay_s * falls + delay * (1.0 - falls));
        self.speed = motion.map_or(ASSUMED_SPEED, |motion| finite(motion.speed, ASSUMED_SPEED).clamp(0.0, 80.0));
        let steps = (dt / STEP_S).ceil();
        for step in 0..steps as u32 {
            // The frame before was taken `dt` ago.
            let since = dt - step as f32 * dt / steps;
            let command = self.in_effect(self.delay_s + since - dt);
            self.own += (command - self.own) * (1.0 - (-dt / steps / STEERING_LAG_S).exp());
            self.path = moved(self.path, self.speed, self.own, dt / steps);
        }
        if let Some(motion) = motion {
            // The wheels themselves, as they were told last; a little later than the frame.
            let told = curvature_of(finite(motion.steering, 0.0).clamp(-1.0, 1.0));
            self.own += 0.5 * (told - self.own);
        }
    }

    /// What was sent for a frame `ago` seconds before the last one: that is what is executed after the delay.
    fn in_effect(&self, ago: f32) -> f32 {
        let mut left = ago;
        for (span, curvature) in &self.sent {
            left -= span;
            if left < 0.0 {
                return *curvature;
            }
        }
        self.sent.back().map_or(0.0, |(_, curvature)| *curvature)
    }

    /// Takes over what a frame shows.
    pub(super) fn correct(&mut self, path: Path, _dt: f32) {
        self.path = path;
    }

    /// The curvature of a road that shows straight lines in this direction: how fast it turns against the vehicle, and the
    /// vehicle itself.
    pub(super) fn turning(&mut self, direction: f32) -> f32 {
        let before = self.direction.replace(direction);
        if let Some(before) = before
            && self.dt > 0.0
        {
            let seen = self.own + (direction - before) / (self.dt * self.speed.max(3.0));
            self.turning += (seen.clamp(-0.03, 0.03) - self.turning) * (self.dt / (TURNING_S + self.dt));
        }
        self.turning
    }

    /// The vehicle in its lane when steering that is sent now takes effect.
    pub(super) fn ahead(&self) -> Path {
        let delay = self.delay_s.min(LONGEST_S) + 0.5 * STEERING_LAG_S;
        let steps = (delay / STEP_S).ceil().max(1.0);
        let dt = delay / steps;
        let (mut path, mut own) = (self.path, self.own);
        for step in 0..steps as u32 {
            let command = self.in_effect(self.delay_s - step as f32 * dt);
            own += (command - own) * (1.0 - (-dt / STEERING_LAG_S).exp());
            path = moved(path, self.speed, own, dt);
        }
        path
    }

    /// Curvature against what pushes the vehicle aside all the time: grows while `learn` and the vehicle is off the middle.
    pub(super) fn trim(&mut self, learn: bool, omega: f32, dt: f32) -> f32 {
        let speed = self.speed.max(5.0);
        if learn && self.path.offset.abs() < 0.6 {
            self.trim -= 0.12 * omega * (omega / speed).powi(2) * self.path.offset * dt;
        }
        let most = 1.2 / (speed * speed);
        self.trim = self.trim.clamp(-most, most);
        self.trim
    }

    /// Remembers what is sent for a frame that came `dt` after the one before.
    pub(super) fn sent(&mut self, curvature: f32, dt: f32) {
        self.sent.push_front((dt.max(1e-3), curvature));
        let mut kept = 0.0;
        let mut count = 0;
        for (span, _) in &self.sent {
            kept += span;
            count += 1;
            if kept > LONGEST_S + 0.2 {
                break;
            }
        }
        self.sent.truncate(count.min(200));
    }
}

/// The vehicle after `dt` seconds on a path of the curvature `own`.
fn moved(path: Path, speed: f32, own: f32, dt: f32) -> Path {
    let heading = path.heading + speed * (path.curvature - own) * dt;
    let offset = path.offset - speed * (0.5 * (path.heading + heading)).sin() * dt;
    Path { offset: offset.clamp(-50.0, 50.0), heading: heading.clamp(-1.5, 1.5), ..path }
}
