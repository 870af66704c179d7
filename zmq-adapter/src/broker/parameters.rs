//! Parameters: what was sent, what servers declare and say is in force, and the answers.
//!
//! The broker has no table of its own. A category is whatever a server declares or subscribes to, and what a value may be
//! is the server's to say.

use super::actions::OWN_KEYS;
use super::{Broker, drain, drain_ends};
use crate::decode::{self, decode_parameter};
use crate::error::Refusal;
use crate::ports::Port;
use crate::socket::{self, Listeners, Source};
use crate::wire::{self, Declaration, ParameterRequest, ParameterStatus, Topic};
use core::time::Duration;
use lkas_messages::names::{Category, Name, PARAMETERS, Parameter};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// How long a server may take at least to say that it applied a value.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How much longer than a value lives its answer is waited for: a server's idea of its age is not exact, and what was
/// refused must not be applied afterwards.
const MARGIN: Duration = Duration::from_millis(500);

/// Parameters that are remembered, at most.
const KEPT: usize = 256;

/// Categories of servers that are known by their subscription alone, at most.
const CATEGORIES: usize = 64;

const NOT_CONFIRMED: &str = "sent, not confirmed";

/// A category and a name.
type Key = (Name, Name);

/// What a server says of one of its parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParameterReport {
    /// The parameter's name.
    pub name: String,
    /// The value in force.
    pub value: f64,
    /// The value that was asked for last.
    pub asked: f64,
    /// How often a value was asked for and applied or refused.
    pub answers: u64,
    /// Why the value asked for last was not applied.
    pub refusal: Option<String>,
    /// The range, the default, the unit and the help.
    pub declared: Declaration,
}

/// A value that was sent to a server which has not said yet that it applied it.
struct Unanswered {
    asked: f64,
    object: Vec<u8>,
    /// How old it was when it was sent, in seconds.
    age_s: f64,
    id: Option<Value>,
    /// The server's count of answers when it was sent.
    answers: u64,
    sent: Instant,
}

/// A value that was sent, and the object that told servers so.
struct Sent {
    value: f64,
    object: Vec<u8>,
}

pub(super) struct Parameters {
    pub(super) port: Port,
    /// Of categories whose server does not say what is in force. One that does takes it from its predecessor.
    sent: BTreeMap<Key, Sent>,
    reports: BTreeMap<Key, ParameterReport>,
    unanswered: BTreeMap<Key, Unanswered>,
    answer_within: Duration,
}

impl Parameters {
    pub(super) fn listeners() -> Listeners {
        Listeners::and_others(&Category::ALL.map(Category::name), CATEGORIES)
    }

    pub(super) fn new(port: Port, command_age: Duration) -> Self {
        let answer_within = ANSWER_WITHIN.max(command_age) + MARGIN;
        Self { port, sent: BTreeMap::new(), reports: BTreeMap::new(), unanswered: BTreeMap::new(), answer_within }
    }

    /// When there is something to be said though nothing comes.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unanswered.values().map(|asked| asked.sent + self.answer_within).min()
    }

    fn is_declared(&self, category: &Name) -> bool {
        self.reports.keys().any(|(known, _)| known == category)
    }

    fn value(&self, key: &Key) -> Option<f64> {
        let report = self.reports.get(key).map(|report| report.value);
        report.or_else(|| self.sent.get(key).map(|sent| sent.value))
    }

    /// Whether a value of this parameter may be sent at all.
    fn check(&self, key: &Key) -> Result<(), Refusal> {
        let (category, name) = key;
        if self.is_declared(category) && !self.reports.contains_key(key) {
            let own = self.reports.keys().filter(|(known, _)| known == category);
            let declared = own.map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Refusal::NotDeclared { parameter: name.to_string(), declared });
        }
        if self.sent.len() >= KEPT && !self.sent.contains_key(key) {
            return Err(Refusal::TooManyParameters);
        }
        Ok(())
    }
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

fn key(category: &str, name: &str) -> Result<Key, Refusal> {
    Ok((category.parse()?, name.parse()?))
}

