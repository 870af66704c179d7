//! The decision server: takes detections, decides how to steer, publishes controls.

use crate::Failure;
use crate::config;
use crate::decision::{Circumstances, DecisionParameters, Health, LaneKeeper};
use crate::detection::LaneShape;
use crate::feed::Feed;
use crate::latency::Step;
use crate::options::{OWN_PLACE, SERVERS, SystemOptions};
use crate::signals::{LANE, LaneSignal, MOTION, MotionSignal};
use crate::status::State;
use crate::stop::Stop;
use crate::tuning::Tuning;
use crate::vitals::VitalSigns;
use lkas_messages::names::Category;
use lkas_messages::{Control, ControlFields, DetectionFields};
use lkas_shm::{Channel, ControlChannel, DetectionChannel, clock};
use std::time::{Duration, Instant};

/// How long to wait for a detection before looking at parameters and signals again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Without a detection for so long, the command is an emergency stop. At 30 frames a second these are six frames.
pub const DETECTION_TIMEOUT: Duration = Duration::from_millis(200);

/// Runs until `stop` is set. With `broadcast` parameters are taken from the broker while it runs.
///
/// # Errors
/// A channel can't be created or used.
pub fn run(options: &SystemOptions, broadcast: bool, stop: &Stop) -> Result<(), Failure> {
    let mut detections =
        Feed::new(options.detection_channel()?, |name, open| DetectionChannel::open(name, open.place(OWN_PLACE)));
    let mut writer = ControlChannel::create(&options.control_channel()?, options.channel(SERVERS))?;
    let configured = match &options.config {
        Some(path) => config::File::read_whole(path)?.parameters,
        None => Vec::new(),
    };
    let mut vitals = VitalSigns::create(&options.status_channel("decision")?)?;
    let missed_before = vitals.now.missed;
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    for (name, value) in vitals.declare(Category::Decision, &configured) {
        keeper.set(name, value)?;
    }
    let mut tuning = broadcast.then(|| Tuning::connect(options, Category::Decision)).transpose()?;
    let mut signals = Signals {
        shapes: Feed::new(options.signal_channel(LANE)?, |name, open| Channel::open(name, open.place(OWN_PLACE))),
        motions: Feed::new(options.signal_channel(MOTION)?, |name, open| Channel::open(name, open.place(OWN_PLACE))),
        shape: None,
        motion: None,
        unusable: [false; 2],
    };
    // The last detection that could be used, and when the last command for the lack of one was made.
    let mut last: Option<(Instant, DetectionFields)> = None;
    let mut health = keeper.health();
    let mut stepped = Instant::now();
    tracing::info!("ready");
    while !stop.is_set() {
        let mut words = None;
        if let Some(tuning) = &mut tuning {
            tuning.apply(&mut vitals, |name, value| keeper.set(name, value))?;
        }
        // When the detection was published and taken, in nanoseconds of the channels' clock.
        let mut came = None;
        let fields = match detections.next(PATIENCE)? {
            Some(detection) => {
                came = Some((detection.time(), clock::now()));
                vitals.now.taken += 1;
                if detection.is_whole() {
                    Some(DetectionFields::from(*detection))
                } else {
                    vitals.now.torn += 1;
                    words = Some(format!("detection {} is not whole and was left out", detection.sequence()));
                    None
                }
            }
            None => None,
        };
        signals.look();
        let now_s = clock::now_seconds();
        let motion = signals.motion.and_then(|signal| signal.motion(now_s));
        let control = match (fields, last) {
            (Some(fields), before) => {
                let start = Instant::now();
                let circumstances = Circumstances {
                    dt: before.map_or(0.0, |(_, before)| (fields.timestamp - before.timestamp) as f32),
                    age_s: (now_s - fields.timestamp) as f32,
                    shape: signals.shape_of(fields.frame_id),
                    motion,
                };
                let mut control = keeper.decide(&fields, &circumstances);
                control.frame_id = fields.frame_id;
                control.timestamp = fields.timestamp;
                control.processing_time_ms = start.elapsed().as_secs_f32() * 1000.0;
                last = Some((start, fields));
                Some(control)
            }
            (None, Some((at, before))) if at.elapsed() > DETECTION_TIMEOUT => {
                let control = keeper.without_detection(stepped.elapsed().as_secs_f32(), motion);
                Some(ControlFields { frame_id: before.frame_id, timestamp: before.timestamp, ..control })
            }
            _ => None,
        };
        if let Some(control) = control {
            writer.publish(Control::try_from(control)?);
            stepped = Instant::now();
            vitals.now.published += 1;
            if let Some((published, taken)) = came {
                vitals.latencies.note_between(Step::Wake, published, taken);
                vitals.latencies.note_between(Step::Decide, taken, clock::now());
            }
        }
        let before = core::mem::replace(&mut health, keeper.health());
        let stops = |health| matches!(health, Health::Stopped(_));
        if before != health {
            words = Some(health.to_string());
            vitals.now.safe_stops += u64::from(stops(health) && !stops(before));
        }
        if last.is_some() {
            match health {
                Health::Good => vitals.enter(State::Running, ""),
                Health::Stopped(reason) => vitals.enter(State::EmergencyStop, &reason.to_string()),
                health => vitals.enter(State::Running, &health.to_string()),
            }
        }
        vitals.now.missed = missed_before + detections.missed();
        vitals.publish_if_due();
        vitals.keep_names(&mut [&mut writer]);
        if let Some(tuning) = &mut tuning {
            tuning.speak();
        }
        // Last: the control is published, whoever reads this.
        match words {
            Some(words) if before != health && health == Health::Good => tracing::info!("{words}"),
            Some(words) => tracing::warn!("{words}"),
            None => (),
        }
    }
    Ok(())
}

/// The newest of the signals that decision works with where they are there.
struct Signals {
    shapes: Feed<LaneSignal>,
    motions: Feed<MotionSignal>,
    shape: Option<LaneSignal>,
    motion: Option<MotionSignal>,
    /// Which of them are there and can't be used, as was said.
    unusable: [bool; 2],
}

impl Signals {
    /// Takes what is new. What can't be used is not there: the vehicle is steered without it.
    fn look(&mut self) {
        let shape = self.shapes.next(Duration::ZERO).map(|shape| self.shape = shape.map(|shape| *shape).or(self.shape));
        let motion =
            self.motions.next(Duration::ZERO).map(|motion| self.motion = motion.map(|motion| *motion).or(self.motion));
        for (said, error) in self.unusable.iter_mut().zip([shape.err(), motion.err()]) {
            let said = core::mem::replace(said, error.is_some());
            if let Some(error) = error.filter(|_| !said) {
                tracing::warn!("steering without it: {error}");
            }
        }
    }

    /// The lane's shape in that frame, or in the one after it, which may have come meanwhile.
    fn shape_of(&self, frame_id: u64) -> Option<LaneShape> {
        self.shape.filter(|shape| shape.frame_id == frame_id || shape.frame_id == frame_id + 1)?.shape()
    }
}
