//! The vehicle's process alone, with a test in the place of detection and decision.
#![allow(missing_docs)]

mod support;

use lkas::status::{State, StatusWatch};
use lkas_messages::{Control, ControlFields, Mode};
use lkas_shm::{ChannelName, ControlChannel, Options, Writer, clock};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{PATIENCE, signal};

struct Vehicle {
    child: Child,
    status: StatusWatch,
    controls: ChannelName,
}

impl Vehicle {
    fn start(test: &str) -> Self {
        let namespace = format!("test-{}-{test}", std::process::id());
        let mut command = Command::new(env!("CARGO_BIN_EXE_simulation"));
        let child = command.args(["--namespace", &namespace]).stdin(Stdio::null()).spawn().unwrap();
        let name = |name| ChannelName::new(&namespace, name).unwrap();
        Self { child, status: StatusWatch::new(name("status_simulation")), controls: name("vehicle_control") }
    }

    fn writer(&self) -> Writer<Control> {
        ControlChannel::create(&self.controls, Options::new()).unwrap()
    }

    /// Sends such controls, if any, until the vehicle says that it is in this state; returns why.
    #[track_caller]
    fn until(&mut self, mut writer: Option<(&mut Writer<Control>, Mode)>, state: State) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some((writer, mode)) = &mut writer {
                let fields = ControlFields { mode: *mode, timestamp: clock::now_seconds(), ..ControlFields::default() };
                writer.publish(Control::try_from(fields).unwrap());
            }
            std::thread::sleep(Duration::from_millis(10));
            if let Some(seen) = self.status.look().filter(|seen| seen.is_current() && seen.status.state == state.code())
            {
                return seen.status.reason.to_string();
            }
        }
        panic!("not {state:?}: {:?}", self.status.look());
    }

    fn end(mut self) {
        signal("TERM", self.child.id());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Vehicle {
    fn drop(&mut self) {
        // After a failure it still runs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_vehicle_that_is_still_asked_to_stop_does_not_say_that_it_drives() {
    let mut vehicle = Vehicle::start("still");
    let mut writer = vehicle.writer();
    vehicle.until(Some((&mut writer, Mode::LaneKeeping)), State::Running);
    vehicle.until(Some((&mut writer, Mode::EmergencyStop)), State::EmergencyStop);
    // Silence in between: its own stop, which ends into what is asked for.
    vehicle.until(None, State::Standing);
    let reason = vehicle.until(Some((&mut writer, Mode::EmergencyStop)), State::EmergencyStop);
    assert!(reason.contains("the decision server asks for it"), "{reason}");
    vehicle.until(Some((&mut writer, Mode::LaneKeeping)), State::Running);
    drop(writer);
    vehicle.end();
}

#[test]
fn whatever_has_the_name_of_the_controls_the_vehicle_is_stopped_and_lives() {
    let mut vehicle = Vehicle::start("foreign");
    let mut writer = vehicle.writer();
    vehicle.until(Some((&mut writer, Mode::LaneKeeping)), State::Running);
    let path = format!("/dev/shm/{}", vehicle.controls);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, [0; 8000]).unwrap();
    drop(writer);
    vehicle.until(None, State::Standing);
    std::thread::sleep(Duration::from_millis(500));
    assert!(vehicle.child.try_wait().unwrap().is_none(), "it ended");
    let seen = vehicle.status.look().unwrap();
    let told = seen.status.events.iter().any(|event| event.words.to_string().contains("vehicle_control"));
    assert!(told, "{:?}", seen.status.events);
    std::fs::remove_file(&path).unwrap();
    let mut writer = vehicle.writer();
    vehicle.until(Some((&mut writer, Mode::LaneKeeping)), State::Running);
    drop(writer);
    vehicle.end();
}
