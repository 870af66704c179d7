//! How old a command is, though the clocks of two machines differ.
//!
//! A broker tells its own time once a second, and right before each command that it passes on. Who received such a tick
//! knows the broker's time from then on, late by what the message took. So a viewer says of each request when it was made
//! in the broker's time, and a server sees how long a value was under way or waited for it.

use crate::wire::{self, Endpoint};
use core::time::Duration;
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How often a broker tells its time.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(1);

/// How much two monotonic clocks may drift apart, in seconds for each second: more than any quartz does.
const DRIFT: f64 = 2e-4;

/// The key under which a request says when it was made.
pub(crate) const TICK: &str = "tick";

/// Seconds of this process's own clock, which nobody sets.
pub(crate) fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// A moment of a broker's own clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tick {
    /// Which broker's: another one has another clock.
    pub broker: String,
    /// The moment, in seconds.
    pub at: f64,
    /// The same in seconds since 1970, by the clock of the broker's machine: of use on that machine.
    pub unix: Option<f64>,
}

impl Tick {
    /// The tick in an object; `None` where there is none that makes sense.
    pub(crate) fn read(object: &Map<String, Value>) -> Option<Self> {
        let broker = object.get("broker")?.as_str().filter(|name| name.len() <= 64)?.to_owned();
        let at = object.get("at")?.as_f64().filter(|at| at.is_finite())?;
        let unix = object.get("unix").and_then(Value::as_f64).filter(|unix| unix.is_finite());
        Some(Self { broker, at, unix })
    }

    /// The tick that a request names.
    pub(crate) fn of_request(object: &Map<String, Value>) -> Option<Self> {
        object.get(TICK)?.as_object().and_then(Self::read)
    }
}

/// A broker's own clock.
#[derive(Debug)]
pub(crate) struct Clock {
    name: String,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { name: format!("{:x}-{:x}", std::process::id(), since.as_nanos()) }
    }

    /// The tick of something that happened `age_s` ago.
    pub(crate) fn tick(&self, age_s: f64) -> Tick {
        Tick { broker: self.name.clone(), at: clock() - age_s, unix: Some(wire::now() - age_s) }
    }

    /// How long ago a tick of this broker's was, in seconds; `None` for one of another broker.
    pub(crate) fn age_s(&self, tick: &Tick) -> Option<f64> {
        (tick.broker == self.name).then(|| (clock() - tick.at).max(0.0))
    }
}

/// The ages of what comes over one connection: how much later each came than the fastest did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ages {
    /// The smallest difference between this clock and the sender's, and when it was seen.
    smallest: Option<(f64, f64)>,
}

impl Ages {
    /// The age of something that was sent at `sent` of another clock and is looked at now, `at` of this one.
    pub(crate) fn age_s(&mut self, sent: f64, at: f64) -> f64 {
        let difference = at - sent;
        match self.smallest {
            Some((smallest, seen)) if difference >= smallest + DRIFT * (at - seen) => {
                difference - smallest - DRIFT * (at - seen)
            }
            _ => {
                self.smallest = Some((difference, at));
                0.0
            }
        }
    }
}

/// What a client knows of its broker's time.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    /// The newest tick, and when it came.
    newest: Option<(Tick, f64)>,
    ages: Ages,
    /// The broker is on this machine: its clock is this one.
    is_local: bool,
}

impl Ticks {
    pub(crate) fn of(broker: &Endpoint) -> Self {
        Self { is_local: broker.is_loopback(), ..Self::default() }
    }

    /// Takes note of a tick; its age in seconds.
    pub(crate) fn note(&mut self, tick: Tick) -> f64 {
        let at = clock();
        if self.newest.as_ref().is_none_or(|(newest, _)| newest.broker != tick.broker) {
            self.ages = Ages::default();
        }
        let age_s = self.ages.age_s(tick.at, at);
        self.newest = Some((tick, at));
        age_s
    }

    /// How old what came with the newest tick is by now, in seconds; `None` from a broker that does not tick.
    pub(crate) fn age_s(&mut self) -> Option<f64> {
        let (tick, _) = self.newest.as_ref()?;
        let age_s = self.ages.age_s(tick.at, clock());
        // The first tick of all may have waited as long as what came with it; this machine's clock knows.
        let by_clock = tick.unix.filter(|_| self.is_local).map(|unix| wire::now() - unix);
        Some(by_clock.map_or(age_s, |by_clock| by_clock.max(age_s)))
    }

    /// Now, in the broker's time.
    pub(crate) fn now(&self) -> Option<Tick> {
        let (tick, at) = self.newest.as_ref()?;
        Some(Tick { broker: tick.broker.clone(), at: tick.at + clock() - at, unix: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(broker: &str, at: f64) -> Tick {
        Tick { broker: broker.to_owned(), at, unix: None }
    }

    #[test]
    fn an_age_is_what_came_later_than_the_fastest() {
        let mut ages = Ages::default();
        assert_eq!(ages.age_s(1000.0, 5.0), 0.0);
        assert_eq!(ages.age_s(1001.0, 5.5), 0.0, "faster than the one before");
        assert!((ages.age_s(1002.0, 9.5) - 3.0).abs() < 0.01);
        // A clock that runs a little slower for a day does not make old what is new.
        assert_eq!(ages.age_s(1001.0 + 86_400.0 * 0.9999, 5.5 + 86_400.0), 0.0);
    }

    #[test]
    fn another_broker_has_another_clock() {
        let mut ticks = Ticks::default();
        assert_eq!((ticks.age_s(), ticks.now()), (None, None));
        assert_eq!(ticks.note(tick("a", clock() + 500.0)), 0.0);
        assert_eq!(ticks.note(tick("b", clock() - 500.0)), 0.0);
        assert!(ticks.note(tick("b", clock() - 510.0)) > 9.0);
        assert_eq!(ticks.now().unwrap().broker, "b");
    }

    #[test]
    fn on_one_machine_the_first_tick_of_all_tells_how_long_it_waited() {
        let waited = Tick { unix: Some(wire::now() - 30.0), ..tick("a", clock()) };
        let mut here = Ticks::of(&Endpoint::default());
        here.note(waited.clone());
        assert!((30.0..31.0).contains(&here.age_s().unwrap()));
        let mut elsewhere = Ticks::of(&Endpoint { host: "192.0.2.1".to_owned(), ..Endpoint::default() });
        elsewhere.note(waited);
        assert!(elsewhere.age_s().unwrap() < 1.0, "another machine's clock says nothing here");
    }

    #[test]
    fn a_broker_knows_its_own_ticks_alone() {
        let clock = Clock::new();
        let age_s = clock.age_s(&clock.tick(7.0)).unwrap();
        assert!((7.0..8.0).contains(&age_s), "{age_s}");
        assert_eq!(clock.age_s(&tick("another", 0.0)), None);
        assert_eq!(clock.age_s(&Tick { at: super::clock() + 100.0, ..clock.tick(0.0) }), Some(0.0));
    }

    #[test]
    fn ticks_that_make_no_sense_are_none() {
        for object in ["{}", r#"{"tick": 7}"#, r#"{"tick": {"broker": 1, "at": 2}}"#, r#"{"tick": {"broker": "b"}}"#] {
            assert_eq!(Tick::of_request(&serde_json::from_str(object).unwrap()), None, "{object}");
        }
        let object = serde_json::from_str(r#"{"tick": {"broker": "b", "at": 2}}"#).unwrap();
        assert_eq!(Tick::of_request(&object), Some(tick("b", 2.0)));
    }
}
