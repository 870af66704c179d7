//! One system on three machines, whose clocks differ: the vehicle stays in its lane, stops when the link goes down or
//! whoever dies, and drives on.

use super::machines::{Machine, NEEDS, Process, Stream, percentiles, wait_for};
use crate::tools::{cargo, output, root, run, target};
use crate::{How, Outcome};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where the mirror on the vehicle's machine listens, for either of the others.
const FOR_COMPUTER: [&str; 2] = ["10.77.1.1", "10.77.1.2"];
const FOR_VIEWER: [&str; 2] = ["10.77.2.1", "10.77.2.2"];
const DEVICES: [&str; 2] = ["computer", "viewer"];

/// The largest distance from the middle of the lane, in metres: where the vehicle touches no line.
const IN_LANE_M: f64 = 0.6;

/// The programs.
struct Programs {
    lkas: PathBuf,
    simulation: PathBuf,
    mirror: PathBuf,
    python: PathBuf,
}

pub(crate) fn mirror(how: &How) -> Outcome {
    let folder = target("mirror");
    let source = root().join("zenoh-bridge");
    let build = |arguments: &[&str]| {
        let mut command = cargo(None, "", arguments);
        // Warnings are errors in its own code, not in what it needs.
        command.current_dir(&source).env("CARGO_TARGET_DIR", &folder).env_remove("RUSTFLAGS");
        // What cargo says of this program would have some of it built anew after each build by hand.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("CARGO_PKG_") {
                command.env_remove(variable);
            }
        }
        command.env_remove("CARGO_MANIFEST_DIR");
        command
    };
    println!("-- the library, and what is said of it");
    run(&mut build(&["fmt", "--check"]), "rustup component add rustfmt")?;
    run(&mut build(&["clippy", "--locked", "--all-targets", "--", "-D", "warnings"]), "rustup component add clippy")?;
    run(&mut build(&["test", "--locked"]), "")?;
    run(&mut cargo(None, "", &["build", "-p", "lkas"]), "")?;
    let enough = Command::new("unshare").args(["--net", "--mount", "--time", "true"]).status();
    if !enough.is_ok_and(|status| status.success()) {
        if std::env::var_os("LKAS_REQUIRE_ROOT").is_some() {
            return Err(format!("no machines can be made; it needs {NEEDS}"));
        }
        println!("LEFT OUT: the drive over three machines, which this machine forbids; it needs {NEEDS}");
        return Ok(());
    }
    let programs = Programs {
        lkas: target("debug").join("lkas"),
        simulation: target("debug").join("simulation"),
        mirror: folder.join("debug/lkas-mirror"),
        python: python(&folder.join("python"))?,
    };
    let alone = on_one_machine(&programs, how)?;
    on_three_machines(&programs, how, &alone)
}

/// An environment with Zenoh for Python.
fn python(folder: &std::path::Path) -> Result<PathBuf, String> {
    let python = folder.join("bin/python");
    let needs = "apt-get install python3 python3-venv, and a way to PyPI";
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder), needs)?;
    }
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "eclipse-zenoh>=1.10,<2", "xxhash"];
    run(Command::new(&python).args(install), needs)?;
    Ok(python)
}

/// The values of a channel on a machine.
fn stream(machine: &Machine, programs: &Programs, channel: &str) -> Result<Stream, String> {
    let mut command = machine.command(&programs.lkas);
    command.args(["echo", "--json", channel]);
    Stream::open(command)
}

/// What is measured of a drive.
struct Drive {
    capture: String,
    controls: String,
    offset_m: f64,
}

/// The vehicle, seen from its own machine.
struct Vehicle<'a> {
    programs: &'a Programs,
    /// The machines that have a part in its driving.
    machines: Vec<&'a Machine>,
    status: Stream,
    motion: Stream,
    controls: Stream,
}

impl<'a> Vehicle<'a> {
    fn of(machine: &'a Machine, programs: &'a Programs) -> Result<Self, String> {
        let open = |channel| stream(machine, programs, channel);
        Ok(Self {
            programs,
            machines: vec![machine],
            status: open("status_simulation")?,
            motion: open("vehicle_motion")?,
            controls: open("vehicle_control")?,
        })
    }

    /// What it says of itself; nothing where its status is old.
    fn state(&self) -> String {
        let fresh = self.status.last().is_some_and(|(time, _)| time.elapsed() < Duration::from_secs(2));
        if fresh { self.status.word("state") } else { String::new() }
    }

