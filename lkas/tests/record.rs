//! Recordings: of real processes, that die, and played to real ones.
#![allow(missing_docs)]

mod support;

use lkas_messages::{Control, ControlFields, ImageShape, Mode, PixelFormat};
use lkas_shm::{
    Channel, ChannelName, Contract, ControlChannel, ImageChannel, Message, Observer, Options, Plain, Wait, Writer,
    unlink,
};
use lkas_zmq::{Endpoint, ViewerClient, ViewerMessage};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, signal};

/// A folder of this test's own, which is gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("record-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is ended, and the channels of its namespace with it, however a test ends.
struct Running {
    child: Child,
    namespace: String,
}

impl Running {
    fn end(&mut self, how: &str) -> std::process::ExitStatus {
        signal(how, self.child.id());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal("TERM", self.child.id());
            let _ = self.child.wait();
        }
        let _ = run(&self.namespace, &["clean"]);
    }
}

fn namespace(test: &str) -> String {
    format!("record-{}-{test}", std::process::id())
}

fn command(namespace: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
    command.args(arguments).args(["--namespace", namespace]).stdin(Stdio::null());
    command
}

fn start(namespace: &str, arguments: &[&str]) -> Running {
    Running { child: command(namespace, arguments).spawn().unwrap(), namespace: namespace.to_owned() }
}

fn run(namespace: &str, arguments: &[&str]) -> Output {
    command(namespace, arguments).output().unwrap()
}

fn words(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn info(file: &str) -> Value {
    let output = run("none", &["info", file, "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", words(&output)))
}

fn channel<'a>(info: &'a Value, name: &str) -> &'a Value {
    info["channels"].as_array().unwrap().iter().find(|row| row["channel"] == name).unwrap_or_else(|| panic!("{info:#}"))
}

