//! Foreign bytes: each is refused by name and counted, and everything goes on.

mod support;

use core::time::Duration;
use lkas_messages::NameError;
use lkas_messages::names::Category;
use lkas_zmq::wire::{MAX_JSON, ParameterStatus};
use lkas_zmq::{
    ActionClient, Arrivals, Broker, Endpoint, ParameterClient, ParameterReport, Refusal, Statistics, Topic,
    ViewerClient, ViewerMessage,
};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use support::{MOMENT, PATIENCE, broker, free_endpoint, next, poll_until, publisher, subscriber, until, viewer};

#[test]
fn who_connects_and_says_nothing_is_let_go() {
    let broker = broker();
    let endpoint = broker.endpoint();
    let connect = |port| {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // Less than the half minute that ZeroMQ waits by itself.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let silent = [0, 1, 2, 3, 4, 5].map(|place| connect(endpoint.base_port + place));
    for mut stream in silent {
        let mut greeting = Vec::new();
        let end = stream.read_to_end(&mut greeting);
        assert!(end.is_ok(), "{:?} is still connected after {PATIENCE:?}: {end:?}", stream.peer_addr());
    }
}

/// What a subscriber without keys says before anything else (ZMTP 3.0, <https://rfc.zeromq.org/spec/23>).
fn hello() -> Vec<u8> {
    let mut hello = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0], b"NULL".as_slice()].concat();
    hello.resize(64, 0);
    hello.extend(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
    hello
}

