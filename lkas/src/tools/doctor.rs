//! `lkas doctor`: what could keep a system from running on this machine, and what to do about it.

use super::names::{logout_removes_channels, nameless};
use super::{FOLDER, channels_of, foreign, is_channel, print, short, size};
use crate::Failure;
use crate::options::{SystemOptions, why_kept};
use core::fmt;
use lkas_shm::{ChannelName, Observation, Observer, OpenError, clock};
use lkas_zmq::keys::BrokerKeys;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// What a system of cameras of 800x600 needs, with room for a second one (bytes).
const SPACE: u64 = 32_000_000;

/// Magic number of a file system in memory (statfs(2)).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Works, but somebody should know.
    Note,
    /// Keeps a system from running.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    what: String,
    /// What to do about it.
    remedy: String,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, what: what.into(), remedy: String::new() }
    }

    fn note(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, what: what.into(), remedy: remedy.into() }
    }

    fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        write!(f, "{word}  {}", self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "\n      -> {}", self.remedy) }
    }
}

/// Looks at everything and prints it. Whether a system can run.
///
/// # Errors
/// The output can't be written.
pub fn doctor(system: &SystemOptions, web_port: u16) -> Result<bool, Failure> {
    let mut findings = memory();
    findings.extend(segments(system));
    findings.extend(names());
    findings.extend(ports(system, web_port));
    findings.extend(system.network.keys.as_deref().map(keys).unwrap_or_default());
    findings.extend(clocks(system));
    findings.extend(limits());
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (bad, notes) = (count(Verdict::Bad), count(Verdict::Note));
    let mut text = String::new();
    for finding in &findings {
        text += &format!("{finding}\n");
    }
    text += &match (bad, notes) {
        (0, 0) => "a system can run here\n".to_owned(),
        (0, notes) => format!("a system can run here; {notes} to note\n"),
        (bad, _) => format!("{bad} to mend before a system can run here\n"),
    };
    print(&text)?;
    Ok(bad == 0)
}

/// The broker's keys, and those of who may watch or command.
fn keys(folder: &Path) -> Vec<Finding> {
    match BrokerKeys::in_folder(folder).check() {
        Err(why) => {
            vec![Finding::bad(why.to_string(), "the broker needs its own keys: mend that file, or lkas keygen")]
        }
        Ok(useless) => {
            let useless = useless.into_iter().map(|why| Finding::note(why.to_string(), "this file lets nobody in"));
            [Finding::good(format!("the broker's keys in {}", folder.display()))].into_iter().chain(useless).collect()
        }
    }
}