/// Waits until the file has values of this channel in it.
fn wait_for_values(file: &str, name: &str, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    while info_values(file, name) < count {
        assert!(Instant::now() < deadline, "{}", words(&run("none", &["info", file, "--json"])));
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How many values of a channel are in a file, which may not be there yet.
fn info_values(file: &str, name: &str) -> u64 {
    let found: Value = serde_json::from_slice(&run("none", &["info", file, "--json"]).stdout).unwrap_or_default();
    let rows = found["channels"].as_array().cloned().unwrap_or_default();
    rows.iter().find(|row| row["channel"] == name).and_then(|row| row["values"].as_u64()).unwrap_or(0)
}

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Wheel {
    #[message(unit = "s")]
    timestamp: f64,
    #[message(unit = "rad/s")]
    rate: f64,
}

const CONTRACT: Contract = match Contract::new(Duration::from_millis(100), Duration::from_millis(250)) {
    Ok(contract) => contract,
    Err(_) => panic!("no contract"),
};

fn create<T: Message + Plain>(namespace: &str, name: &str) -> Writer<T> {
    let name = ChannelName::new(namespace, name).unwrap();
    Channel::create(&name, Options::new().readers(3).contract(CONTRACT)).unwrap()
}

fn control(frame_id: u64, timestamp: f64) -> Control {
    let fields =
        ControlFields { mode: Mode::LaneKeeping, steering: 0.25, frame_id, timestamp, ..ControlFields::default() };
    Control::try_from(fields).unwrap()
}

#[test]
fn what_was_recorded_is_played_as_it_was_but_for_the_time() {
    let (namespace, folder) = (namespace("play"), Folder::new("play"));
    let file = folder.file("drive.mcap");
    let mut wheels: Writer<Wheel> = create(&namespace, "wheels");
    let mut controls: Writer<Control> = create(&namespace, "vehicle_control");
    let camera = ChannelName::new(&namespace, "camera_feed").unwrap();
    let shape = ImageShape::new(64, 48, PixelFormat::Bgr8).unwrap();
    let mut frames = ImageChannel::create(&camera, shape, Options::new()).unwrap();
    let pixels: Vec<u8> = (0..shape.pixel_bytes()).map(|place| (place % 251) as u8).collect();
    let mut recorder = start(&namespace, &["record", "-o", &file, "--frames", "raw"]);
    // Again and again, as the recorder takes its time to begin.
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0;
    let mut stamps = vec![0.0];
    while number < 60 || !Path::new(&file).exists() {
        number += 1;
        let now = lkas_shm::clock::now_seconds();
        stamps.push(now);
        wheels.publish(Wheel { timestamp: now, rate: number as f64 });
        controls.publish(control(number, now));
        frames.write(number, now, &pixels).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(Instant::now() < deadline);
    }
    wait_for_values(&file, "wheels", 5);
    let ended = lkas_shm::clock::now_seconds();
    assert!(recorder.end("INT").success());
    drop((wheels, controls, frames));
    let found = info(&file);
    assert_eq!(found["whole"], true, "{found:#}");
    let row = channel(&found, "wheels");
    assert_eq!((row["type"].as_str(), row["max_age_s"].as_f64()), (Some("Wheel"), Some(0.25)));
    assert_eq!(channel(&found, "camera_feed")["shape"], "64x48 Bgr8");
    for name in ["wheels", "vehicle_control", "camera_feed"] {
        unlink(&ChannelName::new(&namespace, name).unwrap()).unwrap();
    }

    // All times are later by as much as play began after the recording did, which is more than this.
    let pause = lkas_shm::clock::now_seconds() - ended;
    let is_moved = |timestamp: f64, number: u64| timestamp - stamps[number as usize] > pause;
    // Again and again, so that it is there however long this takes.
    let mut player = start(&namespace, &["play", &file, "--loop"]);
    let name = |name: &str| ChannelName::new(&namespace, name).unwrap();
    let mut frames = ImageChannel::open(&name("camera_feed"), PATIENCE).unwrap();
    let mut controls = ControlChannel::open(&name("vehicle_control"), PATIENCE).unwrap();
    let mut wheels = Channel::<Wheel>::open(&name("wheels"), PATIENCE).unwrap();
    assert_eq!(wheels.contract(), Ok(Some(CONTRACT)), "what was promised is promised again");
    assert_eq!(wheels.wait(PATIENCE), Wait::Fresh);
    let wheel = wheels.take().unwrap();
    let lag = wheel.time() as f64 * 1e-9 - wheel.timestamp;
    assert!(lag > -0.001, "it was stamped before it was published, as then: {lag} s");
    assert!(is_moved(wheel.timestamp, wheel.rate as u64), "and not when it was recorded");
    assert_eq!(controls.wait(PATIENCE), Wait::Fresh);
    let control = controls.take().unwrap();
    assert!(control.is_whole() && control.steering() == 0.25);
    assert!(
        is_moved(control.timestamp(), control.frame_id())
            && control.timestamp() <= control.time() as f64 * 1e-9 + 0.001
    );
    assert_eq!(frames.wait(PATIENCE), Wait::Fresh);
    let frame = frames.take().unwrap();
    assert!(frame.is_whole());
    assert_eq!((frame.shape(), frame.view().unwrap().pixels()), (Some(shape), pixels.as_slice()));
    assert!(is_moved(frame.timestamp(), frame.frame_id()) && frame.timestamp() <= frame.time() as f64 * 1e-9 + 0.001);

    // Somebody else can't play into what has a writer.
    let refused = run(&namespace, &["play", &file, "--topics", "wheels"]);
    let said = words(&refused);
    assert!(
        !refused.status.success() && said.contains(&player.child.id().to_string()) && said.contains("--topics"),
        "{said}"
    );
    player.end("INT");
}

#[test]
fn of_a_recorder_that_was_killed_the_file_is_there() {
    let folder = Folder::new("killed");
    let file = folder.file("drive.mcap");
    let demo = Demo::start("killed", &["--no-viewer"]);
    demo.drive(10);
    let mut recorder = start(&demo.namespace, &["record", "-o", &file]);
    wait_for_values(&file, "camera_feed", 60);
    wait_for_values(&file, "vehicle_control", 20);
    let places = |name: &str| Observer::open(&ChannelName::new(&demo.namespace, name).unwrap()).unwrap().look().readers;
    assert!(places("camera_feed")[2..].iter().any(|place| place.taken), "a place of frames that is not reserved");
    assert!(places("vehicle_control")[2..].iter().all(|place| !place.taken), "of small values none");
    assert!(!recorder.end("KILL").success());
    let found = info(&file);
    assert_eq!(found["whole"], false);
    for name in ["lane_detection", "status_simulation", "status_decision", "vehicle_motion"] {
        assert!(channel(&found, name)["values"].as_u64() > Some(1), "{found:#}");
    }
    assert_eq!(channel(&found, "camera_feed")["encoding"], "jpeg");
    // Cut anywhere, it is read up to there.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(folder.0.join("cut.mcap"), &bytes[..bytes.len() / 2]).unwrap();
    let cut = info(&folder.file("cut.mcap"));
    let values = |info: &Value| channel(info, "camera_feed")["values"].as_u64().unwrap();
    assert!((1..values(&found)).contains(&values(&cut)), "{cut:#}");
    demo.stop();
}

/// Frames that a vehicle saw while it drove, as a recording of raw ones.
fn recorded_frames(folder: &Folder, test: &str) -> String {
    let file = folder.file("frames.mcap");
    let demo = Demo::start(test, &["--no-viewer"]);
    demo.drive(60);
    let mut recorder = start(&demo.namespace, &["record", "camera_feed", "-o", &file, "--frames", "raw"]);
    wait_for_values(&file, "camera_feed", 30);
    assert!(recorder.end("INT").success());
    demo.stop();
    file
}

/// Plays in lockstep to a detection that is started anew.
fn lockstep(namespace: &str, file: &str, answers: &str, from: &str) -> Output {
    let mut detection = start(namespace, &["detection"]);
    let output = run(namespace, &["play", file, "--lockstep", "-o", answers, "--from", from]);
    detection.end("TERM");
    output
}

#[test]
fn in_lockstep_detection_finds_the_same_bit_for_bit() {
    let folder = Folder::new("lockstep");
    let (file, namespace) = (recorded_frames(&folder, "frames"), namespace("lockstep"));
    let recorded = channel(&info(&file), "camera_feed")["values"].as_u64();
    let [a, b, other] = ["a.mcap", "b.mcap", "other.mcap"].map(|name| folder.file(name));
    for (answers, from) in [(&a, "0"), (&b, "0"), (&other, "0.3")] {
        let played = lockstep(&namespace, &file, answers, from);
        assert!(played.status.success(), "{}", words(&played));
    }
    assert_eq!(channel(&info(&a), "lane_detection")["values"].as_u64(), recorded, "every frame is answered");
    let same = run("none", &["compare", &a, &b]);
    assert!(same.status.success(), "{}", words(&same));
    assert!(words(&same).contains(&format!("{} values are the same", recorded.unwrap())));
    // Answers to other frames are others, and the comparison sees it.
    let different = run("none", &["compare", &a, &other]);
    assert_eq!(different.status.code(), Some(1), "{}", words(&different));
    assert!(words(&different).contains("lane_detection value "), "{}", words(&different));
}

#[test]
fn frames_that_detection_may_have_seen_before_are_refused_in_lockstep() {
    let folder = Folder::new("seen");
    let (file, namespace) = (recorded_frames(&folder, "frames-seen"), namespace("seen"));
    let name = ChannelName::new(&namespace, "camera_feed").unwrap();
    let shape = ImageShape::new(800, 600, PixelFormat::Rgb8).unwrap();
    // As the player creates it.
    let mut writer = ImageChannel::create(&name, shape, Options::new().readers(4).reserved(2)).unwrap();
    writer.write(1, 0.5, &vec![0; shape.pixel_bytes()]).unwrap();
    let reader = ImageChannel::open(&name, Duration::ZERO).unwrap();
    drop(writer);
    let refused = run(&namespace, &["play", &file, "--lockstep"]);
    assert!(!refused.status.success() && words(&refused).contains("had frames before"), "{}", words(&refused));
    drop(reader);
    let _ = unlink(&name);
}

#[test]
fn files_that_are_no_recordings_are_refused_by_name() {
    let folder = Folder::new("refused");
    let file = folder.file("text.mcap");
    std::fs::write(&file, "no recording").unwrap();
    let no_file = folder.file("missing.mcap");
    for file in [&file, &no_file] {
        for arguments in [&["info", file][..], &["play", file], &["compare", file, file]] {
            let refused = run("none", arguments);
            assert!(!refused.status.success() && words(&refused).contains(file.as_str()), "{}", words(&refused));
        }
    }
    // Nothing is overwritten.
    let refused = run("none", &["record", "-o", &file]);
    assert!(!refused.status.success() && words(&refused).contains("already"), "{}", words(&refused));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "no recording");
}

#[test]
fn a_channel_that_was_named_and_is_not_there_is_an_error() {
    let (namespace, folder) = (namespace("missing"), Folder::new("missing"));
    let file = folder.file("drive.mcap");
    let mut wheels: Writer<Wheel> = create(&namespace, "wheels");
    let mut recorder = start(&namespace, &["record", "wheels", "wheeels", "-o", &file]);
    let deadline = Instant::now() + PATIENCE;
    while !Path::new(&file).exists() || info_values(&file, "wheels") < 10 {
        assert!(Instant::now() < deadline, "nothing is recorded");
        wheels.publish(Wheel { timestamp: 0.0, rate: 1.0 });
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(recorder.end("INT").code(), Some(2), "nothing came of wheeels");
    drop(wheels);
    let _ = unlink(&ChannelName::new(&namespace, "wheels").unwrap());
    for arguments in [&["compare", &file, &file][..], &["play", &file, "--rate", "100"]] {
        let good = run(&namespace, &[arguments, &["--topics", "wheels"]].concat());
        assert!(good.status.success(), "{}", words(&good));
        let refused = run(&namespace, &[arguments, &["--topics", "wheels,wheeels"]].concat());
        assert_eq!(refused.status.code(), Some(2), "{}", words(&refused));
        assert!(words(&refused).contains("wheeels"), "{}", words(&refused));
    }
}

#[test]
fn a_recording_that_is_removed_or_cut_is_none() {
    let namespace = namespace("gone");
    let mut wheels: Writer<Wheel> = create(&namespace, "wheels");
    for cut in [false, true] {
        let folder = Folder::new("gone");
        let file = folder.file("drive.mcap");
        let mut recorder = start(&namespace, &["record", "-o", &file]);
        let deadline = Instant::now() + PATIENCE;
        let mut spoilt = false;
        let status = loop {
            wheels.publish(Wheel { timestamp: 0.0, rate: 1.0 });
            std::thread::sleep(Duration::from_millis(5));
            if !spoilt && Path::new(&file).exists() && info_values(&file, "wheels") > 10 {
                spoilt = true;
                if cut {
                    std::fs::File::create(&file).unwrap();
                } else {
                    std::fs::remove_file(&file).unwrap();
                }
            }
            if let Some(status) = recorder.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it goes on for ever");
        };
        assert_eq!(status.code(), Some(2), "cut: {cut}");
    }
    drop(wheels);
    unlink(&ChannelName::new(&namespace, "wheels").unwrap()).unwrap();
}

/// To a program a limit on the size of files is what a full disk is.
#[test]
fn a_full_disk_ends_the_recording_which_is_read_up_to_there() {
    let (namespace, folder) = (namespace("full"), Folder::new("full"));
    let file = folder.file("drive.mcap");
    let mut wheels: Writer<Wheel> = create(&namespace, "wheels");
    let limited = r#"trap "" XFSZ; ulimit -f 200; exec "$0" "$@""#;
    let mut recorder = Command::new("sh");
    recorder.args(["-c", limited, env!("CARGO_BIN_EXE_lkas"), "record", "-o", &file, "--namespace", &namespace]);
    let mut recorder = recorder.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        wheels.publish(Wheel { timestamp: 0.0, rate: 1.0 });
        std::thread::sleep(Duration::from_millis(1));
        if let Some(status) = recorder.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on for ever");
    };
    let mut said = String::new();
    recorder.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!status.success() && said.contains(&file) && said.contains("File too large"), "{status}: {said}");
    let found = info(&file);
    assert!(found["whole"] == false && channel(&found, "wheels")["values"].as_u64() > Some(0), "{found:#}");
    drop(wheels);
    unlink(&ChannelName::new(&namespace, "wheels").unwrap()).unwrap();
    // One that is full from the start is named as well.
    let (other, none) = (folder.file("other.mcap"), r#"trap "" XFSZ; ulimit -f 0; exec "$0" "$@""#);
    let arguments = ["-c", none, env!("CARGO_BIN_EXE_lkas"), "record", "-o", &other, "--namespace", &namespace];
    let ended = Command::new("sh").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains(&other) && said.contains("File too large"), "{said}");
}

