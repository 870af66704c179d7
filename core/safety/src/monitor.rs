//! What a vehicle executes, whatever arrives or does not arrive.

use crate::age::{LastControl, judge, limit_s};
use crate::event::{Reason, SafetyEvent, SafetyEvents, note};
use crate::latch::Latch;
use crate::options::SafetyOptions;
use crate::state::State;
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
    latch: Latch,
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
        Self {
            options: options.checked(),
            state: State::Waiting,
            emergency: false,
            latch: Latch::default(),
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
        self.latch.set = true;
    }

    /// Releases the latch. The vehicle drives again as after any safe stop: when it has come to a standstill and controls
    /// have then been fresh for [`SafetyOptions::resume_after_s`]. Without a latched stop it changes nothing.
    pub fn release_emergency_stop(&mut self) {
        self.latch.set = false;
    }

    /// Whether an emergency stop is latched.
    #[must_use]
    pub fn is_emergency_stop_latched(&self) -> bool {
        self.latch.set
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
        if self.latch.tell(&mut events) {
            self.safe_stops += u64::from(self.state.stop(standing, &mut events));
            self.hold_steering(dt);
            return (self.braking(), events);
        }
        let Some((control, since_s, contract)) = self.last else {
            return (self.braking(), events);
        };
        let limit_s = limit_s(&self.options, contract);
        let refused = judge(now_s - since_s, limit_s, contract, gone);
        // A fresh control vouches for no more time than it stays fresh.
        let vouched_s = if refused.is_none() { dt.min(limit_s) } else { 0.0 };
        let began = self.state.advance(refused, vouched_s, self.options.resume_after_s, standing, &mut events);
        self.safe_stops += u64::from(began);

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

    /// The emergency stop of this monitor's own.
    fn braking(&self) -> Control {
        let steering = self.steering as f32;
        let stop =
            ControlFields { mode: Mode::EmergencyStop, steering, brake: self.options.brake, ..Default::default() };
        // Both numbers that are not constants are finite: one comes from a control, the other was checked at the start.
        Control::try_from(stop).unwrap_or_else(|_| unreachable!("only numbers that are not finite are refused"))
    }
}
