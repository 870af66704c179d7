//! What every socket of this crate has in common: its options, receiving whole messages, and who listens.

use crate::error::Refusal;
use crate::wire::MAX_JSON;
use core::fmt;
use core::time::Duration;
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Parts of a message that are looked at; a message with more is refused whatever they are.
const KEPT_PARTS: usize = 4;

/// The largest part that ZeroMQ takes from a peer where objects are expected. More than [`MAX_JSON`], so that an object
/// somewhat too large is refused by name; beyond this the peer is disconnected before the part takes up any memory.
const MAX_PART: i64 = 4 * MAX_JSON as i64;

/// How long a handshake may take, in milliseconds. Who connects and says nothing must not keep others out for long, and a
/// client that is not let in tries again after that.
const HANDSHAKE_MS: i32 = 1500;

/// What a socket is for, from which its options follow.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) socket: zmq::SocketType,
    /// Messages that wait for one peer, beyond which the newest are dropped.
    pub(crate) mark: i32,
    /// The largest part that is received, in bytes.
    pub(crate) max_part: i64,
    /// What the operating system holds on the way out or in, in bytes; `None` leaves that to it.
    pub(crate) kernel: Option<i32>,
}

impl Kind {
    pub(crate) const fn sender(mark: i32) -> Self {
        // The only things received here are subscriptions: short. What CURVE says at a handshake counts too, and is longer.
        Self { socket: zmq::XPUB, mark, max_part: 1024, kernel: None }
    }

    pub(crate) const fn receiver(mark: i32) -> Self {
        Self { socket: zmq::SUB, mark, max_part: MAX_PART, kernel: None }
    }

    /// A socket with its options, most of which have no effect any more once it is bound or connected.
    pub(crate) fn open(self, context: &zmq::Context, ipv6: bool) -> zmq::Result<zmq::Socket> {
        let socket = context.socket(self.socket)?;
        // Closing never waits for a peer.
        socket.set_linger(0)?;
        socket.set_handshake_ivl(HANDSHAKE_MS)?;
        socket.set_ipv6(ipv6)?;
        socket.set_sndhwm(self.mark)?;
        socket.set_rcvhwm(self.mark)?;
        socket.set_maxmsgsize(self.max_part)?;
        // A peer whose machine vanished is forgotten after about half a minute.
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(15)?;
        socket.set_tcp_keepalive_intvl(5)?;
        socket.set_tcp_keepalive_cnt(3)?;
        if let Some(bytes) = self.kernel {
            socket.set_sndbuf(bytes)?;
            socket.set_rcvbuf(bytes)?;
        }
        if self.socket == zmq::XPUB {
            // Otherwise a second subscriber to the same topic, or one that restarted, would not be seen.
            socket.set_xpub_verbose(true)?;
        }
        Ok(socket)
    }
}

/// The next whole message, or `None` if there is none now. Parts beyond the fourth are dropped.
pub(crate) fn receive(socket: &zmq::Socket) -> zmq::Result<Option<Vec<zmq::Message>>> {
    let mut parts = Vec::with_capacity(KEPT_PARTS);
    loop {
        let part = match socket.recv_msg(zmq::DONTWAIT) {
            Ok(part) => part,
            Err(zmq::Error::EINTR) => continue,
            Err(zmq::Error::EAGAIN) if parts.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        };
        let more = part.get_more();
        if parts.len() < KEPT_PARTS {
            parts.push(part);
        }
        if !more {
            return Ok(Some(parts));
        }
    }
}

/// Where a message came from, as ZeroMQ tells it: nothing that the sender wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    /// The connection, by the number of its descriptor.
    pub(crate) connection: String,
    /// The peer's address, without its port.
    pub(crate) address: String,
    /// The key with which the peer proved who it is, where keys are asked for.
    pub(crate) user: Option<String>,
}

impl Source {
    pub(crate) fn of(parts: &mut [zmq::Message]) -> Self {
        let Some(part) = parts.first_mut() else { return Self::default() };
        let mut property = |name| part.gets(name).map(str::to_owned);
        Self {
            connection: property("__fd").unwrap_or_default(),
            address: property("Peer-Address").unwrap_or_default(),
            user: property("User-Id"),
        }
    }

