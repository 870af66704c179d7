//! What a recording says a second time, for Foxglove, Lichtblick and whatever else reads MCAP: the lanes over the frames, what
//! happened, and every small value as JSON.

use super::described::Described;
use super::times::Offset;
use crate::foxglove::schemas::{self, Level};
use crate::status::{State, Status};
use lkas_core::fingerprint;
use lkas_messages::Detection;
use lkas_shm::Plain;
use serde_json::Value;
use std::collections::BTreeMap;

/// The topics of what is said a second time begin so; no channel's name does.
pub(super) const AGAIN: char = '/';

/// Values of more bytes are not written as JSON.
const SMALL: usize = 64 << 10;

/// The topics that are no channels.
const LANES: &str = "/lanes";
const EVENTS: &str = "/events";

/// What messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// Values of a channel, by its fields.
    Fields,
    Lanes,
    Event,
}

impl Schema {
    /// Its name, and itself, for messages beside values of that channel.
    pub(super) fn of(self, described: &Described) -> (String, Value) {
        match self {
            Self::Fields => {
                let type_name = described.description.type_name();
                (type_name.to_owned(), schemas::channel_schema(type_name, described.description.fields()))
            }
            Self::Lanes => (schemas::IMAGE_ANNOTATIONS.to_owned(), schemas::image_annotations_schema()),
            Self::Event => (schemas::LOG.to_owned(), schemas::log_schema()),
        }
    }
}

/// A message beside a value.
#[derive(Debug)]
pub(super) struct Shown {
    pub topic: String,
    pub schema: Schema,
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
    /// What there is to be shown of a value, published at `time` of the channels' clock, in nanoseconds.
    pub(super) fn of(
        &mut self,
        topic: &str,
        described: &Described,
        data: &[u8],
        time: u64,
        offset: Offset,
    ) -> Vec<Shown> {
        let of = described.description.channel_type();
        let mut shown = Vec::new();
        if of.payload_size() > SMALL {
            return shown;
        }
        shown.push(Shown {
            topic: format!("{AGAIN}{topic}"),
            schema: Schema::Fields,
            time: offset.unix(time),
            message: schemas::channel_value(described.description.fields(), data).to_string(),
        });
        if of.fingerprint() == fingerprint::<Detection>()
            && let Some(detection) = Detection::from_bytes(data).filter(Detection::is_whole)
        {
            let captured = offset.unix_of_seconds(detection.timestamp());
            shown.push(Shown {
                topic: LANES.to_owned(),
                schema: Schema::Lanes,
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
                let time = offset.unix(event.time);
                let message = schemas::log(time, level, name, event.words.as_str());
                Shown { topic: EVENTS.to_owned(), schema: Schema::Event, time, message }
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
        let shown =
            Memory::default().of("lane_detection", &of, detection.as_bytes(), 13_000_000_000, Offset(1_000_000_000));
        let topics: Vec<_> = shown.iter().map(|shown| (&*shown.topic, shown.schema.of(&of).0, shown.time)).collect();
        let expected = [
            ("/lane_detection", "lkas.Detection".to_owned(), 14_000_000_000),
            ("/lanes", "foxglove.ImageAnnotations".to_owned(), 13_500_000_000),
        ];
        assert_eq!(topics, expected);
        let lanes: Value = serde_json::from_str(&shown[1].message).unwrap();
        assert_eq!(lanes["points"][0]["points"][0]["x"], 4.5);
        let value: Value = serde_json::from_str(&shown[0].message).unwrap();
        assert_eq!(value["frame_id"], 7);

        let mut damaged = detection.as_bytes().to_vec();
        damaged[8] ^= 1;
        assert_eq!(
            Memory::default().of("lane_detection", &of, &damaged, 0, Offset::default()).len(),
            1,
            "no lanes that are not whole"
        );
    }

    #[test]
    fn each_event_is_told_once_in_its_order() {
        let of = described::<Status>("events");
        let (mut memory, mut status) = (Memory::default(), Status::default());
        let mut told = |status: &Status| -> Vec<String> {
            let shown = memory.of("status_simulation", &of, status.as_bytes(), 0, Offset::default());
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
