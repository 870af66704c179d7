//! What viewers are told is what is: of the vehicle by the vehicle, and nothing where nobody knows.
#![allow(missing_docs)]

mod support;

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
