//! The command lines of the three programs.

use crate::calibrate::{self, CalibrateOptions};
use crate::demo::{self, DemoOptions};
use crate::evaluate::{self, EvaluateOptions};
use crate::keygen::{self, KeygenOptions};
use crate::log::{self, LogOptions};
use crate::network::NetworkOptions;
use crate::options::{SystemOptions, ViewerArguments, remove_channels};
use crate::record::{self, CompareOptions, PlayOptions, RecordOptions};
use crate::scenario::{self, ScenarioOptions};
use crate::servers::ESSENTIAL;
use crate::servers::{self, ServerOptions};
use crate::simulation_program::{self, SimulationOptions};
use crate::stop::{self, Parent, Stop};
use crate::supervisor::EXIT_UNUSABLE;
use crate::tools::{
    self, CleanOptions, ConfigCommand, EchoOptions, HzOptions, InfoOptions, ParamCommand, Patience, StopOptions,
    TableOptions, TopOptions, Wish,
};
use crate::viewer::{self, ViewerOptions};
use crate::{Failure, broker_server, config, decision_server, detection_server, orphans};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// A lane keeping assist system: finds the lanes in camera frames and steers between them.
///
/// Without a subcommand it runs the detection and the decision server.
#[derive(Debug, Parser)]
#[command(name = "lkas", version)]
struct Lkas {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    servers: ServerOptions,
    #[command(flatten)]
    system: SystemOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything: simulation, servers, broker and viewer
    Demo(DemoOptions),
    /// The simulation alone: a road, a camera and a vehicle
    Simulation(SimulationOptions),
    /// The viewer alone: a web page
    Viewer(ViewerArguments),
    /// Drive scenarios in lockstep, as fast as it goes, and say whether the vehicle stays in its lane or stops
    Scenario(ScenarioOptions),
    /// What the detection finds in recorded frames, against labels
    Evaluate(EvaluateOptions),
    /// How a camera is mounted, from the frames of a straight drive
    Calibrate(CalibrateOptions),
    /// Every channel: what it carries, who writes and reads, how fast, how old
    Channels(TableOptions),
    /// The same, live
    Top(TopOptions),
    /// How often the values of a channel come, and how evenly
    Hz(HzOptions),
    /// Everything that is known of one channel, of the broker, or of a recording
    Info(InfoOptions),
    /// The values of a channel, field by field
    Echo(EchoOptions),
    /// Every value of the system's channels into a file
    Record(RecordOptions),
    /// The values of a recording back into channels
    Play(PlayOptions),
    /// Where two recordings differ; ends with code 1 where they do
    Compare(CompareOptions),
    /// The numbers that can be changed while the system runs
    Param {
        #[command(subcommand)]
        command: ParamCommand,
    },
    /// The file of options
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Stop the vehicle until it is released
    Stop(StopOptions),
    /// Let time stand still for the vehicle
    Pause(Patience),
    /// Let time go on
    Resume(Patience),
    /// Put the vehicle back to its start
    Respawn(Patience),
    /// What could keep a system from running here, and what to do about it
    Doctor {
        /// Port of the web page
        #[arg(long, default_value_t = 8080)]
        port: u16,
    },
    /// A pair of keys for watching and commanding over a network
    Keygen(KeygenOptions),
    /// Remove the channels that nobody uses
    Clean(CleanOptions),
    /// The detection server alone
    #[command(hide = true)]
    Detection {
        #[arg(long)]
        broadcast: bool,
    },
    /// The decision server alone
    #[command(hide = true)]
    Decision {
        #[arg(long)]
        broadcast: bool,
    },
    /// The broker alone
    #[command(hide = true)]
    Broker,
}

/// A road, a camera and a vehicle, in the place of a car or a driving simulator.
#[derive(Debug, Parser)]
#[command(name = "simulation", version)]
struct Simulation {
    #[command(flatten)]
    simulation: SimulationOptions,
    #[command(flatten)]
    system: SystemOptions,
}

/// A web page that shows what the system sees and does.
#[derive(Debug, Parser)]
#[command(name = "viewer", version)]
struct Viewer {
    #[command(flatten)]
    viewer: ViewerArguments,
    #[command(flatten)]
    system: SystemOptions,
}

