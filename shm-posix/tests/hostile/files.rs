//! Segments of the wrong size, version or kind, and roles that are taken: the exact error, and a text that says what was
//! found, what was expected and what to do.

use crate::child::{Outcome, Process};
use crate::support::{NO_WAIT, control};
use crate::tally::refused;
use lkas_shm::{
    AnyChannel, ChannelName, ControlChannel, CreateError, HeaderError, MAGIC, Observer, OpenError, Options,
    UnlinkError, unlink,
};
use std::fs::File;
use std::os::unix::fs::FileExt;

pub(crate) fn path(name: &ChannelName) -> String {
    format!("/dev/shm/{name}")
}

/// Nobody opens, takes over or looks at what lies there under `name`, all for the reason `why`.
fn is_refused(name: &ChannelName, why: &HeaderError, words: &[&str]) {
    let open = OpenError::Unusable { name: name.clone(), why: why.clone() };
    let create = CreateError::Unusable { name: name.clone(), why: why.clone() };
    assert_eq!(ControlChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    assert_eq!(AnyChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    assert_eq!(Observer::open(name).map(drop), Err(open.clone()));
    assert_eq!(ControlChannel::create(name, Options::default()).map(drop), Err(create.clone()));
    refused(&open, words);
    refused(&create, words);
}

/// Nor does anybody remove it.
fn is_kept(name: &ChannelName) {
    assert_eq!(unlink(name), Err(UnlinkError::NotAChannel { name: name.clone() }));
    refused(&UnlinkError::NotAChannel { name: name.clone() }, &[name.as_str(), "not a channel", "left alone"]);
}

/// The channel works, old or new.
pub(crate) fn works(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(5));
    assert!(reader.take().is_some_and(|control| control.is_whole() && control.frame_id() == 5));
}

/// A channel whose file is damaged by `damage` is refused, and can be removed as long as it begins as a channel does; once
/// the file is removed, there can be a new one.
fn damaged(name: &ChannelName, damage: impl Fn(&File), why: &HeaderError, words: &[&str]) {
    works(name);
    damage(&File::options().write(true).open(path(name)).unwrap());
    is_refused(name, why, words);
    let mut start = [0; MAGIC.len()];
    let begins = File::open(path(name)).unwrap().read_exact_at(&mut start, 0);
    if begins.is_ok() && start == MAGIC {
        assert_eq!(unlink(name), Ok(()));
    } else {
        is_kept(name);
        std::fs::remove_file(path(name)).unwrap();
    }
    assert!(!std::path::Path::new(&path(name)).exists());
    works(name);
}

pub(crate) fn sizes(name: &ChannelName) -> Outcome {
    works(name);
    let total = std::fs::metadata(path(name)).unwrap().len();
    for size in [0, 1, 100, 4095, 4096, 4097, 8192, total - 1, total + 1, total + 4096, 1 << 40] {
        let expected = if size < 4096 { 4096 } else { total };
        let words = [&format!("{size} bytes"), &format!("expected {expected}"), "remove it", "start its writer again"];
        damaged(name, |file| file.set_len(size).unwrap(), &HeaderError::Size { found: size, expected }, &words);
    }
    Ok(())
}

pub(crate) fn versions(name: &ChannelName) -> Outcome {
    for found in [0, 3, u32::MAX] {
        let why = HeaderError::Version { found, expected: 2 };
        let words = [&format!("version {found}"), "expected 2", "the same release on both sides"];
        damaged(name, |file| file.write_all_at(&found.to_le_bytes(), 8).unwrap(), &why, &words);
    }
    version_1_is_refused_by_name_and_replaced_by_a_creator(name);
    let words = ["not a channel", "choose another name, or remove the file"];
    for magic in [b"LKASCHAM", b"\x7fELF\x02\x01\x01\0", &[0; 8]] {
        damaged(name, |file| file.write_all_at(magic, 0).unwrap(), &HeaderError::NotAChannel, &words);
    }
    // Where a number of the layout stands, and one that can't be, or contradicts the others.
    let numbers: [(&str, u64, u64); 7] = [
        ("readers", 12, 30),
        ("total_size", 16, 1),
        ("slots_offset", 24, 0),
        ("payload_size", 32, u64::MAX),
        ("payload_align", 40, 3),
        ("payload_offset", 48, 8),
        ("stride", 56, 64),
    ];
    for (field, at, found) in numbers {
        let why = HeaderError::Damaged { field, found };
        let words = [&format!("{field} is {found}"), "damaged", "remove it", "start its writer again"];
        damaged(name, |file| file.write_all_at(&found.to_le_bytes(), at).unwrap(), &why, &words);
    }
    Ok(())
}

fn version_1_is_refused_by_name_and_replaced_by_a_creator(name: &ChannelName) {
    works(name);
    let old = File::options().read(true).write(true).open(path(name)).unwrap();
    old.write_all_at(&1_u32.to_le_bytes(), 8).unwrap();
    let why = HeaderError::Version { found: 1, expected: 2 };
    let open = OpenError::Unusable { name: name.clone(), why };
    assert_eq!(ControlChannel::open(name, NO_WAIT).map(drop), Err(open.clone()));
    refused(&open, &["version 1", "expected 2"]);
    works(name);
    let mut retired = [0; 4];
    old.read_exact_at(&mut retired, 88).unwrap();
    assert_eq!(u32::from_le_bytes(retired), 1, "whoever reads the old segment is told");
}

pub(crate) fn no_files(name: &ChannelName) -> Outcome {
    let path = path(name);
    let other: ChannelName = format!("{name}.target").parse().unwrap();
    let target = format!("/dev/shm/{other}");
    let is_refused = || {
        is_refused(name, &HeaderError::NotAChannel, &["not a channel", "choose another name, or remove"]);
        is_kept(name);
    };

    std::fs::create_dir(&path).unwrap();
    is_refused();
    std::fs::remove_dir(&path).unwrap();

    // Not even where it leads to a channel, and not where it leads nowhere.
    std::os::unix::fs::symlink(&target, &path).unwrap();
    is_refused();
    works(&other);
    is_refused();
    std::fs::remove_file(&path).unwrap();
    works(&other);
    unlink(&other).unwrap();

    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    is_refused();
    std::fs::remove_file(&path).unwrap();

    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    is_refused();
    drop(socket);
    std::fs::remove_file(&path).unwrap();

    works(name);
    Ok(())
}

pub(crate) fn roles(name: &ChannelName) -> Outcome {
    let mut writer = Process::start("holder-of-the-writer", name, 0);
    writer.wait_for_word();
    let why = ControlChannel::create(name, Options::default()).map(drop).unwrap_err();
    assert_eq!(why, CreateError::HasWriter { name: name.clone(), pid: writer.id(), same_namespace: true });
    refused(&why, &["already has a writer", &format!("process {}", writer.id()), "stop it, or choose another name"]);

    let places = crate::values::READERS;
    let mut readers: Vec<Process> = (0..places).map(|_| Process::start("holder-of-a-place", name, 0)).collect();
    readers.iter_mut().for_each(Process::wait_for_word);
    let why = ControlChannel::open(name, NO_WAIT).map(drop).unwrap_err();
    assert_eq!(why, OpenError::NoPlace { name: name.clone(), places, reserved: 0 });
    refused(
        &why,
        &[&format!("all {places} reader places"), "are taken", "stop a reader, or create it with more places"],
    );
    // A patient reader waits no longer for a place than for a channel.
    readers.pop().unwrap().stop();
    drop(ControlChannel::open(name, NO_WAIT).unwrap());

    let why = unlink(name).unwrap_err();
    assert_eq!(why, UnlinkError::InUse { name: name.clone() });
    refused(&why, &["in use", "stop its writer and its readers first"]);
    drop(readers);
    writer.stop();
    unlink(name).unwrap();
    Ok(())
}
