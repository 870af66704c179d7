//! `lkas` itself: detection and decision as processes of their own, and the broker if somebody shall watch.

use crate::Failure;
use crate::notify::Notify;
use crate::options::{PROCESSES, SystemOptions};
use crate::orphans;
use crate::status::{Seen, State, StatusWatch};
use crate::stop::Stop;
use crate::supervisor::{Plan, Supervisor};
use std::time::{Duration, Instant};

/// The pause before most processes are started again.
pub const PAUSE: Duration = Duration::from_millis(100);

/// The pause before the decision server is started again: longer than the age at which the vehicle stops by itself. A
/// decision server that died may have steered nonsense, so the vehicle comes to a stop before a new one drives on.
pub const DECISION_PAUSE: Duration = Duration::from_secs(1);

/// The processes without which the vehicle does not drive. Who only watches, or passes on, can't stop it.
pub const ESSENTIAL: [&str; 3] = ["detection", "decision", "simulation"];

/// How long processes of a system that was just ended, or killed, may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(1);

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
        essential: ESSENTIAL.contains(&name),
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
/// Processes that an earlier system left suspended are ended.
///
/// # Errors
/// A process of these `names` runs already.
pub fn begin(system: &SystemOptions, names: &[&str]) -> Result<(), Failure> {
    orphans::end(system);
    let deadline = Instant::now() + GONE_WITHIN;
    while let Some((name, pid)) = names.iter().find_map(|name| Some((name, running(system, name)?))) {
        if Instant::now() >= deadline {
            let what = u32::try_from(pid).ok().and_then(orphans::suspended).unwrap_or_else(|| "end it".to_owned());
            return Err(format!(
                "a system runs here already: its {name} is process {pid}; {what}, or give this one a number of its own \
                 with {}",
                system.another()
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for process in ["detection", "decision", "broker", "viewer"] {
        // Of one that still runs it stays, and the process that finds it says so.
        let _ = system.status_channel(process).map(|name| lkas_shm::unlink(&name));
    }
    Ok(())
}

/// The process that says that it is this one.
fn running(system: &SystemOptions, name: &str) -> Option<u64> {
    let seen = StatusWatch::new(system.status_channel(name).ok()?).look()?;
    seen.is_alive.then_some(seen.status.process)
}

/// Runs the servers until `stop` is set.
///
/// # Errors
/// A process can't run.
pub fn run(system: &SystemOptions, options: &ServerOptions, stop: &Stop) -> Result<(), Failure> {
    let Method::Cv = options.method;
    let broker = options.broadcast.then(|| server("broker", PAUSE, system, &[]));
    begin(system, &["detection", "decision", "broker"][..2 + usize::from(options.broadcast)])?;
    let mut watches = ["detection", "decision"]
        .map(|name| system.status_channel(name).map(StatusWatch::new).map(|watch| (name, watch)));
    let mut supervisor = Supervisor::start(broker.into_iter().chain(plans(system, options.broadcast)).collect())?;
    let mut notify = Notify::from_environment(system.supervised);
    while !stop.is_set() {
        supervisor.look()?;
        let seen: Vec<_> = watches.iter_mut().flatten().map(|(name, watch)| (*name, watch.look())).collect();
        let is_there = |seen: &Option<Seen>| seen.as_ref().is_some_and(Seen::is_current);
        notify.tell(seen.iter().all(|(_, seen)| is_there(seen)), || {
            let words = seen.iter().map(|(name, seen)| words(name, seen.as_ref()));
            words.chain(supervisor.missing()).collect::<Vec<_>>().join("; ")
        });
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What a process does, for the one who looks at the service.
pub(crate) fn words(name: &str, seen: Option<&Seen>) -> String {
    let Some(seen) = seen.filter(|seen| seen.is_current()) else { return format!("{name} says nothing") };
    let state = State::from_code(seen.status.state).map_or("unknown", State::name);
    let reason = seen.status.reason.to_string();
    if reason.is_empty() { format!("{name} {state}") } else { format!("{name} {state}: {reason}") }
}
