//! Systems of other users: they are there, and only their owner may look into them.

use super::{FOLDER, is_channel};
use crate::options::{PROCESSES, SystemOptions};
use lkas_shm::{ChannelName, Observer, OpenError};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

/// The channels that belong to others, by their user.
fn channels(system: &SystemOptions) -> BTreeMap<u32, Vec<ChannelName>> {
    let mut found: BTreeMap<u32, Vec<ChannelName>> = BTreeMap::new();
    let own = rustix::process::geteuid().as_raw();
    let prefix = if system.namespace.is_empty() { String::new() } else { format!("{}.", system.namespace) };
    for entry in std::fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<ChannelName>().ok()) else { continue };
        // Of the link itself, should it be one.
        let Ok(owner) = entry.metadata().map(|found| found.uid()) else { continue };
        if owner == own || !name.as_str().starts_with(&prefix) {
            continue;
        }
        let is_closed = matches!(Observer::open(&name), Err(OpenError::Owner { .. } | OpenError::System { .. }));
        // Who may not read it knows it by its name alone.
        if is_closed && (is_channel(&entry.path()) || is_name_of_a_system(system, name.as_str())) {
            found.entry(owner).or_default().push(name);
        }
    }
    found.values_mut().for_each(|names| names.sort());
    found
}

fn is_name_of_a_system(system: &SystemOptions, name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let status = PROCESSES.into_iter().any(|process| last.strip_prefix("status_") == Some(process));
    status || [&system.camera, &system.detections, &system.controls].into_iter().any(|known| known == last)
}

/// What there is to say about them; `None` where there are none.
pub(super) fn words(system: &SystemOptions) -> Option<String> {
    let one = |(user, names): (u32, Vec<ChannelName>)| {
        let others = if names.len() > 1 { format!(" and {} others", names.len() - 1) } else { String::new() };
        let belongs = if names.len() > 1 { "belong" } else { "belongs" };
        let (first, owner) = (&names[0], name_of(user));
        format!("there is a system that you may not look into: {first}{others} {belongs} to {owner}; look as that user")
    };
    let all: Vec<String> = channels(system).into_iter().map(one).collect();
    (!all.is_empty()).then(|| all.join("\n"))
}

/// The user's name where the system knows it.
fn name_of(user: u32) -> String {
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = known.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find(|line| line.get(2).is_some_and(|id| id.parse() == Ok(user)));
    found.map_or_else(|| format!("user {user}"), |line| format!("user {user} ({})", line[0]))
}
