//! The broker: binds the six ports, passes commands and states on, remembers parameters, and broadcasts.

use crate::broadcaster::{Broadcast, Broadcaster, Departures};
use crate::decode::{decode_action, decode_parameter, decode_vehicle_status};
use crate::error::{BindError, Refusal};
use crate::parameters::Parameters;
use crate::socket::{self, Arrivals, Kind, Listeners};
use crate::wire::{
    self, ACTION, ActionRequest, ActionStatus, Endpoint, FrameHeader, ParameterRequest, ParameterStatus, Topic,
    VehicleStatus,
};
use core::fmt;
use core::time::Duration;
use lkas_messages::names::{Category, Name, PARAMETERS, Parameter};
use lkas_messages::{DetectionFields, VehicleStateFields};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// Messages that one call of [`Broker::poll`] takes from each of its six sockets.
///
/// A bound for each, so that a flood on one port delays nobody on another.
const MAX_PER_SOCKET: usize = 64;

/// How a [`Broker`] is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerOptions {
    /// Where it binds: this machine only, port 5557 and the five after it, unless told otherwise.
    pub endpoint: Endpoint,
    /// Broadcasts that may wait in ZeroMQ for one viewer, 1 to 1000; more are dropped for that viewer, the newest first.
    ///
    /// It bounds the memory that a slow viewer costs and how old its pictures get. One mark serves all topics, and
    /// ZeroMQ counts messages that were taken as waiting until they are half a mark; so half of it must hold the eleven
    /// answers with which a viewer is greeted. 24 unless told otherwise: a quarter of a second of frames, detections,
    /// states and telemetry at 25 frames a second.
    pub viewer_mark: u16,
    /// An action that was asked for longer ago is refused; 2 s unless told otherwise. Where the broker is open to other
    /// machines this is not looked at: their clocks may differ.
    pub action_age: Duration,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self::new(Endpoint::default())
    }
}

impl BrokerOptions {
    /// A broker there, with a mark of 24 broadcasts and actions of up to 2 s.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, viewer_mark: 24, action_age: wire::ACTION_AGE }
    }

    /// Sets [`viewer_mark`](Self::viewer_mark).
    #[must_use]
    pub const fn viewer_mark(mut self, broadcasts: u16) -> Self {
        self.viewer_mark = broadcasts;
        self
    }

    /// Sets [`action_age`](Self::action_age).
    #[must_use]
    pub const fn action_age(mut self, age: Duration) -> Self {
        self.action_age = age;
        self
    }
}

/// How long a server may take to say that it applied a value.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What a server says of one of its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterReport {
    /// The parameter's name.
    pub name: String,
    /// The value in force.
    pub value: f64,
    /// The value that was asked for last.
    pub asked: f64,
    /// How often a value was asked for and applied or refused.
    pub answers: u64,
    /// Why the value asked for last was not applied.
    pub refusal: Option<String>,
}

/// A value that was sent to a server which has not said yet that it applied it.
struct Unanswered {
    asked: f64,
    /// The server's count of answers when it was sent.
    answers: u64,
    note: Option<String>,
    sent: Instant,
}

/// What one call of [`Broker::poll`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Polled {
    /// Subscriptions that came or went.
    pub subscriptions: usize,
    /// Action requests received, well-formed or not.
    pub actions: usize,
    /// Parameter requests received, well-formed or not.
    pub parameters: usize,
    /// Vehicle statuses received, well-formed or not.
    pub states: usize,
}

impl Polled {
    /// Everything received.
    #[must_use]
    pub fn total(self) -> usize {
        self.subscriptions + self.actions + self.parameters + self.states
    }
}

/// What went through a [`Broker`] since it was bound.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Statistics {
    /// Action requests.
    pub actions: Arrivals,
    /// Parameter requests.
    pub parameters: Arrivals,
    /// Vehicle statuses.
    pub states: Arrivals,
    /// Subscriptions, and whatever else subscribers sent.
    pub subscriptions: Arrivals,
    /// Broadcasts, by topic.
    pub broadcasts: BTreeMap<Topic, Departures>,
}

/// The last vehicle status that the simulation sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LastState {
    /// The status.
    pub status: VehicleStatus,
    /// When the broker received it; a simulation that died leaves its last status behind.
    pub received: Instant,
}

type Handler = Box<dyn FnMut(&ActionRequest) + Send>;

