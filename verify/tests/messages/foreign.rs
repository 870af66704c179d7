//! What any bytes must be good for: read as messages, images and wire messages, without a panic and with safe numbers.
//!
//! Shared by the property tests and the fuzz target.

use lkas_core::Plain;
use lkas_messages::codec;
use lkas_messages::names::Name;
use lkas_messages::{
    Control, ControlFields, Detection, DetectionFields, Image, Lane, Mode, VehicleState, VehicleStateFields,
};

/// Looks at `bytes` in every way that foreign bytes are looked at.
pub(crate) fn look_at(bytes: &[u8]) {
    if let Some(control) = read(bytes) {
        control_is_safe(&control);
    }
    if let Some(detection) = read(bytes) {
        detection_is_safe(&detection);
    }
    if let Some(state) = read(bytes) {
        state_is_safe(&state);
    }
    look_at_image(bytes);
    decode_as::<ControlFields, Control>(bytes);
    decode_as::<DetectionFields, Detection>(bytes);
    decode_as::<VehicleStateFields, VehicleState>(bytes);
    let _ = codec::decode::<Name>(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = text.parse::<Name>();
    }
}

/// The start of `bytes` as a message, wherever they lie in memory.
fn read<M: Plain>(bytes: &[u8]) -> Option<M> {
    bytes.get(..size_of::<M>()).and_then(M::from_bytes)
}

fn finite(numbers: &[f32]) {
    assert!(numbers.iter().all(|number| number.is_finite()), "{numbers:?}");
}

fn control_is_safe(control: &Control) {
    let fields = ControlFields::from(*control);
    assert!((-1.0..=1.0).contains(&fields.steering));
    assert!((0.0..=1.0).contains(&fields.throttle) && (0.0..=1.0).contains(&fields.brake));
    let optional = [fields.lateral_offset, fields.lateral_offset_m, fields.heading_angle_deg, fields.lane_width_px];
    optional.into_iter().flatten().for_each(|number| finite(&[number]));
    finite(&[fields.processing_time_ms]);
    assert!(fields.timestamp.is_finite());
    if fields.mode == Mode::EmergencyStop {
        assert_eq!(fields.throttle, 0.0, "an emergency stop does not drive");
    }
    let _ = (control.is_whole(), format!("{control:?}"));
    // What was read is fit to be sent again.
    let again = Control::try_from(fields).expect("safe numbers make a message");
    assert!(again.is_whole());
}

fn detection_is_safe(detection: &Detection) {
    let fields = DetectionFields::from(*detection);
    for Lane { x1, y1, x2, y2, confidence } in [fields.left, fields.right].into_iter().flatten() {
        finite(&[x1, y1, x2, y2]);
        assert!((0.0..=1.0).contains(&confidence));
    }
    finite(&[fields.processing_time_ms]);
    assert!(fields.timestamp.is_finite());
    let _ = (detection.is_whole(), format!("{detection:?}"));
    assert!(Detection::try_from(fields).expect("safe numbers make a message").is_whole());
}

fn state_is_safe(state: &VehicleState) {
    let fields = VehicleStateFields::from(*state);
    let _ = (state.is_whole(), format!("{state:?}"));
    assert!(VehicleState::try_from(fields).expect("safe numbers make a message").is_whole());
}

/// As a slot's payload that a stranger wrote.
fn look_at_image(bytes: &[u8]) {
    let mut memory = vec![0_u64; bytes.len().div_ceil(8).max(8)];
    for (word, bytes) in memory.iter_mut().zip(bytes.chunks(8)) {
        word.as_bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    }
    let image = Image::from_words(&memory).expect("at least a header");
    assert!(image.timestamp().is_finite());
    if let Some(view) = image.view() {
        assert_eq!(view.pixels().len(), view.shape().pixel_bytes());
        assert!(view.pixels().len() + 64 <= memory.len() * 8, "pixels inside of the memory");
    }
    let _ = (image.is_whole(), image.frame_id(), format!("{image:?}"));
}

/// Decodes, plain and framed; what can be decoded survives another round.
fn decode_as<F, M>(bytes: &[u8])
where
    F: From<M> + PartialEq + core::fmt::Debug,
    M: serde::Serialize + serde::de::DeserializeOwned + Copy,
{
    let mut frame = bytes.to_vec();
    let _ = codec::decode_framed::<M>(&mut frame);
    let Ok(message) = codec::decode::<M>(bytes) else { return };
    let mut space = [0; 256];
    let encoded = codec::encode(&message, &mut space).expect("a message fits 256 bytes");
    let again = codec::decode::<M>(encoded).expect("what was encoded decodes");
    assert_eq!(F::from(message), F::from(again));
    let framed = codec::encode_framed(&message, &mut space).expect("a frame fits 256 bytes");
    let again = codec::decode_framed::<M>(framed).expect("what was framed decodes");
    assert_eq!(F::from(message), F::from(again));
}