#[test]
fn a_recording_goes_on_in_further_files() {
    let (namespace, folder) = (namespace("split"), Folder::new("split"));
    let file = folder.file("drive.mcap");
    let mut wheels: Writer<Wheel> = create(&namespace, "wheels");
    let mut recorder = start(&namespace, &["record", "-o", &file, "--split-time", "1"]);
    let third = folder.file("drive-3.mcap");
    let deadline = Instant::now() + PATIENCE;
    while !Path::new(&third).exists() {
        wheels.publish(Wheel { timestamp: 0.0, rate: 1.0 });
        std::thread::sleep(Duration::from_millis(5));
        assert!(Instant::now() < deadline);
    }
    assert!(recorder.end("INT").success());
    for name in ["drive.mcap", "drive-2.mcap"] {
        let found = info(&folder.file(name));
        assert!(found["whole"] == true && channel(&found, "wheels")["values"].as_u64() > Some(0), "{found:#}");
    }
    drop(wheels);
    unlink(&ChannelName::new(&namespace, "wheels").unwrap()).unwrap();
}

/// A message as others read it: topic, schema and JSON.
type Shown = (String, String, Value);

fn shown(file: &str) -> Vec<Shown> {
    let bytes = std::fs::read(file).unwrap();
    let messages = mcap::MessageStream::new(&bytes).unwrap().map(|message| message.unwrap());
    let of_others = messages.filter(|message| message.channel.message_encoding == "json");
    of_others
        .map(|message| {
            let schema = message.channel.schema.as_ref().unwrap();
            assert_eq!(schema.encoding, "jsonschema");
            let schema_is: Value = serde_json::from_slice(&schema.data).unwrap();
            let value: Value = serde_json::from_slice(&message.data).unwrap();
            for required in schema_is["required"].as_array().into_iter().flatten() {
                assert!(value.get(required.as_str().unwrap()).is_some(), "{required} is missing in {value}");
            }
            (message.channel.topic.clone(), schema.name.clone(), value)
        })
        .collect()
}

