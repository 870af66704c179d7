//! Users who share a group, containers that share `/dev/shm` and not their processes, and control groups.

use crate::child::{Outcome, Process, Skipped, in_child};
use crate::files::path;
use crate::support::{NO_WAIT, control};
use crate::tally::refused;
use crate::worlds::{NOBODY, become_user, foreign, is_root};
use lkas_messages::{ImageShape, PixelFormat};
use lkas_shm::{
    ChannelName, ControlChannel, CreateError, ImageChannel, Limit, Observer, OpenError, Options, Reading, unlink,
};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A group that nobody is a member of.
const GROUP: u32 = 54_321;

/// What a child of this module does.
pub(crate) fn play(role: &str, name: &ChannelName) -> Outcome {
    match role {
        "member-of-the-group" => member(name),
        "no-member-of-the-group" => no_member(name),
        "in-another-pid-namespace" => in_another_pid_namespace(name)?,
        "process-1" => process_1(name),
        "beside-process-1" => beside_process_1(name),
        "in-a-control-group" => in_a_control_group(name),
        other => return crate::worlds::play(other, name),
    }
    Ok(())
}

/// A channel that a group shares: its members take part, others are refused.
pub(crate) fn a_shared_group(name: &ChannelName) -> Outcome {
    if !is_root() {
        return Err(Skipped("only root can give a file to a group that it is no member of".to_owned()));
    }
    let mut writer = ControlChannel::create(name, Options::new().mode(0o660).group(GROUP)).unwrap();
    writer.publish(control(7));
    in_child("no-member-of-the-group", name)?;
    in_child("member-of-the-group", name)?;
    // What a member left does not keep this writer from its channel, nor readers from theirs.
    writer.publish(control(8));
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(8));
    Ok(())
}

fn member(name: &ChannelName) {
    become_user(NOBODY, GROUP);
    let (create, open) = foreign();
    let mut reader = ControlChannel::open(name, open).unwrap();
    assert!(reader.warnings().is_empty(), "{:?}", reader.warnings());
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(7));
    let why = ControlChannel::create(name, create.grace(NO_WAIT)).map(drop).unwrap_err();
    assert!(matches!(why, CreateError::HasWriter { same_namespace: true, .. }), "{why}");
}

fn no_member(name: &ChannelName) {
    become_user(NOBODY, NOBODY);
    let (create, open) = foreign();
    let why = ControlChannel::open(name, open).map(drop).unwrap_err();
    assert_eq!(why, OpenError::System { name: name.clone(), what: "open segment", why: Errno::ACCESS });
    refused(&why, &["Permission denied", "ask its owner"]);
    let why = ControlChannel::create(name, create).map(drop).unwrap_err();
    assert_eq!(why, CreateError::System { name: name.clone(), what: "open segment", why: Errno::ACCESS });
}

/// Containers with one `/dev/shm`: channels work across them, and nobody is told the number of a process that is
/// somebody else's here.
pub(crate) fn another_pid_namespace(name: &ChannelName) -> Outcome {
    in_child("in-another-pid-namespace", name)
}

fn in_another_pid_namespace(name: &ChannelName) -> Outcome {
    // From now on children of this process are in a namespace of their own; the first is its process 1.
    // SAFETY: no pointer; this process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        return Err(Skipped(format!("no processes of its own: {}", std::io::Error::last_os_error())));
    }
    let mut inside = Process::start("process-1", name, 0);
    inside.wait_for_word();

    // Outside: the channel is there, and its writer is not "process 1".
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert!(matches!(reader.read(), Reading::Value { sample, .. } if sample.frame_id() == 1));
    let seen = Observer::open(name).unwrap().look();
    assert_eq!((seen.has_writer, seen.writer.process), (true, 1));
    let why = ControlChannel::create(name, Options::new().grace(NO_WAIT)).map(drop).unwrap_err();
    assert!(matches!(why, CreateError::HasWriter { same_namespace: false, .. }), "{why}");
    refused(&why, &["in another PID namespace (a container)", "stop it there"]);
    assert!(!why.to_string().contains("process 1"), "{why}");

    // Its death is seen from here, and the role taken over; then the other way round.
    inside.stop();
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    writer.publish(control(2));
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(2));
    Ok(())
}

