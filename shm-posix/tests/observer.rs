//! Looking on channels without a role, and reading them without knowing their type.
#![allow(missing_docs)]

use lkas_messages::{Control, ControlFields, Detection, DetectionFields, Lane, Mode};
use lkas_shm::{
    AnyChannel, ChannelName, ControlChannel, DetectionChannel, FieldValue, Observer, OpenError, Options, channels,
    unlink,
};
use std::time::Duration;

/// A channel's name that is removed at the end of the test.
struct Temporary(ChannelName);

impl Temporary {
    fn new(test: &str) -> Self {
        Self(ChannelName::new(&format!("observer-{}", std::process::id()), test).unwrap())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = unlink(&self.0);
    }
}

fn control(steering: f32) -> Control {
    let fields = ControlFields { mode: Mode::LaneKeeping, steering, brake: 0.0, ..ControlFields::default() };
    Control::try_from(fields).unwrap()
}

#[test]
fn an_observer_sees_who_is_there_and_disturbs_nobody() {
    let name = Temporary::new("who");
    let mut writer = ControlChannel::create(&name.0, Options::new().readers(2)).unwrap();
    let observer = Observer::open(&name.0).unwrap();
    assert_eq!(observer.description().type_name(), "lkas.Control");
    let before = observer.look();
    assert_eq!((before.sequence, before.age, before.has_writer), (0, None, true));
    assert_eq!(before.writer.process, std::process::id());
    assert!(before.readers.iter().all(|reader| !reader.taken));

    let mut reader = ControlChannel::open(&name.0, Duration::ZERO).unwrap();
    writer.publish(control(0.1));
    assert_eq!(reader.take().unwrap().sequence(), 1);
    for _ in 0..3 {
        writer.publish(control(0.2));
    }
    let seen = observer.look();
    assert_eq!((seen.sequence, seen.readers.len()), (4, 2));
    assert!(seen.age.is_some() && !seen.closed && !seen.retired);
    assert!(seen.readers[0].taken && seen.readers[0].mailbox.fresh, "it has not taken the newest");
    assert!(!seen.readers[1].taken);
    assert!(reader.take().is_some_and(|control| control.sequence() == 4), "nothing was taken away");
    let seen = observer.look();
    assert_eq!((seen.readers[0].mailbox.fresh, seen.readers[0].mailbox.missed), (false, 2));

    drop(reader);
    drop(writer);
    let after = observer.look();
    assert_eq!((after.has_writer, after.closed, after.readers[0].taken), (false, true, false));
    unlink(&name.0).unwrap();
    assert!(observer.look().retired);
}

#[test]
fn channels_are_listed_and_other_files_are_not() {
    let name = Temporary::new("list");
    let _writer = ControlChannel::create(&name.0, Options::default()).unwrap();
    let other = format!("/dev/shm/{}.other", name.0);
    std::fs::write(&other, "no channel").unwrap();
    let found = channels().unwrap();
    std::fs::remove_file(&other).unwrap();
    assert!(found.contains(&name.0));
    assert!(found.iter().all(|found| !found.as_str().ends_with(".other")));
    assert!(matches!(Observer::open(&"observer-nothing".parse().unwrap()), Err(OpenError::NoSuchChannel { .. })));
}

#[test]
fn any_channel_can_be_read_by_its_description() {
    let name = Temporary::new("any");
    let mut writer = DetectionChannel::create(&name.0, Options::default()).unwrap();
    let (description, mut reader) = AnyChannel::open(&name.0, Duration::ZERO).unwrap();
    assert!(reader.take().is_none());
    let left = Lane { x1: 100.5, confidence: 0.9, ..Lane::default() };
    let fields = DetectionFields { left: Some(left), frame_id: 7, width: 800, ..DetectionFields::default() };
    writer.publish(Detection::try_from(fields).unwrap());
    let sample = reader.take().unwrap();
    let value = |wanted: &str| {
        let mut values = description.values(&sample);
        values.find(|(field, _)| field.name == wanted).unwrap_or_else(|| panic!("no {wanted}")).1
    };
    assert_eq!(sample.sequence(), 1);
    assert_eq!(value("frame_id"), Some(FieldValue::Unsigned(7)));
    assert_eq!(value("width"), Some(FieldValue::Unsigned(800)));
    assert_eq!(
        (value("left.x1"), value("left.confidence")),
        (Some(FieldValue::Float(100.5)), Some(FieldValue::Float(0.9)))
    );
    assert_eq!(value("right.x1"), None, "no right lane");
    assert_eq!(description.values(&sample[..4]).filter(|(_, value)| value.is_some()).count(), 0, "cut off");
}

#[test]
fn a_channel_whose_file_was_cut_is_gone() {
    let name = Temporary::new("cut");
    let writer = ControlChannel::create(&name.0, Options::default()).unwrap();
    let observer = Observer::open(&name.0).unwrap();
    assert!(!observer.is_gone());
    let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{}", name.0)).unwrap();
    let size = file.metadata().unwrap().len();
    file.set_len(0).unwrap();
    assert!(observer.is_gone());
    assert!(matches!(Observer::open(&name.0), Err(OpenError::Unusable { .. })), "{:?}", Observer::open(&name.0));
    // A writer looks into it as it goes. What is left is no channel.
    file.set_len(size).unwrap();
    drop(writer);
    std::fs::remove_file(format!("/dev/shm/{}", name.0)).unwrap();
}
