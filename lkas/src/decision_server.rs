//! The decision server: takes detections, decides how to steer, publishes controls.

use crate::Failure;
use crate::decision::{DecisionParameters, LaneKeeper};
use crate::feed::Feed;
use crate::options::{SERVERS, SystemOptions};
use crate::status::State;
use crate::stop::Stop;
use crate::tuning::Tuning;
use crate::vitals::VitalSigns;
use lkas_messages::names::Category;
use lkas_messages::{Control, ControlFields, DetectionFields, Mode};
use lkas_shm::{ControlChannel, DetectionChannel, Options, clock};
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
    let mut detections = Feed::new(options.detection_channel()?, DetectionChannel::open);
    let mut writer = ControlChannel::create(&options.control_channel()?, Options::new().contract(SERVERS))?;
    let mut vitals = VitalSigns::create(&options.status_channel("decision")?)?;
    let missed_before = vitals.now.missed;
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    for (name, value) in vitals.declare(Category::Decision) {
        keeper.set(name, value)?;
    }
    let mut tuning = broadcast.then(|| Tuning::connect(options, Category::Decision)).transpose()?;
    // The last detection that could be used, and whether a stop for the lack of one is commanded.
    let mut last: Option<(Instant, DetectionFields)> = None;
    let mut stopping = false;
    tracing::info!("ready");
    while !stop.is_set() {
        let mut words = None;
        if let Some(tuning) = &mut tuning {
            tuning.apply(&mut vitals, |name, value| keeper.set(name, value))?;
        }
        let fields = match detections.next(PATIENCE)? {
            Some(detection) => {
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
        let control = match (fields, last) {
            (Some(fields), before) => {
                let start = Instant::now();
                if stopping {
                    words = Some("detections are back".to_owned());
                    stopping = false;
                }
                let dt = before.map_or(0.0, |(_, before)| (fields.timestamp - before.timestamp) as f32);
                let mut control = keeper.decide(&fields, dt);
                control.frame_id = fields.frame_id;
                control.timestamp = fields.timestamp;
                control.processing_time_ms = start.elapsed().as_secs_f32() * 1000.0;
                last = Some((start, fields));
                Some(control)
            }
            (None, Some((at, before))) if at.elapsed() > DETECTION_TIMEOUT => {
                if !stopping {
                    let age = clock::now_seconds() - before.timestamp;
                    words = Some(format!("no detections: the last frame with one is {age:.2} s old"));
                    vitals.now.safe_stops += 1;
                    stopping = true;
                }
                let (frame_id, timestamp) = (before.frame_id, before.timestamp);
                Some(ControlFields { mode: Mode::EmergencyStop, frame_id, timestamp, ..ControlFields::default() })
            }
            _ => None,
        };
        if let Some(control) = control {
            writer.publish(Control::try_from(control)?);
            vitals.now.published += 1;
            match &words {
                Some(words) if stopping => vitals.enter(State::EmergencyStop, words),
                _ if stopping => {}
                _ => vitals.enter(State::Running, ""),
            }
        }
        vitals.now.missed = missed_before + detections.missed();
        vitals.publish_if_due();
        if let Some(tuning) = &mut tuning {
            tuning.speak();
        }
        // Last: the control is published, whoever reads this.
        if let Some(words) = words {
            match stopping {
                true => tracing::warn!("EMERGENCY STOP: {words}"),
                false => tracing::warn!("{words}"),
            }
        }
    }
    Ok(())
}
