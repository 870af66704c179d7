//! Names that vanish under channels in use, and names that several processes create, open and remove at once.
#![allow(missing_docs)]

mod support;

use lkas_messages::Control;
use lkas_shm::{
    ChannelName, Contract, ControlChannel, CreateError, Feed, NameCheck, Observer, OpenError, OpenOptions, Options,
    Reader, UnlinkError, Verdict, Wait, Writer, unlink,
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{LONG, NO_WAIT, Name, control};

fn path(name: &ChannelName) -> String {
    format!("/dev/shm/{name}")
}

/// As somebody who cleans up a machine does it: nothing in the segment says so.
fn remove(name: &ChannelName) {
    std::fs::remove_file(path(name)).unwrap();
}

fn frame_id(reader: &mut Reader<Control>) -> Option<u64> {
    reader.take().map(|control| control.frame_id())
}

#[test]
fn a_writer_whose_name_is_gone_moves_and_readers_follow() {
    let Name(name) = &Name::new("moves");
    let contract = Contract::new(Duration::from_secs(30), Duration::from_secs(60)).unwrap();
    let mut writer = ControlChannel::create(name, Options::new().readers(3).mode(0o660).contract(contract)).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    for number in 1..=7 {
        writer.publish(control(number));
    }
    assert_eq!(feed.next(NO_WAIT).unwrap().map(|control| control.frame_id()), Some(7));
    assert_eq!(writer.check_name(), Ok(NameCheck::Kept));
    for round in 0..3 {
        remove(name);
        assert!(matches!(ControlChannel::open(name, NO_WAIT), Err(OpenError::NoSuchChannel { .. })));
        assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
        assert_eq!(writer.check_name(), Ok(NameCheck::Kept));
        assert_eq!(writer.sequence(), 7 + round);

        // Whoever comes now finds the newest value, of its own age, and the same promise.
        let mut newcomer = ControlChannel::open(name, NO_WAIT).unwrap();
        let newest = newcomer.take().map(|control| (control.sequence(), control.frame_id()));
        assert_eq!(newest, Some((7 + round, 7 + round)));
        assert_eq!(newcomer.contract(), Ok(Some(contract)));
        assert_eq!(newcomer.read().verdict(), Some(Verdict::Fresh));
        let file = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path(name)).unwrap());
        assert_eq!(file & 0o777, 0o660);

        // Whoever read the old one is told, and a feed goes over by itself.
        assert_eq!(frame_id(&mut reader), if round == 0 { Some(7) } else { None });
        assert_eq!(reader.wait(LONG), Wait::Closed);
        assert!(reader.is_retired());
        writer.publish(control(8 + round));
        let found = loop {
            if let Some(control) = feed.next(LONG).unwrap() {
                break (control.sequence(), control.frame_id());
            }
        };
        assert!(found >= (7 + round, 7 + round), "sequence numbers never go back: {found:?}");
        drop(reader);
        reader = ControlChannel::open(name, NO_WAIT).unwrap();
        assert_eq!(frame_id(&mut reader), Some(8 + round));
    }
}

#[test]
fn a_channel_without_a_value_moves_too() {
    let Name(name) = &Name::new("moves_empty");
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    remove(name);
    assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert!(reader.take().is_none());
    writer.publish(control(1));
    assert_eq!(reader.take().map(|control| control.sequence()), Some(1));
}

#[test]
fn where_another_writer_keeps_the_name_this_one_is_retired() {
    let Name(name) = &Name::new("taken_name");
    let mut writer = ControlChannel::create(name, Options::new().grace(NO_WAIT)).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    remove(name);
    let mut other = ControlChannel::create(name, Options::new()).unwrap();
    let why = writer.check_name().unwrap_err();
    assert!(matches!(why, CreateError::HasWriter { .. }), "{why}");
    assert!(!reader.is_retired(), "it may be there for a moment only");
    let why = writer.check_name().unwrap_err();
    assert_eq!(why, CreateError::Retired { name: name.clone() });
    assert!(why.to_string().contains("create"), "it says what to do: {why}");
    assert_eq!(frame_id(&mut reader), Some(1));
    assert_eq!(reader.wait(LONG), Wait::Closed);
    assert!(reader.is_retired(), "its readers go over to the other");
    assert_eq!(writer.check_name(), Err(CreateError::Retired { name: name.clone() }));
    writer.publish(control(2));
    other.publish(control(3));
    assert_eq!(frame_id(&mut ControlChannel::open(name, NO_WAIT).unwrap()), Some(3));
}

#[test]
fn a_writer_that_has_the_name_for_a_moment_does_not_end_this_one() {
    let Name(name) = &Name::new("taken_for_a_moment");
    let mut writer = ControlChannel::create(name, Options::new().grace(Duration::MAX)).unwrap();
    for round in 1..=2 {
        remove(name);
        let other = ControlChannel::create(name, Options::new()).unwrap();
        let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
        for _ in 0..3 {
            let why = writer.check_name().unwrap_err();
            assert!(matches!(why, CreateError::HasWriter { .. }), "{why}");
        }
        drop(other);
        assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
        writer.publish(control(round));
        assert_eq!(frame_id(&mut reader), Some(round));
    }
}

