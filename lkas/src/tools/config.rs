//! `lkas config`: the file of options.

use super::unless_nobody_reads;
use crate::Failure;
use crate::config::{self, File};
use clap::Subcommand;
use std::io::Write;
use std::path::PathBuf;

/// What to do with the file of options.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// A file with every option as a comment, with its default
    Show,
    /// Say what is wrong with a file, and where
    Check {
        /// The file
        #[arg(default_value = config::NAME)]
        file: PathBuf,
    },
}

/// Shows or checks; whether nothing is wrong.
///
/// # Errors
/// The file can't be read, or the output can't be written.
pub fn config(command: &ConfigCommand) -> Result<bool, Failure> {
    let (text, good) = match command {
        ConfigCommand::Show => (config::show(), true),
        ConfigCommand::Check { file } => {
            let problems = File::read(file).map_err(|why| why.to_string())?.problems;
            let lines: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
            match problems.is_empty() {
                true => (format!("{}: nothing is wrong\n", file.display()), true),
                false => (lines, false),
            }
        }
    };
    let printed = std::io::stdout().lock().write_all(text.as_bytes());
    unless_nobody_reads(printed.map_err(Failure::from))?;
    Ok(good)
}
