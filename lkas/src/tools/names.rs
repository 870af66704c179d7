//! Names of channels that vanished, and what removes them.

use super::FOLDER;
use lkas_core::MAX_TYPE_NAME;
use lkas_shm::MAGIC;
use std::fs::{self, DirEntry, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where the name of the type stands in a segment's header, ended by a zero.
const TYPE_NAME: u64 = 192;

/// The first user who is no system user where the machine does not say otherwise; logind leaves system users alone.
const FIRST_PERSON: u32 = 1000;

/// A process that writes or reads a channel without a name, so that nobody can open it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nameless {
    pub process: u32,
    /// The program's name.
    pub program: String,
    /// The name of the type of its values.
    pub carries: String,
}

/// The processes with a role in channels without a name, as far as this user may look. Who only observes one waits for
/// nobody, and is none of them.
pub(super) fn nameless() -> Vec<Nameless> {
    let mut found: Vec<_> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .flat_map(nameless_of)
        .collect();
    found.sort();
    found.dedup();
    found
}

fn nameless_of(process: u32) -> Vec<Nameless> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let program = || printable(fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim_end());
    let has_role = |entry: &DirEntry| holds_a_lock(process, entry);
    let carries = descriptors.flatten().filter(has_role).filter_map(|entry| channel_without_a_name(&entry.path()));
    carries.map(|carries| Nameless { process, program: program(), carries }).collect()
}

/// Whether a lock of the kernel is held through the descriptor (proc_pid_fdinfo(5)): a role in a channel is one.
fn holds_a_lock(process: u32, descriptor: &DirEntry) -> bool {
    let said = fs::read_to_string(Path::new(&format!("/proc/{process}/fdinfo")).join(descriptor.file_name()));
    said.is_ok_and(|said| said.lines().any(|line| line.starts_with("lock:")))
}

/// The name of the type of a segment that no name leads to, by the descriptor of somebody who has it open.
fn channel_without_a_name(descriptor: &Path) -> Option<String> {
    // Looked at before it is opened: whoever opens a pipe waits for its other end.
    let target = fs::read_link(descriptor).ok()?;
    if !target.starts_with(FOLDER) || fs::metadata(descriptor).ok()?.nlink() != 0 {
        return None;
    }
    let file = File::open(descriptor).ok().filter(starts_as_channel)?;
    let mut name = [0; MAX_TYPE_NAME];
    file.read_exact_at(&mut name, TYPE_NAME).ok()?;
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Some(printable(&String::from_utf8_lossy(&name[..end])))
}

/// Whether the file starts as a channel does.
pub(super) fn starts_as_channel(file: &File) -> bool {
    let mut start = [0; MAGIC.len()];
    file.read_exact_at(&mut start, 0).is_ok() && start == MAGIC
}

/// What strangers wrote, so that a terminal shows it and does not obey it.
pub(super) fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\'' | '"' | '\\' => letter.to_string(),
        _ => letter.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

/// Whether logind removes this user's segments at the last logout (`RemoveIPC` of logind.conf(5), on unless it is told).
pub(super) fn logout_removes_channels() -> bool {
    let user = rustix::process::getuid().as_raw();
    let runs = Path::new("/run/systemd/seats").is_dir();
    runs && user >= FIRST_PERSON && remove_ipc(Path::new("/"))
}

/// What the files of logind say, the last one last: systemd reads `logind.conf`, then `logind.conf.d/*.conf` by name.
fn remove_ipc(root: &Path) -> bool {
    let folders = ["usr/lib/systemd", "run/systemd", "etc/systemd"].map(|folder| root.join(folder));
    let main = folders.iter().map(|folder| folder.join("logind.conf"));
    let mut additions: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder.join("logind.conf.d")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    additions.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    let mut said = main.chain(additions).filter_map(|file| setting(&fs::read_to_string(file).ok()?));
    said.next_back().unwrap_or(true)
}

/// The last `RemoveIPC=` of a file.
fn setting(text: &str) -> Option<bool> {
    let mut values = text.lines().filter_map(|line| line.trim().strip_prefix("RemoveIPC")?.trim().strip_prefix('='));
    values
        .next_back()
        .map(|value| !matches!(value.trim().to_lowercase().as_str(), "no" | "false" | "off" | "0" | "n" | "f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_about_logouts_counts() {
        let root = std::env::temp_dir().join(format!("lkas-logind-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(remove_ipc(&root), "it is on by default");
        write("etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\n");
        assert!(remove_ipc(&root), "a comment says nothing");
        write("etc/systemd/logind.conf", "[Login]\nRemoveIPC = no\n");
        assert!(!remove_ipc(&root));
        write("usr/lib/systemd/logind.conf.d/20-vendor.conf", "[Login]\nRemoveIPC=yes\n");
        assert!(remove_ipc(&root), "an addition comes after the file");
        write("etc/systemd/logind.conf.d/30-mine.conf", "[Login]\nRemoveIPC=yes\nRemoveIPC=off\n");
        assert!(!remove_ipc(&root));
        write("etc/systemd/logind.conf.d/40-mine.txt", "[Login]\nRemoveIPC=yes\n");
        assert!(!remove_ipc(&root), "other files are not read");
        fs::remove_dir_all(&root).unwrap();
    }
}