    /// Whether it drives.
    fn drives(&self) -> bool {
        self.state() == "running" && self.status.number("vitals.speed_kmh") > 15.0
    }

    /// Waits until it drives.
    fn wait_until_it_drives(&self) -> Result<Duration, String> {
        wait_for("the vehicle drives", || self.drives()).inspect_err(|_| {
            println!("the vehicle: {}", self.status.last().map(|(_, value)| value).unwrap_or_default());
            let Programs { lkas, mirror, .. } = self.programs;
            for machine in &self.machines {
                let told = |line: String| machine.run(&line).unwrap_or_else(|why| why);
                println!("its channels:\n{}", told(format!("{} channels", lkas.display())));
                println!("its mirror:\n{}", told(format!("{} status --json", mirror.display())));
            }
        })
    }

    /// Whether it stops, or has stopped.
    fn stops(&self) -> bool {
        ["safe_stop", "standing", "emergency_stop"].contains(&self.state().as_str())
    }

    /// How often it began a safe stop.
    fn safe_stops(&self) -> f64 {
        self.status.number("vitals.safe_stops")
    }

    /// Drives for a while, and says how it went.
    fn drive(&self, seconds: u64) -> Result<Drive, String> {
        self.wait_until_it_drives()?;
        self.motion.forget();
        self.controls.forget();
        std::thread::sleep(Duration::from_secs(seconds));
        let ages = self.motion.numbers(|value| value["fields"]["control_age_s"].as_f64());
        if ages.len() < 20 {
            return Err(format!("the vehicle told {} times of its motion in {seconds} s", ages.len()));
        }
        let offset_m = self.status.number("vitals.offset_max_abs_m");
        if !(offset_m > 0.0 && offset_m < IN_LANE_M) {
            return Err(format!(
                "the vehicle was {offset_m} m from the middle of its lane, expected up to {IN_LANE_M} m"
            ));
        }
        if self.status.number("vitals.torn") != 0.0 {
            return Err("controls were torn".into());
        }
        let controls = percentiles(self.controls.numbers(|value| value["age_s"].as_f64()));
        Ok(Drive { capture: percentiles(ages), controls, offset_m })
    }
}

impl Drive {
    fn print(&self, what: &str) {
        println!("{what}: from capture to control {}", self.capture);
        println!("{what}: from publish to receive of controls {}", self.controls);
        println!("{what}: at most {:.2} m from the middle of the lane", self.offset_m);
    }
}

fn on_one_machine(programs: &Programs, how: &How) -> Result<Drive, String> {
    println!("-- one machine");
    let machine = Machine::new("alone", 100)?;
    let _simulation = Process::start(machine.command(&programs.simulation).arg("--quiet"))?;
    let _servers = Process::start(machine.command(&programs.lkas).arg("--quiet"))?;
    let drive = Vehicle::of(&machine, programs)?.drive(if how.short { 10 } else { 30 })?;
    drive.print("one machine");
    Ok(drive)
}

/// The three machines with their mirrors.
struct Machines<'a> {
    programs: &'a Programs,
    vehicle: Machine,
    computer: Machine,
    viewer: Machine,
}

impl<'a> Machines<'a> {
    fn new(programs: &'a Programs) -> Result<Self, String> {
        let vehicle = Machine::new("vehicle", 50)?;
        let computer = Machine::new("computer", 7000)?;
        let viewer = Machine::new("viewer", 300)?;
        vehicle.link(&computer, DEVICES[0], FOR_COMPUTER)?;
        vehicle.link(&viewer, DEVICES[1], FOR_VIEWER)?;
        Ok(Self { programs, vehicle, computer, viewer })
    }

    fn mirror(&self, machine: &Machine, arguments: &str) -> Result<Process, String> {
        Process::start(machine.command(&self.programs.mirror).args(arguments.split(' ')))
    }

    /// The mirror in the middle.
    fn on_vehicle(&self) -> Result<Process, String> {
        let (computer, viewer) = (FOR_COMPUTER[0], FOR_VIEWER[0]);
        self.mirror(
            &self.vehicle,
            &format!(
                "--listen tcp/{computer}:7447 --listen tcp/{viewer}:7447 --export camera_feed:jpeg=85 --export \
                 vehicle_motion --export status_simulation --import vehicle_control"
            ),
        )
    }

    fn on_computer(&self) -> Result<Process, String> {
        let middle = FOR_COMPUTER[0];
        self.mirror(
            &self.computer,
            &format!(
                "--connect tcp/{middle}:7447 --import camera_feed --import vehicle_motion --export vehicle_control \
                 --export lane_detection"
            ),
        )
    }

