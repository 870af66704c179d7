//! `lkas top`: processes and channels again and again, in place on a terminal.

use super::channels::{BETWEEN_LOOKS, Looks, Row};
use super::keys::Keys;
use super::names::printable;
use super::short;
use crate::Failure;
use crate::options::{PROCESSES, SystemOptions};
use crate::status::{Seen, State, StatusWatch, is_listed, of, vehicle_words};
use crate::stop::Stop;
use clap::{Args, ValueEnum};
use lkas_shm::{ChannelName, clock};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Columns that a line may have.
const WIDTH: usize = 80;

/// How often keys are looked for.
const KEYS: Duration = Duration::from_millis(30);

/// How `lkas top` looks.
#[derive(Args, Clone, Copy, Debug)]
pub struct TopOptions {
    /// Seconds between two looks
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = super::seconds)]
    every: f64,
    /// What channels are sorted by; the keys n, r, a and s change it
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
}

/// What channels are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// By name.
    Name,
    /// The fastest first.
    Rate,
    /// The oldest value first.
    Age,
    /// What is not fresh first.
    State,
}

impl Sort {
    fn of_key(key: u8) -> Option<Self> {
        Some(match key {
            b'n' => Self::Name,
            b'r' => Self::Rate,
            b'a' => Self::Age,
            b's' => Self::State,
            _ => return None,
        })
    }

    fn sort(self, rows: &mut [Row]) {
        // What is not known comes last.
        let downwards = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        match self {
            Self::Name => rows.sort_by(|a, b| a.channel.cmp(&b.channel)),
            Self::Rate => rows.sort_by(|a, b| downwards(a.rate_hz, b.rate_hz)),
            Self::Age => rows.sort_by(|a, b| downwards(a.age_s, b.age_s)),
            Self::State => rows.sort_by_key(|row| (row.state == "fresh", row.channel.clone())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Rate => "rate",
            Self::Age => "age",
            Self::State => "state",
        }
    }
}

/// Prints processes and channels again and again until the program shall end, or somebody presses q.
///
/// # Errors
/// Shared memory can't be read, or a name is unusable.
pub fn top(system: &SystemOptions, options: TopOptions, stop: &Stop) -> Result<(), Failure> {
    let mut watches = PROCESSES
        .iter()
        .map(|name| Ok((*name, system.status_channel(name)?)))
        .map(|found| found.map(|(name, channel)| (name, channel.clone(), StatusWatch::new(channel))))
        .collect::<Result<Vec<(&str, ChannelName, StatusWatch)>, Failure>>()?;
    let (keys, mut looks, mut sort) = (Keys::start(), Looks::default(), options.sort);
    looks.look(system)?;
    let mut wait = BETWEEN_LOOKS.min(Duration::from_secs_f64(options.every));
    let mut first = true;
    loop {
        let next = Instant::now() + wait;
        while Instant::now() < next && !stop.is_set() {
            match keys.next() {
                Some(b'q') => return Ok(()),
                Some(key) if Sort::of_key(key).is_some() => {
                    sort = Sort::of_key(key).unwrap_or(sort);
                    break;
                }
                _ => std::thread::sleep(KEYS.min(next.saturating_duration_since(Instant::now()))),
            }
        }
        if stop.is_set() {
            return Ok(());
        }
        let mut rows = looks.look(system)?;
        // These are shown as processes.
        rows.retain(|row| !watches.iter().any(|(_, channel, _)| channel.as_str() == row.channel));
        // The same for all of them, then.
        let prefix = format!("{}.", system.namespace);
        for row in &mut rows {
            row.channel = row.channel.strip_prefix(&prefix).unwrap_or(&row.channel).to_owned();
        }
        sort.sort(&mut rows);
        let seen: Vec<_> = watches.iter_mut().map(|(name, _, watch)| (*name, watch.look())).collect();
        let text = screen(&seen, &rows, sort);
        let mut out = std::io::stdout().lock();
        // Home, each line cleared to its end, then everything below.
        let text = match out.is_terminal() {
            true => {
                let clear = if core::mem::take(&mut first) { "\x1b[2J" } else { "" };
                format!("{clear}\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
            }
            false => text + "\n",
        };
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Nobody reads it any more.
            return Ok(());
        }
        wait = Duration::from_secs_f64(options.every);
    }
}

fn screen(seen: &[(&str, Option<Seen>)], rows: &[Row], sort: Sort) -> String {
    let words =
        vehicle_words(of(seen, "simulation"), of(seen, "decision")).unwrap_or_else(|| "the vehicle drives".to_owned());
    let mut lines = vec![words, String::new()];
    lines.push(line(["PROCESS", "STATE", "AGE", "UP", "PID", "WHY, OR THE LAST EVENT"], PROCESS));
    lines.extend(seen.iter().filter(|one| is_listed(one)).map(|(name, seen)| process(name, seen.as_ref())));
    lines.push(String::new());
    lines.push(line(["CHANNEL", "STATE", "RATE", "AGE", "READERS", "MISSED", "PID"], CHANNEL));
    lines.extend(rows.iter().map(channel));
    lines.push(String::new());
    lines.push(format!("by {}; keys: n name, r rate, a age, s state, q end", sort.name()));
    lines.iter().map(|line| cut(line, WIDTH) + "\n").collect()
}

/// The widths of columns: with a space between two of them they are less than [`WIDTH`].
const PROCESS: [usize; 6] = [10, 14, 7, 7, 7, 29];
const CHANNEL: [usize; 7] = [25, 15, 8, 7, 7, 6, 5];

fn line<const N: usize>(cells: [&str; N], widths: [usize; N]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        let cell = cut(cell, width);
        format!("{cell:<width$}")
    });
    padded.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// At most `width` characters, of which none commands the terminal; what was cut off is shown by a dot.
