//! What the processes of a system say of themselves, as one object for viewers.

use crate::options::{PROCESSES, SystemOptions};
use crate::status::{
    Declared, Refused, Seen, State, StatusWatch, Vitals, is_listed, of, vehicle_reason, vehicle_words,
};
use lkas_core::{Kind, Message, Plain, Scalar};
use lkas_messages::names::Category;
use lkas_shm::{ChannelNameError, clock};
use lkas_zmq::ParameterReport;
use lkas_zmq::wire::Declaration;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// How often the processes are looked at while somebody watches, and otherwise.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(100)];

/// How often viewers are told where nothing changes.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// All processes of one system, looked at from outside.
#[derive(Debug)]
pub(crate) struct Processes {
    watches: Vec<(&'static str, StatusWatch)>,
    pace: Pace,
    reports: Vec<(Category, Vec<ParameterReport>)>,
    /// How many requests the vehicle had refused at the last look.
    refused_seen: u64,
    refusals: Vec<(u64, String)>,
}

impl Processes {
    pub(crate) fn new(system: &SystemOptions) -> Result<Self, ChannelNameError> {
        let watch = |name| Ok((name, StatusWatch::new(system.status_channel(name)?)));
        let watches = PROCESSES.into_iter().map(watch).collect::<Result<_, _>>()?;
        Ok(Self {
            watches,
            pace: Pace::new(Instant::now()),
            reports: Vec::new(),
            refused_seen: 0,
            refusals: Vec::new(),
        })
    }

    /// What the servers say of their parameters, as of the last look; each look is returned once.
    pub(crate) fn reports(&mut self) -> Vec<(Category, Vec<ParameterReport>)> {
        std::mem::take(&mut self.reports)
    }

    /// The requests that the vehicle refused last, by the broker's numbers, and why; where there are new ones.
    pub(crate) fn refusals(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.refusals)
    }

    /// When to look next.
    pub(crate) fn look_due(&self) -> Instant {
        self.pace.look_due
    }

    /// What viewers are to be told now: every 100 ms, and at once where the vehicle says something else.
    pub(crate) fn due(&mut self, is_watched: bool) -> Option<Value> {
        let now = Instant::now();
        if !self.pace.looks(now, is_watched) {
            return None;
        }
        let seen: Vec<_> = self.watches.iter_mut().map(|(name, watch)| (*name, watch.look())).collect();
        let reports =
            |category: Category| Some((category, of(&seen, category.name())?.status.declared().map(report).collect()));
        self.reports = Category::ALL.into_iter().filter_map(reports).collect();
        let vehicle_status = of(&seen, "simulation").map(|seen| &seen.status);
        if let Some(status) = vehicle_status.filter(|status| status.refused_seen != self.refused_seen) {
            self.refused_seen = status.refused_seen;
            self.refusals.extend(status.refused.into_iter().filter(|refused| refused.number > 0).map(refusal));
        }
        let vehicle = vehicle(of(&seen, "simulation"), of(&seen, "decision"));
        let says =
            json!([vehicle["words"], vehicle["state"], vehicle["latched"], vehicle["paused"], vehicle["respawns"]]);
        if !self.pace.tells(now, says) {
            return None;
        }
        let processes: Vec<Value> =
            seen.iter().filter(|one| is_listed(one)).map(|(name, seen)| process(name, seen.as_ref())).collect();
        Some(json!({"vehicle": vehicle, "processes": processes}))
    }
}

/// When to look, and when to tell what was seen.
#[derive(Debug)]
struct Pace {
    look_due: Instant,
    tell_due: Instant,
    told: Option<Value>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { look_due: now, tell_due: now, told: None }
    }

    /// Whether to look `now`.
    fn looks(&mut self, now: Instant, is_watched: bool) -> bool {
        let [soon, late] = LOOK_EVERY;
        let every = if is_watched { soon } else { late };
        self.look_due = self.look_due.min(now + every);
        let is_due = now >= self.look_due;
        if is_due {
            self.look_due = now + every;
        }
        is_due
    }

    /// Whether to tell `now` that the vehicle says this.
    fn tells(&mut self, now: Instant, says: Value) -> bool {
        let is_due = self.told.as_ref() != Some(&says) || now >= self.tell_due;
        if is_due {
            self.tell_due = now + TELL_EVERY;
            self.told = Some(says);
        }
        is_due
    }
}

