//! What priorities are worth: frames a second and safe stops of the demonstration, with and without them, beside threads
//! that want all of the processor.
//!
//! ```sh
//! cargo build --release -p lkas && cargo run --release -p lkas --example load -- 8 30
//! ```
//!
//! The arguments are the number of busy threads and the seconds of each run. Real time needs root or an rtprio limit.
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

static END: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), lkas::Failure> {
    let argument = |place: usize, otherwise: u32| match std::env::args().nth(place) {
        Some(text) => text.parse().map_err(|_| format!("expected a number, found {text}")),
        None => Ok(otherwise),
    };
    let (busy, seconds) = (argument(1, 8)?, argument(2, 30)?);
    let own = std::env::current_exe()?;
    // The example lies in a folder beside the programs.
    let program = own.parent().and_then(Path::parent).ok_or("this program is nowhere")?.join("lkas");
    println!("{busy} busy threads, {} processors, {seconds} s each", std::thread::available_parallelism()?);
    println!("{:<10} {:>10} {:>11} {:>13} {:>9}", "PRIORITY", "FRAMES/S", "SAFE STOPS", "p99 LATENCY", "RESTARTS");
    let loops: Vec<_> = (0..busy)
        .map(|_| {
            std::thread::spawn(|| {
                while !END.load(Ordering::Relaxed) {
                    std::hint::black_box(0);
                }
            })
        })
        .collect();
    for priority in [None, Some("nice:-10"), Some("fifo:20")] {
        let report = std::env::temp_dir().join(format!("lkas-load-{}.json", std::process::id()));
        let mut command = Command::new(&program);
        command.args(["demo", "--no-viewer", "--quiet", "--instance", "77", "--duration", &seconds.to_string()]);
        command.arg("--report").arg(&report).args(priority.map(|priority| format!("--priority={priority}")));
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        if !status.success() {
            return Err(format!("{}: {status}", program.display()).into());
        }
        let found: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
        std::fs::remove_file(&report)?;
        let number = |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN);
        println!(
            "{:<10} {:>10.1} {:>11} {:>10.1} ms {:>9}",
            priority.unwrap_or("none"),
            number(&found["fps"]),
            found["safe_stops"].to_string(),
            number(&found["latency_ms"]["p99"]),
            found["restarts"].to_string()
        );
    }
    END.store(true, Ordering::Relaxed);
    loops.into_iter().try_for_each(|busy| busy.join().map_err(|_| "a busy thread panicked".into()))
}
