//! What each process of the system says of itself: one channel in shared memory for each, and nobody else speaks for it.
//!
//! The segment stays when its process dies. So the counters, the events and the parameters in force are there for its
//! successor, and for a broker that was started later.

use lkas_core::{Code, Enumeration};
use lkas_shm::{ChannelName, Message, Observer, Plain, Text};
use serde::Serialize;
use std::time::Duration;

/// Parameters that one process can declare.
pub const PARAMETERS: usize = 16;

/// The last events that are kept.
pub const EVENTS: usize = 16;

/// The last refused requests that are kept.
pub const REFUSED: usize = 8;

/// What a process does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enumeration)]
#[repr(u64)]
pub enum State {
    /// Its work.
    #[default]
    Running = 0,
    /// It waits for what it needs, and has not worked yet.
    Waiting = 1,
    /// The vehicle brakes by itself, because controls stopped coming.
    SafeStop = 2,
    /// The vehicle stands after a safe stop.
    Standing = 3,
    /// An emergency stop is commanded or executed.
    EmergencyStop = 4,
}

impl State {
    /// The state as it stands in a status.
    #[must_use]
    pub fn code(self) -> Code<Self> {
        self.into()
    }

    /// The state of that code; `None` where there is no such code.
    #[must_use]
    pub fn from_code(code: Code<Self>) -> Option<Self> {
        code.get().ok()
    }

    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let number = i128::from(self as u64);
        Self::NAMES.iter().find_map(|(name, known)| (*known == number).then_some(*name)).unwrap_or("unknown")
    }

    /// The state of a vehicle in words; `None` where there is nothing to say.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::Running => None,
            Self::Waiting => Some("waiting for the first control"),
            Self::SafeStop => Some("SAFE STOP: braking"),
            Self::Standing => Some("SAFE STOP: standing, waiting for fresh controls"),
            Self::EmergencyStop => Some("EMERGENCY STOP"),
        }
    }

    /// Whether the vehicle does not drive and somebody must look after it.
    #[must_use]
    pub fn is_severe(self) -> bool {
        matches!(self, Self::SafeStop | Self::Standing | Self::EmergencyStop)
    }
}

/// A parameter, as the process that applies it declares it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Declared")]
#[repr(C)]
pub struct Declared {
    /// Its name.
    pub name: Text<32>,
    /// One line of help.
    pub help: Text<96>,
    /// Its unit; empty where it has none.
    pub unit: Text<8>,
    /// The value in force.
    pub value: f64,
    /// The value at a first start.
    pub default: f64,
    /// The smallest value that is accepted.
    pub min: f64,
    /// The largest value that is accepted.
    pub max: f64,
    /// The value that was asked for last.
    pub asked: f64,
    /// How often a value was asked for and applied or refused.
    pub answers: u64,
    /// Why the value asked for last was not applied; empty where it was.
    pub refusal: Text<96>,
}

