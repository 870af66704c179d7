//! How many connections are subscribed to a topic.
//!
//! An XPUB socket says who subscribes and when the last one left, not who left before. Its monitor says which connections
//! begin and end.

use crate::link;
use crate::socket::{self, Subscription};
use std::collections::{BTreeMap, BTreeSet};

/// Subscriptions of one connection to what there is not. ZeroMQ keeps each, so who has more is let go.
const MOST_UNKNOWN: usize = 64;

/// The connections of one socket, with their subscriptions.
pub(crate) struct Audience {
    events: zmq::Socket,
    connections: BTreeMap<u32, Subscriptions>,
}

#[derive(Default)]
struct Subscriptions {
    /// Those that concern a known topic, of which there are few different ones.
    known: BTreeSet<Vec<u8>>,
    unknown: BTreeSet<Vec<u8>>,
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
                self.connections.insert(connection, Subscriptions::default());
            }
        }
    }

    /// Takes note of a subscription, to a known topic or not, that came or was taken back by the connection of that
    /// descriptor. `false` where it has too many of the unknown.
    pub(crate) fn note(&mut self, connection: &str, subscription: &Subscription, is_known: bool) -> bool {
        // Without a descriptor: the last one left because its connection ended, of which the monitor tells.
        let Ok(connection) = connection.parse() else { return true };
        let Some(Subscriptions { known, unknown }) = self.connections.get_mut(&connection) else { return true };
        let prefixes = if is_known { known } else { unknown };
        if !subscription.subscribed {
            prefixes.remove(&subscription.prefix);
        } else if is_known || prefixes.len() < MOST_UNKNOWN {
            prefixes.insert(subscription.prefix.clone());
        } else {
            return prefixes.contains(&subscription.prefix);
        }
        true
    }

    /// How many connections are subscribed to a topic.
    pub(crate) fn count(&self, topic: &str) -> usize {
        let covers = |prefix: &Vec<u8>| topic.as_bytes().starts_with(prefix);
        self.connections.values().filter(|subscriptions| subscriptions.known.iter().any(covers)).count()
    }

    /// All connections were ended.
    pub(crate) fn clear(&mut self) {
        self.connections.clear();
    }
}
