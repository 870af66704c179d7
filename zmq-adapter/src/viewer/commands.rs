//! What a viewer asks for: kept until there is a broker, not in an outage, and an emergency stop until it is there.

use super::ViewerClient;
use crate::error::{ReceiveError, SendError};
use crate::link::Link;
use crate::ticks::TICK;
use crate::wire::{
    self, ACTION, EMERGENCY_STOP, EMERGENCY_STOP_REASON, PARAMETER, PING, RELEASE_EMERGENCY_STOP, Topic, ViewerMessage,
};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use lkas_messages::names::Name;
use serde_json::{Map, Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Actions that wait for a broker, at most.
const KEPT_ACTIONS: usize = 16;
/// How long a command waits for a broker. A vehicle that respawns long after somebody asked for it would surprise.
pub(super) const KEPT_FOR: Duration = wire::ACTION_AGE;
/// How often an emergency stop is sent until the vehicle confirms it.
pub(super) const STOP_EVERY: Duration = Duration::from_millis(200);
/// An emergency stop that the vehicle has not confirmed.
pub(super) struct Stop {
    id: String,
    due: Instant,
    /// The status topic was subscribed to for it alone.
    listens: bool,
}

/// The ids of this viewer's requests: different for each viewer, so that an answer has one owner.
pub(super) struct Requests {
    prefix: String,
    count: u64,
}

impl Requests {
    pub(super) fn new() -> Self {
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
    /// Whether the vehicle says that the emergency stop is latched: then it is sent no more. `true` where the message was
    /// asked for to find that out alone.
    pub(super) fn look_for_confirmation(&mut self, message: &ViewerMessage) -> bool {
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
    pub(super) fn service(&mut self) -> Result<(), ReceiveError> {
        let failed = |source| ReceiveError { source };
        self.actions.service()?;
        self.parameters.service()?;
        // Nothing that was asked for before an outage is done after it.
        let (no_actions, no_parameters) = (self.actions.has_outage(), self.parameters.has_outage());
        let before = self.kept_actions.len() + self.kept_parameters.len();
        self.kept_actions.retain(|(asked, _)| !no_actions && asked.elapsed() < KEPT_FOR);
        self.kept_parameters.retain(|_, (asked, _)| !no_parameters && asked.elapsed() < KEPT_FOR);
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
    pub(super) fn is_pong(&mut self, message: &ViewerMessage) -> bool {
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
        let object = self.stamped(object, &id, |viewer| &viewer.actions)?;
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

    /// The bytes of a request, with its id and its time; an error in an outage of the link that it goes over.
    fn stamped(
        &mut self,
        mut object: Map<String, Value>,
        id: &str,
        link: impl Fn(&Self) -> &Link,
    ) -> Result<Vec<u8>, SendError> {
        self.service().map_err(|error| SendError::Socket(error.source))?;
        if link(self).has_outage() {
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
        let object = wire::parameter_object(&category, &name, value);
        let object = self.stamped(object, &id, |viewer| &viewer.parameters)?;
        self.kept_parameters.insert((category, name), (Instant::now(), object));
        self.service().map_err(|error| SendError::Socket(error.source))?;
        Ok(id)
    }

    /// Commands given up because no broker listened for two seconds, or because an outage began before they were sent.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }
}
