//! `lkas info FILE`: what is in a recording.

use super::reading::{Ending, Recording, Value};
use crate::Failure;
use crate::tools::size;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

/// What a recording has of one channel. Times are in nanoseconds since 1970.
struct Row {
    type_name: String,
    shape: String,
    encoding: String,
    contract: Option<lkas_shm::Contract>,
    values: u64,
    missed: u64,
    bytes: u64,
    first: u64,
    last: u64,
    sequence: u32,
}

impl Row {
    fn new(value: &Value) -> Self {
        let source = &value.source;
        let described = source.channel.as_ref().map(|(described, _)| described);
        Self {
            type_name: source.type_name.clone(),
            shape: described.map_or_else(|| "-".to_owned(), |described| crate::tools::shape(&described.description)),
            encoding: source.encoding.clone(),
            contract: described.and_then(|described| described.contract),
            values: 0,
            missed: 0,
            bytes: 0,
            first: value.published,
            last: value.published,
            sequence: value.sequence.wrapping_sub(1),
        }
    }

    fn add(&mut self, value: &Value) {
        // Backwards is another writer that counts anew.
        let step = value.sequence.wrapping_sub(self.sequence);
        self.missed += if step < u32::MAX / 2 { u64::from(step.saturating_sub(1)) } else { 0 };
        self.sequence = value.sequence;
        self.values += 1;
        self.bytes += value.data.len() as u64;
        self.last = self.last.max(value.published);
    }

    fn rate(&self) -> Option<f64> {
        let seconds = self.last.saturating_sub(self.first) as f64 * 1e-9;
        (self.values > 1 && seconds > 0.0).then(|| (self.values - 1) as f64 / seconds)
    }
}

/// Prints what is in a recording, as far as it can be read.
///
/// # Errors
/// It is no recording, or one of another format.
pub fn info(path: &Path, as_json: bool) -> Result<(), Failure> {
    let mut recording = Recording::open(path)?;
    let mut rows = BTreeMap::new();
    let (mut first, mut last) = (u64::MAX, 0);
    for value in recording.by_ref() {
        rows.entry(value.source.topic.clone()).or_insert_with(|| Row::new(&value)).add(&value);
        (first, last) = (first.min(value.time), last.max(value.time));
    }
    let span = last.saturating_sub(first) as f64 * 1e-9;
    let text = if as_json { json(&recording, &rows, first, span)? } else { text(&recording, &rows, first, span) };
    crate::tools::print(&text)
}

fn json(recording: &Recording, rows: &BTreeMap<String, Row>, first: u64, span: f64) -> Result<String, Failure> {
    let channels = rows.iter().map(|(topic, row)| {
        json!({
            "channel": topic,
            "type": row.type_name,
            "shape": row.shape,
            "encoding": row.encoding,
            "period_s": row.contract.map(|contract| contract.period().as_secs_f64()),
            "max_age_s": row.contract.map(|contract| contract.max_age().as_secs_f64()),
            "values": row.values,
            "rate_hz": row.rate(),
            "missed": row.missed,
            "left_out": recording.dropped().get(topic).copied().unwrap_or(0),
            "bytes": row.bytes,
            "first_unix_ns": row.first,
            "last_unix_ns": row.last,
        })
    });
    let whole = json!({
        "file": recording.path().display().to_string(),
        "format": super::FORMAT,
        "whole": recording.ending() == Some(&Ending::Whole),
        "first_unix_ns": if rows.is_empty() { 0 } else { first },
        "span_s": span,
        "clock_offset_ns": i64::try_from(recording.clock_offset())?,
        "channels": channels.collect::<serde_json::Value>(),
    });
    Ok(format!("{whole:#}\n"))
}

fn text(recording: &Recording, rows: &BTreeMap<String, Row>, first: u64, span: f64) -> String {
    let from = if rows.is_empty() {
        "nothing".into()
    } else {
        format!("{span:.1} s from {:.3} (seconds since 1970)", first as f64 * 1e-9)
    };
    let mut text = format!("{}: {from}\n", recording.path().display());
    if let Some(Ending::CutOff(why)) = recording.ending() {
        text += &format!("cut off, and read up to there: {why}\n");
    }
    let headings =
        ["CHANNEL", "TYPE", "SHAPE", "AS", "VALUES", "RATE", "MISSED", "LEFT OUT", "SIZE"].map(str::to_owned);
    let lines = rows.iter().map(|(topic, row)| {
        [
            topic.clone(),
            row.type_name.clone(),
            row.shape.clone(),
            row.encoding.clone(),
            row.values.to_string(),
            row.rate().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}/s")),
            row.missed.to_string(),
            recording.dropped().get(topic).copied().unwrap_or(0).to_string(),
            size(row.bytes),
        ]
    });
    let lines: Vec<[String; 9]> = std::iter::once(headings).chain(lines).collect();
    text + &crate::tools::columns(&lines)
}
