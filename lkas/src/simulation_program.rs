//! The simulation as a process: camera frames out, controls in, vehicle status and actions over the broker.

use crate::Failure;
use crate::actions::{Action, Actions};
use crate::latency::{Latencies, Step};
use crate::notify::Notify;
use crate::number::within;
use crate::options::SystemOptions;
use crate::scenario::{Live, Scenario, Truth};
use crate::signals::{MOTION, MotionSignal, TRUTH};
use crate::simulation::{CameraOptions, Command, Replay, SAFETY, World, WorldOptions};
use crate::status::State;
use crate::stop::Stop;
use crate::vitals::VitalSigns;
use clap::Args;
use lkas_messages::{Control, Image, ImageShape, Mode, PixelFormat};
use lkas_shm::{
    Channel, Contract, ControlSupervisor, ImageChannel, ReceivedControl, SafetyEvent, SafetyEvents, Writer, clock,
};
use lkas_zmq::VehicleStatusClient;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Why the vehicle stops while an emergency stop is latched.
pub(crate) const BY_A_PERSON: &str = "emergency stop by a person";

/// Why it stops while a control asks for it.
const BY_DECISION: &str = "the decision server asks for it";

/// How often the vehicle's status is sent.
const STATUS_EVERY: Duration = Duration::from_millis(50);

/// How the simulation runs.
#[derive(Args, Clone, Debug)]
pub struct SimulationOptions {
    /// Talk to the broker: send the vehicle's status, obey what is asked for
    #[arg(long)]
    pub broadcast: bool,
    /// Width of a frame, in pixels
    #[arg(long, default_value_t = 800, value_name = "PIXELS", value_parser = pixels)]
    pub width: u32,
    /// Height of a frame, in pixels
    #[arg(long, default_value_t = 600, value_name = "PIXELS", value_parser = pixels)]
    pub height: u32,
    /// Frames a second
    #[arg(long, default_value_t = 30.0, value_name = "RATE", value_parser = frame_rate)]
    pub fps: f64,
    /// Show the frames of a folder (JPEG or PNG, in the order of their names) instead of the rendered road
    #[arg(long, value_name = "DIR")]
    pub replay: Option<PathBuf>,
    /// Drive in the world of a scenario file: its road, cars, light and camera, not its faults
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub scenario: Option<PathBuf>,
    /// What the noise and the dirt of a scenario are drawn from
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Drive the scenario with its faults once, from the first control on, and write the report
    #[arg(long, hide = true, value_name = "FILE", requires = "scenario")]
    pub judge: Option<PathBuf>,
}

fn pixels(text: &str) -> Result<u32, String> {
    let pixels = text.parse().map_err(|_| "expected a number of pixels".to_owned())?;
    ImageShape::new(pixels, 1, PixelFormat::Rgb8).map(|_| pixels).map_err(|why| why.to_string())
}

fn frame_rate(text: &str) -> Result<f64, String> {
    within(1.0..=1000.0, text, "expected a number of frames a second, 1 to 1000")
}

/// Where the pictures come from. The vehicle drives in the world either way; a replayed road does not answer to it.
enum Source {
    Rendered,
    Replayed(Replay),
}

