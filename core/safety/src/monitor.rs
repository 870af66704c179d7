//! What a vehicle executes, whatever arrives or does not arrive.

use crate::event::{Reason, SafetyEvent, SafetyEvents};
use lkas_core::{Plain, Promise};
use lkas_messages::{Control, ControlFields, Mode};

/// For so long the steering is held in a safe stop, in seconds: a stop from 130 km/h takes about as long, and in a curve
/// only the curve's own steering stays in the lane.
const STEERING_HOLD_S: f64 = 5.0;

/// The time constant with which the held steering then returns to straight, in seconds: never faster than 0.5 per second,
/// which full lock has.
const STEERING_RETURN_S: f64 = 2.0;

/// No more time than this passes in one step, in seconds: after a long one the steering must not jump.
const MAX_STEP_S: f64 = 0.1;

/// Limits of a [`SafetyMonitor`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SafetyOptions {
    /// A control older than this, in seconds, leads to a safe stop. Where its channel's [`Contract`](lkas_core::Contract) says less, that
    /// counts.
    pub max_age_s: f64,
    /// How hard the vehicle brakes in a safe stop and, at least, in an emergency stop; 0 to 1. What is not finite is 1.
    pub brake: f32,
    /// After a safe stop the vehicle drives again when controls have been fresh without a break for this long, in seconds.
    /// The time counts from standstill.
    pub resume_after_s: f64,
}

impl Default for SafetyOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl SafetyOptions {
    /// A control may be 0.25 s old, the brake is 0.6, and the vehicle drives again after 0.5 s.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_age_s: 0.25, brake: 0.6, resume_after_s: 0.5 }
    }

    /// Sets [`max_age_s`](Self::max_age_s).
    #[must_use]
    pub const fn max_age_s(mut self, seconds: f64) -> Self {
        self.max_age_s = seconds;
        self
    }

    /// Sets [`brake`](Self::brake).
    #[must_use]
    pub const fn brake(mut self, brake: f32) -> Self {
        self.brake = brake;
        self
    }

    /// Sets [`resume_after_s`](Self::resume_after_s).
    #[must_use]
    pub const fn resume_after_s(mut self, seconds: f64) -> Self {
        self.resume_after_s = seconds;
        self
    }
}

/// The control that arrived last.
#[derive(Clone, Copy, Debug)]
pub struct LastControl {
    /// The control, not yet checked.
    pub control: Control,
    /// How old it is in seconds. Take the time after the control: a negative age counts as impossible.
    pub age_s: f64,
    /// What its channel promised: `Ok(None)` for nothing.
    pub contract: Promise,
}

