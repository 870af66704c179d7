//! Outages of a real network: a system in one network namespace, who watches and commands in another, and a link between
//! them that is taken down.

use crate::tools::{cargo, executable};
use crate::{How, Outcome};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The system's address and that of who watches, on the link.
const ADDRESSES: [&str; 2] = ["10.213.77.1", "10.213.77.2"];

/// How soon after an outage our programs are back.
const WITHIN: Duration = Duration::from_secs(1);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes the link down and up again. Outages are short among all checks; with `--deep` one of 40 s is among them.
pub(crate) fn network(how: &How) -> Outcome {
    if let Err(why) = ip(&["netns", "list"]).and_then(|()| Namespaces::new("probe").map(drop)) {
        println!(
            "LEFT OUT: no network namespaces here ({why}). Nothing was checked. Run it as root where they are allowed."
        );
        return Ok(());
    }
    let lkas = executable(&mut cargo(None, "", &["build", "-p", "lkas", "--bin", "lkas"]), "lkas")?;
    let probe = executable(&mut cargo(None, "", &["build", "-p", "lkas-zmq", "--example", "outage"]), "outage")?;
    if !Command::new("python3").args(["-c", "import zmq"]).status().is_ok_and(|status| status.success()) {
        return Err("python3 has no pyzmq, in which the unchanged client is; pip install pyzmq".into());
    }
    let namespaces = Namespaces::new("outage")?;
    let broker = [lkas.to_string_lossy().into_owned(), "broker".into()];
    let options = ["--insecure", "--watch-on", ADDRESSES[0], "--command-on", ADDRESSES[0]].map(str::to_owned);
    let name = ["--namespace".to_owned(), format!("verify-network-{}", std::process::id())];
    let _broker = namespaces.start(0, &[&broker[..], &options, &name].concat())?;
    let ours = [probe.to_string_lossy().into_owned(), ADDRESSES[0].into()];
    let mut ours = Probe::start(&namespaces, &ours)?;
    let plain = ["python3".to_owned(), "-c".into(), PLAIN.into(), ADDRESSES[0].into()];
    let plain = Probe::start(&namespaces, &plain)?;
    ours.wait_for("tick")?;
    plain.wait_for("tick")?;
    let outages: &[u64] = match how {
        How { deep: true, .. } => &[10, 40],
        How { short: true, .. } => &[4],
        _ => &[10],
    };
    for outage in outages {
        ours.ask("pause")?;
        ours.wait_for("accepted")?;
        namespaces.link(false)?;
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(3));
        // What came before, or was under way.
        for probe in [&ours, &plain] {
            probe.lines.try_iter().for_each(drop);
        }
        // The client knows by now, and says so instead of keeping it.
        ours.ask("pause")?;
        ours.wait_for("refused")?;
        ours.ask("emergency_stop")?;
        std::thread::sleep(Duration::from_secs(*outage).saturating_sub(start.elapsed()));
        for probe in [&ours, &plain] {
            if probe.lines.try_iter().any(|line| line == "tick") {
                return Err("something came over a link that is down: this check sees nothing".into());
            }
        }
        namespaces.link(true)?;
        let up = Instant::now();
        ours.wait_for("tick")?;
        let ours_took = up.elapsed();
        // The answer to what was asked for before the outage is not among what comes now: only the stop's.
        ours.wait_for("stopped")?;
        let stop_took = up.elapsed();
        plain.wait_for("tick")?;
        println!(
            "after {outage} s without a link: a viewer of ours is back in {:.2} s, its emergency stop there in {:.2} s, an \
             unchanged one back in {:.2} s",
            ours_took.as_secs_f64(),
            stop_took.as_secs_f64(),
            up.elapsed().as_secs_f64()
        );
        // A tick comes once a second, and at once to who subscribes.
        if ours_took > WITHIN + Duration::from_millis(200) {
            return Err(format!("a viewer of ours was back only {ours_took:?} after the link, expected {WITHIN:?}"));
        }
        ours.ask("release_emergency_stop")?;
        ours.wait_for("accepted")?;
    }
    Ok(())
}

/// A subscriber as programs of others are: no option is set.
const PLAIN: &str = "
import sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.subscribe(b'tick')
socket.connect(f'tcp://{sys.argv[1]}:5557')
while True:
    print(socket.recv_multipart()[0].decode(), flush=True)
";

fn ip(arguments: &[&str]) -> Outcome {
    let out =
        Command::new("ip").args(arguments).output().map_err(|why| format!("ip: {why}; apt-get install iproute2"))?;
    let words = String::from_utf8_lossy(&out.stderr);
    if out.status.success() { Ok(()) } else { Err(format!("ip {}: {}", arguments.join(" "), words.trim())) }
}

/// Two network namespaces with a link between them; both are gone when this is dropped.
struct Namespaces([String; 2]);

impl Namespaces {
    fn new(what: &str) -> Result<Self, String> {
        let id = std::process::id();
        let names = Self([format!("lkas-{what}-{id}-a"), format!("lkas-{what}-{id}-b")]);
        let [a, b] = &names.0;
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        ip(&["-n", a, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", b])?;
        for (name, address) in names.0.iter().zip(ADDRESSES) {
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "link0"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "link", "set", "link0", "up"])?;
        }
        Ok(names)
    }

    /// Makes the link pass everything, or swallow it without a word to who watches, as a radio does.
    fn link(&self, up: bool) -> Outcome {
        let [a, _] = &self.0;
        ip(&["-n", a, "link", "set", "link0", if up { "up" } else { "down" }])
    }

    fn start(&self, which: usize, command: &[String]) -> Result<Ended, String> {
        let name = self.0.get(which).ok_or("no such namespace")?;
        let child = Command::new("ip")
            .args(["netns", "exec", name])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|why| format!("ip netns exec: {why}"))?;
        Ok(Ended(child))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            // One that was not made is not there to be removed.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// A process that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // In good order, so that the broker leaves nothing behind.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A program that says line by line what it sees.
struct Probe {
    lines: Receiver<String>,
    input: ChildStdin,
    _process: Ended,
}

impl Probe {
    fn start(namespaces: &Namespaces, command: &[String]) -> Result<Self, String> {
        let mut process = namespaces.start(1, command)?;
        let (input, output) = (process.0.stdin.take(), process.0.stdout.take());
        let (input, output) = input.zip(output).ok_or("a process without streams")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { lines, input, _process: process })
    }

    fn ask(&mut self, action: &str) -> Outcome {
        writeln!(self.input, "{action}").map_err(|why| format!("the probe is gone: {why}"))
    }

    fn wait_for(&self, expected: &str) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.starts_with(expected) => return Ok(()),
                Ok(line) if line == "tick" => {}
                Ok(line) => others.push(line),
                Err(_) => {
                    return Err(format!("no \"{expected}\" within {PATIENCE:?}; besides ticks came {others:?}"));
                }
            }
        }
    }
}