    /// Whether the peer is on this machine, so that its clock is this one.
    pub(crate) fn is_local(&self) -> bool {
        let address = self.address.trim_start_matches("::ffff:");
        address.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The parts as slices, for the decoders.
pub(crate) fn slices(parts: &[zmq::Message]) -> Vec<&[u8]> {
    parts.iter().map(|part| &**part).collect()
}

/// Sends a whole message, without ever waiting: for a peer that does not keep up it is dropped.
pub(crate) fn send(socket: &zmq::Socket, parts: &[&[u8]]) -> zmq::Result<()> {
    socket.send_multipart(parts.iter().copied(), zmq::DONTWAIT)
}

/// Waits until there is something to receive on one of `sockets`; `false` after `timeout`, or earlier on a signal.
pub(crate) fn wait(sockets: &[&zmq::Socket], timeout: Duration) -> zmq::Result<bool> {
    wait_also(sockets, &[], timeout)
}

/// The same, or until one of `descriptors` can be read.
pub(crate) fn wait_also(
    sockets: &[&zmq::Socket],
    descriptors: &[BorrowedFd<'_>],
    timeout: Duration,
) -> zmq::Result<bool> {
    let sockets = sockets.iter().map(|socket| socket.as_poll_item(zmq::POLLIN));
    let others = descriptors.iter().map(|other| zmq::PollItem::from_fd(other.as_raw_fd(), zmq::POLLIN));
    let mut items: Vec<_> = sockets.chain(others).collect();
    // Rounded up: a caller that waits in a loop until a deadline shall not spin during the last millisecond.
    let milliseconds =
        i64::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX).min(i64::from(i32::MAX));
    match zmq::poll(&mut items, milliseconds) {
        Ok(ready) => Ok(ready > 0),
        Err(zmq::Error::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who listens at the other ends of an XPUB socket, as far as its own topics are concerned.
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    topics: Vec<&'static str>,
    /// The subscriptions in force that cover one of the topics, and as many others as are kept, so that a stranger's
    /// subscriptions can't fill the memory.
    prefixes: BTreeSet<Vec<u8>>,
    others: usize,
}

/// A peer subscribed, or the last one with that subscription left.
pub(crate) struct Subscription {
    pub(crate) subscribed: bool,
    pub(crate) prefix: Vec<u8>,
}

impl Subscription {
    /// Whether the subscription is to this topic, among others: ZeroMQ compares prefixes.
    pub(crate) fn covers(&self, topic: &str) -> bool {
        topic.as_bytes().starts_with(&self.prefix)
    }
}

impl Listeners {
    pub(crate) fn new(topics: &[&'static str]) -> Self {
        Self { topics: topics.to_vec(), prefixes: BTreeSet::new(), others: 0 }
    }

    /// The same, for topics that are not known beforehand as well: up to `others` subscriptions to such.
    pub(crate) fn and_others(topics: &[&'static str], others: usize) -> Self {
        Self { others, ..Self::new(topics) }
    }

    /// Takes note of what an XPUB socket received; `None` if that is no subscription.
    pub(crate) fn note(&mut self, parts: &[zmq::Message]) -> Option<Subscription> {
        let [part] = parts else { return None };
        let (subscribed, prefix) = match &**part {
            [0, prefix @ ..] => (false, prefix.to_vec()),
            [1, prefix @ ..] => (true, prefix.to_vec()),
            _ => return None,
        };
        let subscription = Subscription { subscribed, prefix };
        if !subscribed {
            self.prefixes.remove(&subscription.prefix);
        } else if self.concerns(&subscription) || self.prefixes.len() < self.others {
            self.prefixes.insert(subscription.prefix.clone());
        }
        Some(subscription)
    }

    pub(crate) fn has(&self, topic: &str) -> bool {
        self.prefixes.iter().any(|prefix| topic.as_bytes().starts_with(prefix))
    }

    /// Whether a subscription covers one of the topics that are known beforehand.
    pub(crate) fn concerns(&self, subscription: &Subscription) -> bool {
        self.topics.iter().any(|topic| subscription.covers(topic))
    }

    pub(crate) fn has_all(&self) -> bool {
        self.topics.iter().all(|topic| self.has(topic))
    }
}

/// What arrived on one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Arrivals {
    /// Messages received, whatever they were.
    pub received: u64,
    /// Messages passed on to somebody.
    pub forwarded: u64,
    /// Messages that were not accepted.
    pub refused: u64,
    /// Messages received a second, over the last whole second or so.
    pub rate_hz: f64,
    /// Why the last of them was not.
    #[serde(serialize_with = "in_words")]
    pub last_refusal: Option<Refusal>,
    /// How many there were when the rate was last measured.
    #[serde(skip)]
    measured: u64,
}

/// A refusal as a person reads it.
pub(crate) fn in_words<S: Serializer>(refusal: &Option<Refusal>, serializer: S) -> Result<S::Ok, S::Error> {
    refusal.as_ref().map(ToString::to_string).serialize(serializer)
}

impl Arrivals {
    pub(crate) fn measure(&mut self, elapsed_s: f64) {
        self.rate_hz = (self.received - self.measured) as f64 / elapsed_s;
        self.measured = self.received;
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.refused += 1;
        self.last_refusal = Some(refusal);
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} received, {} forwarded, {} refused", self.received, self.forwarded, self.refused)?;
        match &self.last_refusal {
            Some(refusal) => write!(f, " (last: {refusal})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(listeners: &mut Listeners, bytes: &[u8]) -> Option<bool> {
        listeners.note(&[zmq::Message::from(bytes)]).map(|subscription| subscription.subscribed)
    }

    #[test]
    fn a_subscription_covers_every_topic_that_starts_with_it() {
        let mut listeners = Listeners::new(&["frame", "detection"]);
        assert_eq!(note(&mut listeners, b"\x01fr"), Some(true));
        assert!(listeners.has("frame") && !listeners.has("detection") && !listeners.has_all());
        assert_eq!(note(&mut listeners, b"\x01"), Some(true));
        assert!(listeners.has_all());
        assert_eq!(note(&mut listeners, b"\x00"), Some(false));
        assert!(listeners.has("frame") && !listeners.has("detection"));
        assert_eq!(note(&mut listeners, b"\x00fr"), Some(false));
        assert!(!listeners.has("frame"));
        assert_eq!((note(&mut listeners, b""), note(&mut listeners, b"\x02frame")), (None, None));
    }

    #[test]
    fn subscriptions_that_concern_no_topic_are_not_remembered() {
        let mut listeners = Listeners::new(&["frame"]);
        for number in 0..1000 {
            assert_eq!(note(&mut listeners, format!("\u{1}frame{number}").as_bytes()), Some(true));
        }
        assert!(!listeners.has("frame") && listeners.prefixes.is_empty());
    }
}
