//! The broker: binds the six ports, passes commands and states on, remembers parameters, and broadcasts.

mod actions;
mod authority;
mod guard;
mod options;
mod parameters;
mod states;

pub use self::options::{BrokerOptions, LastState, Lease, Polled, Statistics};
pub use self::parameters::ParameterReport;
pub(crate) use self::parameters::check as check_parameter;

use self::actions::Delivered;
use self::authority::Authority;
use self::guard::Guard;
use self::parameters::Parameters;
use self::states::Vehicle;
use crate::broadcaster::{Broadcast, Broadcaster};
use crate::error::{BindError, Refusal};
use crate::ports::{Place, Port};
use crate::socket::{self, Arrivals, Kind, Listeners};
use crate::ticks::TICK_EVERY;
use crate::typed::LanePosition;
use crate::wire::{self, ACTION, ActionRequest, Endpoint, FrameHeader, Topic};
use crate::zap::{ASK, COMMAND, WATCH};
use core::fmt;
use core::time::Duration;
use lkas_messages::names::Name;
use lkas_messages::{DetectionFields, VehicleStateFields};
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Instant;

/// Messages that one call of [`Broker::poll`] takes from each of its six sockets.
///
/// A bound for each, so that a flood on one port delays nobody on another.
const MAX_PER_SOCKET: usize = 64;

/// Messages that are no requests and are answered nevertheless, in a second: a flood of them must not crowd out frames.
const NONSENSE_PER_SECOND: u32 = 50;

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
    action_requests: Port,
    parameter_requests: Port,
    parameters: Parameters,
    actions: Port,
    vehicle_status: Port,
    guard: Option<Guard>,
    handlers: BTreeMap<Name, Handler>,
    undelivered_stop: Option<ActionRequest>,
    delivered: Delivered,
    vehicle: Vehicle,
    authority: Authority,
    tick_due: Instant,
    newcomers: Newcomers,
    /// When rates were last measured.
    measured: Instant,
    /// Since when nonsense is counted, and how much of it was answered since.
    nonsense: (Instant, u32),
    endpoint: Endpoint,
    statistics: Statistics,
}

/// How soon after one newcomer the next is told what the others know: they all hear it again.
const NEWCOMERS_EVERY: Duration = Duration::from_millis(100);

/// Who subscribed and has not been told what the others know.
#[derive(Default)]
struct Newcomers {
    /// Some wait for the parameters.
    wait: bool,
    /// When the last were told.
    greeted: Option<Instant>,
    ticked: Option<Instant>,
}

impl Newcomers {
    fn due(&self) -> Option<Instant> {
        let soonest = self.greeted.map_or_else(Instant::now, |greeted| greeted + NEWCOMERS_EVERY);
        self.wait.then_some(soonest)
    }
}

impl Broker {
    /// Binds the six ports.
    ///
    /// # Errors
    /// An endpoint that is no address, a port that can't be bound, or commands that would be open to a network without
    /// anybody having said so; the error names it. What was bound before it is free again when this returns.
    pub fn bind(options: BrokerOptions) -> Result<Self, BindError> {
        options.check()?;
        let (watch_on, command_on) = (options.beyond(&options.watch_on), options.beyond(&options.command_on));
        let BrokerOptions { endpoint, viewer_mark, command_age, keys, .. } = options;
        // A context of its own: dropping it with its last socket waits until the operating system has the ports back,
        // which closing a socket alone does not.
        let context = zmq::Context::new();
        let guard = keys.map(|keys| Guard::open(&context, keys)).transpose()?;
        let at = |beyond, domain| Place {
            context: &context,
            local: &endpoint,
            beyond,
            keys: guard.as_ref().map(Guard::keys),
            domain,
        };
        let (watch, ask, command) =
            (at(watch_on.as_ref(), WATCH), at(command_on.as_ref(), ASK), at(command_on.as_ref(), COMMAND));
        let nobody = Listeners::new(&[]);
        let receiver = |at: &Place<'_>, port, mark| at.open(port, Kind::receiver(mark), &nobody);
        let viewer_mark = i32::from(viewer_mark.clamp(1, 1000));
        // Left alone, Linux lets megabytes wait in a connection, which is seconds of pictures.
        let viewers = Kind { kernel: Some(128 * 1024), ..Kind::sender(viewer_mark) };
        let now = Instant::now();
        Ok(Self {
            broadcaster: Broadcaster::new(watch.open(endpoint.broadcast_port(), viewers, &Broadcaster::listeners())?),
            action_requests: receiver(&ask, endpoint.action_request_port(), 64)?,
            parameter_requests: receiver(&ask, endpoint.parameter_request_port(), 256)?,
            parameters: Parameters::new(
                command.open(endpoint.parameter_port(), Kind::sender(256), &Parameters::listeners())?,
                command_age,
            ),
            actions: command.open(endpoint.action_port(), Kind::sender(64), &Listeners::new(&[ACTION]))?,
            vehicle_status: receiver(&command, endpoint.vehicle_status_port(), 16)?,
            guard,
            handlers: BTreeMap::new(),
            undelivered_stop: None,
            delivered: Delivered::new(),
            vehicle: Vehicle::default(),
            authority: Authority::new(command_age),
            tick_due: now,
            newcomers: Newcomers::default(),
            measured: now,
            nonsense: (now, 0),
            endpoint,
            statistics: Statistics::default(),
        })
    }

