//! The newest message of each topic, for whoever subscribes.

use super::schemas::{self, Level};
use axum::body::Bytes;
use core::{fmt, time::Duration};
use lkas_zmq::ViewerMessage;
use lkas_zmq::wire::{ActionStatus, DetectionMessage, FrameHeader, ParameterStatus, vehicle_state};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{broadcast, watch};

/// Events that are kept for clients that come later. One that is further behind misses the oldest.
const EVENTS: usize = 64;

/// Answers kept for a client that is behind.
const ANSWERS: usize = 64;

/// Frames whose times are remembered, for the lanes that are found in them.
const FRAMES: usize = 32;

/// Processes whose events are told.
const MAX_PROCESSES: usize = 32;

/// A message that is older is history, and is not sent any more. Events stay.
const MAX_AGE: Duration = Duration::from_millis(500);

/// One of the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Image,
    Lanes,
    Events,
    Detection,
    Vehicle,
    Control,
    Status,
}

impl Topic {
    pub(crate) const ALL: [Self; 7] =
        [Self::Image, Self::Lanes, Self::Events, Self::Detection, Self::Vehicle, Self::Control, Self::Status];

    /// The topic's number on the wire.
    pub(crate) fn id(self) -> u64 {
        self as u64 + 1
    }

    pub(crate) fn of_id(id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.id() == id)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Image => "/camera_feed",
            Self::Lanes => "/lanes",
            Self::Events => "/events",
            Self::Detection => "/lane_detection",
            Self::Vehicle => "/vehicle_state",
            Self::Control => "/vehicle_control",
            Self::Status => "/status",
        }
    }

    pub(crate) fn schema_name(self) -> &'static str {
        match self {
            Self::Image => schemas::COMPRESSED_IMAGE,
            Self::Lanes => schemas::IMAGE_ANNOTATIONS,
            Self::Events => schemas::LOG,
            Self::Detection => "lkas.broadcast.Detection",
            Self::Vehicle => "lkas.broadcast.VehicleState",
            Self::Control => "lkas.broadcast.Telemetry",
            Self::Status => "lkas.broadcast.Status",
        }
    }

    /// What the topic's messages are. Those that come from the broker as JSON are cut to this, so that what a stranger sends
    /// fits as well.
    pub(crate) fn schema(self) -> Value {
        let properties = match self {
            Self::Image => return schemas::compressed_image_schema(),
            Self::Lanes => return schemas::image_annotations_schema(),
            Self::Events => return schemas::log_schema(),
            Self::Detection => {
                let lane = object("lkas.Lane", numbers(&["x1", "y1", "x2", "y2", "confidence"]));
                let mut properties = numbers(&["frame_id", "processing_time_ms"]);
                properties.extend([("left_lane".to_owned(), lane.clone()), ("right_lane".to_owned(), lane)]);
                properties
            }
            Self::Vehicle => {
                let mut properties = numbers(&["steering", "throttle", "brake", "speed_kmh"]);
                let list = json!({"type": "array", "items": {"type": "number"}});
                properties.extend([("position".to_owned(), list.clone()), ("rotation".to_owned(), list)]);
                properties.insert("paused".to_owned(), json!({"type": "boolean"}));
                properties
            }
            Self::Control => {
                let mut properties = numbers(&[
                    "frame_id",
                    "steering",
                    "throttle",
                    "brake",
                    "lateral_offset",
                    "lateral_offset_m",
                    "heading_angle_deg",
                    "lane_width_px",
                    "latency_ms",
                    "fps",
                    "detection_ms",
                    "decision_ms",
                ]);
                properties.extend(texts(&["mode", "departure"]));
                properties
            }
            Self::Status => {
                let mut vehicle = texts(&["state", "reason", "words"]);
                vehicle.extend(numbers(&["respawns", "since_s"]));
                vehicle.extend(flags(&["latched", "paused", "severe"]));
                let mut process = texts(&["name", "state", "reason"]);
                process.extend(numbers(&["pid", "age_s", "up_s", "published", "missed", "restarts"]));
                process.extend(flags(&["alive", "silent"]));
                let processes = json!({"type": "array", "items": object("lkas.broadcast.Process", process)});
                let vehicle = object("lkas.broadcast.Vehicle", vehicle);
                Map::from_iter([("vehicle".to_owned(), vehicle), ("processes".to_owned(), processes)])
            }
        };
        object(self.schema_name(), properties)
    }
}

