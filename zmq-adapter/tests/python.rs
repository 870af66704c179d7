//! Programs in Python that speak the wire protocol work with this broker, unchanged.
//!
//! Needs `python3` with pyzmq (`pip install pyzmq`) and is skipped without, unless `LKAS_REQUIRE_PYTHON` is set.

mod support;

use lkas_messages::names::{Category, Parameter};
use lkas_messages::{DetectionFields, Lane};
use lkas_zmq::wire::FrameHeader;
use lkas_zmq::{Refusal, Topic};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use support::{MOMENT, broker};

fn has_pyzmq() -> Result<(), String> {
    match Command::new("python3").args(["-c", "import zmq"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("python3: {error}")),
    }
}

#[test]
fn python_clients_work_unchanged() {
    if let Err(reason) = has_pyzmq() {
        assert!(std::env::var_os("LKAS_REQUIRE_PYTHON").is_none(), "python3 with pyzmq is required: {reason}");
        eprintln!("skipped, because there is no python3 with pyzmq: {reason}");
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
    let mut python = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/clients.py"))
        .arg(broker.endpoint().base_port.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lane = Lane { x1: 100.0, y1: 600.0, x2: 380.5, y2: 350.0, confidence: 0.9 };
    let mut frame_id = 0;
    // The script has a deadline of its own.
    while python.try_wait().unwrap().is_none() {
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
        broker.poll();
        let _ = broker.wait(MOMENT);
    }
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

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
