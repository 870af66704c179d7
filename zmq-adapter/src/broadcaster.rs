//! The broker's first port: what goes to every viewer.

use crate::error::Refusal;
use crate::ports::Port;
use crate::socket::{Listeners, in_words};
use crate::typed::{self, LastPosition, TypedDetection};
use crate::wire::{self, DetectionMessage, FrameHeader, MAX_JPEG, Topic, VehicleStatus};
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
    /// How many connections are. One that subscribed and left at once may be counted until the next one.
    pub subscribers: usize,
    /// Broadcasts a second, sent or not, over the last whole second or so.
    pub rate_hz: f64,
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

/// What became of a broadcast that goes out in two forms.
fn either(plain: Broadcast, typed: Broadcast) -> Broadcast {
    if plain == Broadcast::NoListener { typed } else { plain }
}

const TOPICS: usize = Topic::ALL.len();

pub(crate) struct Broadcaster {
    pub(crate) port: Port,
    pub(crate) position: LastPosition,
    departures: [Departures; TOPICS],
    /// How many broadcasts there were when rates were last measured.
    measured: [u64; TOPICS],
}

impl Broadcaster {
    pub(crate) fn new(port: Port) -> Self {
        Self { port, position: LastPosition::default(), departures: Default::default(), measured: [0; TOPICS] }
    }

    pub(crate) fn listeners() -> Listeners {
        Listeners::new(&Topic::ALL.map(Topic::name))
    }

    pub(crate) fn has_viewers(&self, topic: Topic) -> bool {
        self.port.has(topic.name())
    }

    pub(crate) fn departures(&self, topic: Topic) -> Departures {
        let subscribers = self.port.count(topic.name());
        Departures { subscribed: self.has_viewers(topic), subscribers, ..self.departures[topic as usize].clone() }
    }

    /// Measures the rates anew, `elapsed_s` after the last time.
    pub(crate) fn measure(&mut self, elapsed_s: f64) {
        for (departures, measured) in self.departures.iter_mut().zip(&mut self.measured) {
            let total = departures.sent + departures.no_listener + departures.dropped;
            departures.rate_hz = (total - *measured) as f64 / elapsed_s;
            *measured = total;
        }
    }

    pub(crate) fn frame(&mut self, header: &FrameHeader, jpeg: &[u8]) -> Broadcast {
        let object = if jpeg.len() > MAX_JPEG {
            Err(Refusal::LargePicture { size: jpeg.len() })
        } else if !header.timestamp.is_finite() {
            Err(Refusal::NotFinite)
        } else {
            wire::encode(&FrameHeader { jpeg_size: jpeg.len() as u64, ..*header })
        };
        let plain = self.finish(Topic::Frame, object, Some(jpeg));
        either(plain, self.typed(Topic::TypedFrame, || typed::frame(header, jpeg)))
    }

    pub(crate) fn detection(&mut self, fields: &DetectionFields) -> Broadcast {
        // Through the message, which clamps what is out of range and refuses what is not finite.
        let message = match Detection::try_from(*fields) {
            Ok(message) => DetectionMessage::from(&DetectionFields::from(message)),
            Err(error) => return self.finish(Topic::Detection, Err(error.into()), None),
        };
        let plain = self.finish(Topic::Detection, wire::encode(&message), None);
        either(plain, self.typed(Topic::TypedDetection, || wire::encode(&TypedDetection::from(&message))))
    }

    pub(crate) fn state(&mut self, fields: &VehicleStateFields) -> Broadcast {
        let fields = match VehicleState::try_from(*fields) {
            Ok(message) => VehicleStateFields::from(message),
            Err(error) => return self.finish(Topic::State, Err(error.into()), None),
        };
        let plain = self.finish(Topic::State, wire::encode(&fields), None);
        let typed = self.position.state(&fields);
        either(plain, self.typed(Topic::TypedState, || wire::encode(&typed)))
    }

    /// The vehicle's own status, in both forms.
    pub(crate) fn status(&mut self, status: &VehicleStatus) -> Broadcast {
        let plain = self.finish(Topic::State, Ok(status.json.clone().into_bytes()), None);
        let typed = match (&status.typed, &status.fields) {
            (Some(object), _) => self.position.completed(object.clone()),
            (None, Some(fields)) => self.position.state(fields),
            // One that is odd is passed on as it is, and only so.
            (None, None) => return plain,
        };
        either(plain, self.typed(Topic::TypedState, || wire::encode(&typed)))
    }

    pub(crate) fn object(&mut self, topic: Topic, object: &impl Serialize) -> Broadcast {
        let object = wire::encode(object);
        self.finish(topic, object, None)
    }

    /// Makes an object, which may be large, only for somebody.
    fn typed(&mut self, topic: Topic, make: impl FnOnce() -> Result<Vec<u8>, Refusal>) -> Broadcast {
        let object = if self.has_viewers(topic) { make() } else { Ok(Vec::new()) };
        self.finish(topic, object, None)
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
