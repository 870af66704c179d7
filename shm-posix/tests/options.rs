//! How channels are held and who may use them.
#![allow(missing_docs)]

mod support;

use lkas_shm::{ControlChannel, Memory, OpenOptions, Options, Warning};
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