/// A request that came to the vehicle and was not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Refused")]
#[repr(C)]
pub struct Refused {
    /// The broker's number of it; 0 where there is none in this place.
    pub number: u64,
    /// How old it was when it came; 0 where too many waited already.
    #[message(unit = "s")]
    pub age_s: f64,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Event")]
#[repr(C)]
pub struct Event {
    /// Its number, from 1 on and across restarts; 0 where there is none in this place.
    pub number: u64,
    /// When, in nanoseconds of the channels' clock.
    #[message(unit = "ns")]
    pub time: u64,
    /// What.
    pub words: Text<160>,
}

/// How long something took, since the process started; zeros where it never was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message, Serialize)]
#[message(name = "lkas.Took")]
#[repr(C)]
pub struct Took {
    /// Median, in milliseconds.
    #[message(unit = "ms")]
    #[serde(rename = "p50")]
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    #[message(unit = "ms")]
    #[serde(rename = "p99")]
    pub p99_ms: f64,
    /// Longest, in milliseconds.
    #[message(unit = "ms")]
    #[serde(rename = "max")]
    pub max_ms: f64,
}

/// Counters and figures of one process. What does not apply to a process stays zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Vitals")]
#[repr(C)]
pub struct Vitals {
    /// Values published on the process's channel.
    pub published: u64,
    /// Values taken from the channel that the process reads.
    pub taken: u64,
    /// Values that were replaced on that channel before the process took them.
    pub missed: u64,
    /// Values whose check value did not fit: torn or damaged.
    pub torn: u64,
    /// Detections with both lanes.
    pub both_lanes: u64,
    /// How often the process began a safe stop.
    pub safe_stops: u64,
    /// From a complete frame to the publish of the control that answers it: the simulation's.
    pub latency: Took,
    /// Drawing or decoding a frame: the simulation's.
    pub latency_render: Took,
    /// From a complete frame to its publish: the simulation's.
    pub latency_write: Took,
    /// From the publish of the value that the process works with until it has that value: of a frame for detection, of a
    /// detection for decision.
    pub latency_wake: Took,
    /// From a frame that was taken to the publish of its detection.
    pub latency_detect: Took,
    /// From a detection that was taken to the publish of its control.
    pub latency_decide: Took,
    /// From the publish of a control until the vehicle has obeyed it: the simulation's.
    pub latency_apply: Took,
    /// Mean distance of the vehicle from the middle of its lane while it drove, in metres.
    #[message(unit = "m")]
    pub offset_mean_abs_m: f64,
    /// The same, largest.
    #[message(unit = "m")]
    pub offset_max_abs_m: f64,
    /// That distance now, positive to the right.
    #[message(unit = "m")]
    pub offset_m: f64,
    /// Speed now.
    #[message(unit = "km/h")]
    pub speed_kmh: f64,
}

/// What one process says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Status")]
#[repr(C)]
pub struct Status {
    /// Process id.
    pub process: u64,
    /// When it started, in nanoseconds of the channels' clock.
    #[message(unit = "ns")]
    pub started: u64,
    /// A [`State`] as its code.
    pub state: Code<State>,
    /// Since when, in nanoseconds of the channels' clock.
    #[message(unit = "ns")]
    pub since: u64,
    /// Why; empty where there is nothing to say.
    pub reason: Text<160>,
    /// Of a vehicle: 1 while an emergency stop by a person is latched. A successor goes on with it.
    pub latched: u64,
    /// Of a vehicle: 1 while time stands still for it.
    pub paused: u64,
    /// Of a vehicle: how often it was put back to its start.
    pub respawns: u64,
    /// Counters and figures.
    pub vitals: Vitals,
    /// The parameters; places with an empty name are unused.
    pub parameters: [Declared; PARAMETERS],
    /// The number of the newest event.
    pub events_seen: u64,
    /// The last events: number `n` is in place `n` modulo their count.
    pub events: [Event; EVENTS],
    /// How often the process was started, with this time.
    pub starts: u64,
    /// Of a vehicle: how many requests it refused.
    pub refused_seen: u64,
    /// The last of them: the `n`th is in place `n` modulo their count.
    pub refused: [Refused; REFUSED],
}

impl Status {
    /// The declared parameters.
    pub fn declared(&self) -> impl Iterator<Item = &Declared> {
        self.parameters.iter().filter(|parameter| parameter.name != Text::default())
    }

    /// Changes the state; `true` if it or its reason is another one than before.
    pub fn enter(&mut self, state: State, reason: &str, now: u64) -> bool {
        let reason = Text::from(reason);
        let changed = (self.state, self.reason) != (state.code(), reason);
        if self.state != state.code() {
            self.since = now;
        }
        (self.state, self.reason) = (state.code(), reason);
        changed
    }

    /// Notes a refused request in the place of the oldest.
    pub fn refuse(&mut self, refused: Refused) {
        self.refused_seen += 1;
        let place = (self.refused_seen % REFUSED as u64) as usize;
        if let Some(oldest) = self.refused.get_mut(place) {
            *oldest = refused;
        }
    }

