//! Whatever arrives, decoding it ends, in a message or in a refusal.

mod foreign;
mod support;

use foreign::look_at;
use lkas_zmq::Endpoint;
use lkas_zmq::wire::decode_parameter;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use support::{broker, poll_until, publisher};

const TOPICS: [&str; 9] = [
    "frame",
    "detection",
    "state",
    "telemetry",
    "parameter_status",
    "action_status",
    "action",
    "parameter",
    "vehicle_status",
];

const KEYS: [&str; 24] = [
    "timestamp",
    "frame_id",
    "width",
    "height",
    "jpeg_size",
    "left_lane",
    "right_lane",
    "processing_time_ms",
    "x1",
    "confidence",
    "steering",
    "position",
    "paused",
    "type",
    "speed",
    "category",
    "parameter",
    "name",
    "value",
    "action",
    "params",
    "accepted",
    "delivered",
    "reason",
];

/// JSON as Python writes it, with all its bare words, and not always well-formed.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("NaN".to_owned()),
        Just("-Infinity".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"kp\"".to_owned()),
        Just("\"state\"".to_owned()),
        Just("\"decision\"".to_owned()),
        Just("\"a \\\" NaN \\\\\"".to_owned()),
        Just("1e999".to_owned()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<u8>().prop_map(|number| number.to_string()),
        "[ -~]{0,4}",
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        let entry =
            (prop::sample::select(&KEYS[..]), inner.clone()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(entry, 0..8).prop_map(|entries| format!("{{{}}}", entries.join(", "))),
        ]
    })
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::sample::select(&TOPICS[..]).prop_map(|topic| topic.as_bytes().to_vec()),
        3 => json().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn message() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let plausible =
        (prop::sample::select(&TOPICS[..]), json(), prop::option::of(part())).prop_map(|(topic, json, rest)| {
            [topic.as_bytes().to_vec(), json.into_bytes()].into_iter().chain(rest).collect()
        });
    prop_oneof![plausible, prop::collection::vec(part(), 0..6)]
}

fn check(parts: &[Vec<u8>]) {
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    look_at(&parts);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_is_decoded_or_refused(parts in message()) {
        check(&parts);
    }

    #[test]
    fn a_well_formed_parameter_survives_whatever_else_is_in_it(value in -1e6..1e6f64, extra in json()) {
        let object = format!("{{\"category\": \"decision\", \"name\": \"kp\", \"value\": {value:?}, \"extra\": {extra}}}");
        let parts = [b"parameter".to_vec(), object.clone().into_bytes()];
        check(&parts);
        if serde_json::from_str::<serde_json::Value>(&object).is_ok() {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let request = decode_parameter(&parts).unwrap();
            // The parser is allowed to be off in the last place.
            prop_assert!((request.value.unwrap() - value).abs() <= value.abs() * 1e-15);
            prop_assert_eq!(request.parameter, "kp");
        }
    }
}

#[test]
fn a_broker_survives_any_message() {
    const MESSAGES: u64 = 500;
    let mut broker = broker();
    broker.register_action("kp".parse().unwrap(), |_| ());
    let mut runner = TestRunner::deterministic();
    for port in [Endpoint::action_request_port, Endpoint::parameter_request_port, Endpoint::vehicle_status_port] {
        let sender = publisher(&mut broker, port);
        let statistics = broker.statistics();
        let sum = |s: lkas_zmq::Statistics| s.actions.received + s.parameters.received + s.states.received;
        let before = sum(statistics);
        for sent in 1..=MESSAGES {
            let mut parts = message().new_tree(&mut runner).unwrap().current();
            if parts.is_empty() {
                parts.push(Vec::new());
            }
            sender.send_multipart(parts, 0).unwrap();
            if sent % 50 == 0 {
                poll_until("the messages", &mut broker, |broker| sum(broker.statistics()) == before + sent);
            }
        }
    }
    let statistics = broker.statistics();
    assert!(statistics.actions.refused > 0 && statistics.parameters.refused > 0 && statistics.states.refused > 0);
}
