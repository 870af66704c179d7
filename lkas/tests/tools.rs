//! The tools for people, on channels of this test.
#![allow(missing_docs)]

use lkas::status::StatusWatch;
use lkas_messages::{Control, ControlFields, Mode};
use lkas_shm::{ChannelName, ControlChannel, DetectionChannel, Observer, Options, Writer, unlink};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn namespace(test: &str) -> String {
    format!("tools-{}-{test}", std::process::id())
}

fn tool(namespace: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
    command.args(arguments).args(["--namespace", namespace]).stdin(Stdio::null());
    command
}

fn output(namespace: &str, arguments: &[&str]) -> Output {
    tool(namespace, arguments).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn control(steering: f32, frame_id: u64) -> Control {
    let fields = ControlFields { mode: Mode::LaneKeeping, steering, brake: 0.0, frame_id, ..ControlFields::default() };
    Control::try_from(fields).unwrap()
}

/// A channel on which about 200 values a second are published, until it is dropped.
struct Publishing {
    name: ChannelName,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publishing {
    fn start(namespace: &str) -> Self {
        let name = ChannelName::new(namespace, "vehicle_control").unwrap();
        let mut writer: Writer<Control> = ControlChannel::create(&name, Options::default()).unwrap();
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                writer.publish(control(-0.25, writer.sequence() + 1));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { name, end, thread: Some(thread) }
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = unlink(&self.name);
    }
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
fn channels_shows_what_every_channel_does() {
    let namespace = namespace("channels");
    let publishing = Publishing::start(&namespace);
    let reader = ControlChannel::open(&publishing.name, Duration::ZERO).unwrap();
    let printed = output(&namespace, &["channels", "--json"]);
    let rows: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let row = &rows[0];
    assert_eq!((row["channel"].as_str(), row["type"].as_str()), (Some(publishing.name.as_str()), Some("lkas.Control")));
    assert_eq!((row["state"].as_str(), row["writer_pid"].as_u64()), (Some("fresh"), Some(std::process::id().into())));
    assert_eq!((row["readers"].as_u64(), row["reader_places"].as_u64()), (Some(1), Some(4)));
    assert!(row["rate_hz"].as_f64().is_some_and(|rate| (20.0..=200.0).contains(&rate)), "{row}");
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "the channels of other systems are not shown");

    let table = text(&output(&namespace, &["channels"]));
    assert!(table.starts_with("CHANNEL") && table.contains("1 of 4") && table.contains("64 B"), "{table}");
    drop((reader, publishing));
    assert!(text(&output(&namespace, &["channels"])).contains("lkas demo"), "what to do where there is none");
}

#[test]
fn a_writer_that_was_killed_is_told_from_one_that_left() {
    let namespace = namespace("gone");
    let name = ChannelName::new(&namespace, "vehicle_control").unwrap();
    let mut writer = ControlChannel::create(&name, Options::default()).unwrap();
    writer.publish(control(0.0, 1));
    drop(writer);
    let state = || {
        let rows: Value = serde_json::from_slice(&output(&namespace, &["channels", "--json"]).stdout).unwrap();
        rows[0]["state"].as_str().map(str::to_owned)
    };
    assert_eq!(state().as_deref(), Some("writer left"));
    unlink(&name).unwrap();
    // Killed, it has no time to say farewell.
    let mut child = Running(tool(&namespace, &["simulation"]).stderr(Stdio::null()).spawn().unwrap());
    let camera = ChannelName::new(&namespace, "camera_feed").unwrap();
    let mut reader = lkas_shm::ImageChannel::open(&camera, Duration::from_secs(30)).unwrap();
    assert_eq!(reader.wait(Duration::from_secs(30)), lkas_shm::Wait::Fresh);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    assert_eq!(state().as_deref(), Some("WRITER GONE"));
    drop(reader);
    assert!(text(&output(&namespace, &["clean"])).contains("camera_feed: removed"));
}

#[test]
fn top_goes_on_until_it_is_ended() {
    let namespace = namespace("top");
    let _publishing = Publishing::start(&namespace);
    let mut command = tool(&namespace, &["top", "--every", "0.1"]);
    let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let tables = lines.filter(|line| line.starts_with("CHANNEL")).take(3).count();
    assert_eq!(tables, 3);
    assert!(!output(&namespace, &["top", "--every", "0"]).status.success());
}

#[test]
fn top_lists_a_viewer_that_was_killed_as_ended_with_its_last_event() {
    let namespace = namespace("ended");
    let row = || {
        let mut command = tool(&namespace, &["top", "--every", "0.1"]);
        let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let table: Vec<_> = lines.take_while(|line| !line.starts_with("CHANNEL")).collect();
        table.into_iter().find(|line| line.starts_with("viewer "))
    };
    assert_eq!(row(), None, "there may be one elsewhere");
    // No broker is on that port, and nobody looks after the viewer.
    let options = ["viewer", "--port", "0", "--broker-port", "1"];
    let mut viewer = Running(tool(&namespace, &options).stderr(Stdio::null()).spawn().unwrap());
    let mut status = StatusWatch::new(ChannelName::new(&namespace, "status_viewer").unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    while status.look().is_none_or(|seen| seen.status.reason.to_string().is_empty()) {
        assert!(Instant::now() < deadline, "{:?}", status.look());
        std::thread::sleep(Duration::from_millis(20));
    }
    viewer.0.kill().unwrap();
    viewer.0.wait().unwrap();
    let row = row().expect("a row for what has been seen");
    assert!(row.starts_with("viewer     ENDED ") && row.contains("waiting; nothing comes"), "{row}");
    assert!(text(&output(&namespace, &["clean"])).contains("status_viewer: removed"));
}

#[test]
fn top_on_a_terminal_ends_with_q() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let namespace = namespace("keys");
    let _publishing = Publishing::start(&namespace);
    let own = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&own).unwrap();
    unlockpt(&own).unwrap();
    let path = ptsname(&own, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::options().read(true).write(true).open(path).unwrap();
    let mut command = tool(&namespace, &["top", "--every", "0.1"]);
    command.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(Stdio::null());
    let mut child = Running(command.spawn().unwrap());
    // The terminal hangs up when the last one who has it is gone.
    drop((command, terminal));
    let mut own = File::from(own);
    let (mut shown, mut bytes) = (String::new(), [0; 4096]);
    while !shown.contains("vehicle_control") || !shown.contains("by name;") {
        let count = own.read(&mut bytes).unwrap();
        shown += &String::from_utf8_lossy(&bytes[..count]);
    }
    own.write_all(b"r").unwrap();
    while !shown.contains("by rate;") {
        let count = own.read(&mut bytes).unwrap();
        shown += &String::from_utf8_lossy(&bytes[..count]);
    }
    own.write_all(b"q").unwrap();
    // What it still writes is read, so that it never waits for this terminal.
    let reader = std::thread::spawn(move || while own.read(&mut bytes).is_ok_and(|count| count > 0) {});
    assert!(child.0.wait().unwrap().success());
    reader.join().unwrap();
}

#[test]
fn a_system_of_another_user_is_there_and_closed() {
    use std::os::unix::process::CommandExt;
    let namespace = namespace("foreign");
    let publishing = Publishing::start(&namespace);
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can look as another user");
        return;
    }
    // Where anybody may run it from.
    let program = std::env::temp_dir().join(format!("{namespace}-lkas"));
    std::fs::copy(env!("CARGO_BIN_EXE_lkas"), &program).unwrap();
    let other = |tool: &str| {
        let mut command = Command::new(&program);
        text(&command.args([tool, "--namespace", &namespace]).current_dir("/").uid(65534).gid(65534).output().unwrap())
    };
    for said in ["channels", "doctor"].map(other) {
        assert!(said.contains("there is a system that you may not look into"), "{said}");
        assert!(said.contains(publishing.name.as_str()) && !said.contains("no channels"), "{said}");
    }
    let mut command = Command::new(&program);
    command.args(["param", "list", "--namespace", &namespace]).current_dir("/").uid(65534).gid(65534);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("there is a system that you may not look into"), "{said}");
    std::fs::remove_file(program).unwrap();
}

