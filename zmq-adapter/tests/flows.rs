//! Each flow from end to end, over real sockets.

mod support;

use core::time::Duration;
use lkas_messages::names::{Category, Name, PARAMETERS, Parameter};
use lkas_messages::{DetectionFields, Lane, VehicleStateFields};
use lkas_zmq::wire::{ActionStatus, Declaration, FrameHeader, ParameterStatus, vehicle_state};
use lkas_zmq::{
    ActionClient, BindError, Broadcast, Broker, BrokerOptions, Endpoint, ParameterClient, ParameterReport, Refusal,
    SendError, Topic, VehicleStatusClient, ViewerClient, ViewerMessage,
};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use support::{
    MOMENT, bind, broker, broker_with, free_endpoint, next, poll_until, publisher, receive, subscriber, until, viewer,
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn parameter_status(message: ViewerMessage) -> Option<ParameterStatus> {
    match message {
        ViewerMessage::ParameterStatus(status) => Some(status),
        _ => None,
    }
}

fn action_status(message: ViewerMessage) -> Option<ActionStatus> {
    match message {
        ViewerMessage::ActionStatus(status) => Some(status),
        _ => None,
    }
}

/// The answer on this parameter that is not the greeting.
fn answer(broker: &mut Broker, viewer: &mut ViewerClient, parameter: &str) -> ParameterStatus {
    next("an answer", broker, viewer, |message| {
        parameter_status(message).filter(|status| {
            status.parameter == parameter
                && !status.reason.as_ref().is_some_and(|reason| reason.contains("no server has said"))
        })
    })
}

fn kp() -> Declaration {
    let help = "steering for each unit of lateral offset".to_owned();
    Declaration { min: 0.0, max: 2.0, default: 0.5, unit: String::new(), help }
}

fn declared(name: &str) -> ParameterReport {
    ParameterReport { name: name.to_owned(), value: 0.5, declared: kp(), ..ParameterReport::default() }
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_frame_arrives_as_it_was_sent_and_only_if_somebody_is_subscribed() {
    let mut broker = broker();
    let header = FrameHeader { timestamp: 1.5, frame_id: 7, width: 800, height: 600, jpeg_size: 0 };
    assert_eq!(broker.broadcast_frame(&header, b"jpeg"), Broadcast::NoListener);
    let python = subscriber(broker.endpoint().broadcast_port(), &["fr"]);
    poll_until("a viewer", &mut broker, |broker| broker.has_viewers(Topic::Frame));
    assert!(!broker.has_viewers(Topic::Detection));
    assert_eq!(broker.broadcast_frame(&header, b"jpeg"), Broadcast::Sent);
    let parts = receive(&mut broker, &python);
    let object: Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!((parts.len(), &parts[0][..], &parts[2][..]), (3, &b"frame"[..], &b"jpeg"[..]));
    assert_eq!(object, json!({"timestamp": 1.5, "frame_id": 7, "width": 800, "height": 600, "jpeg_size": 4}));

    let mut viewer = viewer(&mut broker);
    assert_eq!(broker.broadcast_frame(&header, b"another"), Broadcast::Sent);
    let (header, jpeg) = next("the frame", &mut broker, &mut viewer, |message| match message {
        ViewerMessage::Frame { header, jpeg } => Some((header, jpeg)),
        _ => None,
    });
    assert_eq!((header.frame_id, header.jpeg_size, &jpeg[..]), (7, 7, &b"another"[..]));

    drop((python, viewer));
    poll_until("they left", &mut broker, |broker| !broker.has_viewers(Topic::Frame));
    let frames = &broker.statistics().broadcasts[&Topic::Frame];
    assert_eq!((frames.sent, frames.no_listener, frames.dropped), (2, 1, 0));
}

#[test]
fn a_detection_has_exactly_the_keys_that_viewers_expect() {
    let mut broker = broker();
    let python = subscriber(broker.endpoint().broadcast_port(), &["detection"]);
    poll_until("a viewer", &mut broker, |broker| broker.has_viewers(Topic::Detection));
    let lane = Lane { x1: 1.0, y1: 2.0, x2: 3.5, y2: 4.0, confidence: 0.5 };
    let fields =
        DetectionFields { left: Some(lane), frame_id: 9, processing_time_ms: 2.5, width: 800, ..Default::default() };
    assert!(broker.broadcast_detection(&fields).is_sent());
    let parts = receive(&mut broker, &python);
    assert_eq!((parts.len(), &parts[0][..]), (2, &b"detection"[..]));
    let object: Value = serde_json::from_slice(&parts[1]).unwrap();
    let left = json!({"x1": 1.0, "y1": 2.0, "x2": 3.5, "y2": 4.0, "confidence": 0.5});
    assert_eq!(object, json!({"left_lane": left, "right_lane": null, "processing_time_ms": 2.5, "frame_id": 9}));

    let wild = DetectionFields { processing_time_ms: f32::NAN, ..Default::default() };
    assert!(matches!(broker.broadcast_detection(&wild), Broadcast::Dropped(Refusal::Message(_))));
    assert_eq!(broker.statistics().broadcasts[&Topic::Detection].dropped, 1);
}

#[test]
fn vehicle_status_becomes_state_to_the_byte() {
    let mut broker = broker();
    let python = subscriber(broker.endpoint().broadcast_port(), &["state"]);
    poll_until("a viewer", &mut broker, |broker| broker.has_viewers(Topic::State));
    let simulation = publisher(&mut broker, Endpoint::vehicle_status_port);
    let object = br#"{"steering": -0.5, "throttle": 1, "brake":0.0,  "speed_kmh": 60, "position": [1, 2.5, 3],
        "rotation": null, "paused": false}"#;
    simulation.send_multipart([&b"vehicle_status"[..], object], 0).unwrap();
    assert_eq!(receive(&mut broker, &python), [b"state".to_vec(), object.to_vec()]);
    let last = broker.last_state().unwrap();
    let fields = last.status.fields.unwrap();
    assert_eq!((fields.throttle, fields.speed_kmh, fields.position), (1.0, 60.0, Some([1.0, 2.5, 3.0])));
    assert_eq!((fields.rotation, fields.paused), (None, Some(false)));
    assert!(last.received.elapsed() < support::PATIENCE);
    assert_eq!((broker.statistics().states.received, broker.statistics().states.forwarded), (1, 1));
}

#[test]
fn our_own_vehicle_status_and_state_have_exactly_the_keys_that_viewers_expect() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let mut simulation = VehicleStatusClient::connect(broker.endpoint()).unwrap();
    poll_until("the broker listens", &mut broker, |_| simulation.wait_connected(MOMENT).unwrap());
    let fields = VehicleStateFields { speed_kmh: 42.0, rotation: Some([1.0, 2.0, 3.0]), ..Default::default() };
    assert!(simulation.send(&fields).unwrap());
    let state = |message| match message {
        ViewerMessage::State(object) => Some(object),
        _ => None,
    };
    let expected = ["brake", "paused", "position", "rotation", "speed_kmh", "steering", "throttle"];
    for round in 0..2 {
        let object = next("the state", &mut broker, &mut viewer, state);
        let mut found = keys(&object);
        found.sort_unstable();
        assert_eq!(found, expected, "{round}");
        assert_eq!(vehicle_state(&object), Some(fields));
        assert!(broker.broadcast_state(&fields).is_sent());
    }
    let wild = VehicleStateFields { speed_kmh: f32::INFINITY, ..Default::default() };
    assert!(matches!(simulation.send(&wild), Err(SendError::Refused(_))));
    assert!(!broker.broadcast_state(&wild).is_sent());
}

