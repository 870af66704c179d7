//! Controls over real channels, and the stop when they stop coming. Publish times are chosen, and limits are generous
//! where a slow machine could exceed them.
#![allow(missing_docs)]

mod support;

use lkas_messages::{Control, ControlFields, Mode};
use lkas_shm::Plain;
use lkas_shm::{
    ChannelName, Contract, ControlChannel, ControlSupervisor, DetectionChannel, OpenError, Options, Reason,
    SafetyEvent, SafetyOptions, Writer, clock, unlink,
};
use std::time::{Duration, Instant};
use support::{LONG, NO_WAIT, Name};

const PATIENT: SafetyOptions = SafetyOptions::new().max_age_s(20.0).resume_after_s(0.0);
const CONTRACT: Contract = match Contract::new(Duration::from_secs(5), Duration::from_secs(15)) {
    Ok(contract) => contract,
    Err(_) => panic!(),
};

fn create(name: &ChannelName, readers: usize, contract: Option<Contract>) -> Writer<Control> {
    let mut options = Options::new().readers(readers);
    options.contract = contract;
    ControlChannel::create(name, options).unwrap()
}

/// Publishes a control of `age` that answers a frame of `picture_age`.
fn publish_old(writer: &mut Writer<Control>, frame_id: u64, [age, picture_age]: [f64; 2], mode: Mode) -> Control {
    let timestamp = clock::now_seconds() - picture_age;
    let fields =
        ControlFields { mode, steering: 0.2, throttle: 0.3, brake: 0.0, timestamp, frame_id, ..Default::default() };
    let control = Control::try_from(fields).unwrap();
    let mut loan = writer.loan();
    *loan = control;
    loan.publish_at(clock::now() - (age * 1e9) as u64);
    control
}

fn publish(writer: &mut Writer<Control>, frame_id: u64) -> Control {
    publish_old(writer, frame_id, [0.0, 0.0], Mode::LaneKeeping)
}

/// A supervisor that drives.
fn driving(name: &ChannelName, writer: &mut Writer<Control>, options: SafetyOptions) -> ControlSupervisor {
    let mut controls = ControlSupervisor::new(name.clone(), options);
    let published = publish(writer, 1);
    let received = controls.next(LONG).unwrap().unwrap();
    assert!(received.published <= clock::now() && received.value.frame_id() == 1);
    let (executed, events) = controls.decide(false);
    assert_eq!(events, [SafetyEvent::Started]);
    assert_eq!(executed.as_bytes(), published.as_bytes(), "unchanged");
    controls
}

#[track_caller]
fn assert_stops(controls: &mut ControlSupervisor, expected: Reason) {
    let (executed, events) = controls.decide(false);
    assert_eq!((executed.mode(), executed.throttle(), executed.brake()), (Mode::EmergencyStop, 0.0, 0.6));
    assert!(
        matches!(events[..], [SafetyEvent::SafeStop { reason, .. }] if reason == expected),
        "expected {expected:?}, found {events:?}"
    );
    assert_eq!(controls.safe_stops(), 1);
}

#[test]
fn without_a_channel_it_brakes_and_waits() {
    let Name(name) = &Name::new("supervisor_alone");
    let mut controls = ControlSupervisor::new(name.clone(), PATIENT);
    assert!(controls.next(NO_WAIT).unwrap().is_none());
    let (executed, events) = controls.decide(true);
    assert_eq!((executed.mode(), executed.brake(), events.len()), (Mode::EmergencyStop, 0.6, 0));
    driving(name, &mut create(name, 4, None), PATIENT);
}

#[test]
fn a_fresh_decision_from_an_old_picture_is_old() {
    let Name(name) = &Name::new("supervisor_picture");
    let mut writer = create(name, 4, None);
    let mut controls = driving(name, &mut writer, PATIENT);
    publish_old(&mut writer, 2, [0.0, 21.0], Mode::EmergencyStop);
    assert!(controls.next(LONG).unwrap().is_some());
    assert_eq!(controls.decide(false).1, [SafetyEvent::EmergencyStop], "asked for, and needs no picture");
    publish_old(&mut writer, 3, [0.0, 21.0], Mode::LaneKeeping);
    assert!(controls.next(LONG).unwrap().is_some());
    assert_stops(&mut controls, Reason::Silent);
}

#[test]
fn the_contract_of_the_channel_limits_the_age() {
    for (contract, stops) in [(None, false), (Some(CONTRACT), true)] {
        let Name(name) = &Name::new("supervisor_contract");
        let mut writer = create(name, 4, contract);
        let mut controls = driving(name, &mut writer, PATIENT);
        publish_old(&mut writer, 2, [16.0; 2], Mode::LaneKeeping);
        assert!(controls.next(LONG).unwrap().is_some());
        match stops {
            true => assert_stops(&mut controls, Reason::Silent),
            false => assert_eq!(controls.decide(false).0.mode(), Mode::LaneKeeping),
        }
    }
}

