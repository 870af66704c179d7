//! `lkas.toml`: every option of the command line in a file, by the same name, and the parameters at a start.
//!
//! The options are declared once, where the command line is. A section is the options of one program; what the file says
//! takes the place of an option's default, so the command line goes over it.

mod file;
mod parameters;
mod show;

pub use file::{File, Problem};
pub use parameters::save as save_parameters;
pub use show::show;

use crate::demo::DemoOptions;
use crate::options::{SystemOptions, ViewerArguments};
use crate::servers::ServerOptions;
use crate::simulation_program::SimulationOptions;

use clap::{Arg, Args, Command};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file that is looked for in the current folder.
pub const NAME: &str = "lkas.toml";

/// One part of the file.
struct Section {
    name: &'static str,
    about: &'static str,
    /// The options, as the command line declares them.
    options: fn(Command) -> Command,
    /// The programs and subcommands that have these options.
    commands: &'static [&'static str],
}

const SECTIONS: [Section; 5] = [
    Section {
        name: "system",
        about: "What all programs have in common",
        options: SystemOptions::augment_args,
        commands: &["lkas", "simulation", "viewer"],
    },
    Section {
        name: "servers",
        about: "Detection and decision: `lkas` without a subcommand",
        options: ServerOptions::augment_args,
        commands: &["lkas"],
    },
    Section {
        name: "simulation",
        about: "`simulation`, and in `lkas demo`",
        options: SimulationOptions::augment_args,
        commands: &["simulation", "demo"],
    },
    Section {
        name: "viewer",
        about: "`viewer`, and in `lkas demo`",
        options: ViewerArguments::augment_args,
        commands: &["viewer", "demo", "doctor"],
    },
    Section { name: "demo", about: "`lkas demo` alone", options: DemoOptions::augment_args, commands: &["demo"] },
];

impl Section {
    /// The options that can stand in this section: those that no section before has.
    fn options(&self) -> Vec<Arg> {
        let before = SECTIONS.iter().take_while(|section| section.name != self.name && self.name == "demo");
        let taken: Vec<_> = before.flat_map(|section| names(&section.command())).collect();
        let all = self.command();
        let own = all.get_arguments().filter(|option| !option.is_hide_set() && option.get_long().is_some());
        own.filter(|option| !taken.contains(&option.get_id().to_string()) && option.get_id() != "config")
            .cloned()
            .collect()
    }

    fn command(&self) -> Command {
        (self.options)(Command::new(self.name).no_binary_name(true).disable_help_flag(true))
    }

    fn option(&self, key: &str) -> Option<Arg> {
        self.options().into_iter().find(|option| option.get_long() == Some(key))
    }
}

fn names(command: &Command) -> Vec<String> {
    command.get_arguments().map(|option| option.get_id().to_string()).collect()
}

fn is_flag(option: &Arg) -> bool {
    matches!(option.get_action(), clap::ArgAction::SetTrue)
}

/// Whether two options of a command exclude each other, whichever of them says so.
fn exclude(command: &Command, one: &str, other: &str) -> bool {
    let says = |one: &str, other: &str| {
        let option = command.get_arguments().find(|option| option.get_id() == one);
        option.is_some_and(|option| command.get_arg_conflicts_with(option).iter().any(|found| found.get_id() == other))
    };
    says(one, other) || says(other, one)
}

/// Whether another process started this one, and tells it all that programs have in common.
fn is_supervised(line: &[OsString]) -> bool {
    line.iter().any(|argument| argument == "--supervised")
}

/// The configuration file of this command line: the one that `--config` names, else [`NAME`] in the current folder if it is
/// there. A process that another one started has only what that one tells it.
#[must_use]
pub fn path(line: &[OsString]) -> Option<PathBuf> {
    let named = line.iter().enumerate().find_map(|(place, argument)| match argument.to_str()? {
        "--config" => line.get(place + 1).map(PathBuf::from),
        argument => argument.strip_prefix("--config=").map(PathBuf::from),
    });
    named.or_else(|| Some(PathBuf::from(NAME)).filter(|path| !is_supervised(line) && path.exists()))
}

/// `command` with the file's values as defaults under `line`, and what is wrong with the file: then what makes sense in it
/// counts.
#[must_use]
pub fn under(command: Command, path: &Path, line: &[OsString]) -> (Command, Vec<Problem>) {
    // So that children find it too.
    let command = command.mut_arg("config", |option| option.default_value(path.to_owned().into_os_string()));
    match File::read(path) {
        Err(why) => (command, vec![why]),
        Ok(file) => (file.under(command, line), file.problems),
    }
}
