//! Somebody who looks on without a role.

use crate::support::{Shared, explore, publish};
use lkas_core::fault;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use std::sync::Arc;

/// Number and time are those of one publish, and not older than the one seen before.
fn whoever_looks_on_sees_one_publish<const R: usize>(publishes: usize, takes: bool) {
    fault::expect_an_observer(true);
    let shared = Shared::<R>::new();
    // An observer only loads, and the writer loads a mailbox before it exchanges it. Of a word, loom remembers one access
    // of each kind, so that it would not see that these two depend on each other. Changed by both sides, this shows it
    // where to interleave them. It orders nothing.
    let moment = Arc::new(AtomicU32::new(0));
    let writing = {
        let (shared, moment) = (shared.clone(), moment.clone());
        thread::spawn(move || {
            let mut writer = shared.writer();
            for _ in 0..publishes {
                moment.fetch_add(1, Ordering::Relaxed);
                publish(&mut writer);
                if takes {
                    // So that the writer goes through all slots.
                    let _ = shared.reader(0).take();
                }
            }
        })
    };
    let mut last = 0;
    for _ in 0..2 {
        moment.fetch_add(1, Ordering::Relaxed);
        if let Ok(Some(seen)) = shared.view().newest() {
            assert_eq!(seen.sequence, seen.time, "the number of one publish with the time of another");
            assert!(seen.sequence >= last, "from {last} back to {}", seen.sequence);
            last = seen.sequence;
        }
    }
    writing.join().unwrap();
    let newest = shared.view().newest().expect("nobody publishes any more").expect("something was published");
    assert_eq!(newest.sequence, publishes as u64);
}

#[test]
fn an_observer_sees_one_publish() {
    explore("an_observer_sees_one_publish", 3, || whoever_looks_on_sees_one_publish::<1>(4, false));
}

#[test]
fn an_observer_beside_a_reader_sees_one_publish() {
    explore("an_observer_beside_a_reader_sees_one_publish", 2, || whoever_looks_on_sees_one_publish::<1>(4, true));
}