#[test]
fn telemetry_is_any_bounded_object() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let object = json!({"departure": "centred", "nested": {"numbers": [1, 2.5, null]}});
    assert!(broker.broadcast_telemetry(&object).is_sent());
    let arrived = next("telemetry", &mut broker, &mut viewer, |message| match message {
        ViewerMessage::Telemetry(object) => Some(object),
        _ => None,
    });
    assert_eq!(arrived, object);
    assert_eq!(broker.broadcast_telemetry(&[1, 2]), Broadcast::Dropped(Refusal::NotAnObject));
    let large = json!({"text": "x".repeat(lkas_zmq::wire::MAX_JSON)});
    assert!(matches!(broker.broadcast_telemetry(&large), Broadcast::Dropped(Refusal::LargeObject { .. })));
}

#[test]
fn a_parameter_reaches_its_server_and_is_answered() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let (told, heard) = mpsc::channel();
    let subscriptions = broker.statistics().subscriptions.received;
    let mut server = ParameterClient::connect(broker.endpoint(), Category::Decision, move |parameter, value| {
        told.send((parameter.name, value)).unwrap();
    })
    .unwrap();
    poll_until("the server", &mut broker, |broker| broker.statistics().subscriptions.received >= subscriptions + 2);
    let id = viewer.send_parameter(Category::Decision, "kp", 0.75).unwrap();
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!(status.id, Some(json!(id)));
    // This server can't say that it has applied it: it only speaks the wire.
    let reason = Some("sent, not confirmed".to_owned());
    assert_eq!((status.value, status.accepted, status.confirmed, status.reason), (Some(0.75), true, false, reason));
    assert_eq!(status.category, "decision");
    poll_until("the server is told", &mut broker, |_| {
        server.wait(MOMENT).unwrap();
        server.poll().unwrap() > 0
    });
    assert_eq!(heard.try_recv(), Ok(("kp", 0.75)));

    // What a value may be is the server's to say: the broker passes on what it gets.
    viewer.send_parameter(Category::Decision, "kp", 99.0).unwrap();
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!((status.value, status.accepted), (Some(99.0), true));
    poll_until("the server is told", &mut broker, |_| {
        server.wait(MOMENT).unwrap();
        server.poll().unwrap() > 0
    });
    assert_eq!(heard.try_recv(), Ok(("kp", 2.0)), "the nearest value in the server's range");

    assert!(matches!(viewer.send_parameter(Category::Decision, "Canny low", 1.0), Err(SendError::Refused(_))));
    assert!(matches!(viewer.send_parameter(Category::Decision, "kp", f64::NAN), Err(SendError::Refused(_))));
    assert_eq!(server.arrivals().refused, 0);
}

