//! The other ends: parameter clients, the simulation's two, and viewers.

use crate::broker::check_parameter;
use crate::decode::{decode_action, decode_forwarded, decode_tick};
use crate::error::{ConnectError, ReceiveError, Refusal, SendError};
use crate::link::{Link, MAX_PER_CALL};
use crate::socket::{Arrivals, Kind};
use crate::ticks::Ticks;
use crate::wire::{self, ACTION, ACTION_AGE, ActionRequest, Endpoint, Topic, VEHICLE_STATUS};
use core::fmt;
use core::time::Duration;
use lkas_messages::names::{Category, Parameter};
use lkas_messages::{VehicleState, VehicleStateFields};

pub use crate::viewer::ViewerClient;

const TICK: &str = Topic::Tick.name();

/// What `decode` makes of the next message, `None` where there is none; a tick among them is noted, and is nothing.
fn take<T>(
    link: &mut Link,
    ticks: &mut Ticks,
    decode: impl FnOnce(&[&[u8]]) -> Result<T, Refusal>,
) -> Result<Option<Option<Result<T, Refusal>>>, ReceiveError> {
    link.take(|parts| {
        if parts.first() != Some(&TICK.as_bytes()) {
            return Some(decode(parts));
        }
        match decode_tick(parts) {
            Ok(tick) => {
                ticks.note(tick);
                None
            }
            Err(refusal) => Some(Err(refusal)),
        }
    })
}

type Callback = Box<dyn FnMut(&'static Parameter, f64) + Send>;

/// A server's side of parameters: calls back with each value that shall be in force.
///
/// Where nobody [reports](crate::Broker::report) what is in force, the broker sends the last values whenever a server
/// subscribes: one that restarted, or that was started after the values were changed, calls [`poll`](Self::poll) until it
/// has caught up. A server whose values are reported keeps them itself; it gets what it has not answered yet. `Send`, not
/// `Sync`.
///
/// ```no_run
/// use lkas_messages::names::Category;
/// use lkas_zmq::{clients::ParameterClient, wire::Endpoint};
/// let mut parameters = ParameterClient::connect(&Endpoint::default(), Category::Detection, |parameter, value| {
///     println!("{} is {value}", parameter.name);
/// })?;
/// parameters.poll()?; // between two frames
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParameterClient {
    link: Link,
    category: Category,
    callback: Callback,
    arrivals: Arrivals,
    ticks: Ticks,
    max_age: Duration,
}

impl ParameterClient {
    /// Connects to a broker, which need not be there yet.
    ///
    /// # Errors
    /// An endpoint that is no address, or no resources for a socket.
    pub fn connect(
        endpoint: &Endpoint,
        category: Category,
        callback: impl FnMut(&'static Parameter, f64) + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let link = Link::connect(endpoint, endpoint.parameter_port(), Kind::receiver(64), &[category.name(), TICK])?;
        let (arrivals, ticks) = (Arrivals::default(), Ticks::of(endpoint));
        Ok(Self { link, category, callback: Box::new(callback), arrivals, ticks, max_age: ACTION_AGE })
    }

    /// Refuses values that were asked for longer ago than that, by the broker's time; 2 s unless told otherwise.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Calls back for what has arrived, in order, at most 256 messages; says how many values there were.
    ///
    /// Values are those of a known parameter of this category, finite and in range. One that waited so long, here or on
    /// its way, that its sender was told that nobody applied it, is refused. Never waits.
    ///
    /// # Errors
    /// The socket failed. Malformed messages are counted instead: [`arrivals`](Self::arrivals).
    pub fn poll(&mut self) -> Result<usize, ReceiveError> {
        let mut values = 0;
        for _ in 0..MAX_PER_CALL {
            let category = self.category.name();
            let decode = |parts: &[&[u8]]| check_parameter(&decode_forwarded(parts, category)?);
            let Some(taken) = take(&mut self.link, &mut self.ticks, decode)? else { break };
            let Some(outcome) = taken else { continue };
            self.arrivals.received += 1;
            let age_s = self.ticks.age_s().filter(|age_s| *age_s > self.max_age.as_secs_f64());
            let expired = |parameter: &Parameter| {
                age_s.map(|age_s| Refusal::Expired { action: parameter.name.to_owned(), age_s })
            };
            match outcome.and_then(|(parameter, value)| expired(parameter).map_or(Ok((parameter, value)), Err)) {
                Ok((parameter, value)) => {
                    values += 1;
                    (self.callback)(parameter, value);
                }
                Err(refusal) => self.arrivals.refuse(refusal),
            }
        }
        Ok(values)
    }

    /// Waits until there is something to [`poll`](Self::poll); `false` after `timeout` or on a signal.
    ///
    /// # Errors
    /// The socket failed.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        self.link.wait(timeout)
    }

    /// What arrived, and what of it was refused why.
    #[must_use]
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }
}

