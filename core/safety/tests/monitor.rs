//! What a vehicle executes, and when it stops, stands and drives on.

use core::time::Duration;
use lkas_core::{Contract, Plain};
use lkas_messages::{Control, ControlFields, Mode};
use lkas_safety::{LastControl, Reason, SafetyEvent, SafetyEvents, SafetyMonitor, SafetyOptions};
use proptest::prelude::*;

const DT: f64 = 0.01;

fn control(mode: Mode, steering: f32, brake: f32) -> Control {
    let fields = ControlFields { mode, steering, throttle: 0.14, brake, ..ControlFields::default() };
    Control::try_from(fields).unwrap()
}

fn driving(age_s: f64) -> Option<LastControl> {
    Some(LastControl { control: control(Mode::LaneKeeping, 0.2, 0.0), age_s, contract: Ok(None) })
}

fn damaged(seed: u8) -> Option<LastControl> {
    let mut bytes = [0; size_of::<Control>()];
    bytes.copy_from_slice(control(Mode::LaneKeeping, 0.2, 0.0).as_bytes());
    bytes[0] ^= seed;
    Some(LastControl { control: Control::from_bytes(&bytes).unwrap(), age_s: 0.0, contract: Ok(None) })
}

/// A monitor with its own clock.
struct Rig {
    monitor: SafetyMonitor,
    now_s: f64,
    standing: bool,
}

impl Rig {
    fn new() -> Self {
        Self { monitor: SafetyMonitor::new(SafetyOptions::default()), now_s: 100.0, standing: false }
    }

    fn started() -> Self {
        let mut rig = Self::new();
        assert_eq!(rig.step(driving(0.0)).1, [SafetyEvent::Started]);
        rig
    }

    fn step(&mut self, last: Option<LastControl>) -> (Control, SafetyEvents) {
        self.step_where(last, None)
    }

    fn step_where(&mut self, last: Option<LastControl>, gone: Option<Reason>) -> (Control, SafetyEvents) {
        self.now_s += DT;
        self.monitor.decide(DT, self.now_s, last, self.standing, || gone)
    }
}

fn assert_braking(control: Control) {
    assert_eq!((control.mode(), control.throttle(), control.brake()), (Mode::EmergencyStop, 0.0, 0.6));
    assert!(control.is_whole());
}

#[test]
fn before_the_first_control_it_brakes_and_counts_nothing() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        let (executed, events) = rig.step(None);
        assert_braking(executed);
        assert!(events.is_empty());
    }
    let (executed, events) = rig.step(driving(9.0));
    assert_braking(executed);
    assert!(events.is_empty(), "an old control from before the start is no start: {events:?}");
    assert_eq!(rig.monitor.safe_stops(), 0);
    let (executed, events) = rig.step(driving(0.1));
    assert_eq!(events, [SafetyEvent::Started]);
    assert_eq!(executed.as_bytes(), driving(0.1).unwrap().control.as_bytes(), "unchanged");
}

#[test]
fn a_control_at_the_limit_drives_and_beyond_it_stops() {
    let mut rig = Rig::started();
    assert_eq!(rig.step(driving(0.24)).0.brake(), 0.0);
    let (executed, events) = rig.step(driving(0.2501));
    assert_braking(executed);
    assert_eq!(events.len(), 1);
    let why = "the writer of the controls is there, but silent or without frames";
    assert_eq!(events[0].to_string(), format!("safe stop: the last control is 0.26 s old (limit 0.25 s); {why}"));
    assert_eq!(rig.monitor.safe_stops(), 1);
}

#[test]
fn impossible_ages_are_stale() {
    for age_s in [-0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut rig = Rig::started();
        let (executed, events) = rig.step(driving(age_s));
        assert_braking(executed);
        let [SafetyEvent::SafeStop { reason: Reason::ImpossibleAge, .. }] = events[..] else {
            panic!("{age_s}: {events:?}");
        };
        assert!(events[0].to_string().ends_with("expected 0 to 0.25 s; compare the clocks"), "{}", events[0]);
    }
    let (executed, events) = Rig::started().step(driving(1e300));
    assert_braking(executed);
    assert!(matches!(events[..], [SafetyEvent::SafeStop { reason: Reason::Silent, .. }]), "{events:?}");
}

#[test]
fn a_control_that_vanishes_becomes_stale() {
    let mut rig = Rig::started();
    let mut steps = 0;
    while rig.step(None).1.is_empty() {
        steps += 1;
        assert!(steps < 100);
    }
    assert!((24..=25).contains(&steps), "{steps}");
}

