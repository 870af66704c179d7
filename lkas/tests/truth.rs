//! What viewers are told is what is: of the vehicle by the vehicle, and nothing where nobody knows.
#![allow(missing_docs)]

mod support;

use lkas::status::StatusWatch;
use lkas_messages::names::Category;
use lkas_shm::ChannelName;
use lkas_zmq::wire::ParameterStatus;
use lkas_zmq::{Endpoint, Topic, ViewerClient, ViewerMessage};
use serde_json::Value;
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, signal};

struct Viewer(ViewerClient);

impl Viewer {
    fn of(demo: &Demo, topic: Topic) -> Self {
        Self(ViewerClient::connect_to(&Endpoint::local(demo.broker_port), &[topic]).unwrap())
    }

    /// The first status for which `look` returns something.
    #[track_caller]
    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Value) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            let Some(ViewerMessage::Status(status)) = self.0.next(Duration::from_millis(100)).unwrap() else {
                continue;
            };
            if let Some(found) = look(&status) {
                return found;
            }
            last = status;
        }
        panic!("in vain: {what}; the last status is {last}");
    }

    fn until_vehicle(&mut self, state: &str) -> Value {
        let vehicle = |status: &Value| (status["vehicle"]["state"] == state).then(|| status["vehicle"].clone());
        self.until(state, vehicle)
    }
}

/// The next answer on a parameter that fits.
#[track_caller]
fn parameter(viewer: &mut ViewerClient, name: &str, fits: impl Fn(&ParameterStatus) -> bool) -> ParameterStatus {
    let deadline = Instant::now() + PATIENCE;
    let mut last = None;
    while Instant::now() < deadline {
        if let Some(ViewerMessage::ParameterStatus(status)) = viewer.next(Duration::from_millis(100)).unwrap()
            && status.parameter == name
        {
            if fits(&status) {
                return status;
            }
            last = Some(status);
        }
    }
    panic!("no such answer on {name}; the last one is {last:?}");
}

fn end(demo: Demo) {
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn a_safe_stop_is_told_with_its_reason_though_no_control_comes() {
    let demo = Demo::start("truth-stop", &["--no-viewer"]);
    let mut viewer = Viewer::of(&demo, Topic::Status);
    viewer.until_vehicle("running");
    let decision = demo.processes("decision")[0];
    signal("STOP", decision);
    let stop = viewer.until_vehicle("safe_stop");
    assert_eq!(stop["severe"], true);
    assert_eq!(stop["reason"], "the writer of the controls is there, but silent or without frames");
    let silent = |status: &Value| {
        let decision = status["processes"].as_array()?.iter().find(|process| process["name"] == "decision")?;
        (decision["alive"] == true && decision["silent"] == true && decision["state"] == "unknown").then_some(())
    };
    viewer.until("a decision server that is there and silent", silent);
    // It goes on being told for as long as it lasts.
    let stands = viewer.until_vehicle("standing");
    assert!(stands["words"].as_str().is_some_and(|words| words.starts_with("SAFE STOP: standing")), "{stands}");
    for _ in 0..10 {
        viewer.until_vehicle("standing");
    }
    signal("CONT", decision);
    viewer.until_vehicle("running");
    demo.kill("decision");
    let stop = viewer.until_vehicle("safe_stop");
    assert_eq!(stop["reason"], "the writer of the controls died");
    end(demo);
}

#[test]
fn a_vehicle_that_says_nothing_is_unknown() {
    let demo = Demo::start("truth-silent", &["--no-viewer"]);
    let mut viewer = Viewer::of(&demo, Topic::Status);
    viewer.until_vehicle("running");
    let simulation = demo.processes("simulation")[0];
    signal("STOP", simulation);
    let unknown = viewer.until_vehicle("unknown");
    assert!(unknown["words"].as_str().is_some_and(|words| words.contains("said nothing for")), "{unknown}");
    signal("CONT", simulation);
    viewer.until_vehicle("running");
    end(demo);
}

#[test]
fn a_value_is_in_force_when_its_server_says_so_and_outlives_broker_and_server() {
    let demo = Demo::start("truth-values", &["--no-viewer"]);
    let endpoint = Endpoint::local(demo.broker_port);
    let connect = || ViewerClient::connect_to(&endpoint, &[Topic::ParameterStatus]).unwrap();
    let mut viewer = connect();
    let confirmed = |value: f64| move |status: &ParameterStatus| status.confirmed && status.value == Some(value);
    parameter(&mut viewer, "throttle_base", confirmed(0.14));
    viewer.send_parameter(Category::Decision, "throttle_base", 0.31).unwrap();
    let status = parameter(&mut viewer, "throttle_base", confirmed(0.31));
    assert!(status.accepted, "{status:?}");

    // Another broker knows it at once, from the server.
    demo.kill("broker");
    parameter(&mut connect(), "throttle_base", confirmed(0.31));
    // So does another server, from its predecessor.
    let before = demo.processes("decision")[0];
    demo.kill("decision");
    let mut watch = StatusWatch::new(ChannelName::new(&demo.namespace, "status_decision").unwrap());
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        assert!(Instant::now() < deadline, "no successor");
        match watch.look().filter(|seen| seen.is_current() && seen.status.process != u64::from(before)) {
            Some(seen) if seen.status.declared().count() > 0 => break seen.status,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let in_force = status.declared().find(|declared| declared.name.to_string() == "throttle_base").unwrap();
    assert_eq!(in_force.value, 0.31);

    // A server that is suspended applies nothing, so nothing is said to be in force, now or later.
    let mut viewer = connect();
    parameter(&mut viewer, "kp", confirmed(0.5));
    let decision = demo.processes("decision")[0];
    signal("STOP", decision);
    viewer.send_parameter(Category::Decision, "kp", 1.25).unwrap();
    let status = parameter(&mut viewer, "kp", |status| status.value == Some(1.25) || !status.accepted);
    assert_eq!((status.accepted, status.value), (false, Some(0.5)), "{status:?}");
    assert!(status.reason.as_ref().is_some_and(|why| why.contains("nobody applied it")), "{status:?}");
    signal("CONT", decision);
    end(demo);
}
