//! How the vehicle moves.

use super::road::{Pose, wrap_angle};
use lkas_messages::{Control, VehicleStateFields};
use lkas_shm::SafetyOptions;

/// Distance between the axles in metres.
pub const WHEELBASE_M: f64 = 2.7;

/// Angle of the front wheels at full steering, in degrees.
pub const MAX_WHEEL_ANGLE_DEG: f64 = 35.0;

/// Distance from the vehicle's centre to the rear axle, in metres.
const REAR_M: f64 = 0.5 * WHEELBASE_M;

/// The front wheels turn no faster, in degrees per second.
const MAX_WHEEL_RATE_DEG: f64 = 45.0;

/// Time constant with which the front wheels follow the command, in seconds.
const STEERING_LAG_S: f64 = 0.08;

/// Acceleration at full throttle, before drag, in m/s².
const FULL_THROTTLE: f64 = 8.0;

/// Deceleration at full brake in m/s².
const FULL_BRAKE: f64 = 8.0;

/// Rolling resistance in m/s², then the parts of the drag that grow with the speed and with its square. The latter two
/// are chosen so that a throttle of 0.14 settles at 40 km/h and one of 0.05 at 20 km/h.
const DRAG: [f64; 3] = [0.1, 0.016_19, 0.006_807];

/// The tyres hold no more sideways acceleration, in m/s²: beyond it the vehicle turns less than its wheels say.
const MAX_SIDEWAYS: f64 = 8.0;

/// The motion is integrated in steps no longer than this, in seconds.
const MAX_STEP_S: f64 = 0.005;

/// No more than this is simulated in one call, in seconds: a program that was held up must not make the vehicle jump.
const MAX_CALL_S: f64 = 0.25;

/// The limits of its safety monitor. It brakes hard: until it stands it steers along the last curvature, and the shorter
/// its way, the less the road can bend meanwhile.
pub const SAFETY: SafetyOptions = SafetyOptions::new().brake(0.85);

/// What the vehicle is told to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Command {
    /// -1 (full left) to 1 (full right).
    pub steering: f64,
    /// 0 to 1.
    pub throttle: f64,
    /// 0 to 1.
    pub brake: f64,
}

impl Command {
    /// The same command with everything in range: what is not finite is no steering, no throttle and full brake.
    #[must_use]
    pub fn sane(self) -> Self {
        let sane = |value: f64, min, safe| if value.is_finite() { value.clamp(min, 1.0) } else { safe };
        Self {
            steering: sane(self.steering, -1.0, 0.0),
            throttle: sane(self.throttle, 0.0, 0.0),
            brake: sane(self.brake, 0.0, 1.0),
        }
    }
}

impl From<&Control> for Command {
    fn from(control: &Control) -> Self {
        Self {
            steering: f64::from(control.steering()),
            throttle: f64::from(control.throttle()),
            brake: f64::from(control.brake()),
        }
    }
}

/// A vehicle on flat ground: the kinematic bicycle model of R. Rajamani, *Vehicle Dynamics and Control*, section 2.2,
/// with both axles equally far from the centre and only the front wheels steered.
///
/// Its position is that of its centre. It never moves backwards, and no number in it ever is NaN or infinite.
#[derive(Clone, Debug)]
pub struct Vehicle {
    pose: Pose,
    /// m/s, 0 or more.
    speed: f64,
    /// Angle of the front wheels in radians, positive to the right.
    wheel_angle: f64,
    command: Command,
    /// Sideways acceleration by wind, in m/s².
    wind: f64,
}

impl Vehicle {
    /// A vehicle that stands at `pose` with straight wheels.
    #[must_use]
    pub fn new(pose: Pose) -> Self {
        Self { pose, speed: 0.0, wheel_angle: 0.0, command: Command::default(), wind: 0.0 }
    }

    /// Puts the vehicle back to `pose`, standing, with straight wheels.
    pub fn respawn(&mut self, pose: Pose) {
        *self = Self::new(pose);
    }

    /// The same vehicle on its way at `speed` m/s (0 or more), with its wheels set for a curve of `curvature`, in 1/m.
    #[must_use]
    pub fn moving(self, speed: f64, curvature: f64) -> Self {
        let limit = MAX_WHEEL_ANGLE_DEG.to_radians();
        Self { speed: speed.max(0.0), wheel_angle: (curvature * WHEELBASE_M).atan().clamp(-limit, limit), ..self }
    }

