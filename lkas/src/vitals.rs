//! Counters and figures of a process, and its [`Status`] on the way out.
//!
//! Counters and events go on across restarts: a successor starts from what its predecessor published last.

use crate::latency::Latencies;
pub use crate::status::Vitals;
use crate::status::{Declared, Refused, State, Status, StatusWatch};
use lkas_messages::names::{Category, PARAMETERS, Parameter};
use lkas_shm::{Channel, ChannelName, Contract, CreateError, NameCheck, Options, Payload, Text, Writer, clock};
use std::time::{Duration, Instant};

/// How often a process publishes its status.
const EVERY: Duration = Duration::from_millis(100);

/// The status of this process on its way out.
#[derive(Debug)]
pub struct VitalSigns {
    /// The figures, to be changed at will.
    pub now: Vitals,
    /// How long the process's steps took: into the figures with each publish.
    pub latencies: Latencies,
    status: Status,
    writer: Writer<Status>,
    due: Instant,
    /// When to look at the names of the process's channels.
    look_due: Instant,
    /// When the figures were last told in the log, and what they were.
    told: (Instant, Vitals),
}

/// How often the figures are told in the log, where it is to say so much.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How often a process looks whether its channels have their names.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A writer, whatever it writes.
pub trait Named {
    /// As [`Writer::check_name`], said in the log: a channel that lost its name moves to a new segment.
    fn keep_name(&mut self);
}

