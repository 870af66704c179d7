//! A client's socket: connected to one port of a broker, for as long as the client lives.

use crate::clients::MAX_PER_CALL;
use crate::error::{ConnectError, ReceiveError};
use crate::socket::{self, Kind, Listeners};
use crate::wire::Endpoint;
use core::time::Duration;
use std::time::Instant;

pub(crate) struct Link {
    socket: zmq::Socket,
    listeners: Listeners,
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
        let address = endpoint.address(port);
        let open = || {
            let socket = kind.open(context, endpoint.is_ipv6())?;
            if kind.socket == zmq::SUB {
                for topic in topics {
                    socket.set_subscribe(topic.as_bytes())?;
                }
            }
            socket.connect(&address)?;
            Ok(socket)
        };
        match open() {
            Ok(socket) => Ok(Self { socket, listeners: Listeners::new(topics) }),
            Err(source) => Err(ConnectError::Socket { address, source }),
        }
    }

    pub(crate) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// What `decode` makes of the next message; `None` if there is none now.
    pub(crate) fn take<T>(&mut self, decode: impl FnOnce(&[&[u8]]) -> T) -> Result<Option<T>, ReceiveError> {
        let parts = socket::receive(&self.socket).map_err(|source| ReceiveError { source })?;
        Ok(parts.map(|parts| decode(&socket::slices(&parts))))
    }

    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<bool, ReceiveError> {
        socket::wait(&[&self.socket], timeout).map_err(|source| ReceiveError { source })
    }

    /// A sender takes note of who listens.
    pub(crate) fn service(&mut self) -> Result<(), ReceiveError> {
        for _ in 0..MAX_PER_CALL {
            let Some(parts) = socket::receive(&self.socket).map_err(|source| ReceiveError { source })? else { break };
            self.listeners.note(&parts);
        }
        Ok(())
    }

    /// Whether the broker listened to all topics when this was last serviced.
    pub(crate) fn is_heard(&self) -> bool {
        self.listeners.has_all()
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