#[test]
fn a_writer_that_left_is_trusted_for_a_period() {
    let Name(name) = &Name::new("supervisor_left");
    let mut writer = create(name, 4, Some(CONTRACT));
    let mut controls = driving(name, &mut writer, PATIENT.resume_after_s(0.05));
    publish_old(&mut writer, 2, [6.0; 2], Mode::LaneKeeping);
    assert!(controls.next(LONG).unwrap().is_some());
    assert!(controls.decide(false).1.is_empty(), "late, but there is a writer");
    drop(writer);
    assert_stops(&mut controls, Reason::WriterLeft);

    // Another one comes. The vehicle goes on from a standstill only, and not at once.
    let mut writer = create(name, 4, Some(CONTRACT));
    publish(&mut writer, 3);
    while controls.next(LONG).unwrap().is_none() {}
    assert_eq!(controls.decide(false).0.mode(), Mode::EmergencyStop);
    let start = Instant::now();
    assert_eq!(controls.decide(true).1, [SafetyEvent::StandingStill]);
    let (executed, events) = loop {
        assert!(start.elapsed() < LONG, "it does not go on");
        assert!(controls.next(Duration::from_millis(5)).unwrap().is_none(), "this one is fresh for long");
        let (executed, events) = controls.decide(true);
        if executed.mode() != Mode::EmergencyStop {
            break (executed, events);
        }
    };
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    assert!(matches!(events[..], [SafetyEvent::Resumed { .. }]), "{events:?}");
    assert_eq!(executed.frame_id(), 3);
}

#[test]
fn a_replaced_channel_has_no_writer() {
    let Name(name) = &Name::new("supervisor_retired");
    let mut writer = create(name, 4, Some(CONTRACT));
    let mut controls = driving(name, &mut writer, PATIENT);
    publish_old(&mut writer, 2, [6.0; 2], Mode::LaneKeeping);
    assert!(controls.next(LONG).unwrap().is_some());
    drop(writer);
    let _writer = create(name, 2, Some(CONTRACT));
    assert_stops(&mut controls, Reason::NoChannel);
}

#[test]
fn a_control_outlives_its_channel_for_as_long_as_it_may() {
    let Name(name) = &Name::new("supervisor_replaced");
    let mut writer = create(name, 4, Some(CONTRACT));
    let mut controls = driving(name, &mut writer, PATIENT);
    drop(writer);
    let mut writer = create(name, 2, Some(CONTRACT));
    assert!(controls.decide(false).1.is_empty(), "the last control is fresh");
    assert!(controls.next(NO_WAIT).unwrap().is_none(), "nothing on the new channel yet");
    let (executed, events) = controls.decide(false);
    assert!(executed.frame_id() == 1 && events.is_empty(), "still fresh");
    publish_old(&mut writer, 2, [6.0; 2], Mode::LaneKeeping);
    while controls.next(LONG).unwrap().is_none() {}
    let (executed, events) = controls.decide(false);
    assert!(executed.frame_id() == 2 && events.is_empty(), "driving goes on: {events:?}");

    // Replaced, and the new one is gone before it was seen.
    drop(writer);
    drop(create(name, 3, None));
    unlink(name).unwrap();
    assert!(controls.next(NO_WAIT).unwrap().is_none());
    assert_stops(&mut controls, Reason::NoChannel);
}

#[test]
fn a_channel_that_cannot_be_used_does_not_make_a_busy_loop() {
    let Name(name) = &Name::new("supervisor_unusable");
    let _other = DetectionChannel::create(name, Options::new()).unwrap();
    let mut controls = ControlSupervisor::new(name.clone(), PATIENT);
    let (start, timeout) = (Instant::now(), Duration::from_millis(20));
    for _ in 0..5 {
        assert!(matches!(controls.next(timeout), Err(OpenError::Unusable { .. })));
        assert_eq!(controls.decide(true).0.mode(), Mode::EmergencyStop);
    }
    assert!(start.elapsed() >= 5 * timeout, "each call rests: {:?}", start.elapsed());
    let start = Instant::now();
    assert!(controls.next(LONG).is_err());
    assert!(start.elapsed() < LONG / 2, "but not for long: {:?}", start.elapsed());
}

#[test]
fn damaged_controls_are_counted_and_not_executed() {
    let Name(name) = &Name::new("supervisor_damaged");
    let mut writer = create(name, 4, None);
    let mut controls = driving(name, &mut writer, PATIENT);
    let mut loan = writer.loan();
    *loan = support::control(2);
    loan.as_bytes_mut()[0] ^= 1;
    loan.publish();
    assert!(!controls.next(LONG).unwrap().unwrap().value.is_whole());
    let (executed, events) = controls.decide(false);
    assert_eq!((executed.frame_id(), &events[..]), (1, &[SafetyEvent::Damaged { count: 1 }][..]));
    assert_eq!((controls.damaged_controls(), controls.missed(), controls.safe_stops()), (1, 0, 0));
}
