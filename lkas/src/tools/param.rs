//! `lkas param`: the numbers that can be changed while the system runs, as their servers say them.

use super::act::Patience;
use super::unless_nobody_reads;
use crate::Failure;
use crate::config::{self, File};
use crate::options::{PROCESSES, SystemOptions};
use crate::status::{Declared, Seen, StatusWatch};
use crate::stop::Stop;
use crate::tuning::shortest;
use clap::Subcommand;
use lkas_messages::names::Category;
use lkas_zmq::{Topic, ViewerClient, ViewerMessage};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to do with parameters.
#[derive(Clone, Debug, Subcommand)]
pub enum ParamCommand {
    /// All parameters in force, with range and default
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// The value of one
    Get {
        /// Its name: kp, or decision.kp
        name: String,
    },
    /// Change one, and wait until its server says that it is in force
    Set {
        /// Its name: kp, or decision.kp
        name: String,
        /// The value
        #[arg(allow_negative_numbers = true)]
        value: f64,
        /// How long to wait
        #[command(flatten)]
        patience: Patience,
    },
    /// Write all values in force into the file of options
    Save {
        /// The file; what else stands in it stays
        #[arg(default_value = config::NAME)]
        file: PathBuf,
    },
    /// Change all values to those of the file of options
    Load {
        /// The file
        #[arg(default_value = config::NAME)]
        file: PathBuf,
        /// How long to wait
        #[command(flatten)]
        patience: Patience,
    },
}

/// How often the servers' status is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Does it; `false`, with a word on who did not answer, where it did not take effect.
///
/// # Errors
/// A name, a file or an address is unusable, or the output can't be written.
pub fn param(system: &SystemOptions, command: &ParamCommand, stop: &Stop) -> Result<bool, Failure> {
    let mut servers = Servers::new(system)?;
    let all = servers.all();
    let outcome = match command {
        _ if all.is_empty() => Err(servers.absent("any server")),
        ParamCommand::List { json } => {
            let text = if *json { json_of(&all) } else { table(&all) };
            print(&text)?;
            Ok(())
        }
        ParamCommand::Get { name } => match find(&all, name) {
            Ok(found) => print(&format!("{}\n", shortest(found.declared.value))).map(Ok)?,
            Err(why) => Err(why),
        },
        ParamCommand::Set { name, value, patience } => match find(&all, name) {
            Ok(found) => set(system, &mut servers, &[(found, *value)], *patience, stop)?,
            Err(why) => Err(why),
        },
        ParamCommand::Save { file } => {
            let of = |found: &Found| {
                (found.server.to_owned(), found.declared.name.to_string(), shortest(found.declared.value))
            };
            config::save_parameters(file, &all.iter().map(of).collect::<Vec<_>>())?;
            print(&format!("{} parameters are in {}\n", all.len(), file.display())).map(Ok)?
        }
        ParamCommand::Load { file, patience } => {
            let wanted = File::read_whole(file)?.parameters;
            let found: Result<Vec<_>, String> = wanted
                .iter()
                .map(|(known, value)| Ok((find(&all, &format!("{}.{}", known.category.name(), known.name))?, *value)))
                .collect();
            match found {
                Ok(wanted) if wanted.is_empty() => Err(format!("{} has no parameters", file.display())),
                Ok(wanted) => set(system, &mut servers, &wanted, *patience, stop)?,
                Err(why) => Err(why),
            }
        }
    };
    if let Err(why) = &outcome {
        tracing::error!("{why}");
    }
    Ok(outcome.is_ok())
}

fn print(text: &str) -> Result<(), Failure> {
    unless_nobody_reads(std::io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::from))
}

/// A parameter and who declares it.
#[derive(Clone, Debug)]
struct Found {
    server: &'static str,
    declared: Declared,
}

