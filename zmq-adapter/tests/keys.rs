//! Keys: certificates on disk, and who gets in with them: programs in Python with `zmq.auth`, and this crate's clients.
//!
//! The tests with Python need `python3` with pyzmq (`pip install pyzmq`) and are skipped without, unless
//! `LKAS_REQUIRE_PYTHON` is set. All but those of certificates are skipped where libzmq is built without CURVE.

mod support;

use core::time::Duration;
use lkas_messages::VehicleStateFields;
use lkas_zmq::keys::{BrokerKeys, Certificate, ClientKeys, KeyError, check_curve};
use lkas_zmq::wire::EMERGENCY_STOP;
use lkas_zmq::{Broker, BrokerOptions, Endpoint, Topic, VehicleStatusClient, ViewerClient, ViewerMessage};
use lkas_zmq::{Refusal, SendError};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;
use support::{MOMENT, PATIENCE, free_endpoint, poll_until, until};

/// This machine, as a network: whoever comes here is asked for a key.
const BEYOND: &str = "127.0.0.3";

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lkas-keys-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for role in ["watch", "command", "theirs"] {
            fs::create_dir_all(path.join(role)).unwrap();
        }
        Certificate::generate().unwrap().write(&path, "broker").unwrap();
        Self(path)
    }

    /// A new key whose public half is on the list of `role`, if any.
    fn key(&self, name: &str, role: Option<&str>) -> PathBuf {
        let (public, secret) = Certificate::generate().unwrap().write(&self.0.join("theirs"), name).unwrap();
        if let Some(role) = role {
            fs::copy(public, self.0.join(role).join(format!("{name}.key"))).unwrap();
        }
        secret
    }

    fn revoke(&self, name: &str, role: &str) {
        fs::remove_file(self.0.join(role).join(format!("{name}.key"))).unwrap();
    }

    fn broker(&self, at: &Endpoint) -> Broker {
        let beyond = Some(BEYOND.to_owned());
        let options = BrokerOptions::new(at.clone()).keys(Some(BrokerKeys::in_folder(&self.0)));
        let mut broker = Broker::bind(options.watch_on(beyond.clone()).command_on(beyond)).unwrap();
        broker.register_action("pause".parse().unwrap(), |_| ());
        broker
    }

    /// The broker as one of this crate's clients sees it that has this key.
    fn endpoint(&self, at: &Endpoint, own: &Path) -> Endpoint {
        let keys = ClientKeys { own: own.to_owned(), broker: self.0.join("broker.key") };
        Endpoint { host: BEYOND.to_owned(), ..at.clone() }.with_keys(keys)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program in Python, with a key or without.
struct Python {
    child: Child,
    lines: Receiver<String>,
}

impl Python {
    fn start(folder: &Folder, at: &Endpoint, own: Option<&Path>) -> Self {
        let own = own.unwrap_or(Path::new("-"));
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/keyed.py"))
            .args([BEYOND, &at.base_port.to_string()])
            .args([&folder.0.join("broker.key"), own])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let python = Self { child, lines };
        assert_eq!(python.lines.recv_timeout(PATIENCE).unwrap(), "ready");
        python
    }

    fn ask(&mut self, action: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{action}").unwrap();
    }

    /// Whether it saw a broadcast since it was last asked.
    fn sees(&self) -> bool {
        self.lines.try_iter().count() > 0
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn step(broker: &mut Broker) {
    let _ = broker.broadcast_state(&VehicleStateFields::default());
    broker.wait(MOMENT);
    broker.poll();
}

/// Lets the broker broadcast until `done`.
#[track_caller]
fn broadcast_until(what: &str, broker: &mut Broker, mut done: impl FnMut(&mut Broker) -> bool) {
    until(what, || {
        step(broker);
        done(broker).then_some(())
    });
}

/// Lets the broker go on for a while.
fn go_on(broker: &mut Broker, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        step(broker);
    }
}

/// How many actions were executed and refused after this one was asked for, until one was.
#[track_caller]
fn outcome(broker: &mut Broker, python: &mut Python, action: &str) -> (u64, Option<Refusal>) {
    let before = broker.statistics().actions;
    let mut due = Instant::now();
    // What is sent before the connection is there is lost.
    broadcast_until(action, broker, |broker| {
        if due <= Instant::now() {
            due = Instant::now() + Duration::from_millis(300);
            python.ask(action);
        }
        broker.statistics().actions.received > before.received
    });
    let now = broker.statistics().actions;
    (now.refused - before.refused, now.last_refusal)
}

fn can_run(with_python: bool) -> bool {
    if let Err(error) = check_curve() {
        eprintln!("skipped: {error}");
        return false;
    }
    let has = || Command::new("python3").args(["-c", "import zmq.auth"]).output().is_ok_and(|out| out.status.success());
    if with_python && !has() {
        assert!(std::env::var_os("LKAS_REQUIRE_PYTHON").is_none(), "python3 with pyzmq is required");
        eprintln!("skipped, because there is no python3 with pyzmq");
        return false;
    }
    true
}

#[test]
fn the_workspace_builds_libzmq_with_curve() {
    assert_eq!(check_curve(), Ok(()));
}

#[test]
fn a_certificate_is_for_its_owner_alone_and_is_not_overwritten() {
    if !can_run(false) {
        return;
    }
    let folder = Folder::new("files");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let secret = folder.key("me", Some("watch"));
    let public = secret.with_extension("key");
    assert_eq!((mode(&secret), mode(&public)), (0o600, 0o644));
    assert_eq!(Certificate::read(&secret).unwrap().public(), Certificate::read(&public).unwrap().public());
    let again = Certificate::generate().unwrap().write(&folder.0.join("theirs"), "me").unwrap_err();
    assert!(matches!(again, KeyError::File { kind: std::io::ErrorKind::AlreadyExists, .. }), "{again}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Certificate::read(&secret).unwrap_err();
    assert!(matches!(error, KeyError::Readable { mode: 0o640, .. }), "{error}");
    fs::write(&public, "public-key = \"short\"").unwrap();
    assert!(matches!(Certificate::read(&public), Err(KeyError::Missing { .. })));
    assert!(Broker::bind(BrokerOptions::new(free_endpoint()).keys(Some(BrokerKeys::in_folder("/nowhere")))).is_err());
}

#[test]
fn certificates_are_those_of_pyzmq() {
    if !can_run(true) {
        return;
    }
    let folder = Folder::new("pyzmq");
    let ours = folder.key("ours", None);
    let script = "import sys, zmq.auth; zmq.auth.create_certificates(sys.argv[1], 'python'); \
                  print(*[key.decode() for key in zmq.auth.load_certificate(sys.argv[2])])";
    let output = Command::new("python3").args(["-c", script]).arg(&folder.0).arg(&ours).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let keys: Vec<_> = printed.split_whitespace().collect();
    assert_eq!((keys.len(), keys[0]), (2, Certificate::read(&ours).unwrap().public()));
    let theirs = folder.0.join("python.key_secret");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    let public = Certificate::read(&folder.0.join("python.key")).unwrap();
    assert_eq!(Certificate::read(&theirs).unwrap().public(), public.public());
}

#[test]
fn who_may_command_commands_who_may_watch_watches_and_nobody_else_gets_in() {
    if !can_run(true) {
        return;
    }
    let (folder, at) = (Folder::new("roles"), free_endpoint());
    let mut broker = folder.broker(&at);
    let strange = folder.key("strange", None);
    let mut outsiders = [Python::start(&folder, &at, Some(&strange)), Python::start(&folder, &at, None)];
    let mut commander = Python::start(&folder, &at, Some(&folder.key("commander", Some("command"))));
    let mut watcher = Python::start(&folder, &at, Some(&folder.key("watcher", Some("watch"))));
    broadcast_until("both see", &mut broker, |_| commander.sees());
    broadcast_until("both see", &mut broker, |_| watcher.sees());
    assert_eq!(outcome(&mut broker, &mut commander, "pause").0, 0);
    assert_eq!(outcome(&mut broker, &mut watcher, "pause"), (1, Some(Refusal::NotAllowed)));
    assert_eq!(outcome(&mut broker, &mut watcher, EMERGENCY_STOP).0, 0, "which whoever gets in may do");
    go_on(&mut broker, Duration::from_millis(200));
    let received = broker.statistics().actions.received;
    for outsider in &mut outsiders {
        outsider.ask("pause");
    }
    go_on(&mut broker, Duration::from_secs(1));
    assert_eq!(broker.statistics().actions.received, received);
    assert!(outsiders.iter().all(|outsider| !outsider.sees()));
    // Programs of this machine need no key.
    let mut local = ViewerClient::connect_to(&at, &[Topic::ActionStatus]).unwrap();
    poll_until("the local viewer", &mut broker, |_| local.wait_connected(MOMENT).unwrap());
    local.send_action(&"pause".parse().unwrap()).unwrap();
    let status = support::next("an answer", &mut broker, &mut local, |message| match message {
        ViewerMessage::ActionStatus(status) => Some(status),
        _ => None,
    });
    assert!(status.accepted, "{status:?}");
}

#[test]
fn who_is_taken_from_the_list_is_out_and_who_is_put_there_is_in() {
    if !can_run(true) {
        return;
    }
    let (folder, at) = (Folder::new("revoked"), free_endpoint());
    let mut broker = folder.broker(&at);
    let late = folder.key("late", None);
    let mut commander = Python::start(&folder, &at, Some(&folder.key("commander", Some("command"))));
    let revoked = Python::start(&folder, &at, Some(&folder.key("revoked", Some("watch"))));
    let watcher = Python::start(&folder, &at, Some(&folder.key("watcher", Some("watch"))));
    let newcomer = Python::start(&folder, &at, Some(&late));
    for python in [&commander, &revoked, &watcher] {
        broadcast_until("all see", &mut broker, |_| python.sees());
    }
    assert_eq!(outcome(&mut broker, &mut commander, "pause").0, 0);
    folder.revoke("commander", "command");
    folder.revoke("revoked", "watch");
    fs::copy(late.with_extension("key"), folder.0.join("watch/late.key")).unwrap();
    broadcast_until("the newcomer sees", &mut broker, |_| newcomer.sees());
    // The connection that asks still is the one from before; it is told why nothing comes of it.
    assert_eq!(outcome(&mut broker, &mut commander, "pause"), (1, Some(Refusal::NotAllowed)));
    broadcast_until("the watcher is back", &mut broker, |_| watcher.sees());
    let _before = (revoked.sees(), commander.sees());
    go_on(&mut broker, Duration::from_secs(1));
    assert!(!revoked.sees() && !commander.sees() && watcher.sees());
}

#[test]
fn the_brokers_own_key_is_replaced_while_it_runs() {
    if !can_run(true) {
        return;
    }
    let (folder, at) = (Folder::new("renewed"), free_endpoint());
    let mut broker = folder.broker(&at);
    let key = folder.key("watcher", Some("watch"));
    let before = Python::start(&folder, &at, Some(&key));
    broadcast_until("the watcher sees", &mut broker, |_| before.sees());
    for file in ["broker.key", "broker.key_secret"] {
        fs::remove_file(folder.0.join(file)).unwrap();
    }
    Certificate::generate().unwrap().write(&folder.0, "broker").unwrap();
    let after = Python::start(&folder, &at, Some(&key));
    broadcast_until("a watcher that knows the new key sees", &mut broker, |_| after.sees());
    let _before = before.sees();
    go_on(&mut broker, Duration::from_secs(1));
    assert!(!before.sees(), "it takes the broker for another one");
}

#[test]
fn clients_of_ours_come_with_keys_too() {
    if !can_run(false) {
        return;
    }
    let (folder, at) = (Folder::new("ours"), free_endpoint());
    let mut broker = folder.broker(&at);
    let (command, watch) = (folder.key("command", Some("command")), folder.key("watch", Some("watch")));
    let mut watcher = VehicleStatusClient::connect(&folder.endpoint(&at, &watch)).unwrap();
    let mut vehicle = VehicleStatusClient::connect(&folder.endpoint(&at, &command)).unwrap();
    poll_until("the vehicle", &mut broker, |_| vehicle.wait_connected(MOMENT).unwrap());
    go_on(&mut broker, Duration::from_millis(300));
    assert_eq!(
        (vehicle.send(&VehicleStateFields::default()), watcher.send(&VehicleStateFields::default())),
        (Ok(true), Ok(false))
    );
    let mut viewer = ViewerClient::connect(&folder.endpoint(&at, &command)).unwrap();
    poll_until("the viewer", &mut broker, |_| viewer.wait_connected(MOMENT).unwrap());
    assert!(!matches!(viewer.send_parameter("decision", "kp", 1.0), Err(SendError::Outage)));
    // A key that is not there is an error at once, and not a client that never hears anything.
    let error = ViewerClient::connect(&folder.endpoint(&at, Path::new("/nowhere"))).unwrap_err();
    assert!(error.to_string().contains("/nowhere"), "{error}");
}
