//! A client's socket: connected to one port of a broker, for as long as the client lives.
//!
//! ZeroMQ connects anew by itself when a connection breaks, but not when the peer broke the protocol or sent a part that
//! is too large: then the socket stays deaf for ever. So a link watches its socket's events, and opens another one
//! if a lost connection has not come back.

use crate::error::{ConnectError, ReceiveError};
use crate::keys::{ClientKeys, KeyError};
use crate::socket::{self, Kind, Listeners};
use crate::wire::Endpoint;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::time::Instant;

/// Messages handled in one call, so that no sender can keep a client from its other work.
pub(crate) const MAX_PER_CALL: usize = 256;

/// How long ZeroMQ has to connect anew by itself.
const GRACE: Duration = Duration::from_secs(1);

/// How often a client asks whether its broker is there, in milliseconds, and a third of how long it waits for an answer.
const HEARTBEAT_MS: i32 = 500;

/// How long a connection may take to come about, in milliseconds; then the next attempt begins.
const CONNECT_MS: i32 = 500;

/// Names of the in-process addresses on which sockets report their events: one for each.
static MONITORS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Link {
    socket: zmq::Socket,
    events: zmq::Socket,
    /// Since when there is no connection, if there was one before.
    lost: Option<Instant>,
    listeners: Listeners,
    /// Whether the broker listened to all topics once.
    was_heard: bool,
    topics: Vec<&'static str>,
    kind: Kind,
    context: zmq::Context,
    ipv6: bool,
    address: String,
    keys: Option<ClientKeys>,
}

enum OpenError {
    Socket(zmq::Error),
    Keys(KeyError),
}

impl From<zmq::Error> for OpenError {
    fn from(error: zmq::Error) -> Self {
        Self::Socket(error)
    }
}

impl Link {
    /// Connects in a ZeroMQ context of its own.
    pub(crate) fn connect(
        endpoint: &Endpoint,
        port: u16,
        kind: Kind,
        topics: &[&'static str],
    ) -> Result<Self, ConnectError> {
        Self::connect_in(&zmq::Context::new(), endpoint, port, kind, topics)
    }

    /// Connects; a receiver subscribes to `topics`, a sender watches for a peer that did.
    pub(crate) fn connect_in(
        context: &zmq::Context,
        endpoint: &Endpoint,
        port: u16,
        kind: Kind,
        topics: &[&'static str],
    ) -> Result<Self, ConnectError> {
        endpoint.check()?;
        let (address, ipv6) = (endpoint.address(port), endpoint.is_ipv6());
        match open(context, kind, ipv6, &address, topics, endpoint.keys.as_ref()) {
            Ok((socket, events)) => Ok(Self {
                socket,
                events,
                lost: None,
                listeners: Listeners::new(topics),
                was_heard: false,
                topics: topics.to_vec(),
                kind,
                context: context.clone(),
                ipv6,
                address,
                keys: endpoint.keys.clone(),
            }),
            Err(OpenError::Socket(source)) => Err(ConnectError::Socket { address, source }),
            Err(OpenError::Keys(error)) => Err(error.into()),
        }
    }

    /// A receiver subscribes to a topic as well.
    pub(crate) fn subscribe(&mut self, topic: &'static str) -> zmq::Result<()> {
        self.socket.set_subscribe(topic.as_bytes())?;
        self.topics.push(topic);
        Ok(())
    }

    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.topics.contains(&topic)
    }

    /// A receiver takes back all its subscriptions to a topic: ZeroMQ counts them.
    pub(crate) fn unsubscribe(&mut self, topic: &'static str) -> zmq::Result<()> {
        while let Some(index) = self.topics.iter().position(|known| *known == topic) {
            self.socket.set_unsubscribe(topic.as_bytes())?;
            self.topics.swap_remove(index);
        }
        Ok(())
    }

    /// What `decode` makes of the next message; `None` if there is none now.
    pub(crate) fn take<T>(&mut self, decode: impl FnOnce(&[&[u8]]) -> T) -> Result<Option<T>, ReceiveError> {
        let parts = match self.receive() {
            Ok(None) => self.watch().and_then(|()| self.receive()),
            received => received,
        };
        match parts {
            Ok(parts) => Ok(parts.map(|parts| decode(&socket::slices(&parts)))),
            Err(source) => Err(ReceiveError { source }),
        }
    }

    fn receive(&self) -> zmq::Result<Option<Vec<zmq::Message>>> {
        socket::receive(&self.socket)
    }

    /// Follows the connection, and opens another socket if it is lost for good.
    fn watch(&mut self) -> zmq::Result<()> {
        while let Some(parts) = socket::receive(&self.events)? {
            // The event's number comes first, in the byte order of this machine.
            if let Some(&[low, high, ..]) = parts.first().map(|part| &**part) {
                let is_lost = u16::from_ne_bytes([low, high]) == zmq::SocketEvent::DISCONNECTED.to_raw();
                self.lost = is_lost.then(Instant::now);
            }
        }
        if self.lost.is_some_and(|since| since.elapsed() >= GRACE) {
            match open(&self.context, self.kind, self.ipv6, &self.address, &self.topics, self.keys.as_ref()) {
                Ok((socket, events)) => {
                    (self.socket, self.events, self.lost) = (socket, events, None);
                    self.listeners = Listeners::new(&self.topics);
                }
                Err(OpenError::Socket(error)) => return Err(error),
                // They may be written anew just now.
                Err(OpenError::Keys(_)) => self.lost = Some(Instant::now()),
            }
        }
        Ok(())
    }

    /// Waits until there is something to do; whether there may be something to receive.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        wait_for_any(&[self], timeout)
    }

