//! Processes of a system whose `lkas` was killed while they were suspended: they hold its channels and ports, and can't
//! hear that it ended.

use crate::options::SystemOptions;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::time::{Duration, Instant};

/// How long the kernel may take to clean up after one.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Ends the suspended processes of an earlier system of this namespace whose parent has ended. Woken they would do the same: the
/// signal that their parent has ended waits for them. Whoever is suspended for another reason is left alone.
pub fn end(system: &SystemOptions) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut ended = Vec::new();
    for pid in numbers.filter_map(Pid::from_raw) {
        // Opened before the look: the process that is looked at is the one that is ended, whoever gets its number.
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let number = pid.as_raw_nonzero().get() as u32;
        if is_child_of(system, number) && waits_for_its_end(number) && pidfd_send_signal(process, Signal::KILL).is_ok()
        {
            tracing::warn!("process {number} was left suspended by a system that was killed; it is ended");
            ended.push(number);
        }
    }
    let deadline = Instant::now() + GONE_WITHIN;
    while ended.iter().any(|number| is_there(*number)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What to do with that process where it is suspended.
#[must_use]
pub fn suspended(pid: u32) -> Option<String> {
    is_suspended(pid)
        .then(|| format!("process {pid} is suspended: kill -CONT {pid} wakes it, kill -KILL {pid} ends it"))
}

fn is_suspended(pid: u32) -> bool {
    line(pid, "State").is_some_and(|state| state.starts_with('T'))
}

/// Whether it is one of the processes that `lkas` starts, for this namespace.
fn is_child_of(system: &SystemOptions, pid: u32) -> bool {
    let Ok(command) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let namespace = format!("--namespace={}", system.namespace);
    let has = |wanted: &str| command.split(|byte| *byte == 0).any(|argument| argument == wanted.as_bytes());
    has("--supervised") && has(&namespace)
}

/// Whether it is suspended, and has been told that its parent has ended (SIGHUP, which waits until it is woken).
fn waits_for_its_end(pid: u32) -> bool {
    let waiting = line(pid, "ShdPnd").and_then(|set| u64::from_str_radix(&set, 16).ok()).unwrap_or(0);
    is_suspended(pid) && waiting & (1 << (Signal::HUP.as_raw() - 1)) != 0
}

/// Whether it has not ended yet.
fn is_there(pid: u32) -> bool {
    line(pid, "State").is_some_and(|state| !state.starts_with('Z') && !state.starts_with('X'))
}

/// A line of the process's status (proc_pid_status(5)).
fn line(pid: u32, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    found.map(|value| value.trim().to_owned())
}
