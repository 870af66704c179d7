//! A drive in lockstep.

use super::faults::{add_noise, cruise, damage, is_over};
use super::file::{Failing, Scenario};
use super::judge::{Judge, Moment};
use super::report::Report;
use super::truth::Truth;
use crate::Failure;
use crate::decision::{Circumstances, Health, LaneKeeper, Motion};
use crate::decision_server::DETECTION_TIMEOUT;
use crate::detection::{LaneDetector, Lanes, SURE};
use crate::simulation::{SAFETY, World};
use crate::simulation_program::BY_A_PERSON;
use lkas_messages::{Control, ControlFields, DetectionFields, ImageView, Lane, Mode};
use lkas_shm::{LastControl, SafetyMonitor};
use std::collections::VecDeque;

/// The vehicle's own control loop runs this often for each frame.
const TICKS: u32 = 4;

/// A line that is further away than this from the true one is wrong, in metres.
const WRONG_M: f64 = 0.3;

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
    keep_truths: bool,
    judge: Judge,
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

/// How old a control is for the vehicle, in seconds: by the frame that it answers, an emergency stop by its publish.
fn age_s(sent: &Sent, now_s: f64) -> f64 {
    let since_publish = now_s - sent.published_s;
    match sent.control.mode() {
        Mode::EmergencyStop => since_publish,
        _ => since_publish.max(now_s - sent.control.timestamp()),
    }
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
            keep_truths: false,
            judge: Judge::new(scenario, seed),
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
        self.judge.report.frames += 1;
        let truth = Truth::of(&self.world, self.frame, self.now_s);
        if self.keep_truths {
            self.judge.report.truths.push(truth);
        }
        self.see(&truth);
        let start = self.now_s;
        for tick in 0..TICKS {
            self.drive(period / f64::from(TICKS));
            self.now_s = start + f64::from(tick + 1) * period / f64::from(TICKS);
        }
        !is_over(self.scenario, &self.world, self.now_s)
    }

    /// The fault of that kind in this instant, with its strength.
    fn failing(&self, what: Failing) -> Option<f64> {
        self.scenario.failing(what, self.now_s, self.frame)
    }

    /// Camera, detection and decision.
    fn see(&mut self, truth: &Truth) {
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
            add_noise(&mut self.pixels, strength, self.judge.report.seed, self.frame);
        }
        let shape = self.world.shape();
        let Some(view) = ImageView::new(shape, &self.pixels) else { return };
        let frame_dt = if self.frame == 1 { 1.0 / self.scenario.fps } else { self.now_s - self.last_frame_s };
        self.last_frame_s = self.now_s;
        let lanes = self.detector.detect_after(&view, frame_dt);
        self.compare(&lanes, truth);
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
        let Ok(mut control) = Control::try_from(fields) else { return };
        if self.failing(Failing::Damaged).is_some() {
            damage(&mut control);
        }
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
            age_s: age_s(sent, self.now_s),
            contract: Ok(None),
        });
        match self.failing(Failing::Person) {
            Some(_) => self.monitor.trigger_emergency_stop(),
            None => self.monitor.release_emergency_stop(),
        }
        let standing = self.world.vehicle().is_standing();
        let (control, _) = self.monitor.decide(dt, self.now_s + 1.0, last, standing, || None);
        let command = cruise(self.scenario, &control, self.world.vehicle().speed());
        self.world.push(self.failing(Failing::Wind).unwrap_or(0.0));
        let before = self.world.vehicle().pose().heading;
        self.world.step(command, dt);
        let turned = crate::simulation::road::wrap_angle(self.world.vehicle().pose().heading - before);
        self.watch(&control, dt, turned / dt);
    }

    /// Compares sure lines with the true ones.
    fn compare(&mut self, lanes: &Lanes, truth: &Truth) {
        let sure = |line: &Option<Lane>| line.filter(|lane| lane.confidence >= SURE);
        let [left, right] = [sure(&lanes.left), sure(&lanes.right)];
        self.judge.report.both_sure += u64::from(left.is_some() && right.is_some());
        let width_px = |at: usize| (truth.right[at] - truth.left[at]).abs().max(1.0);
        let mut wrong = 0;
        for (line, shown) in [(left, truth.left), (right, truth.right)] {
            let Some(line) = line else { continue };
            self.judge.report.sure_lines += 1;
            let away = [0, 2].map(|at| {
                let x = line.x_at(shown[at + 1] as f32).map_or(f64::MAX, f64::from);
                (x - shown[at]).abs() / width_px(at) * truth.width_m
            });
            // A chord of a curve leaves it in between.
            let bow = truth.curvature.abs() * 25.0;
            wrong += u64::from(away[0].max(away[1]) > WRONG_M + bow);
        }
        self.judge.report.wrong_lines += wrong;
    }

    fn watch(&mut self, control: &Control, dt: f64, yaw_rate: f64) {
        let stopping = control.mode() == Mode::EmergencyStop;
        let health = self.keeper.health();
        let by_a_person = self.monitor.is_emergency_stop_latched();
        let reason = || match health {
            _ if by_a_person => BY_A_PERSON.into(),
            Health::Stopped(reason) => reason.to_string(),
            _ => "no fresh control".into(),
        };
        self.judge.watch(&Moment::of(&self.world, self.now_s, dt, yaw_rate, stopping), reason);
    }

    /// The report, with what did not hold.
    #[must_use]
    pub fn finish(self) -> Report {
        self.judge.finish(&self.scenario.expect)
    }
}
