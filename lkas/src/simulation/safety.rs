//! What the vehicle really executes, whatever arrives or does not arrive.

use super::vehicle::Command;
use core::fmt;
use lkas_messages::{Control, Mode};
use zerocopy::IntoBytes;

/// The time constant with which the held steering returns to straight during a safe stop, in seconds.
///
/// A stop from 40 km/h takes about two seconds: long enough held to stay in the lane of a curve, and never returned
/// faster than 0.5 per second, which full lock has.
const STEERING_RETURN_S: f64 = 2.0;

/// Limits of a [`SafetyMonitor`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SafetyOptions {
    /// A control older than this, in seconds, leads to a safe stop.
    pub max_age_s: f64,
    /// How hard the vehicle brakes in a safe stop and, at least, in an emergency stop; 0 to 1.
    pub brake: f64,
    /// For so long controls must have been fresh, counted from standstill in seconds, before driving goes on.
    pub resume_after_s: f64,
}

impl Default for SafetyOptions {
    fn default() -> Self {
        Self { max_age_s: 0.25, brake: 0.6, resume_after_s: 0.5 }
    }
}

/// The control that arrived last.
#[derive(Clone, Copy, Debug)]
pub struct LastControl {
    /// The control, not yet checked.
    pub control: Control,
    /// Seconds since it was published. Take the time after the control: a negative age counts as stale.
    pub age_s: f64,
}

/// Something that changed about who drives.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SafetyEvent {
    /// The first whole control arrived.
    Started,
    /// The last control is too old, or its age is impossible. The vehicle brakes to a stop.
    SafeStop {
        /// Seconds since the last whole control was published; negative, NaN or infinite where that is what was found.
        age_s: f64,
        /// The limit in seconds.
        limit_s: f64,
    },
    /// The vehicle came to a standstill after a safe stop.
    StandingStill,
    /// Driving goes on after a safe stop.
    Resumed {
        /// For how long controls have been fresh, in seconds.
        fresh_s: f64,
    },
    /// The decision asked for an emergency stop.
    EmergencyStop,
    /// The decision no longer asks for an emergency stop.
    EmergencyStopOver,
    /// A control was not whole: its bytes are not those that were published together.
    Damaged {
        /// How many of them there have been.
        count: u64,
    },
}

impl fmt::Display for SafetyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Started => write!(f, "driving: the first control arrived"),
            Self::SafeStop { age_s, limit_s } if age_s.is_finite() && age_s >= 0.0 => {
                // An age of 0.2501 s must not be shown as 0.25 s.
                let shown = (age_s * 100.0).ceil() / 100.0;
                write!(f, "safe stop: the last control is {shown:.2} s old (limit {limit_s:.2} s)")
            }
            Self::SafeStop { age_s, limit_s } => write!(
                f,
                "safe stop: the last control's age is {age_s} s, expected 0 to {limit_s:.2} s; compare the clocks"
            ),
            Self::StandingStill => write!(f, "standing still after a safe stop"),
            Self::Resumed { fresh_s } => write!(f, "driving again: fresh controls for {fresh_s:.1} s"),
            Self::EmergencyStop => write!(f, "emergency stop: the decision asks for it"),
            Self::EmergencyStopOver => write!(f, "the emergency stop is over: the decision drives again"),
            Self::Damaged { count } => write!(f, "a control is damaged and ignored ({count} so far)"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// No whole control has ever arrived.
    Waiting,
    Driving,
    /// In a safe stop, still moving.
    Stopping,
    /// In a safe stop, standing; controls have been fresh for so many seconds.
    Standing {
        fresh_s: f64,
    },
}

/// Decides, step by step, what the vehicle executes.
///
/// - Before the first control ever: brake and wait. That is not counted as a safe stop.
/// - A control older than the limit, or of an age that can't be, leads to a **safe stop**: no throttle, the brake of
///   [`SafetyOptions::brake`], the steering held and slowly returned to straight (time constant 2 s). It ends only after
///   the vehicle has come to a standstill and controls have then been fresh for [`SafetyOptions::resume_after_s`].
/// - An emergency stop asked for by the decision is obeyed for as long as it is asked for.
/// - A control that is not whole is as good as none: the last whole one keeps growing older.
#[derive(Debug)]
pub struct SafetyMonitor {
    options: SafetyOptions,
    state: State,
    emergency: bool,
    /// The last whole control: command, mode, and when it was published on the clock of `now_s`.
    last: Option<(Command, Mode, f64)>,
    last_damaged: Option<Control>,
    steering: f64,
    safe_stops: u64,
    damaged: u64,
}

