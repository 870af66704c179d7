//! How many connections are subscribed to a topic.
//!
//! An XPUB socket says who subscribes and when the last one left, not who left before. Its monitor says which connections
//! begin and end.

use crate::link;
use crate::socket::{self, Subscription};
use std::collections::{BTreeMap, BTreeSet};

/// The connections of one socket, with their subscriptions.
pub(crate) struct Audience {
    events: zmq::Socket,
    connections: BTreeMap<u32, BTreeSet<Vec<u8>>>,
}

impl Audience {
    /// Watches a socket that is not bound yet.
    pub(crate) fn of(context: &zmq::Context, socket: &zmq::Socket) -> zmq::Result<Self> {
        let events = link::monitor(context, socket, &[zmq::SocketEvent::ACCEPTED, zmq::SocketEvent::DISCONNECTED])?;
        Ok(Self { events, connections: BTreeMap::new() })
    }

    /// Takes note of connections that began and ended. To be called between receiving subscriptions and noting them: the
    /// descriptor of one that ended is the next one's.
    pub(crate) fn look(&mut self) {
        while let Ok(Some(parts)) = socket::receive(&self.events) {
            let Some(&[low, high, a, b, c, d]) = parts.first().map(|part| &**part) else { continue };
            let connection = u32::from_ne_bytes([a, b, c, d]);
            self.connections.remove(&connection);
            if u16::from_ne_bytes([low, high]) == zmq::SocketEvent::ACCEPTED.to_raw() {
                self.connections.insert(connection, BTreeSet::new());
            }
        }
    }

    /// Takes note of a subscription that came, or was taken back, by the connection of that descriptor. The caller passes
    /// only those that concern a known topic, of which there are few different ones.
    pub(crate) fn note(&mut self, connection: &str, subscription: &Subscription) {
        // Without a descriptor: the last one left because its connection ended, of which the monitor tells.
        let Ok(connection) = connection.parse() else { return };
        let Some(prefixes) = self.connections.get_mut(&connection) else { return };
        if subscription.subscribed {
            prefixes.insert(subscription.prefix.clone());
        } else {
            prefixes.remove(&subscription.prefix);
        }
    }

    /// How many connections are subscribed to a topic.
    pub(crate) fn count(&self, topic: &str) -> usize {
        let covers = |prefix: &Vec<u8>| topic.as_bytes().starts_with(prefix);
        self.connections.values().filter(|prefixes| prefixes.iter().any(covers)).count()
    }

    /// All connections were ended.
    pub(crate) fn clear(&mut self) {
        self.connections.clear();
    }
}