fn memory() -> Vec<Finding> {
    let remedy = "mount it: mount -t tmpfs -o mode=1777 tmpfs /dev/shm";
    let (Ok(kind), Ok(space)) = (rustix::fs::statfs(FOLDER), rustix::fs::statvfs(FOLDER)) else {
        return vec![Finding::bad(format!("{FOLDER} is not there"), remedy)];
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let room = format!("shared memory: {} free of {}", size(free), size(space.f_blocks.saturating_mul(space.f_frsize)));
    let mut findings = vec![if free >= SPACE {
        Finding::good(room)
    } else {
        let remedy = "remove what nobody uses (lkas clean), or enlarge it: mount -o remount,size=64M /dev/shm";
        Finding::bad(format!("{room}, expected at least {}", size(SPACE)), remedy)
    }];
    if kind.f_type != TMPFS {
        findings.push(Finding::note(format!("{FOLDER} is no file system in memory"), remedy));
    }
    if rustix::fs::access(FOLDER, rustix::fs::Access::WRITE_OK).is_err() {
        let remedy = "chmod 1777 /dev/shm, or run as a user who may write there";
        findings.push(Finding::bad(format!("{FOLDER} can't be written to"), remedy));
    }
    findings
}

fn segments(system: &SystemOptions) -> Vec<Finding> {
    let names = match channels_of(system) {
        Ok(names) => names,
        Err(why) => return vec![Finding::bad(format!("{FOLDER} can't be read: {why}"), "chmod 1777 /dev/shm")],
    };
    let mut findings = Vec::new();
    let mut used = 0;
    for name in &names {
        let Ok(channel) = Observer::open(name) else { continue };
        let now = channel.look();
        for warning in channel.warnings() {
            findings.push(Finding::note(format!("channel {name}: {warning}"), format!("chmod 600 {FOLDER}/{name}")));
        }
        match segment(&now, || why_kept(name)) {
            Some(trouble) => findings.push(Finding::note(format!("channel {name}: {}", trouble.0), trouble.1)),
            None => used += 1,
        }
    }
    findings.extend(unusable(&system.all_channels().unwrap_or_default()));
    if let Some(words) = foreign::words(system) {
        findings.push(Finding::note(words, format!("a second system needs {}", system.another())));
    }
    if findings.is_empty() || used > 0 {
        findings.insert(0, Finding::good(format!("{used} channels in use")));
    }
    findings
}

/// What is wrong with a channel, and what to do. `kept`: why it stays where nobody uses it.
fn segment(now: &Observation, kept: impl Fn() -> Option<&'static str>) -> Option<(String, &'static str)> {
    let readers = now.readers.iter().filter(|reader| reader.taken).count();
    match (now.has_writer, readers) {
        (false, 0) => Some((
            "nobody uses it".to_owned(),
            kept().unwrap_or("lkas clean removes it; a new writer would take it over"),
        )),
        (false, _) => Some((format!("{readers} readers wait for a writer"), "start its writer again")),
        (true, _) if now.sequence > 0 && now.age.is_none() => {
            Some(("its newest value lies in the future".to_owned(), "run all parts in one time namespace"))
        }
        (true, _) => match now.age.filter(|age| age.as_secs() >= 1) {
            Some(age) => Some((
                format!("its writer (pid {}) has been silent for {}", now.writer.process, short(age)),
                "see whether it is suspended (kill -CONT) or waits for something itself",
            )),
            None => None,
        },
    }
}

/// Channels whose names vanished, and what makes names vanish.
fn names() -> Vec<Finding> {
    let mut findings = Vec::new();
    for held in nameless() {
        findings.push(Finding::note(
            format!(
                "process {} ({}) has a role in a channel of {} that nobody can open: its name was removed",
                held.process, held.program, held.carries
            ),
            "programs of lkas move within a second; others call Writer::check_name or start again. Names vanish by rm, or \
             by logind at a logout (RemoveIPC)",
        ));
    }
    if logout_removes_channels() {
        findings.push(Finding::note(
            "logind removes this user's channels at the last logout, also of programs that still run",
            "RemoveIPC=no in /etc/systemd/logind.conf, or run services as a system user",
        ));
    }
    findings
}

/// Files that are channels and can't be used, of another release or damaged; and whatever else has one of the system's `own`
/// names, which so can't run.
fn unusable(own: &[ChannelName]) -> Vec<Finding> {
    let Ok(folder) = std::fs::read_dir(FOLDER) else { return Vec::new() };
    let mut findings = Vec::new();
    for entry in folder.flatten() {
        let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match Observer::open(&name) {
            Err(OpenError::Unusable { why, .. }) if is_channel(&entry.path()) => {
                findings.push(Finding::note(format!("channel {name}: {why}"), format!("rm {FOLDER}/{name}")));
            }
            Err(OpenError::Unusable { why, .. }) if own.contains(&name) => {
                findings.push(Finding::bad(format!("{name}: {why}"), format!("rm {FOLDER}/{name}")));
            }
            _ => {}
        }
    }
    findings
}

fn ports(system: &SystemOptions, web_port: u16) -> Vec<Finding> {
    let host = &system.network.broker;
    let broker: Vec<u16> = (0..6).filter_map(|offset| system.broker_port.checked_add(offset)).collect();
    let taken: Vec<String> = broker.iter().filter(|port| is_taken(host, **port)).map(|port| port.to_string()).collect();
    let range = format!("{} to {}", system.broker_port, system.broker_port.saturating_add(5));
    let mut findings = vec![match taken.len() {
        0 if !is_mine(host) => {
            Finding::note(format!("the broker's address {host} is not of this machine"), "start the broker there")
        }
        0 => Finding::good(format!("the broker's ports {range} are free")),
        6 => Finding::note(
            format!("the broker's ports {range} are in use"),
            format!("a broker runs; a second system needs {}", system.another()),
        ),
        _ => Finding::bad(
            format!("of the broker's ports {range}, {} are in use", taken.join(", ")),
            "end what uses them (ss -ltnp), or choose six others with --broker-port or --instance",
        ),
    }];
    findings.push(if is_taken("127.0.0.1", web_port) {
        Finding::note(
            format!("the page's port {web_port} is in use"),
            format!("a viewer runs; a second system needs {}", system.another()),
        )
    } else {
        Finding::good(format!("the page's port {web_port} is free"))
    });
    findings
}

fn is_taken(host: &str, port: u16) -> bool {
    matches!(TcpListener::bind((host, port)), Err(why) if why.kind() == io::ErrorKind::AddrInUse)
}

fn is_mine(host: &str) -> bool {
    let Ok(addresses) = (host, 0).to_socket_addrs() else { return false };
    addresses.into_iter().any(|address| TcpListener::bind(address).is_ok())
}

/// Processes of different time namespaces have clocks that differ: nothing would ever be fresh.
fn clocks(system: &SystemOptions) -> Vec<Finding> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/time")).ok();
    let mine: Option<PathBuf> = namespace("self");
    let mut findings = Vec::new();
    for name in channels_of(system).unwrap_or_default() {
        let Ok(channel) = Observer::open(&name) else { continue };
        let now = channel.look();
        let theirs = namespace(&now.writer.process.to_string());
        if now.has_writer && mine.is_some() && theirs.is_some() && theirs != mine {
            findings.push(Finding::bad(
                format!("the writer of {name} (pid {}) is in another time namespace", now.writer.process),
                "run all parts in one time namespace: ages can't be told otherwise",
            ));
        }
    }
    let (first, second) = (clock::now(), clock::now());
    findings.push(if second >= first && first > 0 {
        Finding::good("the monotonic clock rises")
    } else {
        Finding::bad(format!("the monotonic clock went from {first} to {second} ns"), "mend the kernel's clock source")
    });
    findings
}