impl Broker {
    /// Takes note of subscriptions and sends new servers what was sent last. Returns how many messages there were.
    pub(super) fn poll_servers(&mut self) -> usize {
        let mut messages = drain_ends(&self.parameters.port, &mut self.statistics.subscriptions);
        let mut new = Vec::new();
        for (end, parts) in &mut messages {
            match self.parameters.port.note(*end, parts) {
                Some(subscription) if subscription.subscribed => {
                    if subscription.covers(Topic::Tick.name()) {
                        self.hurry_tick();
                    }
                    new.push(subscription);
                }
                Some(_) => {}
                None => self.statistics.subscriptions.refuse(super::odd()),
            }
        }
        // Once for all who came in the meantime: each of them gets whatever is sent to their topic. What was answered is not
        // said again: it was applied, or it was refused.
        let Parameters { sent, unanswered, .. } = &self.parameters;
        let unanswered = unanswered.iter().map(|(key, asked)| (key, &asked.object, asked.age_s + seconds(asked.sent)));
        for ((category, _), object, age_s) in sent.iter().map(|(key, sent)| (key, &sent.object, 0.0)).chain(unanswered)
        {
            if new.iter().any(|subscription| subscription.covers(category.as_str()))
                && let Err(error) = self.forward(category, object, age_s)
            {
                self.statistics.parameters.refuse(error);
            }
        }
        messages.len()
    }

    fn forward(&self, category: &Name, object: &[u8], age_s: f64) -> Result<(), Refusal> {
        self.tick_before(&self.parameters.port, age_s)?;
        self.parameters.port.send(&[category.as_str().as_bytes(), object]).map_err(Refusal::Socket)
    }

    /// Tells viewers all that is known of parameters.
    pub(super) fn tell_all_parameters(&mut self) {
        let table = PARAMETERS.iter().filter_map(|known| key(known.category.name(), known.name).ok());
        let known = self.parameters.reports.keys().chain(self.parameters.sent.keys()).cloned();
        let keys: std::collections::BTreeSet<Key> = table.chain(known).collect();
        for key in keys {
            let reason = match (self.parameters.reports.contains_key(&key), self.parameters.sent.contains_key(&key)) {
                (true, _) => None,
                (false, true) => Some(NOT_CONFIRMED),
                (false, false) => Some("no server has said which value is in force"),
            };
            self.tell(&key, true, reason.map(str::to_owned), None);
        }
    }

    /// Takes what a server says of its parameters, and tells viewers what is new: a value that is in force now, and the
    /// answer to a request. To be called whenever the server has said something, and as often as one likes. From the
    /// first call on, requests for this category are answered by the server alone, or refused when a value has lived for too
    /// long; what is not among `reports` is no parameter of it. Its values are its own to keep when it restarts: what it
    /// has answered is not sent again.
    pub fn report(&mut self, category: impl AsRef<str>, reports: &[ParameterReport]) {
        self.parameters.sent.retain(|(sent, _), _| reports.is_empty() || sent.as_str() != category.as_ref());
        for report in reports {
            // What has no proper name can't be asked for either.
            let Ok(key) = key(category.as_ref(), &report.name) else { continue };
            if self.parameters.reports.len() >= KEPT && !self.parameters.reports.contains_key(&key) {
                continue;
            }
            let before = self.parameters.reports.insert(key.clone(), report.clone());
            // A server that clamps before it applies reports what it made of the value.
            let range = &report.declared;
            let is_asked = |asked: f64| {
                report.asked == asked || range.min <= range.max && report.asked == asked.clamp(range.min, range.max)
            };
            let is_answer = |asked: &Unanswered| report.answers != asked.answers && is_asked(asked.asked);
            let answered = self.parameters.unanswered.get(&key).is_some_and(is_answer);
            let asked = if answered { self.parameters.unanswered.remove(&key) } else { None };
            if answered || before.is_none_or(|before| before.value.total_cmp(&report.value).is_ne()) {
                let refusal = report.refusal.clone().filter(|_| answered);
                let accepted = refusal.is_none();
                let changed = asked.as_ref().filter(|asked| asked.asked != report.value).map(|asked| {
                    format!("{} is not among {} to {}: {} is in force", asked.asked, range.min, range.max, report.value)
                });
                self.tell(&key, accepted, refusal.or(changed), asked.and_then(|asked| asked.id));
            }
        }
    }

