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

    // Its end is seen from here, and its role taken over.
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

/// A control group with a limit on memory, removed at the end.
struct ControlGroup(PathBuf);

impl ControlGroup {
    fn create(name: &ChannelName, limit: u64) -> std::io::Result<Self> {
        let group = Self(memory_root().0.join(name.as_str()));
        std::fs::create_dir(&group.0)?;
        std::fs::write(group.0.join(memory_root().1), limit.to_string())?;
        Ok(group)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The folder of the groups for memory, and the file of a group's limit, in either version of control groups.
fn memory_root() -> (PathBuf, &'static str) {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        (root.to_owned(), "memory.max")
    } else {
        (root.join("memory"), "memory.limit_in_bytes")
    }
}

const GROUP_MEMORY: u64 = 6 << 20;

/// In a control group with less memory than a channel needs, a creator would be killed at its first look at it.
pub(crate) fn a_control_group(name: &ChannelName) -> Outcome {
    match ControlGroup::create(name, GROUP_MEMORY) {
        Ok(_group) => in_child("in-a-control-group", name),
        // In a container these files are read-only, also for root.
        Err(why) => {
            println!("LEFT OUT: no control group can be made here: {why}");
            Ok(())
        }
    }
}

fn in_a_control_group(name: &ChannelName) {
    let members = memory_root().0.join(name.as_str()).join("cgroup.procs");
    std::fs::write(members, std::process::id().to_string()).unwrap();
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
