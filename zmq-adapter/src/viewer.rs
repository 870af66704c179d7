//! A viewer's side: everything that is broadcast, and commands.

use crate::decode::decode_viewer_message;
use crate::error::{ConnectError, ReceiveError, SendError};
use crate::link::{self, Link, MAX_PER_CALL};
use crate::socket::{Arrivals, Kind};
use crate::ticks::{TICK, Ticks};
use crate::wire::{
    self, ACTION, EMERGENCY_STOP, EMERGENCY_STOP_REASON, Endpoint, MAX_JPEG, PARAMETER, PING, RELEASE_EMERGENCY_STOP,
    Topic, ViewerMessage,
};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use lkas_messages::names::Name;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Actions that wait for a broker, at most.
const KEPT_ACTIONS: usize = 16;
/// How long a command waits for a broker. A vehicle that respawns long after somebody asked for it would surprise.
const KEPT_FOR: Duration = wire::ACTION_AGE;
/// How often an emergency stop is sent until the vehicle confirms it.
const STOP_EVERY: Duration = Duration::from_millis(200);
/// Answers to commands that wait for [`ViewerClient::next`], at most.
const KEPT_ANSWERS: usize = 64;

/// A viewer: receives what is broadcast, newest first served, and sends commands that are not lost.
///
/// `Send`, not `Sync`: its sockets belong to whichever thread owns it. Three connections, one background thread of
/// ZeroMQ's.
///
/// ```no_run
/// use core::time::Duration;
/// use lkas_zmq::{clients::ViewerClient, wire::{Endpoint, ViewerMessage}};
/// let mut viewer = ViewerClient::connect(&Endpoint::default())?;
/// viewer.send_action(&"pause".parse()?)?; // kept until the broker listens
/// while let Some(message) = viewer.next(Duration::from_secs(1))? {
///     if let ViewerMessage::Frame { header, jpeg } = message {
///         println!("frame {}: {} bytes", header.frame_id, jpeg.len());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ViewerClient {
    broadcasts: Link,
    actions: Link,
    parameters: Link,
    /// Received, not yet returned: the newest of each kind, in the order in which they came.
    fresh: VecDeque<ViewerMessage>,
    skipped: u64,
    arrivals: Arrivals,
    kept_actions: VecDeque<(Instant, Vec<u8>)>,
    kept_parameters: BTreeMap<(String, String), (Instant, Vec<u8>)>,
    expired: u64,
    ticks: Ticks,
    tick_came: Option<Instant>,
    /// Whether the broker listened once: what is asked for before that waits for it, what is asked for in an outage not.
    was_connected: bool,
    stop: Option<Stop>,
    requests: Requests,
    /// The ping that was not answered yet.
    pinged: Option<(String, Instant)>,
    round_trip: Option<Duration>,
}

/// An emergency stop that the vehicle has not confirmed.
struct Stop {
    id: String,
    due: Instant,
    /// The status topic was subscribed to for it alone.
    listens: bool,
}

/// The ids of this viewer's requests: different for each viewer, so that an answer has one owner.
struct Requests {
    prefix: String,
    count: u64,
}

impl Requests {
    fn new() -> Self {
        static VIEWERS: AtomicU64 = AtomicU64::new(0);
        let viewer = VIEWERS.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { prefix: format!("{:x}-{viewer:x}-{:x}", std::process::id(), since.as_nanos()), count: 0 }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.prefix, self.count)
    }
}

