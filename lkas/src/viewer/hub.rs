//! Where the link's thread and the browsers' sessions meet.

use super::events::Events;
use super::requests::{Asked, Command, Refusal};
use crate::foxglove::live::{Answer, Live, Topic, parameter_name};
use axum::{body::Bytes, extract::ws::Utf8Bytes};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::time::Duration;
use lkas_messages::names::{Category, PARAMETERS};
use lkas_zmq::wire::ActionStatus;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, TrySendError},
    },
    time::Instant,
};
use tokio::sync::{broadcast, watch};

/// Texts kept for a browser that is behind: about a second of them. One that is further behind loses the oldest.
const TEXTS: usize = 128;

/// Parameters whose status is remembered, beside the system's own.
const MAX_PARAMETERS: usize = 256;

/// The broker sends something ten times a second: one that is silent for so long is not there, or can't be reached.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// Browsers at a time: each costs a task and a share of the one thread.
const MAX_BROWSERS: usize = 16;

/// One frame as every browser gets it.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The whole binary message.
    pub(super) message: Bytes,
    /// When it came from the broker.
    pub(super) received: Instant,
}

/// Everything that is shared; one for each viewer, behind an [`Arc`].
#[derive(Debug)]
pub(crate) struct Hub {
    /// Where the broker is, for people.
    broker: String,
    /// The latest frame alone: whoever is slow misses some, and never sees an old one.
    frame: watch::Sender<Option<Frame>>,
    texts: broadcast::Sender<Utf8Bytes>,
    stop: watch::Sender<bool>,
    commands: SyncSender<Asked>,
    /// How many commands were given.
    asked: AtomicU64,
    heard: Mutex<Heard>,
    browsers: AtomicUsize,
    /// The same for clients of Foxglove's protocol.
    live: Live,
}

/// What is remembered of the broker's messages, for browsers that come later.
#[derive(Debug, Default)]
struct Heard {
    /// When the last message of any kind came.
    last: Option<Instant>,
    /// How many frames came.
    frames: u64,
    /// Why nothing comes, where that is known.
    fault: Option<String>,
    /// The link to the broker: whether it is there, and its round trip.
    link: Value,
    /// The last status of each parameter.
    parameters: BTreeMap<(String, String), Value>,
    /// The last events of all processes.
    events: Events,
}

impl Hub {
    /// A hub whose commands go into `commands`.
    pub(super) fn new(broker: String, commands: SyncSender<Asked>) -> Self {
        Self {
            broker,
            frame: watch::Sender::new(None),
            texts: broadcast::Sender::new(TEXTS),
            stop: watch::Sender::new(false),
            commands,
            asked: AtomicU64::new(0),
            heard: Mutex::default(),
            browsers: AtomicUsize::new(0),
            live: Live::default(),
        }
    }

    /// What clients of Foxglove's protocol subscribe to.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// The latest frame, as a binary message: the header described in [`super::server`], then the JPEG.
    pub(super) fn show_frame(&self, frame_id: u64, timestamp: f64, (width, height): (u32, u32), jpeg: &[u8]) {
        // More than u32::MAX bytes can't come: the broker's messages are bounded far below.
        let Ok(length) = u32::try_from(jpeg.len()) else { return };
        let mut message = Vec::with_capacity(28 + jpeg.len());
        message.extend_from_slice(&frame_id.to_le_bytes());
        message.extend_from_slice(&timestamp.to_le_bytes());
        message.extend_from_slice(&width.to_le_bytes());
        message.extend_from_slice(&height.to_le_bytes());
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(jpeg);
        self.heard_now(|heard| heard.frames += 1);
        self.frame.send_replace(Some(Frame { message: message.into(), received: Instant::now() }));
    }

    /// A message of that topic for every browser.
    pub(super) fn show(&self, topic: &str, data: &Value) {
        self.heard_now(|heard| {
            if topic == "status" {
                heard.events.note(data, Instant::now());
            }
            // Names come from outside, and what is kept must stay bounded.
            if let ("parameter_status", Some(category), Some(name)) =
                (topic, data["category"].as_str(), data["parameter"].as_str())
            {
                let own = PARAMETERS.iter().any(|known| known.category.name() == category && known.name == name);
                let key = (category.to_owned(), name.to_owned());
                let has_room = heard.parameters.len() < MAX_PARAMETERS || heard.parameters.contains_key(&key);
                if own || data["declared"].is_object() && has_room {
                    heard.parameters.insert(key, data.clone());
                }
            }
        });
        // An error means that no browser is there.
        let _ = self.texts.send(json!({"type": topic, "data": data}).to_string().into());
    }

