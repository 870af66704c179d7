//! What a recording says a second time, for Foxglove, Lichtblick and whatever else reads MCAP: the lanes over the frames, what
//! happened, and every small value as JSON.

use super::described::Described;
use crate::foxglove::schemas::{self, Level};
use crate::status::{State, Status};
use lkas_core::fingerprint;
use lkas_messages::Detection;
use lkas_shm::Plain;
use serde_json::Value;
use std::collections::BTreeMap;

/// Values of more bytes are not written as JSON.
const SMALL: usize = 64 << 10;

/// The topics that are no channels.
const LANES: &str = "/lanes";
const EVENTS: &str = "/events";

/// A message beside a value.
#[derive(Debug)]
pub(super) struct Shown {
    pub topic: String,
    pub schema_name: String,
    /// Made once for each topic.
    pub schema: Value,
    /// Nanoseconds since 1970.
    pub time: u64,
    pub message: String,
}

/// What was told already.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The number of each process's last event.
    told: BTreeMap<String, u64>,
}

impl Memory {
    /// What there is to be shown of a value, published at `time`; `offset` is what is added to times of the channels' clock to
    /// have those since 1970, all in nanoseconds.
    pub(super) fn of(
        &mut self,
        topic: &str,
        described: &Described,
        data: &[u8],
        time: u64,
        offset: i128,
    ) -> Vec<Shown> {
        let of = described.description.channel_type();
        let unix = |time: i128| u64::try_from(time + offset).unwrap_or(0);
        let mut shown = Vec::new();
        if of.payload_size() > SMALL {
            return shown;
        }
        let fields = described.description.fields();
        let type_name = described.description.type_name();
        shown.push(Shown {
            topic: format!("/{topic}"),
            schema_name: type_name.to_owned(),
            schema: schemas::channel_schema(type_name, fields),
            time: unix(time.into()),
            message: schemas::channel_value(fields, data).to_string(),
        });
        if of.fingerprint() == fingerprint::<Detection>()
            && let Some(detection) = Detection::from_bytes(data).filter(Detection::is_whole)
        {
            let captured = unix((detection.timestamp() * 1e9) as i128);
            shown.push(Shown {
                topic: LANES.to_owned(),
                schema_name: schemas::IMAGE_ANNOTATIONS.to_owned(),
                schema: schemas::image_annotations_schema(),
                time: captured,
                message: schemas::image_annotations(captured, detection.left().as_ref(), detection.right().as_ref()),
            });
        }
        if of.fingerprint() == fingerprint::<Status>()
            && let Some(status) = Status::from_bytes(data)
        {
            let name = topic.strip_prefix("status_").unwrap_or(topic);
            let is_severe = State::from_code(status.state).is_some_and(State::is_severe);
            let level = if is_severe { Level::Warning } else { Level::Info };
            let told = self.told.entry(topic.to_owned()).or_insert(0);
            let mut new: Vec<_> = status.events.iter().filter(|event| event.number > *told).collect();
            new.sort_unstable_by_key(|event| event.number);
            *told = new.last().map_or(*told, |event| event.number);
            shown.extend(new.into_iter().map(|event| {
                let time = unix(event.time.into());
                Shown {
                    topic: EVENTS.to_owned(),
                    schema_name: schemas::LOG.to_owned(),
                    schema: schemas::log_schema(),
                    time,
                    message: schemas::log(time, level, name, event.words.as_str()),
                }
            }));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::{DetectionFields, Lane};
    use lkas_shm::{Channel, ChannelName, Message, Observer, Options};

    fn described<M: Message + Plain>(what: &str) -> Described {
        let name: ChannelName = format!("shown-{}-{what}", std::process::id()).parse().unwrap();
        let writer = Channel::<M>::create(&name, Options::new()).unwrap();
        let described = Described::of(&Observer::open(&name).unwrap()).unwrap();
        drop(writer);
        lkas_shm::unlink(&name).unwrap();
        described
    }

    #[test]
    fn lanes_are_drawn_over_the_frame_that_they_were_found_in() {
        let left = Some(Lane { x1: 4.5, y1: 239.0, x2: 120.0, y2: 146.0, confidence: 1.0 });
        let fields = DetectionFields { left, timestamp: 12.5, frame_id: 7, ..DetectionFields::default() };
        let detection = Detection::try_from(fields).unwrap();
        let of = described::<Detection>("lanes");
        let shown = Memory::default().of("lane_detection", &of, detection.as_bytes(), 13_000_000_000, 1_000_000_000);
        let topics: Vec<_> = shown.iter().map(|shown| (&*shown.topic, &*shown.schema_name, shown.time)).collect();
        let expected = [
            ("/lane_detection", "lkas.Detection", 14_000_000_000),
            ("/lanes", "foxglove.ImageAnnotations", 13_500_000_000),
        ];
        assert_eq!(topics, expected);
        let lanes: Value = serde_json::from_str(&shown[1].message).unwrap();
        assert_eq!(lanes["points"][0]["points"][0]["x"], 4.5);
        let value: Value = serde_json::from_str(&shown[0].message).unwrap();
        assert_eq!(value["frame_id"], 7);

        let mut damaged = detection.as_bytes().to_vec();
        damaged[8] ^= 1;
        assert_eq!(Memory::default().of("lane_detection", &of, &damaged, 0, 0).len(), 1, "no lanes that are not whole");
    }

    #[test]
    fn each_event_is_told_once_in_its_order() {
        let of = described::<Status>("events");
        let (mut memory, mut status) = (Memory::default(), Status::default());
        let mut told = |status: &Status| -> Vec<String> {
            let shown = memory.of("status_simulation", &of, status.as_bytes(), 0, 0);
            let events = shown.iter().filter(|shown| shown.topic == "/events");
            let words = |shown: &Shown| serde_json::from_str::<Value>(&shown.message).unwrap()["message"].clone();
            events.map(|shown| words(shown).as_str().unwrap().to_owned()).collect()
        };
        status.note("respawn", 5);
        status.note("kp is 0.3", 6);
        assert_eq!(told(&status), ["respawn", "kp is 0.3"]);
        assert_eq!(told(&status), [""; 0]);
        status.note("pause", 7);
        assert_eq!(told(&status), ["pause"]);
    }
}