fn refusal(refused: Refused) -> (u64, String) {
    let why = match refused.age_s {
        age_s if age_s > 0.0 => format!("it came to the vehicle too late: it was asked for {age_s:.1} s ago"),
        _ => "too many requests wait at the vehicle already".to_owned(),
    };
    (refused.number, why)
}

fn report(declared: &Declared) -> ParameterReport {
    ParameterReport {
        name: declared.name.to_string(),
        value: declared.value,
        asked: declared.asked,
        answers: declared.answers,
        refusal: Some(declared.refusal.to_string()).filter(|why| !why.is_empty()),
        declared: Declaration {
            min: declared.min,
            max: declared.max,
            default: declared.default,
            unit: declared.unit.to_string(),
            help: declared.help.to_string(),
        },
    }
}

fn vehicle(seen: Option<&Seen>, decision: Option<&Seen>) -> Value {
    let current = seen.filter(|seen| seen.is_current());
    let state = current.and_then(|seen| State::from_code(seen.status.state));
    json!({
        "state": state.map_or("unknown", State::name),
        "reason": current.map(|seen| vehicle_reason(seen, decision)).filter(|reason| !reason.is_empty()),
        "words": vehicle_words(seen, decision),
        "latched": current.map(|seen| seen.status.latched != 0),
        "paused": current.map(|seen| seen.status.paused != 0),
        "respawns": current.map(|seen| seen.status.respawns),
        "severe": state.is_some_and(State::is_severe),
        "since_s": state.and(current).map(|seen| seconds_since(seen.status.since)),
    })
}

fn process(name: &str, seen: Option<&Seen>) -> Value {
    let Some(seen) = seen else { return json!({"name": name, "alive": false}) };
    let status = &seen.status;
    let state = State::from_code(status.state).filter(|_| seen.is_current());
    let mut events: Vec<_> = status.events.iter().filter(|event| event.number > 0).collect();
    events.sort_unstable_by_key(|event| event.number);
    let events: Vec<Value> = events
        .into_iter()
        .map(|event| {
            let (time_s, age_s) = (event.time as f64 * 1e-9, seconds_since(event.time));
            json!({"number": event.number, "time_s": time_s, "age_s": age_s, "words": event.words.to_string()})
        })
        .collect();
    json!({
        "name": name,
        "alive": seen.is_alive,
        "silent": !seen.is_current(),
        "pid": status.process,
        "age_s": seen.age.map(|age| age.as_secs_f64()),
        "up_s": seconds_since(status.started),
        "state": state.map_or("unknown", State::name),
        "reason": status.reason.to_string(),
        "published": status.vitals.published,
        "missed": status.vitals.missed,
        "restarts": status.starts.saturating_sub(1),
        "latency": latency(&status.vitals),
        "parameters": status.declared().map(declared).collect::<Vec<_>>(),
        "events": events,
    })
}

/// Every figure of a latency that was measured, in milliseconds: `render_p50` of the field `p50_ms` in the message
/// `latency_render`, `p50` of that in `latency`.
fn latency(vitals: &Vitals) -> Map<String, Value> {
    let mut figures = Map::new();
    for field in Vitals::FIELDS {
        let (Some(stage), Kind::Message(parts)) = (field.name.strip_prefix("latency"), field.kind) else { continue };
        for part in parts.iter().filter(|part| part.kind == Kind::Number(Scalar::F64)) {
            let bytes = vitals.as_bytes().get(field.offset + part.offset..).and_then(<[u8]>::first_chunk);
            let value = bytes.map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
            if value.is_finite() && value > 0.0 {
                let name = format!("{stage}_{}", part.name.trim_end_matches("_ms"));
                figures.insert(name.trim_start_matches('_').to_owned(), value.into());
            }
        }
    }
    figures
}