/// Runs until `stop` is set.
///
/// # Errors
/// A channel can't be created or used, or the pictures to be replayed can't be read.
pub fn run(system: &SystemOptions, options: &SimulationOptions, stop: &Stop) -> Result<(), Failure> {
    let camera = CameraOptions { width: options.width, height: options.height, ..CameraOptions::default() };
    let scenario = options.scenario.as_deref().map(Scenario::read).transpose()?;
    let mut world = World::new(match &scenario {
        Some(scenario) => scenario.world(options.seed),
        None => WorldOptions { camera, ..WorldOptions::default() },
    })?;
    let source = match &options.replay {
        Some(folder) => Source::Replayed(Replay::open(folder)?),
        None => Source::Rendered,
    };
    let shape = match &source {
        Source::Rendered => world.shape(),
        Source::Replayed(replay) => replay.shape(),
    };
    let period = Duration::from_secs_f64(1.0 / options.fps);
    // A picture that takes long to draw may cost the one after it.
    let contract = Contract::new(2 * period, (4 * period).max(Duration::from_millis(250)))
        .map_err(|why| format!("--fps {}: {why}", options.fps))?;
    let channel = system.channel(contract);
    let mut simulation = Simulation {
        camera: Camera {
            writer: ImageChannel::create(&system.camera_channel()?, shape, channel)?,
            shape,
            source,
            shown: vec![0; shape.pixel_bytes()],
            truths: Channel::create(&system.signal_channel(TRUTH)?, system.signal())?,
        },
        controls: ControlSupervisor::new(system.control_channel()?, SAFETY),
        vitals: VitalSigns::create(&system.status_channel("simulation")?)?,
        applying: None,
        perceived: Perceived::default(),
        motions: Channel::create(&system.signal_channel(MOTION)?, system.signal())?,
        control_age_s: 0.0,
        link: options.broadcast.then(|| Link::connect(system)).transpose()?,
        reason: String::new(),
        has_driven: false,
        unusable: None,
        live: scenario.zip(options.judge.clone()).map(|(scenario, report)| Live::new(scenario, options.seed, report)),
    };
    if simulation.vitals.is_latched() {
        // A predecessor's: only who releases it ends it.
        simulation.latch(&world);
    }
    // A predecessor's frames were numbered by the same sequence.
    let mut frame_id = simulation.camera.writer.sequence();
    let mut next_frame = Instant::now();
    let mut stepped = Instant::now();
    let mut notify = Notify::from_environment(system.supervised);
    tracing::info!("camera {shape} at {} frames a second", options.fps);
    while !stop.is_set() {
        simulation.obey(&mut world)?;
        let left = next_frame.saturating_duration_since(Instant::now());
        simulation.receive(left)?;
        simulation.drive(&mut world, stepped.elapsed());
        stepped = Instant::now();
        simulation.tell(&world);
        if Instant::now() >= next_frame {
            if simulation.live.as_mut().is_none_or(Live::takes_frame) {
                frame_id += 1;
                let Simulation { camera, live, vitals, .. } = &mut simulation;
                camera.show(&mut world, frame_id, live.as_mut(), &mut vitals.latencies)?;
                vitals.now.published += 1;
            }
            next_frame += period;
            if next_frame < Instant::now() {
                // Too late for the next one already: skip frames rather than chase them.
                next_frame = Instant::now() + period;
            }
        }
        simulation.report(&world);
        notify.tell(true, || format!("camera {shape}, frame {frame_id}"));
        if let Some(live) = simulation.live.take_if(|live| live.is_over(&world)) {
            return live.finish();
        }
    }
    Ok(())
}

struct Simulation {
    camera: Camera,
    controls: ControlSupervisor,
    vitals: VitalSigns,
    /// When the control that the vehicle is to obey next was published, in nanoseconds of the channels' clock.
    applying: Option<u64>,
    perceived: Perceived,
    motions: Writer<MotionSignal>,
    /// From a frame to the receipt of the control that answers it, for the last one.
    control_age_s: f64,
    link: Option<Link>,
    /// Why the vehicle is in a safe stop.
    reason: String,
    /// Whether a control was received in this process's life.
    has_driven: bool,
    /// What was said last of a channel of controls that can't be used.
    unusable: Option<String>,
    /// The scenario that is driven and judged.
    live: Option<Live>,
}

impl Simulation {
    /// Does what was asked over the broker, a few requests at a time.
    fn obey(&mut self, world: &mut World) -> Result<(), Failure> {
        let Some(link) = &mut self.link else { return Ok(()) };
        for action in link.actions.take()? {
            match action {
                Action::Pause => world.pause(),
                Action::Resume => world.resume(),
                Action::Respawn => {
                    world.respawn();
                    self.camera.restart();
                    self.vitals.count_respawn();
                }
                Action::EmergencyStop => self.latch(world),
                Action::ReleaseEmergencyStop => self.release(world),
            }
            self.vitals.set_paused(world.is_paused());
        }
        Ok(())
    }

    /// Stops the vehicle until it is released, and says so at once. It is decided at once too: a release that follows at
    /// once, or in the same pause, then ends a stop that there was.
    fn latch(&mut self, world: &World) {
        self.controls.trigger_emergency_stop();
        self.vitals.set_latched(true);
        self.decide(world);
        self.stop(world, BY_A_PERSON);
    }

    fn release(&mut self, world: &World) {
        if self.controls.is_emergency_stop_latched() {
            self.controls.release_emergency_stop();
            self.vitals.set_latched(false);
            self.decide(world);
            self.stop(world, "the emergency stop was released");
        }
    }

