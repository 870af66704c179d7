//! Actions: handled, forwarded to the simulation, answered.

use super::{Broker, drain};
use crate::decode::{self, decode_action};
use crate::error::Refusal;
use crate::socket::{self, Source};
use crate::ticks::TICK;
use crate::wire::{
    self, ACTION, ActionRequest, ActionStatus, CLAIM_COMMANDS, EMERGENCY_STOP, PING, RELEASE_COMMANDS,
    RELEASE_EMERGENCY_STOP, Topic,
};
use lkas_messages::names::Name;
use serde_json::Value;
use std::collections::VecDeque;

/// Actions that the broker accepts whether somebody registered them or not.
const ALWAYS: [&str; 2] = [EMERGENCY_STOP, RELEASE_EMERGENCY_STOP];

/// Delivered requests that are remembered, at most: the vehicle may refuse them.
const KEPT: usize = 256;

/// The requests that were delivered last.
pub(super) struct Delivered {
    /// The number of the next one. No two brokers in a row have the same ones.
    next: u64,
    requests: VecDeque<(u64, String, Option<Value>)>,
}

impl Delivered {
    pub(super) fn new() -> Self {
        Self { next: (wire::now() * 1e6) as u64, requests: VecDeque::new() }
    }

    fn remember(&mut self, action: String, id: Option<Value>) {
        self.requests.push_back((self.next, action, id));
        self.next += 1;
        if self.requests.len() > KEPT {
            self.requests.pop_front();
        }
    }
}

impl Broker {
    /// Accepts an action from now on: [`poll`](Self::poll) calls `handler` and forwards the action to the simulation.
    /// A handler registered before under this name is replaced. `emergency_stop` and `release_emergency_stop` are
    /// accepted without one.
    pub fn register_action(&mut self, name: Name, handler: impl FnMut(&ActionRequest) + Send + 'static) {
        self.handlers.insert(name, Box::new(handler));
    }

    pub(super) fn poll_actions(&mut self) -> usize {
        let mut messages = drain(&self.action_requests, &mut self.statistics.actions);
        for parts in &mut messages {
            let source = Source::of(parts);
            match decode_action(&socket::slices(parts)) {
                Ok(request) => self.act(request, &source),
                Err(refusal) => {
                    let remains = decode::remains(&socket::slices(parts));
                    let action = remains.get("action").and_then(Value::as_str).unwrap_or_default();
                    let action = action.chars().take(64).collect();
                    self.statistics.actions.refuse(refusal.clone());
                    if self.may_answer_nonsense() {
                        self.answer(action, decode::id(&remains), Err(refusal), None);
                    }
                }
            }
        }
        messages.len()
    }

    fn act(&mut self, request: ActionRequest, source: &Source) {
        let (action, id) = (request.action.to_string(), decode::id(&request.object));
        let outcome = self.allow(&request, source).and_then(|age_s| self.execute(request, age_s));
        match &outcome {
            Ok(None) => self.statistics.actions.forwarded += 1,
            Ok(Some(_)) => {}
            Err(refusal) => self.statistics.actions.refuse(refusal.clone()),
        }
        let note = outcome.as_ref().ok().and_then(|note| note.map(str::to_owned));
        self.answer(action, id, outcome.map(drop), note);
    }

    /// Whether it may be executed; its age in seconds.
    fn allow(&mut self, request: &ActionRequest, source: &Source) -> Result<f64, Refusal> {
        let action = request.action.as_str();
        if [EMERGENCY_STOP, PING].contains(&action) {
            return Ok(0.0);
        }
        self.permit(source)?;
        // Whoever takes the lease over says so, and is checked there.
        if action == CLAIM_COMMANDS {
            return Ok(0.0);
        }
        let age_s = self.authority.age_s(source, &request.object);
        self.authority.check(action, age_s, &request.object).map(|()| age_s)
    }

    /// Does what is asked for; why it was not delivered, where it was accepted and was not.
    fn execute(&mut self, request: ActionRequest, age_s: f64) -> Result<Option<&'static str>, Refusal> {
        match request.action.as_str() {
            PING => return Ok(Some("the broker is there")),
            CLAIM_COMMANDS => {
                self.authority.claim(&request.object, &request.params)?;
                return Ok(Some("the lease is given"));
            }
            RELEASE_COMMANDS => {
                self.authority.release();
                return Ok(Some("the lease is free"));
            }
            _ => {}
        }
        match self.handlers.get_mut(&request.action) {
            Some(handler) => handler(&request),
            None if ALWAYS.contains(&request.action.as_str()) => {}
            None => return Err(Refusal::UnknownAction { action: request.action.to_string() }),
        }
        if request.action.as_str() == RELEASE_EMERGENCY_STOP {
            self.undelivered_stop = None;
        }
        if self.actions.has(ACTION) {
            return self.forward_action(request, age_s).map(|()| None);
        }
        if request.action.as_str() == EMERGENCY_STOP {
            self.undelivered_stop = Some(request);
            return Ok(Some("no simulation is subscribed; it is delivered as soon as one is"));
        }
        Ok(Some("no simulation is subscribed"))
    }

    /// Delivers an emergency stop that was asked for while no simulation was there.
    pub(super) fn deliver_stop(&mut self) {
        if self.actions.has(ACTION)
            && let Some(request) = self.undelivered_stop.take()
            && self.forward_action(request.clone(), 0.0).is_err()
        {
            self.undelivered_stop = Some(request);
        }
    }

    /// Tells viewers that the vehicle refused a request that was delivered to it under this
    /// [number](ActionRequest::number). Each is told once: it may be said as often as one likes.
    pub fn report_refusal(&mut self, number: u64, reason: &str) {
        let requests = &mut self.delivered.requests;
        let place = requests.iter().position(|(known, ..)| *known == number);
        let Some((_, action, id)) = place.and_then(|place| requests.remove(place)) else { return };
        let (delivered, reason, timestamp) = (true, Some(reason.to_owned()), wire::now());
        let status = ActionStatus { action, accepted: false, delivered, reason, id, timestamp };
        let _counted = self.broadcaster.object(Topic::ActionStatus, &status);
    }

    fn forward_action(&mut self, request: ActionRequest, age_s: f64) -> Result<(), Refusal> {
        let id = decode::id(&request.object);
        let mut object = request.object;
        object.insert(wire::NUMBER.to_owned(), Value::from(self.delivered.next));
        object.insert("params".to_owned(), Value::Object(request.params));
        if request.timestamp.is_none() {
            object.insert("timestamp".to_owned(), Value::from(wire::now()));
        }
        for key in OWN_KEYS {
            object.remove(key);
        }
        let object = wire::encode(&object)?;
        self.tick_before(&self.actions, age_s)?;
        self.actions.send(&[ACTION.as_bytes(), &object]).map_err(Refusal::Socket)?;
        self.delivered.remember(request.action.to_string(), id);
        Ok(())
    }

    fn answer(&mut self, action: String, id: Option<Value>, outcome: Result<(), Refusal>, note: Option<String>) {
        let status = ActionStatus {
            action,
            accepted: outcome.is_ok(),
            delivered: outcome.is_ok() && note.is_none(),
            reason: outcome.err().map(|refusal| refusal.to_string()).or(note),
            id,
            timestamp: wire::now(),
        };
        let _counted = self.broadcaster.object(Topic::ActionStatus, &status);
    }
}

/// Keys of requests that are meant for the broker alone.
pub(super) const OWN_KEYS: [&str; 3] = ["id", TICK, super::authority::CLIENT];