impl fmt::Debug for ParameterClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParameterClient")
            .field("category", &self.category)
            .field("arrivals", &self.arrivals)
            .finish_non_exhaustive()
    }
}

/// The simulation's side of actions. `Send`, not `Sync`.
pub struct ActionClient {
    link: Link,
    arrivals: Arrivals,
    ticks: Ticks,
}

impl ActionClient {
    /// Connects to a broker, which need not be there yet.
    ///
    /// # Errors
    /// An endpoint that is no address, or no resources for a socket.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let link = Link::connect(endpoint, endpoint.action_port(), Kind::receiver(64), &[ACTION, TICK])?;
        Ok(Self { link, arrivals: Arrivals::default(), ticks: Ticks::of(endpoint) })
    }

    /// The next action asked for, `None` if there is none now. Never waits; passes over at most 256 malformed messages.
    ///
    /// [`ActionRequest::age_s`] says how long ago it was asked for. Whether it is still to be done is the caller's to
    /// decide: what was asked for more than two seconds ago usually is not meant for now.
    ///
    /// # Errors
    /// The socket failed. Malformed messages are counted instead: [`arrivals`](Self::arrivals).
    pub fn poll(&mut self) -> Result<Option<ActionRequest>, ReceiveError> {
        for _ in 0..MAX_PER_CALL {
            let Some(taken) = take(&mut self.link, &mut self.ticks, decode_action)? else { break };
            let Some(outcome) = taken else { continue };
            self.arrivals.received += 1;
            match outcome {
                Ok(request) => return Ok(Some(ActionRequest { waited_s: self.ticks.age_s(), ..request })),
                Err(refusal) => self.arrivals.refuse(refusal),
            }
        }
        Ok(None)
    }

    /// Waits until there is something to [`poll`](Self::poll); `false` after `timeout` or on a signal.
    ///
    /// # Errors
    /// The socket failed.
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        self.link.wait(timeout)
    }

    /// What arrived, and what of it was refused why.
    #[must_use]
    pub fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }
}

impl fmt::Debug for ActionClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionClient").field("arrivals", &self.arrivals).finish_non_exhaustive()
    }
}

/// The simulation's side of vehicle status. `Send`, not `Sync`.
pub struct VehicleStatusClient {
    link: Link,
}

impl VehicleStatusClient {
    /// Connects to a broker, which need not be there yet.
    ///
    /// # Errors
    /// An endpoint that is no address, or no resources for a socket.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        // A status that is late is worth nothing, so hardly any of them wait for a broker that does not keep up.
        let link = Link::connect(endpoint, endpoint.vehicle_status_port(), Kind::sender(4), &[VEHICLE_STATUS])?;
        Ok(Self { link })
    }

    /// Sends the state; `false` if the broker does not listen yet, in which case it is dropped. Never waits.
    ///
    /// # Errors
    /// A number that is not finite, or a socket that failed.
    pub fn send(&mut self, fields: &VehicleStateFields) -> Result<bool, SendError> {
        let state = VehicleState::try_from(*fields).map_err(|error| SendError::Refused(error.into()))?;
        let object = wire::encode(&VehicleStateFields::from(state)).map_err(SendError::Refused)?;
        self.link.service().map_err(|error| SendError::Socket(error.source))?;
        if !self.link.is_heard() {
            return Ok(false);
        }
        self.link.send(&[VEHICLE_STATUS.as_bytes(), &object]).map_err(SendError::Socket)?;
        Ok(true)
    }

    /// Waits until the broker listens; whether it does.
    ///
    /// # Errors
    /// The socket failed.
    pub fn wait_connected(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        self.link.wait_heard(timeout)
    }
}

impl fmt::Debug for VehicleStatusClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VehicleStatusClient").field("is_heard", &self.link.is_heard()).finish_non_exhaustive()
    }
}
