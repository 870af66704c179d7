//! A demo of real processes, of its own namespace and ports.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use lkas_shm::{ChannelName, Observer};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One system at a time: each is five processes, and machines have few cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A demo of its own namespace and ports, which must leave nothing.
pub struct Demo {
    pub child: Child,
    pub words: Receiver<String>,
    pub said: Vec<String>,
    pub namespace: String,
    pub report: PathBuf,
    pub broker_port: u16,
    _alone: MutexGuard<'static, ()>,
}

impl Demo {
    pub fn start(test: &str, arguments: &[&str]) -> Self {
        let mut demo = Self::with_streams(test, arguments, Stdio::null(), Stdio::piped());
        let lines = BufReader::new(demo.child.stderr.take().expect("a pipe")).lines();
        let (sender, words) = channel();
        demo.words = words;
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        demo
    }

    /// A demo that writes to these; nobody listens to what it says.
    pub fn with_streams(test: &str, arguments: &[&str], out: Stdio, error: Stdio) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
        let namespace = format!("test-{}-{test}", std::process::id());
        let report = std::env::temp_dir().join(format!("{namespace}.json"));
        let broker_port = free_ports(6);
        let child = Command::new(env!("CARGO_BIN_EXE_lkas"))
            .args(["demo", "--namespace", &namespace, "--broker-port", &broker_port.to_string()])
            .args(["--port", &free_ports(1).to_string(), "--report"])
            .arg(&report)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(error)
            .spawn()
            .expect("the program starts");
        let (_, words) = channel();
        Self { child, words, said: Vec::new(), namespace, report, broker_port, _alone: alone }
    }

    /// Waits until a process says something with these words in it.
    pub fn wait_for(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.words.recv_timeout(left).unwrap_or_else(|_| {
                panic!("nobody said {what:?}; said was:\n{}", self.said.join("\n"));
            });
            self.said.push(line.clone());
            if line.contains(what) {
                return;
            }
        }
    }

    /// Waits until decision has published this many controls more, by the channel itself: what a busy machine gets done in a
    /// given time nobody knows.
    pub fn drive(&self, controls: u64) {
        let name: ChannelName = format!("{}.vehicle_control", self.namespace).parse().unwrap();
        let published = || Observer::open(&name).map_or(0, |channel| channel.look().sequence);
        let (start, deadline) = (published(), Instant::now() + PATIENCE);
        while published() < start + controls {
            assert!(Instant::now() < deadline, "{} of {controls} controls", published().saturating_sub(start));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `lkas` makes of a command in this system. On a busy machine a server may say nothing for a moment: then it is
    /// asked again.
    pub fn lkas(&self, arguments: &[&str]) -> Output {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = Command::new(env!("CARGO_BIN_EXE_lkas"))
                .args(arguments)
                .args(["--namespace", &self.namespace, "--broker-port", &self.broker_port.to_string()])
                .stdin(Stdio::null())
                .output()
                .expect("the program starts");
            let said = String::from_utf8_lossy(&output.stderr);
            let silent = ["no server says which parameters it has", "no server declares \"kp\""];
            if !silent.iter().any(|words| said.contains(words)) || Instant::now() > deadline {
                return output;
            }
        }
    }

    /// Ends it as Ctrl-C does, and returns the report.
    pub fn stop(self) -> Value {
        signal("INT", self.child.id());
        self.finish()
    }

    /// The process ids of the children that run this subcommand; of all children where it is empty.
    pub fn processes(&self, subcommand: &str) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
            let arguments: Vec<_> = line.split(|&byte| byte == 0).collect();
            let ours = format!("--namespace={}", self.namespace);
            if arguments.contains(&ours.as_bytes())
                && (subcommand.is_empty() || arguments.get(1) == Some(&subcommand.as_bytes()))
            {
                found.push(pid);
            }
        }
        found
    }

    /// The names of the system's segments in shared memory.
    pub fn segments(&self) -> Vec<String> {
        let names = std::fs::read_dir("/dev/shm").unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&self.namespace)).collect()
    }

    pub fn kill(&self, subcommand: &str) {
        let pids = self.processes(subcommand);
        assert_eq!(pids.len(), 1, "one {subcommand} process");
        signal("KILL", pids[0]);
    }

    /// Kills the program that looks after the others, and waits until they have ended too.
    #[track_caller]
    pub fn kill_all(&mut self) {
        signal("KILL", self.child.id());
        self.child.wait().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !self.processes("").is_empty() {
            assert!(Instant::now() < deadline, "still there: {:?}", self.processes(""));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end and returns the report. Nothing may be left.
    pub fn finish(mut self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                None => panic!("the demo does not end"),
            }
        };
        assert!(status.success(), "{status}");
        assert_eq!(self.processes(""), [] as [u32; 0], "processes are left");
        assert_eq!(self.segments(), [] as [&str; 0], "shared memory is left");
        let text = std::fs::read_to_string(&self.report).expect("a report");
        std::fs::remove_file(&self.report).unwrap();
        println!("{text}");
        serde_json::from_str(&text).expect("a report in JSON")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("TERM", self.child.id());
            let _ = self.child.wait();
        }
    }
}

/// A pipe that is full: whoever writes to it waits until somebody reads.
pub fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'x'; 64]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

pub fn signal(signal: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// The first of `count` ports in a row that nobody uses now.
pub fn free_ports(count: u16) -> u16 {
    for _ in 0..1000 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if first < u16::MAX - count && (0..count).all(|i| TcpListener::bind(("127.0.0.1", first + i)).is_ok()) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}