fn object(title: &str, properties: Map<String, Value>) -> Value {
    json!({"title": title, "type": "object", "properties": properties})
}

fn of_type(kind: &str, names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), json!({"type": kind}))).collect()
}

fn numbers(names: &[&str]) -> Map<String, Value> {
    of_type("number", names)
}

fn texts(names: &[&str]) -> Map<String, Value> {
    of_type("string", names)
}

fn flags(names: &[&str]) -> Map<String, Value> {
    of_type("boolean", names)
}

/// What of `value` the schema describes; `None` where it is of another type, as null is.
fn fit(schema: &Value, value: &Value) -> Option<Value> {
    match (schema["type"].as_str()?, value) {
        ("object", Value::Object(object)) => {
            let known = schema["properties"].as_object()?.iter();
            let fitting = known.filter_map(|(key, schema)| Some((key.clone(), fit(schema, object.get(key)?)?)));
            Some(Value::Object(fitting.collect()))
        }
        ("array", Value::Array(items)) => items.iter().map(|item| fit(&schema["items"], item)).collect(),
        ("number", Value::Number(_)) | ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => {
            Some(value.clone())
        }
        _ => None,
    }
}

/// One message of a topic.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Which one of its topic, from 1 on.
    pub(crate) number: u64,
    /// Nanoseconds since 1970.
    pub(crate) time_ns: u64,
    pub(crate) payload: Bytes,
    /// `None` where age is no matter.
    received: Option<Instant>,
}

impl Sample {
    /// Whether it still says what is.
    pub(crate) fn is_current(&self) -> bool {
        self.received.is_none_or(|received| received.elapsed() <= MAX_AGE)
    }
}

/// The last samples of one topic: one, but of events some more.
pub(crate) type Samples = VecDeque<Sample>;

/// What the broker said to a command: of this viewer's clients to an action, of anybody to a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Action {
        /// The command's number.
        number: u64,
        accepted: bool,
        delivered: bool,
        reason: Option<String>,
    },
    /// `refusal` says why the value that was asked for is not the one in force.
    Parameter { name: String, refusal: Option<String> },
}

/// What is there for clients; one for each viewer.
#[derive(Debug)]
pub(crate) struct Live {
    topics: [watch::Sender<Samples>; Topic::ALL.len()],
    /// Changes with every sample of any topic.
    changes: watch::Sender<u64>,
    answers: broadcast::Sender<Answer>,
    schemas: [Value; Topic::ALL.len()],
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Numbers and times of the last frames.
    frames: VecDeque<(u64, u64)>,
    /// The last event of each process that was told.
    told: BTreeMap<String, u64>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            topics: Topic::ALL.map(|_| watch::Sender::new(Samples::new())),
            changes: watch::Sender::new(0),
            answers: broadcast::Sender::new(ANSWERS),
            schemas: Topic::ALL.map(Topic::schema),
            memory: Mutex::default(),
        }
    }
}

impl Live {
    /// Samples of a topic from now on, beginning with those that are there.
    pub(crate) fn subscribe(&self, topic: Topic) -> watch::Receiver<Samples> {
        let mut samples = self.topics[topic as usize].subscribe();
        samples.mark_changed();
        samples
    }

    /// Changes whenever there is a new sample of any topic.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Answers from now on.
    pub(crate) fn answers(&self) -> broadcast::Receiver<Answer> {
        self.answers.subscribe()
    }

    /// Whether somebody is subscribed to the topic.
    pub(crate) fn is_wanted(&self, topic: Topic) -> bool {
        self.topics[topic as usize].receiver_count() > 0
    }

    /// Tells every client of an answer.
    pub(crate) fn tell(&self, answer: Answer) {
        // An error means that no client is there.
        let _ = self.answers.send(answer);
    }

    /// Takes note of a message from the broker, after the values in force that are in it are known.
    pub(crate) fn note(&self, message: &ViewerMessage) {
        match message {
            ViewerMessage::Frame { header, jpeg } => self.frame(header, jpeg),
            ViewerMessage::Detection(detection) => self.detection(detection),
            ViewerMessage::State(state) => {
                if let Some(fields) = vehicle_state(state) {
                    self.show(Topic::Vehicle, now_ns(), &json!(fields));
                }
            }
            ViewerMessage::Telemetry(telemetry) => self.show(Topic::Control, now_ns(), telemetry),
            ViewerMessage::Status(status) => {
                self.show(Topic::Status, now_ns(), status);
                self.events(status);
            }
            ViewerMessage::ActionStatus(status) => self.action(status),
            ViewerMessage::ParameterStatus(status) => self.parameter(status),
            _ => {}
        }
    }

