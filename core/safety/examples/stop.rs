//! Controls arrive, then stop arriving: the vehicle brakes by itself, and drives again when they come back.
//!
//! `cargo run -p lkas-safety --example stop`

use lkas_messages::{Control, ControlFields, Mode};
use lkas_safety::{LastControl, Reason, SafetyMonitor, SafetyOptions};

/// Seconds from one step of the loop to the next.
const DT: f64 = 0.02;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut monitor = SafetyMonitor::new(SafetyOptions::default());
    let drive = ControlFields { mode: Mode::LaneKeeping, throttle: 0.2, brake: 0.0, ..Default::default() };
    let control = Control::try_from(drive)?;
    let mut speed = 10.0_f64; // m/s
    let mut stood = false;
    for step in 0..400 {
        let now = f64::from(step) * DT;
        // From 1 s to 5 s nothing comes.
        let arrived = !(1.0..5.0).contains(&now);
        let last = arrived.then_some(LastControl { control, age_s: 0.01, contract: Ok(None) });
        let (execute, events) = monitor.decide(DT, now, last, speed == 0.0, || Some(Reason::WriterDied));
        for event in events {
            println!("{now:5.2} s, {speed:4.1} m/s: {event}");
        }
        let acceleration = 3.0 * f64::from(execute.throttle()) - 8.0 * f64::from(execute.brake());
        speed = (speed + acceleration * DT).max(0.0);
        stood |= speed == 0.0;
    }
    assert!(stood && monitor.safe_stops() == 1, "it came to a standstill by itself");
    assert!(speed > 0.0, "and drives again");
    Ok(())
}
