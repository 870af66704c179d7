//! `lkas` itself: detection and decision as processes of their own, and the broker if somebody shall watch.

use crate::Failure;
use crate::options::{PROCESSES, SystemOptions};
use crate::stop::Stop;
use crate::supervisor::{Plan, Supervisor};
use core::time::Duration;

/// The pause before most processes are started again.
pub const PAUSE: Duration = Duration::from_millis(100);

/// The pause before the decision server is started again: longer than the age at which the vehicle stops by itself. A
/// decision server that died may have steered nonsense, so the vehicle comes to a stop before a new one drives on.
pub const DECISION_PAUSE: Duration = Duration::from_secs(1);

/// How the servers run.
#[derive(clap::Args, Clone, Debug)]
pub struct ServerOptions {
    /// How lanes are found: cv is Canny edges and a Hough transform
    #[arg(long, value_enum, default_value_t = Method::Cv)]
    pub method: Method,
    /// Start the broker too, so that viewers can watch and tune
    #[arg(long)]
    pub broadcast: bool,
}

/// A way to find lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// Classical computer vision.
    Cv,
}

/// One of this program's subcommands as a process.
#[must_use]
pub fn server(name: &'static str, pause: Duration, system: &SystemOptions, options: &[String]) -> Plan {
    let arguments = [name.to_owned()].into_iter().chain(options.iter().cloned()).chain(system.arguments());
    Plan {
        name,
        arguments: arguments.collect(),
        pause,
        // Who only watches, or passes on, can't stop the vehicle; without these it does not drive.
        essential: ["detection", "decision", "simulation"].contains(&name),
        // A name that is not usable is an error of the process itself, which says so.
        status: PROCESSES.contains(&name).then(|| system.status_channel(name).ok()).flatten(),
    }
}

/// The detection and the decision server.
#[must_use]
pub fn plans(system: &SystemOptions, broadcast: bool) -> [Plan; 2] {
    let options = if broadcast { vec!["--broadcast".into()] } else { vec![] };
    [server("detection", PAUSE, system, &options), server("decision", DECISION_PAUSE, system, &options)]
}

/// Forgets what servers of an earlier system said last: this is a new start, whose values are those of the configuration.
/// What a vehicle said stays: an emergency stop that was latched is to be released by a person.
pub fn begin(system: &SystemOptions) {
    for process in ["detection", "decision", "broker"] {
        // Of one that still runs it stays, and the process that finds it says so.
        let _ = system.status_channel(process).map(|name| lkas_shm::unlink(&name));
    }
}

/// Runs the servers until `stop` is set.
///
/// # Errors
/// A process can't run.
pub fn run(system: &SystemOptions, options: &ServerOptions, stop: &Stop) -> Result<(), Failure> {
    let Method::Cv = options.method;
    let broker = options.broadcast.then(|| server("broker", PAUSE, system, &[]));
    begin(system);
    let mut supervisor = Supervisor::start(broker.into_iter().chain(plans(system, options.broadcast)).collect())?;
    while !stop.is_set() {
        supervisor.look()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