#[test]
fn other_programs_see_frames_lanes_events_and_values() {
    let folder = Folder::new("shown");
    let file = folder.file("drive.mcap");
    let mut demo = Demo::start("shown", &["--no-viewer"]);
    demo.drive(10);
    let mut recorder = start(&demo.namespace, &["record", "-o", &file]);
    wait_for_values(&file, "camera_feed", 20);
    wait_for_values(&file, "vehicle_control", 20);
    wait_for_values(&file, "status_simulation", 2);
    // What is refused is in the recording as well.
    let mut viewer = ViewerClient::connect(&Endpoint::local(demo.broker_port)).unwrap();
    viewer.send_action(&"fly".parse().unwrap()).unwrap();
    let answered = (0..).find(|_| {
        matches!(viewer.next(Duration::from_millis(10)).unwrap(), Some(ViewerMessage::ActionStatus(status)) if status.action == "fly")
    });
    assert!(answered.is_some());
    demo.wait_for("refused 1 action: ");
    assert!(recorder.end("INT").success());
    demo.stop();
    let shown = shown(&file);
    let of = |topic: &str| shown.iter().filter(|shown| shown.0 == topic).collect::<Vec<_>>();
    for (topic, schema) in [
        ("camera_feed", "foxglove.CompressedImage"),
        ("/lanes", "foxglove.ImageAnnotations"),
        ("/events", "foxglove.Log"),
        ("/vehicle_control", "lkas.Control"),
        ("/status_simulation", "lkas.Status"),
    ] {
        let found = of(topic);
        assert!(!found.is_empty() && found.iter().all(|shown| shown.1 == schema), "{topic}: {found:?}");
    }
    let frame = &of("camera_feed")[0].2;
    assert!(frame["format"] == "jpeg" && frame["data"].as_str().unwrap().starts_with("/9j/"), "a JPEG in base64");
    let time = |value: &Value| value["timestamp"].clone();
    let frames: Vec<Value> = of("camera_feed").iter().map(|shown| time(&shown.2)).collect();
    let drawn = of("/lanes").into_iter().filter(|shown| frames.contains(&time(&shown.2["points"][0]))).count();
    assert!(drawn > 0, "lanes have the time of the frame that they were found in");
    for (process, words) in
        [("simulation", "running"), ("broker", "refused 1 action: nobody registered the action \"fly\"")]
    {
        let is_told = |event: &Value| {
            event["name"].as_str().unwrap().contains(process) && event["message"].as_str().unwrap().contains(words)
        };
        assert!(of("/events").iter().any(|shown| is_told(&shown.2)), "{process}: {:?}", of("/events"));
    }
}

