//! Road, vehicle and camera as one.

use super::{
    camera::{Camera, CameraError, CameraOptions},
    road::{Pose, Road},
    traffic::{self, Car},
    vehicle::{Command, Vehicle},
    weather::{Filter, Lens, Weather},
};
use lkas_messages::{ImageShape, VehicleStateFields};

/// Below this speed in m/s the vehicle counts as standing for the statistics.
const MOVING: f64 = 0.5;

/// What a [`World`] is made from.
#[derive(Clone, Debug, Default)]
pub struct WorldOptions {
    /// The camera.
    pub camera: CameraOptions,
    /// The road.
    pub road: Road,
    /// Where along the road the vehicle starts and respawns, in metres. Wraps around after a lap.
    pub start_s: f64,
    /// How far from the middle of the lane it starts, in metres, positive to the right.
    pub start_offset_m: f64,
    /// By how much it starts turned to the right of the road's direction, in degrees.
    pub start_heading_deg: f64,
    /// How fast it is at the start, in m/s.
    pub start_speed: f64,
    /// Other vehicles.
    pub cars: Vec<Car>,
    /// Light and weather.
    pub weather: Weather,
    /// What lens and sensor do to pictures.
    pub lens: Lens,
    /// What noise and dirt are drawn from.
    pub seed: u32,
}

/// How well the vehicle kept its lane, from the ground truth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Mean of the distance from the middle of the lane while moving, in metres, weighted by time.
    pub mean_abs_offset_m: f64,
    /// Largest distance from the middle of the lane while moving, in metres.
    pub max_abs_offset_m: f64,
    /// For how long the vehicle has been moving, in seconds.
    pub moving_s: f64,
    /// How far it has come, in metres.
    pub distance_m: f64,
}

/// The simulated world: a vehicle on a road, seen through its camera. It does what it is told;
/// a [`SafetyMonitor`](lkas_shm::SafetyMonitor) in front of it keeps that safe.
///
/// Nothing in it reads a clock, a file or another process: the same calls give the same pictures and states.
#[derive(Debug)]
pub struct World {
    road: Road,
    vehicle: Vehicle,
    camera: Camera,
    filter: Filter,
    options: WorldOptions,
    time_s: f64,
    frame: u64,
    /// The vehicle's place along the road and its offset from the middle of the lane.
    place: (f64, f64),
    paused: bool,
    statistics: Statistics,
    /// The sum of offset times time.
    offset_seconds: f64,
}

impl World {
    /// A world with the vehicle standing at the start.
    ///
    /// # Errors
    /// [`CameraError`] where the camera can't be made as asked.
    pub fn new(options: WorldOptions) -> Result<Self, CameraError> {
        let mut camera = Camera::new(options.camera)?;
        camera.shade(options.weather.shadows);
        let filter = Filter::new(options.weather, options.lens, options.seed, camera.pinhole());
        let mut world = Self {
            road: options.road.clone(),
            vehicle: Vehicle::new(Pose::default()),
            camera,
            filter,
            time_s: 0.0,
            frame: 0,
            place: (0.0, 0.0),
            paused: false,
            statistics: Statistics::default(),
            offset_seconds: 0.0,
            options,
        };
        world.respawn();
        Ok(world)
    }

    /// Lets `dt` seconds pass under `command`, at most 0.25. While paused nothing passes.
    pub fn step(&mut self, command: Command, dt: f64) {
        if self.paused {
            return;
        }
        let before = self.vehicle.pose();
        self.vehicle.step(command, dt);
        self.time_s += if dt.is_finite() { dt.clamp(0.0, 0.25) } else { 0.0 };
        let after = self.vehicle.pose();
        self.place = self.road.locate([after.x, after.y], self.place.0);
        self.statistics.distance_m += (after.x - before.x).hypot(after.y - before.y);
        if self.vehicle.speed() > MOVING && dt.is_finite() && dt > 0.0 {
            let offset = self.place.1.abs();
            self.statistics.moving_s += dt;
            self.offset_seconds += offset * dt;
            self.statistics.mean_abs_offset_m = self.offset_seconds / self.statistics.moving_s;
            self.statistics.max_abs_offset_m = self.statistics.max_abs_offset_m.max(offset);
        }
    }

