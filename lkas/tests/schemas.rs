//! What goes over each port is what the schemas in `docs/schemas` say.
//!
//! Needs `python3` with pyzmq and jsonschema and is left out without, unless `LKAS_REQUIRE_PYTHON` is set.
#![allow(missing_docs)]

mod support;

use lkas_messages::names::Category;
use lkas_zmq::{Endpoint, ViewerClient};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use support::{Demo, free_ports};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/schemas.py");
const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schemas");

fn is_left_out() -> bool {
    let found = Command::new("python3").args(["-c", "import zmq, jsonschema"]).output();
    if found.is_ok_and(|found| found.status.success()) {
        return false;
    }
    assert!(std::env::var_os("LKAS_REQUIRE_PYTHON").is_none(), "python3 with pyzmq and jsonschema is required");
    eprintln!("LEFT OUT, because there is no python3 with pyzmq and jsonschema");
    true
}

/// The script, which has a deadline of its own.
fn script(mode: &str, port: u16) -> Child {
    let arguments = [SCRIPT, mode, &port.to_string(), SCHEMAS];
    Command::new("python3").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn check(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_broker_sends_is_as_its_schemas_say() {
    if is_left_out() {
        return;
    }
    let demo = Demo::start("schemas", &[]);
    demo.drive(10);
    check(&script("broadcasts", demo.broker_port).wait_with_output().unwrap());
    demo.stop();
}

#[test]
fn what_a_broker_is_asked_for_is_as_its_schemas_say() {
    if is_left_out() {
        return;
    }
    let port = free_ports(6);
    let mut broker = script("requests", port);
    let mut line = String::new();
    BufReader::new(broker.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "listening\n");
    let namespace = format!("test-{}-requests", std::process::id());
    let start = |program: &str, arguments: &[&str]| {
        let of_this_system = ["--namespace", &namespace, "--broker-port", &port.to_string()].map(str::to_owned);
        let mut command = Command::new(program);
        command.args(arguments).args(of_this_system).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let lkas = env!("CARGO_BIN_EXE_lkas");
    let mut simulation = start(env!("CARGO_BIN_EXE_simulation"), &["--broadcast"]);
    // Nobody answers: that they ask is enough.
    let mut asking = start(lkas, &["stop", "--timeout", "60"]);
    let mut viewer = ViewerClient::connect(&Endpoint::local(port)).unwrap();
    while broker.try_wait().unwrap().is_none() {
        // Refused once the script has seen everything and ended.
        let _ = viewer.send_parameter(Category::Decision, "kp", 0.4);
        viewer.next(Duration::from_millis(50)).unwrap();
    }
    let output = broker.wait_with_output().unwrap();
    // It may have ended by itself.
    let _ = asking.kill();
    asking.wait().unwrap();
    support::signal("TERM", simulation.id());
    simulation.wait().unwrap();
    check(&output);
}
