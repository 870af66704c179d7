//! Contracts in time, and waiting without sleep.
#![allow(missing_docs)]

mod support;

use lkas_shm::{Contract, ControlChannel, Options, Reading, Wait, clock};
use std::time::Duration;
use support::{LONG, NO_WAIT, Name, control};

const CONTRACT: Contract = Contract { period: Duration::from_millis(20), max_age: Duration::from_millis(60) };

#[test]
fn a_contract_tells_fresh_from_late_from_stale_from_gone() {
    let Name(name) = &Name::new("contract");
    let options = Options { contract: Some(CONTRACT), ..Options::default() };
    let mut writer = ControlChannel::create(name, options).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(reader.contract(), Some(CONTRACT));
    assert!(matches!(reader.read(), Reading::Empty));
    let mut published = |age_ms: u64| {
        let mut loan = writer.loan();
        *loan = control(1);
        loan.publish_at(clock::now() - age_ms * 1_000_000);
    };
    // Generous, as a machine may be slow: an age only grows while it is looked at.
    published(0);
    assert!(!matches!(reader.read(), Reading::Empty | Reading::WriterGone { .. }));
    published(30);
    match reader.read() {
        Reading::Late { by, sample } => assert!(by >= Duration::from_millis(10) && sample.is_whole()),
        Reading::Stale { age, .. } => assert!(age > Some(CONTRACT.max_age), "the machine was slow"),
        other => panic!("{other:?}"),
    }
    published(100);
    assert!(matches!(reader.read(), Reading::Stale { age: Some(age), .. } if age >= Duration::from_millis(100)));
    drop(writer);
    assert!(matches!(reader.read(), Reading::WriterGone { .. }));

    let mut successor = ControlChannel::create(name, Options::default()).unwrap();
    assert_eq!(reader.contract(), None, "a successor may promise nothing");
    successor.publish(control(2));
    assert!(matches!(reader.read(), Reading::Fresh(_)));
}

#[test]
fn spinning_takes_what_comes_and_ends_in_time() {
    let Name(name) = &Name::new("spin");
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(reader.spin(Duration::from_millis(2)), Wait::TimedOut);
    writer.publish(control(1));
    assert_eq!(reader.spin(LONG), Wait::Fresh);
    assert!(reader.take().is_some());
    drop(writer);
    assert_eq!(reader.spin(LONG), Wait::Closed);
}
