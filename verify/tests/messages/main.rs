//! Messages from random fields and from random bytes.
#![cfg(not(lkas_loom))]
#![allow(missing_docs)]

mod foreign;

use lkas_core::Plain;
use lkas_messages::codec;
use lkas_messages::{Control, ControlFields, Departure, Detection, DetectionFields, ImageShape, Lane, Mode};
use lkas_messages::{VehicleState, VehicleStateFields};
use proptest::collection::vec;
use proptest::prelude::*;

/// Failures are kept beside this file.
fn persisted() -> ProptestConfig {
    let file = proptest::test_runner::FileFailurePersistence::WithSource("regressions");
    ProptestConfig { failure_persistence: Some(Box::new(file)), ..ProptestConfig::default() }
}

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![4 => -2.0..2.0_f32, 1 => any::<f32>()]
}

const MODES: &[Mode] = &[Mode::Manual, Mode::Autopilot, Mode::LaneKeeping, Mode::EmergencyStop];
const DEPARTURES: &[Option<Departure>] =
    &[None, Some(Departure::Centred), Some(Departure::Drift), Some(Departure::Departure)];

fn control() -> impl Strategy<Value = ControlFields> {
    let optional = || proptest::option::of(number());
    (
        (proptest::sample::select(MODES), number(), number(), number()),
        (optional(), optional(), optional(), optional()),
        (proptest::sample::select(DEPARTURES), any::<u64>(), any::<f64>(), number()),
    )
        .prop_map(|((mode, steering, throttle, brake), (offset, offset_m, heading, width), rest)| ControlFields {
            mode,
            steering,
            throttle,
            brake,
            lateral_offset: offset,
            lateral_offset_m: offset_m,
            heading_angle_deg: heading,
            lane_width_px: width,
            departure: rest.0,
            frame_id: rest.1,
            timestamp: rest.2,
            processing_time_ms: rest.3,
        })
}

fn lane() -> impl Strategy<Value = Option<Lane>> {
    let lane = (number(), number(), number(), number(), number());
    proptest::option::of(lane.prop_map(|(x1, y1, x2, y2, confidence)| Lane { x1, y1, x2, y2, confidence }))
}

fn detection() -> impl Strategy<Value = DetectionFields> {
    (lane(), lane(), any::<(u16, u16)>(), any::<u64>(), any::<f64>(), number()).prop_map(
        |(left, right, (width, height), frame_id, timestamp, processing_time_ms)| DetectionFields {
            left,
            right,
            width,
            height,
            frame_id,
            timestamp,
            processing_time_ms,
        },
    )
}

/// Encodes both ways, decodes, and expects the same fields.
fn survives<M, F>(message: M) -> Result<(), TestCaseError>
where
    M: serde::Serialize + serde::de::DeserializeOwned + Copy,
    F: From<M> + PartialEq + core::fmt::Debug,
{
    let mut space = [0; 256];
    let plain: M = codec::decode(codec::encode(&message, &mut space).unwrap()).unwrap();
    prop_assert_eq!(F::from(message), F::from(plain));
    let framed: M = codec::decode_framed(codec::encode_framed(&message, &mut space).unwrap()).unwrap();
    prop_assert_eq!(F::from(message), F::from(framed));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..persisted() })]

    #[test]
    fn any_bytes_read_as_something_safe(bytes in vec(any::<u8>(), 0..300)) {
        foreign::look_at(&bytes);
    }

    /// Headers that nearly describe a picture, where random bytes never would.
    #[test]
    fn any_image_header_stays_inside_of_its_memory(
        words in (0..20_u32, 0..20_u32, 0..5_u32, 0..5_u32), size in 0..1500_usize,
    ) {
        let mut bytes = vec![7_u8; 64 + size];
        for (at, word) in [words.0, words.1, words.2, words.3].into_iter().enumerate() {
            bytes[16 + 4 * at..][..4].copy_from_slice(&word.to_le_bytes());
        }
        foreign::look_at(&bytes);
        let shape = ImageShape::from_words([words.0, words.1, words.2, words.3]);
        if let Some(shape) = shape {
            prop_assert_eq!(shape.to_words(), [words.0, words.1, words.2, words.3]);
        }
    }

    #[test]
    fn a_control_survives_or_is_refused(fields in control()) {
        match Control::try_from(fields) {
            Ok(control) => survives::<_, ControlFields>(control)?,
            Err(why) => prop_assert!(format!("{fields:?}").contains("NaN") || format!("{fields:?}").contains("inf"), "{why}"),
        }
    }

    #[test]
    fn a_detection_survives_or_is_refused(fields in detection()) {
        match Detection::try_from(fields) {
            Ok(detection) => survives::<_, DetectionFields>(detection)?,
            Err(why) => prop_assert!(format!("{fields:?}").contains("NaN") || format!("{fields:?}").contains("inf"), "{why}"),
        }
    }

    #[test]
    fn a_state_that_can_be_read_survives(bytes in vec(any::<u8>(), size_of::<VehicleState>())) {
        let fields = VehicleStateFields::from(VehicleState::from_bytes(&bytes).unwrap());
        survives::<_, VehicleStateFields>(VehicleState::try_from(fields).unwrap())?;
    }

    /// One byte changed: never silently another message of the same check value.
    #[test]
    fn damage_is_noticed(fields in control(), at in 0..size_of::<Control>(), bits in 1..=u8::MAX) {
        if let Ok(control) = Control::try_from(fields) {
            let mut bytes = control.as_bytes().to_vec();
            bytes[at] ^= bits;
            prop_assert!(!Control::from_bytes(&bytes).unwrap().is_whole());
        }
    }
}
