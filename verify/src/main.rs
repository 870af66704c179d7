//! `cargo verify`: every check of this project that is more than `cargo test`, each one word.
//!
//! A check that can't run has failed, and says what to install.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Why a check failed, for a person.
type Outcome = Result<(), String>;

/// A check: its name, what it shows, and how it runs.
struct Check {
    name: &'static str,
    shows: &'static str,
    run: fn(&Run) -> Outcome,
}

/// How to run: `--deep` looks further where a check can.
struct Run {
    deep: bool,
}

const CHECKS: &[Check] = &[
    Check { name: "format", shows: "the code is formatted", run: format },
    Check { name: "lints", shows: "neither compiler, clippy nor rustdoc has anything to say", run: lints },
    Check { name: "loom", shows: "the channel protocol holds in every interleaving, whoever dies where", run: loom },
    Check { name: "miri", shows: "core has no undefined behaviour, under both aliasing models", run: miri },
    Check { name: "no-std", shows: "core builds for microcontrollers", run: no_std },
    Check { name: "benches", shows: "the benches run", run: benches },
    Check {
        name: "demo",
        shows: "the system drives for 20 s: nothing torn, in its lane; prints the figures",
        run: demo,
    },
];

/// Targets without an operating system that core is built for.
const TARGETS: [&str; 3] = ["thumbv7m-none-eabi", "thumbv7em-none-eabihf", "riscv32imac-unknown-none-elf"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let run = Run { deep: arguments.iter().any(|argument| argument == "--deep") };
    let names: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--deep").collect();
    let chosen: Vec<&Check> = match names[..] {
        [] => {
            list();
            return ExitCode::SUCCESS;
        }
        ["all"] => CHECKS.iter().collect(),
        _ => CHECKS.iter().filter(|check| names.contains(&check.name)).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| **name != "all" && !CHECKS.iter().any(|check| check.name == **name))
    {
        eprintln!("there is no check \"{unknown}\"");
        list();
        return ExitCode::from(2);
    }
    let mut failed = 0;
    let mut table = String::new();
    for check in chosen {
        println!("\n== {}: {}", check.name, check.shows);
        let start = Instant::now();
        let outcome = (check.run)(&run);
        let verdict = if outcome.is_ok() { "passed" } else { "FAILED" };
        table += &format!("  {:<10} {verdict} in {:>4} s\n", check.name, start.elapsed().as_secs());
        if let Err(why) = outcome {
            eprintln!("{}: {why}", check.name);
            failed += 1;
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

/// The workspace's folder.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Cargo in the workspace, building into a folder of its own where `target` names one.
fn cargo(toolchain: Option<&str>, target: Option<&str>, arguments: &[&str]) -> Command {
    // The proxy of rustup, so that the toolchain can be chosen.
    let mut command = Command::new("cargo");
    command.current_dir(root());
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command.args(toolchain).args(arguments);
    let base = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    command.env("CARGO_TARGET_DIR", target.map_or(base.clone(), |name| base.join(name)));
    command
}

/// Runs a command; `needs` says how to get what it may lack.
fn run(command: &mut Command, needs: &str) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}{needs}")),
        Err(why) => Err(format!("can't run {command:?}: {why}{needs}")),
    }
}

fn format(_: &Run) -> Outcome {
    run(&mut cargo(None, None, &["fmt", "--all", "--check"]), "; if it is missing: rustup component add rustfmt")
}

fn lints(_: &Run) -> Outcome {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(&mut cargo(None, Some("lints"), &clippy), "; if it is missing: rustup component add clippy")?;
    let mut docs = cargo(None, Some("lints"), &["doc", "--workspace", "--no-deps", "--document-private-items"]);
    run(docs.env("RUSTDOCFLAGS", "-D warnings"), "")
}

fn loom(how: &Run) -> Outcome {
    let arguments = ["test", "--release", "-p", "lkas-verify", "--test", "models", "--", "--nocapture"];
    let mut command = cargo(None, Some("loom"), &arguments);
    command.env("RUSTFLAGS", "--cfg lkas_loom");
    if how.deep {
        command.env("LKAS_DEEP", "1");
    }
    run(&mut command, "")
}

fn miri(how: &Run) -> Outcome {
    let seeds = if how.deep { "0..64" } else { "0..4" };
    for model in ["", "-Zmiri-tree-borrows"] {
        let mut command = cargo(Some("+nightly"), Some("miri"), &["miri", "test", "-p", "lkas-core", "--lib"]);
        command.env("MIRIFLAGS", format!("{model} -Zmiri-many-seeds={seeds}")).env_remove("RUSTFLAGS");
        run(&mut command, "; if it is missing: rustup component add --toolchain nightly miri rust-src")?;
    }
    Ok(())
}

fn no_std(_: &Run) -> Outcome {
    for target in TARGETS {
        println!("{target}");
        let mut command = cargo(None, Some("no-std"), &["build", "-p", "lkas-core", "--target", target]);
        run(&mut command, &format!("; if it is missing: rustup target add {target}"))?;
    }
    Ok(())
}

fn benches(_: &Run) -> Outcome {
    run(&mut cargo(None, None, &["bench", "-p", "lkas-benches"]), "")
}

fn demo(_: &Run) -> Outcome {
    let report = std::env::temp_dir().join(format!("lkas-verify-{}.json", std::process::id()));
    let namespace = format!("verify-{}", std::process::id());
    let arguments = ["run", "--release", "--", "demo", "--no-viewer", "--duration", "20", "--namespace", &namespace];
    run(cargo(None, None, &arguments).arg("--report").arg(&report), "")?;
    let text = std::fs::read_to_string(&report).map_err(|why| format!("there is no report: {why}"))?;
    std::fs::remove_file(&report).map_err(|why| why.to_string())?;
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    let offset = report["lateral_offset_m"]["max_abs"].as_f64().unwrap_or(f64::INFINITY);
    if report["torn"] != 0 || offset >= 0.6 || offset == 0.0 || report["controls"].as_u64() < Some(60) {
        return Err("expected nothing torn, at least 60 controls, and the vehicle to drive in its lane".into());
    }
    Ok(())
}