    /// Tells everybody that a command was not carried out.
    pub(super) fn refuse(&self, Asked { number, command }: &Asked, reason: &str) {
        // An error means that no browser is there.
        let _ = self.texts.send(Refusal::of_command(command, reason).text().into());
        self.live.tell(match command {
            Command::Parameter { category, name, .. } => {
                Answer::Parameter { name: parameter_name(category, name), refusal: Some(reason.to_owned()) }
            }
            Command::Action(_) => {
                Answer::Action { number: *number, accepted: false, delivered: false, reason: Some(reason.to_owned()) }
            }
        });
    }

    /// Tells whoever gave this command what the broker says to it.
    pub(super) fn answer(&self, number: u64, status: &ActionStatus) {
        let (accepted, delivered, reason) = (status.accepted, status.delivered, status.reason.clone());
        self.live.tell(Answer::Action { number, accepted, delivered, reason });
    }

    /// Whether somebody wants frames: a page that is open, or a client of Foxglove's protocol that is subscribed to them.
    pub(super) fn is_watched(&self) -> bool {
        self.frame.receiver_count() > 0 || self.live.is_wanted(Topic::Image)
    }

    /// Why nothing comes from the broker; the next message ends it.
    pub(super) fn show_fault(&self, fault: String) {
        self.heard(|heard| heard.fault = Some(fault));
    }

    /// How the link to the broker is.
    pub(super) fn show_link(&self, link: Value) {
        self.heard(|heard| heard.link = link);
    }

    fn heard_now(&self, note: impl FnOnce(&mut Heard)) {
        self.heard(|heard| {
            heard.last = Some(Instant::now());
            heard.fault = None;
            note(heard);
        });
    }

    fn heard<T>(&self, with: impl FnOnce(&mut Heard) -> T) -> T {
        with(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Passes a browser's command on to the link, and returns the number under which it is answered.
    ///
    /// # Errors
    /// The link is behind, or gone.
    pub(crate) fn command(&self, command: Command) -> Result<u64, Refusal> {
        // ORDERING: Relaxed, as each number is used once whatever the order.
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        self.commands.try_send(Asked { number, command }).map(|()| number).map_err(|error| {
            let (asked, reason) = match error {
                TrySendError::Full(asked) => (asked, "too many commands at once; try again"),
                TrySendError::Disconnected(asked) => (asked, "the viewer has no link to the broker; restart it"),
            };
            Refusal::of_command(&asked.command, reason)
        })
    }

    /// The first text that a browser gets.
    pub(super) fn hello(&self) -> Utf8Bytes {
        let parameters: Vec<Value> = PARAMETERS
            .iter()
            .map(|p| {
                json!({
                    "category": p.category.name(), "name": p.name, "min": p.min, "max": p.max,
                    "default": p.default, "help": p.help,
                })
            })
            .collect();
        let categories = Category::ALL.map(Category::name);
        json!({"type": "hello", "broker": self.broker, "categories": categories, "parameters": parameters})
            .to_string()
            .into()
    }

    /// The last status of every parameter that has one, and the last events.
    pub(super) fn values(&self) -> Utf8Bytes {
        let (values, events) = self
            .heard(|heard| (heard.parameters.values().cloned().collect::<Vec<_>>(), heard.events.list(Instant::now())));
        json!({"type": "values", "data": values, "events": events}).to_string().into()
    }

    /// The parameters whose value in force is known, by their name with that of their category.
    pub(crate) fn parameters(&self) -> BTreeMap<String, f64> {
        let named = |((category, name), status): (&(String, String), &Value)| {
            Some((parameter_name(category, name), status["value"].as_f64()?))
        };
        self.heard(|heard| heard.parameters.iter().filter_map(named).collect())
    }

    /// The state of the link to the broker. `frame_ms` is how long a browser took for its last frame.
    pub(super) fn link(&self, frame_ms: Option<u128>) -> Utf8Bytes {
        let (age, fault, link) =
            self.heard(|heard| (heard.last.map(|last| last.elapsed()), heard.fault.clone(), heard.link.clone()));
        json!({
            "type": "link",
            "broker": link,
            "last_message_ms": age.as_ref().map(Duration::as_millis),
            "fault": fault,
            "frame_ms": frame_ms,
        })
        .to_string()
        .into()
    }

    /// How many frames came from the broker for the browsers, and how long ago its last message of any kind did.
    pub(super) fn heard_so_far(&self) -> (u64, Option<Duration>) {
        self.heard(|heard| (heard.frames, heard.last.map(|last| last.elapsed())))
    }

    /// What `/health` says.
    pub(super) fn health(&self) -> Value {
        let (age, fault) = self.heard(|heard| (heard.last.map(|last| last.elapsed()), heard.fault.clone()));
        json!({
            "status": if age.is_some_and(|age| age < SILENCE) { "ok" } else { "waiting" },
            "broker": self.broker,
            "last_message_ms": age.as_ref().map(Duration::as_millis),
            "fault": fault,
            // ORDERING: Relaxed, a count for people; nothing is read on the strength of it.
            "browsers": self.browsers.load(Ordering::Relaxed),
        })
    }

    /// Frames from now on.
    pub(super) fn frames(&self) -> watch::Receiver<Option<Frame>> {
        self.frame.subscribe()
    }

    /// Texts from now on.
    pub(super) fn texts(&self) -> broadcast::Receiver<Utf8Bytes> {
        self.texts.subscribe()
    }

    /// Ends when the viewer stops.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move { drop(stop.wait_for(|stop| *stop).await) }
    }

    /// Ends when no browser is there.
    pub(super) async fn left(&self) {
        // ORDERING: Relaxed, as in `Hub::seat`.
        while self.browsers.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the viewer stops.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Ends all sessions.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// A place for one more browser; `None` where all are taken.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        // ORDERING: Relaxed, the count itself is all that is decided upon.
        self.browsers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < MAX_BROWSERS).then_some(taken + 1))
            .is_ok()
            .then(|| Seat(Arc::clone(self)))
    }
}

