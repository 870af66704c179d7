//! loom models.

use crate::tools::{cargo, executable};
use crate::{How, Outcome};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The build of the models, into a target folder.
pub(crate) fn building(into: &str) -> Command {
    let mut command = cargo(None, into, &["test", "--release", "--no-run", "-p", "lkas-verify", "--test", "models"]);
    command.env("RUSTFLAGS", "--cfg lkas_loom");
    command
}

/// Builds the models and returns their executable.
pub(crate) fn build() -> Result<PathBuf, String> {
    executable(&mut building("loom"), "models")
}

/// A run of models: all of them, or one by its name, as `cargo test` would print it.
pub(crate) fn models(executable: &Path, only: Option<&str>) -> Command {
    let mut command = Command::new(executable);
    command.arg("--nocapture").env("RUST_BACKTRACE", "0").env_remove("LKAS_WEAKEN").env_remove("LKAS_DEEP");
    if let Some(model) = only {
        command.arg(model).arg("--exact");
    }
    command
}

/// Whether `model` fails: neither passes nor is missing.
pub(crate) fn fails(command: &mut Command, model: &str) -> Result<bool, String> {
    let out = command.output().map_err(|why| format!("can't run {command:?}: {why}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if text.contains("test result: ok. 1 passed") {
        return Ok(false);
    }
    // A panic while loom unwinds from the first one aborts.
    let aborted = out.status.signal() == Some(6) && text.contains("running 1 test");
    if aborted || text.contains("test result: FAILED. 0 passed; 1 failed") {
        return Ok(true);
    }
    Err(format!("{model} did not run: {}\n{text}", out.status))
}

pub(crate) fn loom(how: &How) -> Outcome {
    let mut command = models(&build()?, None);
    if how.deep {
        command.env("LKAS_DEEP", "1");
    }
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|why| why.to_string())?;
    let (mut models, mut executions) = (0_u64, 0_u64);
    for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
        let line = line.map_err(|why| why.to_string())?;
        println!("{line}");
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(at) = words.iter().position(|word| *word == "executions,") {
            models += 1;
            executions += words.get(at.wrapping_sub(1)).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    let status = child.wait().map_err(|why| why.to_string())?;
    println!("{executions} executions of {models} models");
    if !status.success() {
        return Err(format!("a model failed: {status}"));
    }
    if executions < 100_000 { Err(format!("only {executions} executions: models are missing")) } else { Ok(()) }
}
