//! Ending one connection of a bound socket, for which ZeroMQ has no call.

use crate::socket::Source;
use core::net::IpAddr;
use rustix::net::{Shutdown, getpeername, shutdown};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::net::SocketAddr;

/// Ends the connection that something came by. ZeroMQ sees it as broken off by the peer.
///
/// # Errors
/// It has ended already, or the operating system does not let this process at its own descriptors.
pub(crate) fn hang_up(source: &Source) -> rustix::io::Result<()> {
    let number = source.connection.parse().map_err(|_| rustix::io::Errno::BADF)?;
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = pidfd_getfd(own, number, PidfdGetfdFlags::empty())?;
    // That number may be another connection's by now: one from elsewhere is left alone, one from there comes again.
    let peer = getpeername(&socket)?.and_then(|peer| SocketAddr::try_from(peer).ok());
    let address = source.address.parse::<IpAddr>().ok();
    if peer.map(|peer| peer.ip().to_canonical()) != address.map(|address| address.to_canonical()) {
        return Err(rustix::io::Errno::NOTCONN);
    }
    shutdown(&socket, Shutdown::Both)
}
