//! Contracts in time, and waiting without sleep.
#![allow(missing_docs)]

mod support;

use lkas_shm::{Contract, ControlChannel, Options, Reading, Verdict, Wait, clock};
use std::time::Duration;
use support::{LONG, NO_WAIT, Name, control};

const CONTRACT: Contract = match Contract::new(Duration::from_millis(20), Duration::from_millis(60)) {
    Ok(contract) => contract,
    Err(_) => panic!(),
};

#[test]
fn a_contract_tells_fresh_from_late_from_stale_from_gone() {
    let Name(name) = &Name::new("contract");
    let options = Options::new().contract(CONTRACT);
    let mut writer = ControlChannel::create(name, options).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(reader.contract(), Ok(Some(CONTRACT)));
    assert!(matches!(reader.read(), Reading::Empty));
    let mut published = |age_ms: u64| {
        let mut loan = writer.loan();
        *loan = control(1);
        loan.publish_at(clock::now() - age_ms * 1_000_000);
    };
    // Generous, as a machine may be slow: an age only grows while it is looked at.
    published(0);
    assert!(!matches!(reader.read().verdict(), None | Some(Verdict::WriterGone | Verdict::NoContract)));
    published(30);
    match reader.read() {
        Reading::Value { verdict: Verdict::Late { by }, sample, .. } => {
            assert!(by >= Duration::from_millis(10) && sample.is_whole());
        }
        Reading::Value { verdict: Verdict::Stale, age, .. } => {
            assert!(age > Some(CONTRACT.max_age()), "the machine was slow");
        }
        other => panic!("{other:?}"),
    }
    published(100);
    let stale = |age| age >= Duration::from_millis(100);
    assert!(matches!(reader.read(), Reading::Value { verdict: Verdict::Stale, age: Some(age), .. } if stale(age)));
    drop(writer);
    assert_eq!(reader.read().verdict(), Some(Verdict::WriterGone));

    let mut successor = ControlChannel::create(name, Options::default()).unwrap();
    assert_eq!(reader.contract(), Ok(None), "a successor may promise nothing");
    successor.publish(control(2));
    assert_eq!(reader.read().verdict(), Some(Verdict::NoContract), "which is not the same as fresh");
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
