//! Machines: namespaces with a network, a clock and shared memory of their own, and links between them.

use crate::Outcome;
use serde_json::Value;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A machine. What runs on it ends when it is dropped.
pub(crate) struct Machine {
    name: &'static str,
    holder: Child,
    pid: String,
}

/// What a machine needs to be made.
pub(crate) const NEEDS: &str = "root, or a container with --cap-add=SYS_ADMIN,NET_ADMIN,SYS_TIME";

impl Machine {
    /// A machine whose clock is `ahead` seconds ahead of this one's.
    pub(crate) fn new(name: &'static str, ahead: u32) -> Result<Self, String> {
        let inside = "mount -t tmpfs -o size=256m tmpfs /dev/shm && ip link set lo up && echo $$ && exec sleep 3600";
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--time", "--monotonic", &ahead.to_string(), "--fork", "--kill-child"]);
        command.args(["sh", "-c", inside]).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(|why| format!("can't run {command:?}: {why}"))?;
        let mut pid = String::new();
        let out = holder.stdout.take().ok_or("no output")?;
        let read = BufReader::new(out).read_line(&mut pid);
        let machine = Self { name, holder, pid: pid.trim().to_owned() };
        match read {
            Ok(length) if length > 0 => Ok(machine),
            _ => Err(format!("can't make the machine {name}; it needs {NEEDS}")),
        }
    }

    /// A program on this machine.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid, "--net", "--mount", "--time"]).arg(program).env("NO_COLOR", "1");
        command
    }

    /// Runs a program on this machine, and returns what it writes to standard output.
    pub(crate) fn run(&self, line: &str) -> Result<String, String> {
        let mut words = line.split(' ');
        let mut command = self.command(words.next().unwrap_or_default());
        let out = command.args(words).output().map_err(|why| format!("{line}: {why}"))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match out.status.success() {
            true => Ok(text(&out.stdout)),
            false => Err(format!("{} on {}: {}", line, self.name, text(&out.stderr).trim())),
        }
    }

    /// Links this machine to another: a cable between the interface `device` here and one of the same name there.
    pub(crate) fn link(&self, other: &Self, device: &str, [here, there]: [&str; 2]) -> Outcome {
        self.run(&format!("ip link add {device} type veth peer name {device} netns {}", other.pid))?;
        for (machine, address) in [(self, here), (other, there)] {
            machine.run(&format!("ip address add {address}/24 dev {device}"))?;
            machine.run(&format!("ip link set {device} up"))?;
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The holder's child goes with it.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A process that is killed when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).spawn().map(Self).map_err(|why| format!("can't run {command:?}: {why}"))
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Values of a channel as `lkas echo --json` prints them, and when each line was here.
pub(crate) struct Stream {
    _process: Process,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    last: Option<(Instant, Value)>,
    /// The last values since they were forgotten.
    values: VecDeque<(Instant, Value)>,
    sequence: u64,
    went_back: Option<(u64, u64)>,
}

impl Stream {
    pub(crate) fn open(mut echo: Command) -> Result<Self, String> {
        let mut process = Process::start(echo.stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let out = process.0.stdout.take().ok_or("no output")?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = seen.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                let mut seen = lock(&noted);
                let sequence = value["sequence"].as_u64().unwrap_or(0);
                if sequence < seen.sequence {
                    seen.went_back = Some((seen.sequence, sequence));
                }
                seen.sequence = sequence;
                let now = Instant::now();
                seen.last = Some((now, value.clone()));
                seen.values.push_back((now, value));
                if seen.values.len() > 4096 {
                    seen.values.pop_front();
                }
            }
        });
        Ok(Self { _process: process, seen })
    }

    /// The newest value.
    pub(crate) fn last(&self) -> Option<(Instant, Value)> {
        lock(&self.seen).last.clone()
    }

    /// A number of the newest value; NaN where there is none.
    pub(crate) fn number(&self, field: &str) -> f64 {
        self.last().and_then(|(_, value)| value["fields"][field].as_f64()).unwrap_or(f64::NAN)
    }

    /// A word of the newest value; empty where there is none.
    pub(crate) fn word(&self, field: &str) -> String {
        self.last().and_then(|(_, value)| value["fields"][field].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Forgets the values until now.
    pub(crate) fn forget(&self) {
        lock(&self.seen).values.clear();
    }

    /// The values since then, by a number in each.
    pub(crate) fn numbers(&self, of: impl Fn(&Value) -> Option<f64>) -> Vec<f64> {
        lock(&self.seen).values.iter().filter_map(|(_, value)| of(value)).collect()
    }

    /// The first value that was here after `since` for which `is` holds.
    pub(crate) fn first_after(&self, since: Instant, is: impl Fn(&Value) -> bool) -> Option<Duration> {
        let seen = lock(&self.seen);
        let found = seen.values.iter().find(|(time, value)| *time > since && is(value));
        found.map(|(time, _)| time.duration_since(since))
    }

    /// Where sequence numbers went back: from and to.
    pub(crate) fn went_back(&self) -> Option<(u64, u64)> {
        lock(&self.seen).went_back
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `what`, up to a minute.
pub(crate) fn wait_for(what: &str, mut is: impl FnMut() -> bool) -> Result<Duration, String> {
    let start = Instant::now();
    while !is() {
        if start.elapsed() > Duration::from_secs(60) {
            return Err(format!("waited a minute in vain: {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed())
}

/// Median and 99th percentile, in milliseconds.
pub(crate) fn percentiles(mut seconds: Vec<f64>) -> String {
    seconds.sort_by(f64::total_cmp);
    let at = |quantile: f64| seconds.get((seconds.len() as f64 * quantile) as usize).map_or(f64::NAN, |s| s * 1e3);
    format!("p50 {:.1} ms, p99 {:.1} ms ({} values)", at(0.5), at(0.99), seconds.len())
}