    /// Lets wind push it to the right (positive) or left, in m/s²: it turns as if its wheels were set by that much aside.
    pub fn push(&mut self, sideways: f64) {
        self.wind = if sideways.is_finite() { sideways.clamp(-MAX_SIDEWAYS, MAX_SIDEWAYS) } else { 0.0 };
    }

    /// The front wheels' angle as a part of the largest, -1 to 1, positive to the right.
    #[must_use]
    pub fn steering(&self) -> f64 {
        self.wheel_angle / MAX_WHEEL_ANGLE_DEG.to_radians()
    }

    /// Place and direction of the vehicle's centre.
    #[must_use]
    pub fn pose(&self) -> Pose {
        self.pose
    }

    /// Speed in m/s, 0 or more.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Whether the vehicle stands still.
    #[must_use]
    pub fn is_standing(&self) -> bool {
        self.speed == 0.0
    }

    /// Lets `dt` seconds pass under `command`. More than 0.25 s counts as 0.25 s; less than 0 or not finite, as 0.
    pub fn step(&mut self, command: Command, dt: f64) {
        self.command = command.sane();
        let dt = if dt.is_finite() { dt.clamp(0.0, MAX_CALL_S) } else { 0.0 };
        let steps = (dt / MAX_STEP_S).ceil();
        for _ in 0..steps as u32 {
            self.small_step(dt / steps);
        }
    }

    fn small_step(&mut self, dt: f64) {
        let Command { steering, throttle, brake } = self.command;

        let target = steering * MAX_WHEEL_ANGLE_DEG.to_radians();
        let limit = MAX_WHEEL_RATE_DEG.to_radians() * dt;
        let lag = 1.0 - (-dt / STEERING_LAG_S).exp();
        self.wheel_angle += ((target - self.wheel_angle) * lag).clamp(-limit, limit);

        let [rolling, linear, square] = DRAG;
        let resistance = rolling + (linear + square * self.speed) * self.speed + brake * FULL_BRAKE;
        let before = self.speed;
        // Resistance stops the vehicle but never moves it.
        self.speed = (before + (throttle * FULL_THROTTLE - resistance) * dt).max(0.0);
        let speed = 0.5 * (before + self.speed);
        if speed == 0.0 {
            return;
        }

        // Rajamani, equations 2.2, 2.4 and 2.9 with the rear wheels straight: slip angle, yaw rate.
        let slip = (REAR_M / WHEELBASE_M * self.wheel_angle.tan()).atan();
        let yaw_rate = speed * slip.cos() * self.wheel_angle.tan() / WHEELBASE_M;
        let yaw_limit = MAX_SIDEWAYS / speed;
        // The wind's share fades out where the vehicle hardly moves: standing wheels hold it.
        let wind = self.wind * speed / (speed * speed + 4.0);
        let turn = (yaw_rate + wind).clamp(-yaw_limit, yaw_limit) * dt;
        let (sin, cos) = (self.pose.heading + 0.5 * turn + slip).sin_cos();
        self.pose.x += speed * cos * dt;
        self.pose.y += speed * sin * dt;
        self.pose.heading = wrap_angle(self.pose.heading + turn);
    }