    fn on_viewer(&self) -> Result<Process, String> {
        let middle = FOR_VIEWER[0];
        self.mirror(
            &self.viewer,
            &format!(
                "--connect tcp/{middle}:7447 --import camera_feed --import lane_detection --import vehicle_control \
                 --import status_simulation --import joined_control"
            ),
        )
    }

    /// A number of a mirror's status.
    fn figure(&self, machine: &Machine, channel: &str, figure: &str) -> Result<f64, String> {
        let text = machine.run(&format!("{} status --json", self.programs.mirror.display()))?;
        let status: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
        let rows = status["channels"].as_array().cloned().unwrap_or_default();
        let row = rows.iter().find(|row| row["channel"] == channel).ok_or(format!("no {channel} in {text}"))?;
        row[figure].as_f64().ok_or(format!("no {figure} in {row}"))
    }
}

fn on_three_machines(programs: &Programs, how: &How, alone: &Drive) -> Outcome {
    println!("-- three machines");
    let machines = Machines::new(programs)?;
    let mut on_vehicle = machines.on_vehicle()?;
    let mut on_computer = machines.on_computer()?;
    let mut on_viewer = machines.on_viewer()?;
    let _simulation = Process::start(machines.vehicle.command(&programs.simulation).arg("--quiet"))?;
    let _servers = Process::start(machines.computer.command(&programs.lkas).arg("--quiet"))?;
    let mut vehicle = Vehicle::of(&machines.vehicle, programs)?;
    vehicle.machines.push(&machines.computer);
    let viewed = stream(&machines.viewer, programs, "lane_detection")?;
    let joined = stream(&machines.viewer, programs, "joined_control")?;

    let drive = vehicle.drive(30)?;
    drive.print("three machines");
    println!("(one machine: from capture to control {})", alone.capture);
    let offset = machines.figure(&machines.computer, "camera_feed", "offset_s")?;
    let uncertainty = machines.figure(&machines.computer, "camera_feed", "uncertainty_s")?;
    println!("clock of the vehicle, from the computer: {offset:+.6} s, give or take {:.3} ms", uncertainty * 1e3);
    // They were made 6950 s apart.
    if (offset - 6950.0).abs() > uncertainty + 1e-6 {
        return Err(format!("the clocks differ by {offset} s, expected 6950 s give or take {uncertainty} s"));
    }
    viewed.forget();
    wait_for("detections at the viewer", || !viewed.numbers(|value| value["age_s"].as_f64()).is_empty())?;
    run(
        machines.viewer.command(&programs.python).arg(root().join("zenoh-bridge/tests/join.py")).args([
            &format!("tcp/{}:7447", FOR_VIEWER[0]),
            "camera_feed",
            "lane_detection",
            "joined_control",
        ]),
        "",
    )?;
    // What Python wrote is a control like any other, and whole: what is not, a mirror refuses.
    let (_, control) = joined.last().ok_or("no control of Python's arrived")?;
    if control["type"] != "lkas.Control" || control["fields"]["steering"] != 0.25 {
        return Err(format!("a control of Python's arrived as {control}"));
    }

    println!("-- the link is down for 5 s");
    broken(&vehicle, || {
        machines.vehicle.run(&format!("ip link set {} down", DEVICES[0]))?;
        let before = vehicle.safe_stops();
        std::thread::sleep(Duration::from_secs(5));
        let stopped = vehicle.safe_stops() > before || vehicle.stops();
        machines.vehicle.run(&format!("ip link set {} up", DEVICES[0]))?;
        if stopped { Ok(()) } else { Err("the vehicle drove on without a link".into()) }
    })?;

    println!("-- 20 Mbit/s");
    for machine in [&machines.vehicle, &machines.computer] {
        machine.run(&format!("tc qdisc add dev {} root tbf rate 20mbit burst 16kb latency 200ms", DEVICES[0]))?;
    }
    vehicle.drive(if how.short { 10 } else { 30 })?.print("20 Mbit/s");
    println!("-- 4 Mbit/s, too little for the frames");
    for machine in [&machines.vehicle, &machines.computer] {
        machine.run(&format!("tc qdisc change dev {} root tbf rate 4mbit burst 16kb latency 200ms", DEVICES[0]))?;
    }
    std::thread::sleep(Duration::from_secs(10));
    for (channel, machine) in [("camera_feed", &machines.computer), ("vehicle_motion", &machines.computer)] {
        let of = |figure| machines.figure(machine, channel, figure);
        let (p50, p99) = (of("age_p50_s")? * 1e3, of("age_p99_s")? * 1e3);
        println!("4 Mbit/s: {channel} {:.1} a second, age p50 {p50:.1} ms, p99 {p99:.1} ms", of("rate_hz")?);
    }
    for machine in [&machines.vehicle, &machines.computer] {
        machine.run(&format!("tc qdisc del dev {} root", DEVICES[0]))?;
    }

    println!("-- the mirror of the computer is killed");
    broken(&vehicle, || {
        on_computer.kill();
        let stopped = wait_for("a safe stop", || vehicle.stops()).map(drop);
        on_computer = machines.on_computer()?;
        stopped
    })?;
    println!("-- the mirror of the vehicle, in the middle, is killed");
    broken(&vehicle, || {
        on_vehicle.kill();
        let stopped = wait_for("a safe stop", || vehicle.stops()).map(drop);
        on_vehicle = machines.on_vehicle()?;
        stopped
    })?;
    println!("-- the decision is killed; who watches it starts another");
    broken(&vehicle, || kill_writer(&machines, "vehicle_control"))?;
    println!("-- the detection is killed; who watches it starts another");
    kill_writer(&machines, "lane_detection")?;
    vehicle.wait_until_it_drives()?;
    println!("-- the mirror of the viewer is killed, and nobody else notices");
    let before = vehicle.safe_stops();
    on_viewer.kill();
    std::thread::sleep(Duration::from_secs(3));
    if vehicle.safe_stops() > before {
        println!("(a safe stop meanwhile: {before} and then {}; the machine is busy)", vehicle.safe_stops());
    }
    on_viewer = machines.on_viewer()?;
    viewed.forget();
    wait_for("detections at the viewer", || !viewed.numbers(|value| value["age_s"].as_f64()).is_empty())?;
    for (what, stream) in [("controls", &vehicle.controls), ("detections", &viewed)] {
        if let Some((from, to)) = stream.went_back() {
            return Err(format!("the sequence of the {what} went back from {from} to {to}"));
        }
    }
    vehicle.wait_until_it_drives()?;
    on_viewer.kill();
    Ok(())
}

