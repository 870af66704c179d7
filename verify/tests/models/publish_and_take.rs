//! Publish against take: nobody dies, nobody sleeps.

use crate::support::{Owners, Shared, check, explore, publish};
use lkas_core::fault;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

fn publishes_and_takes<const R: usize>(publishes: usize, takes: usize) {
    let shared = Shared::<R>::new();
    let readers: Vec<_> = (0..R)
        .map(|place| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut reader = shared.reader(place);
                let mut last = 0;
                for _ in 0..takes {
                    check(reader.take(), &mut last);
                }
            })
        })
        .collect();
    let mut writer = shared.writer();
    for _ in 0..publishes {
        publish(&mut writer);
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn no_torn_value_one_reader() {
    explore("no_torn_value_one_reader", 8, || publishes_and_takes::<1>(4, 3));
}

#[test]
fn no_torn_value_two_readers() {
    explore("no_torn_value_two_readers", 3, || publishes_and_takes::<2>(3, 2));
}

#[test]
fn no_torn_value_three_readers() {
    explore("no_torn_value_three_readers", 2, || publishes_and_takes::<3>(3, 1));
}

/// What a reader handed back is written to only after the reader's last look at it.
#[test]
fn slots_are_not_reused_early() {
    explore("slots_are_not_reused_early", 8, || publishes_and_takes::<1>(5, 2));
}

/// The free slot is nobody's, and a slot that is looked at is not written to.
fn slots_have_one_owner<const R: usize>(publishes: usize) {
    let shared = Shared::<R>::new();
    let owners = Owners::default();
    let readers: Vec<_> = (0..R)
        .map(|place| {
            let (shared, owners) = (shared.clone(), owners.clone());
            thread::spawn(move || {
                let mut reader = shared.reader(place);
                for _ in 0..2 {
                    owners.look(&mut reader);
                }
            })
        })
        .collect();
    let mut writer = shared.writer();
    for _ in 0..publishes {
        owners.publish(&mut writer);
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn a_slot_never_has_two_owners_one_reader() {
    explore("a_slot_never_has_two_owners_one_reader", 6, || slots_have_one_owner::<1>(4));
}

#[test]
fn a_slot_never_has_two_owners_two_readers() {
    explore("a_slot_never_has_two_owners_two_readers", 2, || slots_have_one_owner::<2>(3));
}

#[test]
fn a_slot_never_has_two_owners_three_readers() {
    explore("a_slot_never_has_two_owners_three_readers", 1, || slots_have_one_owner::<3>(3));
}

/// Whoever knows that a publish is done sees it, or a newer one.
fn the_newest_is_taken<const R: usize>(publishes: u64, takes: usize) {
    let shared = Shared::<R>::new();
    let finished = Arc::new(AtomicU64::new(0));
    let writing = {
        let (shared, finished) = (shared.clone(), finished.clone());
        thread::spawn(move || {
            let mut writer = shared.writer();
            for _ in 0..publishes {
                publish(&mut writer);
                finished.store(writer.sequence(), Ordering::Release);
            }
        })
    };
    // The last place: the one that a publish reaches last.
    let mut reader = shared.reader(R - 1);
    for _ in 0..takes {
        let known = finished.load(Ordering::Acquire);
        let found = reader.latest().map_or(0, |sample| sample.sequence());
        assert!(found >= known, "publish {known} was finished, and the newest found is {found}");
    }
    writing.join().unwrap();
    assert_eq!(reader.latest().unwrap().sequence(), publishes);
}

#[test]
fn a_take_is_never_older_than_a_finished_publish_one_reader() {
    explore("a_take_is_never_older_than_a_finished_publish_one_reader", 6, || the_newest_is_taken::<1>(3, 2));
}

#[test]
fn a_take_is_never_older_than_a_finished_publish_three_readers() {
    explore("a_take_is_never_older_than_a_finished_publish_three_readers", 4, || the_newest_is_taken::<3>(2, 2));
}

/// Who comes when values were published already gets the newest one at once.
fn who_joins_late_sees_the_newest<const R: usize>() {
    let shared = Shared::<R>::new();
    let mut writer = shared.writer();
    publish(&mut writer);
    publish(&mut writer);
    let joining = {
        let shared = shared.clone();
        thread::spawn(move || {
            let mut reader = shared.reader(R - 1);
            let mut last = 0;
            check(reader.take(), &mut last);
            assert!(last >= 2, "the newest was at least 2, and the late joiner got {last}");
            check(reader.take(), &mut last);
        })
    };
    publish(&mut writer);
    publish(&mut writer);
    joining.join().unwrap();
}

#[test]
fn a_late_joiner_sees_the_newest_one_reader() {
    explore("a_late_joiner_sees_the_newest_one_reader", 8, who_joins_late_sees_the_newest::<1>);
}

#[test]
fn a_late_joiner_sees_the_newest_two_readers() {
    explore("a_late_joiner_sees_the_newest_two_readers", 8, who_joins_late_sees_the_newest::<2>);
}

#[test]
fn a_late_joiner_sees_the_newest_three_readers() {
    explore("a_late_joiner_sees_the_newest_three_readers", 4, who_joins_late_sees_the_newest::<3>);
}

/// The reader gets in the way as often as it can: it takes, goes to sleep, and is succeeded. Two attempts can fail, and
/// never a third; a fourth attempt fails the model itself.
#[test]
fn a_publish_needs_at_most_three_attempts() {
    explore("a_publish_needs_at_most_three_attempts", 12, || {
        let shared = Shared::<1>::new();
        let mut writer = shared.writer();
        publish(&mut writer);
        let reading = {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut reader = shared.reader(0);
                    let _ = reader.latest();
                    let _ = reader.announce_sleep();
                }
            })
        };
        publish(&mut writer);
        reading.join().unwrap();
    });
    assert_eq!(fault::most_attempts(), 3, "the bound is reached, so that it is known to be tight");
}

/// A reader that keeps changing its mailbox against the rules makes the writer put by force: that is still one step, and
/// as long as slots are taken by the rules they are still handed over in order.
#[test]
fn a_rogue_reader_costs_only_attempts() {
    const WAITING: u32 = 1 << 16;
    fault::expect_a_rogue(true);
    explore("a_rogue_reader_costs_only_attempts", 12, || {
        let shared = Shared::<1>::new();
        let mut writer = shared.writer();
        publish(&mut writer);
        let writing = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut writer = shared.writer();
                for _ in 0..3 {
                    publish(&mut writer);
                }
            })
        };
        let mut reader = shared.reader(0);
        let mut last = 0;
        check(reader.take(), &mut last);
        check(reader.take(), &mut last);
        if let Some((word, _)) = reader.announce_sleep() {
            // SAFETY: not kept, which is the point: what it may cost is what this model checks.
            unsafe { word.atomic() }.scribble(WAITING);
        }
        check(reader.take(), &mut last);
        writing.join().unwrap();
    });
    fault::expect_a_rogue(false);
    assert!(fault::forced_puts() > 0, "the rogue never got in the way often enough");
}
