//! The end-to-end check value that every message carries.
//!
//! A channel never delivers a torn value. The check is the receiver's own evidence of it, and it also finds bytes that
//! were damaged by something else than the channel.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How check values are made. They are the [semantics](lkas_core::Message::SEMANTICS) of every message, so that two
/// sides that make them differently refuse each other: whatever changes a check value changes this too.
pub(crate) const METHOD: &str = "xxh3-64 in 32 bits";

/// A 32-bit check value over `bytes`: XXH3-64 with its halves folded into one.
///
/// A camera frame of 1.44 MB costs little more than copying it. Of damaged bytes, one in four thousand million passes for
/// whole, whatever the damage is. It finds accidents; it is no defence against intent.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    fold(xxh3_64(bytes))
}

/// A check value over `head` and `body` as one: the hash of the one is the seed for that of the other.
pub(crate) fn checksum_of_both(head: &[u8], body: &[u8]) -> u32 {
    fold(xxh3_64_with_seed(body, xxh3_64(head)))
}

const fn fold(hash: u64) -> u32 {
    (hash ^ hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Control, ControlFields, Departure, Detection, DetectionFields, Lane, VehicleState, VehicleStateFields,
    };
    use lkas_core::Plain;
    use std::collections::BTreeSet;
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
    fn what_the_body_adds_depends_on_the_head() {
        let change =
            |head: &[u8], body: &[u8], other: &[u8]| checksum_of_both(head, body) ^ checksum_of_both(head, other);
        for length in [1, 45, 200, 2000] {
            let bytes: Vec<u8> = (0..=length).map(|i| i as u8).collect();
            let (body, other) = (&bytes[1..], &bytes[..length]);
            assert_ne!(change(b"head", body, other), change(b"heap", body, other), "{length}");
            assert_ne!(checksum_of_both(b"head", body), checksum_of_both(b"heap", body), "{length}");
        }
    }

    /// Receivers of other releases make the same values, or refuse the sender: with other values goes another
    /// [`METHOD`].
    #[test]
    fn the_method_makes_these_values() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let values = [
            (checksum(b""), 0x2d06_8005_38d3_94c2_u64),
            (checksum(b"abc"), 0x78af_5f94_892f_3950),
            (checksum(&bytes[..64]), 0x6187_eb90_89b0_ed55),
            (checksum(&bytes[..200]), 0xf42a_8864_feaf_0703),
            (checksum(&bytes), 0xd33d_d80b_46f6_0e50),
            (checksum_of_both(b"head", &bytes), 0xcc2d_1789_6809_168a),
        ];
        for (found, hash) in values {
            assert_eq!(found, (hash >> 32) as u32 ^ hash as u32, "{hash:#x}");
        }
        assert_eq!(METHOD, "xxh3-64 in 32 bits");
    }
}
