//! `lkas config`: the file of options.

use super::print;
use crate::Failure;
use crate::config::{self, File};
use clap::Subcommand;
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
            let found = File::read(file).map_err(|why| why.to_string())?;
            let name = file.display();
            let mut lines: String = found.problems.iter().map(|problem| format!("{problem}\n")).collect();
            lines.extend(found.lacks().map(|why| format!("{name}: {why}\n")));
            let good = lines.is_empty();
            if good {
                lines += &format!("{name}: nothing is wrong\n");
            }
            if found.has_mirror {
                lines += &format!("{name}: [mirror] was not looked at; lkas-mirror does so when it starts\n");
            }
            (lines, good)
        }
    };
    print(&text)?;
    Ok(good)
}
