//! Running cargo inside of cargo, each check in a target folder of its own.

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folder that checks build into, or one in it.
pub(crate) fn target(name: &str) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join(name)
}

/// Cargo in the workspace, building into the target folder `into` (the workspace's own where that is empty), with the
/// toolchain that `+name` chooses where there is one.
pub(crate) fn cargo(toolchain: Option<&str>, into: &str, arguments: &[&str]) -> Command {
    // The proxy of rustup, so that the toolchain can be chosen.
    let mut command = Command::new("cargo");
    command.current_dir(root());
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command.args(toolchain).args(arguments).env("CARGO_TARGET_DIR", target(into));
    command
}

/// Runs a command; `needs` is the command that installs what it may lack, or empty.
pub(crate) fn run(command: &mut Command, needs: &str) -> Outcome {
    let hint = if needs.is_empty() { String::new() } else { format!("; if something is missing: {needs}") };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}{hint}")),
        Err(why) => Err(format!("can't run {command:?}: {why}{hint}")),
    }
}

/// Runs a command and returns whether it succeeded and what it printed, both streams together.
pub(crate) fn output(command: &mut Command, needs: &str) -> Result<(bool, String), String> {
    match command.stdin(Stdio::null()).output() {
        Ok(out) => {
            let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
            Ok((out.status.success(), text))
        }
        Err(why) => Err(format!("can't run {command:?}: {why}; if it is missing: {needs}")),
    }
}

/// Builds and returns the path of the executable named `name`: `command` is `cargo build` or `cargo test --no-run`.
pub(crate) fn executable(command: &mut Command, name: &str) -> Result<PathBuf, String> {
    let out = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|why| format!("can't run {command:?}: {why}"))?;
    if !out.status.success() {
        return Err(format!("{command:?} ended with {}", out.status));
    }
    let lines = String::from_utf8_lossy(&out.stdout);
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| format!("{command:?} built no executable named {name}"))
}

/// The source without comments and tests.
pub(crate) fn code(source: &str) -> String {
    let end = source.find("mod tests {").unwrap_or(source.len());
    source[..end]
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// Copies a file, or a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    let wrong = |why: std::io::Error| format!("{}: {why}", from.display());
    if from.is_dir() {
        for entry in fs::read_dir(from).map_err(wrong)? {
            let from = entry.map_err(wrong)?.path();
            copy(&from, &to.join(from.file_name().unwrap_or_default()))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to)).map_err(wrong)?;
    fs::copy(from, to).map(drop).map_err(wrong)
}

/// Writes a file.
pub(crate) fn write(file: &Path, text: &str) -> Outcome {
    fs::write(file, text).map_err(|why| format!("{}: {why}", file.display()))
}
