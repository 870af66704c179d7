//! Other users, other memory, other clocks. Each world is made in a process of its own (with mounts or a clock of its own),
//! and ends with it.

use crate::child::{Outcome, Process, Skipped, in_child};
use crate::files::{path, works};
use crate::support::{LONG, NO_WAIT, control};
use crate::tally::refused;
use lkas_messages::{ImageShape, PixelFormat};
use lkas_shm::{
    AnyChannel, ChannelName, ControlChannel, CreateError, HeaderError, ImageChannel, Limit, Memory, Observer,
    OpenError, OpenOptions, Options, Reading, UnlinkError, Wait, clock, unlink, unlink_foreign,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

/// A user who is not this one, nor root.
pub(crate) const NOBODY: u32 = 65534;

const NANOSECONDS: u64 = 1_000_000_000;

/// By how much the other clock is ahead, in seconds.
const AHEAD: u64 = 1_000;

/// What a child of this module does.
pub(crate) fn play(role: &str, name: &ChannelName) -> Outcome {
    match role {
        "another-user" => in_another_user(name),
        "another-user-who-replaces" => replaces_as_another_user(name),
        "another-user-who-removes" => removes_as_another_user(name),
        "without-permission" => without_permission(name),
        "in-full-memory" => in_full_memory(name)?,
        "in-memory-without-a-limit" => in_memory_without_a_limit(name)?,
        "in-full-memory-with-holes" => in_full_memory_with_holes(name)?,
        "in-read-only-memory" => in_read_only_memory(name)?,
        "beside-another-clock" => beside_another_clock("with-another-clock", name)?,
        "before-another-clock" => beside_another_clock("successor-with-another-clock", name)?,
        "with-another-clock" => with_another_clock(name),
        "successor-with-another-clock" => {
            let mut writer = ControlChannel::create(name, Options::default()).unwrap();
            writer.publish(control(2));
        }
        other => panic!("there is no role {other}"),
    }
    Ok(())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Becomes another user, if this one may.
fn become_nobody() {
    if is_root() {
        become_user(NOBODY, NOBODY);
    }
}

/// Becomes a user with one group; only root can.
pub(crate) fn become_user(user: u32, group: u32) {
    // SAFETY: no pointer that is looked at; this process has one thread.
    assert_eq!(unsafe { libc::setgroups(0, core::ptr::null()) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setgid(group) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setuid(user) }, 0);
}

pub(crate) fn foreign() -> (Options, OpenOptions) {
    let options = Options::new().foreign_owner(true);
    (options, OpenOptions::new().foreign_owner(true))
}

/// Everything that this process does with a segment of user `found` is refused.
fn owner_is_refused(name: &ChannelName, found: u32) {
    let expected = rustix::process::geteuid().as_raw();
    let open = OpenError::Owner { name: name.clone(), found, expected };
    let create = CreateError::Owner { name: name.clone(), found, expected };
    assert_eq!(ControlChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    assert_eq!(AnyChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    assert_eq!(Observer::open(name).map(drop), Err(open.clone()));
    assert_eq!(ControlChannel::create(name, Options::default()).map(drop), Err(create.clone()));
    let remove = UnlinkError::Owner { name: name.clone(), found, expected };
    assert_eq!(unlink(name), Err(remove.clone()));
    let [found, expected] = [format!("belongs to user {found}"), format!("expected {expected}")];
    refused(&open, &[&found, &expected, "run as that user, or choose"]);
    refused(&create, &[&found, &expected, "run as that user, or choose"]);
    refused(&remove, &[&found, &expected, "run as that user to remove it"]);
}

pub(crate) fn other_users(name: &ChannelName) -> Outcome {
    if !is_root() {
        return Err(Skipped("only root can give a file to another user".to_owned()));
    }
    works(name);
    std::os::unix::fs::chown(path(name), Some(NOBODY), None).unwrap();
    owner_is_refused(name, NOBODY);
    let (create, open) = foreign();
    let mut writer = ControlChannel::create(name, create).unwrap();
    let mut reader = ControlChannel::open(name, open).unwrap();
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(5), "what was published before");
    writer.publish(control(6));
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(6));
    let seen = Observer::open_foreign(name).unwrap().look();
    assert_eq!((seen.sequence, seen.has_writer), (2, true));
    assert_eq!(unlink_foreign(name), Err(UnlinkError::InUse { name: name.clone() }));
    drop((writer, reader));
    unlink_foreign(name).unwrap();
    assert!(!std::fs::exists(path(name)).unwrap());

    // The other way round, by another user who has permission.
    let mut writer = ControlChannel::create(name, Options::new().mode(0o666)).unwrap();
    writer.publish(control(7));
    in_child("another-user", name)?;
    drop(writer);
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    in_child("another-user-who-replaces", name)?;
    assert!(!reader.is_retired());
    let mut writer = ControlChannel::create(name, Options::new().mode(0o666)).unwrap();
    writer.publish(control(8));
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(8), "it goes on as before");
    drop((reader, writer));
    in_child("another-user-who-removes", name)?;
    ControlChannel::open(name, NO_WAIT).unwrap();
    unlink(name).unwrap();
    Ok(())
}

fn in_another_user(name: &ChannelName) {
    let owner = rustix::process::geteuid().as_raw();
    become_nobody();
    owner_is_refused(name, owner);
    let (create, open) = foreign();
    let mut reader = ControlChannel::open(name, open).unwrap();
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(7));
    let why = ControlChannel::create(name, create).map(drop).unwrap_err();
    assert!(matches!(why, CreateError::HasWriter { .. }), "{why}");
}

