//! Commands: each is answered, none is done late, an emergency stop always gets through, and who may command is known.

mod support;

use core::time::Duration;
use lkas_messages::VehicleStateFields;
use lkas_messages::names::Category;
use lkas_zmq::wire::{ActionStatus, EMERGENCY_STOP, EMERGENCY_STOP_REASON, ParameterStatus};
use lkas_zmq::{
    ActionClient, BindError, Broker, BrokerOptions, Endpoint, ParameterClient, ParameterReport, Refusal, SendError,
    Topic, VehicleStatusClient, ViewerClient, ViewerMessage,
};
use serde_json::{Value, json};
use std::sync::mpsc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use support::{MOMENT, bind, broker, free_endpoint, next, poll_until, publisher, receive, subscriber, until, viewer};

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn action(message: ViewerMessage) -> Option<ActionStatus> {
    match message {
        ViewerMessage::ActionStatus(status) => Some(status),
        _ => None,
    }
}

fn parameter(message: ViewerMessage) -> Option<ParameterStatus> {
    match message {
        ViewerMessage::ParameterStatus(status) if status.id.is_some() => Some(status),
        _ => None,
    }
}

fn declared(name: &str, value: f64) -> ParameterReport {
    ParameterReport { name: name.to_owned(), value, ..ParameterReport::default() }
}