/// The writer, as the first process of a container.
fn process_1(name: &ChannelName) {
    crate::child::watch();
    assert_eq!(std::process::id(), 1);
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    writer.publish(control(1));
    // Another one of the same container is told the number that holds there.
    in_child("beside-process-1", name).unwrap();
    println!();
    while crate::child::goes_on() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn beside_process_1(name: &ChannelName) {
    let why = ControlChannel::create(name, Options::new().grace(NO_WAIT)).map(drop).unwrap_err();
    assert_eq!(why, CreateError::HasWriter { name: name.clone(), pid: 1, same_namespace: true });
    refused(&why, &["process 1; stop it"]);
}

/// A control group of this test's own with a limit on memory, removed at the end.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn with_memory(limit: u64) -> std::io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let (parent, file) = if root.join("cgroup.controllers").exists() {
            (root.to_owned(), "memory.max")
        } else {
            (root.join("memory"), "memory.limit_in_bytes")
        };
        let group = Self(parent.join(format!("lkas-test-{}", std::process::id())));
        std::fs::create_dir(&group.0)?;
        std::fs::write(group.0.join(file), limit.to_string())?;
        Ok(group)
    }

    fn enter(&self) -> std::io::Result<()> {
        std::fs::write(self.0.join("cgroup.procs"), std::process::id().to_string())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

const GROUP_MEMORY: u64 = 6 << 20;

/// In a control group with less memory than a channel needs, a creator would be killed at its first look at it.
pub(crate) fn a_control_group(name: &ChannelName) -> Outcome {
    let group = match ControlGroup::with_memory(GROUP_MEMORY) {
        Ok(group) => group,
        // In a container these files are read-only, also for root.
        Err(why) => {
            println!("LEFT OUT: no control group can be made here: {why}");
            return Ok(());
        }
    };
    in_child_of(&group, "in-a-control-group", name)
}

/// Runs a role in a child that is a member of the group; this process is none afterwards.
fn in_child_of(group: &ControlGroup, role: &str, name: &ChannelName) -> Outcome {
    let home = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    group.enter().map_err(|why| Skipped(format!("no member of a control group: {why}")))?;
    let outcome = in_child(role, name);
    let parent = group.0.parent().expect("a group has a parent");
    let back = memory_path(&home).map_or_else(|| parent.to_owned(), |path| parent.join(path));
    std::fs::write(back.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    outcome
}

/// The path of this process's group for memory, by its /proc/self/cgroup.
fn memory_path(groups: &str) -> Option<PathBuf> {
    let path = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let of_memory = controllers.is_empty() || controllers.split(',').any(|name| name == "memory");
        of_memory.then(|| PathBuf::from(path.trim_start_matches('/')))
    };
    groups.lines().filter(|line| line.contains("memory")).find_map(path).or_else(|| groups.lines().find_map(path))
}

fn in_a_control_group(name: &ChannelName) {
    let shape = ImageShape::new(800, 600, PixelFormat::Rgb8).unwrap();
    let why = ImageChannel::create(name, shape, Options::new()).map(drop).unwrap_err();
    let CreateError::Limit { needs, limit: Limit::ControlGroup, allows, .. } = why else { panic!("{why}") };
    assert!(needs > GROUP_MEMORY && allows == GROUP_MEMORY, "needs {needs}, allows {allows}");
    refused(&why, &["memory of this process's control group", "memory.max"]);
    assert!(!std::fs::exists(path(name)).unwrap(), "nothing is left");
    // What fits works.
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    writer.publish(control(1));
    drop(writer);
    unlink(name).unwrap();
}
