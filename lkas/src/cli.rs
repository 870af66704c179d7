//! The command lines of the three programs.

use crate::calibrate::{self, CalibrateOptions};
use crate::demo::{self, DemoOptions};
use crate::evaluate::{self, EvaluateOptions};
use crate::log::{self, LogOptions};
use crate::options::{SystemOptions, remove_channels};
use crate::scenario::{self, ScenarioOptions};
use crate::servers::{self, ServerOptions};
use crate::simulation_program::{self, SimulationOptions};
use crate::stop::{self, Stop};
use crate::supervisor::EXIT_UNUSABLE;
use crate::tools::{self, CleanOptions, EchoOptions, Every, Patience, StopOptions, TableOptions, Wish};
use crate::viewer::{self, ViewerOptions};
use crate::{Failure, broker_server, decision_server, detection_server};
use clap::{Args, Parser, Subcommand};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

/// A lane keeping assist system: finds the lanes in camera frames and steers between them.
///
/// Without a subcommand it runs the detection and the decision server.
#[derive(Debug, Parser)]
#[command(name = "lkas", version, args_conflicts_with_subcommands = true)]
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
    Top(Every),
    /// How often the values of a channel come, and how evenly
    Hz {
        /// The channel, without its namespace
        name: String,
    },
    /// The values of a channel, field by field
    Echo(EchoOptions),
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

/// How the viewer runs.
#[derive(Args, Clone, Debug)]
struct ViewerArguments {
    /// Port of the web page
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Address to serve the page on; 0.0.0.0 lets everybody on the network watch and steer
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    bind: IpAddr,
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
    let line = Lkas::parse();
    match line.command {
        None => program("lkas", &line.system, |system, stop| servers::run(system, &line.servers, stop)),
        Some(Command::Demo(options)) => program("demo", &line.system, |system, stop| demo::run(system, &options, stop)),
        Some(Command::Simulation(options)) => simulation_program(&line.system, &options),
        Some(Command::Viewer(options)) => viewer_program(&line.system, &options),
        Some(Command::Scenario(options)) => result(line.system.log, || scenario::program(&options)),
        Some(Command::Evaluate(options)) => result(line.system.log, || evaluate::program(&options)),
        Some(Command::Calibrate(options)) => result(line.system.log, || calibrate::program(&options)),
        Some(Command::Channels(options)) => {
            tool(line.system.log, |stop| tools::channels(&line.system, options, stop).map(|()| true))
        }
        Some(Command::Top(every)) => tool(line.system.log, |stop| tools::top(&line.system, every, stop).map(|()| true)),
        Some(Command::Hz { name }) => tool(line.system.log, |stop| tools::hz(&line.system, &name, stop).map(|()| true)),
        Some(Command::Echo(options)) => {
            tool(line.system.log, |stop| tools::echo(&line.system, &options, stop).map(|()| true))
        }
        Some(Command::Stop(options)) => tool(line.system.log, |stop| tools::emergency(&line.system, options, stop)),
        Some(Command::Pause(patience)) => act(&line.system, Wish::Pause, patience),
        Some(Command::Resume(patience)) => act(&line.system, Wish::Resume, patience),
        Some(Command::Respawn(patience)) => act(&line.system, Wish::Respawn, patience),
        Some(Command::Doctor { port }) => tool(line.system.log, |_| tools::doctor(&line.system, port)),
        Some(Command::Clean(options)) => tool(line.system.log, |_| tools::clean(&line.system, options).map(|()| true)),
        Some(Command::Detection { broadcast }) => {
            program("detection", &line.system, |system, stop| detection_server::run(system, broadcast, stop))
        }
        Some(Command::Decision { broadcast }) => {
            program("decision", &line.system, |system, stop| decision_server::run(system, broadcast, stop))
        }
        Some(Command::Broker) => program("broker", &line.system, broker_server::run),
    }
}

/// The program `simulation`.
#[must_use]
pub fn simulation() -> ExitCode {
    let line = Simulation::parse();
    simulation_program(&line.system, &line.simulation)
}

/// The program `viewer`.
#[must_use]
pub fn viewer() -> ExitCode {
    let line = Viewer::parse();
    viewer_program(&line.system, &line.viewer)
}

fn simulation_program(system: &SystemOptions, options: &SimulationOptions) -> ExitCode {
    program("simulation", system, |system, stop| simulation_program::run(system, options, stop))
}

fn viewer_program(system: &SystemOptions, arguments: &ViewerArguments) -> ExitCode {
    program("viewer", system, |system, stop| {
        let options = ViewerOptions { address: arguments.bind, port: arguments.port, broker: system.endpoint() };
        Ok(viewer::run(&options, stop.flag())?)
    })
}

fn act(system: &SystemOptions, wish: Wish, patience: Patience) -> ExitCode {
    tool(system.log, |stop| tools::act(system, wish, patience, stop))
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
    let result = (|| {
        let stop = Stop::on_signals()?;
        if system.supervised {
            stop::with_parent()?;
        }
        run(system, &stop)
    })();
    // Whoever of a system ends last leaves nothing behind.
    remove_channels(system);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            EXIT_UNUSABLE.into()
        }
    }
}
