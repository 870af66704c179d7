//! A broker, and a viewer that gets a detection: both in one process here, on machines of their own elsewhere.
//!
//! `cargo run -p lkas-zmq --example watch`

use lkas_messages::{DetectionFields, Lane};
use lkas_zmq::{Broker, BrokerOptions, Endpoint, Topic, ViewerClient, ViewerMessage};
use std::time::Duration;

/// A broker on the first six ports in a row that are free, from 33000 on.
fn bind() -> Result<(Broker, Endpoint), Box<dyn std::error::Error>> {
    for base in (33_000..34_000).step_by(6) {
        let endpoint = Endpoint::local(base);
        if let Ok(broker) = Broker::bind(BrokerOptions::new(endpoint.clone())) {
            return Ok((broker, endpoint));
        }
    }
    Err("there are no free ports from 33000 to 34000".into())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut broker, endpoint) = bind()?;
    let mut viewer = ViewerClient::connect(&endpoint)?;
    while !broker.has_viewers(Topic::Detection) {
        broker.wait(Duration::from_millis(100));
        broker.poll();
    }
    let left = Lane { x1: 100.0, y1: 600.0, x2: 350.0, y2: 350.0, confidence: 0.9 };
    let detection = DetectionFields { frame_id: 7, left: Some(left), ..DetectionFields::default() };
    assert!(broker.broadcast_detection(&detection).is_sent());
    loop {
        broker.poll();
        // Before it come the parameters that are in force.
        if let Some(ViewerMessage::Detection(detection)) = viewer.next(Duration::from_millis(100))? {
            println!("{detection:?}");
            return Ok(());
        }
    }
}
