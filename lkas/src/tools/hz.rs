//! `lkas hz`: how often values come, and how evenly.

use super::{rest, short};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use clap::Args;
use lkas_shm::{ChannelName, Observer, OpenError};
use std::io::Write;
use std::time::{Duration, Instant};

/// What `lkas hz` measures.
#[derive(Args, Clone, Debug)]
pub struct HzOptions {
    /// The channel, without its namespace
    name: String,
    /// Seconds that one line is about
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = super::seconds)]
    window: f64,
    /// One JSON object in a line for each window
    #[arg(long)]
    json: bool,
}

/// How often it is looked for a channel that is not there.
const SEARCH: Duration = Duration::from_millis(100);

/// How often the channel is looked at: intervals are seen one by one up to 1000 values a second.
const LOOK: Duration = Duration::from_micros(500);

/// Prints a line for each window, until the program shall end.
///
/// # Errors
/// The channel is there and can't be used, or its name is unusable.
pub fn hz(system: &SystemOptions, options: &HzOptions, stop: &Stop) -> Result<(), Failure> {
    let name = ChannelName::new(&system.namespace, &options.name)?;
    let window = Duration::from_secs_f64(options.window);
    while !stop.is_set() {
        let Some(channel) = wait_for(&name, stop)? else { return Ok(()) };
        while !stop.is_set() && !channel.look().retired {
            let found = look_for(window, &channel, stop);
            let line = if options.json { found.json(&name) } else { found.to_string() };
            if writeln!(std::io::stdout(), "{line}").is_err() {
                // Nobody reads it any more.
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The channel, as soon as it is there; `None` where the program shall end before.
fn wait_for(name: &ChannelName, stop: &Stop) -> Result<Option<Observer>, Failure> {
    let mut said = false;
    while !stop.is_set() {
        match Observer::open(name) {
            Ok(channel) => return Ok(Some(channel)),
            Err(OpenError::NoSuchChannel { .. }) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::info!("waiting for {name}: its writer was not started yet");
                }
                rest(SEARCH, stop);
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(None)
}

/// What one window brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Window {
    values: u64,
    /// From the first to the last publish that was seen.
    span: Duration,
    /// Shortest and longest time between two publishes that followed one another.
    intervals: Option<(Duration, Duration)>,
    silent_for: Option<Duration>,
}

impl Window {
    /// `now` was published at `time`, both in nanoseconds, after `before`.
    fn add(&mut self, before: (u64, u64), now: (u64, u64)) {
        let interval = Duration::from_nanos(now.1.saturating_sub(before.1));
        self.values += now.0.saturating_sub(before.0);
        self.span += interval;
        if now.0 == before.0 + 1 {
            let (least, most) = self.intervals.unwrap_or((interval, interval));
            self.intervals = Some((least.min(interval), most.max(interval)));
        }
    }

    fn rate_hz(&self) -> f64 {
        self.values as f64 / self.span.as_secs_f64().max(1e-9)
    }

    fn json(&self, name: &ChannelName) -> String {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        serde_json::json!({
            "channel": name.to_string(),
            "values": self.values,
            "rate_hz": (self.values > 0).then(|| self.rate_hz()),
            "interval_min_ms": self.intervals.map(|(least, _)| milliseconds(least)),
            "interval_max_ms": self.intervals.map(|(_, most)| milliseconds(most)),
            "age_s": self.silent_for.map(|age| age.as_secs_f64()),
        })
        .to_string()
    }
}

impl core::fmt::Display for Window {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.values == 0 {
            return match self.silent_for {
                Some(age) => write!(f, "nothing new, the last value is {} old", short(age)),
                None => write!(f, "nothing yet"),
            };
        }
        write!(f, "{:.1}/s", self.rate_hz())?;
        match self.intervals {
            Some((least, most)) => write!(f, ", {} to {} apart", exact(least), exact(most)),
            None => Ok(()),
        }
    }
}

/// A time in milliseconds with two places.
fn exact(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn look_for(time: Duration, channel: &Observer, stop: &Stop) -> Window {
    let mut window = Window::default();
    let end = Instant::now() + time;
    // A writer that is faster than a look is looked at again.
    let newest = || channel.newest().ok().flatten().map(|newest| (newest.sequence, newest.time));
    let mut before = newest();
    while Instant::now() < end && !stop.is_set() {
        std::thread::sleep(LOOK);
        let now = newest();
        if let (Some(before), Some(now)) = (before, now)
            && now.0 > before.0
        {
            window.add(before, now);
        }
        before = now.or(before);
    }
    window.silent_for = channel.look().age;
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_counts_values_and_measures_what_follows_one_another() {
        let mut second = Window::default();
        second.add((1, 0), (2, 10_000_000));
        second.add((2, 10_000_000), (3, 22_000_000));
        second.add((3, 22_000_000), (5, 40_000_000));
        assert_eq!((second.values, second.span), (4, Duration::from_millis(40)));
        assert_eq!(second.to_string(), "100.0/s, 10.00 ms to 12.00 ms apart");
    }

    #[test]
    fn silence_is_said() {
        assert_eq!(Window::default().to_string(), "nothing yet");
        let silent = Window { silent_for: Some(Duration::from_secs(3)), ..Window::default() };
        assert_eq!(silent.to_string(), "nothing new, the last value is 3.0 s old");
    }
}