impl ViewerClient {
    /// Connects to a broker, which need not be there yet, and subscribes to all topics.
    ///
    /// # Errors
    /// An endpoint that is no address, or no resources for sockets.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        Self::connect_to(endpoint, &Topic::ALL)
    }

    /// The same, subscribed to these topics only. A broker encodes no pictures while nobody is subscribed to frames.
    ///
    /// # Errors
    /// An endpoint that is no address, or no resources for sockets.
    pub fn connect_to(endpoint: &Endpoint, topics: &[Topic]) -> Result<Self, ConnectError> {
        let context = zmq::Context::new();
        // A picture in one part is the largest thing received. Few messages wait in ZeroMQ and in the operating system:
        // what waits there is older than what comes next.
        let kind = Kind { max_part: MAX_JPEG as i64, kernel: Some(128 * 1024), ..Kind::receiver(32) };
        let mut names: Vec<_> = topics.iter().map(|topic| topic.name()).collect();
        if !topics.contains(&Topic::Tick) {
            names.push(Topic::Tick.name());
        }
        let link = |port, kind, topics: &[_]| Link::connect_in(&context, endpoint, port, kind, topics);
        Ok(Self {
            broadcasts: link(endpoint.broadcast_port(), kind, &names)?,
            actions: link(endpoint.action_request_port(), Kind::sender(64), &[ACTION])?,
            parameters: link(endpoint.parameter_request_port(), Kind::sender(64), &[PARAMETER])?,
            fresh: VecDeque::new(),
            skipped: 0,
            arrivals: Arrivals::default(),
            kept_actions: VecDeque::new(),
            kept_parameters: BTreeMap::new(),
            expired: 0,
            ticks: Ticks::default(),
            tick_came: None,
            was_connected: false,
            stop: None,
            requests: Requests::new(),
            pinged: None,
            round_trip: None,
        })
    }

    /// Subscribes to a topic; subscribing to [`Topic::ParameterStatus`] anew brings all values in force.
    ///
    /// # Errors
    /// The socket failed.
    pub fn subscribe(&mut self, topic: Topic) -> Result<(), ReceiveError> {
        self.broadcasts.subscribe(topic.name()).map_err(|source| ReceiveError { source })
    }

    /// Takes back a subscription to a topic. What has arrived already is still returned.
    ///
    /// # Errors
    /// The socket failed.
    pub fn unsubscribe(&mut self, topic: Topic) -> Result<(), ReceiveError> {
        self.broadcasts.unsubscribe(topic.name()).map_err(|source| ReceiveError { source })
    }

    /// The next message; `None` if there is none within `timeout`, or on a signal.
    ///
    /// Only the newest frame, detection, state and telemetry that has arrived is returned, and of answers on one
    /// parameter the newest: a viewer that is slow skips, it does not fall behind. Also sends commands that were kept.
    ///
    /// # Errors
    /// The socket failed. Malformed messages are counted instead: [`arrivals`](Self::arrivals).
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ViewerMessage>, ReceiveError> {
        let start = Instant::now();
        loop {
            self.service()?;
            self.receive()?;
            if let Some(message) = self.fresh.pop_front() {
                return Ok(Some(message));
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            // An emergency stop goes out in time though nothing comes.
            let left = if self.stop.is_some() { left.min(STOP_EVERY) } else { left };
            link::wait_for_any(&[&self.broadcasts, &self.actions, &self.parameters], left)?;
        }
    }

    fn receive(&mut self) -> Result<(), ReceiveError> {
        for _ in 0..MAX_PER_CALL {
            let Some(outcome) = self.broadcasts.take(decode_viewer_message)? else { break };
            self.arrivals.received += 1;
            match outcome {
                Ok(ViewerMessage::Tick(tick)) => {
                    self.ticks.note(tick);
                    self.tick_came = Some(Instant::now());
                }
                Ok(message) => {
                    if !self.is_pong(&message) && !self.look_for_confirmation(&message) {
                        self.keep_newest(message);
                    }
                }
                Err(refusal) => self.arrivals.refuse(refusal),
            }
        }
        Ok(())
    }

    fn keep_newest(&mut self, message: ViewerMessage) {
        let before = self.fresh.len();
        match &message {
            ViewerMessage::ActionStatus(_) => {
                let is_answer = |message: &&ViewerMessage| matches!(message, ViewerMessage::ActionStatus(_));
                if self.fresh.iter().filter(is_answer).count() >= KEPT_ANSWERS
                    && let Some(oldest) = self.fresh.iter().position(|message| is_answer(&message))
                {
                    self.fresh.remove(oldest);
                }
            }
            ViewerMessage::ParameterStatus(new) => self.fresh.retain(|message| match message {
                ViewerMessage::ParameterStatus(old) => {
                    (&old.category, &old.parameter) != (&new.category, &new.parameter)
                }
                _ => true,
            }),
            _ => self.fresh.retain(|old| old.topic() != message.topic()),
        }
        self.skipped += (before - self.fresh.len()) as u64;
        self.fresh.push_back(message);
    }

    /// Whether the vehicle says that the emergency stop is latched: then it is sent no more. `true` where the message was
    /// asked for to find that out alone.
    fn look_for_confirmation(&mut self, message: &ViewerMessage) -> bool {
        let Some(stop) = &self.stop else { return false };
        let ViewerMessage::Status(status) = message else { return false };
        let listens = stop.listens;
        let reason = status.get("vehicle").and_then(|vehicle| vehicle.get("reason")).and_then(Value::as_str);
        if reason.is_some_and(|reason| reason.contains(EMERGENCY_STOP_REASON)) {
            self.end_stop();
        }
        listens
    }

    fn end_stop(&mut self) {
        if self.stop.take().is_some_and(|stop| stop.listens) {
            // A socket that fails here fails at the next receive, too, which says so.
            let _ = self.broadcasts.unsubscribe(Topic::Status.name());
        }
    }

    /// Takes note of whether the broker listens, and sends what was kept if it does.
    fn service(&mut self) -> Result<(), ReceiveError> {
        let failed = |source| ReceiveError { source };
        self.actions.service()?;
        self.parameters.service()?;
        if self.is_connected() {
            self.was_connected = true;
        } else if self.was_connected {
            // Nothing that was asked for before or in an outage is done after it.
            self.expired += (self.kept_actions.len() + self.kept_parameters.len()) as u64;
            self.kept_actions.clear();
            self.kept_parameters.clear();
        }
        let before = self.kept_actions.len() + self.kept_parameters.len();
        self.kept_actions.retain(|(asked, _)| asked.elapsed() < KEPT_FOR);
        self.kept_parameters.retain(|_, (asked, _)| asked.elapsed() < KEPT_FOR);
        self.expired += (before - self.kept_actions.len() - self.kept_parameters.len()) as u64;
        if self.parameters.is_heard() {
            while let Some((_, (_, object))) = self.kept_parameters.pop_first() {
                self.parameters.send(&[PARAMETER.as_bytes(), &object]).map_err(failed)?;
            }
        }
        if self.actions.is_heard() {
            while let Some((_, object)) = self.kept_actions.pop_front() {
                self.actions.send(&[ACTION.as_bytes(), &object]).map_err(failed)?;
            }
            if let Some(stop) = self.stop.as_mut().filter(|stop| stop.due <= Instant::now()) {
                stop.due = Instant::now() + STOP_EVERY;
                let object = json!({"action": EMERGENCY_STOP, "params": {}, "timestamp": wire::now(), "id": stop.id});
                let object = object.to_string();
                self.actions.send(&[ACTION.as_bytes(), object.as_bytes()]).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Whether the broker listened to commands when a method of this client was last called.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.actions.is_heard() && self.parameters.is_heard()
    }

    /// Waits until the broker listens to commands; whether it does. Also sends commands that were kept.
    ///
    /// # Errors
    /// The socket failed.
    pub fn wait_connected(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        let start = Instant::now();
        loop {
            self.service()?;
            let left = timeout.saturating_sub(start.elapsed());
            if self.is_connected() || left.is_zero() {
                return Ok(self.is_connected());
            }
            link::wait_for_any(&[&self.actions, &self.parameters], left)?;
        }
    }

    /// How long ago the broker last said anything of its time, which it does once a second; `None` where it never did.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.tick_came.map(|came| came.elapsed())
    }

    /// Asks the broker whether it is there; [`round_trip`](Self::round_trip) has the time until its answer, which comes to
    /// viewers that are subscribed to [`Topic::ActionStatus`]. Nothing is kept where there is no link.
    ///
    /// # Errors
    /// The socket failed.
    pub fn ping(&mut self) -> Result<(), SendError> {
        self.service().map_err(|error| SendError::Socket(error.source))?;
        if !self.actions.is_heard() {
            self.round_trip = None;
            return Ok(());
        }
        let id = self.requests.next();
        let object = json!({"action": PING, "id": id}).to_string();
        // One that was not answered is not waited for any more.
        if self.pinged.replace((id, Instant::now())).is_some() {
            self.round_trip = None;
        }
        self.actions.send(&[ACTION.as_bytes(), object.as_bytes()]).map_err(SendError::Socket)
    }

    /// From the last [`ping`](Self::ping) that was answered to its answer; `None` where the one after it was not.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Whether the message is the answer to a ping, of this viewer or another one.
    fn is_pong(&mut self, message: &ViewerMessage) -> bool {
        let ViewerMessage::ActionStatus(status) = message else { return false };
        let id = status.id.as_ref().and_then(Value::as_str);
        if let Some((_, at)) = self.pinged.take_if(|(pinged, _)| id == Some(pinged)) {
            self.round_trip = Some(at.elapsed());
        }
        status.action == PING
    }

    /// Asks for an action. The answer comes as [`ViewerMessage::ActionStatus`], with the id that this returns.
    ///
    /// Before the broker listened for the first time, actions are kept for two seconds, at most 16 of them, and sent in
    /// order by a later call of any method that takes `&mut self`. In an outage they are refused: nothing that was asked
    /// for in one is done after it.
    ///
    /// `emergency_stop` is kept however long it takes, and sent again and again until the vehicle's status says that it is
    /// latched, or until `release_emergency_stop` is asked for.
    ///
    /// # Errors
    /// An outage, too many kept already, or a socket that failed.
    pub fn send_action(&mut self, action: &Name) -> Result<String, SendError> {
        self.send_action_with(action, Map::new())
    }

    /// The same with details.
    ///
    /// # Errors
    /// Details too large, an outage, too many kept already, or a socket that failed.
    pub fn send_action_with(&mut self, action: &Name, params: Map<String, Value>) -> Result<String, SendError> {
        if action.as_str() == EMERGENCY_STOP {
            return self.send_stop();
        }
        if action.as_str() == RELEASE_EMERGENCY_STOP {
            self.end_stop();
        }
        let id = self.requests.next();
        let mut object = Map::new();
        object.insert("action".to_owned(), Value::from(action.as_str()));
        object.insert("params".to_owned(), Value::Object(params));
        let object = self.stamped(object, &id)?;
        if self.kept_actions.len() >= KEPT_ACTIONS {
            return Err(SendError::Full { kept: KEPT_ACTIONS });
        }
        self.kept_actions.push_back((Instant::now(), object));
        self.service().map_err(|error| SendError::Socket(error.source))?;
        Ok(id)
    }

    fn send_stop(&mut self) -> Result<String, SendError> {
        let id = self.requests.next();
        if self.stop.is_none() {
            let listens = !self.broadcasts.is_subscribed(Topic::Status.name());
            if listens {
                self.broadcasts.subscribe(Topic::Status.name()).map_err(SendError::Socket)?;
            }
            self.stop = Some(Stop { id: id.clone(), due: Instant::now(), listens });
        } else if let Some(stop) = &mut self.stop {
            (stop.id, stop.due) = (id.clone(), Instant::now());
        }
        self.service().map_err(|error| SendError::Socket(error.source))?;
        Ok(id)
    }

    /// The bytes of a request, with its id and its time; an error in an outage.
    fn stamped(&mut self, mut object: Map<String, Value>, id: &str) -> Result<Vec<u8>, SendError> {
        self.service().map_err(|error| SendError::Socket(error.source))?;
        if self.was_connected && !self.is_connected() {
            return Err(SendError::Outage);
        }
        object.insert("timestamp".to_owned(), Value::from(wire::now()));
        object.insert("id".to_owned(), Value::from(id));
        if let Some(tick) = self.ticks.now() {
            object.insert(TICK.to_owned(), json!(tick));
        }
        wire::encode(&object).map_err(SendError::Refused)
    }

    /// Asks for a parameter's value. The answer comes as [`ViewerMessage::ParameterStatus`], with the id that this returns
    /// and the value in force: what the value may be is the server's to say.
    ///
    /// Before the broker listened for the first time, the newest value of each parameter is kept for two seconds, and sent
    /// by a later call of any method that takes `&mut self`. In an outage it is refused.
    ///
    /// # Errors
    /// A malformed name, a value that is not finite, an outage, or a socket that failed.
    pub fn send_parameter(&mut self, category: impl AsRef<str>, name: &str, value: f64) -> Result<String, SendError> {
        let well_formed = |name: &str| name.parse::<Name>().map_err(|error| SendError::Refused(error.into()));
        let (category, name) = (well_formed(category.as_ref())?.to_string(), well_formed(name)?.to_string());
        if !value.is_finite() {
            return Err(SendError::Refused(crate::Refusal::NotFinite));
        }
        let id = self.requests.next();
        let object = self.stamped(wire::parameter_object(&category, &name, value), &id)?;
        self.kept_parameters.insert((category, name), (Instant::now(), object));
        self.service().map_err(|error| SendError::Socket(error.source))?;
        Ok(id)
    }

    /// What arrived, and what of it was refused why.
    #[must_use]
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }

    /// Messages that were replaced by newer ones before [`next`](Self::next) returned them.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Commands given up because no broker listened for two seconds, or because an outage began before they were sent.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }
}