    /// Draws what the camera sees now; see [`Camera::render`].
    pub fn render(&mut self, pixels: &mut [u8]) {
        let (pose, s) = (self.vehicle.pose(), self.place.0);
        self.frame += 1;
        // How the ground bends a little way ahead is what shows.
        let bend = self.road.vertical_curvature(s + 12.0);
        self.camera.look(self.filter.nod(self.time_s), bend);
        self.camera.render(&self.road, pose, s, pixels);
        let lights = self.options.weather.daylight < 0.6;
        let moment = traffic::Moment { pose, start_s: self.options.start_s, own_s: s, time_s: self.time_s, lights };
        traffic::draw(self.camera.pinhole(), &self.road, &self.options.cars, &moment, pixels);
        self.filter.apply(self.camera.pinhole(), self.frame, pixels);
    }

    /// Lets wind push the vehicle; see [`Vehicle::push`].
    pub fn push(&mut self, sideways: f64) {
        self.vehicle.push(sideways);
    }

    /// The camera.
    #[must_use]
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// The road's direction relative to the vehicle's in radians, positive to the right: the ground truth.
    #[must_use]
    pub fn heading_error(&self) -> f64 {
        super::road::wrap_angle(self.road.pose_at(self.place.0).heading - self.vehicle.pose().heading)
    }

    /// Stops time. Pictures can still be drawn.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Lets time go on.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether time stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Puts the vehicle back to where and how it started. A pause goes on.
    pub fn respawn(&mut self) {
        let WorldOptions { start_s, start_offset_m, start_heading_deg, start_speed, .. } = self.options;
        let s = self.road.wrap(start_s);
        let middle = self.road.pose_at(s);
        let [x, y] = middle.point(0.0, start_offset_m);
        let pose = Pose { x, y, heading: middle.heading + start_heading_deg.to_radians() };
        self.vehicle = Vehicle::new(pose).moving(start_speed, self.road.curvature(s));
        self.place = (s, start_offset_m);
    }

    /// What the vehicle does. While paused, its speed is the one with which it will go on.
    #[must_use]
    pub fn state(&self) -> VehicleStateFields {
        VehicleStateFields { paused: Some(self.paused), ..self.vehicle.state() }
    }

    /// Distance of the vehicle's centre from the middle of its lane in metres, positive to the right: the ground truth.
    #[must_use]
    pub fn lateral_offset_m(&self) -> f64 {
        self.place.1
    }