#[test]
fn hz_says_what_a_window_brought_as_json() {
    let namespace = namespace("window");
    let _publishing = Publishing::start(&namespace);
    let mut command = tool(&namespace, &["hz", "vehicle_control", "--window", "0.3", "--json"]);
    let mut child = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(line["channel"].as_str(), Some(&*format!("{namespace}.vehicle_control")));
    assert!(line["rate_hz"].as_f64().is_some_and(|rate| rate > 1.0) && line["values"].as_u64() > Some(1), "{line}");
}

#[test]
fn hz_waits_for_its_channel_and_measures_it() {
    let namespace = namespace("hz");
    let mut command = tool(&namespace, &["hz", "vehicle_control"]);
    let mut child = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    BufReader::new(child.0.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("waiting for") && said.contains("vehicle_control"), "{said}");
    let _publishing = Publishing::start(&namespace);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("/s")).unwrap();
    assert!(line.contains("ms to") && line.ends_with("ms apart"), "{line}");
}

#[test]
fn echo_prints_the_fields_of_any_channel() {
    let namespace = namespace("echo");
    let _publishing = Publishing::start(&namespace);
    let printed = text(&output(&namespace, &["echo", "vehicle_control", "--json", "--count", "3"]));
    let values: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values.len(), 3);
    for value in &values {
        let fields = &value["fields"];
        assert_eq!((value["type"].as_str(), fields["steering"].as_f64()), (Some("lkas.Control"), Some(-0.25)));
        assert_eq!(fields["frame_id"], value["sequence"], "a whole value");
        assert!(fields["lateral_offset"].is_null(), "what has no value is null");
    }
    let printed = text(&output(&namespace, &["echo", "vehicle_control", "--count", "1"]));
    assert!(printed.starts_with("lkas.Control #") && printed.contains("\n  steering"), "{printed}");
    assert!(printed.lines().any(|line| line.trim_start().starts_with("lateral_offset_m") && line.ends_with("- m")));
}

