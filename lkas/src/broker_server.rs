//! The broker as a process: carries frames, detections, state and telemetry to viewers, and parameters and actions back.

use crate::Failure;
use crate::actions::ACTIONS;
use crate::encoding::{Encoded, Figures, FrameThread};
use crate::inlet::Inlet;
use crate::options::{BROKERS_PLACE, SystemOptions};
use crate::processes::Processes;
use crate::status::State;
use crate::stop::Stop;
use crate::tools;
use crate::vitals::VitalSigns;
use lkas_messages::{ControlFields, Departure, DetectionFields};
use lkas_shm::{ControlChannel, DetectionChannel, clock};
use lkas_zmq::wire::FrameHeader;
use lkas_zmq::{Broker, LanePosition, Topic};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often the status is published.
const STATUS_EVERY: Duration = Duration::from_millis(100);

/// How many steps nicer than the others this process is: watching must not slow down driving.
const NICE: i32 = 5;

/// Memory that this process may take: many times what it needs. ZeroMQ keeps what a stranger sends in unfinished messages. A
/// broker that has no more of it ends and is started again, while the vehicle drives on; without a limit the whole machine
/// would have no more.
const MEMORY: u64 = 1 << 30;

/// Lets this process open as many files as it may: each connection is one, and who can't connect can't stop the vehicle. And no
/// more memory than it may need.
fn set_limits() {
    let files = getrlimit(Resource::Nofile);
    let memory = getrlimit(Resource::Data);
    let least = |limit: Option<u64>| Some(limit.map_or(MEMORY, |limit| limit.min(MEMORY)));
    // Otherwise they stay as they are.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    let _ = setrlimit(Resource::Data, Rlimit { current: least(memory.current), ..memory });
}

/// Runs until `stop` is set.
///
/// # Errors
/// The ports are in use, or a channel can't be used.
pub fn run(options: &SystemOptions, stop: &Stop) -> Result<(), Failure> {
    // Not being nicer is no reason not to run.
    let _ = rustix::process::nice(NICE);
    set_limits();
    let mut broker = Broker::bind(options.network.broker_options(options.broker_port))?;
    for action in ACTIONS {
        broker.register_action(action.parse()?, |_| {});
    }
    let mut frames = FrameThread::start(options.camera_channel()?, options.encoding)?;
    let mut detections =
        Inlet::new(options.detection_channel()?, |name, open| DetectionChannel::open(name, open.place(BROKERS_PLACE)));
    let mut controls =
        Inlet::new(options.control_channel()?, |name, open| ControlChannel::open(name, open.place(BROKERS_PLACE)));
    let mut processes = Processes::new(options)?;
    let mut vitals = VitalSigns::create(&options.status_channel("broker")?)?;
    let (taken_before, missed_before, torn_before) = (vitals.now.taken, vitals.now.missed, vitals.now.torn);
    // Of detections and controls.
    let mut torn = 0;
    let mut refusals = Refusals { known: [0; 4], due: Instant::now() };
    let mut last_detection_ms = None;
    let mut status_due = Instant::now();
    tracing::info!("ports {} to {}", options.broker_port, options.broker_port + 5);
    if let Some(warning) = options.network.warning() {
        tracing::warn!("{warning}");
    }
    vitals.enter(State::Running, "");
    while !stop.is_set() {
        frames.set_watched(broker.wants_frames());
        detections.prepare()?;
        controls.prepare()?;
        let is_watched = broker.has_viewers(Topic::Status) || broker.awaits_answers();
        let dues = [detections.due(), controls.due(), broker.due(), processes.look_due()];
        let due = dues.into_iter().min().unwrap_or_else(Instant::now);
        let channels = [Some(frames.descriptor()), detections.descriptor(), controls.descriptor()];
        let channels: Vec<_> = channels.into_iter().flatten().collect();
        // Whatever it was that ended the wait, everything is looked at.
        let _ = broker.wait_also(&channels, due.saturating_duration_since(Instant::now()));
        broker.poll();
        refusals.look(&broker, &mut vitals);
        let (frame, figures) = frames.fetch()?;
        if let Some(frame) = frame {
            let sent = broker.broadcast_frame(&header(&frame), &frame.jpeg).is_sent();
            vitals.now.published += u64::from(sent);
        }
        if let Some(detection) = detections.take() {
            if detection.is_whole() {
                last_detection_ms = Some(detection.processing_time_ms());
                // What nobody listens to, or has no room, is not worth repeating: the next one is newer.
                let _ = broker.broadcast_detection(&DetectionFields::from(*detection));
            } else {
                torn += 1;
            }
        }
        let status = processes.due(is_watched);
        for (category, reports) in processes.reports() {
            broker.report(category, &reports);
        }
        for (number, why) in processes.refusals() {
            broker.report_refusal(number, &why);
        }
        if let Some(mut status) = status {
            let lease = broker.lease().map(|lease| json!({"holder": lease.holder, "left_s": lease.left.as_secs_f64()}));
            status["commands"] = json!({"warning": options.network.warning(), "lease": lease});
            // Sent whatever else comes or does not come: this is what says that nothing does.
            let _ = broker.broadcast_status(&status);
        }
        if let Some(control) = controls.take() {
            if control.is_whole() {
                let latency_ms = control.time() as f64 * 1e-6 - control.timestamp() * 1e3;
                let fields = ControlFields::from(*control);
                let _ = broker.broadcast_telemetry(&telemetry(&fields, latency_ms, figures.fps, last_detection_ms));
                broker.set_lane_position(lane_position(&fields));
            } else {
                torn += 1;
            }
        }
        vitals.now.taken = taken_before + figures.taken;
        vitals.now.missed = missed_before + figures.missed;
        vitals.now.torn = torn_before + torn + figures.torn;
        let now = Instant::now();
        if now + STATUS_EVERY / 10 >= status_due {
            // A little early rather than in a wake-up of its own.
            vitals.publish();
            broker.set_about("encoding", encoding(options, &figures));
            status_due = now + STATUS_EVERY;
        }
        vitals.keep_names(&mut []);
    }
    broker.close();
    Ok(())
}