#[test]
fn what_is_played_may_be_faster_and_begin_again() {
    let (namespace, folder) = (namespace("loop"), Folder::new("loop"));
    let file = folder.file("drive.mcap");
    let mut wheels: Writer<Wheel> = create(&namespace, "wheels");
    let mut recorder = start(&namespace, &["record", "-o", &file]);
    let deadline = Instant::now() + PATIENCE;
    let mut written = 0;
    // Half a second of them, so that a recording is there to be played.
    while info_values(&file, "wheels") < 20 {
        written += 1;
        wheels.publish(Wheel { timestamp: 0.0, rate: f64::from(written) });
        std::thread::sleep(Duration::from_millis(20));
        assert!(Instant::now() < deadline);
    }
    assert!(recorder.end("INT").success());
    drop(wheels);
    unlink(&ChannelName::new(&namespace, "wheels").unwrap()).unwrap();
    let recorded = info_values(&file, "wheels");
    let span = info(&file)["span_s"].as_f64().unwrap();

    let begin = Instant::now();
    let played = run(&namespace, &["play", &file, "--rate", "0.5", "--topics", "wheels"]);
    assert!(played.status.success(), "{}", words(&played));
    assert!(begin.elapsed().as_secs_f64() > 2.0 * span, "at half the rate it takes twice as long at least");
    assert!(words(&played).contains(&format!("{recorded} values of 1 channel\n")), "{}", words(&played));

    let mut player = start(&namespace, &["play", &file, "--rate", "100", "--loop"]);
    let name = ChannelName::new(&namespace, "wheels").unwrap();
    loop {
        let newest = Observer::open(&name).ok().and_then(|channel| channel.newest().ok().flatten());
        // The sequence goes on from the first play.
        if newest.is_some_and(|newest| newest.sequence > 3 * recorded) {
            break;
        }
        assert!(Instant::now() < deadline + PATIENCE, "it does not begin again");
        std::thread::sleep(Duration::from_millis(5));
    }
    player.end("INT");
}