/// The program `lkas`.
#[must_use]
pub fn lkas() -> ExitCode {
    let (Lkas { command, servers, system }, matches, problems) = parse_with_matches::<Lkas>();
    if let Some(subcommand) = matches.subcommand_name() {
        without_server_options(&matches, subcommand);
        in_memory_alone(&matches, subcommand);
    }
    let system = system.settled();
    match command {
        None => program("lkas", &system, |system, stop| servers::run(system, &servers, stop)),
        Some(Command::Demo(options)) => program("demo", &system, |system, stop| demo::run(system, &options, stop)),
        Some(Command::Simulation(options)) => simulation_program(&system, &options),
        Some(Command::Viewer(options)) => viewer_program(&system, &options),
        Some(Command::Scenario(options)) => result(system.log, || scenario::program(&system, &options)),
        Some(Command::Evaluate(options)) => result(system.log, || evaluate::program(&options)),
        Some(Command::Calibrate(options)) => result(system.log, || calibrate::program(&options)),
        Some(Command::Keygen(options)) => result(system.log, || keygen::program(&options)),
        Some(Command::Channels(options)) => {
            tool(system.log, |stop| tools::channels(&system, options, stop).map(|()| true))
        }
        Some(Command::Top(options)) => tool(system.log, |stop| tools::top(&system, options, stop).map(|()| true)),
        Some(Command::Hz(options)) => tool(system.log, |stop| tools::hz(&system, &options, stop).map(|()| true)),
        Some(Command::Info(options)) => tool(system.log, |stop| tools::info(&system, &options, stop).map(|()| true)),
        Some(Command::Record(options)) => {
            tool(system.log, |stop| record::record(&system, &options, stop).map(|()| true))
        }
        Some(Command::Play(options)) => tool(system.log, |stop| record::play(&system, &options, stop).map(|()| true)),
        Some(Command::Compare(options)) => result(system.log, || record::compare(&options)),
        Some(Command::Param { command }) => tool(system.log, |stop| tools::param(&system, &command, stop)),
        Some(Command::Config { command }) => result(system.log, || tools::config(&command)),
        Some(Command::Echo(options)) => tool(system.log, |stop| tools::echo(&system, &options, stop).map(|()| true)),
        Some(Command::Stop(options)) => tool(system.log, |stop| {
            let done = tools::emergency(&system, options, stop);
            problems.iter().for_each(|problem| tracing::warn!("{problem}"));
            done
        }),
        Some(Command::Pause(patience)) => act(&system, Wish::Pause, patience),
        Some(Command::Resume(patience)) => act(&system, Wish::Resume, patience),
        Some(Command::Respawn(patience)) => act(&system, Wish::Respawn, patience),
        Some(Command::Doctor { port }) => tool(system.log, |_| tools::doctor(&system, system.page_port(port))),
        Some(Command::Clean(options)) => tool(system.log, |_| tools::clean(&system, options).map(|()| true)),
        Some(Command::Detection { broadcast }) => {
            program("detection", &system, |system, stop| detection_server::run(system, broadcast, stop))
        }
        Some(Command::Decision { broadcast }) => {
            program("decision", &system, |system, stop| decision_server::run(system, broadcast, stop))
        }
        Some(Command::Broker) => program("broker", &system, broker_server::run),
    }
}

/// The program `simulation`.
#[must_use]
pub fn simulation() -> ExitCode {
    let Simulation { simulation, system } = parse();
    simulation_program(&system.settled(), &simulation)
}

/// The program `viewer`.
#[must_use]
pub fn viewer() -> ExitCode {
    let Viewer { viewer, system } = parse();
    viewer_program(&system.settled(), &viewer)
}

fn simulation_program(system: &SystemOptions, options: &SimulationOptions) -> ExitCode {
    program("simulation", system, |system, stop| simulation_program::run(system, options, stop))
}

fn viewer_program(system: &SystemOptions, arguments: &ViewerArguments) -> ExitCode {
    program("viewer", system, |system, stop| {
        let options = ViewerOptions {
            address: arguments.bind,
            port: system.page_port(arguments.port),
            broker: system.endpoint(),
            status: Some(system.status_channel("viewer")?),
            notify: !system.supervised,
        };
        Ok(viewer::run(&options, stop.flag())?)
    })
}

fn act(system: &SystemOptions, wish: Wish, patience: Patience) -> ExitCode {
    tool(system.log, |stop| tools::act(system, wish, patience, stop))
}

/// Options of the servers mean nothing to a subcommand: whoever gives them with one is told.
fn without_server_options(matches: &ArgMatches, subcommand: &str) {
    let options = ServerOptions::augment_args(clap::Command::new("servers"));
    let given = |option: &&Arg| matches.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine);
    if let Some(option) = options.get_arguments().find(given) {
        let name = option.get_long().unwrap_or_default();
        let why = format!("--{name} is for `lkas` without a subcommand, found before `{subcommand}`");
        Lkas::command().error(ErrorKind::ArgumentConflict, why).exit();
    }
}