fn header(frame: &Encoded) -> FrameHeader {
    FrameHeader {
        timestamp: unix_seconds(frame.timestamp),
        frame_id: frame.frame_id,
        width: frame.width,
        height: frame.height,
        jpeg_size: frame.jpeg.len() as u64,
    }
}

/// A time of the monotonic clock as one of the clock that viewers know: seconds since 1970.
fn unix_seconds(monotonic: f64) -> f64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    unix - (clock::now_seconds() - monotonic)
}

fn telemetry(
    control: &ControlFields,
    latency_ms: f64,
    fps: Option<f64>,
    detection_ms: Option<f32>,
) -> serde_json::Value {
    serde_json::json!({
        "frame_id": control.frame_id,
        "mode": control.mode,
        "steering": control.steering,
        "throttle": control.throttle,
        "brake": control.brake,
        "lateral_offset": control.lateral_offset,
        "lateral_offset_m": control.lateral_offset_m,
        "heading_angle_deg": control.heading_angle_deg,
        "lane_width_px": control.lane_width_px,
        "departure": control.departure,
        "latency_ms": latency_ms,
        "fps": fps,
        "detection_ms": detection_ms,
        "decision_ms": control.processing_time_ms,
    })
}

fn lane_position(control: &ControlFields) -> LanePosition {
    let words = |departure| match departure {
        Departure::Centred => Some("centered"),
        Departure::Drift => Some("drift"),
        Departure::Departure => Some("departure"),
        _ => None,
    };
    LanePosition {
        lateral_offset: control.lateral_offset,
        heading_angle: control.heading_angle_deg,
        departure_status: control.departure.and_then(words).map(str::to_owned),
    }
}

/// How frames become JPEGs, for the statistics.
fn encoding(options: &SystemOptions, figures: &Figures) -> serde_json::Value {
    json!({
        "encoder": figures.encoder,
        "jpeg_quality": options.encoding.jpeg_quality,
        "viewer_fps": options.encoding.viewer_fps,
        "frames_encoded": figures.encoded,
        "last_took_ms": figures.took.as_secs_f64() * 1e3,
    })
}

/// What the broker refused, told at most once a second, each kind with its own reason: to a person, and as an event to
/// the page and to recordings.
struct Refusals {
    known: [u64; 4],
    due: Instant,
}

impl Refusals {
    fn look(&mut self, broker: &Broker, vitals: &mut VitalSigns) {
        if Instant::now() < self.due {
            return;
        }
        self.due = Instant::now() + Duration::from_secs(1);
        let statistics = broker.statistics();
        let kinds = [
            (["action", "actions"], &statistics.actions),
            (["parameter", "parameters"], &statistics.parameters),
            (["vehicle status", "vehicle statuses"], &statistics.states),
            (["message of a subscriber", "messages of subscribers"], &statistics.subscriptions),
        ];
        for (([one, several], kind), known) in kinds.into_iter().zip(&mut self.known) {
            if kind.refused > *known {
                let reason = kind.last_refusal.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let refused = tools::counted(kind.refused - *known, one, several);
                let last = if kind.refused - *known == 1 { "" } else { "; the last one" };
                let words = format!("refused {refused}{last}{reason}");
                vitals.note(&words);
                tracing::warn!("{words}");
                *known = kind.refused;
            }
        }
    }
}
