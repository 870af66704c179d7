//! What the broker says of itself, and what it does only while somebody watches.
#![allow(missing_docs)]

mod support;

use lkas_zmq::{Endpoint, Topic, ViewerClient};
use serde_json::Value;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE};

fn info(port: u16, more: &[&str]) -> Output {
    let port = port.to_string();
    let line = ["info", "broker", "--broker-port", &port];
    Command::new(env!("CARGO_BIN_EXE_lkas")).args(line).args(more).output().unwrap()
}

fn figures(demo: &Demo) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = info(demo.broker_port, &["--json"]);
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_broker_says_what_goes_through_it_and_encodes_once_and_only_while_somebody_watches() {
    let demo = Demo::start("figures", &["--jpeg-quality", "60", "--viewer-fps", "20"]);
    demo.drive(10);
    // The demo's own viewer asks for no frames while no browser is there.
    let unwatched = figures(&demo);
    let encoding = |figures: &Value, key: &str| figures["about"]["encoding"][key].clone();
    assert_eq!(encoding(&unwatched, "frames_encoded"), 0, "{unwatched:#}");
    assert_eq!(encoding(&unwatched, "jpeg_quality"), 60);
    assert!(["libturbojpeg", "built in"].contains(&encoding(&unwatched, "encoder").as_str().unwrap()));
    assert_eq!(unwatched["broadcasts"]["frame"]["subscribers"], 0);
    assert!(unwatched["broadcasts"]["status"]["subscribers"].as_u64().unwrap() >= 1, "the demo's viewer");

    let endpoint = Endpoint::local(demo.broker_port);
    let mut viewers = [(); 3].map(|()| ViewerClient::connect_to(&endpoint, &[Topic::Frame]).unwrap());
    let mut seen = [0; 3];
    let deadline = Instant::now() + PATIENCE;
    while seen.iter().any(|seen| *seen < 10) {
        assert!(Instant::now() < deadline, "{seen:?} frames");
        for (viewer, seen) in viewers.iter_mut().zip(&mut seen) {
            *seen += u64::from(viewer.next(Duration::from_millis(20)).unwrap().is_some());
        }
    }
    // Rates are those of the last whole second.
    let watched = loop {
        let figures = figures(&demo);
        if figures["broadcasts"]["frame"]["rate_hz"].as_f64().unwrap() > 0.0 {
            break figures;
        }
        assert!(Instant::now() < deadline, "no rate: {figures:#}");
    };
    let sent = watched["broadcasts"]["frame"]["sent"].as_u64().unwrap();
    let encoded = encoding(&watched, "frames_encoded").as_u64().unwrap();
    // The figures of the thread are a tenth of a second older.
    assert!((sent.saturating_sub(3)..=sent + 3).contains(&encoded), "{encoded} encoded, {sent} sent: {watched:#}");
    assert_eq!(watched["broadcasts"]["frame"]["subscribers"], 3);
    drop(viewers);

    let text = String::from_utf8(info(demo.broker_port, &[]).stdout).unwrap();
    for expected in ["quality 60", "SUBSCRIBERS", "typed_frame", "REFUSED"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    demo.stop();
}

#[test]
fn where_no_broker_answers_that_is_said() {
    let output = info(support::free_ports(6), &[]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && words.contains("no broker answers"), "{words}");
    assert!(output.stdout.is_empty());
}
