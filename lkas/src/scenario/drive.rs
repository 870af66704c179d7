//! A drive in lockstep.

use super::file::{Failing, Scenario};
use super::report::Report;
use super::truth::Truth;
use crate::Failure;
use crate::decision::{Circumstances, Health, LaneKeeper, Motion};
use crate::decision_server::DETECTION_TIMEOUT;
use crate::detection::{LaneDetector, Lanes, SURE};
use crate::simulation::{Command, SAFETY, World};
use lkas_messages::{Control, ControlFields, DetectionFields, ImageView, Lane, Mode};
use lkas_shm::{LastControl, SafetyMonitor};
use std::collections::VecDeque;

/// The vehicle's own control loop runs this often for each frame.
const TICKS: u32 = 4;

/// Faster than this in m/s a vehicle outside of its lane has to be in a safe stop: 5 km/h.
const FAST: f64 = 5.0 / 3.6;

/// No vehicle gets further from the lane's middle than this before it stands, in metres.
const FARTHEST_M: f64 = 1.2;

/// Half the vehicle's width, in metres.
const HALF_WIDTH_M: f64 = 0.9;

/// A line that is further away than this from the true one is wrong, in metres.
const WRONG_M: f64 = 0.3;

/// What the cruise control accelerates with at most, in m/s².
const CRUISE_ACCELERATION: f64 = 3.0;

/// A control on its way.
#[derive(Debug)]
struct Sent {
    arrives_s: f64,
    published_s: f64,
    control: Control,
}

/// A scenario that is being driven.
#[derive(Debug)]
pub struct Drive<'a> {
    scenario: &'a Scenario,
    world: World,
    detector: LaneDetector,
    keeper: LaneKeeper,
    monitor: SafetyMonitor,
    pixels: Vec<u8>,
    now_s: f64,
    frame: u64,
    /// Controls on their way, and the one that arrived last with what the vehicle executes of it.
    sent: VecDeque<Sent>,
    arrived: Option<Sent>,
    control_age_s: f32,
    last_frame_s: f64,
    last_detection_s: f64,
    stopping: bool,
    stop_began_s: f64,
    entered: bool,
    moving_s: f64,
    keep_truths: bool,
    report: Report,
}

/// Drives a scenario to its end.
///
/// # Errors
/// The camera can't be made as the scenario asks.
pub fn run(scenario: &Scenario, seed: u64) -> Result<Report, Failure> {
    let mut drive = Drive::new(scenario, seed)?;
    while drive.frame() {}
    Ok(drive.finish())
}

impl<'a> Drive<'a> {
    /// A drive that has not begun.
    ///
    /// # Errors
    /// The camera can't be made as the scenario asks.
    pub fn new(scenario: &'a Scenario, seed: u64) -> Result<Self, Failure> {
        let world = World::new(scenario.world(seed))?;
        let (detection, decision) = scenario.parameters();
        Ok(Self {
            pixels: vec![0; world.shape().pixel_bytes()],
            world,
            detector: LaneDetector::new(detection).mounted(scenario.mounting()),
            keeper: LaneKeeper::new(decision),
            monitor: SafetyMonitor::new(SAFETY),
            now_s: 0.0,
            frame: 0,
            sent: VecDeque::new(),
            arrived: None,
            control_age_s: 0.0,
            last_frame_s: 0.0,
            last_detection_s: 0.0,
            stopping: true,
            stop_began_s: 0.0,
            entered: false,
            moving_s: 0.0,
            keep_truths: false,
            report: Report { name: scenario.name.clone(), seed, ..Report::default() },
            scenario,
        })
    }