impl SafetyMonitor {
    /// A monitor that waits for the first control.
    #[must_use]
    pub fn new(options: SafetyOptions) -> Self {
        Self {
            options,
            state: State::Waiting,
            emergency: false,
            last: None,
            last_damaged: None,
            steering: 0.0,
            safe_stops: 0,
            damaged: 0,
        }
    }

    /// How many safe stops there have been.
    #[must_use]
    pub fn safe_stops(&self) -> u64 {
        self.safe_stops
    }

    /// How many controls were not whole. The same one seen again is not counted again.
    #[must_use]
    pub fn damaged_controls(&self) -> u64 {
        self.damaged
    }

    /// The command for the next `dt` seconds, and what changed.
    ///
    /// `now_s` is any clock that never goes back, `last` the control that arrived last, whether new or not, and
    /// `standing` whether the vehicle stands still.
    pub fn decide(
        &mut self,
        dt: f64,
        now_s: f64,
        last: Option<LastControl>,
        standing: bool,
    ) -> (Command, Vec<SafetyEvent>) {
        let mut events = Vec::new();
        self.accept(now_s, last, &mut events);

        let Some((command, mode, published_s)) = self.last else {
            return (self.braking(0.0), events);
        };
        let age_s = now_s - published_s;
        // Written so that NaN is not fresh.
        let fresh = age_s >= 0.0 && age_s <= self.options.max_age_s;
        let dt = if dt.is_finite() { dt.max(0.0) } else { 0.0 };
        self.advance(dt, age_s, fresh, standing, &mut events);

        if self.state != State::Driving {
            self.steering *= (-dt / STEERING_RETURN_S).exp();
            return (self.braking(self.steering), events);
        }
        self.steering = command.steering;
        let emergency = mode == Mode::EmergencyStop;
        if emergency != self.emergency {
            self.emergency = emergency;
            events.push(if emergency { SafetyEvent::EmergencyStop } else { SafetyEvent::EmergencyStopOver });
        }
        if emergency {
            let stop = self.braking(command.steering);
            return (Command { brake: stop.brake.max(command.brake), ..stop }, events);
        }
        (command, events)
    }

    /// Remembers the control if it is whole, counts it if it is not.
    fn accept(&mut self, now_s: f64, last: Option<LastControl>, events: &mut Vec<SafetyEvent>) {
        let Some(LastControl { control, age_s }) = last else { return };
        if control.is_whole() {
            self.last = Some((Command::from(&control).sane(), control.mode(), now_s - age_s));
        } else if self.last_damaged.is_none_or(|known| known.as_bytes() != control.as_bytes()) {
            self.last_damaged = Some(control);
            self.damaged += 1;
            events.push(SafetyEvent::Damaged { count: self.damaged });
        }
    }

    fn advance(&mut self, dt: f64, age_s: f64, fresh: bool, standing: bool, events: &mut Vec<SafetyEvent>) {
        if self.state == State::Waiting && fresh {
            self.state = State::Driving;
            events.push(SafetyEvent::Started);
        }
        if self.state == State::Driving && !fresh {
            self.state = State::Stopping;
            self.safe_stops += 1;
            events.push(SafetyEvent::SafeStop { age_s, limit_s: self.options.max_age_s });
        }
        if self.state == State::Stopping && standing {
            self.state = State::Standing { fresh_s: 0.0 };
            events.push(SafetyEvent::StandingStill);
        } else if let State::Standing { fresh_s } = self.state {
            // A fresh control vouches for no more time than it stays fresh.
            let fresh_s = if fresh { fresh_s + dt.min(self.options.max_age_s) } else { 0.0 };
            self.state = State::Standing { fresh_s };
            // Sums of steps miss round numbers by a hair.
            if fresh && fresh_s + 1e-9 >= self.options.resume_after_s {
                self.state = State::Driving;
                events.push(SafetyEvent::Resumed { fresh_s });
            }
        }
    }