    /// A sender takes note of who listens.
    pub(crate) fn service(&mut self) -> Result<(), ReceiveError> {
        let mut service = || {
            for _ in 0..MAX_PER_CALL {
                let Some(parts) = self.receive()? else { break };
                self.listeners.note(&parts);
            }
            self.was_heard |= self.is_heard();
            self.watch()
        };
        service().map_err(|source| ReceiveError { source })
    }

    /// Whether the broker listened to all topics when this was last serviced.
    pub(crate) fn is_heard(&self) -> bool {
        self.listeners.has_all()
    }

    /// Whether the broker listened before and does no more. What is asked for before it ever did waits for it, what is asked
    /// for in an outage does not.
    pub(crate) fn has_outage(&self) -> bool {
        self.was_heard && !self.is_heard()
    }

    pub(crate) fn wait_heard(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        let start = Instant::now();
        loop {
            self.service()?;
            let left = timeout.saturating_sub(start.elapsed());
            if self.is_heard() || left.is_zero() {
                return Ok(self.is_heard());
            }
            self.wait(left)?;
        }
    }

    pub(crate) fn send(&self, parts: &[&[u8]]) -> zmq::Result<()> {
        socket::send(&self.socket, parts)
    }
}

/// Waits until there is something to do on one of the links; `false` after `timeout`, or earlier on a signal or for the
/// sake of a connection.
pub(crate) fn wait_for_any(links: &[&Link], timeout: Duration) -> Result<bool, ReceiveError> {
    let sockets: Vec<_> = links.iter().flat_map(|link| [&link.socket, &link.events]).collect();
    let is_lost = links.iter().any(|link| link.lost.is_some());
    socket::wait(&sockets, if is_lost { timeout.min(GRACE) } else { timeout }).map_err(|source| ReceiveError { source })
}

/// A socket that receives these events of another one, which is neither bound nor connected yet.
pub(crate) fn monitor(
    context: &zmq::Context,
    socket: &zmq::Socket,
    watched: &[zmq::SocketEvent],
) -> zmq::Result<zmq::Socket> {
    let monitor = format!("inproc://events-{}", MONITORS.fetch_add(1, Ordering::Relaxed));
    socket.monitor(&monitor, watched.iter().map(|event| i32::from(event.to_raw())).sum())?;
    let events = context.socket(zmq::PAIR)?;
    events.set_linger(0)?;
    // No mark: ZeroMQ's own thread would wait for whoever does not poll.
    events.set_rcvhwm(0)?;
    events.connect(&monitor)?;
    Ok(events)
}

/// A connected socket, and one that receives its events.
fn open(
    context: &zmq::Context,
    kind: Kind,
    ipv6: bool,
    address: &str,
    topics: &[&'static str],
    keys: Option<&ClientKeys>,
) -> Result<(zmq::Socket, zmq::Socket), OpenError> {
    let socket = kind.open(context, ipv6)?;
    if let Some(keys) = keys {
        keys.apply(&socket).map_err(OpenError::Keys)?;
    }
    // A network that is gone says nothing. So the connecting side asks, and gives up soon: it is back within a second after
    // the network is. The side that binds asks for nothing: programs of others need not know how to answer.
    socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
    socket.set_heartbeat_timeout(3 * HEARTBEAT_MS)?;
    socket.set_connect_timeout(CONNECT_MS)?;
    socket.set_handshake_ivl(2 * CONNECT_MS)?;
    // Otherwise a sender would not be told that its peer is gone, and send into nothing. A receiver, on the other hand,
    // would subscribe only when it is polled next.
    socket.set_immediate(kind.socket == zmq::XPUB)?;
    let events = monitor(context, &socket, &[zmq::SocketEvent::CONNECTED, zmq::SocketEvent::DISCONNECTED])?;
    if kind.socket == zmq::SUB {
        for topic in topics {
            socket.set_subscribe(topic.as_bytes())?;
        }
    }
    socket.connect(address)?;
    Ok((socket, events))
}
