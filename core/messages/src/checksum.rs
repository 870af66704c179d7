//! The check value that every message in memory carries, from who built it to who reads it.
//!
//! A channel never delivers a torn value. The check is the receiver's own evidence of it, and it also finds bytes that
//! were damaged by something else than the channel, in memory. Over a wire it does not go: see the [codec](crate::codec).

use crc32fast::Hasher;

/// How check values are made. They are the [semantics](lkas_core::Message::SEMANTICS) of every message, so that two
/// sides that make them differently refuse each other: whatever changes a check value changes this too.
pub(crate) const METHOD: &str = "crc-32";

/// Bytes that are looked at and then copied: they stay in the first cache meanwhile.
const CHUNK: usize = if cfg!(miri) { 256 } else { 8 << 10 };

/// A 32-bit check value over `bytes`: CRC-32 as in zip and Ethernet (polynomial 0x04c11db7, reflected).
///
/// Any one or two flipped bits change it, and any damage within 32 neighbouring bits; of other damage, one case in four
/// thousand million passes. It finds accidents; it is no defence against intent.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A check value over `head` and `body` as one.
pub(crate) fn checksum_of_both(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// Copies `source` to `body`, as far as both go, and returns the check value over `head` and `source`.
///
/// Each part is looked at before it is copied: a processor's instruction for copies may leave what it wrote in a farther
/// cache than what it read.
pub(crate) fn copy_with_checksum(head: &[u8], body: &mut [u8], source: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(head);
    for (to, from) in body.chunks_mut(CHUNK).zip(source.chunks(CHUNK)) {
        hasher.update(from);
        to.copy_from_slice(from);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Control, ControlFields, Departure, Detection, DetectionFields, Lane, VehicleState, VehicleStateFields,
    };
    use lkas_core::Plain;
    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    /// Where an interpreter is too slow for all pairs, it gets some.
    const STRIDE: usize = if cfg!(miri) { 61 } else { 1 };

    fn flip(bytes: &mut [u8], bit: usize) {
        bytes[bit / 8] ^= 1 << (bit % 8);
    }

    /// `is_noticed` says so of `bytes` with any bit, and with any two bits, flipped.
    fn one_or_two_flips_are_noticed(bytes: &mut [u8], is_noticed: impl Fn(&[u8]) -> bool) {
        assert!(!is_noticed(bytes));
        let bits = bytes.len() * 8;
        for first in (0..bits).step_by(STRIDE) {
            flip(bytes, first);
            assert!(is_noticed(bytes), "bit {first}");
            for second in (first + 1..bits).step_by(STRIDE) {
                flip(bytes, second);
                assert!(is_noticed(bytes), "bits {first} and {second}");
                flip(bytes, second);
            }
            flip(bytes, first);
        }
    }

    #[test]
    fn one_or_two_flipped_bits_change_the_value() {
        for mut bytes in [[0; 128], core::array::from_fn(|i| (i as u8).wrapping_mul(151))] {
            let whole = checksum(&bytes);
            one_or_two_flips_are_noticed(&mut bytes, |bytes| checksum(bytes) != whole);
        }
    }

    #[test]
    fn one_or_two_flipped_bits_are_noticed_in_every_message() {
        let lane = Lane { x1: 100.0, y1: 600.0, x2: 350.5, y2: 350.0, confidence: 0.9 };
        let full = ControlFields {
            steering: -0.25,
            lateral_offset: Some(0.5),
            heading_angle_deg: Some(-3.5),
            departure: Some(Departure::Drift),
            frame_id: 77,
            timestamp: 2.5,
            ..ControlFields::default()
        };
        for fields in [ControlFields::default(), full] {
            let mut message = Control::try_from(fields).unwrap();
            one_or_two_flips_are_noticed(message.as_bytes_mut(), |bytes| {
                !Control::from_bytes(bytes).unwrap().is_whole()
            });
        }
        let full = DetectionFields {
            left: Some(lane),
            right: Some(lane),
            width: 800,
            frame_id: 77,
            timestamp: 2.5,
            ..Default::default()
        };
        for fields in [DetectionFields::default(), full] {
            let mut message = Detection::try_from(fields).unwrap();
            one_or_two_flips_are_noticed(message.as_bytes_mut(), |bytes| {
                !Detection::from_bytes(bytes).unwrap().is_whole()
            });
        }
        let full = VehicleStateFields {
            speed_kmh: 42.0,
            position: Some([1.0, 2.0, 3.0]),
            paused: Some(true),
            ..Default::default()
        };
        for fields in [VehicleStateFields::default(), full] {
            let mut message = VehicleState::try_from(fields).unwrap();
            one_or_two_flips_are_noticed(message.as_bytes_mut(), |bytes| {
                !VehicleState::from_bytes(bytes).unwrap().is_whole()
            });
        }
    }

    #[test]
    fn two_values_that_are_joined_are_told_from_either() {
        let (a, b) = ([1_u8; 128], [2_u8; 128]);
        for seam in 1..a.len() {
            let mut torn = a;
            torn[seam..].copy_from_slice(&b[seam..]);
            assert_ne!(checksum(&torn), checksum(&a), "{seam}");
            assert_ne!(checksum(&torn), checksum(&b), "{seam}");
        }
    }

    #[test]
    fn length_counts() {
        let zeroes = [0; 2048];
        let lengths = (0..=zeroes.len()).step_by(STRIDE);
        let values: BTreeSet<u32> = lengths.clone().map(|length| checksum(&zeroes[..length])).collect();
        assert_eq!(values.len(), lengths.count());
    }

    #[test]
    fn both_are_checked_as_one() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * CHUNK + 5).collect();
        for seam in [0, 1, 64, 200] {
            let (head, body) = bytes.split_at(seam);
            let mut copy = vec![0; body.len()];
            assert_eq!(checksum_of_both(head, body), checksum(&bytes));
            assert_eq!(copy_with_checksum(head, &mut copy, body), checksum(&bytes));
            assert_eq!(copy, body);
        }
    }

    /// As the definition says, bit by bit.
    #[test]
    fn the_value_is_that_of_the_definition() {
        let plain = |bytes: &[u8]| {
            !bytes
                .iter()
                .flat_map(|byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)))
                .fold(!0_u32, |crc, bit| crc >> 1 ^ if (crc ^ bit) & 1 == 1 { 0xedb8_8320 } else { 0 })
        };
        let bytes: Vec<u8> = (0..if cfg!(miri) { 512_u32 } else { 2048 }).map(|at| (at * 151 + at / 7) as u8).collect();
        for length in (0..=bytes.len()).step_by(STRIDE) {
            assert_eq!(checksum(&bytes[..length]), plain(&bytes[..length]), "{length}");
        }
    }

    /// Receivers of other releases make the same values, or refuse the sender: with other values goes another
    /// [`METHOD`].
    #[test]
    fn the_method_makes_these_values() {
        assert_eq!((checksum(b""), checksum(b"123456789")), (0, 0xcbf4_3926));
        assert_eq!(METHOD, "crc-32");
    }
}