    fn braking(&self, steering: f64) -> Command {
        Command { steering, throttle: 0.0, brake: self.options.brake }.sane()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::ControlFields;
    use zerocopy::FromBytes;

    const DT: f64 = 0.01;

    fn control(mode: Mode, steering: f32, brake: f32) -> Control {
        let fields = ControlFields { mode, steering, throttle: 0.14, brake, ..ControlFields::default() };
        Control::try_from(fields).unwrap()
    }

    fn driving(age_s: f64) -> Option<LastControl> {
        Some(LastControl { control: control(Mode::LaneKeeping, 0.2, 0.0), age_s })
    }

    fn damaged(seed: u8) -> Option<LastControl> {
        let mut bytes = [0; size_of::<Control>()];
        bytes.copy_from_slice(control(Mode::LaneKeeping, 0.2, 0.0).as_bytes());
        bytes[0] ^= seed;
        Some(LastControl { control: Control::read_from_bytes(&bytes).unwrap(), age_s: 0.0 })
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

        fn step(&mut self, last: Option<LastControl>) -> (Command, Vec<SafetyEvent>) {
            self.now_s += DT;
            self.monitor.decide(DT, self.now_s, last, self.standing)
        }
    }

    fn assert_braking(command: Command) {
        assert_eq!((command.throttle, command.brake), (0.0, 0.6));
    }

    #[test]
    fn before_the_first_control_it_brakes_and_counts_nothing() {
        let mut rig = Rig::new();
        for _ in 0..100 {
            let (command, events) = rig.step(None);
            assert_braking(command);
            assert!(events.is_empty());
        }
        let (command, events) = rig.step(driving(9.0));
        assert_braking(command);
        assert!(events.is_empty(), "an old control from before the start is no start: {events:?}");
        assert_eq!(rig.monitor.safe_stops(), 0);
        let (command, events) = rig.step(driving(0.1));
        assert_eq!(events, [SafetyEvent::Started]);
        assert!((command.throttle - 0.14).abs() < 1e-6 && command.brake == 0.0);
    }

    #[test]
    fn a_control_at_the_limit_drives_and_beyond_it_stops() {
        let mut rig = Rig::started();
        assert_eq!(rig.step(driving(0.24)).0.brake, 0.0);
        let (command, events) = rig.step(driving(0.2501));
        assert_braking(command);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].to_string(), "safe stop: the last control is 0.26 s old (limit 0.25 s)");
        assert_eq!(rig.monitor.safe_stops(), 1);
    }

    #[test]
    fn impossible_ages_are_stale() {
        for age_s in [-0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
            let mut rig = Rig::started();
            let (command, events) = rig.step(driving(age_s));
            assert_braking(command);
            assert!(matches!(events[..], [SafetyEvent::SafeStop { .. }]), "{age_s}: {events:?}");
            assert!(!events[0].to_string().is_empty());
        }
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
            let (command, events) = rig.step(driving(0.0));
            assert_braking(command);
            assert!(events.is_empty(), "fresh controls do not end a stop while moving: {events:?}");
        }
        rig.standing = true;
        let (command, events) = rig.step(driving(0.0));
        assert_braking(command);
        assert_eq!(events, [SafetyEvent::StandingStill]);
        assert_eq!(events[0].to_string(), "standing still after a safe stop");
        for _ in 0..49 {
            let (command, events) = rig.step(driving(0.0));
            assert_braking(command);
            assert!(events.is_empty());
        }
        let (command, events) = rig.step(driving(0.0));
        assert_eq!(command.brake, 0.0);
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
        assert_braking(rig.monitor.decide(10.0, rig.now_s, driving(0.0), true).0);
    }

    #[test]
    fn the_steering_is_held_and_returns_slowly() {
        let mut rig = Rig::started();
        let mut before = rig.step(driving(1.0)).0.steering;
        assert!((before - 0.2).abs() < 0.002, "{before}");
        for _ in 0..200 {
            let steering = rig.step(driving(1.0)).0.steering;
            assert!(steering < before && before - steering <= 0.5 * DT, "{before} {steering}");
            before = steering;
        }
        assert!((before - 0.2 * (-1.0_f64).exp()).abs() < 0.002, "after two seconds: {before}");
    }

    #[test]
    fn an_emergency_stop_is_obeyed_and_not_latched() {
        let mut rig = Rig::started();
        for (brake, expected) in [(0.1, 0.6), (0.9, 0.9)] {
            let stop = Some(LastControl { control: control(Mode::EmergencyStop, 0.1, brake), age_s: 0.0 });
            let (command, events) = rig.step(stop);
            assert_eq!(command.throttle, 0.0);
            assert!((command.brake - expected).abs() < 1e-6 && (command.steering - 0.1).abs() < 1e-6, "{command:?}");
            assert_eq!(events, [SafetyEvent::EmergencyStop]);
            let (command, events) = rig.step(driving(0.0));
            assert_eq!((command.brake, events), (0.0, vec![SafetyEvent::EmergencyStopOver]));
        }
        assert_eq!(rig.monitor.safe_stops(), 0);
    }

    #[test]
    fn a_damaged_control_is_counted_once_and_becomes_stale() {
        let mut rig = Rig::started();
        let (command, events) = rig.step(damaged(1));
        assert_eq!(command.brake, 0.0, "the last whole one still counts");
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

    #[test]
    fn broken_options_stop_rather_than_drive() {
        for max_age_s in [f64::NAN, -1.0] {
            let options = SafetyOptions { max_age_s, brake: f64::NAN, ..SafetyOptions::default() };
            let (command, _) = SafetyMonitor::new(options).decide(DT, 1.0, driving(0.0), false);
            assert_eq!((command.throttle, command.brake), (0.0, 1.0));
        }
    }
}