#[test]
fn a_safe_stop_holds_until_standstill_and_half_a_second_more() {
    let mut rig = Rig::started();
    rig.step(driving(1.0));
    for _ in 0..200 {
        let (executed, events) = rig.step(driving(0.0));
        assert_braking(executed);
        assert!(events.is_empty(), "fresh controls do not end a stop while moving: {events:?}");
    }
    rig.standing = true;
    let (executed, events) = rig.step(driving(0.0));
    assert_braking(executed);
    assert_eq!(events, [SafetyEvent::StandingStill]);
    assert_eq!(events[0].to_string(), "standing still after a safe stop");
    for _ in 0..49 {
        let (executed, events) = rig.step(driving(0.0));
        assert_braking(executed);
        assert!(events.is_empty());
    }
    let (executed, events) = rig.step(driving(0.0));
    assert_eq!(executed.brake(), 0.0);
    assert_eq!(events[0].to_string(), "driving again: fresh controls for 0.5 s");
    assert_eq!(rig.monitor.safe_stops(), 1);
}

#[test]
fn half_a_second_of_fresh_controls_must_be_unbroken() {
    let mut rig = Rig::started();
    rig.step(driving(1.0));
    rig.standing = true;
    rig.step(driving(0.0));
    for i in 0..300 {
        let age = if i % 40 == 39 { 0.3 } else { 0.0 };
        assert_braking(rig.step(driving(age)).0);
    }
    assert_eq!(rig.monitor.safe_stops(), 1, "it is still the same stop");
}

#[test]
fn one_long_step_does_not_count_as_half_a_second_of_controls() {
    let mut rig = Rig::started();
    rig.step(driving(1.0));
    rig.standing = true;
    rig.step(driving(0.0));
    rig.now_s += 10.0;
    assert_braking(rig.monitor.decide(10.0, rig.now_s, driving(0.0), true, || None).0);
}

#[test]
fn the_steering_is_held_and_returns_slowly() {
    let mut rig = Rig::started();
    for _ in 0..(5.0 / DT) as u32 {
        assert_eq!(rig.step(driving(1.0)).0.steering(), 0.2, "held");
    }
    let mut before = 0.2;
    for _ in 0..200 {
        let steering = rig.step(driving(1.0)).0.steering();
        assert!(steering <= before && before - steering <= 0.5 * DT as f32, "{before} {steering}");
        before = steering;
    }
    assert!((before - 0.2 * (-1.0_f32).exp()).abs() < 0.002, "after two seconds more: {before}");
    rig.standing = true;
    for _ in 0..60 {
        rig.step(driving(0.0));
    }
    assert_eq!(rig.step(driving(1.0)).0.steering(), 0.2, "the next stop holds it again");
    for _ in 0..100 {
        assert_eq!(rig.step(driving(1.0)).0.steering(), 0.2, "the next stop holds it again");
    }
}

#[test]
fn an_emergency_stop_is_obeyed_and_not_latched() {
    let mut rig = Rig::started();
    for (brake, expected) in [(0.1, 0.6), (0.9, 0.9)] {
        let stop =
            Some(LastControl { control: control(Mode::EmergencyStop, 0.1, brake), age_s: 0.0, contract: Ok(None) });
        let (executed, events) = rig.step(stop);
        assert_eq!((executed.mode(), executed.throttle()), (Mode::EmergencyStop, 0.0));
        assert_eq!((executed.brake(), executed.steering()), (expected, 0.1));
        assert_eq!(events, [SafetyEvent::EmergencyStop]);
        let (executed, events) = rig.step(driving(0.0));
        assert_eq!((executed.brake(), &events[..]), (0.0, &[SafetyEvent::EmergencyStopOver][..]));
    }
    assert_eq!(rig.monitor.safe_stops(), 0);
}

#[test]
fn a_latched_stop_ends_when_it_is_released_and_never_before() {
    let mut rig = Rig::started();
    rig.monitor.trigger_emergency_stop();
    let (executed, events) = rig.step(driving(0.0));
    assert_braking(executed);
    assert_eq!((executed.steering(), &events[..]), (0.2, &[SafetyEvent::Latched][..]), "the steering is held");
    assert_eq!(events[0].to_string(), "safe stop: emergency stop by a person, until it is released");
    rig.standing = true;
    assert_eq!(rig.step(driving(0.0)).1, [SafetyEvent::StandingStill]);
    for _ in 0..1000 {
        rig.monitor.trigger_emergency_stop();
        let (executed, events) = rig.step(driving(0.0));
        assert_braking(executed);
        assert!(events.is_empty() && rig.monitor.is_emergency_stop_latched(), "{events:?}");
    }
    rig.monitor.release_emergency_stop();
    let (executed, events) = rig.step(driving(0.0));
    assert_braking(executed);
    assert_eq!(events, [SafetyEvent::Released]);
    for _ in 0..48 {
        assert_braking(rig.step(driving(0.0)).0);
    }
    let (executed, events) = rig.step(driving(0.0));
    assert_eq!(executed.brake(), 0.0);
    assert!(matches!(events[..], [SafetyEvent::Resumed { .. }]), "{events:?}");
    assert_eq!(rig.monitor.safe_stops(), 1);
}

