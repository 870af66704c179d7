//! The broker's first port: what goes to every viewer.

use crate::error::Refusal;
use crate::ports::Port;
use crate::socket::{Listeners, in_words};
use crate::wire::{self, DetectionMessage, FrameHeader, MAX_JPEG, Topic};
use core::fmt;
use lkas_messages::{Detection, DetectionFields, VehicleState, VehicleStateFields};
use serde::Serialize;

/// What became of a broadcast.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a broadcast that was dropped for a reason will be dropped again next time"]
pub enum Broadcast {
    /// Handed to ZeroMQ for at least one viewer. A viewer that does not keep up misses it nevertheless; it sees that
    /// from the gap in the frames' numbers, the broker does not see it.
    Sent,
    /// Nobody is subscribed to the topic.
    NoListener,
    /// Not sent, for this reason.
    Dropped(Refusal),
}

impl Broadcast {
    /// Whether it was handed to ZeroMQ for at least one viewer.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent)
    }
}

/// What became of the broadcasts on one topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Departures {
    /// Whether somebody is subscribed.
    pub subscribed: bool,
    /// Bytes handed to ZeroMQ, which sends them to each viewer.
    pub bytes: u64,
    /// Handed to ZeroMQ for at least one viewer.
    pub sent: u64,
    /// Not sent because nobody is subscribed.
    pub no_listener: u64,
    /// Not sent for another reason.
    pub dropped: u64,
    /// The last such reason.
    #[serde(serialize_with = "in_words")]
    pub last_drop: Option<Refusal>,
}

impl fmt::Display for Departures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent, {} without listener, {} dropped", self.sent, self.no_listener, self.dropped)?;
        match &self.last_drop {
            Some(reason) => write!(f, " (last: {reason})"),
            None => Ok(()),
        }
    }
}

const TOPICS: &[&str] =
    &["frame", "detection", "state", "telemetry", "parameter_status", "action_status", "status", "tick", "statistics"];

pub(crate) struct Broadcaster {
    pub(crate) port: Port,
    departures: [Departures; TOPICS.len()],
}

impl Broadcaster {
    pub(crate) fn new(port: Port) -> Self {
        Self { port, departures: Default::default() }
    }

    pub(crate) fn listeners() -> Listeners {
        Listeners::new(TOPICS)
    }

    pub(crate) fn has_viewers(&self, topic: Topic) -> bool {
        self.port.has(topic.name())
    }

    pub(crate) fn departures(&self, topic: Topic) -> Departures {
        Departures { subscribed: self.has_viewers(topic), ..self.departures[topic as usize].clone() }
    }

    pub(crate) fn frame(&mut self, header: &FrameHeader, jpeg: &[u8]) -> Broadcast {
        let object = if jpeg.len() > MAX_JPEG {
            Err(Refusal::LargePicture { size: jpeg.len() })
        } else if !header.timestamp.is_finite() {
            Err(Refusal::NotFinite)
        } else {
            wire::encode(&FrameHeader { jpeg_size: jpeg.len() as u64, ..*header })
        };
        self.finish(Topic::Frame, object, Some(jpeg))
    }

    pub(crate) fn detection(&mut self, fields: &DetectionFields) -> Broadcast {
        // Through the message, which clamps what is out of range and refuses what is not finite.
        let object = Detection::try_from(*fields)
            .map_err(Refusal::from)
            .and_then(|message| wire::encode(&DetectionMessage::from(&DetectionFields::from(message))));
        self.finish(Topic::Detection, object, None)
    }

    pub(crate) fn state(&mut self, fields: &VehicleStateFields) -> Broadcast {
        let object = VehicleState::try_from(*fields)
            .map_err(Refusal::from)
            .and_then(|message| wire::encode(&VehicleStateFields::from(message)));
        self.finish(Topic::State, object, None)
    }

    pub(crate) fn object(&mut self, topic: Topic, object: &impl Serialize) -> Broadcast {
        let object = wire::encode(object);
        self.finish(topic, object, None)
    }

    /// Sends bytes that were checked where they came from.
    pub(crate) fn checked(&mut self, topic: Topic, object: Vec<u8>) -> Broadcast {
        self.finish(topic, Ok(object), None)
    }

    fn finish(&mut self, topic: Topic, object: Result<Vec<u8>, Refusal>, picture: Option<&[u8]>) -> Broadcast {
        let mut bytes = 0;
        let outcome = match object {
            Err(reason) => Broadcast::Dropped(reason),
            Ok(_) if !self.has_viewers(topic) => Broadcast::NoListener,
            Ok(object) => {
                bytes = topic.name().len() + object.len() + picture.map_or(0, <[u8]>::len);
                let sent = match picture {
                    Some(picture) => self.port.send(&[topic.name().as_bytes(), &object, picture]),
                    None => self.port.send(&[topic.name().as_bytes(), &object]),
                };
                sent.map_or_else(|error| Broadcast::Dropped(Refusal::Socket(error)), |()| Broadcast::Sent)
            }
        };
        let departures = &mut self.departures[topic as usize];
        match &outcome {
            Broadcast::Sent => {
                departures.sent += 1;
                departures.bytes += bytes as u64;
            }
            Broadcast::NoListener => departures.no_listener += 1,
            Broadcast::Dropped(reason) => {
                departures.dropped += 1;
                departures.last_drop = Some(reason.clone());
            }
        }
        outcome
    }
}
