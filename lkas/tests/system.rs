//! The running system: real processes, real shared memory, real sockets.
#![allow(missing_docs)]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One system at a time: each is five processes, and machines have few cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const PATIENCE: Duration = Duration::from_secs(60);

/// A demo of its own namespace and ports, which must leave nothing.
struct Demo {
    child: Child,
    words: Receiver<String>,
    said: Vec<String>,
    namespace: String,
    report: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Demo {
    fn start(test: &str, arguments: &[&str]) -> Self {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
        let namespace = format!("test-{}-{test}", std::process::id());
        let report = std::env::temp_dir().join(format!("{namespace}.json"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_lkas"))
            .args(["demo", "--namespace", &namespace, "--broker-port", &free_ports(6).to_string()])
            .args(["--port", &free_ports(1).to_string(), "--report"])
            .arg(&report)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, words) = channel();
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                eprintln!("{line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, words, said: Vec::new(), namespace, report, _alone: alone }
    }

    /// Waits until a process says something with these words in it.
    fn wait_for(&mut self, what: &str) {
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

    /// The process ids of the children that run this subcommand; of all children where it is empty.
    fn processes(&self, subcommand: &str) -> Vec<u32> {
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
    fn segments(&self) -> Vec<String> {
        let names = std::fs::read_dir("/dev/shm").unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&self.namespace)).collect()
    }

    fn kill(&self, subcommand: &str) {
        let pids = self.processes(subcommand);
        assert_eq!(pids.len(), 1, "one {subcommand} process");
        signal("KILL", pids[0]);
    }

    /// Waits for the end and returns the report. Nothing may be left.
    fn finish(mut self) -> Value {
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

fn signal(signal: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

/// The first of `count` ports in a row that nobody uses now.
fn free_ports(count: u16) -> u16 {
    for _ in 0..1000 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if first < u16::MAX - count && (0..count).all(|i| TcpListener::bind(("127.0.0.1", first + i)).is_ok()) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}

#[test]
fn the_vehicle_drives_and_nothing_is_left() {
    let demo = Demo::start("drives", &["--duration", "12"]);
    let report = demo.finish();
    assert!(report["frames"].as_u64() > Some(30), "frames are filmed");
    assert!(report["controls"].as_u64() > Some(30), "controls are decided");
    assert_eq!(report["torn"], 0);
    assert_eq!(report["restarts"], 0);
    assert!(report["both_lanes_fraction"].as_f64() > Some(0.9), "the lanes are seen");
    assert!(report["lateral_offset_m"]["max_abs"].as_f64() < Some(0.6), "the vehicle stays in its lane");
    assert!(report["lateral_offset_m"]["max_abs"].as_f64() > Some(0.0), "the vehicle drove");
    assert!(report["latency_ms"]["p50"].as_f64() > Some(0.0));
}

#[test]
fn a_killed_detection_server_is_started_again_and_the_system_goes_on() {
    let mut demo = Demo::start("detection", &["--no-viewer", "--duration", "15"]);
    demo.wait_for("driving: the first control arrived");
    demo.kill("detection");
    demo.wait_for("detection was killed by signal 9; starting it again");
    demo.wait_for("[detection] ready");
    let report = demo.finish();
    assert_eq!(report["restarts"], 1);
    assert_eq!(report["torn"], 0);
    assert!(report["controls"].as_u64() > Some(60));
}

#[test]
fn a_killed_decision_server_means_a_safe_stop_and_then_driving_again() {
    let mut demo = Demo::start("decision", &["--no-viewer", "--duration", "20"]);
    demo.wait_for("driving: the first control arrived");
    demo.kill("decision");
    demo.wait_for("safe stop: the last control is");
    assert!(demo.said.last().is_some_and(|line| line.contains("the writer of the controls died")), "and why");
    demo.wait_for("standing still after a safe stop");
    demo.wait_for("driving again");
    let report = demo.finish();
    assert_eq!(report["restarts"], 1);
    assert!(report["safe_stops"].as_u64() >= Some(1));
}

#[test]
fn ctrl_c_ends_everything() {
    let mut demo = Demo::start("ctrl_c", &[]);
    demo.wait_for("driving: the first control arrived");
    // The demo looks on as a reader of its own: it may see its first picture after the vehicle has its first control.
    std::thread::sleep(Duration::from_secs(2));
    signal("INT", demo.child.id());
    let report = demo.finish();
    assert!(report["frames"].as_u64() > Some(0));
}

#[test]
fn a_killed_demo_leaves_nothing() {
    let mut demo = Demo::start("killed", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    assert_eq!(demo.processes("simulation").len(), 1);
    signal("KILL", demo.child.id());
    demo.child.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !demo.processes("").is_empty() {
        assert!(Instant::now() < deadline, "still there: {:?}", demo.processes(""));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(demo.segments(), [] as [&str; 0], "shared memory is left");
}

#[test]
fn lanes_are_found_in_real_frames() {
    let folder =
        std::env::var("LKAS_ROAD").unwrap_or_else(|_| format!("{}/../../shared/road", env!("CARGO_MANIFEST_DIR")));
    let folder = Path::new(&folder).join("solid-white-right");
    if !folder.is_dir() {
        eprintln!("skipped: there are no real frames in {}", folder.display());
        return;
    }
    let demo = Demo::start("replay", &["--no-viewer", "--duration", "12", "--replay", folder.to_str().unwrap()]);
    let report = demo.finish();
    assert_eq!(report["torn"], 0);
    assert!(report["detections"].as_u64() > Some(100));
    assert!(report["both_lanes_fraction"].as_f64() >= Some(0.95), "{}", report["both_lanes_fraction"]);
}

#[test]
fn what_can_not_run_says_why_and_ends() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lkas")).args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = run(&["simulation", "--namespace", "test/slash"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("test/slash") && words.contains("letters, digits"), "{words}");
    let (code, words) = run(&["simulation", "--fps", "0"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("1 to 1000"), "{words}");
    let (code, words) = run(&["simulation", "--namespace", "test-nothing", "--replay", "/nowhere/at/all"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("/nowhere/at/all"), "{words}");
    // A port in use: the broker can't run, so the whole demo ends and says which.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let namespace = format!("test-{}-port", std::process::id());
    let (code, words) =
        run(&["demo", "--namespace", &namespace, "--no-viewer", "--duration", "30", "--broker-port", &port]);
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains(&port) && words.contains("in use"), "{words}");
}
