//! Programs in Python that speak the wire protocol work with this broker, unchanged.
//!
//! Needs `python3` with pyzmq (`pip install pyzmq`) and is skipped without, unless `LKAS_REQUIRE_PYTHON` is set.

mod support;

use lkas_messages::names::{Category, Parameter};
use lkas_messages::{DetectionFields, Lane};
use lkas_zmq::wire::FrameHeader;
use lkas_zmq::{Broker, LanePosition, Refusal, Topic};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use support::{MOMENT, broker};

/// Runs a script against a broker until it ends well; `step` is done all the while.
fn run(script: &str, broker: &mut Broker, mut step: impl FnMut(&mut Broker)) {
    let mut python = Command::new("python3")
        .arg(format!("{}/tests/python/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(broker.endpoint().base_port.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The script has a deadline of its own.
    while python.try_wait().unwrap().is_none() {
        step(broker);
        broker.poll();
        let _ = broker.wait(MOMENT);
    }
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether the test is to be left out, which is an error where Python is required.
fn is_left_out() -> bool {
    let Err(reason) = has_pyzmq() else { return false };
    assert!(std::env::var_os("LKAS_REQUIRE_PYTHON").is_none(), "python3 with pyzmq is required: {reason}");
    eprintln!("LEFT OUT, because there is no python3 with pyzmq: {reason}");
    true
}

fn has_pyzmq() -> Result<(), String> {
    match Command::new("python3").args(["-c", "import zmq"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("python3: {error}")),
    }
}

#[test]
fn python_clients_work_unchanged() {
    if is_left_out() {
        return;
    }
    let mut broker = broker();
    let (told, heard) = mpsc::channel();
    for action in ["pause", "resume", "respawn"] {
        let told = told.clone();
        broker.register_action(action.parse().unwrap(), move |request| {
            told.send(request.action.to_string()).unwrap();
        });
    }
    let lane = Lane { x1: 100.0, y1: 600.0, x2: 380.5, y2: 350.0, confidence: 0.9 };
    let mut frame_id = 0;
    run("clients.py", &mut broker, |broker| {
        frame_id += 1;
        if broker.has_viewers(Topic::Frame) {
            let header =
                FrameHeader { timestamp: 0.04 * frame_id as f64, frame_id, width: 800, height: 600, jpeg_size: 0 };
            assert!(broker.broadcast_frame(&header, b"\xff\xd8\xff picture").is_sent());
        }
        let lane = (frame_id % 2 == 0).then_some(lane);
        let _ =
            broker.broadcast_detection(&DetectionFields { left: lane, right: lane, frame_id, ..Default::default() });
        let _ = broker.broadcast_telemetry(&serde_json::json!({"not": "for Python"}));
    });

    let heard: Vec<_> = heard.try_iter().collect();
    for action in ["pause", "resume", "respawn"] {
        assert!(heard.iter().any(|known| known == action), "{action} in {heard:?}");
    }
    broker.poll();
    let value = |category, name| broker.parameter(Parameter::find(category, name).unwrap());
    assert_eq!(value(Category::Detection, "hough_threshold"), 60.0);
    assert_eq!(value(Category::Detection, "smoothing_factor"), 0.25);
    assert_eq!(value(Category::Decision, "kp"), 1.5);
    let statistics = broker.statistics();
    assert_eq!((statistics.actions.refused, statistics.states.refused), (0, 0));
    assert_eq!(statistics.parameters.refused, 2, "NaN and what is no JSON: {}", statistics.parameters);
    assert!(matches!(statistics.parameters.last_refusal, Some(Refusal::NotJson { .. })));
}

#[test]
fn clients_that_know_no_topics_but_objects_with_a_type_work() {
    if is_left_out() {
        return;
    }
    let mut broker = broker();
    for action in ["pause", "resume"] {
        broker.register_action(action.parse().unwrap(), |_| {});
    }
    let lane = Lane { x1: 200.0, y1: 600.0, x2: 350.0, y2: 360.0, confidence: 0.95 };
    let mut frame_id = 1233;
    run("typed.py", &mut broker, |broker| {
        frame_id += 1;
        if broker.wants_frames() {
            let header = FrameHeader { timestamp: 1e9, frame_id, width: 800, height: 600, jpeg_size: 0 };
            assert!(broker.broadcast_frame(&header, &[0xff, 0xd8, 0, 1, 2, 0xff, 0xd9].repeat(20_000)).is_sent());
        }
        let fields = DetectionFields { left: Some(lane), frame_id, processing_time_ms: 8.5, ..Default::default() };
        let _ = broker.broadcast_detection(&fields);
        broker.set_lane_position(LanePosition {
            lateral_offset: Some(-0.05),
            heading_angle: Some(2.5),
            departure_status: Some("centered".to_owned()),
        });
    });
    let statistics = broker.statistics();
    let refused = [&statistics.actions, &statistics.parameters, &statistics.states].map(|kind| kind.refused);
    assert_eq!(refused, [0, 0, 0], "{statistics:?}");
    assert_eq!(broker.parameter(Parameter::find(Category::Detection, "canny_low").unwrap()), 60.0);
}