/// A browser's place, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Hub>);

impl Seat {
    /// The hub that the place belongs to.
    pub(crate) fn hub(&self) -> &Hub {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // ORDERING: Relaxed, see `Hub::seat`.
        self.0.browsers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn hub() -> (Arc<Hub>, mpsc::Receiver<Asked>) {
        let (commands, taken) = mpsc::sync_channel(1);
        (Arc::new(Hub::new("tcp://localhost".to_owned(), commands)), taken)
    }

    #[test]
    fn a_slow_browser_gets_the_latest_frame_alone() {
        let (hub, _taken) = hub();
        let mut frames = hub.frames();
        for id in 0..100 {
            hub.show_frame(id, 0.5, (4, 3), b"jpeg");
        }
        let message = frames.borrow_and_update().clone().unwrap().message;
        assert_eq!(message[..8], 99_u64.to_le_bytes());
        assert_eq!(message[8..16], 0.5_f64.to_le_bytes());
        assert_eq!(message[16..28], [4, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(&message[28..], b"jpeg");
        assert!(!frames.has_changed().unwrap());
    }

    #[test]
    fn later_browsers_learn_the_values_in_force_of_known_and_of_declared_parameters() {
        let (hub, _taken) = hub();
        hub.show("parameter_status", &json!({"category": "decision", "parameter": "kp", "value": 0.25}));
        hub.show("parameter_status", &json!({"category": "decision", "parameter": "kp", "value": 0.75}));
        hub.show("parameter_status", &json!({"category": "decision", "parameter": "invented", "value": 1}));
        hub.show("parameter_status", &json!(["no object"]));
        let values: Value = serde_json::from_str(hub.values().as_str()).unwrap();
        assert_eq!(values["data"].as_array().unwrap().len(), 1);
        assert_eq!(values["data"][0]["value"], 0.75);
        for number in 0..2 * MAX_PARAMETERS {
            let name = format!("gain_{number}");
            hub.show("parameter_status", &json!({"category": "radio", "parameter": name, "declared": {"unit": "dB"}}));
        }
        let values: Value = serde_json::from_str(hub.values().as_str()).unwrap();
        assert_eq!(values["data"].as_array().unwrap().len(), MAX_PARAMETERS);
    }

    #[test]
    fn commands_beyond_what_the_link_takes_are_refused() {
        let (hub, taken) = hub();
        assert!(hub.command(Command::Action("pause")).is_ok());
        assert!(hub.command(Command::Action("pause")).unwrap_err().text().contains("try again"));
        drop(taken);
        assert!(hub.command(Command::Action("pause")).unwrap_err().text().contains("no link"));
    }

    #[test]
    fn seats_are_limited_and_come_back() {
        let (hub, _taken) = hub();
        let seats: Vec<_> = (0..MAX_BROWSERS).map(|_| hub.seat().unwrap()).collect();
        assert!(hub.seat().is_none());
        drop(seats);
        assert!(hub.seat().is_some());
    }

    #[test]
    fn a_fault_lasts_until_the_next_message() {
        let (hub, _taken) = hub();
        hub.show_fault("no broker".to_owned());
        assert!(hub.link(None).contains("no broker"));
        hub.show("state", &json!({}));
        assert!(!hub.link(None).contains("no broker"));
    }
}