    /// Notes an event in the place of the oldest.
    pub fn note(&mut self, words: &str, time: u64) {
        self.events_seen += 1;
        let place = (self.events_seen % EVENTS as u64) as usize;
        if let Some(event) = self.events.get_mut(place) {
            *event = Event { number: self.events_seen, time, words: words.into() };
        }
    }
}

/// A status as somebody else sees it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the process said last.
    pub status: Status,
    /// How long ago; `None` where another clock stamped it.
    pub age: Option<Duration>,
    /// Whether the process is there, running or suspended.
    pub is_alive: bool,
}

impl Seen {
    /// Whether the process is there and says so: what it said is what is.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.is_alive && self.age.is_some_and(|age| age <= SILENCE)
    }
}

/// Among what was seen of all processes, what was seen of one.
pub(crate) fn of<'a>(all: &'a [(&str, Option<Seen>)], process: &str) -> Option<&'a Seen> {
    all.iter().find(|(name, _)| *name == process).and_then(|(_, seen)| seen.as_ref())
}

/// Whether a process is listed among those of the system: one that is not there is missing, but for a viewer that was never
/// seen here. Nobody has to watch, or to do so on this machine.
pub(crate) fn is_listed((process, seen): &(&str, Option<Seen>)) -> bool {
    seen.is_some() || *process != "viewer"
}

/// Why the vehicle does what it does. Of a stop that the decision server asks for, that one knows the reason.
#[must_use]
pub fn vehicle_reason(vehicle: &Seen, decision: Option<&Seen>) -> String {
    let stops = |seen: &&Seen| seen.is_current() && seen.status.state == State::EmergencyStop.code();
    let own = vehicle.status.reason.to_string();
    let asked = decision.filter(stops).filter(|_| stops(&vehicle)).map(|seen| seen.status.reason.to_string());
    match asked {
        Some(why) if !why.is_empty() => format!("{own}: {why}"),
        _ => own,
    }
}

/// The vehicle in words for a person, with what its decision server says; `None` where it drives and says so.
#[must_use]
pub fn vehicle_words(vehicle: Option<&Seen>, decision: Option<&Seen>) -> Option<String> {
    let Some(seen) = vehicle else { return Some("vehicle unknown: none has been seen".into()) };
    if !seen.is_alive {
        return Some("vehicle unknown: its process is gone".into());
    }
    if !seen.is_current() {
        let age = seen.age.map_or_else(|| "an impossible time".into(), |age| format!("{:.1} s", age.as_secs_f32()));
        return Some(format!("vehicle unknown: its process has said nothing for {age}"));
    }
    let Some(state) = State::from_code(seen.status.state) else {
        return Some(format!("vehicle unknown: it is in state {:?}", seen.status.state));
    };
    let paused = seen.status.paused != 0;
    let words = match (state, seen.status.latched) {
        (State::Standing, 1..) => "SAFE STOP: standing until it is released",
        (State::Running, _) if paused => "paused: time stands still for the vehicle",
        _ => state.words()?,
    };
    let reason = vehicle_reason(seen, decision);
    let reason = if reason.is_empty() { reason } else { format!("; {reason}") };
    Some(format!("{words}{reason}{}", if paused && state != State::Running { "; paused" } else { "" }))
}

/// A process that says nothing for so long is dead or suspended: three times its own pace.
pub const SILENCE: Duration = Duration::from_millis(300);

/// Looks at the status of one process, without a reader place.
#[derive(Debug)]
pub struct StatusWatch {
    name: ChannelName,
    observer: Option<Observer>,
    bytes: Vec<u8>,
}

impl StatusWatch {
    /// A watch of the status on the channel `name`, which need not be there yet.
    #[must_use]
    pub fn new(name: ChannelName) -> Self {
        Self { name, observer: None, bytes: Vec::new() }
    }