/// Who asks a tool for another machine's system must not be shown this one's.
fn in_memory_alone(matches: &ArgMatches, subcommand: &str) {
    let looks = ["channels", "top", "hz", "echo", "record", "play", "clean"].contains(&subcommand);
    if looks && matches.value_source("broker") == Some(ValueSource::CommandLine) {
        let why = format!(
            "`lkas {subcommand}` is about the channels in this machine's memory, found --broker; what another machine's \
             broker tells, `lkas info broker`, `lkas param` and a viewer show"
        );
        Lkas::command().error(ErrorKind::ArgumentConflict, why).exit();
    }
}

/// Options of every program that also the short help names.
const NAMED_SHORTLY: [&str; 4] = ["instance", "config", "verbose", "quiet"];

/// What the program has on its command line. The short help is about what is its own.
fn command<P: Parser>() -> clap::Command {
    P::command().mut_args(|option| {
        let named = !option.is_global_set() || NAMED_SHORTLY.contains(&option.get_id().as_str());
        option.hide_short_help(!named)
    })
}

fn parse<P: Parser>() -> P {
    parse_with_matches().0
}

/// The command line, over the configuration file where there is one; and what is wrong with that, where the program goes on
/// in spite of it.
fn parse_with_matches<P: Parser>() -> (P, ArgMatches, Vec<String>) {
    let line: Vec<OsString> = std::env::args_os().collect();
    let (command, problems) = match config::path(&line) {
        None => (command::<P>(), Vec::new()),
        Some(path) => config::under(command::<P>(), &path, &line),
    };
    let matches = command.get_matches_from(line);
    let mut problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let [own, brokers] = ["key", "broker_key"].map(|key| matches.contains_id(key));
    problems.extend(NetworkOptions::lacks(own, brokers).map(str::to_owned));
    match matches.subcommand_name() {
        // It is about the file, and says itself what is wrong with it.
        Some("config") => problems.clear(),
        // A vehicle must stop whatever else is wrong, and whoever reads that. It is said afterwards.
        Some("stop") => {}
        _ if problems.is_empty() => {}
        _ => {
            // Who can't be told sees the code.
            let _ = writeln!(std::io::stderr(), "{}", problems.join("\n"));
            std::process::exit(EXIT_UNUSABLE.into());
        }
    }
    (P::from_arg_matches(&matches).unwrap_or_else(|why| why.exit()), matches, problems)
}

/// Runs a tool until it ends or a signal asks it to. It leaves all channels alone, but for those it is asked to remove.
fn tool(log: LogOptions, run: impl FnOnce(&Stop) -> Result<bool, Failure>) -> ExitCode {
    result(log, || run(&Stop::on_signals()?))
}

/// Runs something that a signal ends at once, and tells by the exit code how it went.
fn result(log: LogOptions, run: impl FnOnce() -> Result<bool, Failure>) -> ExitCode {
    let _last_words = log::start("lkas", log);
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("{error}");
            EXIT_UNUSABLE.into()
        }
    }
}

/// Runs a program until it ends or a signal asks it to.
fn program(
    name: &'static str,
    system: &SystemOptions,
    run: impl FnOnce(&SystemOptions, &Stop) -> Result<(), Failure>,
) -> ExitCode {
    let _last_words = log::start(name, system.log);
    let mut parent = None;
    let result = (|| {
        let stop = Stop::on_signals()?;
        if system.supervised {
            parent = Some(stop::with_parent()?);
        }
        if let Some(priority) = system.priority.filter(|_| ESSENTIAL.contains(&name)) {
            priority.take();
        }
        run(system, &stop)
    })();
    // Whoever of a system ends last leaves nothing behind. A child that will be started again is not the last.
    if !parent.is_some_and(Parent::is_there) {
        remove_channels(system);
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let hint = hint(&error, system);
            tracing::error!("{error}{hint}");
            EXIT_UNUSABLE.into()
        }
    }
}

/// What to do where somebody else has what this program needs: a channel, a port of the broker, or the page's.
fn hint(error: &Failure, system: &SystemOptions) -> String {
    use lkas_shm::CreateError;
    let create = error.downcast_ref();
    if let Some(&CreateError::HasWriter { pid, same_namespace: true, .. }) = create
        && let Some(words) = orphans::suspended(pid)
    {
        return format!("; {words}");
    }
    let channel = matches!(create, Some(CreateError::HasWriter { .. } | CreateError::Owner { .. }));
    let broker = matches!(error.downcast_ref(), Some(lkas_zmq::BindError::InUse { .. }));
    let in_use = |why: &std::io::Error| why.kind() == std::io::ErrorKind::AddrInUse;
    let page = matches!(error.downcast_ref(), Some(viewer::ViewerError::Bind { source, .. }) if in_use(source));
    if channel || broker || page {
        format!("; a second system on this machine needs {}", system.another())
    } else {
        String::new()
    }
}