/// Owner of the six ports.
///
/// Nothing happens between calls except that ZeroMQ's background thread moves bytes: whoever owns the broker calls
/// [`poll`](Self::poll) regularly, or [`wait`](Self::wait) and then `poll`. No method ever waits for a peer. `Send`, not
/// `Sync`: it may move to another thread, its sockets never are used by two.
///
/// ```
/// fn moves<T: Send>() {}
/// moves::<lkas_zmq::Broker>();
/// ```
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<lkas_zmq::Broker>();
/// ```
pub struct Broker {
    // Sockets go before the context that they belong to.
    broadcaster: Broadcaster,
    action_requests: zmq::Socket,
    parameter_requests: zmq::Socket,
    parameters: Parameters,
    /// What servers say of their parameters: at most as many as there are.
    reports: BTreeMap<(Category, &'static str), ParameterReport>,
    unanswered: BTreeMap<(Category, &'static str), Unanswered>,
    actions: zmq::Socket,
    vehicle_status: zmq::Socket,
    simulations: Listeners,
    handlers: BTreeMap<Name, Handler>,
    last_state: Option<LastState>,
    action_age: Duration,
    endpoint: Endpoint,
    statistics: Statistics,
}

impl Broker {
    /// Binds the six ports.
    ///
    /// # Errors
    /// An endpoint that is no address, or a port that can't be bound; the error names it. What was bound before it is
    /// free again when this returns.
    pub fn bind(options: BrokerOptions) -> Result<Self, BindError> {
        let BrokerOptions { endpoint, viewer_mark, action_age } = options;
        endpoint.check()?;
        // A context of its own: dropping it with its last socket waits until the operating system has the ports back,
        // which closing a socket alone does not.
        let context = zmq::Context::new();
        let open = |port, kind: Kind| {
            let address = endpoint.address(port);
            let bind = || {
                let socket = kind.open(&context, endpoint.is_ipv6())?;
                if kind.socket == zmq::SUB {
                    // Everything: what does not belong on the port is to be named, not passed over.
                    socket.set_subscribe(b"")?;
                }
                socket.bind(&address)?;
                Ok(socket)
            };
            bind().map_err(|error| match error {
                zmq::Error::EADDRINUSE => BindError::InUse { address: address.clone() },
                source => BindError::Socket { address: address.clone(), source },
            })
        };
        let viewer_mark = i32::from(viewer_mark.clamp(1, 1000));
        // Left alone, Linux lets megabytes wait in a connection, which is seconds of pictures.
        let viewers = Kind { kernel: Some(128 * 1024), ..Kind::sender(viewer_mark) };
        Ok(Self {
            broadcaster: Broadcaster::new(open(endpoint.broadcast_port(), viewers)?),
            action_requests: open(endpoint.action_request_port(), Kind::receiver(64))?,
            parameter_requests: open(endpoint.parameter_request_port(), Kind::receiver(256))?,
            parameters: Parameters::new(open(endpoint.parameter_port(), Kind::sender(256))?),
            reports: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            actions: open(endpoint.action_port(), Kind::sender(64))?,
            vehicle_status: open(endpoint.vehicle_status_port(), Kind::receiver(16))?,
            simulations: Listeners::new(&[ACTION]),
            handlers: BTreeMap::new(),
            last_state: None,
            action_age,
            endpoint,
            statistics: Statistics::default(),
        })
    }

    /// Where it is bound.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Accepts an action from now on: [`poll`](Self::poll) calls `handler` and forwards the action to the simulation.
    /// A handler registered before under this name is replaced.
    pub fn register_action(&mut self, name: Name, handler: impl FnMut(&ActionRequest) + Send + 'static) {
        self.handlers.insert(name, Box::new(handler));
    }

    /// Handles what has arrived, at most 64 messages from each socket, and never waits.
    ///
    /// # Panics
    /// If the handler of an action does.
    pub fn poll(&mut self) -> Polled {
        self.give_up();
        Polled {
            // First, so that an action from a viewer reaches a simulation that subscribed before it.
            subscriptions: self.poll_subscriptions(),
            states: self.poll_states(),
            actions: self.poll_actions(),
            parameters: self.poll_parameters(),
        }
    }

    /// Waits until there is something to [`poll`](Self::poll); `false` after `timeout`, or earlier on a signal.
    pub fn wait(&self, timeout: Duration) -> bool {
        let sockets = [
            self.broadcaster.socket(),
            &self.action_requests,
            &self.parameter_requests,
            self.parameters.socket(),
            &self.actions,
            &self.vehicle_status,
        ];
        // No error is left that concerns valid sockets of a living context; polling in vain is harmless.
        socket::wait(&sockets, timeout).unwrap_or(true)
    }

    fn poll_subscriptions(&mut self) -> usize {
        let odd = || Refusal::Topic { found: "a message from a subscriber".to_owned(), expected: "subscriptions only" };
        let mut count = 0;
        let mut greet = false;
        let arrivals = &mut self.statistics.subscriptions;
        for parts in drain(self.broadcaster.socket(), arrivals) {
            count += 1;
            match self.broadcaster.note(&parts) {
                Some(new) => greet |= new.subscribed && new.covers(Topic::ParameterStatus.name()),
                None => arrivals.refuse(odd()),
            }
        }
        for parts in drain(&self.actions, arrivals) {
            count += 1;
            if self.simulations.note(&parts).is_none() {
                arrivals.refuse(odd());
            }
        }
        let messages = drain(self.parameters.socket(), arrivals);
        count += messages.len();
        for refusal in self.parameters.note(&messages) {
            match refusal {
                Some(error) => self.statistics.parameters.refuse(error),
                None => arrivals.refuse(odd()),
            }
        }
        if greet {
            self.tell_all_parameters();
        }
        count
    }

    fn tell_all_parameters(&mut self) {
        for parameter in PARAMETERS {
            let report = self.reports.get(&(parameter.category, parameter.name));
            let sent = self.parameters.accepted(parameter);
            let (value, reason) = match (report, sent) {
                (Some(report), _) => (Some(report.value), None),
                (None, Some(sent)) => (Some(sent), Some("sent, not confirmed")),
                (None, None) => (None, Some("no server has said which value is in force")),
            };
            let status = ParameterStatus {
                category: parameter.category.name().to_owned(),
                parameter: parameter.name.to_owned(),
                value,
                accepted: true,
                confirmed: report.is_some(),
                reason: reason.map(str::to_owned),
                timestamp: wire::now(),
            };
            let _counted = self.broadcaster.object(Topic::ParameterStatus, &status);
        }
    }

    /// Takes what a server says of its parameters, and tells viewers what is new: a value that is in force now, and the
    /// answer to a request. To be called whenever the server has said something, and as often as one likes. From the
    /// first call on, requests for this category are answered by the server alone, or refused after two seconds.
    pub fn report(&mut self, category: Category, reports: &[ParameterReport]) {
        for report in reports {
            // What is not known can't be asked for either.
            let Ok(parameter) = Parameter::find(category, &report.name) else { continue };
            let key = (category, parameter.name);
            let before = self.reports.insert(key, report.clone());
            let is_answer = |asked: &Unanswered| report.answers != asked.answers && report.asked == asked.asked;
            let answered = self.unanswered.get(&key).is_some_and(is_answer);
            let note = if answered { self.unanswered.remove(&key).and_then(|asked| asked.note) } else { None };
            if answered || before.is_none_or(|before| before.value.total_cmp(&report.value).is_ne()) {
                let refusal = report.refusal.clone().filter(|_| answered);
                self.tell(parameter, Some(report.value), refusal.is_none(), true, refusal.or(note));
            }
        }
    }

    fn tell(&mut self, of: &Parameter, value: Option<f64>, accepted: bool, confirmed: bool, reason: Option<String>) {
        let status = ParameterStatus {
            category: of.category.name().to_owned(),
            parameter: of.name.to_owned(),
            value,
            accepted,
            confirmed,
            reason,
            timestamp: wire::now(),
        };
        let _counted = self.broadcaster.object(Topic::ParameterStatus, &status);
    }

    /// Refuses what no server has applied for too long.
    fn give_up(&mut self) {
        let late = |asked: &Unanswered| asked.sent.elapsed() >= ANSWER_WITHIN;
        let Some((&key, _)) = self.unanswered.iter().find(|(_, asked)| late(asked)) else { return };
        self.unanswered.remove(&key);
        let (category, name) = key;
        self.parameters.forget(category, name);
        let value = self.reports.get(&key).map(|report| report.value);
        let reason = format!("nobody applied it within {} s", ANSWER_WITHIN.as_secs());
        if let Ok(parameter) = Parameter::find(category, name) {
            self.tell(parameter, value, false, true, Some(reason));
        }
    }

    fn poll_states(&mut self) -> usize {
        let arrivals = &mut self.statistics.states;
        let messages = drain(&self.vehicle_status, arrivals);
        for parts in &messages {
            match decode_vehicle_status(&socket::slices(parts)) {
                Ok(status) => {
                    if self.broadcaster.checked(Topic::State, status.json.clone().into_bytes()).is_sent() {
                        arrivals.forwarded += 1;
                    }
                    self.last_state = Some(LastState { status, received: Instant::now() });
                }
                Err(refusal) => arrivals.refuse(refusal),
            }
        }
        messages.len()
    }

    fn poll_actions(&mut self) -> usize {
        let messages = drain(&self.action_requests, &mut self.statistics.actions);
        for parts in &messages {
            match decode_action(&socket::slices(parts)) {
                Ok(request) => self.act(request),
                Err(refusal) => self.statistics.actions.refuse(refusal),
            }
        }
        messages.len()
    }

    fn act(&mut self, request: ActionRequest) {
        let action = request.action.as_str().to_owned();
        let arrivals = &mut self.statistics.actions;
        let mut status =
            ActionStatus { action, accepted: false, delivered: false, reason: None, timestamp: wire::now() };
        let age = request.age_s().filter(|age| self.endpoint.is_loopback() && *age > self.action_age.as_secs_f64());
        let refusal = match (self.handlers.get_mut(&request.action), age) {
            (Some(_), Some(age_s)) => Some(Refusal::Expired { action: status.action.clone(), age_s }),
            (Some(handler), None) => {
                handler(&request);
                status.accepted = true;
                if self.simulations.has(ACTION) {
                    forward_action(&self.actions, request).err()
                } else {
                    status.reason = Some("no simulation is subscribed".to_owned());
                    None
                }
            }
            (None, _) => Some(Refusal::UnknownAction { action: status.action.clone() }),
        };
        status.delivered = status.accepted && status.reason.is_none() && refusal.is_none();
        if status.delivered {
            arrivals.forwarded += 1;
        }
        if let Some(refusal) = refusal {
            status.reason = Some(refusal.to_string());
            arrivals.refuse(refusal);
        }
        let _counted = self.broadcaster.object(Topic::ActionStatus, &status);
    }

    fn poll_parameters(&mut self) -> usize {
        let messages = drain(&self.parameter_requests, &mut self.statistics.parameters);
        let mut newest: Vec<ParameterRequest> = Vec::new();
        for parts in &messages {
            match decode_parameter(&socket::slices(parts)) {
                Ok(request) => {
                    // Of what came together, the newest value of each parameter is all that anybody needs.
                    let same = |other: &ParameterRequest| {
                        other.value.is_some()
                            && request.value.is_some()
                            && (&other.category, &other.parameter) == (&request.category, &request.parameter)
                    };
                    newest.retain(|other| !same(other));
                    newest.push(request);
                }
                Err(refusal) => self.statistics.parameters.refuse(refusal),
            }
        }
        for request in newest {
            // The outcome went to viewers and into the statistics.
            drop(self.change(request));
        }
        messages.len()
    }

    /// Puts a value in force as if a viewer had asked for it, for example from a configuration. Returns the value in
    /// force, which is the nearest one in range.
    ///
    /// # Errors
    /// An unknown name or a value that is not finite.
    pub fn set_parameter(&mut self, category: Category, name: &str, value: f64) -> Result<f64, Refusal> {
        let object = wire::parameter_object(category.name(), name, value);
        let value = Some(value).filter(|value| value.is_finite());
        self.change(ParameterRequest {
            category: category.name().to_owned(),
            parameter: name.to_owned(),
            value,
            object,
        })
    }

    /// The value of a parameter: the one in force where its server reports it, otherwise the last one sent, otherwise its
    /// default.
    #[must_use]
    pub fn parameter(&self, parameter: &Parameter) -> f64 {
        if let Some(report) = self.reports.get(&(parameter.category, parameter.name)) {
            return report.value;
        }
        self.parameters.accepted(parameter).unwrap_or(parameter.default)
    }

    fn change(&mut self, request: ParameterRequest) -> Result<f64, Refusal> {
        let mut status = ParameterStatus {
            category: request.category.chars().take(64).collect(),
            parameter: request.parameter.chars().take(64).collect(),
            value: None,
            accepted: false,
            confirmed: false,
            reason: None,
            timestamp: wire::now(),
        };
        let category = request.category.parse::<Category>();
        let known = category.ok().and_then(|category| Parameter::find(category, &request.parameter).ok());
        let outcome = self.parameters.put_in_force(request);
        let report = known.and_then(|parameter| self.reports.get(&(parameter.category, parameter.name)));
        status.value = known.map(|parameter| self.parameter(parameter));
        status.confirmed = report.is_some();
        match &outcome {
            Ok(accepted) => {
                status.accepted = true;
                status.reason.clone_from(&accepted.note);
                if let (Some(parameter), Some(report)) = (known, report) {
                    // The server says when it has applied it.
                    let (asked, answers, note) = (accepted.value, report.answers, accepted.note.clone());
                    let unanswered = Unanswered { asked, answers, note, sent: Instant::now() };
                    self.unanswered.insert((parameter.category, parameter.name), unanswered);
                    self.statistics.parameters.forwarded += u64::from(accepted.forwarded);
                    return outcome.map(|accepted| accepted.value);
                }
                status.reason.get_or_insert_with(|| "sent, not confirmed".to_owned());
                self.statistics.parameters.forwarded += u64::from(accepted.forwarded);
            }
            Err(refusal) => {
                status.reason = Some(refusal.to_string());
                self.statistics.parameters.refuse(refusal.clone());
            }
        }
        let _counted = self.broadcaster.object(Topic::ParameterStatus, &status);
        outcome.map(|accepted| accepted.value)
    }

    /// Whether somebody was subscribed to a topic when the broker was last polled. Frames are worth encoding only then.
    #[must_use]
    pub fn has_viewers(&self, topic: Topic) -> bool {
        self.broadcaster.has_viewers(topic)
    }

    /// Broadcasts a picture as `frame`. Copies the JPEG once, however many viewers there are.
    pub fn broadcast_frame(&mut self, header: &FrameHeader, jpeg: &[u8]) -> Broadcast {
        self.broadcaster.frame(header, jpeg)
    }

    /// Broadcasts lane lines as `detection`: the four keys that viewers expect, and no others.
    pub fn broadcast_detection(&mut self, detection: &DetectionFields) -> Broadcast {
        self.broadcaster.detection(detection)
    }

    /// Broadcasts what the vehicle does as `state`, for a system whose simulation does not send vehicle status.
    pub fn broadcast_state(&mut self, state: &VehicleStateFields) -> Broadcast {
        self.broadcaster.state(state)
    }

    /// Broadcasts an object of the caller's choosing as `telemetry`. Numbers that are not finite become null.
    pub fn broadcast_telemetry(&mut self, object: &impl Serialize) -> Broadcast {
        self.broadcaster.object(Topic::Telemetry, object)
    }

    /// Broadcasts what the vehicle and each process say of themselves as `status`.
    pub fn broadcast_status(&mut self, object: &impl Serialize) -> Broadcast {
        self.broadcaster.object(Topic::Status, object)
    }

    /// The last vehicle status that the simulation sent.
    #[must_use]
    pub fn last_state(&self) -> Option<&LastState> {
        self.last_state.as_ref()
    }

    /// What went through since it was bound.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let broadcasts = Topic::ALL.map(|topic| (topic, self.broadcaster.departures(topic).clone()));
        Statistics { broadcasts: broadcasts.into(), ..self.statistics.clone() }
    }

    /// Closes all sockets and gives the ports back, as dropping does. Messages that wait for slow peers are dropped;
    /// nothing waits for them.
    pub fn close(self) {}
}

/// What has arrived on a socket, within bounds.
fn drain(socket: &zmq::Socket, arrivals: &mut Arrivals) -> Vec<Vec<zmq::Message>> {
    let mut messages = Vec::new();
    while messages.len() < MAX_PER_SOCKET {
        match socket::receive(socket) {
            Ok(Some(parts)) => messages.push(parts),
            Ok(None) => break,
            Err(error) => {
                arrivals.refuse(Refusal::Socket(error));
                break;
            }
        }
    }
    arrivals.received += messages.len() as u64;
    messages
}

fn forward_action(socket: &zmq::Socket, request: ActionRequest) -> Result<(), Refusal> {
    let mut object = request.object;
    object.insert("params".to_owned(), Value::Object(request.params));
    if request.timestamp.is_none() {
        object.insert("timestamp".to_owned(), Value::from(wire::now()));
    }
    let object = wire::encode(&object)?;
    socket::send(socket, &[ACTION.as_bytes(), &object]).map_err(Refusal::Socket)
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