#[test]
fn a_release_while_moving_waits_for_the_standstill() {
    let mut rig = Rig::started();
    rig.monitor.trigger_emergency_stop();
    rig.step(driving(0.0));
    rig.monitor.release_emergency_stop();
    for _ in 0..200 {
        assert_braking(rig.step(driving(0.0)).0);
    }
}

#[test]
fn a_latch_holds_before_the_first_control_and_through_other_stops() {
    let mut rig = Rig::new();
    rig.monitor.trigger_emergency_stop();
    assert_eq!(rig.step(None).1, [SafetyEvent::Latched]);
    for _ in 0..100 {
        let (executed, events) = rig.step(driving(0.0));
        assert_braking(executed);
        assert!(events.is_empty(), "it does not start: {events:?}");
    }
    assert_eq!(rig.monitor.safe_stops(), 0, "nobody drove");
    let mut rig = Rig::started();
    rig.step(driving(1.0));
    rig.standing = true;
    rig.step(driving(1.0));
    rig.monitor.trigger_emergency_stop();
    assert_eq!(rig.step(damaged(1)).1, [SafetyEvent::Damaged { count: 1 }, SafetyEvent::Latched]);
    for _ in 0..100 {
        assert_braking(rig.step(driving(0.0)).0);
    }
    assert_eq!(rig.monitor.safe_stops(), 1);
}

#[test]
fn a_damaged_control_is_counted_once_and_becomes_stale() {
    let mut rig = Rig::started();
    let (executed, events) = rig.step(damaged(1));
    assert_eq!(executed.brake(), 0.0, "the last whole one still counts");
    assert_eq!(events, [SafetyEvent::Damaged { count: 1 }]);
    assert!(rig.step(damaged(1)).1.is_empty(), "the same one again");
    assert_eq!(rig.step(damaged(2)).1, [SafetyEvent::Damaged { count: 2 }]);
    let mut events = Vec::new();
    for _ in 0..30 {
        events.extend(rig.step(damaged(2)).1);
    }
    assert!(matches!(events[..], [SafetyEvent::SafeStop { .. }]), "{events:?}");
    assert_eq!(rig.monitor.damaged_controls(), 2);
    let mut fresh = Rig::new();
    assert_braking(fresh.step(damaged(1)).0);
    assert_eq!(fresh.monitor.safe_stops(), 0, "a damaged one is no first control");
}

const CONTRACT: Contract = contract(100, 180);

const fn contract(period_ms: u64, max_age_ms: u64) -> Contract {
    match Contract::new(Duration::from_millis(period_ms), Duration::from_millis(max_age_ms)) {
        Ok(contract) => contract,
        Err(_) => panic!(),
    }
}

fn promised(age_s: f64, contract: Contract) -> Option<LastControl> {
    driving(age_s).map(|last| LastControl { contract: Ok(Some(contract)), ..last })
}

#[test]
fn the_smaller_limit_counts() {
    let mut rig = Rig::started();
    assert_eq!(rig.step(promised(0.179, CONTRACT)).0.brake(), 0.0);
    let (executed, events) = rig.step(promised(0.181, CONTRACT));
    assert_braking(executed);
    let stop = SafetyEvent::SafeStop { age_s: 0.181, limit_s: 0.18, reason: Reason::Silent };
    assert_eq!(events[0].to_string(), stop.to_string());
    let patient = contract(100, 9000);
    let mut rig = Rig::started();
    assert_eq!(rig.step(promised(0.249, patient)).0.brake(), 0.0);
    assert_braking(rig.step(promised(0.251, patient)).0);
}

#[test]
fn a_contract_that_makes_no_sense_stops() {
    let nonsense = Contract::from_word(50 << 32 | 100);
    let mut rig = Rig::started();
    let (executed, events) = rig.step(driving(0.0).map(|last| LastControl { contract: nonsense, ..last }));
    assert_braking(executed);
    let said = "safe stop: the last control is 0.00 s old (limit 0.00 s); the contract of the controls' channel makes no sense";
    assert_eq!(events[0].to_string(), said);
}