/// Kills the process on the computer that writes a channel.
fn kill_writer(machines: &Machines<'_>, channel: &str) -> Outcome {
    let text = machines.computer.run(&format!("{} channels --json", machines.programs.lkas.display()))?;
    let rows: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["channel"] == channel).cloned());
    let pid = row.as_ref().and_then(|row| row["writer_pid"].as_u64()).ok_or(format!("nobody writes {channel}"))?;
    let (passed, words) = output(Command::new("kill").args(["-9", &pid.to_string()]), "procps")?;
    if passed { Ok(()) } else { Err(words) }
}

/// Something breaks and is whole again: the vehicle stops by itself, and drives on.
fn broken(vehicle: &Vehicle<'_>, fault: impl FnOnce() -> Outcome) -> Outcome {
    vehicle.wait_until_it_drives()?;
    let (before, start) = (vehicle.safe_stops(), Instant::now());
    vehicle.status.forget();
    vehicle.controls.forget();
    fault()?;
    let whole = Instant::now();
    wait_for("a safe stop", || vehicle.safe_stops() > before)?;
    let stopped = |value: &serde_json::Value| value["fields"]["vitals.safe_stops"].as_f64() > Some(before);
    let after = vehicle.status.first_after(start, stopped).unwrap_or_default();
    let events = vehicle.status.last().map(|(_, value)| value["fields"]["events[].words"].clone()).unwrap_or_default();
    let mut words = events.as_array().into_iter().flatten().filter_map(|words| words.as_str());
    let reason = words.rfind(|words| words.contains("SAFE STOP: braking")).unwrap_or("-").to_owned();
    let young = |value: &serde_json::Value| value["age_s"].as_f64() < Some(0.25);
    wait_for("a fresh control", || vehicle.controls.first_after(whole, young).is_some())?;
    let resumed = vehicle.controls.first_after(whole, young).unwrap_or_default();
    println!("safe stop seen {:.2} s after the fault began ({reason})", after.as_secs_f64());
    println!("fresh controls {:.2} s after it ended", resumed.as_secs_f64());
    let driving = vehicle.wait_until_it_drives()?;
    println!("driving {:.1} s after that", driving.as_secs_f64());
    Ok(())
}
