//! The running system.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

pub(crate) fn benches(_: &How) -> Outcome {
    run(&mut cargo(None, "", &["bench", "-p", "lkas-benches"]), "")
}

pub(crate) fn demo(_: &How) -> Outcome {
    let report = std::env::temp_dir().join(format!("lkas-verify-{}.json", std::process::id()));
    let namespace = format!("verify-{}", std::process::id());
    let arguments = ["run", "--release", "--", "demo", "--no-viewer", "--duration", "20", "--namespace", &namespace];
    run(cargo(None, "", &arguments).arg("--report").arg(&report), "")?;
    let text = std::fs::read_to_string(&report).map_err(|why| format!("there is no report: {why}"))?;
    std::fs::remove_file(&report).map_err(|why| why.to_string())?;
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|why| why.to_string())?;
    let offset = report["lateral_offset_m"]["max_abs"].as_f64().unwrap_or(f64::INFINITY);
    if report["torn"] != 0 || offset >= 0.6 || offset == 0.0 || report["controls"].as_u64() < Some(60) {
        return Err("expected nothing torn, at least 60 controls, and the vehicle to drive in its lane".into());
    }
    Ok(())
}
