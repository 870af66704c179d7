//! loom models.

use crate::tools::{cargo, executable, output};
use crate::{How, Outcome};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    // These would cut the exploration short.
    command.env_remove("LOOM_MAX_PERMUTATIONS").env_remove("LOOM_MAX_DURATION").env_remove("LOOM_MAX_BRANCHES");
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
    let executable = build()?;
    let names = names(&executable)?;
    let (next, executions, failed) = (AtomicUsize::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    // Processes, not threads: each execution maps and unmaps stacks, and threads of one process wait for each other there.
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Relaxed)) {
            let mut command = models(&executable, Some(name));
            if how.deep {
                command.env("LKAS_DEEP", "1");
            }
            let (passed, printed) = output(&mut command, "").unwrap_or_else(|why| (false, why));
            let explored = printed.lines().filter_map(executions_of);
            let (models, count) = explored.fold((0, 0), |(models, sum), count| (models + 1, sum + count));
            println!("  {name:<76} {count:>9} executions of {models:>2}");
            executions.fetch_add(count, Relaxed);
            if !passed || count == 0 {
                println!("{printed}");
                lock(&failed).push(name.as_str());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    println!("{} executions of {} models", executions.load(Relaxed), names.len());
    let failed = lock(&failed);
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of all models.
fn names(executable: &Path) -> Result<Vec<String>, String> {
    let (_, printed) = output(Command::new(executable).arg("--list"), "")?;
    let names: Vec<String> =
        printed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    if names.is_empty() { Err(format!("there are no models in:\n{printed}")) } else { Ok(names) }
}

/// The count in a line "NAME: COUNT executions, at most …", which is what `explore` prints.
fn executions_of(line: &str) -> Option<u64> {
    line.split_once(" executions, ")?.0.rsplit(' ').next()?.parse().ok()
}
