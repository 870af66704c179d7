//! Headers that a stranger wrote: refused by name, or fit for the segment that they stand in.

mod foreign;

use foreign::{look_at, patched, segment};
use lkas_shm::{HeaderError, PresentBit};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::LazyLock;

static SEGMENT: LazyLock<Vec<u8>> = LazyLock::new(segment);

fn config() -> ProptestConfig {
    let file = proptest::test_runner::FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases: 4_000, failure_persistence: Some(Box::new(file)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..5000), size: u64) {
        prop_assert!(look_at(&bytes, size).is_err());
    }

    #[test]
    fn a_header_with_other_numbers_is_refused_or_fits(patches in vec(any::<u8>(), 11..66), grown in -1..2_i64) {
        let bytes = patched(&SEGMENT, &patches);
        let _ = look_at(&bytes, SEGMENT.len() as u64);
        let _ = look_at(&bytes, SEGMENT.len().wrapping_add_signed(grown as isize * 4096) as u64);
    }

    /// One number of the layout changed.
    #[test]
    fn every_number_of_the_layout_is_checked(at in 0..8_usize, to in prop_oneof![any::<u64>(), 0..5000_u64]) {
        const PAYLOAD_SIZE: usize = 32;
        const PAYLOAD_ALIGN: usize = 40;
        let mut bytes = SEGMENT.clone();
        let at = at * 8;
        let before = u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
        bytes[at..at + 8].copy_from_slice(&to.to_le_bytes());
        let accepted = look_at(&bytes, SEGMENT.len() as u64).is_ok();
        // Another payload may fit the same slots; whoever opens the channel for a type compares these two.
        let may_fit = at == PAYLOAD_SIZE || at == PAYLOAD_ALIGN;
        prop_assert!(accepted == (to == before) || (accepted && may_fit), "{at} {to}");
    }
}

#[test]
fn a_segment_describes_itself() {
    let description = look_at(&SEGMENT, SEGMENT.len() as u64).unwrap();
    assert_eq!(description.type_name(), "lkas.Control");
    assert_eq!((description.layout().readers(), description.layout().payload_size()), (4, 64));
    let field = description.fields().iter().find(|field| field.name == "lateral_offset_m").unwrap();
    assert_eq!((field.unit.as_str(), field.present), ("m", Some(PresentBit { byte: 32, bit: 1, in_each: false })));
    assert_eq!(look_at(&SEGMENT[..4095], SEGMENT.len() as u64), Err(HeaderError::Size { found: 4095, expected: 4096 }));
}
