//! `lkas param`: the numbers that can be changed while the system runs, as their servers say them.

use super::act::Patience;
use super::broker::nobody_answers;
use super::names::printable;
use super::{foreign, print};
use crate::Failure;
use crate::config::{self, File};
use crate::options::{PROCESSES, SystemOptions};
use crate::status::{Declared, Seen, StatusWatch};
use crate::stop::Stop;
use crate::tuning::shortest;
use clap::Subcommand;
use lkas_messages::names;
use lkas_zmq::wire::ParameterStatus;
use lkas_zmq::{Topic, ViewerClient, ViewerMessage};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
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
        /// The file; what else stands in it stays. Without it, the one of --config, or lkas.toml
        file: Option<PathBuf>,
    },
    /// Change all values to those of the file of options
    Load {
        /// The file. Without it, the one of --config, or lkas.toml
        file: Option<PathBuf>,
        /// How long to wait
        #[command(flatten)]
        patience: Patience,
    },
}

/// How long a broker may take to say what its servers say: it does so ten times a second.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// How long to wait for a message at once.
const LOOK: Duration = Duration::from_millis(20);

/// What came of it, or why nothing did.
type Outcome<T = ()> = Result<T, String>;

/// Does it; `false`, with a word on who did not answer, where it did not take effect.
///
/// # Errors
/// A name, a file or an address is unusable, or the output can't be written.
pub fn param(system: &SystemOptions, command: &ParamCommand, stop: &Stop) -> Result<bool, Failure> {
    let outcome = match in_force(system, stop)? {
        Ok(all) => run(system, command, &all, stop)?,
        Err(why) => Err(why),
    };
    if let Err(why) = &outcome {
        tracing::error!("{why}");
    }
    Ok(outcome.is_ok())
}

fn run(system: &SystemOptions, command: &ParamCommand, all: &[Parameter], stop: &Stop) -> Result<Outcome, Failure> {
    let (wanted, patience) = match command {
        ParamCommand::List { json: true } => {
            return print(&format!("{}\n", serde_json::to_string_pretty(all)?)).map(Ok);
        }
        ParamCommand::List { json: false } => return print(&table(all)).map(Ok),
        ParamCommand::Get { name } => {
            return match find(all, name) {
                Ok(found) => print(&format!("{}\n", found.value)).map(Ok),
                Err(why) => Ok(Err(why)),
            };
        }
        ParamCommand::Save { file } => {
            let values = all.iter().map(|found| (found.server.clone(), found.name.clone(), found.value));
            let file = file_of(system, file.as_deref());
            config::save_parameters(file, &values.collect::<Vec<_>>())?;
            print(&format!("{} parameters are in {}\n", all.len(), file.display()))?;
            return Ok(all_were_saved(all, file));
        }
        ParamCommand::Set { name, value, patience } => (wish(all, name, *value).map(|wish| vec![wish]), *patience),
        ParamCommand::Load { file, patience } => {
            let file = file_of(system, file.as_deref());
            let of_file = File::read_whole(file)?.parameters;
            let name = |of: &names::Parameter| format!("{}.{}", of.category.name(), of.name);
            let wishes: Outcome<Vec<_>> = of_file.iter().map(|(of, value)| wish(all, &name(of), *value)).collect();
            let none = || format!("{} has no parameters", file.display());
            (wishes.and_then(|wishes| if wishes.is_empty() { Err(none()) } else { Ok(wishes) }), *patience)
        }
    };
    match wanted {
        Ok(wishes) => set(system, wishes, patience, stop),
        Err(why) => Ok(Err(why)),
    }
}

/// Whether every server said what it has; who did not is named.
fn all_were_saved(all: &[Parameter], file: &Path) -> Outcome {
    let servers = names::Category::ALL.map(names::Category::name);
    let missing: Vec<&str> = servers.into_iter().filter(|name| all.iter().all(|found| found.server != *name)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{} did not say which parameters it has: what {} has for it stays as it was",
            missing.join(", "),
            file.display()
        )),
    }
}