#[test]
fn a_parameter_keeps_all_keys_and_gets_both_names() {
    let mut broker = broker();
    let server = subscriber(broker.endpoint().parameter_port(), &["detection"]);
    let viewer = publisher(&mut broker, Endpoint::parameter_request_port);
    // Polled until the subscription is known: nothing is replayed, since nothing was accepted.
    poll_until("the server", &mut broker, |broker| broker.statistics().subscriptions.received >= 1);
    // Whole seconds, which are the same as text; of a clock that is ahead, so that they do not grow old.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 60;
    for (sent, value) in [
        (
            json!({"category": "detection", "parameter": "canny_low", "value": 60, "timestamp": now, "who": "me"}),
            json!(60),
        ),
        (
            json!({"category": "detection", "name": "canny_low", "value": 60.0, "timestamp": now, "who": "me"}),
            json!(60.0),
        ),
        (
            json!({"category": "detection", "name": "canny_low", "value": 999.0, "timestamp": now, "who": "me"}),
            json!(999.0),
        ),
    ] {
        viewer.send_multipart([b"parameter".to_vec(), sent.to_string().into_bytes()], 0).unwrap();
        let parts = receive(&mut broker, &server);
        assert_eq!((parts.len(), &parts[0][..]), (2, &b"detection"[..]));
        let object: Value = serde_json::from_slice(&parts[1]).unwrap();
        let expected = json!({"category": "detection", "parameter": "canny_low", "name": "canny_low", "value": value,
            "timestamp": now, "who": "me"});
        assert_eq!(object, expected);
    }
}

#[test]
fn a_server_that_restarts_gets_the_values_in_force() {
    let mut broker = broker();
    assert_eq!(broker.set_parameter(Category::Detection, "canny_low", 20.0), Ok(20.0));
    assert_eq!(broker.set_parameter(Category::Detection, "canny_low", 30.0), Ok(30.0));
    assert_eq!(broker.set_parameter(Category::Detection, "smoothing_factor", 7.0), Ok(7.0));
    assert_eq!(broker.set_parameter(Category::Decision, "kd", 0.5), Ok(0.5));
    assert!(broker.set_parameter(Category::Decision, "no name", 0.5).is_err());
    assert_eq!(broker.set_parameter(Category::Decision, "kp", f64::NAN), Err(Refusal::NotFinite));
    // One stays, so that a second subscription to a topic that has one is seen, too.
    let _stays = subscriber(broker.endpoint().parameter_port(), &["detection"]);
    poll_until("the first", &mut broker, |broker| broker.statistics().subscriptions.received == 1);
    for _ in 0..2 {
        let (told, heard) = mpsc::channel();
        let mut server = ParameterClient::connect(broker.endpoint(), Category::Detection, move |parameter, value| {
            told.send((parameter.name, value)).unwrap();
        })
        .unwrap();
        let mut values = 0;
        poll_until("the values", &mut broker, |_| {
            values += server.poll().unwrap();
            values >= 2
        });
        let mut heard: Vec<_> = heard.try_iter().collect();
        heard.sort_by_key(|(name, _)| *name);
        assert_eq!(heard, [("canny_low", 30.0), ("smoothing_factor", 1.0)]);
    }
}

