//! The running system.

use super::python;
use crate::tools::{cargo, root, run, target};
use crate::{How, Outcome};
use std::fs;
use std::process::Command;

/// Runs every bench and makes the report from what they leave: in its place in the repository, or among what is built
/// where the figures are of the short form. With `--deep` also the whole system.
pub(crate) fn benches(how: &How) -> Outcome {
    let found = target("benches-found");
    // Nothing of an earlier run may stand in for a bench that was not run.
    let _ = fs::remove_dir_all(&found);
    fs::create_dir_all(&found).map_err(|why| format!("{}: {why}", found.display()))?;
    let mut benches = cargo(None, "", &["bench", "-p", "lkas-benches", "--features", "rivals"]);
    if how.short {
        benches.args(["--", "--short"]);
    }
    run(benches.env("LKAS_BENCHES", &found), "apt-get install strace valgrind")?;
    if how.deep {
        whole_system()?;
    }
    let report = ["run", "--release", "-p", "lkas-benches", "--features", "rivals", "--bin", "report", "--"];
    let place = if how.short { target("benches-report") } else { root().join("benches") };
    run(cargo(None, "", &report).arg(&found).arg(place), "")
}

/// What the whole system costs, and the broker beside a plain one, as programs in Python see it. Where `LKAS_ORIGINAL` names a
/// checkout of the original system, that one does the same in turn.
fn whole_system() -> Outcome {
    run(&mut cargo(None, "", &["build", "--release", "-p", "lkas"]), "")?;
    let program = target("release/lkas");
    let benches = root().join("benches");
    let programs = python::with_package(&["websockets", "pyyaml", "rich"])?;
    let mut system = Command::new(&programs);
    system.arg(benches.join("system.py")).arg(&program).arg("--into").arg(benches.join("system.md"));
    if let Some(original) = std::env::var_os("LKAS_ORIGINAL") {
        system.arg("--original").arg(original);
    }
    run(&mut system, "")?;
    run(Command::new(programs).arg(benches.join("relay.py")).arg(program), "")
}

pub(crate) fn demo(_: &How) -> Outcome {
    let report = std::env::temp_dir().join(format!("lkas-verify-{}.json", std::process::id()));
    let namespace = format!("verify-{}", std::process::id());
    let arguments = ["run", "--release", "--", "demo", "--no-viewer", "--duration", "20", "--namespace", &namespace];
    run(cargo(None, "", &arguments).arg("--report").arg(&report), "")?;
    let text = fs::read_to_string(&report).map_err(|why| format!("there is no report: {why}"))?;
    fs::remove_file(&report).map_err(|why| why.to_string())?;
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    let offset = report["lateral_offset_m"]["max_abs"].as_f64().unwrap_or(f64::INFINITY);
    if report["torn"] != 0 || offset >= 0.6 || offset == 0.0 || report["controls"].as_u64() < Some(60) {
        return Err("expected nothing torn, at least 60 controls, and the vehicle to drive in its lane".into());
    }
    Ok(())
}