    /// Has what was really so in each frame written into the report.
    pub fn keep_truths(&mut self) {
        self.keep_truths = true;
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The frame taken last.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// How well the decision knows the lane.
    #[must_use]
    pub fn health(&self) -> Health {
        self.keeper.health()
    }

    /// Takes one frame and drives until the next. Returns whether there is another one.
    pub fn frame(&mut self) -> bool {
        let period = 1.0 / self.scenario.fps;
        self.frame += 1;
        self.report.frames += 1;
        if self.keep_truths {
            self.report.truths.push(Truth::of(&self.world, self.frame, self.now_s));
        }
        self.see();
        let start = self.now_s;
        for tick in 0..TICKS {
            self.drive(period / f64::from(TICKS));
            self.now_s = start + f64::from(tick + 1) * period / f64::from(TICKS);
        }
        let road = self.world.road();
        let over = !road.is_closed() && self.world.s() > road.length() - 420.0;
        self.now_s + 1e-9 < self.scenario.duration_s && !over
    }

    /// The fault of that kind in this instant, with its strength.
    fn failing(&self, what: Failing) -> Option<f64> {
        let in_force = |fault: &&super::file::Fault| {
            let since = self.now_s - fault.from_s;
            fault.what == what && since >= 0.0 && since < fault.for_s && self.frame.is_multiple_of(fault.every)
        };
        self.scenario.faults.iter().find(in_force).map(|fault| fault.strength)
    }

    /// Camera, detection and decision.
    fn see(&mut self) {
        let age_s = self.scenario.vehicle.latency_ms * 1e-3;
        if self.failing(Failing::Camera).is_some() {
            return;
        }
        if self.failing(Failing::Picture).is_none() {
            self.world.render(&mut self.pixels);
        }
        if self.failing(Failing::Dark).is_some() {
            self.pixels.fill(0);
        }
        if let Some(strength) = self.failing(Failing::Noise) {
            self.add_noise(strength);
        }
        let shape = self.world.shape();
        let Some(view) = ImageView::new(shape, &self.pixels) else { return };
        let frame_dt = if self.frame == 1 { 1.0 / self.scenario.fps } else { self.now_s - self.last_frame_s };
        self.last_frame_s = self.now_s;
        let lanes = self.detector.detect_after(&view, frame_dt);
        self.compare(&lanes);
        if self.failing(Failing::Detection).is_some() {
            return;
        }
        let dt = self.now_s - self.last_detection_s;
        self.last_detection_s = self.now_s;
        let detection = DetectionFields {
            left: lanes.left,
            right: lanes.right,
            width: shape.width() as u16,
            height: shape.height() as u16,
            frame_id: self.frame,
            timestamp: self.now_s,
            processing_time_ms: 0.0,
        };
        let motion = self.motion();
        let circumstances = Circumstances { dt: dt as f32, age_s: age_s as f32, shape: lanes.shape, motion };
        let control = self.keeper.decide(&detection, &circumstances);
        self.send(control, age_s);
    }

    /// Even noise of that standard deviation, another one in each frame.
    fn add_noise(&mut self, deviation: f64) {
        let scale = (deviation * 12.0_f64.sqrt() / 255.0 * 65536.0) as i32;
        let mut state = self.report.seed ^ self.frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for values in self.pixels.chunks_mut(8) {
            // The generator of G. Marsaglia, "Xorshift RNGs".
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            for (value, random) in values.iter_mut().zip(state.to_le_bytes()) {
                let noise = ((i32::from(random) - 128) * scale) >> 16;
                *value = (i32::from(*value) + noise).clamp(0, 255) as u8;
            }
        }
    }

    fn motion(&self) -> Option<Motion> {
        self.scenario.vehicle.tells.then(|| Motion {
            speed: self.world.vehicle().speed() as f32,
            steering: self.world.vehicle().steering() as f32,
            control_age_s: self.control_age_s,
        })
    }

    fn send(&mut self, fields: ControlFields, age_s: f64) {
        if self.failing(Failing::Decision).is_some() {
            return;
        }
        let Ok(control) = Control::try_from(fields) else { return };
        let published_s = self.now_s + age_s;
        let late = self.failing(Failing::Late).unwrap_or(0.0) + self.scenario.vehicle.delay_ms * 1e-3;
        self.sent.push_back(Sent { arrives_s: published_s + late, published_s, control });
    }

    /// The vehicle, for `dt` seconds.
    fn drive(&mut self, dt: f64) {
        // Where no detection comes, the decision server commands a stop.
        if self.now_s - self.last_detection_s > DETECTION_TIMEOUT.as_secs_f64() {
            let motion = self.motion();
            let fields = self.keeper.without_detection(dt as f32, motion);
            self.send(ControlFields { timestamp: self.last_detection_s, ..fields }, 0.0);
        }
        while self.sent.front().is_some_and(|sent| sent.arrives_s <= self.now_s + 1e-9) {
            let Some(sent) = self.sent.pop_front() else { break };
            if self.arrived.as_ref().is_none_or(|last| last.published_s <= sent.published_s) {
                self.control_age_s = (self.now_s - sent.control.timestamp()) as f32;
                self.arrived = Some(sent);
            }
        }
        let last = self.arrived.as_ref().map(|sent| LastControl {
            control: sent.control,
            age_s: self.now_s - sent.published_s,
            contract: Ok(None),
        });
        let standing = self.world.vehicle().is_standing();
        let (control, _) = self.monitor.decide(dt, self.now_s + 1.0, last, standing, || None);
        let command = self.cruise(&control);
        self.world.push(self.failing(Failing::Wind).unwrap_or(0.0));
        let before = self.world.vehicle().pose().heading;
        self.world.step(command, dt);
        let turned = crate::simulation::road::wrap_angle(self.world.vehicle().pose().heading - before);
        self.watch(&control, dt, turned / dt);
    }

    /// The cruise control's throttle, where there is one.
    fn cruise(&self, control: &Control) -> Command {
        let command = Command::from(control);
        let Some(kmh) = self.scenario.vehicle.cruise_kmh else { return command };
        if control.mode() == Mode::EmergencyStop {
            return command;
        }
        let base = f64::from(self.keeper.parameters().throttle_base).max(1e-3);
        let target = kmh / 3.6 * (command.throttle / base).clamp(0.0, 1.0);
        let speed = self.world.vehicle().speed();
        // What holds the speed, by the vehicle's own drag, and what changes it.
        let hold = 0.1 + (0.016_19 + 0.006_807 * speed) * speed;
        let wanted = (0.8 * (target - speed)).clamp(-1.5, CRUISE_ACCELERATION);
        let pedal = (hold + wanted) / 8.0;
        Command { throttle: pedal.clamp(0.0, 1.0), brake: command.brake.max((-pedal).clamp(0.0, 0.3)), ..command }
    }

    /// Compares sure lines with the true ones.
    fn compare(&mut self, lanes: &Lanes) {
        let truth = Truth::of(&self.world, self.frame, self.now_s);
        let sure = |line: &Option<Lane>| line.filter(|lane| lane.confidence >= SURE);
        let [left, right] = [sure(&lanes.left), sure(&lanes.right)];
        self.report.both_sure += u64::from(left.is_some() && right.is_some());
        let width_px = |at: usize| (truth.right[at] - truth.left[at]).abs().max(1.0);
        let mut wrong = 0;
        for (line, shown) in [(left, truth.left), (right, truth.right)] {
            let Some(line) = line else { continue };
            self.report.sure_lines += 1;
            let away = [0, 2].map(|at| {
                let x = line.x_at(shown[at + 1] as f32).map_or(f64::MAX, f64::from);
                (x - shown[at]).abs() / width_px(at) * truth.width_m
            });
            // A chord of a curve leaves it in between.
            let bow = truth.curvature.abs() * 25.0;
            wrong += u64::from(away[0].max(away[1]) > WRONG_M + bow);
        }
        self.report.wrong_lines += wrong;
    }

    fn watch(&mut self, control: &Control, dt: f64, yaw_rate: f64) {
        let speed = self.world.vehicle().speed();
        let offset = self.world.lateral_offset_m().abs();
        let edge = 0.5 * self.world.road().lane_width() - HALF_WIDTH_M;
        let stopping = control.mode() == Mode::EmergencyStop;
        let report = &mut self.report;
        if stopping && !self.stopping && speed > 0.1 {
            report.stops += 1;
            self.stop_began_s = self.now_s;
            report.first_stop_s.get_or_insert(self.now_s);
            let said = if let Health::Stopped(reason) = self.keeper.health() {
                reason.to_string()
            } else {
                "no fresh control".into()
            };
            report.reason.get_or_insert(said);
        }
        if stopping && speed > 0.1 {
            report.time_to_stop_s = report.time_to_stop_s.max(self.now_s + dt - self.stop_began_s);
        }
        self.stopping = stopping;
        report.max_speed_kmh = report.max_speed_kmh.max(speed * 3.6);
        report.max_sideways = report.max_sideways.max((speed * yaw_rate).abs());
        report.drives_at_end = speed > 0.5;
        // A vehicle that was put outside of its lane counts from when it has been inside.
        self.entered |= offset < edge;
        if speed <= 0.1 {
            return;
        }
        let before = self.moving_s;
        self.moving_s += dt;
        report.distance_m += speed * dt;
        report.mean_offset_m = (report.mean_offset_m * before + offset * dt) / self.moving_s;
        let counts = self.entered || (offset > edge && speed > FAST);
        if !counts {
            return;
        }
        report.max_offset_m = report.max_offset_m.max(offset);
        if offset > edge {
            report.outside_s += dt;
            if speed > FAST && !stopping {
                report.outside_unstopped_s += dt;
            }
        }
    }

    /// The report, with what did not hold.
    #[must_use]
    pub fn finish(mut self) -> Report {
        let expected = &self.scenario.expect;
        let report = &self.report;
        let mut failures = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        expect(
            report.outside_unstopped_s == 0.0,
            format!("outside of the lane for {:.2} s without a safe stop, expected never", report.outside_unstopped_s),
        );
        let most = expected.max_offset_m.unwrap_or(FARTHEST_M).min(FARTHEST_M);
        expect(
            report.max_offset_m <= most,
            format!("offset up to {:.2} m, expected {most} at most", report.max_offset_m),
        );
        if let Some(stops) = expected.stops {
            let said = if stops { "at least one" } else { "none" };
            expect((report.stops > 0) == stops, format!("{} safe stops, expected {said}", report.stops));
        }
        if let Some(by_s) = expected.stops_by_s {
            let first = report.first_stop_s.unwrap_or(f64::INFINITY);
            expect(first <= by_s, format!("the first stop began after {first:.2} s, expected after {by_s} at most"));
        }
        if let Some(least) = expected.distance_m {
            expect(report.distance_m >= least, format!("drove {:.0} m, expected {least} at least", report.distance_m));
        }
        if let Some(most) = expected.at_most_m {
            expect(report.distance_m <= most, format!("drove {:.0} m, expected {most} at most", report.distance_m));
        }
        if let Some(least) = expected.speed_kmh {
            let found = report.max_speed_kmh;
            expect(found >= least, format!("up to {found:.0} km/h, expected {least} at least"));
        }
        if let Some(drives) = expected.drives_at_end {
            let said = |drives| if drives { "drives" } else { "stands" };
            let (found, wanted) = (said(report.drives_at_end), said(drives));
            expect(
                report.drives_at_end == drives,
                format!("at the end the vehicle {found}, expected that it {wanted}"),
            );
        }
        self.report.failures = failures;
        self.report
    }
}