/// The file that is meant where none is named: the one whose options these are.
fn file_of<'a>(system: &'a SystemOptions, named: Option<&'a Path>) -> &'a Path {
    named.or(system.config.as_deref()).unwrap_or(Path::new(config::NAME))
}

/// A parameter in force, as the process that applies it declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parameter {
    #[serde(default)]
    server: String,
    name: String,
    value: f64,
    default: f64,
    min: f64,
    max: f64,
    unit: String,
    help: String,
}

impl Parameter {
    fn new(server: &str, declared: &Declared) -> Self {
        let Declared { name, help, unit, value, default, min, max, .. } = declared;
        let (server, value) = (server.to_owned(), shortest(*value));
        let (default, min, max) = (*default, *min, *max);
        Self {
            server,
            name: name.to_string(),
            value,
            default,
            min,
            max,
            unit: unit.to_string(),
            help: help.to_string(),
        }
    }
}

/// The parameters of all servers that are there and say so: on this machine themselves, on another one to its broker.
fn in_force(system: &SystemOptions, stop: &Stop) -> Result<Outcome<Vec<Parameter>>, Failure> {
    let all = if system.network.is_here() {
        let mut all = Vec::new();
        for server in PROCESSES {
            let seen = StatusWatch::new(system.status_channel(server)?).look().filter(Seen::is_current);
            let declared = seen.iter().flat_map(|seen| seen.status.declared());
            all.extend(declared.map(|declared| Parameter::new(server, declared)));
        }
        all
    } else {
        match told(system, stop)? {
            Ok(status) => in_status(&status),
            Err(why) => return Ok(Err(why)),
        }
    };
    Ok(match all.is_empty() {
        false => Ok(all),
        true => Err(foreign::words(system).filter(|_| system.network.is_here()).unwrap_or_else(|| {
            "no server says which parameters it has: start a system, for example with lkas demo".to_owned()
        })),
    })
}

/// What the broker passes on of the processes.
fn told(system: &SystemOptions, stop: &Stop) -> Result<Outcome<Value>, Failure> {
    let endpoint = system.endpoint();
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::Status])?;
    let deadline = Instant::now() + ANSWERS_WITHIN;
    while Instant::now() < deadline && !stop.is_set() {
        if let Some(ViewerMessage::Status(status)) = viewer.next(LOOK)? {
            return Ok(Ok(status));
        }
    }
    Ok(Err(match viewer.is_connected() {
        true => format!("the broker on {endpoint} says nothing of its processes"),
        false => nobody_answers(&endpoint),
    }))
}

/// The parameters of those processes that are there and say so. What makes no sense is passed over.
fn in_status(status: &Value) -> Vec<Parameter> {
    let processes = status["processes"].as_array().into_iter().flatten();
    let current = processes.filter(|process| process["silent"] == false && process["alive"] == true);
    let parameters = current.flat_map(|process| {
        let server = printable(process["name"].as_str().unwrap_or_default());
        let declared = process["parameters"].as_array().into_iter().flatten();
        declared.filter_map(move |declared| {
            let mut found = Parameter::deserialize(declared).ok()?;
            for text in [&mut found.name, &mut found.unit, &mut found.help] {
                *text = printable(text);
            }
            Some(Parameter { server: server.clone(), value: shortest(found.value), ..found })
        })
    });
    parameters.collect()
}

fn find<'a>(all: &'a [Parameter], name: &str) -> Outcome<&'a Parameter> {
    let fits = |found: &&Parameter| {
        found.name == name || name.split_once('.') == Some((found.server.as_str(), found.name.as_str()))
    };
    let found: Vec<&Parameter> = all.iter().filter(fits).collect();
    match found[..] {
        [found] => Ok(found),
        [] => {
            let known: Vec<_> = all.iter().map(|found| format!("{}.{}", found.server, found.name)).collect();
            Err(format!("no server declares \"{name}\"; there are {}", known.join(", ")))
        }
        _ => Err(format!(
            "several servers have \"{name}\": write the server before it, as in {}.{name}",
            found[0].server
        )),
    }
}

