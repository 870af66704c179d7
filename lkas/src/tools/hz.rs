//! `lkas hz`: how often values come, and how evenly.

use super::{rest, short};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use lkas_shm::{ChannelName, Observer, OpenError};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often a line is printed.
const LINE: Duration = Duration::from_secs(1);

/// How often the channel is looked at: intervals are seen one by one up to 1000 values a second.
const LOOK: Duration = Duration::from_micros(500);

/// Prints a line for each second, until the program shall end.
///
/// # Errors
/// The channel is there and can't be used, or its name is unusable.
pub fn hz(system: &SystemOptions, name: &str, stop: &Stop) -> Result<(), Failure> {
    let name = ChannelName::new(&system.namespace, name)?;
    while !stop.is_set() {
        let Some(channel) = wait_for(&name, stop)? else { return Ok(()) };
        while !stop.is_set() && !channel.look().retired {
            let line = second(&channel, stop).to_string();
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
                rest(LINE / 10, stop);
            }
            Err(why) => return Err(why.into()),
        }
    }
    Ok(None)
}

/// What one second brought.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Second {
    values: u64,
    /// From the first to the last publish that was seen.
    span: Duration,
    /// Shortest and longest time between two publishes that followed one another.
    intervals: Option<(Duration, Duration)>,
    silent_for: Option<Duration>,
}

impl Second {
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
}

impl core::fmt::Display for Second {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.values == 0 {
            return match self.silent_for {
                Some(age) => write!(f, "nothing new, the last value is {} old", short(age)),
                None => write!(f, "nothing yet"),
            };
        }
        let rate = self.values as f64 / self.span.as_secs_f64().max(1e-9);
        write!(f, "{rate:.1}/s")?;
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

fn second(channel: &Observer, stop: &Stop) -> Second {
    let mut second = Second::default();
    let end = Instant::now() + LINE;
    // A writer that is faster than a look is looked at again.
    let newest = || channel.newest().ok().flatten().map(|newest| (newest.sequence, newest.time));
    let mut before = newest();
    while Instant::now() < end && !stop.is_set() {
        std::thread::sleep(LOOK);
        let now = newest();
        if let (Some(before), Some(now)) = (before, now)
            && now.0 > before.0
        {
            second.add(before, now);
        }
        before = now.or(before);
    }
    second.silent_for = channel.look().age;
    second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_counts_values_and_measures_what_follows_one_another() {
        let mut second = Second::default();
        second.add((1, 0), (2, 10_000_000));
        second.add((2, 10_000_000), (3, 22_000_000));
        second.add((3, 22_000_000), (5, 40_000_000));
        assert_eq!((second.values, second.span), (4, Duration::from_millis(40)));
        assert_eq!(second.to_string(), "100.0/s, 10.00 ms to 12.00 ms apart");
    }

    #[test]
    fn silence_is_said() {
        assert_eq!(Second::default().to_string(), "nothing yet");
        let silent = Second { silent_for: Some(Duration::from_secs(3)), ..Second::default() };
        assert_eq!(silent.to_string(), "nothing new, the last value is 3.0 s old");
    }
}
