//! What any parts in place of a message must be good for. Shared by the property tests and the fuzz target.

use lkas_zmq::wire::{decode_action, decode_parameter, decode_vehicle_status, decode_viewer_message};
use serde_json::Value;

/// Decodes `parts` as every kind of message. What is accepted keeps what its type promises.
pub(crate) fn look_at(parts: &[&[u8]]) {
    match decode_action(parts) {
        Ok(request) => {
            assert!(request.timestamp.is_none_or(f64::is_finite));
            assert_eq!(request.object.get("action").and_then(Value::as_str), Some(request.action.as_str()));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    match decode_parameter(parts) {
        Ok(request) => assert!(request.value.is_none_or(f64::is_finite)),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    match decode_vehicle_status(parts) {
        Ok(status) => {
            match &status.typed {
                None => assert_eq!(Some(&status.json.as_bytes()), parts.last()),
                // The seven keys that programs with fixed records know, and numbers in all that need one.
                Some(_) => {
                    let plain: Value = serde_json::from_str(&status.json).unwrap();
                    assert_eq!(plain.as_object().map(|plain| plain.len()), Some(7));
                    let numbers = ["steering", "throttle", "brake", "speed_kmh"];
                    assert!(numbers.into_iter().all(|key| plain[key].is_number()));
                }
            }
            // What viewers get is JSON in the strict sense.
            assert!(serde_json::from_str::<Value>(&status.json).is_ok());
            if let Some(fields) = status.fields {
                let numbers = [fields.steering, fields.throttle, fields.brake, fields.speed_kmh];
                assert!(numbers.into_iter().chain(fields.position.into_iter().flatten()).all(f32::is_finite));
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
    match decode_viewer_message(parts) {
        Ok(message) => assert_eq!(Some(&message.topic().name().as_bytes()), parts.first()),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