#[test]
fn without_a_writer_a_control_counts_for_a_period() {
    for reason in [Reason::NoChannel, Reason::WriterDied, Reason::WriterLeft] {
        let mut rig = Rig::started();
        let (executed, _) = rig.step_where(promised(0.099, CONTRACT), Some(reason));
        assert_eq!(executed.brake(), 0.0, "the next one is not due yet");
        assert_eq!(rig.step_where(promised(0.101, CONTRACT), None).0.brake(), 0.0, "late, but it may come");
        let (executed, events) = rig.step_where(promised(0.101, CONTRACT), Some(reason));
        assert_braking(executed);
        let said = format!("safe stop: the last control is 0.11 s old (limit 0.10 s); {reason}");
        assert_eq!(events[0].to_string(), said);
        // Nobody promised anything: only the limit counts.
        let mut rig = Rig::started();
        assert_eq!(rig.step_where(driving(0.249), Some(reason)).0.brake(), 0.0);
        assert_braking(rig.step_where(driving(0.251), Some(reason)).0);
    }
}

#[test]
fn it_asks_for_the_writer_only_where_the_control_is_overdue() {
    let mut rig = Rig::started();
    let mut asked = |last| {
        let mut count = 0;
        let ask = || {
            count += 1;
            None
        };
        rig.now_s += DT;
        let _ = rig.monitor.decide(DT, rig.now_s, last, false, ask);
        count
    };
    assert_eq!([asked(promised(0.09, CONTRACT)), asked(promised(0.11, CONTRACT))], [0, 1]);
    assert_eq!([asked(driving(0.24)), asked(driving(0.26))], [0, 1]);
}

#[test]
fn a_long_step_does_not_make_the_steering_jump() {
    let mut rig = Rig::started();
    let before = rig.step(driving(0.0)).0.steering();
    let (executed, _) = rig.monitor.decide(60.0, 200.0, None, false, || None);
    assert!(executed.steering() > 0.9 * before, "{before}, then {}", executed.steering());
}

#[test]
fn broken_options_stop_rather_than_drive() {
    for max_age_s in [f64::NAN, -1.0] {
        let options = SafetyOptions::new().max_age_s(max_age_s).brake(f32::NAN);
        for last in [driving(0.0), promised(0.0, CONTRACT)] {
            let (executed, _) = SafetyMonitor::new(options).decide(DT, 1.0, last, false, || None);
            assert_eq!((executed.throttle(), executed.brake()), (0.0, 1.0));
        }
    }
}

proptest! {
    /// Whatever happens: who drives has a control that may be acted on, and who stops does it as promised.
    #[test]
    fn it_never_drives_on_what_must_not_be_acted_on(
        steps in proptest::collection::vec(
            (0.0..0.4_f64, any::<[bool; 6]>(), -1.0..1.0_f32, 0.0..0.3_f64, 0..20_u8),
            1..60,
        )
    ) {
        let mut rig = Rig::new();
        let mut before = 0.0_f32;
        let mut last = None;
        for (age_s, [there, whole, with_contract, stop, standing, gone], steering, dt, person) in steps {
            let mode = if stop { Mode::EmergencyStop } else { Mode::LaneKeeping };
            let contract = Ok(with_contract.then_some(CONTRACT));
            let mut given = LastControl { control: control(mode, steering, 0.0), age_s, contract };
            given.control.as_bytes_mut()[0] ^= u8::from(!whole);
            rig.now_s += dt;
            match person {
                0 => rig.monitor.trigger_emergency_stop(),
                1..4 => rig.monitor.release_emergency_stop(),
                _ => {}
            }
            if there && whole {
                last = Some((rig.now_s - age_s, with_contract, given.control));
            }
            let gone = gone.then_some(Reason::WriterDied);
            let (executed, _) = rig.monitor.decide(dt, rig.now_s, there.then_some(given), standing, || gone);
            prop_assert!(executed.is_whole());
            prop_assert!(executed.mode() == Mode::EmergencyStop || !rig.monitor.is_emergency_stop_latched());
            if executed.mode() != Mode::EmergencyStop {
                let (since_s, with_contract, control) = last.unwrap();
                prop_assert_eq!(executed.as_bytes(), control.as_bytes());
                let age_s = rig.now_s - since_s;
                let [period, max_age] = if with_contract { [0.1, 0.18] } else { [0.25; 2] };
                prop_assert!(age_s <= max_age && (age_s <= period || gone.is_none()), "drives at {}", age_s);
            } else {
                prop_assert_eq!((executed.throttle(), executed.brake()), (0.0, 0.6));
                let moved = (executed.steering() - before).abs();
                // An emergency stop that the decision asks for steers as it asks.
                let asked = last.is_some_and(|(.., control)| {
                    control.mode() == Mode::EmergencyStop && control.steering() == executed.steering()
                });
                prop_assert!(asked || moved <= 0.5 * dt as f32 + 1e-6, "the steering moved by {}", moved);
                prop_assert!(asked || executed.steering().abs() <= before.abs() + 1e-6, "not towards straight");
            }
            before = executed.steering();
        }
    }
}