    /// Where it is bound.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Handles what has arrived, at most 64 messages from each socket, and never waits.
    ///
    /// # Panics
    /// If the handler of an action does.
    pub fn poll(&mut self) -> Polled {
        self.give_up();
        self.guard();
        // First, so that an action from a viewer reaches a simulation that subscribed before it.
        let subscriptions = self.poll_subscriptions() + self.poll_servers();
        self.deliver_stop();
        self.tick();
        Polled {
            subscriptions,
            states: self.poll_states(),
            actions: self.poll_actions(),
            parameters: self.poll_parameters(),
        }
    }

    /// Waits until there is something to [`poll`](Self::poll); `false` after `timeout`, or earlier on a signal.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.wait_also(&[], timeout)
    }

    /// The same, or until one of `descriptors` can be read: for who has more to wait for than this broker.
    pub fn wait_also(&self, descriptors: &[BorrowedFd<'_>], timeout: Duration) -> bool {
        let ports = [
            &self.broadcaster.port,
            &self.action_requests,
            &self.parameter_requests,
            &self.parameters.port,
            &self.actions,
            &self.vehicle_status,
        ];
        let gate = self.guard.as_ref().map(|guard| guard.gate.socket());
        let sockets: Vec<_> = ports.into_iter().flat_map(Port::sockets).chain(gate).collect();
        // No error is left that concerns valid sockets of a living context; polling in vain is harmless.
        socket::wait_also(&sockets, descriptors, timeout).unwrap_or(true)
    }

    /// When to call [`poll`](Self::poll) next though nothing comes.
    #[must_use]
    pub fn due(&self) -> Instant {
        let guard = self.guard.as_ref().map(|guard| guard.due);
        [self.parameters.due(), guard, self.newcomers.due()].into_iter().flatten().fold(self.tick_due, Instant::min)
    }

    /// Whether a value was sent to a server that reports what it does, and has not answered yet: see
    /// [`report`](Self::report).
    #[must_use]
    pub fn awaits_answers(&self) -> bool {
        self.parameters.due().is_some()
    }

    /// Tells everybody what time it is here, for the ages of commands.
    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.tick_due {
            return;
        }
        self.tick_due = now + TICK_EVERY;
        self.newcomers.ticked = Some(now);
        let elapsed = now - self.measured;
        if elapsed >= TICK_EVERY {
            self.measured = now;
            self.measure(elapsed.as_secs_f64());
        }
        let _counted = self.broadcaster.object(Topic::Tick, &self.authority.clock.tick(0.0));
        if self.has_viewers(Topic::Statistics) {
            let statistics = self.statistics();
            let _counted = self.broadcaster.object(Topic::Statistics, &statistics);
        }
        for port in [&self.parameters.port, &self.actions] {
            // Who misses one gets the next.
            let _ = self.tick_before(port, 0.0);
        }
    }

    /// A newcomer waits for a tick.
    fn hurry_tick(&mut self) {
        let soonest = self.newcomers.ticked.map_or_else(Instant::now, |ticked| ticked + NEWCOMERS_EVERY);
        self.tick_due = self.tick_due.min(soonest);
    }

    fn measure(&mut self, elapsed_s: f64) {
        self.broadcaster.measure(elapsed_s);
        let Statistics { actions, parameters, states, subscriptions, .. } = &mut self.statistics;
        for arrivals in [actions, parameters, states, subscriptions] {
            arrivals.measure(elapsed_s);
        }
    }

    /// A tick that says when what follows it on that port was asked for.
    fn tick_before(&self, port: &Port, age_s: f64) -> Result<(), Refusal> {
        let tick = wire::encode(&self.authority.clock.tick(age_s))?;
        port.send(&[Topic::Tick.name().as_bytes(), &tick]).map_err(Refusal::Socket)
    }

    fn may_answer_nonsense(&mut self) -> bool {
        let (since, answered) = &mut self.nonsense;
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *answered) = (Instant::now(), 0);
        }
        *answered += 1;
        *answered <= NONSENSE_PER_SECOND
    }

    fn poll_subscriptions(&mut self) -> usize {
        let mut count = 0;
        let mut tick = false;
        self.broadcaster.port.look();
        let arrivals = &mut self.statistics.subscriptions;
        for (end, mut parts) in drain_ends(&self.broadcaster.port, arrivals) {
            count += 1;
            match self.broadcaster.port.note(end, &mut parts) {
                Some(new) => {
                    self.newcomers.wait |= new.subscribed && new.covers(Topic::ParameterStatus.name());
                    let once_a_second = [Topic::Tick, Topic::Statistics];
                    tick |= new.subscribed && once_a_second.iter().any(|topic| new.covers(topic.name()));
                }
                None => arrivals.refuse(odd()),
            }
        }
        for (end, mut parts) in drain_ends(&self.actions, arrivals) {
            count += 1;
            match self.actions.note(end, &mut parts) {
                Some(new) => tick |= new.subscribed && new.covers(Topic::Tick.name()),
                None => arrivals.refuse(odd()),
            }
        }
        if tick {
            self.hurry_tick();
        }
        if self.newcomers.due().is_some_and(|due| due <= Instant::now()) {
            (self.newcomers.wait, self.newcomers.greeted) = (false, Some(Instant::now()));
            self.tell_all_parameters();
        }
        count
    }

    /// The lease for commands, while somebody has it.
    #[must_use]
    pub fn lease(&self) -> Option<Lease> {
        self.authority.lease()
    }

    /// Whether somebody was subscribed to frames, in either form, when the broker was last polled. They are worth encoding
    /// only then.
    #[must_use]
    pub fn wants_frames(&self) -> bool {
        self.has_viewers(Topic::Frame) || self.has_viewers(Topic::TypedFrame)
    }

    /// Whether somebody was subscribed to a topic when the broker was last polled.
    #[must_use]
    pub fn has_viewers(&self, topic: Topic) -> bool {
        self.broadcaster.has_viewers(topic)
    }

    /// Broadcasts a picture as `frame`, and as `typed_frame` where somebody listens to that. Copies the JPEG once, however
    /// many viewers there are; typed, once more.
    pub fn broadcast_frame(&mut self, header: &FrameHeader, jpeg: &[u8]) -> Broadcast {
        self.broadcaster.frame(header, jpeg)
    }

    /// Broadcasts lane lines as `detection`, the four keys that viewers expect and no others, and as `typed_detection`.
    pub fn broadcast_detection(&mut self, detection: &DetectionFields) -> Broadcast {
        self.broadcaster.detection(detection)
    }

    /// Says where the vehicle is in its lane, for `typed_state`, where it is left out when it was not said for a second.
    pub fn set_lane_position(&mut self, position: LanePosition) {
        self.broadcaster.position.set(position);
    }

    /// Adds something to the statistics under `about`: what a person should know of the program around this broker.
    pub fn set_about(&mut self, key: &'static str, value: serde_json::Value) {
        self.statistics.about.insert(key, value);
    }

    /// Broadcasts what the vehicle does as `state` and `typed_state`, for a system whose simulation does not send vehicle status.
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
        self.vehicle.last.as_ref()
    }

    /// What went through since it was bound.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let broadcasts = Topic::ALL.map(|topic| (topic, self.broadcaster.departures(topic)));
        Statistics { broadcasts: broadcasts.into(), ..self.statistics.clone() }
    }

    /// Closes all sockets and gives the ports back, as dropping does. Messages that wait for slow peers are dropped;
    /// nothing waits for them.
    pub fn close(self) {}
}

/// What has arrived on a port, within bounds.
fn drain(port: &Port, arrivals: &mut Arrivals) -> Vec<Vec<zmq::Message>> {
    drain_ends(port, arrivals).into_iter().map(|(_, parts)| parts).collect()
}

/// The same, with the number of the end at which each arrived.
fn drain_ends(port: &Port, arrivals: &mut Arrivals) -> Vec<(usize, Vec<zmq::Message>)> {
    let mut messages = Vec::new();
    for (number, socket) in port.sockets().enumerate() {
        for _ in 0..MAX_PER_SOCKET {
            match socket::receive(socket) {
                Ok(Some(parts)) => messages.push((number, parts)),
                Ok(None) => break,
                Err(error) => {
                    arrivals.refuse(Refusal::Socket(error));
                    break;
                }
            }
        }
    }
    arrivals.received += messages.len() as u64;
    messages
}

fn odd() -> Refusal {
    Refusal::Topic { found: "a message from a subscriber".to_owned(), expected: "subscriptions only" }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