/// Where anybody may make files, nobody removes those of others, whatever their mode (the sticky bit of `/dev/shm`).
fn replaces_as_another_user(name: &ChannelName) {
    let found = rustix::process::geteuid().as_raw();
    become_nobody();
    let (create, open) = foreign();
    let more_places = create.readers(create.readers + 1);
    let why = ControlChannel::create(name, more_places).map(drop).unwrap_err();
    assert_eq!(why, CreateError::Irreplaceable { name: name.clone(), found, expected: NOBODY });
    let words = ["has to be replaced", &format!("belongs to user {found}"), &format!("expected {NOBODY}")];
    refused(&why, &[&words[..], &["run as that user, or choose another name"]].concat());
    let mut reader = ControlChannel::open(name, open).unwrap();
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(7), "it is as it was");
}

fn removes_as_another_user(name: &ChannelName) {
    let found = rustix::process::geteuid().as_raw();
    become_nobody();
    assert_eq!(unlink_foreign(name), Err(UnlinkError::Owner { name: name.clone(), found, expected: NOBODY }));
}

pub(crate) fn no_permission(name: &ChannelName) -> Outcome {
    works(name);
    if !is_root() {
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o0)).unwrap();
    }
    in_child("without-permission", name)
}

fn without_permission(name: &ChannelName) {
    become_nobody();
    system_refuses(name, "open segment", Errno::ACCESS, &["Permission denied", "ask its owner"]);
    let why = Observer::open(name).map(drop).unwrap_err();
    assert_eq!(why, OpenError::System { name: name.clone(), what: "open segment", why: Errno::ACCESS });
}

