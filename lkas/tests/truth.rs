//! What viewers are told is what is: of the vehicle by the vehicle, and nothing where nobody knows.
#![allow(missing_docs)]

mod support;

use lkas::status::{Seen, StatusWatch};
use lkas_messages::names::Category;
use lkas_shm::ChannelName;
use lkas_zmq::wire::ParameterStatus;
use lkas_zmq::{Broker, BrokerOptions, Endpoint, Topic, ViewerClient, ViewerMessage};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
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

/// Wakes a suspended process, unless it was replaced because it said nothing.
fn resume(pid: u32) {
    let _ = Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
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
    let stopped = |reason: &'static str| {
        move |status: &Value| {
            let vehicle = &status["vehicle"];
            let severe = vehicle["severe"] == true && vehicle["reason"] == reason;
            (severe && vehicle["words"].as_str()?.contains(reason)).then_some(())
        }
    };
    let decision = demo.processes("decision")[0];
    signal("STOP", decision);
    viewer.until("silence", stopped("the writer of the controls is there, but silent or without frames"));
    viewer.until_vehicle("standing");
    resume(decision);
    viewer.until_vehicle("running");
    if let [decision] = demo.processes("decision")[..] {
        signal("KILL", decision);
    }
    viewer.until("death", stopped("the writer of the controls died"));
    viewer.until_vehicle("running");
    // It is the decision server that stops then, and knows why.
    let detection = demo.processes("detection")[0];
    signal("STOP", detection);
    viewer.until("no detection", stopped("the decision server asks for it: no detection comes"));
    resume(detection);
    viewer.until_vehicle("running");
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
    assert!(unknown["words"].as_str().is_some_and(|words| words.starts_with("vehicle unknown: ")), "{unknown}");
    resume(simulation);
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

    // What does not go together with the other values is refused by the server, with its own reason.
    viewer.send_parameter(Category::Detection, "canny_high", 60.0).unwrap();
    parameter(&mut viewer, "canny_high", confirmed(60.0));
    let id = viewer.send_parameter(Category::Detection, "canny_low", 61.0).unwrap();
    let status = parameter(&mut viewer, "canny_low", |status| status.id.as_ref().is_some_and(|asked| *asked == *id));
    let why = status.reason.as_deref().unwrap_or_default();
    assert!(!status.accepted && why.contains("can't be above canny_high, which is 60"), "{status:?}");
    assert_eq!(status.value, Some(50.0));

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
    // Nor does it apply it when it wakes, or its successor.
    let published = watch.look().unwrap().status.vitals.published;
    resume(decision);
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        assert!(Instant::now() < deadline, "decision does not go on");
        match watch.look().filter(Seen::is_current) {
            Some(seen) if seen.status.vitals.published > published + 5 => break seen.status,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let in_force = status.declared().find(|declared| declared.name.to_string() == "kp").unwrap();
    assert_eq!(in_force.value, 0.5);
    end(demo);
}

#[test]
fn what_was_asked_for_while_the_vehicle_was_suspended_is_not_done_afterwards() {
    let namespace = format!("test-{}-late", std::process::id());
    let port = support::free_ports(6);
    let mut broker = Broker::bind(BrokerOptions::new(Endpoint::local(port))).unwrap();
    broker.register_action("respawn".parse().unwrap(), |_| {});
    let mut viewer = ViewerClient::connect_to(broker.endpoint(), &[Topic::ActionStatus]).unwrap();
    let mut simulation = Command::new(env!("CARGO_BIN_EXE_lkas"))
        .args(["simulation", "--broadcast", "--namespace", &namespace, "--broker-port", &port.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = || {
        let deadline = Instant::now() + PATIENCE;
        viewer.send_action(&"respawn".parse().unwrap()).unwrap();
        while Instant::now() < deadline {
            broker.wait(Duration::from_millis(5));
            broker.poll();
            if let Some(ViewerMessage::ActionStatus(status)) = viewer.next(Duration::from_millis(5)).unwrap() {
                return status.delivered;
            }
        }
        panic!("no answer");
    };
    while !ask() {}
    let mut lines = BufReader::new(simulation.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("respawn")), "it listens");
    signal("STOP", simulation.id());
    assert!(ask(), "the broker can't know that it is suspended");
    std::thread::sleep(Duration::from_millis(2500));
    signal("CONT", simulation.id());
    let late = lines.find(|line| line.contains("respawn")).unwrap();
    assert!(late.contains("respawn came too late"), "{late}");
    signal("TERM", simulation.id());
    assert!(simulation.wait().unwrap().success());
}

#[test]
fn who_asked_is_told_that_the_vehicle_refused_it_in_the_end() {
    let demo = Demo::start("truth-refused", &["--no-viewer", "--command-age", "0.5"]);
    Viewer::of(&demo, Topic::Status).until_vehicle("running");
    let mut viewer = ViewerClient::connect_to(&Endpoint::local(demo.broker_port), &[Topic::ActionStatus]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut answers: Vec<(bool, bool, String)> = Vec::new();
    // What is refused by the broker itself, because it was so slow, is not meant.
    let refused = |answers: &[(bool, bool, String)]| {
        answers.iter().find(|(accepted, delivered, _)| !accepted && *delivered).map(|(_, _, why)| why.clone())
    };
    while refused(&answers).is_none() {
        assert!(Instant::now() < deadline, "{answers:?}");
        // Again where the machine was so slow that it was replaced meanwhile.
        let vehicle = demo.processes("simulation").first().copied();
        vehicle.inspect(|vehicle| signal("STOP", *vehicle));
        let _ = viewer.send_action(&"respawn".parse().unwrap());
        std::thread::sleep(Duration::from_millis(800));
        vehicle.inspect(|vehicle| resume(*vehicle));
        let attempt = Instant::now() + Duration::from_secs(3);
        while Instant::now() < attempt && refused(&answers).is_none() {
            if let Some(ViewerMessage::ActionStatus(status)) = viewer.next(Duration::from_millis(50)).unwrap() {
                answers.push((status.accepted, status.delivered, status.reason.unwrap_or_default()));
            }
        }
    }
    assert!(refused(&answers).unwrap().contains("too late"), "{answers:?}");
    assert!(answers.contains(&(true, true, String::new())), "the broker can't know: {answers:?}");
    end(demo);
}
