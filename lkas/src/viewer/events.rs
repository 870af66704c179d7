//! What happened lately: the events of all processes, for pages that open later.

use serde_json::{Value, json};
use std::{collections::VecDeque, time::Instant};

/// Events that are kept. Each process's status has its own last ones, which are fewer.
const EVENTS: usize = 200;

/// The last events that were heard of, each once, the oldest first.
#[derive(Debug)]
pub(super) struct Events {
    start: Instant,
    kept: VecDeque<Event>,
}

#[derive(Debug)]
struct Event {
    process: String,
    number: u64,
    time_s: f64,
    words: String,
    /// When, in seconds from the log's start by this machine's clock: the broker's may be another one.
    at: f64,
}

impl Default for Events {
    fn default() -> Self {
        Self { start: Instant::now(), kept: VecDeque::new() }
    }
}

impl Events {
    /// Keeps the events in a status that are not among the kept ones.
    pub(super) fn note(&mut self, status: &Value, now: Instant) {
        let now = self.seconds(now);
        for process in status["processes"].as_array().into_iter().flatten() {
            for event in process["events"].as_array().into_iter().flatten() {
                let (Some(name), Some(number), Some(words)) =
                    (process["name"].as_str(), event["number"].as_u64(), event["words"].as_str())
                else {
                    continue;
                };
                let time_s = event["time_s"].as_f64().unwrap_or(0.0);
                // A number alone is not enough: after a new start of everything they count from 1 again.
                let same = |known: &Event| known.number == number && known.time_s == time_s && known.process == name;
                if self.kept.iter().any(same) {
                    continue;
                }
                let at = now - event["age_s"].as_f64().unwrap_or(0.0);
                let place = self.kept.partition_point(|known| known.at <= at);
                let (process, words) = (name.to_owned(), words.to_owned());
                self.kept.insert(place, Event { process, number, time_s, words, at });
                if self.kept.len() > EVENTS {
                    self.kept.pop_front();
                }
            }
        }
    }

    /// All of them, as they stand in a status, with the name of their process.
    pub(super) fn list(&self, now: Instant) -> Vec<Value> {
        let now = self.seconds(now);
        let told = |event: &Event| {
            let Event { process, number, time_s, words, at } = event;
            json!({"process": process, "number": number, "time_s": time_s, "age_s": now - at, "words": words})
        };
        self.kept.iter().map(told).collect()
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.start).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    /// What a process says `now`, in seconds: events with these numbers, of which each happened at as many seconds.
    fn status(process: &str, now: u64, numbers: impl Iterator<Item = u64>) -> Value {
        let event = |number: u64| {
            let (time_s, age_s) = (number as f64, (now - number) as f64);
            json!({"number": number, "time_s": time_s, "age_s": age_s, "words": format!("number {number}")})
        };
        let events: Vec<_> = numbers.map(event).collect();
        json!({"processes": [{"name": "gone", "alive": false}, {"name": process, "events": events}]})
    }

    #[test]
    fn the_last_ones_of_all_processes_are_kept_each_once_in_their_order() {
        let mut events = Events::default();
        let start = events.start;
        let named = |events: &Events| {
            let name = |event: Value| format!("{} {}", event["process"].as_str().unwrap(), event["number"]);
            events.list(start).into_iter().map(name).collect::<Vec<_>>()
        };
        let mut expected = vec!["quiet 1".to_owned()];
        for now in 2..=300 {
            let at = start + Duration::from_secs(now);
            for _ in 0..2 {
                events.note(&status("busy", now, now.saturating_sub(15).max(2)..=now), at);
                // It goes on saying what is older than all that is kept.
                events.note(&status("quiet", now, 1..=1), at);
            }
            expected.push(format!("busy {now}"));
            expected = expected.split_off(expected.len().saturating_sub(EVENTS));
            assert_eq!(named(&events), expected);
        }
        // The system was started anew: its numbers are those of before, and its clock goes from zero.
        events.note(&status("quiet", 1, 1..=1), start + Duration::from_secs(400));
        assert_eq!(named(&events).last().unwrap(), "quiet 1");
        let list = events.list(start + Duration::from_secs(410));
        assert_eq!(list.len(), EVENTS);
        assert_eq!(
            (&list[0]["words"], &list[0]["time_s"], &list[0]["age_s"]),
            (&json!("number 102"), &json!(102.0), &json!(308.0))
        );
    }
}
