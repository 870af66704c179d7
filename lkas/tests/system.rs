//! The running system: real processes, real shared memory, real sockets.
#![allow(missing_docs)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, signal};

#[test]
fn the_vehicle_drives_and_nothing_is_left() {
    let mut demo = Demo::start("drives", &[]);
    demo.wait_for("driving: the first control arrived");
    demo.drive(200);
    let report = demo.stop();
    assert!(report["frames"].as_u64() > Some(0), "frames are filmed");
    assert!(report["controls"].as_u64() > Some(0), "controls are decided");
    assert_eq!(report["torn"], 0);
    assert_eq!(report["restarts"], 0);
    assert!(report["both_lanes_fraction"].as_f64() > Some(0.9), "the lanes are seen");
    assert!(report["lateral_offset_m"]["max_abs"].as_f64() < Some(0.6), "the vehicle stays in its lane");
    assert!(report["lateral_offset_m"]["max_abs"].as_f64() > Some(0.0), "the vehicle drove");
    assert!(report["latency_ms"]["p50"].as_f64() > Some(0.0));
    let steps = report["steps_ms"].as_object().expect("the steps");
    assert!(steps.len() == 7 && steps.values().all(|step| step["max"].as_f64() > Some(0.0)), "{steps:?}");
}

#[test]
fn a_killed_detection_server_is_started_again_and_the_system_goes_on() {
    let mut demo = Demo::start("detection", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    demo.kill("detection");
    demo.wait_for("detection was killed by signal 9; starting it again");
    demo.wait_for("detection: ready");
    demo.drive(60);
    let report = demo.stop();
    assert_eq!(report["restarts"], 1);
    assert_eq!(report["torn"], 0);
}

#[test]
fn a_killed_decision_server_means_a_safe_stop_and_then_driving_again() {
    let mut demo = Demo::start("decision", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    demo.kill("decision");
    demo.wait_for("safe stop: the last control is");
    assert!(demo.said.last().is_some_and(|line| line.contains("the writer of the controls died")), "and why");
    demo.wait_for("standing still after a safe stop");
    demo.wait_for("driving again");
    let report = demo.stop();
    assert_eq!(report["restarts"], 1);
    assert!(report["safe_stops"].as_u64() >= Some(1));
}

#[test]
fn who_is_suspended_is_replaced_and_the_system_goes_on() {
    let mut demo = Demo::start("suspended", &[]);
    demo.wait_for("driving: the first control arrived");
    // Until then it may be starting.
    std::thread::sleep(Duration::from_secs(4));
    signal("STOP", demo.processes("detection")[0]);
    demo.wait_for("detection has said nothing for");
    demo.wait_for("detection was killed by signal 9; starting it again");
    demo.wait_for("keeping the lane");
    signal("STOP", demo.processes("viewer")[0]);
    demo.wait_for("viewer has said nothing for");
    demo.wait_for("viewer was killed by signal 9; starting it again");
    demo.wait_for("the page is on");
    assert_eq!(demo.stop()["restarts"], 2);
}

#[test]
fn who_is_suspended_before_it_says_anything_is_replaced() {
    let mut demo = Demo::start("speechless", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    let before = demo.processes("");
    demo.kill("decision");
    let deadline = Instant::now() + PATIENCE;
    let new = loop {
        let children = format!("/proc/{0}/task/{0}/children", demo.child.id());
        let children = std::fs::read_to_string(children).unwrap();
        let mut children = children.split_whitespace().map(|child| child.parse::<u32>().unwrap());
        if let Some(new) = children.find(|child| !before.contains(child)) {
            break new;
        }
        assert!(Instant::now() < deadline, "no successor");
        std::thread::sleep(Duration::from_millis(1));
    };
    signal("STOP", new);
    demo.wait_for("decision has said nothing for");
    demo.wait_for("decision was killed by signal 9; starting it again");
    demo.wait_for("keeping the lane");
    assert_eq!(demo.stop()["restarts"], 2);
}

#[test]
fn a_broker_whose_port_is_taken_does_not_stop_the_vehicle() {
    let mut demo = Demo::start("port-taken", &["--no-viewer"]);
    demo.wait_for("broker: ports");
    demo.wait_for("driving: the first control arrived");
    // It has started well before: what it ends with now says nothing about its options.
    std::thread::sleep(Duration::from_secs(4));
    let essential = |demo: &Demo| ["simulation", "detection", "decision"].map(|name| demo.processes(name));
    let before = essential(&demo);
    demo.kill("broker");
    let taken = loop {
        if let Ok(taken) = TcpListener::bind(("127.0.0.1", demo.broker_port + 3)) {
            break taken;
        }
        // Its successor was faster. By now it may have ended, too.
        if let [broker] = demo.processes("broker")[..] {
            let _ = Command::new("kill").args(["-KILL", &broker.to_string()]).status();
        }
    };
    demo.wait_for("broker ended with code 2; starting it again");
    drop(taken);
    demo.wait_for("broker: ports");
    assert_eq!(essential(&demo), before, "nobody needs it to drive");
    demo.stop();
}

#[test]
fn ctrl_c_ends_everything() {
    let mut demo = Demo::start("ctrl_c", &[]);
    demo.wait_for("driving: the first control arrived");
    // The demo looks on as a reader of its own: it may see its first picture after the vehicle has its first control.
    std::thread::sleep(Duration::from_secs(2));
    let report = demo.stop();
    assert!(report["frames"].as_u64() > Some(0));
}

#[test]
fn a_system_whose_channels_are_removed_goes_on() {
    let mut demo = Demo::start("removed", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    let before = demo.segments();
    assert!(before.len() >= 7, "{before:?}");
    // So long that nobody is starting any more.
    demo.drive(10);
    std::thread::sleep(Duration::from_secs(11));
    // As `rm /dev/shm/*` does it, or the system when its user logs out.
    for name in &before {
        std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    }
    let has_moved = |name: &String| Path::new(&format!("/dev/shm/{name}")).exists();
    let deadline = Instant::now() + PATIENCE;
    while !before.iter().all(has_moved) {
        assert!(
            Instant::now() < deadline,
            "not back: {:?}",
            before.iter().filter(|name| !has_moved(name)).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    // Everybody has found everybody again: the vehicle is given controls for frames of now.
    demo.drive(60);
    let report = demo.stop();
    assert_eq!((&report["restarts"], &report["torn"]), (&0.into(), &0.into()));
}

#[test]
fn a_killed_demo_leaves_nothing() {
    let mut demo = Demo::start("killed", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    assert_eq!(demo.processes("simulation").len(), 1);
    demo.kill_all();
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
    let demo = Demo::start("replay", &["--no-viewer", "--replay", folder.to_str().unwrap()]);
    demo.drive(100);
    let report = demo.stop();
    assert_eq!(report["torn"], 0);
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