#[test]
fn what_a_server_refused_or_let_pass_is_not_said_to_its_successor() {
    let mut broker = broker_with(|endpoint| BrokerOptions::new(endpoint).command_age(Duration::from_secs(60)));
    let mut viewer = viewer(&mut broker);
    let report = |answers, refusal: Option<&str>| {
        let report = ParameterReport { asked: 0.75, answers, refusal: refusal.map(str::to_owned), ..declared("kp") };
        [report]
    };
    let subscriptions = |broker: &Broker| broker.statistics().subscriptions.received;
    let before = subscriptions(&broker);
    let first = subscriber(broker.endpoint().parameter_port(), &["decision"]);
    poll_until("the server", &mut broker, |broker| subscriptions(broker) > before);
    broker.report(Category::Decision, &report(0, None));
    viewer.send_parameter(Category::Decision, "kp", 0.75).unwrap();
    assert_eq!(receive(&mut broker, &first)[0], b"decision");
    // Who comes while it is not answered gets it, too; as the server that a restarted broker hears of late.
    let second = subscriber(broker.endpoint().parameter_port(), &["decision"]);
    assert_eq!(receive(&mut broker, &second)[0], b"decision");
    broker.report(Category::Decision, &report(1, Some("not while driving")));
    let refused = |message| parameter_status(message).filter(|status| !status.accepted);
    let status = next("the refusal", &mut broker, &mut viewer, refused);
    assert_eq!(status.reason.as_deref(), Some("not while driving"));
    // The marker is all that a third one gets: what comes before it would have come by then.
    let third = subscriber(broker.endpoint().parameter_port(), &["decision"]);
    poll_until("the third", &mut broker, |broker| subscriptions(broker) > before + 2);
    viewer.send_parameter(Category::Decision, "kp", 0.25).unwrap();
    let object: Value = serde_json::from_slice(&receive(&mut broker, &third)[1]).unwrap();
    assert_eq!(object["value"], 0.25);
}

#[test]
fn a_new_viewer_is_told_what_was_sent_and_what_nobody_knows() {
    let mut broker = broker();
    broker.set_parameter(Category::Decision, "kp", 1.25).unwrap();
    for _ in 0..2 {
        let mut viewer = viewer(&mut broker);
        let mut told = Vec::new();
        while told.len() < PARAMETERS.len() {
            let status = next("a value", &mut broker, &mut viewer, parameter_status);
            assert!(status.accepted);
            told.push((status.parameter, status.value));
        }
        for parameter in PARAMETERS {
            let value = (parameter.name == "kp").then_some(1.25);
            assert!(told.contains(&(parameter.name.to_owned(), value)), "{} in {told:?}", parameter.name);
        }
    }
}

#[test]
fn a_value_is_answered_when_its_server_reports_it_or_when_none_does() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let report = |value: f64, asked: f64, answers, refusal: Option<&str>| {
        [ParameterReport {
            name: "kp".into(),
            value,
            asked,
            answers,
            refusal: refusal.map(str::to_owned),
            declared: kp(),
        }]
    };
    broker.report(Category::Decision, &report(0.5, 0.0, 0, None));
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!((status.value, status.accepted, status.confirmed), (Some(0.5), true, true));
    assert_eq!(status.declared, Some(kp()));

    // What an earlier request led to is no answer to this one.
    viewer.send_parameter(Category::Decision, "kp", 99.0).unwrap();
    poll_until("the request", &mut broker, |broker| broker.statistics().parameters.received > 0);
    broker.report(Category::Decision, &report(0.75, 0.75, 1, None));
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!((status.value, status.reason), (Some(0.75), None));
    broker.report(Category::Decision, &report(2.0, 2.0, 2, None));
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!((status.value, status.accepted, status.confirmed), (Some(2.0), true, true));
    assert!(status.reason.unwrap().contains("99"));

    viewer.send_parameter(Category::Decision, "kp", 1.0).unwrap();
    poll_until("the request", &mut broker, |broker| broker.statistics().parameters.received > 1);
    broker.report(Category::Decision, &report(2.0, 1.0, 3, Some("not while driving")));
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!(
        (status.value, status.accepted, status.reason.as_deref()),
        (Some(2.0), false, Some("not while driving"))
    );

    viewer.send_parameter(Category::Decision, "kp", 1.5).unwrap();
    let status = answer(&mut broker, &mut viewer, "kp");
    assert_eq!((status.value, status.accepted), (Some(2.0), false));
    assert!(status.reason.unwrap().contains("nobody applied it"));
    assert_eq!(broker.parameter(Parameter::find(Category::Decision, "kp").unwrap()), 2.0);
}