/// A parameter as its server declares it.
fn declared(declared: &Declared) -> Value {
    let Declared { name, help, unit, value, default, min, max, .. } = declared;
    json!({
        "name": name.to_string(), "help": help.to_string(), "unit": unit.to_string(),
        "value": value, "default": default, "min": min, "max": max,
    })
}

fn seconds_since(time: u64) -> f64 {
    clock::now().saturating_sub(time) as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Status, Took};
    use lkas_core::Code;

    fn seen(state: Code<State>, age_ms: u64, is_alive: bool) -> Seen {
        let status = Status { state, reason: "why".into(), ..Status::default() };
        Seen { status, age: Some(Duration::from_millis(age_ms)), is_alive }
    }

    #[test]
    fn a_vehicle_that_is_silent_or_gone_is_unknown() {
        let (running, odd) = (State::Running.code(), Code::from_number(99));
        for unknown in
            [None, Some(seen(running, 5000, true)), Some(seen(running, 10, false)), Some(seen(odd, 10, true))]
        {
            let told = vehicle(unknown.as_ref(), None);
            assert_eq!(told["state"], "unknown", "{told}");
            assert!(told["words"].as_str().is_some_and(|words| words.contains("unknown")), "{told}");
        }
        assert_eq!(vehicle(Some(&seen(running, 10, true)), None)["words"], Value::Null);
    }

    #[test]
    fn what_the_vehicle_says_is_told_at_the_next_look_and_again_ten_times_a_second() {
        for (is_watched, within_ms) in [(true, 20), (false, 100)] {
            // Whenever it begins to say something else; the clock is the test's.
            for change_ms in 500..700 {
                let start = Instant::now();
                let mut pace = Pace::new(start);
                let told = (0..1100_u64).filter_map(|ms| {
                    let (now, stops) = (start + Duration::from_millis(ms), ms >= change_ms);
                    (pace.looks(now, is_watched) && pace.tells(now, stops.into())).then_some((ms, stops))
                });
                let told: Vec<_> = told.collect();
                let first = told.iter().find(|(_, stops)| *stops).unwrap().0;
                assert!(first - change_ms <= within_ms, "{change_ms}: told at {first}");
                assert!(told.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 100), "{told:?}");
                assert!(told.len() <= 13, "no more often than needed: {told:?}");
            }
        }
    }

    #[test]
    fn a_process_that_ended_is_listed_as_gone_with_what_it_said_last() {
        let mut ended = seen(State::Waiting.code(), 15_000, false);
        ended.status.note("started", 5);
        ended.status.note("waiting; nothing comes from the broker", 6);
        let one = ("viewer", Some(ended));
        assert!(is_listed(&one));
        let told = process(one.0, one.1.as_ref());
        assert_eq!((&told["alive"], &told["silent"], &told["state"]), (&json!(false), &json!(true), &json!("unknown")));
        assert_eq!(told["events"][1]["words"], "waiting; nothing comes from the broker");
    }

    #[test]
    fn what_was_measured_is_told_by_its_name() {
        let latency_render = Took { p50_ms: 0.5, ..Took::default() };
        let total = Took { p50_ms: 1.5, max_ms: f64::NAN, ..Took::default() };
        let vitals = Vitals { latency: total, latency_render, offset_m: 0.2, ..Vitals::default() };
        assert_eq!(Value::from(latency(&vitals)), json!({"p50": 1.5, "render_p50": 0.5}));
    }

    #[test]
    fn a_safe_stop_is_told_with_its_reason() {
        let told = vehicle(Some(&seen(State::SafeStop.code(), 10, true)), None);
        assert_eq!((&told["state"], &told["severe"]), (&json!("safe_stop"), &json!(true)));
        assert_eq!(told["words"], "SAFE STOP: braking; why");
    }
}
