//! What the tests share: ports of their own, and waiting until something has happened.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use lkas_zmq::{Broker, BrokerOptions, Endpoint, Topic, ViewerClient, ViewerMessage};
use std::time::Instant;

/// Longer than anything takes on a machine that is busy with other tests; a test that waits this long fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// One wait within a loop that has a deadline.
pub const MOMENT: Duration = Duration::from_millis(10);

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A broker on ports of its own.
pub fn broker() -> Broker {
    broker_with(BrokerOptions::new)
}

pub fn broker_with(options: impl Fn(Endpoint) -> BrokerOptions) -> Broker {
    // Below the ports that the operating system hands out, and different for each test program.
    let start = (std::process::id() % 1500) as u16 * 6;
    for _ in 0..3000 {
        let offset = (start + NEXT.fetch_add(6, Ordering::Relaxed)) % 18_000;
        if let Ok(broker) = Broker::bind(options(Endpoint::local(12_000 + offset))) {
            return broker;
        }
    }
    panic!("no six free ports in a row");
}

/// An endpoint where nobody listens, for a broker that comes later.
pub fn free_endpoint() -> Endpoint {
    let broker = broker();
    let endpoint = broker.endpoint().clone();
    broker.close();
    endpoint
}

/// A broker there, as soon as whoever looks for free ports has left them.
#[track_caller]
pub fn bind(endpoint: &Endpoint) -> Broker {
    until("the ports of before", || Broker::bind(BrokerOptions::new(endpoint.clone())).ok())
}

/// Calls `step` until it returns something.
#[track_caller]
pub fn until<T>(what: &str, mut step: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(outcome) = step() {
            return outcome;
        }
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
    }
}

/// Polls the broker until `done`.
#[track_caller]
pub fn poll_until(what: &str, broker: &mut Broker, mut done: impl FnMut(&mut Broker) -> bool) {
    until(what, || {
        broker.poll();
        if done(broker) {
            return Some(());
        }
        let _ = broker.wait(MOMENT);
        None
    });
}

/// A viewer that is subscribed to everything that it reads and whose commands are heard.
pub fn viewer(broker: &mut Broker) -> ViewerClient {
    let mut viewer = ViewerClient::connect(broker.endpoint()).unwrap();
    poll_until("a viewer", broker, |broker| {
        let mut topics = Topic::ALL.into_iter().filter(|topic| !topic.is_typed());
        viewer.wait_connected(MOMENT).unwrap() && topics.all(|topic| broker.has_viewers(topic))
    });
    viewer
}

/// The next message for which `want` returns something, while the broker goes on.
#[track_caller]
pub fn next<T>(
    what: &str,
    broker: &mut Broker,
    viewer: &mut ViewerClient,
    mut want: impl FnMut(ViewerMessage) -> Option<T>,
) -> T {
    until(what, || {
        broker.poll();
        viewer.next(MOMENT).unwrap().and_then(&mut want)
    })
}

/// A plain ZeroMQ socket, as another program would have it.
pub fn plain(kind: zmq::SocketType, port: u16) -> zmq::Socket {
    let socket = zmq::Context::new().socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.connect(&format!("tcp://127.0.0.1:{port}")).unwrap();
    socket
}

/// A plain subscriber, counted as subscribed to `topics` by the broker only once it has been polled.
pub fn subscriber(port: u16, topics: &[&str]) -> zmq::Socket {
    let socket = plain(zmq::SUB, port);
    for topic in topics {
        socket.set_subscribe(topic.as_bytes()).unwrap();
    }
    socket
}

/// A plain publisher to which the broker listens already. Its subscription comes when it is polled.
#[track_caller]
pub fn publisher(broker: &mut Broker, port: fn(&Endpoint) -> u16) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::XPUB).unwrap();
    socket.set_linger(0).unwrap();
    // The broker's subscription is to be seen again when the connection had to be made anew.
    socket.set_xpub_verbose(true).unwrap();
    socket.connect(&format!("tcp://127.0.0.1:{}", port(broker.endpoint()))).unwrap();
    assert_eq!(receive(broker, &socket), [b"\x01"]);
    socket
}

/// The next message of a plain socket, while the broker goes on.
#[track_caller]
pub fn receive(broker: &mut Broker, socket: &zmq::Socket) -> Vec<Vec<u8>> {
    until("a message", || {
        broker.poll();
        (socket.poll(zmq::POLLIN, 10) == Ok(1)).then(|| socket.recv_multipart(0).unwrap())
    })
}