#[test]
fn an_action_is_handled_forwarded_and_answered() {
    let mut broker = broker();
    let (told, heard) = mpsc::channel();
    broker.register_action(name("pause"), move |request| told.send(request.clone()).unwrap());
    let mut viewer = viewer(&mut broker);

    viewer.send_action(&name("pause")).unwrap();
    let status = next("an answer", &mut broker, &mut viewer, action_status);
    assert_eq!((status.action.as_str(), status.accepted, status.delivered), ("pause", true, false));
    assert_eq!(status.reason.as_deref(), Some("no simulation is subscribed"));
    assert_eq!(heard.try_iter().count(), 1);

    let mut simulation = ActionClient::connect(broker.endpoint()).unwrap();
    let before = broker.statistics().subscriptions.received;
    poll_until("the simulation", &mut broker, |broker| broker.statistics().subscriptions.received > before);
    viewer.send_action_with(&name("pause"), json!({"for": 3}).as_object().unwrap().clone()).unwrap();
    let status = next("an answer", &mut broker, &mut viewer, action_status);
    assert_eq!((status.accepted, status.delivered, status.reason), (true, true, None));
    let request = until("the action", || {
        simulation.wait(MOMENT).unwrap();
        simulation.poll().unwrap()
    });
    assert_eq!((request.action.as_str(), &request.params["for"]), ("pause", &json!(3)));
    assert_eq!(heard.try_recv().unwrap().params, request.params);
    // The vehicle has the last word, and says it as often as it likes.
    for _ in 0..2 {
        broker.report_refusal(request.number().unwrap(), "it came too late");
        broker.report_refusal(1, "another's");
    }
    let status = next("another answer", &mut broker, &mut viewer, action_status);
    assert_eq!((status.action.as_str(), status.accepted, status.delivered), ("pause", false, true));
    assert_eq!(status.reason.as_deref(), Some("it came too late"));

    viewer.send_action(&name("explode")).unwrap();
    let status = next("an answer", &mut broker, &mut viewer, action_status);
    assert_eq!((status.action.as_str(), status.accepted, status.delivered), ("explode", false, false));
    assert!(status.reason.unwrap().contains("explode"));
    assert_eq!(simulation.poll().unwrap(), None);
    let actions = broker.statistics().actions;
    assert_eq!((actions.received, actions.forwarded, actions.refused), (3, 1, 1));
    assert_eq!(actions.last_refusal, Some(Refusal::UnknownAction { action: "explode".to_owned() }));
}

