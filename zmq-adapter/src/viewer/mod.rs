//! A viewer's side: everything that is broadcast, and commands.

mod commands;

use self::commands::{Requests, STOP_EVERY, Stop};

use crate::decode::decode_viewer_message;
use crate::error::{ConnectError, ReceiveError};
use crate::link::{self, Link, MAX_PER_CALL};
use crate::socket::{Arrivals, Kind};
use crate::ticks::Ticks;
use crate::wire::{ACTION, Endpoint, MAX_JPEG, PARAMETER, Topic, ViewerMessage};
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

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
    stop: Option<Stop>,
    requests: Requests,
    /// The ping that was not answered yet.
    pinged: Option<(String, Instant)>,
    round_trip: Option<Duration>,
}

impl ViewerClient {
    /// Connects to a broker, which need not be there yet, and subscribes to all topics but the typed ones.
    ///
    /// # Errors
    /// An endpoint that is no address, or no resources for sockets.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let topics: Vec<_> = Topic::ALL.into_iter().filter(|topic| !topic.is_typed()).collect();
        Self::connect_to(endpoint, &topics)
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
    use super::commands::KEPT_FOR;
    use super::*;
    use crate::wire::{ActionStatus, FrameHeader, ParameterStatus};
    use serde_json::Value;

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