#[test]
fn every_action_is_answered_with_its_own_reason_and_its_id() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    let cases: [(&[&str], Value, &str); 6] = [
        (&["action", r#"{"action": "pause", "id": 7}"#], json!(7), "nobody registered the action \"pause\""),
        (&["action", r#"{"action": 66, "id": "a"}"#], json!("a"), "\"action\" is not a string"),
        (&[r#"{"action": "pause", "id": "b"}"#], json!("b"), "nobody registered the action \"pause\""),
        (&["action"], Value::Null, "a message of 1 parts, expected 2"),
        (&["action", "pause"], Value::Null, "no JSON"),
        (&["action", r#"{"action": "pause", "id": ["a"], "params": 1}"#], Value::Null, "\"params\" is not an object"),
    ];
    for (parts, id, reason) in cases {
        sender.send_multipart(parts, 0).unwrap();
        let status = next("an answer", &mut broker, &mut viewer, action);
        assert!(!status.accepted && status.reason.as_ref().unwrap().contains(reason), "{parts:?}: {status:?}");
        assert_eq!(status.id.unwrap_or_default(), id, "{parts:?}");
    }
}

#[test]
fn every_parameter_is_answered_with_its_own_reason_and_its_id() {
    let mut broker = broker();
    broker.report("decision", &[declared("kp", 0.5)]);
    let mut viewer = viewer(&mut broker);
    let sender = publisher(&mut broker, Endpoint::parameter_request_port);
    for (value, category, name, reason) in [
        (json!("66"), "decision", "kp", "\"value\" is not a number; send it without quotation marks"),
        (json!(null), "decision", "kp", "\"value\" is not a number"),
        (json!(1), "decision", "ki", "\"ki\" is no parameter of this server; it has kp"),
        (json!(1), "planning", "speed", "no server has parameters of \"planning\""),
        (json!(1), "decision", "K P", "a name with 'K' in it"),
    ] {
        let object = json!({"category": category, "parameter": name, "value": value, "id": name}).to_string();
        sender.send_multipart(["parameter", &object], 0).unwrap();
        let status = next("an answer", &mut broker, &mut viewer, parameter);
        assert!(!status.accepted && status.reason.as_ref().unwrap().contains(reason), "{status:?}");
        let of = (status.category.as_str(), status.parameter.as_str(), status.id);
        assert_eq!(of, (category, name, Some(json!(name))));
    }
    sender.send_multipart(["parameter"], 0).unwrap();
    let status = next("an answer", &mut broker, &mut viewer, |message| match message {
        ViewerMessage::ParameterStatus(status) if !status.accepted => Some(status),
        _ => None,
    });
    assert!(status.reason.unwrap().contains("parts"));
}

#[test]
fn of_two_values_that_come_together_the_older_is_answered_too() {
    let mut broker = broker();
    broker.report("decision", &[declared("kp", 0.5)]);
    let mut viewer = viewer(&mut broker);
    let older = viewer.send_parameter("decision", "kp", 0.6).unwrap();
    let newer = viewer.send_parameter("decision", "kp", 0.7).unwrap();
    let mut reasons = std::collections::BTreeMap::new();
    // The viewer itself keeps only the newest answer on a parameter, so each is taken as it comes.
    until("both answers", || {
        broker.poll();
        while let Some(message) = viewer.next(MOMENT).unwrap() {
            if let Some(status) = parameter(message) {
                reasons.insert(status.id.unwrap().as_str().unwrap().to_owned(), status.reason);
            }
        }
        reasons.contains_key(&older).then_some(())
    });
    assert!(reasons[&older].as_ref().unwrap().contains("replaced by a newer value"));
    assert!(reasons.get(&newer).is_none_or(|why| why.as_ref().unwrap().contains("nobody applied it")));
}

#[test]
fn a_category_that_only_a_subscription_makes_known_is_routed() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let before = broker.statistics().subscriptions.received;
    let server = subscriber(broker.endpoint().parameter_port(), &["planning"]);
    poll_until("the server", &mut broker, |broker| broker.statistics().subscriptions.received > before);
    viewer.send_parameter("planning", "look_ahead", 1e6).unwrap();
    let parts = receive(&mut broker, &server);
    let object: Value = serde_json::from_slice(&parts[1]).unwrap();
    assert_eq!((&parts[0][..], &object["value"]), (&b"planning"[..], &json!(1_000_000)));
    for own in ["id", "tick", "client"] {
        assert_eq!(object.get(own), None, "what is meant for the broker ends there");
    }
    let status = next("an answer", &mut broker, &mut viewer, parameter);
    assert_eq!((status.accepted, status.confirmed, status.value), (true, false, Some(1e6)));
}

#[test]
fn a_request_says_how_old_it_is_in_the_brokers_time() {
    let mut broker = broker();
    broker.register_action("pause".parse().unwrap(), |_| ());
    let mut viewer = viewer(&mut broker);
    let ticks = subscriber(broker.endpoint().broadcast_port(), &["tick"]);
    let parts = receive(&mut broker, &ticks);
    let tick: Value = serde_json::from_slice(&parts[1]).unwrap();
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    // A timestamp of another clock does not count where there is a tick.
    for (ago, accepted) in [(0.0, true), (60.0, false)] {
        let at = tick["at"].as_f64().unwrap() + 0.5 - ago;
        let tick = json!({"broker": tick["broker"], "at": at});
        let object = json!({"action": "pause", "timestamp": 1.0, "tick": tick}).to_string();
        sender.send_multipart(["action", &object], 0).unwrap();
        let status = next("an answer", &mut broker, &mut viewer, action);
        assert_eq!(status.accepted, accepted, "{status:?}");
    }
    assert!(matches!(broker.statistics().actions.last_refusal, Some(Refusal::Expired { age_s, .. }) if age_s > 59.0));
    // Another broker's tick says nothing.
    let object = json!({"action": "pause", "timestamp": now(), "tick": {"broker": "another", "at": -1e9}}).to_string();
    sender.send_multipart(["action", &object], 0).unwrap();
    assert!(next("an answer", &mut broker, &mut viewer, action).accepted);
}

#[test]
fn a_parameter_asked_for_long_ago_is_refused() {
    let mut broker = broker();
    broker.report("decision", &[declared("kp", 0.5)]);
    let mut viewer = viewer(&mut broker);
    let server = subscriber(broker.endpoint().parameter_port(), &["decision"]);
    let sender = publisher(&mut broker, Endpoint::parameter_request_port);
    let request = |ago: f64| {
        json!({"category": "decision", "name": "kp", "value": ago, "timestamp": now() - ago, "id": 1}).to_string()
    };
    sender.send_multipart(["parameter", &request(3600.0)], 0).unwrap();
    let status = next("an answer", &mut broker, &mut viewer, parameter);
    assert!(!status.accepted && status.reason.as_ref().unwrap().contains("3600."), "{status:?}");
    // The next one is the first that the server gets.
    let before = broker.statistics().parameters.forwarded;
    poll_until("a new one", &mut broker, |broker| {
        sender.send_multipart(["parameter", &request(0.0)], 0).unwrap();
        broker.wait(MOMENT);
        broker.poll();
        broker.statistics().parameters.forwarded > before
    });
    let object: Value = serde_json::from_slice(&receive(&mut broker, &server)[1]).unwrap();
    assert_eq!(object["value"], 0.0);
}

#[test]
fn a_value_that_waited_in_its_server_is_not_applied() {
    const LIMIT: Duration = Duration::from_millis(500);
    let mut broker = broker();
    broker.report("decision", &[declared("kp", 0.5)]);
    let mut viewer = viewer(&mut broker);
    let (told, heard) = mpsc::channel();
    let connect = ParameterClient::connect(broker.endpoint(), Category::Decision, move |_, value| {
        told.send(value).unwrap();
    });
    let mut server = connect.unwrap().max_age(LIMIT);
    // Values go through, and the server learns what time it is at the broker.
    viewer.send_parameter("decision", "kp", 0.6).unwrap();
    poll_until("the first value", &mut broker, |broker| {
        viewer.next(Duration::ZERO).unwrap();
        if broker.statistics().parameters.forwarded == 0 {
            viewer.send_parameter("decision", "kp", 0.6).unwrap();
        }
        server.poll().unwrap() > 0
    });
    let forwarded = broker.statistics().parameters.forwarded;
    viewer.send_parameter("decision", "kp", 0.7).unwrap();
    poll_until("the value is under way", &mut broker, |broker| broker.statistics().parameters.forwarded > forwarded);
    // As a process that is suspended: what comes meanwhile waits in its sockets.
    std::thread::sleep(LIMIT + LIMIT);
    until("the old value", || {
        server.poll().unwrap();
        (server.arrivals().refused > 0).then_some(())
    });
    assert!(matches!(server.arrivals().last_refusal, Some(Refusal::Expired { .. })), "{}", server.arrivals());
    assert!(heard.try_iter().all(|value| value == 0.6), "it was not applied");
    viewer.send_parameter("decision", "kp", 0.8).unwrap();
    poll_until("the new value", &mut broker, |_| server.poll().unwrap() > 0);
    assert_eq!(heard.try_recv(), Ok(0.8));
}

#[test]
fn what_is_asked_for_in_an_outage_is_refused_but_an_emergency_stop_gets_through() {
    let endpoint = free_endpoint();
    let mut broker = bind(&endpoint);
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::ActionStatus]).unwrap();
    poll_until("the viewer", &mut broker, |_| viewer.wait_connected(MOMENT).unwrap());
    broker.close();
    until("the outage", || {
        viewer.next(MOMENT).unwrap();
        (!viewer.is_connected()).then_some(())
    });
    assert_eq!(viewer.send_action(&"pause".parse().unwrap()), Err(SendError::Outage));
    assert_eq!(viewer.send_parameter("decision", "kp", 1.0), Err(SendError::Outage));
    viewer.send_action(&EMERGENCY_STOP.parse().unwrap()).unwrap();
    // Longer than any other command would live.
    std::thread::sleep(Duration::from_millis(2500));
    let mut broker = bind(&endpoint);
    let mut simulation = ActionClient::connect(&endpoint).unwrap();
    let mut stops = 0;
    poll_until("the stop, again and again", &mut broker, |_| {
        viewer.next(MOMENT).unwrap();
        while let Some(request) = simulation.poll().unwrap() {
            assert_eq!((request.action.as_str(), request.age_s()), (EMERGENCY_STOP, None));
            stops += 1;
        }
        stops > 2
    });
    // The vehicle says that it is latched; the viewer did not ask for that topic, and is not given it.
    let latched = json!({"vehicle": {"state": "standing", "reason": EMERGENCY_STOP_REASON}});
    poll_until("its status is heard", &mut broker, |broker| {
        let sent = broker.broadcast_status(&latched).is_sent();
        while let Some(message) = viewer.next(MOMENT).unwrap() {
            assert!(matches!(message, ViewerMessage::ActionStatus(_)), "{message:?}");
        }
        !sent && !broker.has_viewers(Topic::Status)
    });
    let received = broker.statistics().actions.received;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        viewer.next(MOMENT).unwrap();
        broker.poll();
    }
    // One may have been under way.
    assert!(broker.statistics().actions.received <= received + 1, "it is sent no more");
}

#[test]
fn an_emergency_stop_waits_in_the_broker_for_a_simulation() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    let hour_ago = json!({"action": EMERGENCY_STOP, "timestamp": now() - 3600.0}).to_string();
    sender.send_multipart(["action", &hour_ago], 0).unwrap();
    let status = next("an answer", &mut broker, &mut viewer, action);
    assert_eq!((status.accepted, status.delivered), (true, false), "{status:?}");
    let simulation = subscriber(broker.endpoint().action_port(), &["action"]);
    let object: Value = serde_json::from_slice(&receive(&mut broker, &simulation)[1]).unwrap();
    assert_eq!(object["action"], EMERGENCY_STOP);
}

#[test]
fn a_lease_is_for_who_asks_and_stops_no_emergency_stop() {
    let mut broker = broker();
    broker.register_action("pause".parse().unwrap(), |_| ());
    let mut viewer = viewer(&mut broker);
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    let mut ask = |broker: &mut Broker, object: Value| {
        sender.send_multipart(["action", &object.to_string()], 0).unwrap();
        next("an answer", broker, &mut viewer, action)
    };
    let claim = json!({"action": "claim_commands", "client": "secret", "params": {"holder": "the tower"}});
    assert!(ask(&mut broker, json!({"action": "pause"})).accepted, "nobody needs one");
    assert!(ask(&mut broker, claim).accepted);
    assert_eq!(broker.lease().unwrap().holder, "the tower");
    assert!(ask(&mut broker, json!({"action": "pause", "client": "secret"})).accepted);
    let refused = ask(&mut broker, json!({"action": "pause"}));
    assert!(!refused.accepted && refused.reason.unwrap().contains("the tower has the lease"));
    assert!(!ask(&mut broker, json!({"action": "release_commands"})).accepted);
    assert!(ask(&mut broker, json!({"action": EMERGENCY_STOP})).accepted);
    let other = json!({"action": "claim_commands", "client": "b", "params": {"holder": "me", "take_over": true}});
    assert!(ask(&mut broker, other).accepted);
    assert!(!ask(&mut broker, json!({"action": "pause", "client": "secret"})).accepted);
    assert!(ask(&mut broker, json!({"action": "release_commands", "client": "b"})).accepted);
    assert_eq!(broker.lease(), None);
}

#[test]
fn only_one_connection_is_the_vehicle() {
    let mut broker = broker();
    let mut vehicle = VehicleStatusClient::connect(broker.endpoint()).unwrap();
    let stranger = publisher(&mut broker, Endpoint::vehicle_status_port);
    let state = |speed_kmh| VehicleStateFields { speed_kmh, ..Default::default() };
    let mut send = |broker: &mut Broker, speed| {
        let received = broker.statistics().states.received;
        poll_until("a status", broker, |broker| {
            vehicle.send(&state(speed)).unwrap();
            broker.wait(MOMENT);
            broker.poll();
            broker.statistics().states.received > received
        });
    };
    let inject = |broker: &mut Broker| {
        let received = broker.statistics().states.received;
        let object = json!({"steering": 0, "throttle": 0, "brake": 0, "speed_kmh": 999}).to_string();
        stranger.send_multipart(["vehicle_status", &object], 0).unwrap();
        poll_until("the stranger's", broker, |broker| broker.statistics().states.received > received);
    };
    let speed = |broker: &Broker| broker.last_state().unwrap().status.fields.unwrap().speed_kmh;
    send(&mut broker, 30.0);
    inject(&mut broker);
    assert_eq!(speed(&broker), 30.0);
    assert_eq!(broker.statistics().states.last_refusal, Some(Refusal::SecondVehicle));
    std::thread::sleep(Duration::from_millis(1100));
    inject(&mut broker);
    assert_eq!(speed(&broker), 999.0, "the vehicle was silent: this one is it now");
}

#[test]
fn watching_may_be_open_and_commanding_is_not_unless_somebody_says_so() {
    let endpoint = free_endpoint();
    let everywhere = Some("0.0.0.0".to_owned());
    let options = BrokerOptions::new(endpoint.clone());
    let open = [
        BrokerOptions::new(Endpoint { host: "0.0.0.0".to_owned(), ..endpoint.clone() }),
        options.clone().command_on(everywhere.clone()),
    ];
    for options in open {
        let error = Broker::bind(options.clone()).unwrap_err();
        assert!(matches!(&error, BindError::Open { host } if host == "0.0.0.0"), "{error}");
        Broker::bind(options.insecure(true)).unwrap().close();
    }
    let broker = Broker::bind(options.watch_on(everywhere)).unwrap();
    // 127.0.0.2 is this machine as well: what is bound everywhere is taken there, too.
    let is_taken = |port| std::net::TcpListener::bind(("127.0.0.2", port)).is_err();
    assert!(is_taken(endpoint.broadcast_port()));
    for port in endpoint.action_request_port()..=endpoint.vehicle_status_port() {
        assert!(!is_taken(port), "{port}");
    }
    broker.close();
}

#[test]
fn a_ping_tells_the_round_trip_and_nobody_else_hears_of_it() {
    let mut broker = broker();
    let (mut viewer, mut other) = (viewer(&mut broker), viewer(&mut broker));
    assert_eq!(viewer.round_trip(), None);
    viewer.ping().unwrap();
    poll_until("the answer", &mut broker, |_| {
        for viewer in [&mut viewer, &mut other] {
            assert!(!matches!(viewer.next(Duration::ZERO).unwrap(), Some(ViewerMessage::ActionStatus(_))));
        }
        viewer.round_trip().is_some()
    });
    // A tick comes to newcomers as well, and once a second.
    poll_until("a sign of life", &mut broker, |_| {
        let _ = viewer.next(Duration::ZERO).unwrap();
        viewer.silence().is_some_and(|silence| silence < support::PATIENCE)
    });
    viewer.ping().unwrap();
    viewer.ping().unwrap();
    assert_eq!(viewer.round_trip(), None, "one was not answered");
}

#[test]
fn statistics_say_what_went_through() {
    let mut broker = broker();
    let viewer = subscriber(broker.endpoint().broadcast_port(), &["statistics", "state"]);
    poll_until("the viewer", &mut broker, |broker| broker.has_viewers(Topic::State));
    assert!(broker.broadcast_state(&VehicleStateFields::default()).is_sent());
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    sender.send_multipart(["action", "{\"action\": \"explode\"}"], 0).unwrap();
    let seen = until("the figures", || {
        let parts = receive(&mut broker, &viewer);
        let object: Value = serde_json::from_slice(&parts[1]).unwrap();
        (parts[0] == b"statistics" && object["actions"]["refused"] == 1).then_some(object)
    });
    assert_eq!(seen["actions"]["last_refusal"], "nobody registered the action \"explode\"");
    let state = &seen["broadcasts"]["state"];
    assert_eq!((&state["sent"], &state["subscribed"]), (&json!(1), &json!(true)));
    assert!(state["bytes"].as_u64().unwrap() > 50, "{state}");
    assert_eq!((&state["subscribers"], &seen["broadcasts"]["frame"]["subscribed"]), (&json!(1), &json!(false)));
    assert_eq!(seen["broadcasts"]["frame"]["subscribers"], 0);
}

#[test]
fn subscribers_are_counted_by_their_connections() {
    let mut broker = broker();
    let port = broker.endpoint().broadcast_port();
    let count = |broker: &Broker, topic| broker.statistics().broadcasts[&topic].subscribers;
    let mut await_count = |topic, expected: usize| {
        poll_until(&format!("{expected} of {topic:?}"), &mut broker, |broker| count(broker, topic) == expected);
    };
    let first = subscriber(port, &["frame", "frame", "st"]);
    await_count(Topic::Frame, 1);
    let second = subscriber(port, &[""]);
    await_count(Topic::Frame, 2);
    await_count(Topic::Status, 2);
    await_count(Topic::Tick, 1);
    // Twice subscribed, once taken back: still there.
    first.set_unsubscribe(b"frame").unwrap();
    first.set_unsubscribe(b"st").unwrap();
    await_count(Topic::Status, 1);
    await_count(Topic::Frame, 2);
    drop(first);
    await_count(Topic::Frame, 1);
    // Whoever comes next may get the descriptor of who left.
    let third = subscriber(port, &["frame"]);
    await_count(Topic::Frame, 2);
    drop((second, third));
    await_count(Topic::Frame, 0);
    assert!(!broker.wants_frames());
}

#[test]
fn rates_are_those_of_the_last_second() {
    let mut broker = broker();
    let sender = publisher(&mut broker, Endpoint::action_request_port);
    let rates = |broker: &Broker| {
        let statistics = broker.statistics();
        (statistics.actions.rate_hz, statistics.broadcasts[&Topic::State].rate_hz)
    };
    poll_until("rates", &mut broker, |broker| {
        sender.send_multipart(["action", "{}"], 0).unwrap();
        let _ = broker.broadcast_state(&VehicleStateFields::default());
        let (actions, states) = rates(broker);
        actions > 0.0 && states > 0.0
    });
    poll_until("silence", &mut broker, |broker| rates(broker) == (0.0, 0.0));
}
