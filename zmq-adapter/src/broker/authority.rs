//! Who may command, and how old a command is.

use super::options::Lease;
use crate::error::Refusal;
use crate::socket::Source;
use crate::ticks::{self, Ages, Clock, Tick};
use crate::wire;
use core::time::Duration;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Instant;

/// How long a lease lasts without a command or a claim of its holder.
const LEASE: Duration = Duration::from_secs(10);

/// Connections whose fastest message is remembered.
const CONNECTIONS: usize = 256;

/// The key by which a holder of the lease is known: a secret of its own choosing.
pub(super) const CLIENT: &str = "client";

struct Held {
    holder: String,
    client: String,
    until: Instant,
}

pub(super) struct Authority {
    pub(super) clock: Clock,
    limit: Duration,
    ages: BTreeMap<Source, Ages>,
    held: Option<Held>,
}

impl Authority {
    pub(super) fn new(limit: Duration) -> Self {
        Self { clock: Clock::new(), limit, ages: BTreeMap::new(), held: None }
    }

    /// How long ago a request was made, in seconds; zero where only its arrival is known.
    pub(super) fn age_s(&mut self, source: &Source, object: &Map<String, Value>) -> f64 {
        if let Some(age) = Tick::of_request(object).and_then(|tick| self.clock.age_s(&tick)) {
            return age;
        }
        let Some(asked) = object.get("timestamp").and_then(Value::as_f64) else { return 0.0 };
        if source.is_local() {
            return (wire::now() - asked).max(0.0);
        }
        if self.ages.len() >= CONNECTIONS && !self.ages.contains_key(source) {
            self.ages.pop_first();
        }
        self.ages.entry(source.clone()).or_default().age_s(asked, ticks::clock())
    }

    /// Whether a command of that age, given by whoever `object` says, may be executed.
    pub(super) fn check(&mut self, name: &str, age_s: f64, object: &Map<String, Value>) -> Result<(), Refusal> {
        if age_s > self.limit.as_secs_f64() {
            return Err(Refusal::Expired { action: name.to_owned(), age_s });
        }
        let Some(held) = self.held() else { return Ok(()) };
        if object.get(CLIENT).and_then(Value::as_str) == Some(held.client.as_str()) {
            held.until = Instant::now() + LEASE;
            return Ok(());
        }
        let for_s = held.until.saturating_duration_since(Instant::now()).as_secs_f64();
        Err(Refusal::Leased { holder: held.holder.clone(), for_s })
    }

    fn held(&mut self) -> Option<&mut Held> {
        self.held = self.held.take().filter(|held| held.until > Instant::now());
        self.held.as_mut()
    }

    /// The lease, while somebody has it.
    pub(super) fn lease(&self) -> Option<Lease> {
        let held = self.held.as_ref()?;
        let left = held.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| Lease { holder: held.holder.clone(), left })
    }

    /// Gives the lease to whoever asks for it, or takes it from who has it where `params` say so.
    pub(super) fn claim(&mut self, object: &Map<String, Value>, params: &Map<String, Value>) -> Result<(), Refusal> {
        let short = |value: Option<&Value>, key| match value.and_then(Value::as_str) {
            Some(text) if (1..=64).contains(&text.len()) => Ok(text.to_owned()),
            _ => Err(Refusal::WrongKind { key, expected: "a text of 1 to 64 bytes" }),
        };
        let client = short(object.get(CLIENT), CLIENT)?;
        let holder = short(params.get("holder"), "holder")?;
        let takes_over = params.get("take_over").and_then(Value::as_bool) == Some(true);
        if let Some(held) = self.held().filter(|held| held.client != client && !takes_over) {
            let for_s = held.until.saturating_duration_since(Instant::now()).as_secs_f64();
            return Err(Refusal::Leased { holder: held.holder.clone(), for_s });
        }
        self.held = Some(Held { holder, client, until: Instant::now() + LEASE });
        Ok(())
    }

    /// Takes back the lease, which only its holder may do; `check` has seen to that.
    pub(super) fn release(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn from(address: &str) -> Source {
        Source { address: address.to_owned(), ..Source::default() }
    }

    #[test]
    fn the_age_of_a_request_is_known_from_the_best_that_it_has() {
        let mut authority = Authority::new(Duration::from_secs(2));
        let mut age = |address: &str, value| authority.age_s(&from(address), &object(value));
        assert_eq!(age("127.0.0.1", json!({})), 0.0);
        assert!((9.9..11.0).contains(&age("127.0.0.1", json!({"timestamp": wire::now() - 10.0}))));
        // Another machine's clock may be anything, but it goes on like ours.
        assert_eq!(age("192.0.2.1", json!({"timestamp": 1000.0})), 0.0);
        assert!((4.9..5.5).contains(&age("192.0.2.1", json!({"timestamp": 995.0}))));
        assert_eq!(age("192.0.2.2", json!({"timestamp": 995.0})), 0.0, "another connection");
        let tick = authority.clock.tick(3.0);
        let age = authority.age_s(&from("192.0.2.1"), &object(json!({"tick": tick, "timestamp": 5000.0})));
        assert!((3.0..3.5).contains(&age), "{age}");
    }

    #[test]
    fn a_lease_keeps_others_out_until_it_is_released_or_taken_over() {
        let mut authority = Authority::new(Duration::from_secs(2));
        let (ours, theirs) = (object(json!({"client": "a"})), object(json!({"client": "b"})));
        let named = |holder: &str, takes_over: bool| object(json!({"holder": holder, "take_over": takes_over}));
        assert_eq!(authority.check("pause", 0.0, &theirs), Ok(()));
        assert!(authority.claim(&object(json!({})), &named("us", false)).is_err(), "nobody can be told by nothing");
        authority.claim(&ours, &named("us", false)).unwrap();
        assert_eq!(authority.check("pause", 0.0, &ours), Ok(()));
        for stranger in [&theirs, &object(json!({}))] {
            let refused = authority.check("pause", 0.0, stranger).unwrap_err();
            assert!(refused.to_string().contains("us has the lease"), "{refused}");
        }
        assert!(authority.claim(&theirs, &named("them", false)).is_err());
        authority.claim(&theirs, &named("them", true)).unwrap();
        assert_eq!(authority.lease().unwrap().holder, "them");
        assert!(authority.check("pause", 0.0, &ours).is_err());
        authority.release();
        assert_eq!((authority.check("pause", 0.0, &ours), authority.lease()), (Ok(()), None));
    }

    #[test]
    fn connections_are_forgotten_before_they_fill_the_memory() {
        let mut authority = Authority::new(Duration::from_secs(2));
        for number in 0..2 * CONNECTIONS {
            let source = Source { connection: number.to_string(), ..from("192.0.2.1") };
            authority.age_s(&source, &object(json!({"timestamp": 1.0})));
        }
        assert_eq!(authority.ages.len(), CONNECTIONS);
    }
}
