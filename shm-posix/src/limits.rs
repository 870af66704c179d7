//! Limits of the system that would kill a process instead of telling it: found out before.

use core::fmt;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

/// A limit of the system that is below what a channel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The largest file that this process may make (`ulimit -f`).
    FileSize,
    /// The memory of this process's control group.
    ControlGroup,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileSize => "the largest file that this process may make; raise it (ulimit -f)",
            Self::ControlGroup => "the memory of this process's control group; raise it (memory.max, docker --memory)",
        })
    }
}

/// The first limit that forbids `size` bytes of shared memory, and what it allows.
///
/// Memory that a control group has in use already is not looked at: what can be reclaimed of it nobody knows before.
pub(crate) fn exceeded(size: u64) -> Option<(Limit, u64)> {
    let file = getrlimit(Resource::Fsize).current.map(|allows| (Limit::FileSize, allows));
    let group = group_memory().map(|allows| (Limit::ControlGroup, allows));
    [file, group].into_iter().flatten().find(|(_, allows)| *allows < size)
}

/// The smallest limit on memory of this process's control group and those above it; `None` where there is none.
fn group_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(|line| smallest(Path::new("/sys/fs/cgroup"), line)).min()
}

/// The smallest limit by a line of /proc/self/cgroup, `number:controllers:/path`; cgroups(7).
fn smallest(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        names if names.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = root.join(path.trim_start_matches('/'));
    let limit = |folder: &Path| fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok();
    // In a container the path may be one of the host's: then the root is the container's own group.
    group.ancestors().take_while(|folder| folder.starts_with(&root)).filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_all_groups_above_counts() {
        let root = std::env::temp_dir().join(format!("lkas-limits-{}", std::process::id()));
        let inner = root.join("system/car");
        fs::create_dir_all(&inner).unwrap();
        fs::create_dir_all(root.join("memory/old")).unwrap();
        for (file, limit) in [
            ("system/memory.max", "5000\n"),
            ("system/car/memory.max", "max\n"),
            ("memory/old/memory.limit_in_bytes", "7000\n"),
        ] {
            fs::write(root.join(file), limit).unwrap();
        }
        assert_eq!(smallest(&root, "0::/system/car"), Some(5000));
        assert_eq!(smallest(&root, "0::/"), None);
        assert_eq!(smallest(&root, "4:cpu,memory:/old"), Some(7000));
        assert_eq!(smallest(&root, "4:cpu:/old"), None);
        assert_eq!(smallest(&root, "0::/elsewhere/on/the/host"), None);
        assert_eq!(smallest(&root, "nonsense"), None);
        fs::remove_dir_all(&root).unwrap();
    }
}