#[test]
fn echo_takes_no_reader_place() {
    let namespace = namespace("places");
    let publishing = Publishing::start(&namespace);
    let mut places = Vec::new();
    while let Ok(reader) = ControlChannel::open(&publishing.name, Duration::ZERO) {
        places.push(reader);
    }
    assert_eq!(places.len(), 4, "all are taken");
    let printed = output(&namespace, &["echo", "vehicle_control", "--field", "steering", "--count", "2"]);
    assert_eq!(text(&printed), "-0.25\n-0.25\n");
    drop(places);
    let mut child = Running(tool(&namespace, &["echo", "vehicle_control"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("steering")), "it prints");
    let taken = lkas_shm::Observer::open(&publishing.name).unwrap().look().readers;
    assert!(taken.iter().all(|reader| !reader.taken), "{taken:?}");
    let unknown = output(&namespace, &["echo", "vehicle_control", "--field", "wheels", "--once"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && said.contains("wheels") && said.contains("steering"), "{said}");
}

#[test]
fn clean_removes_what_nobody_uses_and_nothing_else() {
    let namespace = namespace("clean");
    let used = Publishing::start(&namespace);
    let unused = ChannelName::new(&namespace, "lane_detection").unwrap();
    drop(ControlChannel::create(&unused, Options::default()).unwrap());
    let other = format!("/dev/shm/{namespace}.no_channel");
    std::fs::write(&other, "something else").unwrap();

    let printed = text(&output(&namespace, &["clean", "--dry-run"]));
    assert!(printed.contains("lane_detection: would be removed"), "{printed}");
    assert!(ControlChannel::open(&unused, Duration::ZERO).is_ok(), "nothing was removed");
    let printed = text(&output(&namespace, &["clean"]));
    assert!(printed.contains("lane_detection: removed") && printed.contains("vehicle_control: in use"), "{printed}");
    assert!(ControlChannel::open(&unused, Duration::ZERO).is_err());
    assert!(ControlChannel::open(&used.name, Duration::ZERO).is_ok());
    std::fs::remove_file(other).expect("what is no channel stays");
}

#[test]
fn doctor_says_what_is_in_the_way_and_what_to_do() {
    let namespace = namespace("doctor");
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port().min(65530).to_string();
    let found = output(&namespace, &["doctor", "--broker-port", &port]);
    let printed = text(&found);
    assert!(printed.contains("shared memory:") && printed.contains("monotonic clock"), "{printed}");
    assert!(printed.contains("BAD   of the broker's ports") && printed.contains("--broker-port"), "{printed}");
    assert!(!found.status.success());
}

#[test]
fn doctor_finds_channels_that_cannot_be_used() {
    let namespace = namespace("broken");
    type Damage = fn(&File);
    let damage: [(&str, Damage, &str); 3] = [
        ("holes", |file| file.set_len(4096).and_then(|()| file.set_len(12288)).unwrap(), "4096 of its 12288 bytes"),
        ("short", |file| file.set_len(8192).unwrap(), "8192 bytes, expected 12288"),
        ("version", |file| file.write_all_at(&[9], 8).unwrap(), "version 9"),
    ];
    let path = |what: &str| format!("/dev/shm/{namespace}.{what}");
    let said = || text(&output(&namespace, &["doctor"]));
    for (what, damage, _) in damage {
        let name = ChannelName::new(&namespace, what).unwrap();
        drop(ControlChannel::create(&name, Options::default()).unwrap());
        damage(&File::options().write(true).open(path(what)).unwrap());
    }
    std::fs::write(path("other"), "no channel").unwrap();
    let printed = said();
    for (what, _, words) in damage {
        let line = printed.lines().position(|line| line.starts_with(&format!("note  channel {namespace}.{what}: ")));
        let mut lines = printed.lines().skip(line.unwrap_or_else(|| panic!("no {what} in {printed}")));
        assert!(lines.next().is_some_and(|line| line.contains(words)), "{words} is not in {printed}");
        assert_eq!(lines.next(), Some(&*format!("      -> rm {}", path(what))), "{printed}");
        std::fs::remove_file(path(what)).unwrap();
    }
    assert!(!printed.contains(&path("other")), "{printed}");
    // Unless it is in the way of a channel of the system.
    std::fs::rename(path("other"), path("camera_feed")).unwrap();
    let printed = said();
    let line = format!("BAD   {namespace}.camera_feed: it has 10 bytes");
    assert!(printed.contains(&line) && printed.contains(&format!("      -> rm {}", path("camera_feed"))), "{printed}");
    std::fs::remove_file(path("camera_feed")).unwrap();
    assert!(!said().contains(&namespace), "and nothing more to do");
}

#[test]
fn doctor_names_channels_whose_name_vanished_and_modes_that_let_somebody_only_look() {
    let namespace = namespace("vanished");
    let path = |what: &str| format!("/dev/shm/{namespace}.{what}");
    let create =
        |what| ControlChannel::create(&ChannelName::new(&namespace, what).unwrap(), Options::default()).unwrap();
    let (_held, _uneven) = (create("held"), create("uneven"));
    let seen: ChannelName = format!("{namespace}.seen").parse().unwrap();
    drop(DetectionChannel::create(&seen, Options::default()).unwrap());
    let _observer = Observer::open(&seen).unwrap();
    let mine = format!("process {} ", std::process::id());
    let said = || text(&output(&namespace, &["doctor"]));
    assert!(!said().contains(&mine), "all have their names");
    std::fs::remove_file(path("held")).unwrap();
    std::fs::remove_file(path("seen")).unwrap();
    std::fs::set_permissions(path("uneven"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let printed = said();
    let line = printed.lines().find(|line| line.contains(&mine)).unwrap_or_else(|| panic!("{printed}"));
    assert!(line.contains("lkas.Control") && line.contains("its name was removed"), "{line}");
    let watched = |line: &&str| line.contains(&mine) && line.contains("lkas.Detection");
    assert_eq!(printed.lines().find(watched), None, "who only looks on waits for nobody");
    assert!(printed.contains("RemoveIPC"), "{printed}");
    assert!(printed.contains(&format!("channel {namespace}.uneven: its mode is 644")), "{printed}");
    std::fs::remove_file(path("uneven")).unwrap();
}

#[test]
fn who_stops_reading_ends_a_tool_quietly() {
    let namespace = namespace("pipe");
    let _publishing = Publishing::start(&namespace);
    for arguments in [&["channels"][..], &["top", "--every", "0.1"], &["echo", "vehicle_control"]] {
        let mut child = tool(&namespace, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(child.wait().unwrap().success() && said.is_empty(), "{arguments:?}: {said}");
    }
}
