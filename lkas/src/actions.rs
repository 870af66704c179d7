//! Actions as the vehicle takes them from the broker: a few in each turn, none too late, an emergency stop before all others.

use crate::Failure;
use crate::options::SystemOptions;
use crate::pace::Pace;
use crate::status::{REFUSED, Refused};
use lkas_messages::names::Name;
use lkas_zmq::ActionClient;
use lkas_zmq::wire::{EMERGENCY_STOP, RELEASE_EMERGENCY_STOP};
use std::collections::VecDeque;

/// The names of all actions.
pub const ACTIONS: [&str; 5] = ["pause", "resume", "respawn", EMERGENCY_STOP, RELEASE_EMERGENCY_STOP];

/// Messages that are looked at in one turn, so that an emergency stop behind a flood is found.
const TAKEN_PER_TURN: usize = 256;

/// Actions that are done in one turn, beside an emergency stop: a flood of them must not stop the vehicle.
const DONE_PER_TURN: usize = 8;

/// Actions that wait for their turn, at most.
const WAITING: usize = 64;

/// What the vehicle was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pause,
    Resume,
    Respawn,
    EmergencyStop,
    ReleaseEmergencyStop,
}

impl Action {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "respawn" => Self::Respawn,
            EMERGENCY_STOP => Self::EmergencyStop,
            RELEASE_EMERGENCY_STOP => Self::ReleaseEmergencyStop,
            _ => return None,
        })
    }
}

/// The actions that come from the broker.
pub(crate) struct Actions {
    client: ActionClient,
    is_local: bool,
    desk: Desk,
}

impl Actions {
    /// Connects to the broker, which need not be there yet.
    pub(crate) fn connect(system: &SystemOptions) -> Result<Self, Failure> {
        let endpoint = system.endpoint();
        let client = ActionClient::connect(&endpoint)?;
        Ok(Self { client, is_local: endpoint.is_loopback(), desk: Desk::new(system.network.command_age) })
    }

    /// What is to be done now, in this order.
    pub(crate) fn take(&mut self) -> Result<Vec<Action>, Failure> {
        for _ in 0..TAKEN_PER_TURN {
            let Some(request) = self.client.poll()? else { break };
            // Clocks of different machines say nothing; the time since the broker's tick does.
            let age_s = request.age_s().filter(|_| self.is_local || request.waited_s.is_some());
            self.desk.accept(&request.action, age_s, request.number());
        }
        Ok(self.desk.due())
    }

    /// What was not done since it was last called, for those who asked.
    pub(crate) fn refused(&mut self) -> impl Iterator<Item = Refused> {
        self.desk.unanswered.drain(..)
    }

    /// Says what was asked for since it was last called, at most twice a second; what came too late is handed to `note`.
    pub(crate) fn speak(&mut self, note: impl FnMut(&str)) {
        self.desk.speak(note);
    }
}

/// Sorts requests.
#[derive(Debug)]
struct Desk {
    /// How old an action may be, in seconds.
    limit_s: f64,
    stop: bool,
    waiting: VecDeque<Action>,
    /// What was asked for: whether it is known.
    asked: Pace<Name, bool>,
    /// Actions that were not done: the last one, and why.
    refused: Pace<(), String>,
    /// The newest of those whose sender has not been told.
    unanswered: VecDeque<Refused>,
}

impl Desk {
    fn new(limit_s: f64) -> Self {
        let (asked, refused) = (Pace::default(), Pace::default());
        Self { limit_s, stop: false, waiting: VecDeque::new(), asked, refused, unanswered: VecDeque::new() }
    }

    /// `age_s` says how long ago it was asked for, where that is known, and `number` by which number its broker knows it.
    fn accept(&mut self, name: &Name, age_s: Option<f64>, number: Option<u64>) {
        match Action::named(name.as_str()) {
            Some(Action::EmergencyStop) => {
                // At any age, and before what waits. A release that was asked for before it is overtaken by it.
                self.waiting.retain(|action| *action != Action::ReleaseEmergencyStop);
                self.stop = true;
            }
            // What was asked for while this process or the network stood still is not meant for now.
            Some(_) if age_s.is_some_and(|age| age > self.limit_s) => {
                let age = age_s.unwrap_or_default();
                self.answer(number, age);
                return self.refused.note((), format!("{name} came too late: it was asked for {age:.1} s ago"));
            }
            Some(_) if self.waiting.len() >= WAITING => {
                self.answer(number, 0.0);
                return self.refused.note((), format!("{name} was left out: {WAITING} actions wait already"));
            }
            Some(action) => self.waiting.push_back(action),
            None => return self.asked.note(name.clone(), false),
        }
        self.asked.note(name.clone(), true);
    }

