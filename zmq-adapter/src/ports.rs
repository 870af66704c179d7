//! A broker's port: open on this machine, and on a network where that is asked for, with keys or without.

use crate::audience::Audience;
use crate::error::BindError;
use crate::hang_up::hang_up;
use crate::keys::{BrokerKeys, KeyError};
use crate::socket::{self, Kind, Listeners, Source, Subscription};
use crate::wire::Endpoint;
use crate::zap::WATCH;

/// Where the ports of one kind are bound.
pub(crate) struct Place<'a> {
    pub(crate) context: &'a zmq::Context,
    /// This machine.
    pub(crate) local: &'a Endpoint,
    /// The network, where the port is open to one.
    pub(crate) beyond: Option<&'a Endpoint>,
    pub(crate) keys: Option<&'a BrokerKeys>,
    pub(crate) domain: &'static str,
}

/// One socket of a port.
struct End {
    /// Who is subscribed, at the port for watching.
    audience: Option<Audience>,
    socket: zmq::Socket,
    listeners: Listeners,
    address: String,
    /// Whether it asks for keys.
    is_guarded: bool,
    is_bound: bool,
}

/// A port: one socket for whoever comes without keys, one for whoever comes with them.
pub(crate) struct Port {
    ends: Vec<End>,
    domain: &'static str,
}

impl Place<'_> {
    pub(crate) fn open(&self, port: u16, kind: Kind, listeners: &Listeners) -> Result<Port, BindError> {
        let mut ends = Vec::new();
        let everywhere = self.beyond.is_some_and(Endpoint::is_everywhere);
        // Who binds everywhere binds this machine along with it.
        if !everywhere {
            ends.push(self.bind(self.local, port, kind, None, listeners)?);
        }
        if let Some(beyond) = self.beyond {
            match (self.keys, ends.first()) {
                (None, Some(end)) => bind(&end.socket, &beyond.address(port))?,
                (keys, _) => ends.push(self.bind(beyond, port, kind, keys, listeners)?),
            }
        }
        Ok(Port { ends, domain: self.domain })
    }

    fn bind(
        &self,
        at: &Endpoint,
        port: u16,
        kind: Kind,
        keys: Option<&BrokerKeys>,
        listeners: &Listeners,
    ) -> Result<End, BindError> {
        let address = at.address(port);
        let open = || {
            let socket = kind.open(self.context, at.is_ipv6() || self.beyond.is_some_and(Endpoint::is_ipv6))?;
            if kind.socket == zmq::SUB {
                // Everything: what does not belong on the port is to be named, not passed over.
                socket.set_subscribe(b"")?;
            }
            Ok(socket)
        };
        let socket = open().map_err(|source| BindError::Socket { address: address.clone(), source })?;
        if let Some(keys) = keys {
            keys.apply(&socket, self.domain)?;
        }
        let is_counted = self.domain == WATCH;
        let audience = is_counted.then(|| Audience::of(self.context, &socket)).transpose();
        let audience = audience.map_err(|source| BindError::Socket { address: address.clone(), source })?;
        bind(&socket, &address)?;
        let listeners = listeners.clone();
        Ok(End { audience, socket, listeners, address, is_guarded: keys.is_some(), is_bound: true })
    }
}

fn bind(socket: &zmq::Socket, address: &str) -> Result<(), BindError> {
    socket.bind(address).map_err(|error| match error {
        zmq::Error::EADDRINUSE => BindError::InUse { address: address.to_owned() },
        source => BindError::Socket { address: address.to_owned(), source },
    })
}

impl Port {
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &zmq::Socket> {
        self.ends.iter().map(|end| &end.socket)
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.ends.iter().any(|end| end.listeners.has(topic))
    }

    /// How many connections are subscribed to a topic.
    pub(crate) fn count(&self, topic: &str) -> usize {
        let of = |end: &End| end.audience.as_ref().map_or(0, |audience| audience.count(topic));
        self.ends.iter().filter(|end| end.listeners.has(topic)).map(|end| of(end).max(1)).sum()
    }

    /// Takes note of what the end of that number received; `None` if that is no subscription.
    pub(crate) fn note(&mut self, end: usize, parts: &mut [zmq::Message]) -> Option<Subscription> {
        let end = self.ends.get_mut(end)?;
        let subscription = end.listeners.note(parts)?;
        if let Some(audience) = &mut end.audience {
            audience.look();
            let source = Source::of(parts);
            let is_known = end.listeners.concerns(&subscription);
            if !audience.note(&source.connection, &subscription, is_known) {
                // Where it can't be ended its subscriptions stay, and it is tried again with the next.
                let _ = hang_up(&source);
            }
        }
        Some(subscription)
    }

    /// Takes note of connections that ended.
    pub(crate) fn look(&mut self) {
        self.ends.iter_mut().filter_map(|end| end.audience.as_mut()).for_each(Audience::look);
    }

    /// Sends to whoever is subscribed, without ever waiting.
    pub(crate) fn send(&self, parts: &[&[u8]]) -> zmq::Result<()> {
        self.ends.iter().try_for_each(|end| socket::send(&end.socket, parts))
    }

    /// Ends the connections of all who came with keys, and lets them come anew: with the broker's keys as they are now.
    pub(crate) fn turn_out(&mut self, keys: &BrokerKeys) -> Result<(), KeyError> {
        for end in self.ends.iter_mut().filter(|end| end.is_guarded) {
            keys.apply(&end.socket, self.domain)?;
            // Not bound is as good.
            let _ = end.socket.unbind(&end.address);
            end.is_bound = false;
            end.audience.iter_mut().for_each(Audience::clear);
        }
        Ok(())
    }

    /// Binds what was unbound, which ZeroMQ's own thread may still be at; `true` once all is bound.
    pub(crate) fn bind_anew(&mut self) -> bool {
        for end in self.ends.iter_mut().filter(|end| !end.is_bound) {
            end.is_bound = end.socket.bind(&end.address).is_ok();
        }
        self.ends.iter().all(|end| end.is_bound)
    }
}
