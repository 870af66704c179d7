//! How channels are held and who may use them.
#![allow(missing_docs)]

mod support;

use lkas_shm::{ControlChannel, CreateError, Memory, OpenOptions, Options, Warning, unlink};
use support::{Name, control};

#[test]
fn memory_is_locked_or_a_warning_says_why_not() {
    let Name(name) = &Name::new("memory");
    let memory = Memory::new().lock(true).huge_pages(true).prefault(false);
    let mut writer = ControlChannel::create(name, Options::new().memory(memory)).unwrap();
    let mut reader = ControlChannel::open(name, OpenOptions::new().memory(memory)).unwrap();
    for warning in writer.warnings().iter().chain(reader.warnings()) {
        assert!(matches!(warning, Warning::Refused { option: "locked memory" | "huge pages", .. }), "{warning}");
    }
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mapping = maps.split(name.as_str()).nth(1).expect("it is mapped");
    let flags = mapping.lines().find_map(|line| line.strip_prefix("VmFlags:")).expect("Linux says how it is mapped");
    let locked = flags.split_whitespace().any(|flag| flag == "lo");
    let refused =
        writer.warnings().iter().any(|warning| matches!(warning, Warning::Refused { option: "locked memory", .. }));
    assert!(locked != refused, "locked: {locked}, warnings: {:?}", writer.warnings());
    writer.publish(control(3));
    assert!(reader.take().is_some(), "it works either way");
}

#[test]
fn the_group_and_the_mode_are_set() {
    use std::os::unix::fs::MetadataExt;
    let Name(name) = &Name::new("group");
    // The one group that every user may give a file to.
    let group = std::fs::metadata("/proc/self").unwrap().gid();
    let options = Options::new().mode(0o660).group(group);
    let _writer = ControlChannel::create(name, options).unwrap();
    let file = std::fs::metadata(format!("/dev/shm/{}", name)).unwrap();
    assert_eq!((file.mode() & 0o777, file.gid()), (0o660, group));
}

#[test]
fn a_successor_gives_the_segment_the_mode_it_asks_for() {
    use std::os::unix::fs::MetadataExt;
    let Name(name) = &Name::new("mode_again");
    let mode = || std::fs::metadata(format!("/dev/shm/{name}")).unwrap().mode() & 0o777;
    for wanted in [0o666, 0o600, 0o660] {
        drop(ControlChannel::create(name, Options::new().mode(wanted)).unwrap());
        assert_eq!(mode(), wanted);
    }
}

/// Whoever may read a segment can put locks on it, and so be in everybody's way.
#[test]
fn a_mode_that_lets_somebody_read_and_not_write_is_refused_and_warned_of() {
    let Name(name) = &Name::new("uneven");
    for mode in [0o644, 0o640, 0o604, 0o620, 0o400, 0o200, 0o700, 0o1600] {
        let why = ControlChannel::create(name, Options::new().mode(mode)).map(drop).unwrap_err();
        assert_eq!(why, CreateError::Mode { mode });
        assert!(why.to_string().contains(&format!("{mode:o}")) && why.to_string().contains("660"), "{why}");
    }
    let _writer = ControlChannel::create(name, Options::new().mode(0o666)).unwrap();
    let file = std::fs::File::open(format!("/dev/shm/{name}")).unwrap();
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let reader = ControlChannel::open(name, OpenOptions::new()).unwrap();
    assert!(matches!(reader.warnings(), [Warning::Mode { mode: 0o644 }]), "{:?}", reader.warnings());
}

/// A segment that was cut off kills who uses it, and can be removed.
#[test]
fn a_truncated_segment_can_be_removed() {
    let Name(name) = &Name::new("cut_off");
    for size in [8, 100, 4096, 4097] {
        let writer = ControlChannel::create(name, Options::new()).unwrap();
        // Nobody touches its memory from here on.
        core::mem::forget(writer);
        let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{name}")).unwrap();
        file.set_len(size).unwrap();
        assert!(unlink(name).is_err(), "its writer is alive");
        std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
        drop(ControlChannel::create(name, Options::new()).unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{name}")).unwrap();
        file.set_len(size).unwrap();
        assert_eq!(unlink(name), Ok(()));
        assert!(!std::path::Path::new(&format!("/dev/shm/{name}")).exists());
    }
}