    fn frame(&self, header: &FrameHeader, jpeg: &[u8]) {
        let time_ns = nanoseconds(header.timestamp).unwrap_or_else(now_ns);
        self.remember(|memory| {
            memory.frames.truncate(FRAMES - 1);
            memory.frames.push_front((header.frame_id, time_ns));
        });
        if self.is_wanted(Topic::Image) {
            self.publish(Topic::Image, time_ns, schemas::compressed_image(time_ns, "camera", jpeg).to_string());
        }
    }

    fn detection(&self, detection: &DetectionMessage) {
        let frames = |memory: &mut Memory| memory.frames.iter().find(|frame| frame.0 == detection.frame_id).copied();
        let time_ns = self.remember(frames).map_or_else(now_ns, |(_, time_ns)| time_ns);
        let (left, right) = (detection.left_lane.as_ref(), detection.right_lane.as_ref());
        if self.is_wanted(Topic::Lanes) {
            self.publish(Topic::Lanes, time_ns, schemas::image_annotations(time_ns, left, right));
        }
        self.show(Topic::Detection, time_ns, &json!(detection));
    }

    /// Tells the events that are new in a status.
    fn events(&self, status: &Value) {
        let told: Vec<_> = status["processes"].as_array().into_iter().flatten().take(MAX_PROCESSES).collect();
        for process in told {
            let Some(name) = process["name"].as_str() else { continue };
            let severe = name == "simulation" && status["vehicle"]["severe"] == true;
            let events = process["events"].as_array().map(Vec::as_slice).unwrap_or_default();
            let Some(newest) = events.iter().filter_map(|event| event["number"].as_u64()).max() else { continue };
            let told = self.remember(|memory| {
                if memory.told.len() >= MAX_PROCESSES && !memory.told.contains_key(name) {
                    return newest;
                }
                memory.told.insert(name.to_owned(), newest).unwrap_or(0)
            });
            // Who counts from the beginning is another one of that name, in a system that was started anew.
            let told = if newest < told { 0 } else { told };
            for event in events {
                let (Some(number), Some(words)) = (event["number"].as_u64(), event["words"].as_str()) else { continue };
                if number > told {
                    let age = Duration::try_from_secs_f64(event["age_s"].as_f64().unwrap_or(0.0)).unwrap_or_default();
                    let age_ns = u64::try_from(age.as_nanos()).unwrap_or(0);
                    let level = if severe { Level::Warning } else { Level::Info };
                    self.event(now_ns().saturating_sub(age_ns), level, name, words);
                }
            }
        }
    }

    fn action(&self, status: &ActionStatus) {
        let action = &status.action;
        let (level, words) = match (status.reason.as_deref(), status.accepted && status.delivered) {
            (None, true) => (Level::Info, format!("{action}: delivered")),
            (reason, _) => (Level::Warning, format!("{action}: {}", reason.unwrap_or("not delivered"))),
        };
        self.event(now_ns(), level, "broker", &words);
    }

    fn parameter(&self, status: &ParameterStatus) {
        let name = parameter_name(&status.category, &status.parameter);
        let refusal = if status.accepted { None } else { Some(status.reason.clone().unwrap_or_default()) };
        if let Some(why) = &refusal {
            self.event(now_ns(), Level::Warning, &status.category, &format!("{name} was refused: {why}"));
        }
        self.tell(Answer::Parameter { name, refusal });
    }

    fn event(&self, time_ns: u64, level: Level, process: &str, words: &str) {
        self.publish(Topic::Events, time_ns, schemas::log(time_ns, level, process, words));
    }

    /// What of `value` fits the topic's schema.
    fn show(&self, topic: Topic, time_ns: u64, value: &Value) {
        if self.is_wanted(topic)
            && let Some(value) = fit(&self.schemas[topic as usize], value)
        {
            self.publish(topic, time_ns, value.to_string());
        }
    }

    fn publish(&self, topic: Topic, time_ns: u64, payload: String) {
        let (kept, received) = match topic {
            Topic::Events => (EVENTS, None),
            _ => (1, Some(Instant::now())),
        };
        self.topics[topic as usize].send_modify(|samples| {
            let number = samples.back().map_or(0, |last| last.number) + 1;
            samples.push_back(Sample { number, time_ns, payload: payload.into(), received });
            while samples.len() > kept {
                samples.pop_front();
            }
        });
        self.changes.send_modify(|number| *number += 1);
    }

