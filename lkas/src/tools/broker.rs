//! `lkas info broker`: what goes through the broker, as it says itself.

use super::names::printable;
use super::{print, size};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use lkas_zmq::{Endpoint, Topic, ViewerClient, ViewerMessage};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A broker says what it does at once when somebody asks, and connecting takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints what the broker says of its work.
///
/// # Errors
/// No broker answers, or its address is unusable.
pub(super) fn broker(system: &SystemOptions, as_json: bool, stop: &Stop) -> Result<(), Failure> {
    let endpoint = system.endpoint();
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::Statistics])?;
    let deadline = Instant::now() + PATIENCE;
    let mut statistics = loop {
        if let Some(ViewerMessage::Statistics(statistics)) = viewer.next(Duration::from_millis(50))? {
            break statistics;
        }
        if stop.is_set() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(match viewer.is_connected() {
                true => format!("the broker on {endpoint} says nothing of its work; it is of an older release").into(),
                false => nobody_answers(&endpoint).into(),
            });
        }
    };
    statistics["broker"] = json!({"host": endpoint.host, "base_port": endpoint.base_port});
    let text = if as_json { format!("{statistics:#}\n") } else { as_text(&endpoint.to_string(), &statistics) };
    print(&text)
}

/// What to say where no broker is.
pub(super) fn nobody_answers(endpoint: &Endpoint) -> String {
    if endpoint.is_loopback() {
        return format!("no broker answers on {endpoint}: start one (lkas --broadcast)");
    }
    format!(
        "no broker answers on {endpoint}: it is not there, or lets nobody in without a key that it knows (--key, --broker-key)"
    )
}

fn as_text(endpoint: &str, statistics: &Value) -> String {
    let mut text = format!("broker   {endpoint}\n");
    let encoding = &statistics["about"]["encoding"];
    if let Some(encoder) = encoding["encoder"].as_str() {
        text += &format!(
            "JPEG     {}, quality {}, {} frames, the last one in {:.2} ms\n",
            printable(encoder),
            whole(&encoding["jpeg_quality"]),
            whole(&encoding["frames_encoded"]),
            encoding["last_took_ms"].as_f64().unwrap_or_default(),
        );
    }
    text += &format!(
        "\n{:<16} {:>11} {:>9} {:>10} {:>9} {:>9}\n",
        "TOPIC", "SUBSCRIBERS", "RATE", "SENT", "BYTES", "DROPPED"
    );
    for (topic, of) in rows(&statistics["broadcasts"]) {
        text += &format!(
            "{:<16} {:>11} {:>7.1}/s {:>10} {:>9} {:>9}{}\n",
            printable(topic),
            whole(&of["subscribers"]),
            of["rate_hz"].as_f64().unwrap_or_default(),
            whole(&of["sent"]),
            size(whole(&of["bytes"])),
            whole(&of["dropped"]),
            reason(&of["last_drop"]),
        );
    }
    text += &format!("\n{:<16} {:>11} {:>9} {:>10} {:>9}\n", "FROM OTHERS", "RECEIVED", "RATE", "PASSED ON", "REFUSED");
    for name in ["actions", "parameters", "states", "subscriptions"] {
        let of = &statistics[name];
        text += &format!(
            "{name:<16} {:>11} {:>7.1}/s {:>10} {:>9}{}\n",
            whole(&of["received"]),
            of["rate_hz"].as_f64().unwrap_or_default(),
            whole(&of["forwarded"]),
            whole(&of["refused"]),
            reason(&of["last_refusal"]),
        );
    }
    text
}

fn rows(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// Why something was refused last; what strangers sent may be in it.
fn reason(value: &Value) -> String {
    value.as_str().map_or_else(String::new, |reason| format!("  {}", printable(reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_broker_says_can_be_printed() {
        for odd in [json!({}), json!(null), json!({"broadcasts": 1, "about": []}), json!({"broadcasts": {"a": null}})] {
            assert!(as_text("here", &odd).contains("RECEIVED"), "{odd}");
        }
        let hostile = json!({"actions": {"last_refusal": "\u{1b}[2J"}});
        assert!(!as_text("here", &hostile).contains('\u{1b}'));
    }
}