    fn answer(&mut self, number: Option<u64>, age_s: f64) {
        let Some(number) = number else { return };
        if self.unanswered.len() >= REFUSED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(Refused { number, age_s });
    }

    fn due(&mut self) -> Vec<Action> {
        let stop = core::mem::take(&mut self.stop).then_some(Action::EmergencyStop);
        let others = self.waiting.drain(..self.waiting.len().min(DONE_PER_TURN));
        stop.into_iter().chain(others).collect()
    }

    fn speak(&mut self, mut note: impl FnMut(&str)) {
        for (words, times) in self.refused.due().into_values() {
            let others = if times > 1 { format!("; {times} actions were not done") } else { String::new() };
            let words = format!("{words}{others}");
            tracing::warn!("{words}");
            note(&words);
        }
        for (action, (known, times)) in self.asked.due() {
            match known {
                true if times > 1 => tracing::info!("{action} was asked for ({times} times)"),
                true => tracing::info!("{action} was asked for"),
                false => tracing::warn!("unknown action \"{action}\"; there are {}", ACTIONS.join(", ")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> Name {
        name.parse().unwrap()
    }

    #[test]
    fn every_action_has_its_name() {
        assert!(ACTIONS.into_iter().all(|name| Action::named(name).is_some()));
        assert_eq!(Action::named("explode"), None);
    }

    #[test]
    fn an_emergency_stop_never_expires_and_overtakes_a_flood() {
        let mut desk = Desk::new(2.0);
        for _ in 0..1000 {
            desk.accept(&request("pause"), Some(0.0), None);
        }
        desk.accept(&request(EMERGENCY_STOP), Some(3600.0), None);
        let done = desk.due();
        assert_eq!((done.len(), done[0]), (1 + DONE_PER_TURN, Action::EmergencyStop));
        let mut turns = 1;
        while !desk.due().is_empty() {
            turns += 1;
        }
        assert_eq!(turns, WAITING / DONE_PER_TURN, "of the flood no more than what may wait is done");
    }

    #[test]
    fn a_release_that_came_before_a_stop_does_not_release_it() {
        let mut desk = Desk::new(2.0);
        desk.accept(&request(RELEASE_EMERGENCY_STOP), None, None);
        desk.accept(&request(EMERGENCY_STOP), None, None);
        assert_eq!(desk.due(), [Action::EmergencyStop]);
        desk.accept(&request(EMERGENCY_STOP), None, None);
        desk.accept(&request(RELEASE_EMERGENCY_STOP), None, None);
        assert_eq!(desk.due(), [Action::EmergencyStop, Action::ReleaseEmergencyStop]);
    }

    #[test]
    fn all_others_expire() {
        let mut desk = Desk::new(2.0);
        for name in ACTIONS.into_iter().filter(|name| *name != EMERGENCY_STOP) {
            desk.accept(&request(name), Some(2.1), None);
        }
        assert_eq!(desk.due(), []);
        let mut said = Vec::new();
        desk.speak(|words| said.push(words.to_owned()));
        assert_eq!(said, ["release_emergency_stop came too late: it was asked for 2.1 s ago; 4 actions were not done"]);
        // Who asked through a broker hears of it from there, at least the last of them.
        for number in 1..=REFUSED as u64 + 1 {
            desk.accept(&request("pause"), Some(3.0), Some(number));
        }
        let told: Vec<_> = desk.unanswered.iter().map(|refused| (refused.number, refused.age_s)).collect();
        assert_eq!((told.len(), told[0], told[REFUSED - 1]), (REFUSED, (2, 3.0), (REFUSED as u64 + 1, 3.0)));
    }

    #[test]
    fn how_old_an_action_may_be_is_an_option() {
        let mut desk = Desk::new(0.5);
        desk.accept(&request("pause"), Some(0.6), None);
        desk.accept(&request("resume"), Some(0.4), None);
        assert_eq!(desk.due(), [Action::Resume]);
    }
}
