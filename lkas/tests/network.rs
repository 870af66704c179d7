//! Who may reach the broker, as the command line has it.
#![allow(missing_docs)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn lkas(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lkas")).args(arguments).output().unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn keys_are_made_once_and_the_secret_is_its_owners() {
    let folder = std::env::temp_dir().join(format!("lkas-keygen-{}", std::process::id()));
    let path = folder.to_str().unwrap();
    let made = lkas(&["keygen", "--folder", path]);
    assert!(made.status.success(), "{}", words(&made));
    let mode = |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("broker.key_secret"), mode("broker.key")), (0o600, 0o644));
    assert!(folder.join("watch").is_dir() && folder.join("command").is_dir());
    assert!(!lkas(&["keygen", "--folder", path]).status.success(), "what is there is not replaced");
    let odd = lkas(&["keygen", "../me", "--folder", path]);
    assert!(!odd.status.success() && words(&odd).contains("no name"), "{}", words(&odd));
    let doctor = || String::from_utf8_lossy(&lkas(&["doctor", "--keys", path]).stdout).into_owned();
    assert!(doctor().contains(&format!("ok    the broker's keys in {path}")), "{}", doctor());
    // A pipe in place of a key would be waited for.
    let pipe = folder.join("watch").join("pipe.key");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(doctor().contains(&format!("note  {}", pipe.display())), "{}", doctor());
    std::fs::set_permissions(folder.join("broker.key_secret"), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(doctor().contains("BAD   ") && doctor().contains("chmod 600"), "{}", doctor());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn commands_are_not_opened_to_a_network_by_accident() {
    let namespace = format!("test-{}-open", std::process::id());
    let refused = lkas(&["broker", "--namespace", &namespace, "--command-on", "0.0.0.0"]);
    let words = words(&refused);
    assert!(refused.status.code() == Some(2) && words.contains("--keys") && words.contains("--insecure"), "{words}");
}

/// How often the threads of a process have gone to sleep, which is how often they were awake.
fn sleeps(process: &Child) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    let of = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    threads.filter_map(|thread| of(std::fs::read_to_string(thread.ok()?.path().join("status")).ok()?)).sum()
}

#[test]
fn a_broker_that_nobody_needs_sleeps() {
    let namespace = format!("test-{}-idle", std::process::id());
    let port = support::free_ports(6).to_string();
    let mut broker = Command::new(env!("CARGO_BIN_EXE_lkas"))
        .args(["broker", "--namespace", &namespace, "--broker-port", &port])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Past its start.
    let bound = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap())).is_err() {
        assert!(bound.elapsed() < support::PATIENCE, "no broker");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (sleeps(&broker), Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    let rate = (sleeps(&broker) - before) as f64 / start.elapsed().as_secs_f64();
    support::signal("TERM", broker.id());
    assert!(broker.wait().unwrap().success());
    assert!((1.0..20.0).contains(&rate), "{rate:.1} wake-ups a second");
    println!("{rate:.1} wake-ups a second");
}
