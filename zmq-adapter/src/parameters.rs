//! The broker's memory of parameters, and the port on which servers get them.

use crate::error::Refusal;
use crate::socket::{self, Listeners};
use crate::wire::{self, ParameterRequest};
use lkas_messages::names::{Category, Parameter};
use serde_json::Value;
use std::collections::BTreeMap;

/// The parameter that a request names, and the value asked for, clamped to its range.
pub(crate) fn check(request: &ParameterRequest) -> Result<(&'static Parameter, f64), Refusal> {
    let category: Category = request.category.parse()?;
    let parameter = Parameter::find(category, &request.parameter)?;
    let value = request.value.and_then(|value| parameter.accept(value)).ok_or(Refusal::NotFinite)?;
    Ok((parameter, value))
}

/// A value in force, and the object that told servers so.
struct InForce {
    value: f64,
    object: Vec<u8>,
}

/// A request that was accepted.
pub(crate) struct Accepted {
    pub(crate) value: f64,
    /// What there is to say about it.
    pub(crate) note: Option<String>,
    /// Whether a server was subscribed.
    pub(crate) forwarded: bool,
}

pub(crate) struct Parameters {
    socket: zmq::Socket,
    servers: Listeners,
    /// At most as many as there are parameters.
    in_force: BTreeMap<(Category, &'static str), InForce>,
}

impl Parameters {
    pub(crate) fn new(socket: zmq::Socket) -> Self {
        let servers = Listeners::new(&Category::ALL.map(Category::name));
        Self { socket, servers, in_force: BTreeMap::new() }
    }

    pub(crate) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// The last value accepted.
    pub(crate) fn accepted(&self, parameter: &Parameter) -> Option<f64> {
        self.in_force.get(&(parameter.category, parameter.name)).map(|known| known.value)
    }

    /// Forgets a value that nobody applied: nothing given during an outage is in force after it.
    pub(crate) fn forget(&mut self, category: Category, name: &str) {
        self.in_force.retain(|(known, parameter), _| (*known, *parameter) != (category, name));
    }

    /// Takes note of subscriptions and sends the new servers what is in force. Returns what went wrong; `None` stands
    /// for a message that is no subscription.
    pub(crate) fn note(&mut self, messages: &[Vec<zmq::Message>]) -> Vec<Option<Refusal>> {
        let mut failures = Vec::new();
        let mut has_new = Category::ALL.map(|category| (category, false));
        for parts in messages {
            let Some(new) = self.servers.note(parts) else {
                failures.push(None);
                continue;
            };
            for (category, has_new) in &mut has_new {
                *has_new |= new.subscribed && new.covers(category.name());
            }
        }
        // Once for all who came in the meantime: each of them gets whatever is sent to their topic.
        for ((category, _), in_force) in &self.in_force {
            if has_new.contains(&(*category, true))
                && let Err(error) = self.send(*category, &in_force.object)
            {
                failures.push(Some(Refusal::Socket(error)));
            }
        }
        failures
    }

    fn send(&self, category: Category, object: &[u8]) -> zmq::Result<()> {
        socket::send(&self.socket, &[category.name().as_bytes(), object])
    }

    /// Remembers and forwards a value.
    pub(crate) fn put_in_force(&mut self, request: ParameterRequest) -> Result<Accepted, Refusal> {
        let (parameter, value) = check(&request)?;
        let asked = request.value.unwrap_or(value);
        let mut object = request.object;
        // Both keys, because clients of both kinds exist. The value stays as it was written unless it was out of range.
        object.insert("parameter".to_owned(), Value::from(parameter.name));
        object.insert("name".to_owned(), Value::from(parameter.name));
        let note = (asked != value).then(|| format!("{asked} is out of range, {value} is the nearest value in it"));
        if note.is_some() {
            object.insert("value".to_owned(), wire::number(value));
        }
        object.entry("timestamp").or_insert_with(|| Value::from(wire::now()));
        let object = wire::encode(&object)?;
        let forwarded = self.servers.has(parameter.category.name());
        if forwarded {
            self.send(parameter.category, &object).map_err(Refusal::Socket)?;
        }
        self.in_force.insert((parameter.category, parameter.name), InForce { value, object });
        Ok(Accepted { value, note, forwarded })
    }
}
