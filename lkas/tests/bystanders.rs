//! Who only watches, tries something, or tidies up takes nothing from a system that runs.
#![allow(missing_docs)]

mod support;

use lkas::status::{Seen, StatusWatch};
use lkas_shm::{AnyChannel, ChannelName, OpenOptions, Reader};
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE};

#[track_caller]
fn done(demo: &Demo, arguments: &[&str]) -> String {
    let output = demo.lkas(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every reader place that a stranger gets, of every channel of the system.
fn all_places(demo: &Demo) -> Vec<Reader<[u8]>> {
    let mut places = Vec::new();
    for segment in demo.segments() {
        let name: ChannelName = segment.parse().unwrap();
        while let Ok((_, reader)) = AnyChannel::open(&name, OpenOptions::new()) {
            places.push(reader);
        }
    }
    assert!(places.len() > 12, "{}", places.len());
    places
}

/// Waits until another process than `before` says this of itself.
#[track_caller]
fn successor(demo: &Demo, process: &str, before: u32, fits: impl Fn(&Seen) -> bool) -> Seen {
    let mut watch = StatusWatch::new(format!("{}.status_{process}", demo.namespace).parse().unwrap());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = watch.look();
        if let Some(seen) = &seen
            && seen.is_current()
            && seen.status.process != u64::from(before)
            && fits(seen)
        {
            return seen.clone();
        }
        assert!(Instant::now() < deadline, "no such successor; the last one is {seen:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn value(seen: &Seen, name: &str) -> Option<f64> {
    seen.status.declared().find(|declared| declared.name.to_string() == name).map(|declared| declared.value)
}

#[test]
fn values_outlive_their_server_whoever_watches_fails_or_cleans() {
    let mut demo = Demo::start("watched", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    done(&demo, &["param", "set", "decision.kp", "0.9", "--timeout", "60"]);
    let places = all_places(&demo);
    for bystander in [&["simulation", "--replay", "/nowhere"][..], &["clean"]] {
        let pid = demo.processes("decision")[0];
        demo.kill("decision");
        demo.wait_for("decision was killed");
        // Within the second that its successor waits, or beside it: in neither case it matters.
        let output = demo.lkas(bystander);
        assert_eq!(output.status.success(), bystander == ["clean"], "{output:?}");
        let seen = successor(&demo, "decision", pid, |seen| seen.status.starts > 1);
        assert_eq!(value(&seen, "kp"), Some(0.9), "{bystander:?}");
    }
    // All who work with a channel find their place.
    for process in ["detection", "simulation"] {
        let pid = demo.processes(process)[0];
        demo.kill(process);
        successor(&demo, process, pid, |_| true);
    }
    demo.drive(60);
    drop(places);
    demo.stop();
}

#[test]
fn a_latched_stop_outlives_the_vehicles_process_whoever_watches_or_cleans() {
    let mut demo = Demo::start("latched", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    done(&demo, &["stop", "--timeout", "60"]);
    let places = all_places(&demo);
    let pid = demo.processes("simulation")[0];
    demo.kill("simulation");
    let printed = done(&demo, &["clean"]);
    let seen = successor(&demo, "simulation", pid, |_| true);
    assert_eq!(seen.status.latched, 1, "{printed}");
    drop(places);
    // Also when the whole system has ended.
    support::signal("INT", demo.child.id());
    demo.child.wait().unwrap();
    let printed = done(&demo, &["clean"]);
    assert!(printed.contains("status_simulation: stays: an emergency stop is latched"), "{printed}");
    let name: ChannelName = format!("{}.status_simulation", demo.namespace).parse().unwrap();
    assert_eq!(StatusWatch::new(name.clone()).look().map(|seen| seen.status.latched), Some(1));
    lkas_shm::unlink(&name).unwrap();
    let _ = std::fs::remove_file(&demo.report);
}
