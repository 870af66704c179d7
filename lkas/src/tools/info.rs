//! `lkas info`: everything that is known of one channel, or of the broker.

use super::channels::{BETWEEN_LOOKS, Row};
use super::{print, rest, short, size};
use crate::Failure;
use crate::options::SystemOptions;
use crate::record;
use crate::stop::Stop;
use clap::Args;
use lkas_shm::{ChannelName, Description, Observation, Observer};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// What `lkas info` prints.
#[derive(Args, Clone, Debug)]
pub struct InfoOptions {
    /// The channel, without its namespace; `broker`, for what goes through the broker; or the file of a recording, by a name
    /// that ends with .mcap or has a / in it
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints what is in a recording, or what the channel, or the broker, says of itself and of those who use it. Takes no
/// reader place.
///
/// # Errors
/// The channel is not there or can't be used, or its name is unusable; no broker answers.
pub fn info(system: &SystemOptions, options: &InfoOptions, stop: &Stop) -> Result<(), Failure> {
    if options.name == "broker" {
        return super::broker::broker(system, options.json, stop);
    }
    if options.name.ends_with(".mcap") || options.name.contains('/') {
        return record::info(Path::new(&options.name), options.json);
    }
    let name = ChannelName::new(&system.namespace, &options.name)?;
    let channel = Observer::open(&name)?;
    let before = channel.look();
    rest(BETWEEN_LOOKS, stop);
    let now = channel.look();
    let row = Row::new(&name, &channel, &now, Some(&before));
    let text = match options.json {
        true => format!("{:#}\n", as_json(&row, &now, channel.description())?),
        false => as_text(&row, &now, channel.description()),
    };
    print(&text)
}

/// The words of a field's line: name, kind, offset, unit, where its presence stands, names of numbers.
fn words(line: &str) -> [&str; 6] {
    let mut words = line.trim_end().split(' ');
    [(); 6].map(|()| words.next().unwrap_or("-"))
}

fn as_json(row: &Row, now: &Observation, description: &Description) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(row)?;
    let places = now.readers.iter().enumerate().map(
        |(place, reader)| json!({"place": place, "taken": reader.taken, "missed": reader.mailbox.missed, "waits": reader.mailbox.waiting}),
    );
    let fields = description.fields().iter().map(|field| {
        let line = field.to_string();
        let [name, kind, offset, unit, present, names] = words(&line);
        let or_null = |word: &str| if word == "-" { Value::Null } else { word.into() };
        json!({"name": name, "kind": kind, "offset": offset.parse::<u64>().ok(), "unit": or_null(unit), "present": or_null(present), "names": or_null(names)})
    });
    let contract = match now.contract {
        Ok(Some(contract)) => {
            json!({"period_s": contract.period().as_secs_f64(), "max_age_s": contract.max_age().as_secs_f64()})
        }
        Ok(None) => Value::Null,
        Err(_) => "nonsense".into(),
    };
    let more = json!({
        "fingerprint": format!("{:016x}", description.channel_type().fingerprint()),
        "payload_size": description.layout().payload_size(),
        "contract": contract,
        "places": places.collect::<Value>(),
        "fields": fields.collect::<Value>(),
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    Ok(value)
}

fn as_text(row: &Row, now: &Observation, description: &Description) -> String {
    let kind = description.channel_type();
    let none = || "-".to_owned();
    let contract = match now.contract {
        Ok(Some(contract)) => {
            format!("a value every {}, none older than {}", short(contract.period()), short(contract.max_age()))
        }
        Ok(None) => "none".to_owned(),
        Err(_) => "makes no sense".to_owned(),
    };
    let rows = [
        ("channel", row.channel.clone()),
        ("type", format!("{}, fingerprint {:016x}", kind.name(), kind.fingerprint())),
        ("shape", row.shape.clone()),
        ("state", row.state.clone()),
        ("contract", contract),
        ("writer", row.writer_pid.map_or_else(none, |pid| format!("pid {pid}"))),
        ("rate", row.rate_hz.map_or_else(none, |rate| format!("{rate:.1}/s"))),
        ("age", row.age_s.map_or_else(none, |age| short(Duration::from_secs_f64(age)))),
        ("published", row.sequence.to_string()),
        ("memory", size(row.size)),
        ("readers", format!("{} of {}", row.readers, row.reader_places)),
    ];
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:<10} {value}\n")).collect();
    for (place, reader) in now.readers.iter().enumerate().filter(|(_, reader)| reader.taken) {
        text += &format!("  place {place}  missed {}\n", reader.mailbox.missed);
    }
    text += "fields\n";
    let lines: Vec<String> = description.fields().iter().map(ToString::to_string).collect();
    let width = lines.iter().map(|line| words(line)[0].len()).max().unwrap_or(0);
    for line in &lines {
        let [name, kind, _, unit, present, names] = words(line);
        let optional = if present == "-" { "-" } else { &format!("where {present} is set") };
        let more = [unit, optional, names].into_iter().filter(|word| *word != "-").collect::<Vec<_>>().join("  ");
        text += format!("  {name:<width$}  {kind:<8}  {more}").trim_end();
        text.push('\n');
    }
    text
}
