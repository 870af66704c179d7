//! Whoever reads what the processes say can't stop the vehicle: not by reading slowly, not by not reading, not by going.
#![allow(missing_docs)]

mod support;

use lkas::status::{State, Status};
use lkas_messages::{Control, Mode};
use lkas_shm::Plain;
use lkas_shm::{ChannelName, Observer};
use lkas_zmq::{Endpoint, SendError, ViewerClient};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, full_pipe, signal};

/// The newest value, without a reader place.
fn newest<T: Plain>(demo: &Demo, channel: &str) -> Option<T> {
    let name = ChannelName::new(&demo.namespace, channel).unwrap();
    let mut bytes = Vec::new();
    Observer::open(&name).ok()?.copy(&mut bytes).ok()??;
    T::from_bytes(&bytes)
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until_it_drives(demo: &Demo) {
    until("driving", || newest::<Status>(demo, "status_simulation").filter(|status| status.vitals.speed_kmh > 5.0));
}

/// A demo whose standard error is a full pipe.
fn unread(test: &str) -> (Demo, OwnedFd) {
    let (reader, writer) = full_pipe();
    (Demo::with_streams(test, &["--no-viewer"], Stdio::null(), writer.into()), reader)
}

fn end(demo: Demo) {
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn the_vehicle_stops_though_nobody_reads_that_it_does() {
    let (demo, _unread) = unread("full-simulation");
    until_it_drives(&demo);
    let before = newest::<Status>(&demo, "status_simulation").unwrap().vitals.safe_stops;
    demo.kill("decision");
    until("a safe stop, to a standstill", || {
        let status: Status = newest(&demo, "status_simulation")?;
        let stands = status.state == State::Standing.code();
        (status.vitals.safe_stops > before && stands).then_some(())
    });
    end(demo);
}

#[test]
fn an_emergency_stop_is_published_though_nobody_reads_that_it_is() {
    let (demo, unread) = unread("full-decision");
    until_it_drives(&demo);
    let detection = demo.processes("detection")[0];
    signal("STOP", detection);
    until("an emergency stop", || {
        newest::<Control>(&demo, "vehicle_control").filter(|control| control.mode() == Mode::EmergencyStop)
    });
    signal("CONT", detection);
    // What was not lost is there as soon as somebody reads again.
    rustix::io::ioctl_fionbio(&unread, true).unwrap();
    let mut said = String::new();
    until("the words", || {
        let mut some = [0; 4096];
        let count = rustix::io::read(unread.as_fd(), &mut some).unwrap_or(0);
        said.push_str(&String::from_utf8_lossy(&some[..count]));
        said.contains("EMERGENCY STOP").then_some(())
    });
    rustix::io::ioctl_fionbio(&unread, false).unwrap();
    std::thread::spawn(move || File::from(unread).read_to_end(&mut Vec::new()));
    end(demo);
}

#[test]
fn a_demo_whose_reader_goes_ends_in_peace() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let demo = Demo::with_streams("head", &["--no-viewer"], writer.into(), Stdio::piped());
    let lines = BufReader::new(File::from(reader)).lines().take(3).map_while(Result::ok).count();
    assert_eq!(lines, 3);
    // The reader is gone, as `head -3` is. It ends by itself, with success, and leaves nothing.
    let mut demo = demo;
    let said = BufReader::new(demo.child.stderr.take().unwrap());
    demo.finish();
    for line in said.lines().map_while(Result::ok) {
        assert!(!line.contains("panicked"), "{line}");
    }
}

/// What floods a busy machine may be taken for an outage: then it is as after one.
fn in_spite_of_outages(
    viewer: &mut ViewerClient,
    send: impl Fn(&mut ViewerClient) -> Result<String, SendError>,
) -> String {
    loop {
        match send(viewer) {
            Err(SendError::Outage) => drop(viewer.wait_connected(PATIENCE).unwrap()),
            sent => return sent.unwrap(),
        }
    }
}

#[test]
fn a_flood_of_commands_is_no_flood_of_words() {
    let mut demo = Demo::start("flood", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    let mut viewer = ViewerClient::connect_to(&Endpoint::local(demo.broker_port), &[]).unwrap();
    assert!(viewer.wait_connected(PATIENCE).unwrap());
    let respawn = "respawn".parse().unwrap();
    let kp = lkas_messages::names::Category::Decision;
    for number in 0..20_000 {
        in_spite_of_outages(&mut viewer, |viewer| viewer.send_action(&respawn));
        let value = f64::from(number % 100) / 100.0;
        in_spite_of_outages(&mut viewer, |viewer| viewer.send_parameter(kp, "kp", value));
        // As fast as they are taken, so that most arrive.
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // The newest value wins, and it is said.
    until("the last value", || {
        in_spite_of_outages(&mut viewer, |viewer| viewer.send_parameter(kp, "kp", 1.75));
        demo.words
            .try_iter()
            .any(|line| {
                demo.said.push(line.clone());
                line.contains("kp is 1.75")
            })
            .then_some(())
    });
    let said = demo.said.iter().filter(|line| line.contains("respawn") || line.contains("kp is")).count();
    assert!(said < 400, "{said} lines about 40,000 commands");
    let all = demo.said.iter().any(|line| line.contains("times)") || line.contains("changes)"));
    assert!(all, "how often is said");
    end(demo);
}

#[test]
fn who_looks_for_a_fault_is_told_more() {
    let mut demo = Demo::start("verbose", &["--no-viewer", "--verbose"]);
    for words in ["DEBUG demo: decision is process", "DEBUG decision: reads", "values published and"] {
        demo.wait_for(words);
    }
    end(demo);
}
