//! An emergency stop that a person asks for holds whatever dies, until it is released.
#![allow(missing_docs)]

mod support;

use lkas::status::{Seen, State, StatusWatch};
use lkas_shm::ChannelName;
use lkas_zmq::{Broker, BrokerOptions, Endpoint, Topic, ViewerClient, ViewerMessage};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, signal};

const BY_A_PERSON: &str = "emergency stop by a person";

fn lkas(demo: &Demo, arguments: &[&str]) -> Output {
    demo.lkas(&[arguments, &["--timeout", "60"]].concat())
}

#[track_caller]
fn done(demo: &Demo, arguments: &[&str]) {
    let output = lkas(demo, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn status(demo: &Demo, process: &str) -> StatusWatch {
    StatusWatch::new(ChannelName::new(&demo.namespace, &format!("status_{process}")).unwrap())
}

/// The first current status that fits.
#[track_caller]
fn until(watch: &mut StatusWatch, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(seen) = watch.look().filter(Seen::is_current).filter(|seen| fits(seen)) {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("in vain: {what}; the last status is {:?}", watch.look());
}

fn is(seen: &Seen, state: State) -> bool {
    State::from_code(seen.status.state) == Some(state)
}

fn is_latched(seen: &Seen) -> bool {
    seen.status.latched == 1 && seen.status.reason.to_string() == BY_A_PERSON
}

/// For two seconds whatever the vehicle says is that it is latched and stands.
#[track_caller]
fn holds(vehicle: &mut StatusWatch) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut looks = 0;
    while Instant::now() < end {
        if let Some(seen) = vehicle.look().filter(Seen::is_current) {
            assert!(is_latched(&seen) && is(&seen, State::Standing), "{:?}", seen.status);
            assert_eq!(seen.status.vitals.speed_kmh, 0.0);
            looks += 1;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(looks > 10, "it says so");
}

#[test]
fn a_stop_outlives_broker_decision_and_the_vehicles_own_process() {
    let demo = Demo::start("stop", &["--no-viewer"]);
    let mut vehicle = status(&demo, "simulation");
    until(&mut vehicle, "drives", |seen| is(seen, State::Running) && seen.status.vitals.speed_kmh > 5.0);
    done(&demo, &["stop"]);
    until(&mut vehicle, "stands", |seen| is_latched(seen) && is(seen, State::Standing));
    for process in ["broker", "decision", "simulation"] {
        let mut watch = status(&demo, process);
        let before = until(&mut watch, process, |_| true).status.process;
        demo.kill(process);
        until(&mut watch, process, |seen| seen.status.process != before);
        until(&mut vehicle, "stands", |seen| is_latched(seen) && is(seen, State::Standing));
        holds(&mut vehicle);
    }
    done(&demo, &["respawn"]);
    holds(&mut vehicle);
    done(&demo, &["pause"]);
    done(&demo, &["resume"]);
    holds(&mut vehicle);
    done(&demo, &["stop", "--release"]);
    until(&mut vehicle, "drives", |seen| is(seen, State::Running) && seen.status.vitals.speed_kmh > 5.0);
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn a_stop_that_is_asked_for_while_the_broker_is_down_is_latched_when_it_is_back() {
    let demo = Demo::start("stop-outage", &["--no-viewer"]);
    let mut vehicle = status(&demo, "simulation");
    until(&mut vehicle, "drives", |seen| is(seen, State::Running));
    let broker = demo.processes("broker")[0];
    signal("STOP", broker);
    done(&demo, &["stop"]);
    until(&mut vehicle, "latched", is_latched);
    done(&demo, &["stop", "--release"]);
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn a_stop_outlives_the_whole_system_however_it_ends() {
    let mut demo = Demo::start("stop-ends", &["--no-viewer"]);
    let mut vehicle = status(&demo, "simulation");
    until(&mut vehicle, "drives", |seen| is(seen, State::Running) && seen.status.vitals.speed_kmh > 5.0);
    done(&demo, &["stop"]);
    let before = until(&mut vehicle, "stands", |seen| is_latched(seen) && is(seen, State::Standing)).status.process;
    // The vehicle's process ends in good order, and is started again.
    signal("TERM", before as u32);
    until(&mut vehicle, "another process", |seen| seen.status.process != before);
    until(&mut vehicle, "stands", |seen| is_latched(seen) && is(seen, State::Standing));
    holds(&mut vehicle);
    // So does everything, in whichever order.
    demo.kill_all();
    let name = ChannelName::new(&demo.namespace, "status_simulation").unwrap();
    assert_eq!(demo.segments(), [name.as_str()]);
    assert!(vehicle.look().is_some_and(|seen| seen.status.latched == 1));
    // Nor does the end of a program that failed, or only watched.
    let fails = ["simulation", "--replay", "/nowhere/at/all", "--namespace", &demo.namespace];
    assert_eq!(Command::new(env!("CARGO_BIN_EXE_lkas")).args(fails).status().unwrap().code(), Some(2));
    assert!(vehicle.look().is_some_and(|seen| seen.status.latched == 1));
    lkas_shm::unlink(&name).unwrap();
}

#[test]
fn a_stop_that_is_released_in_a_pause_ends() {
    let demo = Demo::start("stop-pause", &["--no-viewer"]);
    let mut vehicle = status(&demo, "simulation");
    until(&mut vehicle, "drives", |seen| is(seen, State::Running) && seen.status.vitals.speed_kmh > 5.0);
    for arguments in [&["pause"][..], &["stop"], &["stop", "--release"], &["resume"]] {
        done(&demo, arguments);
    }
    until(&mut vehicle, "drives", |seen| is(seen, State::Running) && seen.status.vitals.speed_kmh > 5.0);
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn a_stop_that_comes_late_is_obeyed_and_a_release_is_not() {
    let namespace = format!("test-{}-late-stop", std::process::id());
    let port = support::free_ports(6);
    let mut broker = Broker::bind(BrokerOptions::new(Endpoint::local(port))).unwrap();
    for action in ["respawn", "emergency_stop", "release_emergency_stop"] {
        broker.register_action(action.parse().unwrap(), |_| {});
    }
    let mut viewer = ViewerClient::connect_to(broker.endpoint(), &[Topic::ActionStatus]).unwrap();
    let mut simulation = Command::new(env!("CARGO_BIN_EXE_lkas"))
        .args(["simulation", "--broadcast", "--namespace", &namespace, "--broker-port", &port.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut ask = |action: &str| {
        let deadline = Instant::now() + PATIENCE;
        viewer.send_action(&action.parse().unwrap()).unwrap();
        while Instant::now() < deadline {
            broker.wait(Duration::from_millis(5));
            broker.poll();
            if let Some(ViewerMessage::ActionStatus(status)) = viewer.next(Duration::from_millis(5)).unwrap() {
                return status.delivered;
            }
        }
        panic!("no answer");
    };
    while !ask("respawn") {}
    let mut vehicle = StatusWatch::new(ChannelName::new(&namespace, "status_simulation").unwrap());
    let suspended = |ask: &mut dyn FnMut(&str) -> bool, action: &str| {
        signal("STOP", simulation.id());
        assert!(ask(action), "the broker can't know that it is suspended");
        std::thread::sleep(Duration::from_millis(2500));
        signal("CONT", simulation.id());
    };
    suspended(&mut ask, "emergency_stop");
    until(&mut vehicle, "latched", is_latched);
    suspended(&mut ask, "release_emergency_stop");
    let says =
        |seen: &Seen, words: &str| seen.status.events.iter().any(|event| event.words.to_string().contains(words));
    let seen = until(&mut vehicle, "refused", |seen| says(seen, "release_emergency_stop came too late"));
    assert!(is_latched(&seen), "{:?}", seen.status);
    signal("TERM", simulation.id());
    assert!(simulation.wait().unwrap().success());
    lkas_shm::unlink(&ChannelName::new(&namespace, "status_simulation").unwrap()).unwrap();
}

#[test]
fn who_does_not_answer_is_said() {
    let namespace = format!("test-{}-nobody", std::process::id());
    let port = support::free_ports(6).to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_lkas"))
        .args(["stop", "--namespace", &namespace, "--broker-port", &port, "--timeout", "0.5"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no broker answers") && said.contains(&port), "{said}");
    // Whatever is wrong with the file of options, it is tried.
    let file = std::env::temp_dir().join(format!("{namespace}.toml"));
    std::fs::write(&file, format!("[sytem]\n[system]\nbroker-port = {port}\n")).unwrap();
    let with_file = |tool: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
        command.args([tool, "--timeout", "0.5", "--namespace", &namespace, "--config"]).arg(&file).output().unwrap()
    };
    let (stop, pause) = (with_file("stop"), with_file("pause"));
    let said = String::from_utf8_lossy(&stop.stderr).into_owned();
    assert!(said.contains("line 1, column 2") && said.contains(&format!("ports {port}")), "{said}");
    assert_eq!((stop.status.code(), pause.status.code()), (Some(1), Some(2)));
    std::fs::remove_file(file).unwrap();
}
