//! `lkas echo`: the values of any channel, field by field, as its segment describes them.

use super::{rest, short, unless_nobody_reads};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use clap::Args;
use lkas_core::Observed;
use lkas_shm::{ChannelName, Description, FieldValue, Observer, OpenError, clock};
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// What `lkas echo` prints.
#[derive(Args, Clone, Debug)]
pub struct EchoOptions {
    /// The channel, without its namespace
    name: String,
    /// One JSON object in a line for each value
    #[arg(long)]
    json: bool,
    /// Only this field, one value in a line
    #[arg(long, conflicts_with = "json")]
    field: Option<String>,
    /// End after one value
    #[arg(long, conflicts_with = "count")]
    once: bool,
    /// End after so many values
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// How often the channel is looked at: values that come faster are skipped, and counted.
const LOOK: Duration = Duration::from_millis(1);

/// How often it is looked for a channel that is not there, or was replaced.
const SEARCH: Duration = Duration::from_millis(100);

/// Prints values as they come, the newest each time, until the program shall end. Takes no reader place: each value is a
/// copy that is whole.
///
/// # Errors
/// The channel can't be used, its name is unusable, or it has no such field.
pub fn echo(system: &SystemOptions, options: &EchoOptions, stop: &Stop) -> Result<(), Failure> {
    let name = ChannelName::new(&system.namespace, &options.name)?;
    let mut left = if options.once { 1 } else { options.count.unwrap_or(u64::MAX) };
    let (mut said_waiting, mut skipped, mut bytes) = (false, 0, Vec::new());
    while !stop.is_set() && left > 0 {
        let channel = match Observer::open(&name) {
            Ok(channel) => channel,
            Err(OpenError::NoSuchChannel { .. }) => {
                if !core::mem::replace(&mut said_waiting, true) {
                    tracing::info!("waiting for {name}: its writer was not started yet");
                }
                rest(SEARCH, stop);
                continue;
            }
            Err(why) => return Err(why.into()),
        };
        let description = channel.description();
        if let Some(field) = &options.field
            && !description.fields().iter().any(|known| known.name == *field)
        {
            let known: Vec<_> = description.fields().iter().map(|known| known.name.as_str()).collect();
            return Err(format!("{name} has no field \"{field}\"; it has {}", known.join(", ")).into());
        }
        let (mut before, mut looked) = (0, Instant::now());
        while !stop.is_set() && left > 0 {
            let newest = channel.newest().ok().flatten().filter(|newest| newest.sequence != before);
            // A writer that is faster than a copy is looked at again.
            let copied = newest.and_then(|_| channel.copy(&mut bytes).ok().flatten());
            let Some(value) = copied else {
                std::thread::sleep(LOOK);
                if looked.elapsed() > SEARCH {
                    looked = Instant::now();
                    if channel.is_gone() {
                        break;
                    }
                }
                continue;
            };
            looked = Instant::now();
            skipped += if before == 0 { 0 } else { value.sequence.saturating_sub(before + 1) };
            before = value.sequence;
            let text = match &options.field {
                Some(field) => one(description, &bytes, field),
                None if options.json => json(description, value, &bytes),
                None => lines(description, value, &bytes),
            };
            let printed = writeln!(io::stdout().lock(), "{text}");
            if printed.is_err() {
                return unless_nobody_reads(printed.map_err(Failure::from));
            }
            left -= 1;
        }
    }
    if skipped > 0 && !options.json {
        tracing::info!("{skipped} values came too fast to be printed");
    }
    Ok(())
}

fn age(published: u64) -> Duration {
    Duration::from_nanos(clock::now().saturating_sub(published))
}

/// The value of one field; `-` where it has none.
fn one(description: &Description, bytes: &[u8], name: &str) -> String {
    let number = description.values(bytes).find(|(field, _)| field.name == name).and_then(|(_, number)| number);
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn lines(description: &Description, value: Observed, bytes: &[u8]) -> String {
    let mut text = format!("{} #{}, {} old", description.type_name(), value.sequence, short(age(value.time)));
    let width = description.fields().iter().map(|field| field.name.len()).max().unwrap_or(0);
    for (field, number) in description.values(bytes) {
        let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        text += format!("\n  {:<width$}  {number} {}", field.name, field.unit).trim_end();
    }
    text
}

/// JSON has no NaN and no infinities: they are null, as is what has no value.
fn json_value(value: FieldValue) -> Value {
    match value {
        FieldValue::Unsigned(number) => number.into(),
        FieldValue::Signed(number) => number.into(),
        FieldValue::Float(number) => number.into(),
        FieldValue::Bool(value) => value.into(),
        FieldValue::List(values) => values.into_iter().map(json_value).collect(),
        // As it is: a string of JSON is escaped by who writes it.
        FieldValue::Name(text) => text.into(),
        FieldValue::Absent => Value::Null,
        other => other.to_string().into(),
    }
}

fn json(description: &Description, value: Observed, bytes: &[u8]) -> String {
    let fields: Map<String, Value> = description
        .values(bytes)
        .map(|(field, value)| (field.name.clone(), value.map_or(Value::Null, json_value)))
        .collect();
    serde_json::json!({
        "type": description.type_name(),
        "sequence": value.sequence,
        "age_s": age(value.time).as_secs_f64(),
        "fields": fields,
    })
    .to_string()
}
