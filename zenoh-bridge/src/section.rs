//! The section `[mirror]` of `lkas.toml`: the options of the command line, by the same names.

use lkas_mirror::Failure;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What the file says to a mirror; what else is in it, others read.
#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(default)]
    system: System,
    mirror: Option<Section>,
}

#[derive(Debug, Default, Deserialize)]
struct System {
    namespace: Option<String>,
}

/// The section.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Section {
    pub(crate) export: Vec<String>,
    pub(crate) import: Vec<String>,
    pub(crate) listen: Vec<String>,
    pub(crate) connect: Vec<String>,
    pub(crate) zenoh: Option<PathBuf>,
    pub(crate) system: Option<String>,
    /// That of `[system]` unless it is said here.
    pub(crate) namespace: Option<String>,
    pub(crate) status: Option<String>,
}

impl Section {
    /// Reads the section of a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        // Its words tell the line, and show it.
        let file: File = toml::from_str(&text).map_err(|why| format!("{}: {why}", path.display()))?;
        let section = file.mirror.ok_or_else(|| format!("{}: there is no section [mirror]", path.display()))?;
        Ok(Self { namespace: section.namespace.or(file.system.namespace), ..section })
    }
}