impl fmt::Debug for ViewerClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewerClient")
            .field("is_connected", &self.is_connected())
            .field("arrivals", &self.arrivals)
            .field("skipped", &self.skipped)
            .field("expired", &self.expired)
            .field("stops", &self.stop.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ActionStatus, FrameHeader, ParameterStatus};

    /// A viewer of a broker that does not exist: nothing arrives, nothing is heard.
    fn viewer() -> ViewerClient {
        ViewerClient::connect(&Endpoint::local(9)).unwrap()
    }

    fn frame(frame_id: u64) -> ViewerMessage {
        ViewerMessage::Frame { header: FrameHeader { frame_id, ..FrameHeader::default() }, jpeg: Vec::new() }
    }

    fn action(timestamp: f64) -> ViewerMessage {
        let action = "pause".to_owned();
        ViewerMessage::ActionStatus(ActionStatus {
            action,
            accepted: true,
            delivered: true,
            reason: None,
            id: None,
            timestamp,
        })
    }

    fn parameter(name: &str, value: f64) -> ViewerMessage {
        ViewerMessage::ParameterStatus(ParameterStatus {
            category: "decision".to_owned(),
            parameter: name.to_owned(),
            value: Some(value),
            accepted: true,
            confirmed: true,
            reason: None,
            declared: None,
            id: None,
            timestamp: 0.0,
        })
    }

    #[test]
    fn only_the_newest_of_each_kind_is_kept_in_the_order_of_arrival() {
        let mut viewer = viewer();
        let state = ViewerMessage::State(Value::Null);
        let messages = [
            frame(1),
            parameter("kp", 1.0),
            state.clone(),
            frame(2),
            action(1.0),
            parameter("kd", 2.0),
            parameter("kp", 3.0),
            action(2.0),
        ];
        for message in messages {
            viewer.keep_newest(message);
        }
        let expected = [state, frame(2), action(1.0), parameter("kd", 2.0), parameter("kp", 3.0), action(2.0)];
        assert_eq!(viewer.fresh, expected);
        assert_eq!(viewer.skipped(), 2);
        assert_eq!(viewer.next(Duration::ZERO), Ok(Some(ViewerMessage::State(Value::Null))));
    }

    #[test]
    fn answers_to_actions_are_bounded_and_the_oldest_go() {
        let mut viewer = viewer();
        for number in 0..=KEPT_ANSWERS {
            viewer.keep_newest(action(number as f64));
        }
        assert_eq!((viewer.fresh.len(), viewer.skipped()), (KEPT_ANSWERS, 1));
        assert_eq!(viewer.fresh.front(), Some(&action(1.0)));
    }

    #[test]
    fn an_action_is_not_sent_long_after_it_was_asked_for() {
        let mut viewer = viewer();
        let Some(long_ago) = Instant::now().checked_sub(KEPT_FOR) else {
            panic!("this machine has run for less than {KEPT_FOR:?}");
        };
        viewer.kept_actions.push_back((long_ago, b"{}".to_vec()));
        viewer.send_action(&"pause".parse().unwrap()).unwrap();
        assert_eq!((viewer.expired(), viewer.kept_actions.len()), (1, 1));
    }
}
