//! `cargo verify`: every check of this project that is more than `cargo test`, each one word.
//!
//! A check that can't run has failed, and says what to install.
#![forbid(unsafe_code)]

mod checks;
mod tools;

use std::process::ExitCode;
use std::time::Instant;

/// Why a check failed, for a person.
type Outcome = Result<(), String>;

/// A check: its name, what it shows, and how it runs.
struct Check {
    name: &'static str,
    shows: &'static str,
    run: fn(&How) -> Outcome,
}

/// How to run: `--deep` looks further where a check can; among all others, a check that can be short is.
struct How {
    deep: bool,
    short: bool,
}

const fn check(name: &'static str, shows: &'static str, run: fn(&How) -> Outcome) -> Check {
    Check { name, shows, run }
}

const CHECKS: &[Check] = &[
    check("format", "the code is formatted", checks::code::format),
    check("lints", "neither compiler, clippy nor rustdoc has anything to say", checks::code::lints),
    check("promises", "what must not compile does not, for the reason given", checks::code::promises),
    check(
        "loom",
        "the channel protocol holds in every interleaving within bounds, whoever dies where",
        checks::models::loom,
    ),
    check("weakened", "no ordering is stronger than needed: weaker ones fail a model", checks::weakened::weakened),
    check("mutations", "the models see every mutation of the algorithm", checks::mutations::mutations),
    check("random", "random histories against a plain model, and random bytes everywhere", checks::random::random),
    check("miri", "no undefined behaviour, under both aliasing models and many schedules", checks::sanitizers::miri),
    check("tsan", "no data race between real threads", checks::sanitizers::tsan),
    check("fuzz", "no bytes make a decoder panic", checks::fuzz::fuzz),
    check("no-std", "core builds for microcontrollers", checks::targets::no_std),
    check(
        "firmware",
        "a Cortex-M3 runs core in an interrupt, messages over a serial line, and a safe stop",
        checks::targets::firmware,
    ),
    check("package", "every library builds from its package", checks::packages::package),
    check("minimal", "the oldest dependencies and the oldest compiler will do", checks::packages::minimal),
    check("features", "every combination of features builds", checks::packages::features),
    check("licences", "licences and sources of all dependencies", checks::packages::licences),
    check("api", "the public items are those listed in docs/api", checks::packages::api),
    check("examples", "the examples and the README's snippets run", checks::examples::examples),
    check("torture", "channels outlive thousands of killed and suspended processes", checks::torture::torture),
    check(
        "benches",
        "what channels cost against rivals and limits, in benches/README.md; in short among all checks",
        checks::system::benches,
    ),
    check(
        "python",
        "the package for Python builds, installs, is typed, and lives up to its word beside programs in Rust",
        checks::python::python,
    ),
    check(
        "scenarios",
        "in every scenario the vehicle stays in its lane, or stops; some fail where a safety mechanism is taken out",
        checks::scenarios::scenarios,
    ),
    check(
        "record",
        "a recording is there though its recorder was killed, and detection answers it alike each time it is played",
        checks::record::record,
    ),
    check(
        "network",
        "after an outage of a real network whoever watches is back, and nothing that was asked for meanwhile is done",
        checks::network::network,
    ),
    check(
        "page",
        "a person sees in a real browser what is so, while processes die, are suspended and come back",
        checks::page::page,
    ),
    check(
        "foxglove",
        "the client of Foxglove's own protocol sees the system live, sets parameters and commands, and may be slow",
        checks::page::foxglove,
    ),
    check(
        "mirror",
        "a system on three machines whose clocks differ drives, stops when a link or a process is lost, and drives on",
        checks::mirror::mirror,
    ),
    check("demo", "the system drives for 20 s: nothing torn, in its lane; prints the figures", checks::system::demo),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let deep = arguments.iter().any(|argument| argument == "--deep");
    let names: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--deep").collect();
    let how = How { deep, short: !deep && names.contains(&"all") };
    if let Some(unknown) = names.iter().find(|name| **name != "all" && !CHECKS.iter().any(|check| check.name == **name))
    {
        eprintln!("there is no check \"{unknown}\"");
        list();
        return ExitCode::from(2);
    }
    if names.is_empty() {
        list();
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    let mut table = String::new();
    for check in CHECKS.iter().filter(|check| names.contains(&check.name) || names.contains(&"all")) {
        println!("\n== {}: {}", check.name, check.shows);
        let start = Instant::now();
        let outcome = (check.run)(&how);
        let seconds = start.elapsed().as_secs();
        match outcome {
            Ok(()) => {
                println!("{}: passed in {seconds} s", check.name);
                table += &format!("  {:<10} passed in {seconds:>4} s\n", check.name);
            }
            Err(why) => {
                eprintln!("{}: FAILED in {seconds} s: {why}", check.name);
                table += &format!("  {:<10} FAILED in {seconds:>4} s: {why}\n", check.name);
                failed += 1;
            }
        }
    }
    println!("\n{table}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list() {
    println!("cargo verify NAME [NAME ...] [--deep], or cargo verify all:");
    for check in CHECKS {
        println!("  {:<10} {}", check.name, check.shows);
    }
}