/// The processes that may declare parameters.
struct Servers(Vec<(&'static str, StatusWatch)>);

impl Servers {
    fn new(system: &SystemOptions) -> Result<Self, Failure> {
        let watch = |name| Ok((name, StatusWatch::new(system.status_channel(name)?)));
        Ok(Self(PROCESSES.into_iter().map(watch).collect::<Result<_, Failure>>()?))
    }

    /// The parameters of all servers that are there and say so.
    fn all(&mut self) -> Vec<Found> {
        let mut all = Vec::new();
        for (server, watch) in &mut self.0 {
            let seen = watch.look().filter(Seen::is_current);
            let declared = seen.iter().flat_map(|seen| seen.status.declared());
            all.extend(declared.map(|declared| Found { server, declared: *declared }));
        }
        all
    }

    /// Why there is no answer.
    fn absent(&mut self, server: &str) -> String {
        let silent = self.0.iter_mut().find(|(name, _)| *name == server).and_then(|(_, watch)| watch.look());
        match silent {
            Some(seen) if seen.is_current() => {
                format!("{server} is there and did not apply it: does it run with --broadcast?")
            }
            Some(seen) if seen.is_alive => format!("{server} is there (pid {}) and says nothing", seen.status.process),
            Some(_) => format!("{server} has ended"),
            None => format!("{server} is not there: start a system, for example with lkas demo"),
        }
    }
}

fn find(all: &[Found], name: &str) -> Result<Found, String> {
    let fits = |found: &&Found| {
        let own = found.declared.name.to_string();
        own == name || name.split_once('.') == Some((found.server, own.as_str()))
    };
    let found: Vec<&Found> = all.iter().filter(fits).collect();
    match found[..] {
        [found] => Ok(found.clone()),
        [] => {
            let known: Vec<_> = all.iter().map(|found| format!("{}.{}", found.server, found.declared.name)).collect();
            Err(format!("no server declares \"{name}\"; there are {}", known.join(", ")))
        }
        _ => Err(format!(
            "several servers have \"{name}\": write the server before it, as in {}.{name}",
            found[0].server
        )),
    }
}

/// Asks for the values and waits until their servers say what came of it.
fn set(
    system: &SystemOptions,
    servers: &mut Servers,
    wanted: &[(Found, f64)],
    patience: Patience,
    stop: &Stop,
) -> Result<Result<(), String>, Failure> {
    for (Found { declared, .. }, value) in wanted {
        if !(declared.min..=declared.max).contains(value) {
            let Declared { name, min, max, .. } = declared;
            return Ok(Err(format!("{name} is {min} to {max}, found {value}")));
        }
    }
    let deadline = patience.deadline();
    let mut viewer = ViewerClient::connect_to(&system.endpoint(), &[Topic::ParameterStatus])?;
    for (Found { server, declared }, value) in wanted {
        viewer.send_parameter(server.parse::<Category>()?, &declared.name.to_string(), *value)?;
    }
    let mut open: Vec<&(Found, f64)> = wanted.iter().collect();
    let mut refusal = None;
    while !open.is_empty() && Instant::now() < deadline && !stop.is_set() {
        if let Some(ViewerMessage::ParameterStatus(status)) = viewer.next(LOOK)?
            && !status.accepted
        {
            // Of somebody else's request, perhaps: the server's own word counts.
            refusal = status.reason.map(|why| (status.parameter, why));
        }
        let now = servers.all();
        let (mut refused, mut applied) = (None, String::new());
        open.retain(|(before, value)| {
            let same = |found: &&Found| (found.server, found.declared.name) == (before.server, before.declared.name);
            let Some(Found { server, declared }) = now.iter().find(same) else { return true };
            if declared.answers == before.declared.answers || declared.asked != *value {
                return true;
            }
            let why = declared.refusal.to_string();
            match why.is_empty() {
                true => applied += &format!("{server}.{} is {}\n", declared.name, shortest(declared.value)),
                false => refused = Some(format!("{server} refused {}: {why}", declared.name)),
            }
            false
        });
        print(&applied)?;
        if let Some(why) = refused {
            return Ok(Err(why));
        }
    }
    let Some((left, _)) = open.first() else { return Ok(Ok(())) };
    let name = left.declared.name.to_string();
    let why = match refusal {
        _ if !viewer.is_connected() => {
            let endpoint = system.endpoint();
            format!("no broker answers on {}, port {}: start one (lkas --broadcast)", endpoint.host, endpoint.base_port)
        }
        Some((parameter, why)) if parameter == name => why,
        _ => servers.absent(left.server),
    };
    Ok(Err(format!("{}.{name} did not take effect: {why}", left.server)))
}

fn table(all: &[Found]) -> String {
    let mut text = format!("{:<28} {:>7} {:>8} {:>14}  {}\n", "PARAMETER", "VALUE", "DEFAULT", "RANGE", "WHAT IT IS");
    for Found { server, declared } in all {
        let Declared { name, help, unit, value, default, min, max, .. } = declared;
        let unit = unit.to_string();
        let help = if unit.is_empty() { help.to_string() } else { format!("{help} ({unit})") };
        let name = format!("{server}.{name}");
        let range = format!("{min} to {max}");
        text += &format!("{name:<28} {:>7} {default:>8} {range:>14}  {help}\n", shortest(*value));
    }
    text
}

fn json_of(all: &[Found]) -> String {
    let one = |Found { server, declared }: &Found| {
        serde_json::json!({
            "server": server,
            "name": declared.name.to_string(),
            "value": shortest(declared.value),
            "default": declared.default,
            "min": declared.min,
            "max": declared.max,
            "unit": declared.unit.to_string(),
            "help": declared.help.to_string(),
        })
    };
    format!("{:#}\n", all.iter().map(one).collect::<serde_json::Value>())
}
