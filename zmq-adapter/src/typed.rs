//! Objects that say by `type` what they are, for clients that know no topics: a frame has its JPEG in the object, a state
//! its speed in m/s and where the vehicle is in its lane.

use crate::error::{MAX_JPEG, Refusal};
use crate::wire::{DetectionMessage, FrameHeader};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::time::Duration;
use lkas_messages::{Lane, VehicleStateFields};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Instant;

/// Where the vehicle is in its lane is not known any more when nobody said so for this long.
const LASTS: Duration = Duration::from_secs(1);

/// m/s in km/h.
const KMH: f64 = 3.6;

/// Where the vehicle is in its lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LanePosition {
    /// From the middle of the lane, as a fraction of half its width; positive to the right. `None` where it is not known.
    pub lateral_offset: Option<f32>,
    /// Between vehicle and lane, in degrees. `None` where it is not known.
    pub heading_angle: Option<f32>,
    /// `centered`, `drift` or `departure`. `None` where it is not known.
    pub departure_status: Option<String>,
}

/// The lane position that was said last.
#[derive(Default)]
pub(crate) struct LastPosition(Option<(LanePosition, Instant)>);

impl LastPosition {
    pub(crate) fn set(&mut self, position: LanePosition) {
        self.0 = Some((position, Instant::now()));
    }

    fn get(&self) -> LanePosition {
        let current = self.0.as_ref().filter(|(_, said)| said.elapsed() < LASTS);
        current.map(|(position, _)| position.clone()).unwrap_or_default()
    }

    /// The state of a vehicle that says no more of itself than these numbers.
    pub(crate) fn state(&self, fields: &VehicleStateFields) -> Map<String, Value> {
        let object = json!({
            "type": "state",
            "speed": f64::from(fields.speed_kmh) / KMH,
            "steering": fields.steering,
            "throttle": fields.throttle,
            "brake": fields.brake,
        });
        self.completed(object.as_object().cloned().unwrap_or_default())
    }

    /// A typed state with what the vehicle did not say of its lane.
    pub(crate) fn completed(&self, mut object: Map<String, Value>) -> Map<String, Value> {
        let LanePosition { lateral_offset, heading_angle, departure_status } = self.get();
        let known = [
            ("lateral_offset", json!(lateral_offset)),
            ("heading_angle", json!(heading_angle)),
            ("departure_status", json!(departure_status)),
        ];
        for (key, value) in known {
            object.entry(key).or_insert(value);
        }
        object
    }
}

/// What a typed state is for whoever knows `vehicle_status` alone: `None` if the object is no typed state.
pub(crate) fn plain_state(object: &Map<String, Value>) -> Option<Result<Map<String, Value>, Refusal>> {
    let is_typed =
        object.get("type").and_then(Value::as_str).is_some_and(|kind| ["state", "vehicle_status"].contains(&kind));
    if !is_typed || object.contains_key("speed_kmh") {
        return None;
    }
    let number = |key| match object.get(key) {
        None => Err(Refusal::Missing { key }),
        Some(value) => value.as_f64().ok_or(Refusal::WrongKind { key, expected: "a number" }),
    };
    let plain = || {
        let speed_kmh = Some(number("speed")? * KMH).filter(|speed| speed.is_finite()).ok_or(Refusal::NotFinite)?;
        let plain = json!({
            "steering": number("steering")?,
            "throttle": number("throttle")?,
            "brake": if object.contains_key("brake") { number("brake")? } else { 0.0 },
            "speed_kmh": speed_kmh,
            "position": object.get("position"),
            "rotation": object.get("rotation"),
            "paused": object.get("paused"),
        });
        Ok(plain.as_object().cloned().unwrap_or_default())
    };
    Some(plain())
}

#[derive(Serialize)]
struct TypedFrame {
    r#type: &'static str,
    frame_id: u64,
    image: String,
    timestamp: f64,
}

/// A frame with its JPEG in base64.
pub(crate) fn frame(header: &FrameHeader, jpeg: &[u8]) -> Result<Vec<u8>, Refusal> {
    if jpeg.len() > MAX_JPEG {
        return Err(Refusal::LargePicture { size: jpeg.len() });
    }
    if !header.timestamp.is_finite() {
        return Err(Refusal::NotFinite);
    }
    let image = STANDARD.encode(jpeg);
    let frame = TypedFrame { r#type: "frame", frame_id: header.frame_id, image, timestamp: header.timestamp };
    serde_json::to_vec(&frame).map_err(|error| Refusal::NotJson { why: error.to_string() })
}

#[derive(Serialize)]
pub(crate) struct TypedDetection {
    r#type: &'static str,
    frame_id: u64,
    left_lane: Option<Lane>,
    right_lane: Option<Lane>,
    processing_time_ms: f32,
}

impl From<&DetectionMessage> for TypedDetection {
    fn from(message: &DetectionMessage) -> Self {
        let &DetectionMessage { left_lane, right_lane, processing_time_ms, frame_id } = message;
        Self { r#type: "detection", frame_id, left_lane, right_lane, processing_time_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_typed_state_is_read_with_its_speed_in_metres_a_second() {
        let typed =
            object(json!({"type": "state", "speed": 10, "steering": 0.1, "throttle": 0.2, "lateral_offset": 0}));
        let plain = plain_state(&typed).unwrap().unwrap();
        assert_eq!(
            (&plain["speed_kmh"], &plain["brake"], &plain["position"]),
            (&json!(36.0), &json!(0.0), &Value::Null)
        );
        assert_eq!(plain.len(), 7, "no key more than programs with fixed records know");
        for present in [json!({"speed": 10}), json!({"type": "state", "speed_kmh": 36}), json!({"type": "car"})] {
            assert!(plain_state(&object(present)).is_none());
        }
        let missing = plain_state(&object(json!({"type": "state", "steering": 0, "throttle": 0}))).unwrap();
        assert_eq!(missing, Err(Refusal::Missing { key: "speed" }));
        let fast = plain_state(&object(json!({"type": "state", "speed": 1e308, "steering": 0, "throttle": 0})));
        assert_eq!(fast.unwrap(), Err(Refusal::NotFinite));
    }

    #[test]
    fn what_the_vehicle_says_of_its_lane_comes_before_what_others_say() {
        let mut last = LastPosition::default();
        let fields = VehicleStateFields { speed_kmh: 36.0, ..VehicleStateFields::default() };
        let state = last.state(&fields);
        assert_eq!((&state["speed"], &state["departure_status"]), (&json!(10.0), &Value::Null));
        last.set(LanePosition { departure_status: Some("centered".to_owned()), ..LanePosition::default() });
        assert_eq!(last.state(&fields)["departure_status"], "centered");
        let said = object(json!({"type": "state", "departure_status": "drift"}));
        assert_eq!(last.completed(said)["departure_status"], "drift");
        last.0 = last.0.map(|(position, said)| (position, said - 2 * LASTS));
        assert_eq!(last.state(&fields)["departure_status"], Value::Null, "too old to be known");
    }
}
