//! The system as a service: what systemd is told, and what is left of a system that was killed.
#![allow(missing_docs)]

mod support;

use lkas::status::StatusWatch;
use lkas_shm::Observer;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, signal};

#[test]
fn a_suspended_child_of_a_killed_system_does_not_stop_the_next_one() {
    // Of a process that loses its parent to another group of the session the kernel wakes the suspended ones, but not where
    // somebody of the same session takes its children over, as in a container or under a supervisor.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut demo = Demo::start("orphan", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    let decision = demo.processes("decision")[0];
    signal("STOP", decision);
    signal("KILL", demo.child.id());
    demo.child.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while demo.processes("") != [decision] {
        assert!(Instant::now() < deadline, "the others do not end: {:?}", demo.processes(""));
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(demo);
    let mut demo = Demo::start("orphan", &["--no-viewer"]);
    demo.wait_for(&format!("process {decision} was left suspended by a system that was killed; it is ended"));
    demo.wait_for("driving: the first control arrived");
    signal("TERM", demo.child.id());
    demo.finish();
    rustix::process::set_child_subreaper(None).unwrap();
}

/// A child that is ended when the test is over, however it is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn who_is_suspended_for_another_reason_is_left_alone_and_named() {
    let namespace = format!("test-{}-suspended", std::process::id());
    let lkas = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
        command.args(arguments).args(["--namespace", &namespace]).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let mut first = Running(lkas(&["decision"]).spawn().unwrap());
    let name = lkas_shm::ChannelName::new(&namespace, "vehicle_control").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while Observer::open(&name).is_err() {
        assert!(Instant::now() < deadline, "no channel");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal("STOP", first.0.id());
    let second = lkas(&["--log-format=text"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let pid = first.0.id();
    assert!(!second.status.success() && said.contains(&format!("kill -CONT {pid} wakes it")), "{said}");
    assert!(first.0.try_wait().unwrap().is_none(), "it is somebody's own");
    signal("CONT", pid);
    signal("TERM", pid);
    assert!(first.0.wait().unwrap().success());
    for name in lkas_shm::channels().unwrap().iter().filter(|name| name.as_str().starts_with(&namespace)) {
        lkas_shm::unlink(name).unwrap();
    }
}

/// This program tells systemd that it is ready, these words as its status, that it is alive, and that it ends. `meanwhile` is
/// done in its namespace as often as it tells something.
#[track_caller]
fn is_told(program: &[&str], test: &str, words: &str, mut meanwhile: impl FnMut(&str)) {
    let namespace = format!("test-{}-{test}", std::process::id());
    let path = std::env::temp_dir().join(format!("{namespace}.socket"));
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(["--namespace", &namespace]).stdin(Stdio::null());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000").env_remove("WATCHDOG_PID");
    let mut running = Running(command.spawn().unwrap());
    let mut told = Vec::new();
    let mut bytes = [0; 512];
    let complete = |told: &[String]| {
        let watchdogs = told.iter().filter(|told| *told == "WATCHDOG=1").count();
        let status = told.iter().any(|told| told.starts_with("STATUS=") && told.contains(words));
        told.contains(&"READY=1".to_owned()) && watchdogs > 3 && status
    };
    while !complete(&told) {
        let count = manager.recv(&mut bytes).unwrap_or_else(|why| panic!("{why}: {told:?}"));
        told.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
        meanwhile(&namespace);
    }
    assert_eq!(told.iter().filter(|words| *words == "READY=1").count(), 1, "{told:?}");
    signal("TERM", running.0.id());
    assert!(running.0.wait().unwrap().success());
    let mut last = String::new();
    manager.set_nonblocking(true).unwrap();
    while let Ok(count) = manager.recv(&mut bytes) {
        last = String::from_utf8_lossy(&bytes[..count]).into_owned();
    }
    assert_eq!(last, "STOPPING=1");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn systemd_is_told_that_it_is_ready_what_it_does_and_that_it_is_alive() {
    is_told(&[env!("CARGO_BIN_EXE_lkas")], "notify", "detection waiting", |_| ());
    let alone = [env!("CARGO_BIN_EXE_viewer"), "--port=0", "--broker-port=5"];
    is_told(&alone, "page", "waiting: nothing comes from the broker at", |_| ());
}

#[test]
fn systemd_is_told_who_is_missing() {
    let port = support::free_ports(6).to_string();
    let program = [env!("CARGO_BIN_EXE_lkas"), "--broadcast", "--broker-port", &port];
    is_told(&program, "missing", "decision waiting; without broker", |namespace| {
        let name = lkas_shm::ChannelName::new(namespace, "status_broker").unwrap();
        if let Some(seen) = StatusWatch::new(name).look().filter(|seen| seen.is_alive) {
            // It may have ended meanwhile.
            let _ = Command::new("kill").args(["-KILL", &seen.status.process.to_string()]).status().unwrap();
        }
    });
}