fn limits() -> Vec<Finding> {
    let text = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let files = getrlimit(Resource::Nofile).current;
    let mut findings = vec![match files {
        Some(found) if found < 256 => {
            Finding::bad(format!("{found} open files are allowed, expected at least 256"), "ulimit -n 1024")
        }
        _ => Finding::good(format!("open files allowed: {}", text(files))),
    }];
    let priority = getrlimit(Resource::Rtprio).current;
    if priority == Some(0) && !rustix::process::geteuid().is_root() {
        findings.push(Finding::note(
            "real-time priorities are not allowed",
            "for a control loop that must not wait: a line \"USER - rtprio 50\" in /etc/security/limits.conf",
        ));
    }
    match std::thread::available_parallelism().map_or(1, usize::from) {
        1 => findings.push(Finding::note("one processor", "expect less than 30 frames a second")),
        count => findings.push(Finding::good(format!("{count} processors"))),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_shm::WriterIdentity;
    use std::time::Duration;

    fn look(has_writer: bool, age: Option<u64>) -> Observation {
        Observation {
            time: 0,
            sequence: 3,
            age: age.map(Duration::from_millis),
            has_writer,
            writer: WriterIdentity { process: 7, ..WriterIdentity::default() },
            contract: Ok(None),
            closed: false,
            retired: false,
            readers: Vec::new(),
        }
    }

    #[test]
    fn what_is_wrong_with_a_channel_is_said_with_a_remedy() {
        assert_eq!(segment(&look(true, Some(10)), || None), None);
        assert!(segment(&look(true, Some(2_500)), || None).unwrap().0.contains("pid 7) has been silent for 2.5 s"));
        assert!(segment(&look(true, None), || None).unwrap().0.contains("future"));
        assert!(segment(&look(false, Some(10)), || None).unwrap().1.contains("lkas clean"));
        assert_eq!(segment(&look(false, Some(10)), || Some("it is kept")).unwrap().1, "it is kept");
    }

    #[test]
    fn a_port_in_use_is_found() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(is_taken("127.0.0.1", port));
        drop(listener);
        assert!(!is_taken("127.0.0.1", port));
        assert!(is_mine("127.0.0.1") && !is_mine("192.0.2.1"), "the latter is for documentation only (RFC 5737)");
    }

    #[test]
    fn a_pipe_is_no_channel_and_nobody_waits_for_its_other_end() {
        let path = std::env::temp_dir().join(format!("doctor-{}", std::process::id()));
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let looked_at = path.clone();
        std::thread::spawn(move || sender.send(is_channel(&looked_at)));
        let found = receiver.recv_timeout(Duration::from_secs(10));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(found, Ok(false));
    }

    #[test]
    fn findings_say_what_to_do() {
        let text = Finding::bad("no space", "lkas clean").to_string();
        assert_eq!(text, "BAD   no space\n      -> lkas clean");
    }
}