    /// Size and format of the pictures.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.camera.shape()
    }

    /// The road.
    #[must_use]
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// The vehicle.
    #[must_use]
    pub fn vehicle(&self) -> &Vehicle {
        &self.vehicle
    }

    /// The vehicle's place along the road in metres, 0 to the length of a lap.
    #[must_use]
    pub fn s(&self) -> f64 {
        self.place.0
    }

    /// How well the lane was kept since the start or the last [`reset_statistics`](Self::reset_statistics).
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Starts the statistics anew.
    pub fn reset_statistics(&mut self) {
        self.statistics = Statistics::default();
        self.offset_seconds = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::{Control, ControlFields, Mode};
    use lkas_shm::{LastControl, SafetyEvent, SafetyMonitor, SafetyOptions};

    const STEP_S: f64 = 1.0 / 30.0;

    /// Lets time pass with commands from `drive`, which sees the world.
    fn drive(world: &mut World, seconds: f64, drive: impl Fn(&World) -> Command) {
        for _ in 0..(seconds / STEP_S) as u32 {
            world.step(drive(world), STEP_S);
        }
    }

    /// Steers by the true offset two thirds of a second ahead.
    fn ideal(world: &World) -> Command {
        let pose = world.vehicle().pose();
        let ahead = 2.0 + 0.6 * world.vehicle().speed();
        let target = world.road().pose_at(world.road().wrap(world.s() + ahead));
        let [forward, right] = pose.to_local([target.x, target.y]);
        Command { steering: 0.9 * right / forward.max(1.0), throttle: 0.14, brake: 0.0 }
    }

    #[test]
    fn an_ideal_driver_stays_in_the_lane_for_a_lap() {
        let mut world = World::new(WorldOptions::default()).unwrap();
        drive(&mut world, 440.0, ideal);
        let statistics = world.statistics();
        println!("{statistics:?}");
        assert!(statistics.distance_m > world.road().length(), "{statistics:?}");
        assert!(statistics.max_abs_offset_m < 0.3, "{statistics:?}");
        assert!((35.0..45.0).contains(&world.state().speed_kmh), "{}", world.state().speed_kmh);
    }

    #[test]
    fn without_a_control_nothing_moves() {
        let mut world = World::new(WorldOptions::default()).unwrap();
        let mut monitor = SafetyMonitor::new(SafetyOptions::default());
        for step in 0..90 {
            let (control, _) = monitor.decide(STEP_S, f64::from(step) * STEP_S, None, true, || None);
            world.step(Command::from(&control), STEP_S);
        }
        assert_eq!((world.statistics().distance_m, monitor.safe_stops()), (0.0, 0));
    }

    #[test]
    fn paused_time_stands_still() {
        let mut world = World::new(WorldOptions::default()).unwrap();
        drive(&mut world, 5.0, ideal);
        world.pause();
        let before = (world.s(), world.state());
        drive(&mut world, 5.0, ideal);
        assert_eq!(world.s(), before.0);
        assert_eq!(world.state().paused, Some(true));
        assert_eq!(world.state().position, before.1.position);
        world.resume();
        drive(&mut world, 1.0, ideal);
        assert!(world.s() > before.0 + 1.0);
    }

    #[test]
    fn respawn_puts_the_vehicle_back_and_at_rest() {
        let mut world = World::new(WorldOptions { start_s: 50.0, ..WorldOptions::default() }).unwrap();
        drive(&mut world, 10.0, |_| Command { steering: 0.05, throttle: 0.3, brake: 0.0 });
        assert!(world.lateral_offset_m().abs() > 0.1, "it has left the middle");
        world.respawn();
        assert_eq!((world.s(), world.lateral_offset_m(), world.state().speed_kmh), (50.0, 0.0, 0.0));
    }

    #[test]
    fn controls_that_stop_coming_stop_the_vehicle() {
        let mut world = World::new(WorldOptions::default()).unwrap();
        drive(&mut world, 10.0, ideal);
        assert!(world.vehicle().speed() > 5.0);
        let Command { steering, throttle, brake } = ideal(&world);
        let [steering, throttle, brake] = [steering, throttle, brake].map(|number| number as f32);
        let fields = ControlFields { mode: Mode::LaneKeeping, steering, throttle, brake, ..ControlFields::default() };
        let control = Control::try_from(fields).unwrap();
        let mut monitor = SafetyMonitor::new(SafetyOptions::default());
        let mut events = Vec::new();
        for step in 0..120 {
            let age_s = f64::from(step) * STEP_S;
            let last = Some(LastControl { control, age_s, contract: Ok(None) });
            let standing = world.vehicle().is_standing();
            let (control, changed) = monitor.decide(STEP_S, 100.0 + age_s, last, standing, || None);
            events.extend(changed);
            world.step(Command::from(&control), STEP_S);
        }
        let [SafetyEvent::Started, SafetyEvent::SafeStop { .. }, SafetyEvent::StandingStill] = events[..] else {
            panic!("{events:?}");
        };
        assert!(world.vehicle().is_standing());
        assert_eq!(monitor.safe_stops(), 1);
        assert!(world.lateral_offset_m().abs() < 0.6, "it stops in its lane: {}", world.lateral_offset_m());
    }
}
