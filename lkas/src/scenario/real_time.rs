//! A scenario driven by the processes of a real system: detection, decision and vehicle, over shared memory.

use super::faults::damage;
use super::file::{Failing, Fault};
use super::{Report, Scenario};
use crate::Failure;
use crate::calibrate;
use crate::config::save_parameters;
use crate::feed::Feed;
use crate::options::{SERVERS, SystemOptions, remove_channels};
use lkas_messages::Control;
use lkas_messages::names::{Category, Parameter};
use lkas_shm::{ControlChannel, Writer};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The controls as they reach the vehicle, where something happens to them on the way.
const ON_THE_WAY: &str = "vehicle_control_late";

/// How long a system may take from its start to the first control, and at its end, beyond the drive itself.
const START_AND_END: Duration = Duration::from_secs(30);

/// Drives the scenario once, in a system of its own beside any other.
///
/// # Errors
/// The processes can't run, or one of them ends before the drive does.
pub(super) fn drive(system: &SystemOptions, path: &Path, scenario: &Scenario, seed: u64) -> Result<Report, Failure> {
    let namespace = format!("scenario-{}", std::process::id());
    let folder = std::env::temp_dir().join(&namespace);
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let config = folder.join("lkas.toml");
    let mounting = folder.join("mounting.toml");
    let own =
        SystemOptions { namespace, config: Some(config.clone()), mounting: Some(mounting.clone()), ..system.clone() };
    let driven = write_settings(scenario, &config, &mounting).and_then(|()| over(&own, path, scenario, seed, &folder));
    remove_channels(&own);
    // Also where a stop is latched at the end: this vehicle drives no more, and the next scenario's is another one.
    let _ = own.status_channel("simulation").map(|name| lkas_shm::unlink(&name));
    let _ = own.signal_channel(ON_THE_WAY).map(|name| lkas_shm::unlink(&name));
    // What is left of it is in the way of nobody.
    let _ = std::fs::remove_dir_all(&folder);
    driven
}

/// What the scenario says of parameters and mounting, as the files from which the processes take it.
fn write_settings(scenario: &Scenario, config: &Path, mounting: &Path) -> Result<(), Failure> {
    let mut parameters = Vec::new();
    for category in Category::ALL {
        let known = scenario.parameters.iter().filter(|(name, _)| Parameter::find(category, name).is_ok());
        parameters.extend(known.map(|(name, value)| (category.name().to_owned(), name.clone(), *value)));
    }
    save_parameters(config, &parameters)?;
    std::fs::write(mounting, calibrate::text(&scenario.mounting()))
        .map_err(|why| format!("{}: {why}", mounting.display()).into())
}

