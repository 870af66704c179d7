//! The words of a segment's header that change while it is in use.

use crate::sleep::{Futex, wait_while};
use crate::support::{Shared, explore, publish};
use lkas_core::{Contract, LiveWords, WriterIdentity};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;
use std::time::Duration;

/// A contract is the one before or the one after, whenever it is read, and also where its writer dies between the two.
#[test]
fn a_contract_is_never_a_mixture() {
    let contract = |period, max_age| {
        Contract::new(Duration::from_millis(period), Duration::from_millis(max_age)).expect("they make sense")
    };
    let contracts = [contract(20, 40), contract(100, 200)];
    explore("a_contract_is_never_a_mixture", 8, move || {
        let live = Arc::new(LiveWords::new());
        let writing = {
            let live = live.clone();
            thread::spawn(move || {
                live.set_contract(Some(contracts[0]));
                live.set_writer(WriterIdentity { process: 2, ..WriterIdentity::default() });
                live.set_contract(Some(contracts[1]));
            })
        };
        for _ in 0..2 {
            let found = live.contract().expect("never nonsense");
            assert!(found.is_none_or(|found| contracts.contains(&found)), "{found:?}");
        }
        writing.join().unwrap();
        assert_eq!(live.contract(), Ok(Some(contracts[1])));
        assert_eq!(live.writer().process, 2);
    });
}

/// Who finds a segment retired finds what was done before it was retired: its successor has the name.
#[test]
fn whoever_finds_it_retired_finds_the_successor() {
    explore("whoever_finds_it_retired_finds_the_successor", 8, || {
        let live = Arc::new(LiveWords::new());
        let successor = Arc::new(AtomicU64::new(0));
        let replacing = {
            let (live, successor) = (live.clone(), successor.clone());
            thread::spawn(move || {
                successor.store(1, Ordering::Relaxed);
                live.retire();
            })
        };
        if live.is_retired() {
            assert_eq!(successor.load(Ordering::Relaxed), 1);
        }
        replacing.join().unwrap();
    });
}

/// Whoever sleeps on a segment that is retired wakes up and sees it, and gets what was published before.
#[test]
fn retirement_wakes_and_loses_nothing() {
    explore("retirement_wakes_and_loses_nothing", 5, || {
        let shared = Shared::<1>::new();
        let live = Arc::new(LiveWords::new());
        let futex = Arc::new(Futex::default());
        let replacing = {
            let (shared, live, futex) = (shared.clone(), live.clone(), futex.clone());
            thread::spawn(move || {
                let mut writer = shared.writer();
                if !publish(&mut writer).is_empty() {
                    futex.wake();
                }
                live.retire();
                if !shared.writer().close().is_empty() {
                    futex.wake();
                }
            })
        };
        let mut reader = shared.reader(0);
        wait_while(&mut reader, &futex, |_, _| !live.is_retired());
        replacing.join().unwrap();
        assert_eq!(reader.latest().unwrap().sequence(), 1);
    });
}