#[test]
fn an_action_without_params_and_timestamp_gets_them() {
    let mut broker = broker();
    broker.register_action(name("respawn"), |_| ());
    let simulation = subscriber(broker.endpoint().action_port(), &["action"]);
    let viewer = publisher(&mut broker, Endpoint::action_request_port);
    poll_until("the simulation", &mut broker, |broker| broker.statistics().subscriptions.received == 1);
    viewer.send_multipart([&b"action"[..], br#"{"action": "respawn", "who": "me"}"#], 0).unwrap();
    let parts = receive(&mut broker, &simulation);
    let object: Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!(parts[0], b"action");
    assert_eq!((&object["action"], &object["params"], &object["who"]), (&json!("respawn"), &json!({}), &json!("me")));
    assert!(object["timestamp"].is_f64());
}

#[test]
fn commands_from_before_the_broker_are_not_lost() {
    let endpoint = free_endpoint();
    let mut viewer = ViewerClient::connect(&endpoint).unwrap();
    assert!(!viewer.wait_connected(Duration::ZERO).unwrap());
    viewer.send_action(&name("pause")).unwrap();
    viewer.send_action(&name("resume")).unwrap();
    viewer.send_parameter(Category::Decision, "kp", 0.25).unwrap();
    viewer.send_parameter(Category::Decision, "kp", 0.5).unwrap();
    viewer.send_parameter(Category::Detection, "canny_low", 9.0).unwrap();
    for _ in 2..16 {
        viewer.send_action(&name("pause")).unwrap();
    }
    assert_eq!(viewer.send_action(&name("pause")), Err(SendError::Full { kept: 16 }));

    let mut broker = bind(&endpoint);
    broker.report(Category::Decision, &[declared("kp")]);
    broker.report(Category::Detection, &[declared("canny_low")]);
    let (told, heard) = mpsc::channel();
    for action in ["pause", "resume"] {
        let told = told.clone();
        broker.register_action(name(action), move |request| told.send(request.action.to_string()).unwrap());
    }
    poll_until("the commands", &mut broker, |broker| {
        viewer.next(MOMENT).unwrap();
        let statistics = broker.statistics();
        statistics.actions.received == 16 && statistics.parameters.received == 2
    });
    assert_eq!(heard.try_iter().take(3).collect::<Vec<_>>(), ["pause", "resume", "pause"]);
    assert_eq!((broker.statistics().parameters.refused, viewer.expired()), (0, 0));
}

#[test]
fn a_first_command_to_a_running_broker_is_not_lost_either() {
    let mut broker = broker();
    for round in 1..=10 {
        let mut viewer = ViewerClient::connect_to(broker.endpoint(), &[]).unwrap();
        viewer.send_parameter(Category::Decision, "kp", 0.5).unwrap();
        poll_until("the command", &mut broker, |broker| {
            assert_eq!(viewer.next(Duration::ZERO).unwrap(), None);
            broker.statistics().parameters.received == round
        });
    }
}

#[test]
fn ports_in_use_are_named_and_what_was_bound_before_is_released() {
    let endpoint = free_endpoint();
    let last = std::net::TcpListener::bind(("127.0.0.1", endpoint.vehicle_status_port())).unwrap();
    let options = BrokerOptions::new(endpoint.clone());
    let error = Broker::bind(options.clone()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
    assert!(text.contains(&endpoint.vehicle_status_port().to_string()) && text.contains("in use"), "{text}");
    for port in endpoint.broadcast_port()..endpoint.vehicle_status_port() {
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
    drop(last);
    drop(Broker::bind(options.clone()).unwrap());
    Broker::bind(options).unwrap().close();
}

#[test]
fn endpoints_that_are_no_address_are_errors() {
    for (host, base_port) in [("", 5557), ("a b", 5557), ("a\0b", 5557), ("localhost", 0), ("localhost", 65531)] {
        let endpoint = Endpoint { host: host.to_owned(), base_port, keys: None };
        assert!(Broker::bind(BrokerOptions::new(endpoint.clone())).is_err(), "{endpoint}");
        assert!(ViewerClient::connect(&endpoint).is_err(), "{endpoint}");
    }
    // Documentation addresses are nobody's.
    let endpoint = Endpoint { host: "192.0.2.1".to_owned(), ..Endpoint::default() };
    let error = Broker::bind(BrokerOptions::new(endpoint).insecure(true)).unwrap_err();
    assert!(matches!(error, BindError::Socket { .. }) && error.to_string().contains("192.0.2.1"), "{error}");
}

#[test]
fn binds_to_this_machine_only() {
    let broker = broker();
    let port = broker.endpoint().broadcast_port();
    // If every interface were bound, this one would be taken as well.
    std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
}

#[test]
fn waiting_ends_with_a_message_or_in_time() {
    let mut broker = broker();
    let start = Instant::now();
    assert!(!broker.wait(Duration::from_millis(30)));
    assert!(start.elapsed() >= Duration::from_millis(30));
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    sender.send_multipart([&b"action"[..], b"{}"], 0).unwrap();
    assert!(broker.wait(support::PATIENCE));
    assert_eq!(broker.poll().actions, 1);
    assert_eq!(broker.poll().total(), 0);
}

#[test]
fn an_action_that_was_asked_for_long_ago_is_refused() {
    let mut broker = broker();
    broker.register_action(name("pause"), |_| panic!("it must not be executed"));
    let mut viewer = viewer(&mut broker);
    let context = zmq::Context::new();
    let sender = context.socket(zmq::PUB).unwrap();
    sender.connect(&format!("tcp://127.0.0.1:{}", broker.endpoint().action_request_port())).unwrap();
    let hour_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - 3600.0;
    let object = json!({"action": "pause", "timestamp": hour_ago}).to_string();
    // Until the connection is there, what is sent is lost.
    poll_until("the request", &mut broker, |broker| {
        sender.send_multipart(["action", &object], 0).unwrap();
        broker.statistics().actions.received > 0
    });
    let status = next("an answer", &mut broker, &mut viewer, action_status);
    assert_eq!((status.accepted, status.delivered), (false, false));
    assert!(status.reason.as_ref().unwrap().contains(" s ago, which is too long"), "{status:?}");
}