/// A value for a parameter of a server.
struct Wish {
    server: String,
    name: String,
    value: f64,
}

/// A value that the server allows. A server that declares nothing, because it speaks the wire alone, is asked all the same.
fn wish(all: &[Parameter], name: &str, value: f64) -> Outcome<Wish> {
    if let Some((server, name)) = name.split_once('.')
        && all.iter().all(|known| known.server != server)
    {
        return Ok(Wish { server: server.to_owned(), name: name.to_owned(), value });
    }
    let Parameter { server, name, min, max, .. } = find(all, name)?;
    match (min..=max).contains(&&value) {
        true => Ok(Wish { server: server.clone(), name: name.clone(), value }),
        false => Err(format!("{name} is {min} to {max}, found {value}")),
    }
}

/// Asks for the values and waits until all are answered: with what is in force, by their servers' own word.
fn set(system: &SystemOptions, wishes: Vec<Wish>, patience: Patience, stop: &Stop) -> Result<Outcome, Failure> {
    let deadline = patience.deadline();
    let endpoint = system.endpoint();
    let mut viewer = ViewerClient::connect_to(&endpoint, &[Topic::ParameterStatus])?;
    let mut open = Vec::new();
    for wish in wishes {
        open.push((viewer.send_parameter(&wish.server, &wish.name, wish.value)?, wish));
    }
    let mut refused = Vec::new();
    while !open.is_empty() && Instant::now() < deadline && !stop.is_set() {
        let Some(ViewerMessage::ParameterStatus(answer)) = viewer.next(LOOK)? else { continue };
        let own = |(id, _): &(String, Wish)| answer.id.as_ref().and_then(Value::as_str) == Some(id);
        let Some(place) = open.iter().position(own) else { continue };
        let (_, wish) = open.remove(place);
        match came_true(&wish, &answer) {
            Ok(words) => print(&format!("{words}\n"))?,
            Err(why) => refused.push(format!("{}.{} did not take effect: {why}", wish.server, wish.name)),
        }
    }
    let why = if viewer.is_connected() { "the broker does not answer".to_owned() } else { nobody_answers(&endpoint) };
    refused.extend(open.iter().map(|(_, wish)| format!("{}.{} did not take effect: {why}", wish.server, wish.name)));
    Ok(if refused.is_empty() { Ok(()) } else { Err(refused.join("\n")) })
}

/// What is in force now, or why it is not what was wished for.
fn came_true(wish: &Wish, answer: &ParameterStatus) -> Outcome<String> {
    let reason = printable(answer.reason.as_deref().unwrap_or_default());
    match answer.value {
        Some(value) if answer.accepted && answer.confirmed && reason.is_empty() => {
            Ok(format!("{}.{} is {}", wish.server, wish.name, shortest(value)))
        }
        _ if answer.accepted && !answer.confirmed => Err("it was sent, and this server can't confirm it".to_owned()),
        _ if reason.is_empty() => Err("its server does not say why".to_owned()),
        _ => Err(reason),
    }
}

fn table(all: &[Parameter]) -> String {
    let mut text = format!("{:<28} {:>7} {:>8} {:>14}  {}\n", "PARAMETER", "VALUE", "DEFAULT", "RANGE", "WHAT IT IS");
    for Parameter { server, name, value, default, min, max, unit, help } in all {
        let help = if unit.is_empty() { help.clone() } else { format!("{help} ({unit})") };
        let name = format!("{server}.{name}");
        let range = format!("{min} to {max}");
        text += &format!("{name:<28} {value:>7} {default:>8} {range:>14}  {help}\n");
    }
    text
}