fn over(system: &SystemOptions, path: &Path, scenario: &Scenario, seed: u64, folder: &Path) -> Result<Report, Failure> {
    let judged = folder.join("report.json");
    let mut way = Way::new(system, scenario)?;
    let vehicle = match way.late {
        Some(_) => SystemOptions { controls: ON_THE_WAY.into(), ..system.clone() },
        None => system.clone(),
    };
    let options = [
        format!("--scenario={}", path.display()),
        format!("--seed={seed}"),
        format!("--fps={}", scenario.fps),
        format!("--judge={}", judged.display()),
    ];
    let mut detection = Process::start("detection", &[], system)?;
    let mut decision = Process::start("decision", &[], system)?;
    let mut simulation = Process::start("simulation", &options, &vehicle)?;
    let started = Instant::now();
    let longest = START_AND_END + Duration::from_secs_f64(scenario.duration_s);
    loop {
        way.pass_on(scenario)?;
        if let Some(now_s) = way.now_s() {
            detection.suffer(scenario, Failing::Detection, now_s)?;
            decision.suffer(scenario, Failing::Decision, now_s)?;
        }
        for process in [&mut detection, &mut decision] {
            if process.has_ended()? && !process.is_to_be_dead {
                return Err(format!("{} ended during the drive; see its message above", process.name).into());
            }
        }
        if simulation.has_ended()? {
            break;
        }
        if started.elapsed() > longest {
            return Err(format!("the drive has not come to its end within {} s", longest.as_secs()).into());
        }
    }
    let text = std::fs::read_to_string(&judged)
        .map_err(|why| format!("the vehicle ended without a report ({why}); see its message above"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Controls on their way, and when each is due.
type Queue = VecDeque<(Instant, Control)>;

/// The way of the controls to the vehicle.
struct Way {
    controls: Feed<Control>,
    /// Where they reach the vehicle late or damaged: where they are sent on, and those that are on their way.
    late: Option<(Writer<Control>, Queue)>,
    begun: Option<Instant>,
    passed: u64,
}

impl Way {
    fn new(system: &SystemOptions, scenario: &Scenario) -> Result<Self, Failure> {
        let on_the_way = |fault: &Fault| matches!(fault.what, Failing::Late | Failing::Damaged);
        let late = scenario.vehicle.delay_ms > 0.0 || scenario.faults.iter().any(on_the_way);
        let name = system.signal_channel(ON_THE_WAY)?;
        let late = late.then(|| ControlChannel::create(&name, system.channel(SERVERS))).transpose()?;
        Ok(Self {
            controls: Feed::new(system.control_channel()?, ControlChannel::open),
            late: late.map(|writer| (writer, Queue::new())),
            begun: None,
            passed: 0,
        })
    }

    /// For how long the vehicle has been driving; `None` before the first control.
    fn now_s(&self) -> Option<f64> {
        self.begun.map(|begun| begun.elapsed().as_secs_f64())
    }

    /// Waits a moment for a control, and passes on those whose time has come.
    fn pass_on(&mut self, scenario: &Scenario) -> Result<(), Failure> {
        let control = self.controls.next(Duration::from_millis(2))?.map(|control| *control);
        if control.is_some() {
            self.begun.get_or_insert_with(Instant::now);
            self.passed += 1;
        }
        let now_s = self.now_s().unwrap_or(0.0);
        let Some((writer, sent)) = &mut self.late else { return Ok(()) };
        if let Some(mut control) = control {
            let failing = |what| scenario.failing(what, now_s, self.passed);
            if failing(Failing::Damaged).is_some() {
                damage(&mut control);
            }
            let late = failing(Failing::Late).unwrap_or(0.0) + scenario.vehicle.delay_ms * 1e-3;
            sent.push_back((Instant::now() + Duration::from_secs_f64(late.clamp(0.0, 60.0)), control));
        }
        while sent.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, control)) = sent.pop_front() {
                writer.publish(control);
            }
        }
        Ok(())
    }
}

/// A process of the system. It ends with this.
struct Process {
    name: &'static str,
    child: Child,
    is_suspended: bool,
    is_to_be_dead: bool,
}

impl Process {
    fn start(name: &'static str, options: &[String], system: &SystemOptions) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(name).args(options).args(system.arguments()).stdin(Stdio::null());
        let child = command.spawn().map_err(|why| format!("can't start {name}: {why}"))?;
        Ok(Self { name, child, is_suspended: false, is_to_be_dead: false })
    }

    fn has_ended(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Suspends it while the fault lasts; one that lasts until the end kills it.
    fn suffer(&mut self, scenario: &Scenario, what: Failing, now_s: f64) -> Result<(), Failure> {
        let fault = scenario.faults.iter().find(|fault| fault.what == what && fault.lasts_at(now_s));
        if fault.is_some_and(|fault| fault.for_s.is_infinite()) {
            self.is_to_be_dead = true;
            self.child.kill()?;
        } else if fault.is_some() != self.is_suspended && !self.is_to_be_dead {
            self.is_suspended = fault.is_some();
            let signal = if self.is_suspended { Signal::STOP } else { Signal::CONT };
            if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
                kill_process(pid, signal)?;
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
