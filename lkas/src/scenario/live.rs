//! A scenario in the vehicle's own process, in real time: its faults of camera and vehicle, and the judge.

use super::Scenario;
use super::faults::{add_noise, cruise, is_over};
use super::file::Failing;
use super::judge::{Judge, Moment};
use crate::Failure;
use crate::simulation::World;
use crate::simulation::road::wrap_angle;
use lkas_messages::{Control, Mode};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A scenario that is being driven by the processes of a system.
#[derive(Debug)]
pub(crate) struct Live {
    scenario: Scenario,
    judge: Judge,
    /// Where the report goes.
    report: PathBuf,
    /// When the first control came: then the drive begins.
    begun: Option<Instant>,
    frame: u64,
    /// The frame before, for as long as it is sent again and again.
    before: Vec<u8>,
}

impl Live {
    /// A drive that begins with the first control.
    pub(crate) fn new(scenario: Scenario, seed: u64, report: PathBuf) -> Self {
        let judge = Judge::new(&scenario, seed);
        Self { scenario, judge, report, begun: None, frame: 0, before: Vec::new() }
    }

    /// A control came.
    pub(crate) fn begin(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    fn now_s(&self) -> f64 {
        self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }

    fn failing(&self, what: Failing) -> Option<f64> {
        self.begun.and_then(|_| self.scenario.failing(what, self.now_s(), self.frame))
    }

    /// Whether a person stops the vehicle.
    pub(crate) fn is_stopped_by_a_person(&self) -> bool {
        self.failing(Failing::Person).is_some()
    }

    /// Whether the vehicle tells what it does.
    pub(crate) fn tells(&self) -> bool {
        self.scenario.vehicle.tells
    }

    /// A frame is due. Whether the camera takes it.
    pub(crate) fn takes_frame(&mut self) -> bool {
        self.frame += 1;
        self.judge.report.frames += u64::from(self.begun.is_some());
        self.failing(Failing::Camera).is_none()
    }

    /// Makes of a frame what the camera sends.
    pub(crate) fn spoil(&mut self, pixels: &mut [u8]) {
        if self.failing(Failing::Picture).is_some() && self.before.len() == pixels.len() {
            pixels.copy_from_slice(&self.before);
        }
        self.before.clear();
        self.before.extend_from_slice(pixels);
        if self.failing(Failing::Dark).is_some() {
            pixels.fill(0);
        }
        if let Some(deviation) = self.failing(Failing::Noise) {
            add_noise(pixels, deviation, self.judge.report.seed, self.frame);
        }
    }

    /// Lets the vehicle execute a control for `elapsed`, and judges it; `reason` is why it stops, where it does.
    pub(crate) fn drive(&mut self, world: &mut World, control: &Control, elapsed: Duration, reason: &str) {
        let dt = elapsed.as_secs_f64();
        if self.begun.is_none() || dt <= 0.0 {
            return;
        }
        world.push(self.failing(Failing::Wind).unwrap_or(0.0));
        let before = world.vehicle().pose().heading;
        world.step(cruise(&self.scenario, control, world.vehicle().speed()), dt);
        let yaw_rate = wrap_angle(world.vehicle().pose().heading - before) / dt;
        let stopping = control.mode() == Mode::EmergencyStop;
        self.judge.watch(&Moment::of(world, self.now_s(), dt, yaw_rate, stopping), || reason.to_owned());
    }

    /// Whether the drive has come to its end.
    pub(crate) fn is_over(&self, world: &World) -> bool {
        self.begun.is_some() && is_over(&self.scenario, world, self.now_s())
    }

    /// Writes the report.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let report = self.judge.finish(&self.scenario.expect);
        let text = serde_json::to_string(&report)?;
        std::fs::write(&self.report, text).map_err(|why| format!("{}: {why}", self.report.display()).into())
    }
}