    /// The newest status; `None` while there is none. A few system calls.
    pub fn look(&mut self) -> Option<Seen> {
        if self.observer.as_ref().is_none_or(Observer::is_gone) {
            let is_status = |channel: &Observer| {
                let description = channel.description();
                description.type_name() == Status::NAME && description.layout().payload_size() == size_of::<Status>()
            };
            self.observer = Observer::open(&self.name).ok().filter(is_status);
        }
        let channel = self.observer.as_ref()?;
        let look = channel.look();
        channel.copy(&mut self.bytes).ok()??;
        let status = Status::from_bytes(&self.bytes)?;
        Some(Seen { status, age: look.age, is_alive: look.has_writer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latched_stop_is_not_said_to_wait_for_controls() {
        for (latched, words) in [(0, "standing, waiting for fresh controls"), (1, "standing until it is released")] {
            let status = Status { reason: "why".into(), state: State::Standing.code(), latched, ..Status::default() };
            let seen = Seen { status, age: Some(Duration::ZERO), is_alive: true };
            assert_eq!(vehicle_words(Some(&seen), None), Some(format!("SAFE STOP: {words}; why")));
        }
    }

    #[test]
    fn a_pause_is_told() {
        let said = |state: State| {
            let status = Status { reason: "why".into(), state: state.code(), paused: 1, ..Status::default() };
            vehicle_words(Some(&Seen { status, age: Some(Duration::ZERO), is_alive: true }), None)
        };
        assert!(said(State::Running).is_some_and(|words| words.starts_with("paused")));
        assert_eq!(said(State::SafeStop), Some("SAFE STOP: braking; why; paused".to_owned()));
    }

    #[test]
    fn of_a_stop_that_decision_asks_for_it_says_why() {
        let said = |state: State, reason: &str, is_alive| {
            let status = Status { reason: reason.into(), state: state.code(), ..Status::default() };
            Seen { status, age: Some(Duration::ZERO), is_alive }
        };
        let vehicle = said(State::EmergencyStop, "decision asks for it", true);
        let why = "decision asks for it: no detection comes";
        for (decision, reason) in [
            (said(State::EmergencyStop, "no detection comes", true), why),
            (said(State::EmergencyStop, "no detection comes", false), "decision asks for it"),
            (said(State::Running, "driving slowly", true), "decision asks for it"),
        ] {
            assert_eq!(vehicle_reason(&vehicle, Some(&decision)), reason);
            assert_eq!(vehicle_words(Some(&vehicle), Some(&decision)), Some(format!("EMERGENCY STOP; {reason}")));
        }
        let dead = said(State::SafeStop, "the writer of the controls died", true);
        let decision = said(State::EmergencyStop, "no detection comes", true);
        assert_eq!(
            vehicle_reason(&dead, Some(&decision)),
            "the writer of the controls died",
            "what the vehicle saw itself"
        );
    }

    #[test]
    fn states_survive_as_codes_and_have_names() {
        for (number, (name, _)) in (0..).zip(State::NAMES) {
            let state = State::from_code(Code::from_number(number)).unwrap();
            assert_eq!((state.code(), state.name()), (Code::from_number(number), *name));
        }
        assert_eq!(State::from_code(Code::from_number(99)), None, "what is not known is not called running");
    }

    #[test]
    fn a_state_lasts_since_it_was_entered_and_a_new_reason_is_a_change() {
        let mut status = Status::default();
        assert!(status.enter(State::SafeStop, "the writer died", 5));
        assert!(!status.enter(State::SafeStop, "the writer died", 6));
        assert!(status.enter(State::SafeStop, "silent", 7));
        assert_eq!((status.since, status.reason.to_string()), (5, "silent".to_owned()));
    }

    #[test]
    fn the_last_events_are_kept() {
        let mut status = Status::default();
        for number in 1..=20 {
            status.note(&format!("event {number}"), number);
        }
        let mut kept = status.events.map(|event| event.number);
        kept.sort_unstable();
        assert_eq!((kept[0], kept[EVENTS - 1]), (5, 20));
    }
}