    /// Enters a safe stop, or goes on with it for another reason.
    fn stop(&mut self, world: &World, reason: &str) {
        self.reason = reason.to_owned();
        let state = if world.vehicle().is_standing() { State::Standing } else { State::SafeStop };
        self.vitals.enter(state, reason);
    }

    /// Waits for a control, at most `timeout`.
    fn receive(&mut self, timeout: Duration) -> Result<(), Failure> {
        let received = match self.controls.next(timeout) {
            Ok(received) => received,
            // Who has driven has to be stopped: it goes on without controls, and says why none come.
            Err(why) if self.has_driven => {
                let why = why.to_string();
                if self.unusable.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                    self.vitals.note(&why);
                    self.unusable = Some(why);
                }
                std::thread::sleep(timeout);
                None
            }
            Err(why) => return Err(why.into()),
        };
        let Some(ReceivedControl { value: control, published, .. }) = received else { return Ok(()) };
        (self.has_driven, self.unusable) = (true, None);
        let vitals = &mut self.vitals.now;
        vitals.taken += 1;
        vitals.torn += u64::from(!control.is_whole());
        self.applying = Some(published);
        if control.timestamp() > 0.0 {
            let start = (control.timestamp() * 1e9) as u64;
            self.vitals.latencies.note_between(Step::CameraToControl, start, published);
        }
        self.control_age_s = (clock::now_seconds() - control.timestamp()).max(0.0);
        self.perceived.add(&control);
        vitals.missed = self.controls.missed();
        if let Some(live) = &mut self.live {
            live.begin();
        }
        Ok(())
    }

    /// Lets the vehicle drive for `elapsed`. While paused nothing is decided.
    fn drive(&mut self, world: &mut World, elapsed: Duration) {
        if world.is_paused() {
            return;
        }
        if let Some(stopped) = self.live.as_ref().map(Live::is_stopped_by_a_person)
            && stopped != self.controls.is_emergency_stop_latched()
        {
            if stopped { self.latch(world) } else { self.release(world) }
        }
        let (control, events) = self.controls.decide(world.vehicle().is_standing());
        if self.live.is_none() {
            world.step(Command::from(&control), elapsed.as_secs_f64());
        }
        if let Some(published) = self.applying.take() {
            self.vitals.latencies.note_between(Step::Apply, published, clock::now());
        }
        self.tell_events(&control, events);
        if let Some(live) = &mut self.live {
            live.drive(world, &control, elapsed, &self.reason);
        }
    }

    /// What the vehicle executes now, though no time passes for it.
    fn decide(&mut self, world: &World) {
        let (control, events) = self.controls.decide(world.vehicle().is_standing());
        self.tell_events(&control, events);
    }

    /// What changed, with the control that is executed.
    fn tell_events(&mut self, control: &Control, events: SafetyEvents) {
        for event in events {
            match event {
                SafetyEvent::Started | SafetyEvent::Resumed { .. } | SafetyEvent::EmergencyStopOver => {
                    tracing::info!("{event}");
                }
                _ => tracing::warn!("{event}"),
            }
            // The reason of a safe stop stays until driving goes on.
            match event {
                // The decision that the vehicle obeys may ask it to stop, or to stop still.
                SafetyEvent::Started
                | SafetyEvent::Resumed { .. }
                | SafetyEvent::EmergencyStop
                | SafetyEvent::EmergencyStopOver => {
                    let stops = control.mode() == Mode::EmergencyStop;
                    let (state, reason) =
                        if stops { (State::EmergencyStop, BY_DECISION) } else { (State::Running, "") };
                    self.reason = reason.to_owned();
                    self.vitals.enter(state, reason);
                }
                SafetyEvent::SafeStop { reason, .. } => {
                    self.reason = reason.to_string();
                    self.vitals.enter(State::SafeStop, &self.reason);
                }
                SafetyEvent::StandingStill => self.vitals.enter(State::Standing, &self.reason),
                // Said where it was asked for.
                SafetyEvent::Latched | SafetyEvent::Released => {}
                _ => self.vitals.note(&event.to_string()),
            }
        }
    }

    /// Tells what the vehicle does. One that is paused stands as long as that.
    fn tell(&mut self, world: &World) {
        if self.live.as_ref().is_some_and(|live| !live.tells()) {
            return;
        }
        let vehicle = world.vehicle();
        self.motions.publish(MotionSignal {
            timestamp: clock::now_seconds(),
            speed: if world.is_paused() { 0.0 } else { vehicle.speed() },
            steering: vehicle.steering(),
            control_age_s: self.control_age_s,
        });
    }

    fn report(&mut self, world: &World) {
        let state = world.state();
        let vitals = &mut self.vitals.now;
        let (mean, max, now) = match self.camera.source {
            Source::Rendered => {
                let statistics = world.statistics();
                (statistics.mean_abs_offset_m, statistics.max_abs_offset_m, world.lateral_offset_m())
            }
            Source::Replayed(_) => self.perceived.figures(),
        };
        vitals.offset_mean_abs_m = mean;
        vitals.offset_max_abs_m = max;
        vitals.offset_m = now;
        vitals.safe_stops = self.controls.safe_stops();
        vitals.speed_kmh = state.speed_kmh.into();
        self.vitals.publish_if_due();
        let Camera { writer, truths, .. } = &mut self.camera;
        self.vitals.keep_names(&mut [writer, truths, &mut self.motions]);
        if let Some(link) = &mut self.link
            && Instant::now() >= link.status_due
        {
            // Nobody listens, or the link is full: the next one is as good.
            let _ = link.status.send(&state);
            link.status_due = Instant::now() + STATUS_EVERY;
        }
        if let Some(link) = &mut self.link {
            self.vitals.refuse(link.actions.refused());
            link.actions.speak(|words| self.vitals.note(words));
        }
    }
}