#[test]
fn a_writer_that_moves_leaves_newer_values_as_they_are() {
    let Name(name) = &Name::new("newer");
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    for number in 1..=5 {
        writer.publish(control(number));
    }
    remove(name);
    // Another one came meanwhile, published something newer, and is gone again.
    let mut other = ControlChannel::create(name, Options::new()).unwrap();
    other.publish(control(6));
    drop(other);
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(frame_id(&mut reader), Some(6));
    assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
    assert_eq!(frame_id(&mut reader), None, "what is older is not new");
    assert_eq!(frame_id(&mut ControlChannel::open(name, NO_WAIT).unwrap()), Some(6));
    writer.publish(control(7));
    let newest = reader.take().map(|control| (control.sequence(), control.frame_id()));
    assert_eq!(newest, Some((6, 7)), "it counts on from the larger of both numbers");
}

#[test]
fn a_writer_that_moves_replaces_older_values() {
    let Name(name) = &Name::new("older");
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    writer.publish(control(1));
    remove(name);
    let mut other = ControlChannel::create(name, Options::new()).unwrap();
    for number in 2..=4 {
        other.publish(control(number));
    }
    drop(other);
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(frame_id(&mut reader), Some(4));
    writer.publish(control(5));
    assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
    let newest = reader.take().map(|control| (control.sequence(), control.frame_id()));
    assert_eq!(newest, Some((4, 5)));
}

#[test]
fn a_segment_that_was_renamed_has_lost_its_name() {
    let (Name(name), Name(other)) = (&Name::new("renamed"), &Name::new("renamed_to"));
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    let reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    let observer = Observer::open(name).unwrap();
    assert!(!reader.is_removed() && !observer.is_gone());
    std::fs::rename(path(name), path(other)).unwrap();
    assert!(reader.is_removed() && observer.is_gone());
    assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
    assert_eq!(frame_id(&mut ControlChannel::open(name, NO_WAIT).unwrap()), Some(1));
    assert!(reader.is_retired());
    // Another name of the same file changes nothing.
    std::fs::remove_file(path(other)).unwrap();
    std::fs::hard_link(path(name), path(other)).unwrap();
    assert_eq!(writer.check_name(), Ok(NameCheck::Kept));
    remove(name);
    assert_eq!(writer.check_name(), Ok(NameCheck::Moved));
}

#[test]
fn a_segment_whose_only_name_is_another_one_leaves_the_name_to_who_has_it() {
    let (Name(name), Name(other)) = (&Name::new("replaced"), &Name::new("replaced_by"));
    let mut writer = ControlChannel::create(name, Options::new().grace(NO_WAIT)).unwrap();
    std::fs::hard_link(path(name), path(other)).unwrap();
    remove(name);
    let mut third = ControlChannel::create(name, Options::new()).unwrap();
    third.publish(control(3));
    let reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert!(matches!(writer.check_name(), Err(CreateError::HasWriter { .. })));
    assert_eq!(writer.check_name(), Err(CreateError::Retired { name: name.clone() }));
    assert!(!reader.is_removed());
    assert_eq!(frame_id(&mut ControlChannel::open(name, NO_WAIT).unwrap()), Some(3));
}

#[test]
fn a_reader_of_a_segment_without_name_and_writer_takes_it_for_retired() {
    let Name(name) = &Name::new("orphan");
    let writer = ControlChannel::create(name, Options::new()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    remove(name);
    assert_eq!(reader.wait(Duration::from_millis(250)), Wait::TimedOut, "its writer is there, and may move");
    assert!(!reader.is_retired());
    drop(writer);
    assert_eq!(reader.wait(LONG), Wait::Closed, "it left");
    assert_eq!(reader.wait(LONG), Wait::Closed, "and the name is gone");
    assert!(reader.is_retired());
}

/// One creates, one opens, one removes, without a pause. Nobody is ever told that a role is taken which nobody has.
#[test]
fn creating_opening_and_removing_race_without_a_false_refusal() {
    let Name(name) = &Name::new("race");
    const ROUNDS: u64 = 3_000;
    let (done, created, opened, removed) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    // On a busy machine, who removes may hardly get a turn.
    let goes_on = || {
        [&opened, &created].iter().any(|count| count.load(Ordering::Relaxed) < ROUNDS)
            || removed.load(Ordering::Relaxed) == 0 && start.elapsed() < LONG
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let options = Options::new().grace(LONG);
            while goes_on() {
                let mut writer: Writer<Control> =
                    ControlChannel::create(name, options).unwrap_or_else(|why| panic!("{why}"));
                writer.publish(control(writer.sequence() + 1));
                created.fetch_add(1, Ordering::Relaxed);
            }
            done.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            let options = OpenOptions::new().grace(LONG);
            while !done.load(Ordering::Relaxed) {
                match ControlChannel::open(name, options) {
                    Ok(_) => drop(opened.fetch_add(1, Ordering::Relaxed)),
                    Err(OpenError::NoSuchChannel { .. }) => {}
                    Err(why) => panic!("{why}"),
                }
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                match unlink(name) {
                    Ok(()) => drop(removed.fetch_add(1, Ordering::Relaxed)),
                    Err(UnlinkError::InUse { .. }) => {}
                    Err(why) => panic!("{why}"),
                }
            }
        });
    });
    assert!(removed.load(Ordering::Relaxed) > 0, "something was removed meanwhile");
}