    fn tell(&mut self, of: &Key, accepted: bool, reason: Option<String>, id: Option<Value>) {
        let (category, parameter) = of;
        let report = self.parameters.reports.get(of);
        let status = ParameterStatus {
            category: category.to_string(),
            parameter: parameter.to_string(),
            value: self.parameters.value(of),
            accepted,
            confirmed: report.is_some(),
            reason,
            declared: report.map(|report| report.declared.clone()),
            id,
            timestamp: wire::now(),
        };
        let _counted = self.broadcaster.object(Topic::ParameterStatus, &status);
    }

    /// Refuses what no server has applied for too long.
    pub(super) fn give_up(&mut self) {
        let within = self.parameters.answer_within;
        let late = |(key, asked): (&Key, &Unanswered)| (asked.sent.elapsed() >= within).then(|| key.clone());
        let late: Vec<Key> = self.parameters.unanswered.iter().filter_map(late).collect();
        for key in late {
            let id = self.parameters.unanswered.remove(&key).and_then(|asked| asked.id);
            self.tell(&key, false, Some(format!("nobody applied it within {} s", within.as_secs_f64())), id);
        }
    }

    pub(super) fn poll_parameters(&mut self) -> usize {
        let mut messages = drain(&self.parameter_requests, &mut self.statistics.parameters);
        let mut newest: Vec<(ParameterRequest, Source)> = Vec::new();
        for parts in &mut messages {
            let source = Source::of(parts);
            match decode_parameter(&socket::slices(parts)) {
                Ok(request) => {
                    // Of what came together, the newest value of each parameter is all that anybody needs.
                    let same = |other: &ParameterRequest| {
                        other.value.is_some()
                            && request.value.is_some()
                            && (&other.category, &other.parameter) == (&request.category, &request.parameter)
                    };
                    if let Some(place) = newest.iter().position(|(other, _)| same(other)) {
                        let (older, _) = newest.remove(place);
                        self.refuse_parameter(&older, Refusal::Replaced);
                    }
                    newest.push((request, source));
                }
                Err(refusal) => {
                    let object = decode::remains(&socket::slices(parts));
                    self.statistics.parameters.refuse(refusal.clone());
                    if self.may_answer_nonsense() {
                        let text = |key| object.get(key).and_then(Value::as_str).map(str::to_owned);
                        let category = text("category").unwrap_or_default();
                        let parameter = text("parameter").or_else(|| text("name")).unwrap_or_default();
                        let request = ParameterRequest { category, parameter, value: None, object };
                        self.refuse_parameter(&request, refusal);
                    }
                }
            }
        }
        for (request, source) in newest {
            if let Err(refusal) = self.ask(&request, &source) {
                self.statistics.parameters.refuse(refusal.clone());
                self.refuse_parameter(&request, refusal);
            }
        }
        messages.len()
    }

    /// Does what somebody on the wire asks for.
    fn ask(&mut self, request: &ParameterRequest, source: &Source) -> Result<(), Refusal> {
        let (category, _) = key(&request.category, &request.parameter)?;
        request.value.ok_or(Refusal::NotFinite)?;
        self.permit(source)?;
        let age_s = self.authority.age_s(source, &request.object);
        self.authority.check(&request.parameter, age_s, &request.object)?;
        // Nothing asked for while a server is away is in force when it comes.
        if !self.parameters.is_declared(&category) && !self.parameters.port.has(category.as_str()) {
            return Err(Refusal::NoServer { category: category.to_string() });
        }
        self.send_value(request, age_s).map(drop)
    }

