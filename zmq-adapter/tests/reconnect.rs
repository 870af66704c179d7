//! Clients find their broker again, whatever was at its ports in between.

mod support;

use core::time::Duration;
use lkas_messages::names::Category;
use lkas_zmq::{SendError, Topic, ViewerClient, ViewerMessage};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;
use support::{MOMENT, bind, free_endpoint, next, poll_until, until, viewer};

#[test]
fn a_restarted_broker_is_found_again() {
    let mut broker = support::broker();
    let endpoint = broker.endpoint().clone();
    let mut viewer = viewer(&mut broker);
    broker.close();
    let start = Instant::now();
    until("the loss is noticed", || {
        viewer.next(MOMENT).unwrap();
        (!viewer.is_connected()).then_some(())
    });
    // From the connection itself, not from giving up on it: until then, commands would be sent into nothing.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    // Its connections end one after another.
    until("what is asked for is refused", || {
        viewer.next(MOMENT).unwrap();
        (viewer.send_parameter(Category::Decision, "kp", 0.25) == Err(SendError::Outage)).then_some(())
    });
    let mut broker = bind(&endpoint);
    poll_until("the viewer is back", &mut broker, |broker| {
        viewer.wait_connected(MOMENT).unwrap() && broker.has_viewers(Topic::Telemetry)
    });
    viewer.send_parameter(Category::Decision, "kp", 0.25).unwrap();
    poll_until("the command", &mut broker, |broker| broker.statistics().parameters.received == 1);
}

#[test]
fn an_outage_of_one_connection_is_none_of_another() {
    let endpoint = free_endpoint();
    let listen = |port: u16| {
        let socket = zmq::Context::new().socket(zmq::SUB).unwrap();
        socket.set_subscribe(b"").unwrap();
        socket.bind(&format!("tcp://127.0.0.1:{port}")).unwrap();
        socket
    };
    let actions = listen(endpoint.action_request_port());
    let parameters = listen(endpoint.parameter_request_port());
    let mut viewer = ViewerClient::connect(&endpoint).unwrap();
    until("the viewer is heard", || {
        // A connection that came in is looked at when its socket is.
        for socket in [&actions, &parameters] {
            socket.poll(zmq::POLLIN, 0).unwrap();
        }
        viewer.wait_connected(MOMENT).unwrap().then_some(())
    });
    drop(parameters);
    until("the loss is noticed", || {
        viewer.next(MOMENT).unwrap();
        (!viewer.is_connected()).then_some(())
    });
    assert_eq!(viewer.send_parameter(Category::Decision, "kp", 0.25), Err(SendError::Outage));
    viewer.send_action(&"pause".parse().unwrap()).unwrap();
    assert_eq!(actions.recv_bytes(0).unwrap(), b"action");
}

#[test]
fn a_stranger_at_the_ports_does_not_make_a_client_deaf_for_ever() {
    let endpoint = free_endpoint();
    let strangers: Vec<_> =
        (0..6).map(|port| TcpListener::bind(("127.0.0.1", endpoint.base_port + port)).unwrap()).collect();
    let mut viewer = ViewerClient::connect(&endpoint).unwrap();
    // Three connections come; each is greeted in a way of ZeroMQ's that no peer of this kind has.
    let mut greeting = vec![0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..20].copy_from_slice(b"NONSENSE");
    for stranger in strangers.iter().take(3) {
        let (mut connection, _) = stranger.accept().unwrap();
        connection.write_all(&greeting).unwrap();
        // Until the client has given up on it.
        connection.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        let _ = connection.read_to_end(&mut bytes);
    }
    drop(strangers);
    let mut broker = bind(&endpoint);
    poll_until("the viewer", &mut broker, |broker| {
        viewer.wait_connected(MOMENT).unwrap() && viewer.next(MOMENT).is_ok() && broker.has_viewers(Topic::Frame)
    });
}

#[test]
fn an_oversized_broadcast_does_not_make_a_viewer_deaf_for_ever() {
    let endpoint = free_endpoint();
    let stranger = zmq::Context::new().socket(zmq::XPUB).unwrap();
    stranger.set_linger(0).unwrap();
    stranger.bind(&format!("tcp://127.0.0.1:{}", endpoint.base_port)).unwrap();
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::Telemetry]).unwrap();
    assert_eq!(stranger.recv_bytes(0).unwrap(), b"\x01telemetry");
    stranger.send_multipart([b"telemetry".to_vec(), vec![b' '; lkas_zmq::wire::MAX_JPEG + 1]], 0).unwrap();
    until("the viewer leaves", || {
        viewer.next(MOMENT).unwrap();
        (stranger.recv_bytes(zmq::DONTWAIT).as_deref() == Ok(b"\x00telemetry")).then_some(())
    });
    drop(stranger);
    let mut broker = bind(&endpoint);
    poll_until("the viewer", &mut broker, |broker| {
        viewer.next(MOMENT).unwrap();
        broker.has_viewers(Topic::Telemetry)
    });
    assert!(broker.broadcast_telemetry(&serde_json::json!({"a": 1})).is_sent());
    next("telemetry", &mut broker, &mut viewer, |message| matches!(message, ViewerMessage::Telemetry(_)).then_some(()));
}