#[test]
fn who_subscribes_to_ever_more_that_there_is_not_is_let_go() {
    let mut broker = broker();
    let mut patient = viewer(&mut broker);
    let mut stream = TcpStream::connect(("127.0.0.1", broker.endpoint().base_port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&hello()).unwrap();
    // Nothing may follow before the other side has said as much: its greeting, and READY of an XPUB.
    stream.read_exact(&mut [0; 64 + 28]).unwrap();
    stream.set_read_timeout(Some(MOMENT)).unwrap();
    let mut number = 0_u32;
    poll_until("the end of the connection", &mut broker, |_| {
        number += 1;
        // It may have ended between the two.
        let written = stream.write_all(format!("\0\x09\x01{number:08}").as_bytes());
        written.is_err() || matches!(stream.read(&mut [0; 256]), Ok(0))
    });
    assert!(number > 64, "{number}");
    let said = json!({"still": "here"});
    let _ = broker.broadcast_telemetry(&said);
    let heard = next("what another viewer gets", &mut broker, &mut patient, |message| match message {
        ViewerMessage::Telemetry(heard) => Some(heard),
        _ => None,
    });
    assert_eq!(json!(heard), said);
}

type Parts = Vec<Vec<u8>>;
/// A message, and whether this is the reason for refusing it.
type Malformed = (Parts, fn(&Refusal) -> bool);

fn message(topic: &str, object: impl Into<Vec<u8>>) -> Parts {
    vec![topic.as_bytes().to_vec(), object.into()]
}

fn nested(depth: usize) -> Vec<u8> {
    format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
}

/// Messages that are malformed on whatever topic.
fn malformed(topic: &'static str) -> Vec<Malformed> {
    vec![
        (vec![topic.as_bytes().to_vec()], |r| matches!(r, Refusal::Parts { found: 1, expected: 2 })),
        (vec![topic.as_bytes().to_vec(), b"{}".to_vec(), vec![]], |r| matches!(r, Refusal::Parts { found: 3, .. })),
        (vec![topic.as_bytes().to_vec(); 40], |r| matches!(r, Refusal::Parts { found: 4, .. })),
        (message("elsewhere", "{}"), |r| matches!(r, Refusal::Topic { found, .. } if found == "elsewhere")),
        (message("", "{}"), |r| matches!(r, Refusal::Topic { .. })),
        (vec![vec![0xff; 100], b"{}".to_vec()], |r| matches!(r, Refusal::Topic { .. })),
        (message(topic, ""), |r| matches!(r, Refusal::NotJson { .. })),
        (message(topic, "{"), |r| matches!(r, Refusal::NotJson { .. })),
        (message(topic, "{\"a\": 1e999}"), |r| matches!(r, Refusal::NotJson { .. })),
        (message(topic, b"{\"a\": \"\xff\"}".to_vec()), |r| matches!(r, Refusal::NotJson { .. })),
        (message(topic, nested(1000)), |r| matches!(r, Refusal::NotJson { .. })),
        (message(topic, "[NaN"), |r| matches!(r, Refusal::NotJson { .. })),
        (message(topic, "[1]"), |r| matches!(r, Refusal::NotAnObject)),
        (message(topic, "null"), |r| matches!(r, Refusal::NotAnObject)),
        (
            message(topic, vec![b' '; MAX_JSON + 1]),
            |r| matches!(r, Refusal::LargeObject { size } if *size == MAX_JSON + 1),
        ),
    ]
}

/// Sends each and waits until it is counted.
fn check(
    broker: &mut Broker,
    port: fn(&Endpoint) -> u16,
    arrivals: fn(&Statistics) -> &Arrivals,
    messages: Vec<Malformed>,
) {
    let sender = publisher(broker, port);
    for (refused, (parts, is_reason)) in (arrivals(&broker.statistics()).refused + 1..).zip(messages) {
        let text = String::from_utf8_lossy(parts.last().unwrap()).chars().take(80).collect::<String>();
        sender.send_multipart(parts, 0).unwrap();
        poll_until(&text, broker, |broker| arrivals(&broker.statistics()).refused == refused);
        let last = arrivals(&broker.statistics()).last_refusal.clone().unwrap();
        assert!(is_reason(&last), "{text}: {last:?}");
        assert!(!last.to_string().is_empty());
    }
}

#[test]
fn malformed_actions_are_counted_by_reason() {
    let mut broker = broker();
    let mut messages = malformed("action");
    messages.extend::<[Malformed; 7]>([
        (message("action", "{}"), |r| matches!(r, Refusal::Missing { key: "action" })),
        (message("action", "{\"action\": 1}"), |r| matches!(r, Refusal::WrongKind { key: "action", .. })),
        (message("action", "{\"action\": \"Pause!\"}"), |r| matches!(r, Refusal::Name(NameError::Character { .. }))),
        (message("action", "{\"action\": \"pause\", \"params\": 1}"), |r| {
            matches!(r, Refusal::WrongKind { key: "params", .. })
        }),
        (message("action", "{\"action\": \"pause\", \"timestamp\": \"now\"}"), |r| {
            matches!(r, Refusal::WrongKind { key: "timestamp", .. })
        }),
        (message("action", "{\"action\": \"pause\", \"params\": {\"x\": -Infinity}}"), |r| *r == Refusal::NotFinite),
        (message("action", "{\"action\": \"explode\"}"), |r| matches!(r, Refusal::UnknownAction { .. })),
    ]);
    broker.register_action("pause".parse().unwrap(), |_| panic!("nothing well-formed was sent"));
    check(&mut broker, Endpoint::action_request_port, |statistics| &statistics.actions, messages);
}

#[test]
fn malformed_parameters_are_counted_by_reason() {
    let mut broker = broker();
    let kp = ParameterReport { name: "kp".to_owned(), ..ParameterReport::default() };
    broker.report(Category::Decision, &[kp]);
    let mut messages = malformed("parameter");
    let number = |value: &str| format!("{{\"category\": \"decision\", \"parameter\": \"kp\", \"value\": {value}}}");
    messages.extend::<[Malformed; 11]>([
        (message("parameter", "{}"), |r| matches!(r, Refusal::Missing { key: "category" })),
        (message("parameter", "{\"category\": \"decision\"}"), |r| matches!(r, Refusal::Missing { key: "parameter" })),
        (message("parameter", "{\"category\": \"decision\", \"name\": []}"), |r| {
            matches!(r, Refusal::WrongKind { key: "name", .. })
        }),
        (message("parameter", "{\"category\": \"decision\", \"name\": \"kp\"}"), |r| {
            matches!(r, Refusal::Missing { key: "value" })
        }),
        (message("parameter", number("\"1\"")), |r| matches!(r, Refusal::WrongKind { key: "value", .. })),
        (message("parameter", number("true")), |r| matches!(r, Refusal::WrongKind { key: "value", .. })),
        (message("parameter", number("null")), |r| matches!(r, Refusal::WrongKind { key: "value", .. })),
        (message("parameter", number("NaN")), |r| *r == Refusal::NotFinite),
        (message("parameter", number("1, \"note\": \"\\\"NaN\", \"extra\": Infinity")), |r| *r == Refusal::NotFinite),
        (message("parameter", number("1").replace("decision", "steering")), |r| matches!(r, Refusal::NoServer { .. })),
        (message("parameter", number("1").replace("kp", "canny_low")), |r| matches!(r, Refusal::NotDeclared { .. })),
    ]);
    check(&mut broker, Endpoint::parameter_request_port, |statistics| &statistics.parameters, messages);
    assert_eq!(broker.statistics().parameters.forwarded, 0);
}

#[test]
fn malformed_vehicle_status_is_counted_by_reason_and_not_passed_on() {
    let mut broker = broker();
    let viewer = subscriber(broker.endpoint().broadcast_port(), &["state"]);
    poll_until("a viewer", &mut broker, |broker| broker.has_viewers(Topic::State));
    let mut messages = malformed("vehicle_status");
    messages.push((message("vehicle_status", "{\"speed_kmh\": NaN}"), |r| *r == Refusal::NotFinite));
    check(&mut broker, Endpoint::vehicle_status_port, |statistics| &statistics.states, messages);
    assert!(broker.last_state().is_none());
    // What is odd, but an object, is passed on; the first thing that arrives is this one.
    let sender = publisher(&mut broker, Endpoint::vehicle_status_port);
    sender.send_multipart(message("vehicle_status", "{\"text\": \"NaN\"}"), 0).unwrap();
    assert_eq!(support::receive(&mut broker, &viewer), message("state", "{\"text\": \"NaN\"}"));
    assert_eq!(broker.last_state().unwrap().status.fields, None);
}

#[test]
fn a_refused_parameter_is_answered_with_the_value_in_force() {
    let mut broker = broker();
    broker.report(
        Category::Decision,
        &[ParameterReport { name: "kp".to_owned(), value: 1.5, ..ParameterReport::default() }],
    );
    let mut viewer = viewer(&mut broker);
    let sender = publisher(&mut broker, Endpoint::parameter_request_port);
    let mut ask = |object: &str| -> ParameterStatus {
        sender.send_multipart(message("parameter", object), 0).unwrap();
        next("an answer", &mut broker, &mut viewer, |message| match message {
            ViewerMessage::ParameterStatus(status) if !status.accepted => Some(status),
            _ => None,
        })
    };
    let status = ask("{\"category\": \"decision\", \"parameter\": \"kp\", \"value\": NaN}");
    assert_eq!((status.parameter.as_str(), status.value), ("kp", Some(1.5)));
    assert!(status.reason.unwrap().contains("NaN"));
    let status = ask("{\"category\": \"decision\", \"parameter\": \"nothing\", \"value\": 1}");
    assert_eq!((status.parameter.as_str(), status.value), ("nothing", None));
    assert!(status.reason.unwrap().contains("it has kp"));
    let long = "x".repeat(10_000);
    let status = ask(&json!({"category": long, "parameter": long, "value": 1}).to_string());
    assert_eq!((status.category.len(), status.value), (64, None));
}

#[test]
fn a_part_far_too_large_costs_its_sender_the_connection_and_nobody_else() {
    let mut broker = broker();
    broker.register_action("pause".parse().unwrap(), |_| ());
    let bystander = publisher(&mut broker, Endpoint::action_request_port);
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    sender.send_multipart(message("action", vec![b' '; 8 * MAX_JSON]), 0).unwrap();
    // It finds its way back by itself: the subscription comes a second time.
    assert_eq!(support::receive(&mut broker, &sender), [b"\x01"]);
    for socket in [&bystander, &sender] {
        socket.send_multipart(message("action", "{\"action\": \"pause\"}"), 0).unwrap();
    }
    poll_until("both actions", &mut broker, |broker| broker.statistics().actions.received == 2);
    assert_eq!(broker.statistics().actions.refused, 0);
}

#[test]
fn odd_subscribers_are_counted_and_harmless() {
    let mut broker = broker();
    let odd = support::plain(zmq::XSUB, broker.endpoint().parameter_port());
    for bytes in [&b"hello"[..], b"\x01detection", b"\x01\xff\xff", b"\x00never"] {
        odd.send(bytes, 0).unwrap();
    }
    poll_until("the odd ones", &mut broker, |broker| broker.statistics().subscriptions.received >= 3);
    assert_eq!(broker.statistics().subscriptions.refused, 1);
    assert_eq!(broker.set_parameter(Category::Detection, "canny_low", 3.0), Ok(3.0));
    assert_eq!(support::receive(&mut broker, &odd)[0], b"detection");
}

/// A stranger at a broker's port that clients connect to.
fn stranger(port: u16) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::XPUB).unwrap();
    socket.set_linger(0).unwrap();
    socket.bind(&format!("tcp://127.0.0.1:{port}")).unwrap();
    socket
}