fn cut(text: &str, width: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn process(name: &str, seen: Option<&Seen>) -> String {
    let Some(seen) = seen else { return line([name, "-", "-", "-", "-", "not there"], PROCESS) };
    let status = &seen.status;
    let state = match (seen.is_alive, seen.is_current()) {
        (false, _) => "ENDED".to_owned(),
        (_, false) => "SILENT".to_owned(),
        _ => State::from_code(status.state).map_or("unknown", State::name).to_owned(),
    };
    let age = seen.age.map_or_else(|| "-".to_owned(), short);
    let up = Duration::from_nanos(clock::now().saturating_sub(status.started));
    let up = if seen.is_alive { short(up) } else { "-".to_owned() };
    let event = status.events.iter().max_by_key(|event| event.number).map(|event| event.words.to_string());
    let reason = status.reason.to_string();
    // Why a process that ended did what it did says nothing of now.
    let words = if reason.is_empty() || !seen.is_alive { event.unwrap_or_default() } else { reason };
    line([name, &state, &age, &up, &status.process.to_string(), &words], PROCESS)
}

fn channel(row: &Row) -> String {
    let none = || "-".to_owned();
    let missed: u64 = row.missed.iter().flatten().map(|missed| u64::from(*missed)).sum();
    line(
        [
            &row.channel,
            &row.state,
            &row.rate_hz.map_or_else(none, |rate| format!("{rate:.1}/s")),
            &row.age_s.map_or_else(none, |age| short(Duration::from_secs_f64(age))),
            &format!("{}/{}", row.readers, row.reader_places),
            &missed.to_string(),
            &row.writer_pid.map_or_else(none, |pid| pid.to_string()),
        ],
        CHANNEL,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    fn row(channel: &str, state: &str, rate_hz: Option<f64>, age_s: f64) -> Row {
        let (channel, state) = (channel.to_owned(), state.to_owned());
        Row { channel, state, rate_hz, age_s: Some(age_s), writer_pid: Some(4_194_304), ..Row::default() }
    }

    #[test]
    fn it_fits_a_terminal_whatever_is_in_it() {
        let long = "x\x1b[2J".repeat(20);
        let status = Status { reason: long.as_str().into(), process: 4_194_304, ..Status::default() };
        let seen = Seen { status, age: Some(Duration::from_secs(100)), is_alive: true };
        let rows = [row(&long, "LATE by 1200 ms", Some(12_345.6), 100.0), row("a", "fresh", None, 0.001)];
        let shown = screen(&[("simulation", Some(seen)), ("detection", None), ("viewer", None)], &rows, Sort::Name);
        for line in shown.lines() {
            assert!(line.chars().count() <= WIDTH && !line.contains(char::is_control), "{line}");
        }
        assert!(shown.contains("\nsimulation SILENT") && shown.contains("\ndetection  -"), "{shown}");
        assert!(!shown.contains("viewer"), "there may be one elsewhere: {shown}");
    }

    #[test]
    fn a_process_that_ended_is_there_with_its_last_event() {
        let mut status = Status { process: 17, reason: "long ago".into(), ..Status::default() };
        status.note("started", 5);
        status.note("nothing comes", 6);
        let seen = Seen { status, age: Some(Duration::from_secs(15)), is_alive: false };
        let shown = screen(&[("viewer", Some(seen))], &[], Sort::Name);
        let row = shown.lines().find(|line| line.starts_with("viewer")).expect("a row");
        assert_eq!(row.split_whitespace().collect::<Vec<_>>().join(" "), "viewer ENDED 15.0 s - 17 nothing comes");
    }

    #[test]
    fn channels_are_sorted() {
        let mut rows =
            vec![row("a", "fresh", Some(1.0), 0.5), row("b", "STALE", None, 2.0), row("c", "fresh", Some(30.0), 0.1)];
        let mut by = |key| {
            Sort::of_key(key).unwrap().sort(&mut rows);
            rows.iter().map(|row| row.channel.clone()).collect::<String>()
        };
        assert_eq!([by(b'r'), by(b'a'), by(b's'), by(b'n')], ["cab", "bac", "bac", "abc"]);
        assert_eq!(Sort::of_key(b'x'), None);
    }
}