    fn refuse_parameter(&mut self, request: &ParameterRequest, refusal: Refusal) {
        let short = |text: &str| text.chars().take(64).collect::<String>();
        let of = key(&request.category, &request.parameter);
        let report = of.as_ref().ok().and_then(|key| self.parameters.reports.get(key));
        let status = ParameterStatus {
            category: short(&request.category),
            parameter: short(&request.parameter),
            value: of.as_ref().ok().and_then(|key| self.parameters.value(key)),
            accepted: false,
            confirmed: report.is_some(),
            reason: Some(refusal.to_string()),
            declared: report.map(|report| report.declared.clone()),
            id: decode::id(&request.object),
            timestamp: wire::now(),
        };
        let _counted = self.broadcaster.object(Topic::ParameterStatus, &status);
    }

    /// Remembers and forwards a value, and answers it where its server does not.
    fn send_value(&mut self, request: &ParameterRequest, age_s: f64) -> Result<f64, Refusal> {
        let key = key(&request.category, &request.parameter)?;
        let value = request.value.filter(|value| value.is_finite()).ok_or(Refusal::NotFinite)?;
        self.parameters.check(&key)?;
        let mut object = request.object.clone();
        for own in OWN_KEYS {
            object.remove(own);
        }
        // Both keys, because clients of both kinds exist. The value stays as it was written.
        object.insert("parameter".to_owned(), Value::from(key.1.as_str()));
        object.insert("name".to_owned(), Value::from(key.1.as_str()));
        object.entry("timestamp").or_insert_with(|| Value::from(wire::now()));
        let object = wire::encode(&object)?;
        if self.parameters.port.has(key.0.as_str()) {
            self.forward(&key.0, &object, age_s)?;
            self.statistics.parameters.forwarded += 1;
        }
        let id = decode::id(&request.object);
        if let Some(report) = self.parameters.reports.get(&key) {
            // The server says when it has applied it.
            let (answers, sent) = (report.answers, Instant::now());
            let unanswered = Unanswered { asked: value, object, age_s, id, answers, sent };
            if let Some(older) = self.parameters.unanswered.insert(key.clone(), unanswered)
                && older.id.is_some()
            {
                self.tell(&key, false, Some(Refusal::Replaced.to_string()), older.id);
            }
        } else {
            self.parameters.sent.insert(key.clone(), Sent { value, object });
            self.tell(&key, true, Some(NOT_CONFIRMED.to_owned()), id);
        }
        Ok(value)
    }

    /// Sends a value as if a viewer had asked for it, for example from a configuration. It is remembered for servers that
    /// come later, unless their category was [reported](Self::report): then what is in force is theirs to say. Returns
    /// the value sent.
    ///
    /// # Errors
    /// A malformed name, one that the category's server does not declare, or a value that is not finite.
    pub fn set_parameter(&mut self, category: impl AsRef<str>, name: &str, value: f64) -> Result<f64, Refusal> {
        let category = category.as_ref().to_owned();
        let object = wire::parameter_object(&category, name, value);
        let value = Some(value).filter(|value| value.is_finite());
        let request = ParameterRequest { category, parameter: name.to_owned(), value, object };
        let outcome = self.send_value(&request, 0.0);
        if let Err(refusal) = &outcome {
            self.statistics.parameters.refuse(refusal.clone());
            self.refuse_parameter(&request, refusal.clone());
        }
        outcome
    }

    /// The value of a parameter: the one in force where its server reports it, otherwise the last one sent, otherwise its
    /// default.
    #[must_use]
    pub fn parameter(&self, parameter: &Parameter) -> f64 {
        let known = key(parameter.category.name(), parameter.name).ok();
        known.and_then(|key| self.parameters.value(&key)).unwrap_or(parameter.default)
    }
}

/// The parameter that a request names, and the value asked for, in its range: what a server of ours makes of a request.
pub(crate) fn check(request: &ParameterRequest) -> Result<(&'static Parameter, f64), Refusal> {
    let category: Category = request.category.parse()?;
    let parameter = Parameter::find(category, &request.parameter)?;
    let value = request.value.and_then(|value| parameter.accept(value)).ok_or(Refusal::NotFinite)?;
    Ok((parameter, value))
}
