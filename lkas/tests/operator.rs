//! What an operator does on the command line, against a running system: each command says what came of it.
#![allow(missing_docs)]

mod support;

use lkas::status::{Declared, Status};
use lkas_zmq::{ActionClient, Broker, BrokerOptions, Endpoint, ViewerClient};
use serde_json::Value;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use support::{Demo, PATIENCE, full_pipe, signal};

fn words(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What a command prints that has to succeed.
#[track_caller]
fn good(demo: &Demo, arguments: &[&str]) -> String {
    let output = demo.lkas(arguments);
    assert!(output.status.success(), "{arguments:?}: {:?}", words(&output));
    words(&output).0
}

/// What a command says that has to fail with code 1.
#[track_caller]
fn bad(demo: &Demo, arguments: &[&str]) -> String {
    let output = demo.lkas(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {:?}", words(&output));
    words(&output).1
}

/// Waits until a value can be asked for.
#[track_caller]
fn until_declared(demo: &Demo, name: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = demo.lkas(&["param", "get", name]);
        if output.status.success() {
            return words(&output).0.trim().to_owned();
        }
        assert!(Instant::now() < deadline, "{:?}", words(&output));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn parameters_are_listed_set_saved_and_loaded_and_who_does_not_answer_is_said() {
    let mut demo = Demo::start("param", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    until_declared(&demo, "canny_low");
    let list: Value = serde_json::from_str(&good(&demo, &["param", "list", "--json"])).unwrap();
    let kp = list.as_array().unwrap().iter().find(|found| found["name"] == "kp").unwrap();
    assert_eq!((&kp["server"], kp["value"].as_f64(), kp["max"].as_f64()), (&"decision".into(), Some(0.5), Some(2.0)));
    assert!(good(&demo, &["param", "list"]).contains("decision.kp"));

    assert_eq!(good(&demo, &["param", "set", "kp", "0.7", "--timeout", "60"]), "decision.kp is 0.7\n");
    assert_eq!(good(&demo, &["param", "get", "decision.kp"]), "0.7\n");
    assert!(bad(&demo, &["param", "set", "kp", "5"]).contains("kp is 0 to 2, found 5"));
    let unknown = bad(&demo, &["param", "get", "ki"]);
    assert!(unknown.contains("\"ki\"") && unknown.contains("decision.kp"), "{unknown}");

    let file = std::env::temp_dir().join(format!("{}.toml", demo.namespace));
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[system]\n# mine\n").unwrap();
    good(&demo, &["param", "save", path]);
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.starts_with("[system]\n# mine\n") && saved.contains("\nkp = 0.7\n"), "{saved}");
    good(&demo, &["param", "set", "kp", "0.4", "--timeout", "60"]);
    good(&demo, &["param", "load", path, "--timeout", "60"]);
    assert_eq!(good(&demo, &["param", "get", "kp"]), "0.7\n");
    std::fs::remove_file(&file).unwrap();

    // Suspended, with nobody to replace it: the broker says that the value was not applied, and it is not afterwards.
    let (supervisor, decision) = (demo.child.id(), demo.processes("decision")[0]);
    signal("STOP", supervisor);
    signal("STOP", decision);
    let output = demo.lkas(&["param", "set", "decision.kp", "0.6", "--timeout", "60"]);
    signal("CONT", decision);
    signal("CONT", supervisor);
    let (printed, said) = words(&output);
    assert_eq!((output.status.code(), printed.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("decision.kp did not take effect: nobody applied it within 2.5 s"), "{said}");
    assert_eq!(until_declared(&demo, "kp"), "0.7");
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn the_vehicle_pauses_goes_on_and_respawns_and_a_second_system_is_told_how() {
    let mut demo = Demo::start("wishes", &["--no-viewer"]);
    demo.wait_for("driving: the first control arrived");
    let field = |name: &str| good(&demo, &["echo", "status_simulation", "--once", "--field", name]);
    good(&demo, &["pause", "--timeout", "60"]);
    assert_eq!(field("paused"), "1\n");
    good(&demo, &["resume", "--timeout", "60"]);
    assert_eq!(field("paused"), "0\n");
    let before = field("respawns");
    good(&demo, &["respawn", "--timeout", "60"]);
    assert_ne!(field("respawns"), before);
    let state = field("state");
    assert!(
        ["running", "safe_stop", "standing", "waiting", "emergency_stop"].contains(&state.trim()),
        "a name: {state}"
    );

    let info: Value = serde_json::from_str(&good(&demo, &["info", "camera_feed", "--json"])).unwrap();
    assert_eq!((&info["type"], &info["shape"]), (&"lkas.Image".into(), &"800x600 Rgb8".into()));
    assert_eq!(info["writer_pid"].as_u64(), Some(demo.processes("simulation")[0].into()));
    assert!(info["contract"]["period_s"].is_f64() && info["fields"][0]["name"].is_string(), "{info}");
    assert_eq!(info["places"].as_array().map(Vec::len), info["reader_places"].as_u64().map(|places| places as usize));

    let info: Value = serde_json::from_str(&good(&demo, &["info", "vehicle_control", "--json"])).unwrap();
    let bit =
        |name: &str| &info["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).unwrap()["present"];
    assert!(bit("steering").is_null() && bit("lateral_offset_m").is_string(), "{info}");

    // As a whole it does not begin, and does not take the first one's processes for its own.
    let second = demo.lkas(&["demo", "--no-viewer", "--duration", "20"]);
    let (printed, said) = words(&second);
    assert_eq!((second.status.code(), printed.as_str()), (Some(2), ""), "{said}");
    let vehicle = demo.processes("simulation")[0].to_string();
    assert!(said.contains("runs here already") && said.contains(&vehicle) && said.contains("--instance 2"), "{said}");
    let second = demo.lkas(&["decision"]);
    let (_, said) = words(&second);
    assert!(
        !second.status.success() && said.contains("already has a writer") && said.contains("--instance 2"),
        "{said}"
    );
    // With the vehicle's process suspended nobody says that it took effect.
    signal("STOP", demo.processes("simulation")[0]);
    let said = words(&demo.lkas(&["pause", "--timeout", "1"]));
    assert!(said.1.contains("pause did not take effect"), "{said:?}");
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn a_file_of_options_stands_under_the_command_line_and_gives_the_first_values() {
    let file = std::env::temp_dir().join(format!("operator-{}.toml", std::process::id()));
    std::fs::write(&file, "[simulation]\nwidth = 320\nheight = 200\n[parameters.decision]\nkp = 0.7\n").unwrap();
    let config = format!("--config={}", file.display());
    let mut demo = Demo::start("config", &["--no-viewer", "--height", "240", &config]);
    demo.wait_for("driving: the first control arrived");
    let info: Value = serde_json::from_str(&good(&demo, &["info", "camera_feed", "--json"])).unwrap();
    assert_eq!(info["shape"], "320x240 Rgb8");
    assert_eq!(until_declared(&demo, "kp"), "0.7");
    good(&demo, &["param", "set", "kp", "0.6", "--timeout", "60"]);
    demo.kill("decision");
    demo.wait_for("decision: ready");
    assert_eq!(until_declared(&demo, "kp"), "0.6", "a successor goes on with what was in force");
    signal("TERM", demo.child.id());
    demo.finish();

    std::fs::write(&file, "[simulation]\nwidht = 320\n").unwrap();
    let start = |command: &str| Command::new(env!("CARGO_BIN_EXE_lkas")).args([command, &config]).output().unwrap();
    let refused = start("demo");
    let (_, said) = words(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("line 2, column 1") && said.contains("\"widht\"") && said.contains("width, height"),
        "{said}"
    );
    let file_name = file.to_str().unwrap();
    let check = Command::new(env!("CARGO_BIN_EXE_lkas")).args(["config", "check", file_name]).output().unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(words(&check).0.contains("line 2, column 1"), "{:?}", words(&check));
    // What is said together is looked at together, with the line.
    std::fs::write(&file, "[system]\nkey = \"me.key_secret\"\n[mirror]\nnonsense = 1\n").unwrap();
    let run = |line: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lkas")).args(line).output().unwrap();
        let (printed, said) = words(&output);
        (output.status.code(), printed + &said)
    };
    let (code, said) = run(&["config", "check", file_name]);
    assert!(code == Some(1) && said.contains("key needs broker-key"), "{said}");
    assert!(said.contains("[mirror] was not looked at") && said.contains("lkas-mirror"), "{said}");
    let (code, said) = run(&["param", "list", &config]);
    assert!(code == Some(2) && said.contains("key needs broker-key"), "{said}");
    let here = format!("--namespace=test-{}-config-here", std::process::id());
    let (code, said) = run(&["param", "list", &here, &config, "--broker-key=broker.key"]);
    assert!(code == Some(1) && said.contains("no server says which parameters it has"), "{said}");
    assert!(run(&["config", "show"]).1.contains("[mirror] is of the program lkas-mirror"));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn the_line_takes_away_what_of_the_file_it_excludes_and_quiet_leaves_what_one_needs() {
    let file = std::env::temp_dir().join(format!("operator-{}-line.toml", std::process::id()));
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/straight-30.toml");
    std::fs::write(&file, "[system]\nverbose = true\n[simulation]\nreplay = \"nowhere\"\n").unwrap();
    let config = format!("--config={}", file.display());
    let mut demo = Demo::start("line", &["-q", "--scenario", scenario, &config]);
    // The children's line has no contradiction, and their file none with their line.
    demo.wait_for("the token for programs is");
    demo.drive(10);
    signal("TERM", demo.child.id());
    let said = std::mem::take(&mut demo.said);
    demo.finish();
    assert!(said.iter().all(|line| !line.contains("can't run")), "{said:?}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn options_stand_before_or_after_a_subcommand() {
    let run = |line: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_lkas")).args(line.split(' ')).output().unwrap();
        (output.status.code(), words(&output).1)
    };
    let namespace = format!("test-{}-before", std::process::id());
    let name: lkas_shm::ChannelName = format!("{namespace}-2.vehicle_control").parse().unwrap();
    let writer = lkas_shm::ControlChannel::create(&name, lkas_shm::Options::new()).unwrap();
    for line in ["--instance 2 --namespace N info vehicle_control", "info vehicle_control --instance 2 --namespace N"] {
        let (code, said) = run(&line.replace('N', &namespace));
        assert_eq!(code, Some(0), "{said}");
    }
    // Whoever can't run there is told the next one's number, also where the names were moved for it.
    for line in ["decision --instance 2 --namespace N", "decision --instance 2 --namespace N-2 --supervised"] {
        let (code, said) = run(&line.replace('N', &namespace));
        assert!(code == Some(2) && said.contains("already has a writer") && said.contains("--instance 3"), "{said}");
    }
    drop(writer);
    lkas_shm::unlink(&name).unwrap();
    // What a subcommand does not have is not passed over in silence.
    let (code, said) = run("--broadcast channels");
    assert_eq!(code, Some(2));
    assert!(said.contains("--broadcast is for `lkas` without a subcommand"), "{said}");
    // Who asks for another machine's system is not shown this one's.
    let (code, said) = run("top --broker 192.0.2.1");
    assert_eq!(code, Some(2));
    assert!(said.contains("`lkas top` is about the channels in this machine's memory, found --broker"), "{said}");
}

/// A process of this machine that says this of itself, whatever one asks.
struct Saying {
    name: lkas_shm::ChannelName,
    end: Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Saying {
    fn start(namespace: &str, process: &str, status: Status) -> Self {
        let name: lkas_shm::ChannelName = format!("{namespace}.status_{process}").parse().unwrap();
        let mut writer = lkas_shm::Channel::<Status>::create(&name, lkas_shm::Options::new()).unwrap();
        let (end, ended) = std::sync::mpsc::channel();
        let status = Status { process: std::process::id().into(), ..status };
        let says = move || {
            while ended.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                writer.publish(status);
            }
        };
        Self { name, end: Some((end, std::thread::spawn(says))) }
    }

    /// A vehicle that says that its emergency stop is latched.
    fn latched_vehicle(namespace: &str) -> Self {
        Self::start(namespace, "simulation", Status { latched: 1, ..Status::default() })
    }
}

impl Drop for Saying {
    fn drop(&mut self) {
        let ended = self.end.take().map(|(end, thread)| {
            drop(end);
            thread.join()
        });
        let removed = lkas_shm::unlink(&self.name);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
            removed.unwrap();
        }
    }
}

#[test]
fn a_faulty_file_that_nobody_reads_about_keeps_no_vehicle_from_being_stopped() {
    let namespace = format!("test-{}-faulty", std::process::id());
    let _vehicle = Saying::latched_vehicle(&namespace);
    let file = std::env::temp_dir().join(format!("{namespace}.toml"));
    std::fs::write(&file, "[sytem]\n").unwrap();
    let port = support::free_ports(6).to_string();
    let stop = |error: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
        command.args(["stop", "--namespace", &namespace, "--broker-port", &port, "--config"]).arg(&file);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(error).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = child.wait_with_output().unwrap();
        let (printed, said) = words(&output);
        assert_eq!(output.status.code(), Some(0), "{printed}{said}");
        assert!(printed.contains("emergency stop: latched"), "{printed}");
        said
    };
    let (_unread, full) = full_pipe();
    stop(full.into());
    stop(std::fs::File::options().write(true).open("/dev/full").unwrap().into());
    let said = stop(Stdio::piped());
    assert!(said.contains("line 1, column 2: unknown section \"sytem\""), "{said}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn what_is_saved_while_a_server_is_down_keeps_what_the_file_has_for_it() {
    let namespace = format!("test-{}-half", std::process::id());
    let mut status = Status::default();
    status.parameters[0] =
        Declared { name: "canny_low".into(), value: 45.0, min: 1.0, max: 150.0, ..Declared::default() };
    let _detection = Saying::start(&namespace, "detection", status);
    let file = std::env::temp_dir().join(format!("{namespace}.toml"));
    std::fs::write(&file, "[parameters.decision]\nkp = 0.9\n").unwrap();
    let path = file.to_str().unwrap();
    // A busy machine may silence it for a moment.
    let deadline = Instant::now() + PATIENCE;
    let output = loop {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
        let output = command.args(["param", "save", path, "--namespace", &namespace]).output().unwrap();
        if !words(&output).0.is_empty() || Instant::now() > deadline {
            break output;
        }
    };
    let (printed, said) = words(&output);
    assert_eq!((output.status.code(), printed), (Some(1), format!("1 parameters are in {path}\n")), "{said}");
    assert!(said.contains("decision did not say which parameters it has"), "{said}");
    let saved = std::fs::read_to_string(&file).unwrap();
    assert_eq!(saved, "[parameters.decision]\nkp = 0.9\n\n[parameters.detection]\ncanny_low = 45\n");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn of_a_system_elsewhere_its_broker_is_asked_and_this_machines_memory_is_not() {
    let demo =
        Demo::start("elsewhere", &["--no-viewer", "--insecure", "--watch-on=127.0.0.2", "--command-on=127.0.0.2"]);
    assert_eq!(until_declared(&demo, "kp"), "0.5");
    let here = format!("test-{}-here", std::process::id());
    let _vehicle = Saying::latched_vehicle(&here);
    let there = |host: &str, line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
        command.args(["--namespace", &here, "--broker", host, "--broker-port", &demo.broker_port.to_string()]);
        let output = command.args(line.split(' ')).stdin(Stdio::null()).output().unwrap();
        let (printed, said) = words(&output);
        (output.status.code(), printed, said)
    };
    // Nobody is there: what a vehicle of this machine says is not the answer.
    let (code, printed, said) = there("127.0.0.3", "stop --timeout 1");
    assert!(code == Some(1) && said.contains("no broker answers on 127.0.0.3"), "{printed}{said}");
    let (code, _, said) = there("127.0.0.3", "param list");
    assert!(code == Some(1) && said.contains("no broker answers on 127.0.0.3"), "{said}");

    let (code, printed, said) = there("127.0.0.2", "param list");
    assert!(code == Some(0) && printed.contains("decision.kp") && printed.contains("0 to 2"), "{printed}{said}");
    let (code, printed, said) = there("127.0.0.2", "param set kp 0.6 --timeout 60");
    assert_eq!((code, printed.as_str()), (Some(0), "decision.kp is 0.6\n"), "{said}");
    assert_eq!(until_declared(&demo, "kp"), "0.6");
    let latched = || good(&demo, &["echo", "status_simulation", "--once", "--field", "latched"]);
    for (line, is) in [("stop --timeout 60", "1\n"), ("stop --release --timeout 60", "0\n")] {
        let (code, printed, said) = there("127.0.0.2", line);
        assert_eq!(code, Some(0), "{printed}{said}");
        assert_eq!(latched(), is, "{line}");
    }
    // A server that only speaks the wire: asked for by its category, and nobody says that it is so.
    let (code, _, said) = there("127.0.0.2", "param set planning.look_ahead 3 --timeout 60");
    assert!(code == Some(1) && said.contains("planning.look_ahead did not take effect"), "{said}");
    signal("TERM", demo.child.id());
    demo.finish();
}

#[test]
fn what_another_is_answered_is_no_answer_to_a_command() {
    let namespace = format!("test-{}-others", std::process::id());
    let name: lkas_shm::ChannelName = format!("{namespace}.status_simulation").parse().unwrap();
    let mut vehicle = lkas_shm::Channel::<Status>::create(&name, lkas_shm::Options::new()).unwrap();
    let port = support::free_ports(6);
    let mut broker = Broker::bind(BrokerOptions::new(Endpoint::local(port))).unwrap();
    let pause: lkas_messages::names::Name = "pause".parse().unwrap();
    broker.register_action(pause.clone(), |_| {});
    let mut requests = ActionClient::connect(broker.endpoint()).unwrap();
    let mut other = ViewerClient::connect_to(broker.endpoint(), &[]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
    command.args(["pause", "--timeout", "60", "--namespace", &namespace, "--broker-port", &port.to_string()]);
    let mut asks = None;
    // The other's request, then the command's: they are not in one order on every machine.
    let mut numbers = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let mut status = Status { process: std::process::id().into(), ..Status::default() };
    while asks.as_mut().is_none_or(|child: &mut Child| child.try_wait().unwrap().is_none()) {
        assert!(Instant::now() < deadline, "{numbers:?}");
        vehicle.publish(status);
        broker.wait(Duration::from_millis(10));
        broker.poll();
        let _ = other.next(Duration::ZERO).unwrap();
        if let Some(request) = requests.poll().unwrap() {
            numbers.extend(request.number());
        } else if numbers.is_empty() {
            let _ = other.send_action(&pause);
        } else if asks.is_none() {
            numbers.truncate(1);
            asks = Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        } else if numbers.len() > 1 && status.paused == 0 {
            // For all that wait, but the newest: that is the command's.
            for number in &numbers[..numbers.len() - 1] {
                broker.report_refusal(*number, "it came to the vehicle too late");
            }
            for _ in 0..20 {
                broker.poll();
                std::thread::sleep(Duration::from_millis(10));
                vehicle.publish(status);
            }
            status.paused = 1;
        }
    }
    let output = asks.unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{:?}", words(&output));
    drop(vehicle);
    lkas_shm::unlink(&name).unwrap();
}
