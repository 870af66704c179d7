//! `lkas channels`: every channel in a table.

use super::{channels_of, columns, foreign, rest, short, size, unless_nobody_reads};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use clap::Args;
use lkas_messages::ImageShape;
use lkas_shm::{ChannelName, Description, Observation, Observer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

/// A channel that promises nothing is called silent after this time: no part of the system is that slow.
const SILENT: Duration = Duration::from_secs(1);

/// Between the two looks that a rate is taken from.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// How `lkas channels` prints.
#[derive(Args, Clone, Copy, Debug)]
pub struct TableOptions {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints every channel once.
///
/// # Errors
/// Shared memory can't be read, or the output can't be written.
pub fn channels(system: &SystemOptions, options: TableOptions, stop: &Stop) -> Result<(), Failure> {
    let mut looks = Looks::default();
    looks.look(system)?;
    rest(BETWEEN_LOOKS, stop);
    let rows = looks.look(system)?;
    let others = foreign::words(system);
    if let (true, Some(words)) = (options.json, &others) {
        tracing::warn!("{words}");
    }
    let mut out = std::io::stdout().lock();
    unless_nobody_reads(
        if options.json {
            serde_json::to_writer_pretty(&mut out, &rows).map_err(std::io::Error::from).and_then(|()| writeln!(out))
        } else {
            out.write_all(table(&rows, others.as_deref()).as_bytes())
        }
        .map_err(Failure::from),
    )
}

/// The look before, from which a rate is taken.
#[derive(Default)]
pub(super) struct Looks(BTreeMap<ChannelName, Observation>);

impl Looks {
    pub(super) fn look(&mut self, system: &SystemOptions) -> Result<Vec<Row>, Failure> {
        let mut before = std::mem::take(&mut self.0);
        let mut rows = Vec::new();
        for name in channels_of(system)? {
            // Gone since the folder was read.
            let Ok(channel) = Observer::open(&name) else { continue };
            let now = channel.look();
            rows.push(Row::new(&name, &channel, &now, before.remove(&name).as_ref()));
            self.0.insert(name, now);
        }
        Ok(rows)
    }
}

/// A channel at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) channel: String,
    pub(super) r#type: String,
    pub(super) shape: String,
    pub(super) state: String,
    pub(super) writer_pid: Option<u32>,
    pub(super) readers: usize,
    pub(super) reader_places: usize,
    /// Values a second; none where nothing came between two looks.
    pub(super) rate_hz: Option<f64>,
    pub(super) age_s: Option<f64>,
    pub(super) sequence: u64,
    /// What each reader missed since it attached; none for places that nobody has.
    pub(super) missed: Vec<Option<u32>>,
    pub(super) size: u64,
}

impl Row {
    pub(super) fn new(name: &ChannelName, channel: &Observer, now: &Observation, before: Option<&Observation>) -> Self {
        let description = channel.description();
        Self {
            channel: name.to_string(),
            r#type: description.type_name().to_owned(),
            shape: shape(description),
            state: state(now),
            writer_pid: now.has_writer.then_some(now.writer.process),
            readers: now.readers.iter().filter(|reader| reader.taken).count(),
            reader_places: now.readers.len(),
            rate_hz: before.and_then(|before| rate(before, now)),
            age_s: now.age.map(|age| age.as_secs_f64()),
            sequence: now.sequence,
            missed: now.readers.iter().map(|reader| reader.taken.then_some(reader.mailbox.missed)).collect(),
            size: channel.size(),
        }
    }
}

/// The shape of frames, or the size of values.
pub(crate) fn shape(of: &Description) -> String {
    let bytes = || size(of.layout().payload_size() as u64);
    ImageShape::from_words(of.shape()).map_or_else(bytes, |shape| shape.to_string())
}

/// What is to be said of the channel, the worst first.
fn state(now: &Observation) -> String {
    let Observation { has_writer, closed, retired, sequence, age, contract, .. } = now;
    let words = match (retired, has_writer, closed, sequence, age, contract) {
        (true, ..) => "replaced",
        (_, false, true, ..) => "writer left",
        (_, false, ..) => "WRITER GONE",
        (_, _, _, 0, ..) => "empty",
        (.., None, _) => "CLOCK",
        (.., Err(_)) => "NONSENSE CONTRACT",
        (.., Some(age), Ok(Some(contract))) if *age > contract.max_age() => "STALE",
        (.., Some(age), Ok(Some(contract))) if *age > contract.period() => {
            return format!("LATE by {}", short(*age - contract.period()));
        }
        (.., Some(age), Ok(None)) if *age > SILENT => "SILENT",
        _ => "fresh",
    };
    words.to_owned()
}

/// Values a second between the publishes that two looks found.
fn rate(before: &Observation, now: &Observation) -> Option<f64> {
    let published = |look: &Observation| Some(look.time.checked_sub(u64::try_from(look.age?.as_nanos()).ok()?)? as f64);
    let seconds = (published(now)? - published(before)?) * 1e-9;
    let values = now.sequence.checked_sub(before.sequence)?;
    (values > 0 && seconds > 0.0).then(|| values as f64 / seconds)
}

const HEADINGS: [&str; 9] = ["CHANNEL", "TYPE", "SHAPE", "STATE", "WRITER", "READERS", "RATE", "AGE", "MISSED"];

/// The rows as text, and what else there is.
fn table(rows: &[Row], others: Option<&str>) -> String {
    if rows.is_empty() && others.is_none() {
        return "no channels; start something, for example: lkas demo\n".to_owned();
    }
    let others = others.map(|words| format!("{words}\n")).unwrap_or_default();
    if rows.is_empty() {
        return others;
    }
    let none = || "-".to_owned();
    let cells = rows.iter().map(|row| {
        let missed: Vec<String> = row.missed.iter().flatten().map(u32::to_string).collect();
        [
            row.channel.clone(),
            row.r#type.clone(),
            row.shape.clone(),
            row.state.clone(),
            row.writer_pid.map_or_else(none, |pid| format!("pid {pid}")),
            format!("{} of {}", row.readers, row.reader_places),
            row.rate_hz.map_or_else(none, |rate| format!("{rate:.1}/s")),
            row.age_s.map_or_else(none, |age| short(Duration::from_secs_f64(age))),
            if missed.is_empty() { none() } else { missed.join(" ") },
            size(row.size),
        ]
    });
    let mut headings: Vec<String> = HEADINGS.map(str::to_owned).to_vec();
    headings.push("SIZE".to_owned());
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(cells.map(Vec::from)).collect();
    columns(&lines) + &others
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_shm::{Contract, WriterIdentity};

    fn look(time: u64, sequence: u64, age: u64) -> Observation {
        Observation {
            time,
            sequence,
            age: Some(Duration::from_nanos(age)),
            has_writer: true,
            writer: WriterIdentity::default(),
            contract: Ok(None),
            closed: false,
            retired: false,
            readers: Vec::new(),
        }
    }

    #[test]
    fn a_rate_is_taken_from_the_times_of_publishes() {
        let (a, b) = (look(1_000_000_000, 10, 0), look(1_520_000_000, 25, 20_000_000));
        assert_eq!(rate(&a, &b), Some(30.0));
        assert_eq!(rate(&b, &b), None, "nothing came");
        assert_eq!(rate(&b, &a), None, "another writer that counts from the start");
    }

    #[test]
    fn the_worst_is_said_first() {
        assert_eq!(state(&look(5_000_000_000, 1, 10)), "fresh");
        assert_eq!(state(&look(5_000_000_000, 1, 2_000_000_000)), "SILENT");
        assert_eq!(state(&look(5, 0, 0)), "empty");
        assert_eq!(state(&Observation { age: None, ..look(5, 3, 0) }), "CLOCK");
        assert_eq!(state(&Observation { has_writer: false, ..look(5, 3, 0) }), "WRITER GONE");
        assert_eq!(state(&Observation { has_writer: false, closed: true, ..look(5, 3, 0) }), "writer left");
    }

    #[test]
    fn a_contract_tells_late_from_stale() {
        let contract = Contract::new(Duration::from_millis(50), Duration::from_millis(200)).unwrap();
        let at = |age_ms: u64| state(&Observation { contract: Ok(Some(contract)), ..look(5, 3, age_ms * 1_000_000) });
        assert_eq!([at(50), at(80), at(201)], ["fresh", "LATE by 30 ms", "STALE"]);
    }

    #[test]
    fn without_channels_the_table_says_what_to_do() {
        assert!(table(&[], None).contains("lkas demo"));
        assert_eq!(table(&[], Some("others")), "others\n", "and where others are, that is said");
    }
}