#[test]
fn clients_count_malformed_messages_and_go_on() {
    let endpoint = free_endpoint();
    let parameters = stranger(endpoint.parameter_port());
    let mut server = ParameterClient::connect(&endpoint, Category::Decision, |parameter, value| {
        assert_eq!((parameter.name, value), ("kp", 2.0));
    })
    .unwrap();
    parameters.recv_bytes(0).unwrap();
    let kp = json!({"category": "decision", "parameter": "kp", "value": 7}).to_string();
    // Sent to everybody whose subscription is a prefix of it.
    parameters.send_multipart(message("decisions", kp.clone()), 0).unwrap();
    parameters.send_multipart(message("decision", kp.replace('7', "NaN")), 0).unwrap();
    parameters.send_multipart(message("decision", kp.replace("decision", "detection")), 0).unwrap();
    parameters.send_multipart(message("decision", kp), 0).unwrap();
    let mut values = 0;
    until("the value", || {
        server.wait(MOMENT).unwrap();
        values += server.poll().unwrap();
        (values == 1).then_some(())
    });
    assert_eq!((server.arrivals().received, server.arrivals().refused), (4, 3));

    let actions = stranger(endpoint.action_port());
    let mut simulation = ActionClient::connect(&endpoint).unwrap();
    actions.recv_bytes(0).unwrap();
    actions.send_multipart(message("action", "[]"), 0).unwrap();
    actions.send_multipart(message("action", "{\"action\": \"pause\"}"), 0).unwrap();
    let request = until("the action", || {
        simulation.wait(MOMENT).unwrap();
        simulation.poll().unwrap()
    });
    assert_eq!((request.action.as_str(), request.params.len(), request.timestamp), ("pause", 0, None));
    assert_eq!(simulation.arrivals().last_refusal, Some(Refusal::NotAnObject));

    let broadcasts = stranger(endpoint.broadcast_port());
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::Frame, Topic::Detection, Topic::State]).unwrap();
    for _ in 0..3 {
        broadcasts.recv_bytes(0).unwrap();
    }
    let frame = |size| json!({"timestamp": 1, "frame_id": 2.0, "width": 3, "height": 4, "jpeg_size": size}).to_string();
    broadcasts.send_multipart(message("frame", frame(4)), 0).unwrap();
    broadcasts.send_multipart([&b"frame"[..], frame(5).as_bytes(), b"jpeg"], 0).unwrap();
    broadcasts.send_multipart(message("detection", "{\"left_lane\": null}"), 0).unwrap();
    broadcasts.send_multipart(message("stated", "{}"), 0).unwrap();
    broadcasts.send_multipart(message("state", "{\"speed_kmh\": Infinity}"), 0).unwrap();
    broadcasts.send_multipart([&b"frame"[..], frame(4).as_bytes(), b"jpeg"], 0).unwrap();
    let message = until("the frame", || viewer.next(Duration::from_millis(10)).unwrap());
    assert!(matches!(message, ViewerMessage::Frame { header, .. } if header.frame_id == 2), "{message:?}");
    assert_eq!((viewer.arrivals().received, viewer.arrivals().refused), (6, 5));
}
