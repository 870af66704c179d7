//! `lkas echo`: the values of any channel, field by field, as its segment describes them.

use super::{short, unless_nobody_reads};
use crate::Failure;
use crate::feed::Feed;
use crate::options::SystemOptions;
use crate::stop::Stop;
use clap::Args;
use lkas_shm::{AnyChannel, ChannelName, Description, FieldValue, OpenError, OpenOptions, Reader, clock};
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::time::Duration;

/// What `lkas echo` prints.
#[derive(Args, Clone, Debug)]
pub struct EchoOptions {
    /// The channel, without its namespace
    name: String,
    /// One JSON object in a line for each value
    #[arg(long)]
    json: bool,
    /// End after so many values
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

const TIMEOUT: Duration = Duration::from_millis(100);

/// Prints values as they come, the newest each time, until the program shall end. Takes a reader place.
///
/// # Errors
/// The channel can't be used, or its name is unusable.
pub fn echo(system: &SystemOptions, options: &EchoOptions, stop: &Stop) -> Result<(), Failure> {
    let name = ChannelName::new(&system.namespace, &options.name)?;
    let mut feed = Feed::new(name.clone(), open);
    let mut left = options.count.unwrap_or(u64::MAX);
    let mut description: Option<Description> = None;
    while !stop.is_set() && left > 0 {
        if description.is_none() {
            description = describe(&name)?;
        }
        let Some(value) = feed.next(TIMEOUT)? else {
            // Where it was replaced, the next one may be of another shape.
            description = None;
            continue;
        };
        let Some(described) = &description else { continue };
        let text = if options.json { json(described, &value) } else { lines(described, &value) };
        let printed = writeln!(io::stdout().lock(), "{text}");
        if printed.is_err() {
            return unless_nobody_reads(printed.map_err(Failure::from));
        }
        left -= 1;
    }
    if feed.missed() > 0 && !options.json {
        tracing::info!("{} values came too fast to be printed", feed.missed());
    }
    Ok(())
}

fn open(name: &ChannelName, patience: OpenOptions) -> Result<Reader<[u8]>, OpenError> {
    AnyChannel::open(name, patience).map(|(_, reader)| reader)
}

/// What the channel says of itself; `None` while there is none.
fn describe(name: &ChannelName) -> Result<Option<Description>, OpenError> {
    match lkas_shm::Observer::open(name) {
        Ok(channel) => Ok(Some(channel.description().clone())),
        Err(OpenError::NoSuchChannel { .. }) => Ok(None),
        Err(why) => Err(why),
    }
}

fn age(published: u64) -> Duration {
    Duration::from_nanos(clock::now().saturating_sub(published))
}

fn lines(description: &Description, value: &lkas_shm::Sample<'_, [u8]>) -> String {
    let mut text = format!("{} #{}, {} old", description.type_name(), value.sequence(), short(age(value.time())));
    let width = description.fields().iter().map(|field| field.name.len()).max().unwrap_or(0);
    for (field, number) in description.values(value) {
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
        other => other.to_string().into(),
    }
}

fn json(description: &Description, value: &lkas_shm::Sample<'_, [u8]>) -> String {
    let fields: Map<String, Value> = description
        .values(value)
        .map(|(field, value)| (field.name.clone(), value.map_or(Value::Null, json_value)))
        .collect();
    serde_json::json!({
        "type": description.type_name(),
        "sequence": value.sequence(),
        "age_s": age(value.time()).as_secs_f64(),
        "fields": fields,
    })
    .to_string()
}
