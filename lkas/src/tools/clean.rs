//! `lkas clean`: removes the channels that nobody uses.

use super::{channels_of, size, unless_nobody_reads};
use crate::Failure;
use crate::options::{SystemOptions, why_kept};
use clap::Args;
use lkas_shm::{Observer, UnlinkError};
use std::io::Write;

/// What `lkas clean` does.
#[derive(Args, Clone, Copy, Debug)]
pub struct CleanOptions {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Removes every channel of the namespace, or of the machine, in which nobody has a role. What is in use stays, also
/// where its process is suspended; so does what a process that died said last while its system runs, and a latched
/// emergency stop.
///
/// # Errors
/// Shared memory can't be read, or the system does not let a channel be removed.
pub fn clean(system: &SystemOptions, options: CleanOptions) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut removed = 0;
    for name in channels_of(system)? {
        // Gone since the folder was read.
        let Ok(channel) = Observer::open(&name) else { continue };
        let seen = channel.look();
        let in_use = seen.has_writer || seen.readers.iter().any(|reader| reader.taken);
        let kept = if in_use { None } else { why_kept(&name) };
        let verdict = match kept {
            None if in_use => "in use",
            Some(why) => &format!("stays: {why}"),
            None if options.dry_run => "would be removed",
            None => match lkas_shm::unlink(&name) {
                Ok(()) => "removed",
                Err(UnlinkError::InUse { .. }) => "in use",
                Err(why) => return Err(why.into()),
            },
        };
        removed += u64::from(verdict.ends_with("removed"));
        let printed = writeln!(out, "{name}: {verdict} ({})", size(channel.size()));
        unless_nobody_reads(printed.map_err(Failure::from))?;
    }
    let printed = if removed == 0 { writeln!(out, "nothing to clean") } else { Ok(()) };
    unless_nobody_reads(printed.map_err(Failure::from))
}