struct Camera {
    writer: Writer<Image>,
    shape: ImageShape,
    source: Source,
    /// The picture of a replay that is shown, for as long as time stands still.
    shown: Vec<u8>,
    truths: Writer<Truth>,
}

impl Camera {
    /// Publishes one frame, drawn or decoded in place.
    fn show(
        &mut self,
        world: &mut World,
        frame_id: u64,
        live: Option<&mut Live>,
        latencies: &mut Latencies,
    ) -> Result<(), Failure> {
        let too_small = "the camera's channel is too small for its own shape";
        let mut loan = self.writer.loan();
        let start = clock::now();
        let pixels = loan.start(self.shape, frame_id, 0.0).ok_or(too_small)?;
        match &mut self.source {
            Source::Rendered => {
                world.render(pixels);
                if let Some(live) = live {
                    live.spoil(pixels);
                }
                self.truths.publish(Truth::of(world, frame_id, clock::now_seconds()));
            }
            Source::Replayed(_) if world.is_paused() => pixels.copy_from_slice(&self.shown),
            Source::Replayed(replay) => {
                if let Err(error) = replay.next_into(pixels) {
                    // The next picture may be readable; this frame is left out.
                    tracing::warn!("{error}");
                    return Ok(());
                }
                self.shown.copy_from_slice(pixels);
            }
        }
        // A camera has its frame at once: it counts from when it is complete. The vehicle has not moved meanwhile.
        let complete = clock::now();
        loan.start(self.shape, frame_id, complete as f64 * 1e-9).ok_or(too_small)?;
        loan.seal();
        let published = clock::now();
        loan.publish_at(published);
        latencies.note_between(Step::Render, start, complete);
        latencies.note_between(Step::Write, complete, published);
        Ok(())
    }

    fn restart(&mut self) {
        if let Source::Replayed(replay) = &mut self.source {
            replay.restart();
        }
    }
}

/// The lateral offset as the decision server sees it, for pictures whose vehicle is not in this world.
#[derive(Default)]
struct Perceived {
    sum: f64,
    count: u64,
    max: f64,
    now: f64,
}

impl Perceived {
    fn add(&mut self, control: &Control) {
        let Some(offset) = control.lateral_offset_m() else { return };
        self.now = offset.into();
        self.sum += self.now.abs();
        self.count += 1;
        self.max = self.max.max(self.now.abs());
    }

    fn figures(&self) -> (f64, f64, f64) {
        (self.sum / self.count.max(1) as f64, self.max, self.now)
    }
}

struct Link {
    actions: Actions,
    status: VehicleStatusClient,
    status_due: Instant,
}

impl Link {
    fn connect(system: &SystemOptions) -> Result<Self, Failure> {
        let endpoint = system.endpoint();
        Ok(Self {
            actions: Actions::connect(system)?,
            status: VehicleStatusClient::connect(&endpoint)?,
            status_due: Instant::now(),
        })
    }
}
