//! How a broker is set up, and what it says of its work.

use crate::broadcaster::Departures;
use crate::error::BindError;
use crate::keys::BrokerKeys;
use crate::socket::Arrivals;
use crate::wire::{self, Endpoint, Topic, VehicleStatus};
use core::time::Duration;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// How a [`Broker`](super::Broker) is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerOptions {
    /// Where it is: on this machine, port 5557 and the five after it, unless told otherwise. A host of a network opens all
    /// ports to that network.
    pub endpoint: Endpoint,
    /// Broadcasts that may wait in ZeroMQ for one viewer, 1 to 1000; more are dropped for that viewer, the newest first.
    ///
    /// It bounds the memory that a slow viewer costs and how old its pictures get. One mark serves all topics, and
    /// ZeroMQ counts messages that were taken as waiting until they are half a mark; so half of it must hold the eleven
    /// answers with which a viewer is greeted. 24 unless told otherwise: a quarter of a second of frames, detections,
    /// states and telemetry at 25 frames a second.
    pub viewer_mark: u16,
    /// A command that was given longer ago is refused, but for an emergency stop; 2 s unless told otherwise.
    ///
    /// The age of a command is known from the broker's own time, which this crate's viewers repeat; else from its
    /// `timestamp`, on this machine as it stands, from elsewhere by how much later it came than the fastest of its
    /// connection; else it counts from its arrival.
    pub command_age: Duration,
    /// A host on which the port for broadcasts is bound besides the endpoint's.
    pub watch_on: Option<String>,
    /// A host on which the other ports are bound besides the endpoint's.
    pub command_on: Option<String>,
    /// Keys, without which nobody is let in on those two hosts. Where such a host is every interface, nobody is at all.
    pub keys: Option<BrokerKeys>,
    /// Whether commands may be open to a network without keys.
    pub insecure: bool,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self::new(Endpoint::default())
    }
}

impl BrokerOptions {
    /// A broker there, with a mark of 24 broadcasts and commands of up to 2 s.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            viewer_mark: 24,
            command_age: wire::ACTION_AGE,
            watch_on: None,
            command_on: None,
            keys: None,
            insecure: false,
        }
    }

    /// Sets [`viewer_mark`](Self::viewer_mark).
    #[must_use]
    pub const fn viewer_mark(mut self, broadcasts: u16) -> Self {
        self.viewer_mark = broadcasts;
        self
    }

    /// Sets [`command_age`](Self::command_age).
    #[must_use]
    pub const fn command_age(mut self, age: Duration) -> Self {
        self.command_age = age;
        self
    }

    /// Sets [`watch_on`](Self::watch_on).
    #[must_use]
    pub fn watch_on(mut self, host: Option<String>) -> Self {
        self.watch_on = host;
        self
    }

    /// Sets [`command_on`](Self::command_on).
    #[must_use]
    pub fn command_on(mut self, host: Option<String>) -> Self {
        self.command_on = host;
        self
    }

    /// Sets [`keys`](Self::keys).
    #[must_use]
    pub fn keys(mut self, keys: Option<BrokerKeys>) -> Self {
        self.keys = keys;
        self
    }

    /// Sets [`insecure`](Self::insecure).
    #[must_use]
    pub const fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// The endpoint on a network, where there is one besides this machine's.
    pub(super) fn beyond(&self, host: &Option<String>) -> Option<Endpoint> {
        let endpoint = Endpoint { host: host.clone()?, base_port: self.endpoint.base_port, keys: None };
        (endpoint.host != self.endpoint.host && endpoint.host != "localhost").then_some(endpoint)
    }

    pub(super) fn check(&self) -> Result<(), BindError> {
        self.endpoint.check()?;
        let beyond = [&self.watch_on, &self.command_on].map(|host| self.beyond(host));
        beyond.iter().flatten().try_for_each(Endpoint::check)?;
        let [_, command_on] = beyond;
        // Keys guard what is bound besides the endpoint, not the endpoint itself.
        let unguarded = [Some(self.endpoint.clone()), command_on.filter(|_| self.keys.is_none())];
        match unguarded.into_iter().flatten().find(|endpoint| !endpoint.is_loopback()) {
            Some(endpoint) if !self.insecure => Err(BindError::Open { host: endpoint.host }),
            _ => Ok(()),
        }
    }
}

/// What one call of [`Broker::poll`](super::Broker::poll) did.
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

/// What went through a [`Broker`](super::Broker) since it was bound. As JSON it is what is broadcast as `statistics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    /// What [`Broker::set_about`](super::Broker::set_about) was told.
    pub about: BTreeMap<&'static str, Value>,
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

/// The lease for commands, while somebody has it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Lease {
    /// Who has it, as they call themselves.
    pub holder: String,
    /// For how long it lasts without being renewed.
    pub left: Duration,
}
