//! Tools for people: what the channels of this machine do, what they carry, and what is wrong with them.
//!
//! None takes a role, so none can disturb a system; `clean` removes what nobody uses.

mod act;
mod broker;
mod channels;
mod clean;
mod config;
mod doctor;
mod echo;
mod foreign;
mod hz;
mod info;
mod keys;
mod names;
mod param;
mod top;

pub use act::{Patience, StopOptions, Wish, act, emergency};
pub(crate) use channels::shape;
pub use channels::{TableOptions, channels};
pub use clean::{CleanOptions, clean};
pub use config::{ConfigCommand, config};
pub use doctor::doctor;
pub use echo::{EchoOptions, echo};
pub use hz::{HzOptions, hz};
pub use info::{InfoOptions, info};
pub use param::{ParamCommand, param};
pub use top::{TopOptions, top};

use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use lkas_shm::ChannelName;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where shared memory lies.
const FOLDER: &str = "/dev/shm";

/// How long a wait goes on before it looks whether it shall end.
const SLICE: Duration = Duration::from_millis(50);

/// Waits for `time`, or until the program shall end.
fn rest(time: Duration, stop: &Stop) {
    let end = Instant::now() + time;
    while !stop.is_set() && Instant::now() < end {
        std::thread::sleep(end.saturating_duration_since(Instant::now()).min(SLICE));
    }
}

/// The channels of this machine that belong to the namespace; all of them where it is empty.
fn channels_of(system: &SystemOptions) -> io::Result<Vec<ChannelName>> {
    let mut names = lkas_shm::channels()?;
    if !system.namespace.is_empty() {
        let prefix = format!("{}.", system.namespace);
        names.retain(|name| name.as_str().starts_with(&prefix));
    }
    Ok(names)
}

/// The end of a tool: whoever read its output may have gone, and that is no error.
pub(crate) fn unless_nobody_reads(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(why) if why.downcast_ref::<io::Error>().is_some_and(|why| why.kind() == io::ErrorKind::BrokenPipe) => {
            Ok(())
        }
        other => other,
    }
}

/// Output as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    unless_nobody_reads(io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::from))
}

/// A line of output.
pub(crate) fn say(line: impl core::fmt::Display) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}

/// Lines of cells, as columns that are as wide as they have to be.
pub(crate) fn columns<L: AsRef<[String]>>(lines: &[L]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        let cells = line.as_ref().iter().map(|cell| cell.chars().count());
        widths.resize(widths.len().max(line.as_ref().len()), 0);
        widths.iter_mut().zip(cells).for_each(|(width, cell)| *width = cell.max(*width));
    }
    let mut text = String::new();
    for line in lines {
        let padded = line.as_ref().iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += padded.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Whether the file starts as a channel does.
fn is_channel(path: &Path) -> bool {
    // Whoever opens a pipe waits for its other end.
    path.symlink_metadata().is_ok_and(|found| found.is_file())
        && std::fs::File::open(path).is_ok_and(|file| names::starts_as_channel(&file))
}

/// A number of seconds on a command line.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let found: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if (0.1..=3600.0).contains(&found) { Ok(found) } else { Err("expected 0.1 to 3600 seconds".into()) }
}

/// A time as people write it: 850 µs, 12 ms, 3.4 s, 2 min.
pub(crate) fn short(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.0} h", seconds / 3600.0),
    }
}

/// A size as people write it: 512 B, 12.3 kB, 10.1 MB.
pub(crate) fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 1e3 => format!("{bytes} B"),
        bytes if bytes < 1e6 => format!("{:.1} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

/// So many of something: 1 file, 2 files.
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_several() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "file", "files")), ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn times_and_sizes_are_short() {
        let times = [0.000_85, 0.012, 3.44, 150.0, 8000.0].map(|seconds| short(Duration::from_secs_f64(seconds)));
        assert_eq!(times, ["850 µs", "12 ms", "3.4 s", "2 min", "2 h"]);
        assert_eq!([512, 12_345, 10_123_456].map(size), ["512 B", "12.3 kB", "10.1 MB"]);
    }
}