    fn remember<T>(&self, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How clients name a parameter.
pub(crate) fn parameter_name(category: impl fmt::Display, name: impl fmt::Display) -> String {
    format!("{category}.{name}")
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970 as nanoseconds; `None` where there is no such time.
fn nanoseconds(seconds: f64) -> Option<u64> {
    u64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(samples: &watch::Receiver<Samples>) -> Value {
        samples.borrow().back().map_or(Value::Null, |sample| serde_json::from_slice(&sample.payload).unwrap())
    }

    fn words(events: &watch::Receiver<Samples>) -> Vec<(String, u64)> {
        let parsed = |sample: &Sample| serde_json::from_slice::<Value>(&sample.payload).unwrap();
        let told = |event: Value| (event["message"].as_str().unwrap().to_owned(), event["level"].as_u64().unwrap());
        events.borrow().iter().map(parsed).map(told).collect()
    }

    fn status(severe: bool, events: &[(u64, &str)]) -> ViewerMessage {
        let events: Vec<_> = events.iter().map(|(number, words)| json!({"number": number, "words": words})).collect();
        let process = json!({"name": "simulation", "events": events});
        ViewerMessage::Status(json!({"vehicle": {"severe": severe}, "processes": [process]}))
    }

    #[test]
    fn what_a_stranger_sends_is_cut_to_the_schema() {
        let live = Live::default();
        let control = live.subscribe(Topic::Control);
        let sent = json!({"fps": null, "mode": "LaneKeeping", "steering": "left", "brake": 0.5, "extra": [1]});
        live.note(&ViewerMessage::Telemetry(sent));
        assert_eq!(newest(&control), json!({"mode": "LaneKeeping", "brake": 0.5}));
        live.note(&ViewerMessage::Telemetry(json!(["no object"])));
        assert_eq!(control.borrow().len(), 1);
    }

    #[test]
    fn the_newest_alone_is_kept_and_nothing_is_made_for_nobody() {
        let live = Live::default();
        let frame = |frame_id| ViewerMessage::Frame {
            header: FrameHeader { frame_id, ..FrameHeader::default() },
            jpeg: vec![0xff],
        };
        live.note(&frame(1));
        assert!(!live.is_wanted(Topic::Image));
        let frames = live.subscribe(Topic::Image);
        assert!(live.is_wanted(Topic::Image) && frames.borrow().is_empty());
        for id in 2..10 {
            live.note(&frame(id));
        }
        assert_eq!(frames.borrow().iter().map(|sample| sample.number).collect::<Vec<_>>(), [8]);
        drop(frames);
        assert!(!live.is_wanted(Topic::Image));
    }

    #[test]
    fn each_event_is_told_once() {
        let live = Live::default();
        live.note(&status(false, &[(1, "started"), (2, "drives")]));
        live.note(&status(true, &[(1, "started"), (2, "drives"), (3, "safe stop")]));
        let events = live.subscribe(Topic::Events);
        let expected = [("started".to_owned(), 2), ("drives".to_owned(), 2), ("safe stop".to_owned(), 3)];
        assert_eq!(words(&events), expected, "also to who comes later");
        live.note(&status(false, &[(1, "started anew")]));
        assert_eq!(words(&events).last().unwrap().0, "started anew");
        for number in 2..200 {
            live.note(&status(false, &[(number, "again")]));
        }
        assert_eq!(events.borrow().len(), EVENTS);
    }

    #[test]
    fn a_refusal_is_an_answer_and_an_event() {
        let live = Live::default();
        let (mut answers, events) = (live.answers(), live.subscribe(Topic::Events));
        live.note(&ViewerMessage::ParameterStatus(ParameterStatus {
            category: "decision".to_owned(),
            parameter: "kp".to_owned(),
            value: Some(0.5),
            accepted: false,
            confirmed: true,
            reason: Some("too large".to_owned()),
            declared: None,
            id: None,
            timestamp: 0.0,
        }));
        let refusal = Some("too large".to_owned());
        assert_eq!(answers.try_recv(), Ok(Answer::Parameter { name: "decision.kp".to_owned(), refusal }));
        assert_eq!(words(&events), [("decision.kp was refused: too large".to_owned(), 3)]);
    }
}
