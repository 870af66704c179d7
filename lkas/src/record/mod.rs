//! Recordings: the values of a system's channels in a file, to be looked at, played and compared.
//!
//! A recording is an [MCAP](https://mcap.dev) file; what is in it, `docs/recordings.md` says.

mod compare;
mod content;
mod described;
mod info;
mod lockstep;
mod play;
mod player;
mod queue;
mod reading;
mod recorder;
mod shown;
mod times;
mod writing;

pub use compare::{CompareOptions, compare};
pub use info::info;
pub use play::{PlayOptions, play};
pub use recorder::{RecordOptions, record};

use crate::options::SystemOptions;
use lkas_shm::ChannelName;

/// The version of what is in a recording. Another one is refused by name.
pub const FORMAT: u32 = 2;

/// The metadata that every recording begins with.
const ABOUT: &str = "lkas.recording";

/// The metadata that counts what had to be left out for the disk's sake.
const DROPPED: &str = "lkas.dropped";

/// The channel's name without the system's namespace; `None` where it belongs to another system.
fn topic_of<'a>(system: &SystemOptions, name: &'a ChannelName) -> Option<&'a str> {
    let name = name.as_str();
    if system.namespace.is_empty() {
        return (!name.contains('.')).then_some(name);
    }
    name.strip_prefix(&system.namespace)?.strip_prefix('.')
}

/// Those of the named channels that were not there, with commas between them; `None` where all were.
fn missing(topics: &[String], was_there: impl Fn(&str) -> bool) -> Option<String> {
    let missing: Vec<&str> = topics.iter().map(String::as_str).filter(|topic| !was_there(topic)).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// Whether the channel is one of `topics`; where there are none, whether it carries something else than what a process says
/// of itself.
fn is_among(topics: &[String], topic: &str) -> bool {
    if topics.is_empty() { !topic.starts_with("status_") } else { topics.iter().any(|wanted| wanted == topic) }
}
