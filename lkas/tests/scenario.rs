//! `lkas scenario --real-time`: a scenario over the processes of a real system.
#![allow(missing_docs)]

use serde_json::Value;
use std::process::Command;

/// Drives that scenario and returns whether it passed, and its report.
fn drive(name: &str, text: &str) -> (bool, Value) {
    let file = std::env::temp_dir().join(format!("lkas-{name}-{}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lkas"));
    let out = command.args(["scenario", "--real-time", "--json"]).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let reports: Value = serde_json::from_str(&said)
        .unwrap_or_else(|why| panic!("{why}: {said}{}", String::from_utf8_lossy(&out.stderr)));
    (out.status.success(), reports[0].clone())
}

const ROAD: &str = "duration_s = 16.0\n[road]\nparts = [{ straight = 900.0 }]\n";

/// Detection is killed while the vehicle drives: it stops in its lane and stands. And who expects otherwise is told.
#[test]
fn a_detection_that_is_killed_stops_the_vehicle_and_fails_who_expects_that_it_drives() {
    let fault = "[[faults]]\nwhat = \"detection\"\nfrom_s = 10.0\n";
    let text = format!("{ROAD}{fault}[expect]\noutcome = \"drives\"\n");
    let (passed, report) = drive("killed", &text);
    assert!(!passed, "{report}");
    assert_eq!(report["failures"][0], "the vehicle stops, expected that it drives", "{report}");
    assert_eq!(report["drives_at_end"], false, "{report}");
    assert!(report["max_offset_m"].as_f64() < Some(0.85) && report["outside_unstopped_s"] == 0.0, "{report}");
}

/// Controls that are damaged on the way are not executed.
#[test]
fn damaged_controls_stop_the_vehicle() {
    let fault = "[[faults]]\nwhat = \"damaged\"\nfrom_s = 10.0\n";
    let text = format!("duration_s = 16.0\n{fault}[expect]\noutcome = \"stops\"\n");
    let (passed, report) = drive("damaged", &text);
    assert!(passed, "{report}");
}