/// Every use of the segment is refused by the system while it does `what`.
fn system_refuses(name: &ChannelName, what: &'static str, why: Errno, words: &[&str]) {
    let open = OpenError::System { name: name.clone(), what, why };
    let create = CreateError::System { name: name.clone(), what, why };
    let remove = UnlinkError::System { name: name.clone(), what, why };
    assert_eq!(ControlChannel::open(name, LONG).map(drop), Err(open.clone()), "nor does waiting help");
    assert_eq!(AnyChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    assert_eq!(ControlChannel::create(name, Options::default()).map(drop), Err(create.clone()));
    assert_eq!(unlink(name), Err(remove.clone()));
    refused(&open, words);
    refused(&create, words);
    refused(&remove, words);
}

/// Gives this process mounts of its own, and in it `/dev/shm` of `size` bytes; without a limit where that is 0.
fn mount_memory(size: u64) -> Outcome {
    // SAFETY: no pointer; this process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(Skipped(format!("no mounts of its own: {}", std::io::Error::last_os_error())));
    }
    // What is mounted from here on stays in here.
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE, "");
    mount("tmpfs", "/dev/shm", "tmpfs", 0, &format!("size={size}"));
    Ok(())
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) {
    let [source, target, kind, data] = [source, target, kind, data].map(|text| CString::new(text).unwrap());
    let (source, target, kind, data) = (source.as_ptr(), target.as_ptr(), kind.as_ptr(), data.as_ptr());
    // SAFETY: all are strings that live through the call.
    let result = unsafe { libc::mount(source, target, kind, flags, data.cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Uses up the memory that is free, to the last page.
fn fill_memory() {
    let mut file = File::create("/dev/shm/ballast").unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let space = rustix::fs::statvfs("/dev/shm").unwrap();
    assert_eq!(space.f_bavail, 0);
}

const SMALL: u64 = 64 * 1024;

pub(crate) fn full_memory(name: &ChannelName) -> Outcome {
    in_child("in-full-memory", name)
}

pub(crate) fn memory_without_a_limit(name: &ChannelName) -> Outcome {
    in_child("in-memory-without-a-limit", name)
}

fn in_memory_without_a_limit(name: &ChannelName) -> Outcome {
    mount_memory(0)?;
    assert_eq!(rustix::fs::statvfs("/dev/shm").unwrap().f_blocks, 0);
    works(name);
    Ok(())
}

fn in_full_memory(name: &ChannelName) -> Outcome {
    mount_memory(SMALL)?;
    // Nothing of it is touched by hand before the memory is full: it has to be reserved.
    let memory = Memory::new().prefault(false);
    let mut writer = ControlChannel::create(name, Options::new().memory(memory)).unwrap();
    let size = std::fs::metadata(path(name)).unwrap().len();

    let shape = ImageShape::new(640, 480, PixelFormat::Rgb8).unwrap();
    let other: ChannelName = format!("{name}.other").parse().unwrap();
    let no_space = |why: CreateError, at_least: u64, at_most: u64| {
        let CreateError::NoSpace { needs, free, .. } = why else { panic!("{why}") };
        assert!(needs >= at_least && free <= at_most, "needs {needs}, free {free}");
        let words =
            [&format!("needs {needs} bytes"), &format!("{free} are free"), "remove what is not used", "enlarge"];
        refused(&why, &words);
        assert!(!std::fs::exists(path(&other)).unwrap(), "nothing is left");
    };
    let why = ImageChannel::create(&other, shape, Options::default()).map(drop).unwrap_err();
    no_space(why, 6 * shape.image_bytes() as u64, SMALL - size);

    fill_memory();
    let why = ControlChannel::create(&other, Options::default()).map(drop).unwrap_err();
    no_space(why, size, 0);

    // What was there before goes on, with all its slots and places.
    let mut readers: Vec<_> = (0..4).map(|_| ControlChannel::open(name, NO_WAIT).unwrap()).collect();
    for number in 0..100 {
        writer.publish(control(number));
        for (place, reader) in readers.iter_mut().enumerate() {
            if number % (place as u64 + 1) == 0 {
                assert!(reader.take().is_some_and(|control| control.is_whole() && control.frame_id() == number));
            }
        }
    }
    drop((writer, readers));
    works(name);
    assert_eq!(unlink(name), Ok(()));
    works(&other);
    Ok(())
}

pub(crate) fn holes(name: &ChannelName) -> Outcome {
    in_child("in-full-memory-with-holes", name)
}

/// A header that fits, and behind it a file that was cut off and stretched again: where memory is full, whoever looks at
/// the rest is killed.
fn in_full_memory_with_holes(name: &ChannelName) -> Outcome {
    mount_memory(SMALL)?;
    works(name);
    let file = File::options().write(true).open(path(name)).unwrap();
    let expected = file.metadata().unwrap().len();
    file.set_len(4096).unwrap();
    file.set_len(expected).unwrap();
    fill_memory();
    let why = HeaderError::Holes { found: 4096, expected };
    let open = OpenError::Unusable { name: name.clone(), why: why.clone() };
    assert_eq!(ControlChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    assert_eq!(Observer::open(name).map(drop), Err(open.clone()));
    let create = CreateError::Unusable { name: name.clone(), why };
    assert_eq!(ControlChannel::create(name, Options::default()).map(drop), Err(create));
    refused(&open, &["only 4096 of its", &format!("{expected} bytes"), "remove it", "start its writer again"]);
    Ok(())
}

/// Beyond RLIMIT_FSIZE the system kills a process instead of telling it.
pub(crate) fn file_size_limit(name: &ChannelName) -> Outcome {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let allows = 20_000;
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, rustix::process::Rlimit { current: Some(allows), ..limit }).unwrap();
    works(name);
    let shape = ImageShape::new(800, 600, PixelFormat::Rgb8).unwrap();
    let other: ChannelName = format!("{name}.other").parse().unwrap();
    let why = ImageChannel::create(&other, shape, Options::default()).map(drop).unwrap_err();
    let CreateError::Limit { needs, limit: Limit::FileSize, allows: found, .. } = why else { panic!("{why}") };
    assert!(needs > 6 * 1_440_000 && found == allows, "{why}");
    refused(&why, &["ulimit -f", &needs.to_string(), "20000"]);
    assert!(!std::path::Path::new(&path(&other)).exists());
    Ok(())
}

pub(crate) fn read_only(name: &ChannelName) -> Outcome {
    in_child("in-read-only-memory", name)
}

fn in_read_only_memory(name: &ChannelName) -> Outcome {
    mount_memory(1 << 20)?;
    works(name);
    mount("tmpfs", "/dev/shm", "tmpfs", libc::MS_REMOUNT | libc::MS_RDONLY, "");
    let words = ["Read-only file system", "mount /dev/shm writable"];
    system_refuses(name, "open segment", Errno::ROFS, &words);
    let other: ChannelName = format!("{name}.other").parse().unwrap();
    let why = ControlChannel::create(&other, Options::default()).map(drop).unwrap_err();
    assert_eq!(why, CreateError::System { name: other.clone(), what: "create segment", why: Errno::ROFS });
    refused(&why, &words);
    let why = ControlChannel::open(&other, NO_WAIT).map(drop).unwrap_err();
    assert_eq!(why, OpenError::NoSuchChannel { name: other });

    // Looking on needs to write nothing.
    let seen = Observer::open(name).unwrap().look();
    assert_eq!((seen.sequence, seen.has_writer, seen.closed), (1, false, true));

    mount("tmpfs", "/dev/shm", "tmpfs", libc::MS_REMOUNT, "");
    works(name);
    Ok(())
}

/// Plays `role` in a child whose clock is ahead of this process's.
fn beside_another_clock(role: &str, name: &ChannelName) -> Outcome {
    // SAFETY: no pointer; this process has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        return Err(Skipped(format!("no clock of its own: {}", std::io::Error::last_os_error())));
    }
    std::fs::write("/proc/self/timens_offsets", format!("monotonic {AHEAD} 0")).unwrap();
    in_child(role, name)
}

pub(crate) fn another_clock(name: &ChannelName) -> Outcome {
    // Processes of one machine share a clock that never goes back.
    let before = clock::now();
    let mut last = before;
    for _ in 0..100_000 {
        let now = clock::now();
        assert!(now >= last);
        last = now;
    }
    let theirs: u64 = Process::start("clock", name, 0).stop().trim().parse().unwrap();
    assert!((last..=clock::now()).contains(&theirs));

    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    writer.publish(control(1));
    in_child("beside-another-clock", name)?;
    drop(writer);

    // The channel that they left, seen from here.
    let theirs: ChannelName = format!("{name}.theirs").parse().unwrap();
    clock_is_refused(&theirs);
    works(&theirs);
    unlink(&theirs).unwrap();
    Ok(())
}

fn clock_is_refused(name: &ChannelName) {
    let why = OpenError::Clock { name: name.clone() };
    assert_eq!(ControlChannel::open(name, NO_WAIT).map(drop), Err(why.clone()));
    assert_eq!(AnyChannel::open(name, NO_WAIT).map(drop), Err(why.clone()));
    refused(&why, &["in another time namespace", "its clock differs", "run both in one"]);
}

fn with_another_clock(name: &ChannelName) {
    clock_is_refused(name);
    // The clocks do differ: what was published just now lies long back.
    let age = Observer::open(name).unwrap().look().age.expect("it was published");
    assert!(age.as_nanos() >= u128::from(AHEAD * NANOSECONDS), "{age:?}");
    // Among themselves they understand each other.
    works(&format!("{name}.theirs").parse().unwrap());
}

pub(crate) fn a_successor_with_another_clock(name: &ChannelName) -> Outcome {
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    drop(writer);
    in_child("before-another-clock", name)?;
    // Who is there already does not take the one clock for the other: it gets what was published by its own, and no more.
    if let Reading::Value { sample, .. } = reader.read() {
        assert_eq!(sample.frame_id(), 1);
    }
    assert_eq!(reader.wait(LONG), Wait::Closed);
    assert!(reader.is_retired());
    clock_is_refused(name);
    Ok(())
}
