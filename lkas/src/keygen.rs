//! Keys for watching and commanding over a network.

use crate::Failure;
use crate::tools;
use clap::Args;
use lkas_zmq::keys::Certificate;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Which key to make, and where.
#[derive(Args, Clone, Debug)]
pub struct KeygenOptions {
    /// Whose key: NAME.key is to be given to others, NAME.key_secret is for its owner alone
    #[arg(default_value = "broker")]
    pub name: String,
    /// The folder for both files; made with watch/ and command/ in it where it is not there
    #[arg(long, default_value = "keys", value_name = "DIR")]
    pub folder: PathBuf,
}

/// Makes a pair of keys. What is there is not replaced.
///
/// # Errors
/// The name is no file name, a file is there already or can't be written, or libzmq has no CURVE.
pub fn program(options: &KeygenOptions) -> Result<bool, Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if options.name.is_empty() || options.name.starts_with('.') || !options.name.chars().all(is_plain) {
        return Err(format!("\"{}\" is no name; use letters, digits, _ - and .", options.name).into());
    }
    for role in ["watch", "command"] {
        let folder = options.folder.join(role);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let (public, secret) = Certificate::generate()?.write(&options.folder, &options.name)?;
    tools::say(format_args!("{} is secret: for {} alone", secret.display(), options.name))?;
    let public = public.display();
    tools::say(format_args!("{public} is public: who shall let {} in copies it to watch/ or command/", options.name))?;
    Ok(true)
}