fn note(events: &mut SafetyEvents, event: SafetyEvent) {
    let noted = events.push(event);
    debug_assert!(noted.is_ok(), "no room for {event}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// No whole control that could be acted on has ever arrived.
    Waiting,
    Driving,
    /// In a safe stop, still moving.
    Stopping,
    /// In a safe stop, standing; controls have been fresh for so many seconds.
    Standing {
        fresh_s: f64,
    },
}

/// Decides, step by step, what the vehicle executes: a state machine without clock and channel.
///
/// - Before the first control ever: brake and wait. That is not counted as a safe stop.
/// - A control that must not be acted on leads to a **safe stop**: mode [`Mode::EmergencyStop`], no throttle, the brake
///   of [`SafetyOptions::brake`], the steering held for 5 s and then slowly returned to straight (time constant 2 s, so
///   never faster than 0.5 per second). It ends only after the vehicle has come to a standstill and controls have then been fresh
///   for [`SafetyOptions::resume_after_s`].
/// - A control must not be acted on when it is older than the limit, the smaller of [`SafetyOptions::max_age_s`] and
///   the contract's `max_age`; when it is older than the contract's `period` and there is no writer to send another
///   ([`Verdict::WriterGone`](lkas_core::Verdict::WriterGone)); when its age can't be; and when the contract makes no sense.
/// - An emergency stop asked for by the decision is obeyed for as long as it is asked for, with at least the brake of
///   the options.
/// - A control that is not whole is as good as none: the last whole one keeps growing older.
/// - An emergency stop that a person triggers **latches**: it is a safe stop that no control and no standstill ends,
///   until it is released by name. Then it ends as every safe stop does. A vehicle's program that starts anew triggers it
///   again where it was latched before.
#[derive(Debug)]
pub struct SafetyMonitor {
    options: SafetyOptions,
    state: State,
    emergency: bool,
    latched: bool,
    /// Whether the last event about the latch said that it is set.
    latch_told: bool,
    /// The last whole control, when its age began on the clock of `now_s`, and what its channel promised.
    last: Option<(Control, f64, Promise)>,
    last_damaged: Option<Control>,
    steering: f64,
    /// For how long the steering has been held in a safe stop, in seconds.
    held_s: f64,
    safe_stops: u64,
    damaged: u64,
}

impl SafetyMonitor {
    /// A monitor that waits for the first control.
    #[must_use]
    pub fn new(options: SafetyOptions) -> Self {
        let brake = if options.brake.is_finite() { options.brake.clamp(0.0, 1.0) } else { 1.0 };
        Self {
            options: SafetyOptions { brake, ..options },
            state: State::Waiting,
            emergency: false,
            latched: false,
            latch_told: false,
            last: None,
            last_damaged: None,
            steering: 0.0,
            held_s: 0.0,
            safe_stops: 0,
            damaged: 0,
        }
    }

    /// Latches an emergency stop: from the next [`decide`](Self::decide) on the vehicle stops and stands, whatever
    /// arrives, until [`release_emergency_stop`](Self::release_emergency_stop). Doing it again changes nothing.
    pub fn trigger_emergency_stop(&mut self) {
        self.latched = true;
    }

    /// Releases the latch. The vehicle drives again as after any safe stop: when it has come to a standstill and controls
    /// have then been fresh for [`SafetyOptions::resume_after_s`]. Without a latched stop it changes nothing.
    pub fn release_emergency_stop(&mut self) {
        self.latched = false;
    }

    /// Whether an emergency stop is latched.
    #[must_use]
    pub fn is_emergency_stop_latched(&self) -> bool {
        self.latched
    }

    /// How many safe stops there have been. A latched stop of a vehicle that drove is one.
    #[must_use]
    pub fn safe_stops(&self) -> u64 {
        self.safe_stops
    }

    /// How many controls were not whole. The same one seen again is not counted again.
    #[must_use]
    pub fn damaged_controls(&self) -> u64 {
        self.damaged
    }

    /// What the vehicle executes for the next `dt` seconds (more than 0.1 s count as 0.1 s), and what changed.
    ///
    /// `now_s` is any clock that never goes back, `last` the control that arrived last, whether new or not, and
    /// `standing` whether the vehicle stands still. `gone` says why no other control can come, `None` where there is a
    /// writer; it is only asked where the control is overdue.
    ///
    /// # Progress
    /// A fixed number of steps, and one check value for each call. Nothing is allocated.
    #[must_use = "the vehicle executes this and nothing else"]
    pub fn decide(
        &mut self,
        dt: f64,
        now_s: f64,
        last: Option<LastControl>,
        standing: bool,
        gone: impl FnOnce() -> Option<Reason>,
    ) -> (Control, SafetyEvents) {
        let mut events = SafetyEvents::new();
        self.accept(now_s, last, &mut events);
        let dt = if dt.is_finite() { dt.clamp(0.0, MAX_STEP_S) } else { 0.0 };
        if self.latch(standing, &mut events) {
            self.hold_steering(dt);
            return (self.braking(), events);
        }
        let Some((control, since_s, contract)) = self.last else {
            return (self.braking(), events);
        };
        let limit_s = self.limit_s(contract);
        let refused = judge(now_s - since_s, limit_s, contract, gone);
        // A fresh control vouches for no more time than it stays fresh.
        let vouched_s = if refused.is_none() { dt.min(limit_s) } else { 0.0 };
        self.advance(refused, vouched_s, standing, &mut events);

        if self.state != State::Driving {
            self.hold_steering(dt);
            return (self.braking(), events);
        }
        self.held_s = 0.0;
        self.steering = control.steering().into();
        let emergency = control.mode() == Mode::EmergencyStop;
        if emergency != self.emergency {
            self.emergency = emergency;
            note(&mut events, if emergency { SafetyEvent::EmergencyStop } else { SafetyEvent::EmergencyStopOver });
        }
        if emergency && control.brake() < self.options.brake {
            let harder = ControlFields { brake: self.options.brake, ..control.into() };
            return (Control::try_from(harder).unwrap_or_else(|_| self.braking()), events);
        }
        (control, events)
    }

    /// Keeps the vehicle in a safe stop while the latch is set; whether it is.
    fn latch(&mut self, standing: bool, events: &mut SafetyEvents) -> bool {
        if self.latched != self.latch_told {
            self.latch_told = self.latched;
            note(events, if self.latched { SafetyEvent::Latched } else { SafetyEvent::Released });
        }
        if self.latched {
            self.safe_stops += u64::from(self.state == State::Driving);
            let stands = standing || matches!(self.state, State::Standing { .. });
            if standing && !matches!(self.state, State::Standing { .. }) {
                note(events, SafetyEvent::StandingStill);
            }
            self.state = if stands { State::Standing { fresh_s: 0.0 } } else { State::Stopping };
        }
        self.latched
    }

    /// In a safe stop the steering is held, and later slowly returned to straight.
    fn hold_steering(&mut self, dt: f64) {
        self.held_s += dt;
        if self.held_s > STEERING_HOLD_S {
            self.steering *= libm::exp(-dt / STEERING_RETURN_S);
        }
    }

    /// Remembers the control if it is whole, counts it if it is not.
    fn accept(&mut self, now_s: f64, last: Option<LastControl>, events: &mut SafetyEvents) {
        let Some(LastControl { control, age_s, contract }) = last else { return };
        if control.is_whole() {
            self.last = Some((control, now_s - age_s, contract));
        } else if self.last_damaged.is_none_or(|known| known.as_bytes() != control.as_bytes()) {
            self.last_damaged = Some(control);
            self.damaged += 1;
            note(events, SafetyEvent::Damaged { count: self.damaged });
        }
    }

    /// The age up to which a control may be acted on, in seconds.
    fn limit_s(&self, contract: Promise) -> f64 {
        match contract.ok().flatten().map(|contract| contract.max_age().as_secs_f64()) {
            // Written so that NaN in the options stays, and nothing is fresh.
            Some(promised) if promised < self.options.max_age_s => promised,
            _ => self.options.max_age_s,
        }
    }

    fn advance(&mut self, refused: Option<SafetyEvent>, vouched_s: f64, standing: bool, events: &mut SafetyEvents) {
        if self.state == State::Waiting && refused.is_none() {
            self.state = State::Driving;
            note(events, SafetyEvent::Started);
        }
        if let (State::Driving, Some(stop)) = (self.state, refused) {
            self.state = State::Stopping;
            self.safe_stops += 1;
            note(events, stop);
        }
        if self.state == State::Stopping && standing {
            self.state = State::Standing { fresh_s: 0.0 };
            note(events, SafetyEvent::StandingStill);
        } else if let State::Standing { fresh_s } = self.state {
            let fresh_s = if refused.is_none() { fresh_s + vouched_s } else { 0.0 };
            self.state = State::Standing { fresh_s };
            // Sums of steps miss round numbers by a hair.
            if refused.is_none() && fresh_s + 1e-9 >= self.options.resume_after_s {
                self.state = State::Driving;
                note(events, SafetyEvent::Resumed { fresh_s });
            }
        }
    }

    /// The emergency stop of this monitor's own.
    fn braking(&self) -> Control {
        let steering = self.steering as f32;
        let stop =
            ControlFields { mode: Mode::EmergencyStop, steering, brake: self.options.brake, ..Default::default() };
        // Both numbers that are not constants are finite: one comes from a control, the other was checked at the start.
        Control::try_from(stop).unwrap_or_else(|_| unreachable!("only numbers that are not finite are refused"))
    }
}

/// The safe stop that a control of this age asks for; `None` where it may be acted on.
fn judge(age_s: f64, limit_s: f64, contract: Promise, gone: impl FnOnce() -> Option<Reason>) -> Option<SafetyEvent> {
    let stop = |limit_s, reason| Some(SafetyEvent::SafeStop { age_s, limit_s, reason });
    let Ok(contract) = contract else { return stop(0.0, Reason::NonsenseContract) };
    // The comparisons are written so that NaN is too old.
    if !(age_s >= 0.0 && age_s.is_finite()) {
        return stop(limit_s, Reason::ImpossibleAge);
    }
    let usable = age_s <= limit_s;
    let period_s = contract.map_or(limit_s, |contract| contract.period().as_secs_f64().min(limit_s));
    if usable && age_s <= period_s {
        return None;
    }
    match gone() {
        Some(reason) => stop(period_s, reason),
        None if usable => None,
        None => stop(limit_s, Reason::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use lkas_core::Contract;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;
    use std::vec::Vec;

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
            let options = SafetyOptions { max_age_s, brake: f32::NAN, ..SafetyOptions::default() };
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
                let gone = gone.then_some(Reason::WriterDied);
                let (executed, _) = rig.monitor.decide(dt, rig.now_s, there.then_some(given), standing, || gone);
                prop_assert!(executed.is_whole());
                prop_assert!(executed.mode() == Mode::EmergencyStop || !rig.monitor.is_emergency_stop_latched());
                if executed.mode() != Mode::EmergencyStop {
                    let (_, since_s, contract) = rig.monitor.last.unwrap();
                    let age_s = rig.now_s - since_s;
                    let [period, max_age] = contract.unwrap().map_or([0.25; 2], |_| [0.1, 0.18]);
                    prop_assert!(age_s <= max_age && (age_s <= period || gone.is_none()), "drives at {}", age_s);
                } else {
                    prop_assert_eq!((executed.throttle(), executed.brake()), (0.0, 0.6));
                    let moved = (executed.steering() - before).abs();
                    let driven = rig.monitor.state == State::Driving;
                    prop_assert!(driven || moved <= 0.5 * dt as f32 + 1e-6, "the steering moved by {}", moved);
                    prop_assert!(driven || executed.steering().abs() <= before.abs() + 1e-6, "not towards straight");
                }
                before = executed.steering();
            }
        }
    }
}
