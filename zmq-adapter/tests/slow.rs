//! Peers that do not keep up.

mod support;

use core::time::Duration;
use lkas_messages::DetectionFields;
use lkas_zmq::wire::FrameHeader;
use lkas_zmq::{BrokerOptions, Topic, ViewerMessage};
use serde_json::Value;
use std::time::Instant;
use support::{broker, broker_with, next, poll_until, publisher, subscriber, until, viewer};

/// About what an 800x600 picture has.
const JPEG: usize = 60_000;

#[test]
fn a_viewer_that_sleeps_hinders_nobody_and_holds_few_old_frames() {
    const FRAMES: u64 = 1000;
    let mut broker = broker();
    let sleeper = zmq::Context::new().socket(zmq::SUB).unwrap();
    // As Python viewers do.
    sleeper.set_rcvhwm(10).unwrap();
    // So that only what the broker's end lets wait is measured.
    sleeper.set_rcvbuf(64 * 1024).unwrap();
    sleeper.set_linger(0).unwrap();
    sleeper.set_subscribe(b"frame").unwrap();
    sleeper.connect(&format!("tcp://127.0.0.1:{}", broker.endpoint().broadcast_port())).unwrap();
    poll_until("the sleeper", &mut broker, |broker| broker.has_viewers(Topic::Frame));
    let mut awake = viewer(&mut broker);
    let jpeg = vec![7; JPEG];
    let (mut slowest, mut last) = (Duration::ZERO, None);
    for frame_id in 1..=FRAMES {
        let start = Instant::now();
        assert!(broker.broadcast_frame(&FrameHeader { frame_id, ..Default::default() }, &jpeg).is_sent());
        assert!(broker.broadcast_detection(&DetectionFields { frame_id, ..Default::default() }).is_sent());
        slowest = slowest.max(start.elapsed());
        // The one that is awake gets every frame, one by one.
        last = Some(next("the frame", &mut broker, &mut awake, |message| match message {
            ViewerMessage::Frame { header, .. } if header.frame_id == frame_id => Some(header.frame_id),
            _ => None,
        }));
    }
    assert_eq!(last, Some(FRAMES));
    assert!(slowest < Duration::from_secs(1), "a broadcast took {slowest:?}");
    // Whatever waits for the sleeper is the oldest: ZeroMQ drops the newest. It is not much.
    let mut held = 0;
    while sleeper.poll(zmq::POLLIN, 300) == Ok(1) {
        sleeper.recv_multipart(0).unwrap();
        held += 1;
    }
    println!("the sleeper held {held} frames");
    assert!((10..54).contains(&held), "{held} frames");
    // And it is served again.
    let mut frame_id = FRAMES;
    let id = until("a new frame", || {
        frame_id += 1;
        let _ = broker.broadcast_frame(&FrameHeader { frame_id, ..Default::default() }, &jpeg);
        (sleeper.poll(zmq::POLLIN, 10) == Ok(1)).then(|| sleeper.recv_multipart(0).unwrap())
    });
    assert!(serde_json::from_slice::<Value>(&id[1]).unwrap()["frame_id"].as_u64().unwrap() > FRAMES);
}

#[test]
fn our_own_viewer_skips_to_the_newest() {
    let mut broker = broker();
    let mut viewer = viewer(&mut broker);
    while viewer.next(Duration::from_millis(100)).unwrap().is_some() {}
    let skipped = viewer.skipped();
    for frame_id in 1..=5 {
        assert!(broker.broadcast_frame(&FrameHeader { frame_id, ..Default::default() }, b"jpeg").is_sent());
        assert!(broker.broadcast_detection(&DetectionFields { frame_id, ..Default::default() }).is_sent());
    }
    assert!(broker.broadcast_telemetry(&serde_json::json!({})).is_sent());
    // The last message makes sure that all before it have come: it is alone on its topic.
    let (mut frames, mut detections) = (Vec::new(), Vec::new());
    until("all", || match viewer.next(Duration::from_millis(10)).unwrap()? {
        ViewerMessage::Frame { header, .. } => {
            frames.push(header.frame_id);
            None
        }
        ViewerMessage::Detection(detection) => {
            detections.push(detection.frame_id);
            None
        }
        ViewerMessage::Telemetry(_) => Some(()),
        _ => None,
    });
    for ids in [&frames, &detections] {
        assert!(ids.is_sorted() && ids.last() == Some(&5), "{ids:?}");
    }
    assert_eq!(frames.len() + detections.len() + (viewer.skipped() - skipped) as usize, 10);
}

#[test]
fn a_mark_of_one_still_delivers_to_who_keeps_up() {
    let mut broker = broker_with(|endpoint| BrokerOptions::new(endpoint).viewer_mark(1));
    let mut viewer = viewer(&mut broker);
    for frame_id in 1..=20 {
        until("the frame", || {
            assert!(broker.broadcast_frame(&FrameHeader { frame_id, ..Default::default() }, b"jpeg").is_sent());
            match viewer.next(Duration::from_millis(100)).unwrap()? {
                ViewerMessage::Frame { header, .. } => (header.frame_id == frame_id).then_some(()),
                _ => None,
            }
        });
    }
}

#[test]
fn a_flood_on_one_port_does_not_keep_others_waiting() {
    let mut broker = broker();
    broker.register_action("pause".parse().unwrap(), |_| ());
    let flood = publisher(&mut broker, lkas_zmq::Endpoint::vehicle_status_port);
    let sender = publisher(&mut broker, lkas_zmq::Endpoint::action_request_port);
    flood.set_sndhwm(0).unwrap();
    for _ in 0..1000 {
        flood.send_multipart([&b"vehicle_status"[..], b"{}"], 0).unwrap();
    }
    sender.send_multipart([&b"action"[..], b"{\"action\": \"pause\"}"], 0).unwrap();
    until("the action", || {
        let polled = broker.poll();
        assert!(polled.states <= 64, "{polled:?}");
        (polled.actions == 1).then_some(())
    });
}

#[test]
fn closing_with_messages_under_way_does_not_hang() {
    let mut broker = broker();
    let sleeper = subscriber(broker.endpoint().broadcast_port(), &[""]);
    let viewer = viewer(&mut broker);
    let jpeg = vec![7; 1_000_000];
    for _ in 0..100 {
        assert!(broker.broadcast_frame(&FrameHeader::default(), &jpeg).is_sent());
    }
    let start = Instant::now();
    broker.close();
    drop(viewer);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(sleeper);
}