impl<T: Payload + ?Sized> Named for Writer<T> {
    fn keep_name(&mut self) {
        match self.check_name() {
            Ok(NameCheck::Kept) => {}
            Ok(_) => tracing::warn!("somebody removed {}; the channel has moved to a new segment", self.name()),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

impl VitalSigns {
    /// Creates the channel `name`, and goes on with the figures and events of a predecessor if there was one.
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create(name: &ChannelName) -> Result<Self, CreateError> {
        Self::create_with(name, Options::new())
    }

    /// The same, without waiting for a predecessor that is just ending.
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create_at_once(name: &ChannelName) -> Result<Self, CreateError> {
        Self::create_with(name, Options::new().grace(Duration::ZERO))
    }

    fn create_with(name: &ChannelName, options: Options) -> Result<Self, CreateError> {
        let contract = Contract::new(3 * EVERY, 10 * EVERY).unwrap_or_else(|_| unreachable!("both are constants"));
        let writer = Channel::<Status>::create(name, options.contract(contract))?;
        // Without a reader place: who watches can't hide what a predecessor said.
        let mut status = StatusWatch::new(name.clone()).look().map(|seen| seen.status).unwrap_or_default();
        (status.process, status.started) = (std::process::id().into(), clock::now());
        status.enter(State::Waiting, "", clock::now());
        status.paused = 0;
        status.note("started", clock::now());
        status.starts += 1;
        let now = Instant::now();
        let latencies = Latencies::default();
        tracing::debug!(
            "start {} by the status on {name}, with {} events before",
            status.starts,
            status.events_seen - 1
        );
        let told = (now, status.vitals);
        let mut vitals =
            Self { now: status.vitals, latencies, status, writer, due: now, look_due: now + LOOK_EVERY, told };
        // Until then the status is its predecessor's, and names that one.
        vitals.publish();
        Ok(vitals)
    }

    /// What the process does from now on, and why. A change is published at once, and is an event.
    pub fn enter(&mut self, state: State, reason: &str) {
        if self.status.enter(state, reason, clock::now()) {
            // What a person says of a vehicle is not what the others wait for.
            let words = state.words().filter(|_| state.is_severe()).unwrap_or(state.name());
            self.note(&if reason.is_empty() { words.to_owned() } else { format!("{words}; {reason}") });
        }
    }

    /// Whether an emergency stop is latched: by this process, or by its predecessor.
    #[must_use]
    pub fn is_latched(&self) -> bool {
        self.status.latched != 0
    }

    /// Says whether an emergency stop is latched. Published at once: a successor must know.
    pub fn set_latched(&mut self, latched: bool) {
        self.status.latched = latched.into();
        self.publish();
    }

    /// Says whether time stands still for the vehicle, at once.
    pub fn set_paused(&mut self, paused: bool) {
        if self.status.paused != u64::from(paused) {
            self.status.paused = paused.into();
            self.publish();
        }
    }

    /// Counts that the vehicle was put back to its start, at once.
    pub fn count_respawn(&mut self) {
        self.status.respawns += 1;
        self.publish();
    }

    /// Says that requests were not done, at once.
    pub fn refuse(&mut self, refused: impl IntoIterator<Item = Refused>) {
        let before = self.status.refused_seen;
        refused.into_iter().for_each(|refused| self.status.refuse(refused));
        if self.status.refused_seen != before {
            self.publish();
        }
    }

    /// Notes an event and publishes it at once.
    pub fn note(&mut self, words: &str) {
        self.status.note(words, clock::now());
        self.publish();
    }

    /// Declares the parameters of `category`, and returns the values that shall be in force: those of the predecessor
    /// where there was one, otherwise the configured ones, otherwise the defaults.
    pub fn declare(
        &mut self,
        category: Category,
        configured: &[(&'static Parameter, f64)],
    ) -> Vec<(&'static str, f64)> {
        let before: Vec<Declared> = self.status.declared().copied().collect();
        self.status.parameters = Default::default();
        let own = PARAMETERS.iter().filter(|parameter| parameter.category == category);
        let mut values = Vec::new();
        for (place, parameter) in self.status.parameters.iter_mut().zip(own) {
            let name = Text::from(parameter.name);
            let known = before.iter().find(|before| before.name == name).copied();
            let configured =
                configured.iter().find(|(configured, _)| *configured == parameter).map(|(_, value)| *value);
            let value = known.map(|known| known.value).or(configured);
            let value = value.and_then(|value| parameter.accept(value)).unwrap_or(parameter.default);
            *place = Declared {
                name,
                help: parameter.help.into(),
                value,
                default: parameter.default,
                min: parameter.min,
                max: parameter.max,
                ..known.unwrap_or_default()
            };
            values.push((parameter.name, value));
        }
        values
    }

    /// Notes that a value was asked for, and what came of it: the value in force, or why it was refused. It is
    /// published with the next status, which is due at once.
    pub fn answer(&mut self, name: &str, asked: f64, outcome: Result<f64, String>) {
        let name = Text::from(name);
        let Some(place) = self.status.parameters.iter_mut().find(|place| place.name == name) else { return };
        place.asked = asked;
        place.answers += 1;
        place.refusal = Text::from(outcome.as_ref().err().map_or("", String::as_str));
        place.value = outcome.unwrap_or(place.value);
        self.due = Instant::now();
    }

    /// Once a second: sees to it that the process's channels have their names, `writers` and its status.
    pub fn keep_names(&mut self, writers: &mut [&mut dyn Named]) {
        if Instant::now() < self.look_due {
            return;
        }
        self.look_due = Instant::now() + LOOK_EVERY;
        self.writer.keep_name();
        writers.iter_mut().for_each(|writer| writer.keep_name());
    }

    /// Publishes the figures if it is time to.
    pub fn publish_if_due(&mut self) {
        if Instant::now() >= self.due {
            self.publish();
        }
    }

    /// Publishes the figures.
    pub fn publish(&mut self) {
        self.latencies.write(&mut self.now);
        self.status.vitals = self.now;
        self.writer.publish(self.status);
        self.due = Instant::now() + EVERY;
        self.tell();
    }

    fn tell(&mut self) {
        let (at, before) = self.told;
        let Vitals { published, taken, missed, torn, .. } = self.now;
        let seconds = at.elapsed().as_secs_f64();
        if at.elapsed() >= TELL_EVERY {
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let (published, taken) = (rate(published, before.published), rate(taken, before.taken));
            tracing::debug!(
                "{published:.1} values published and {taken:.1} taken a second; {missed} missed, {torn} torn"
            );
            self.told = (Instant::now(), self.now);
        }
    }
}

impl Drop for VitalSigns {
    fn drop(&mut self) {
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_goes_on_counting() {
        let name = ChannelName::new(&format!("test-{}", std::process::id()), "vitals").unwrap();
        let mut first = VitalSigns::create(&name).unwrap();
        first.now.published = 7;
        drop(first);
        let second = VitalSigns::create(&name).unwrap();
        assert_eq!(second.now.published, 7);
        // Whoever looks sees at once that it is another one.
        assert_eq!(StatusWatch::new(name.clone()).look().unwrap().status.starts, 2);
        drop(second);
        lkas_shm::unlink(&name).unwrap();
    }

    #[test]
    fn values_come_from_the_predecessor_then_from_the_configuration_then_from_the_defaults() {
        let name = ChannelName::new(&format!("test-{}", std::process::id()), "declared").unwrap();
        let kp = Parameter::find(Category::Decision, "kp").unwrap();
        let value = |vitals: &mut VitalSigns, configured: &[(&'static Parameter, f64)]| {
            let values = vitals.declare(Category::Decision, configured);
            values.iter().find(|(name, _)| *name == "kp").unwrap().1
        };
        let mut first = VitalSigns::create(&name).unwrap();
        assert_eq!(value(&mut first, &[]), 0.5);
        drop(first);
        lkas_shm::unlink(&name).unwrap();
        let mut first = VitalSigns::create(&name).unwrap();
        assert_eq!(value(&mut first, &[(kp, 0.7)]), 0.7);
        first.answer("kp", 0.9, Ok(0.9));
        drop(first);
        assert_eq!(value(&mut VitalSigns::create(&name).unwrap(), &[(kp, 0.7)]), 0.9);
        lkas_shm::unlink(&name).unwrap();
    }
}