    /// What a `vehicle_status` says: the wheels' real angle as steering, the executed throttle and brake, position in
    /// metres, rotation in degrees (the ground is flat: only the yaw, -180 to 180, positive to the right), speed in km/h.
    #[must_use]
    pub fn state(&self) -> VehicleStateFields {
        VehicleStateFields {
            steering: (self.wheel_angle / MAX_WHEEL_ANGLE_DEG.to_radians()) as f32,
            throttle: self.command.throttle as f32,
            brake: self.command.brake as f32,
            speed_kmh: (self.speed * 3.6) as f32,
            position: Some([self.pose.x as f32, self.pose.y as f32, 0.0]),
            rotation: Some([0.0, self.pose.heading.to_degrees() as f32, 0.0]),
            paused: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::VehicleState;

    fn drive(vehicle: &mut Vehicle, command: Command, seconds: f64) {
        for _ in 0..(seconds * 100.0) as u32 {
            vehicle.step(command, 0.01);
        }
    }

    fn throttle(throttle: f64) -> Command {
        Command { throttle, ..Command::default() }
    }

    #[test]
    fn throttle_settles_at_the_documented_speeds() {
        for (pedal, kmh) in [(0.14, 40.0), (0.05, 20.0)] {
            let mut vehicle = Vehicle::new(Pose::default());
            drive(&mut vehicle, throttle(pedal), 120.0);
            assert!((vehicle.speed() * 3.6 - kmh).abs() < 0.5, "{pedal}: {}", vehicle.speed() * 3.6);
        }
    }

    #[test]
    fn braking_stops_in_the_expected_time_and_never_reverses() {
        let mut vehicle = Vehicle::new(Pose::default());
        drive(&mut vehicle, throttle(0.14), 60.0);
        let speed = vehicle.speed();
        let brake = Command { brake: 1.0, ..Command::default() };
        drive(&mut vehicle, brake, 0.5);
        // 8 m/s² of brake, and between 0.1 and 1.2 m/s² of drag on top.
        assert!((4.0..4.7).contains(&(speed - vehicle.speed())), "{}", speed - vehicle.speed());
        drive(&mut vehicle, brake, 10.0);
        assert!(vehicle.is_standing());
        let stopped = vehicle.pose();
        drive(&mut vehicle, Command { throttle: 0.5, brake: 1.0, steering: 1.0 }, 1.0);
        assert_eq!(vehicle.pose(), stopped, "the brake is stronger than the throttle");
    }

    #[test]
    fn the_circle_has_the_radius_of_the_formula() {
        let mut vehicle = Vehicle::new(Pose::default());
        let command = Command { steering: 0.2, throttle: 0.05, brake: 0.0 };
        drive(&mut vehicle, command, 60.0);
        let (yaw, speed) = (vehicle.pose().heading, vehicle.speed());
        vehicle.step(command, 0.01);
        let radius = speed * 0.01 / wrap_angle(vehicle.pose().heading - yaw);
        let angle = (0.2 * MAX_WHEEL_ANGLE_DEG).to_radians();
        let slip = (0.5 * angle.tan()).atan();
        let expected = WHEELBASE_M / (angle.tan() * slip.cos());
        assert!((radius - expected).abs() < 0.05, "{radius} {expected}");
        assert!(radius > 0.0, "positive steering turns to the right");
    }

    #[test]
    fn positive_steering_moves_to_the_right() {
        let mut vehicle = Vehicle::new(Pose::default());
        drive(&mut vehicle, Command { steering: 0.1, throttle: 0.3, brake: 0.0 }, 3.0);
        assert!(vehicle.pose().y > 0.1 && vehicle.pose().heading > 0.0, "{:?}", vehicle.pose());
    }

    #[test]
    fn the_wheels_take_their_time() {
        let mut vehicle = Vehicle::new(Pose::default());
        let full = Command { steering: 1.0, ..Command::default() };
        vehicle.step(full, 0.1);
        let after = vehicle.wheel_angle.to_degrees();
        assert!((after - 4.5).abs() < 0.1, "limited rate: {after}");
        drive(&mut vehicle, full, 3.0);
        assert!((vehicle.wheel_angle.to_degrees() - 35.0).abs() < 0.01);
        let mut small = Vehicle::new(Pose::default());
        small.step(Command { steering: 0.01, ..Command::default() }, STEERING_LAG_S);
        let share = small.wheel_angle.to_degrees() / 0.35;
        assert!((share - 0.632).abs() < 0.01, "first-order lag: {share}");
    }

    #[test]
    fn nonsense_never_becomes_motion_or_nan() {
        let mut vehicle = Vehicle::new(Pose::default());
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            for dt in [0.1, nonsense, -1.0] {
                vehicle.step(Command { steering: nonsense, throttle: nonsense, brake: nonsense }, dt);
                vehicle.step(Command { steering: 0.5, throttle: 0.2, brake: 0.0 }, dt);
            }
        }
        assert!(VehicleState::try_from(vehicle.state()).is_ok(), "{:?}", vehicle.state());
        let before = vehicle.pose();
        vehicle.step(throttle(0.1), f64::NAN);
        vehicle.step(throttle(0.1), -3.0);
        assert_eq!(vehicle.pose(), before);
        let speed = vehicle.speed();
        vehicle.step(throttle(0.0), 1e9);
        assert!((vehicle.pose().x - before.x).hypot(vehicle.pose().y - before.y) <= speed * MAX_CALL_S + 1e-9);
    }

    #[test]
    fn a_respawned_vehicle_stands() {
        let mut vehicle = Vehicle::new(Pose::default());
        drive(&mut vehicle, Command { steering: 0.5, throttle: 0.5, brake: 0.0 }, 2.0);
        vehicle.respawn(Pose { x: 1.0, y: 2.0, heading: 0.5 });
        let state = vehicle.state();
        assert_eq!((state.speed_kmh, state.steering, state.throttle), (0.0, 0.0, 0.0));
        assert_eq!(state.position, Some([1.0, 2.0, 0.0]));
    }
}
