//! Any parts as messages of the wire: the first byte chooses a topic, 0xff ends a part.
#![no_main]

#[path = "../../../zmq-adapter/tests/foreign/mod.rs"]
mod foreign;

use lkas_zmq::Topic;
use lkas_zmq::wire::{ACTION, PARAMETER, VEHICLE_STATUS};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let topics: Vec<&str> =
        Topic::ALL.into_iter().map(Topic::name).chain([ACTION, PARAMETER, VEHICLE_STATUS]).collect();
    let Some((choice, rest)) = bytes.split_first() else { return };
    // Beyond the known topics, the bytes choose their own.
    let topic = topics.get(usize::from(*choice) % (topics.len() + 1)).map(|topic| topic.as_bytes());
    let parts: Vec<&[u8]> = topic.into_iter().chain(rest.split(|byte| *byte == 0xff)).collect();
    foreign::look_at(&parts);
});
