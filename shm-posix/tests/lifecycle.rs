//! Creating, opening, taking over, replacing and removing channels, within one process: locks belong to open files, so
//! two handles of one process exclude one another just as two processes do.
#![allow(missing_docs)]

mod support;

use lkas_messages::{ImageShape, PixelFormat};
use lkas_shm::{
    ControlChannel, CreateError, DetectionChannel, HeaderError, ImageChannel, Latest, OpenError, OpenOptions, Options,
    PixelsError, UncheckedImageChannel, UnlinkError, Wait, unlink,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{LONG, NO_WAIT, Name, control};

fn shape(width: u32, height: u32) -> ImageShape {
    ImageShape::new(width, height, PixelFormat::Rgb8).unwrap()
}

#[test]
fn without_a_writer_there_is_no_channel() {
    let Name(name) = &Name::new("nobody");
    let error = ControlChannel::open(name, NO_WAIT).unwrap_err();
    assert_eq!(error, OpenError::NoSuchChannel { name: name.clone() });
    assert!(error.to_string().contains("writer was not started"), "{error}");
    assert_eq!(unlink(name), Ok(()), "nothing to remove is no error");
}

#[test]
fn a_reader_waits_for_its_writer() {
    let name = Name::new("late_writer");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| ControlChannel::open(&name.0, LONG).unwrap());
        let mut writer = ControlChannel::create(&name.0, Options::default()).unwrap();
        writer.publish(control(1));
        assert_eq!(reader.join().unwrap().take().unwrap().frame_id(), 1, "a late reader sees the newest value");
    });
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let Name(name) = &Name::new("two_writers");
    let _first = ControlChannel::create(name, Options::default()).unwrap();
    let error = ControlChannel::create(name, Options::default()).unwrap_err();
    assert_eq!(error, CreateError::HasWriter { name: name.clone(), pid: std::process::id(), same_namespace: true });
}

#[test]
fn reader_places_are_counted_and_come_back() {
    let Name(name) = &Name::new("places");
    let _writer = ControlChannel::create(name, Options::new().readers(2)).unwrap();
    let first = ControlChannel::open(name, NO_WAIT).unwrap();
    let _second = ControlChannel::open(name, NO_WAIT).unwrap();
    let error = ControlChannel::open(name, NO_WAIT).unwrap_err();
    assert_eq!(error, OpenError::NoPlace { name: name.clone(), places: 2, reserved: 0 });
    drop(first);
    ControlChannel::open(name, NO_WAIT).unwrap();
}

#[test]
fn another_type_is_refused_by_name() {
    let Name(name) = &Name::new("types");
    let _writer = ControlChannel::create(name, Options::default()).unwrap();
    let error = DetectionChannel::open(name, NO_WAIT).unwrap_err().to_string();
    assert!(error.contains("lkas.Control") && error.contains("lkas.Detection"), "{error}");
    let error = ImageChannel::open(name, NO_WAIT).unwrap_err().to_string();
    assert!(error.contains("lkas.Image"), "{error}");
}

#[test]
fn a_succeeding_writer_continues_the_sequence() {
    let Name(name) = &Name::new("successor");
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    writer.publish(control(1));
    writer.publish(control(2));
    drop(writer);
    assert!(reader.is_closed() && !reader.has_writer());
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    assert!(!reader.is_closed() && reader.has_writer() && !reader.is_retired());
    assert_eq!(writer.sequence(), 2);
    writer.publish(control(3));
    let sample = reader.take().unwrap();
    assert_eq!((sample.sequence(), sample.frame_id()), (3, 3));
    assert_eq!(reader.missed(), 0, "the first value that a reader sees is not counted from");
}

#[test]
fn images_carry_their_shape() {
    let Name(name) = &Name::new("image");
    let mut writer = ImageChannel::create(name, shape(8, 4), Options::default()).unwrap();
    let mut reader = ImageChannel::open(name, NO_WAIT).unwrap();
    assert_eq!(reader.shape(), Some(shape(8, 4)));
    writer.write(5, 0.25, &[7; 96]).unwrap();
    assert_eq!(writer.write(6, 0.25, &[7; 95]), Err(PixelsError { found: 95, expected: shape(8, 4) }));
    let image = reader.take().unwrap();
    assert!(image.is_whole());
    assert_eq!((image.frame_id(), image.sequence(), image.timestamp()), (5, 1, 0.25));
    assert_eq!(image.view().unwrap().pixels(), [7; 96]);
    assert_eq!(std::ptr::from_ref(image.view().unwrap().pixels()).cast::<u8>() as usize % 64, 0, "aligned pixels");
}

#[test]
fn images_without_a_check_value_are_another_type() {
    let Name(name) = &Name::new("unchecked");
    let mut writer = UncheckedImageChannel::create(name, shape(8, 4), Options::default()).unwrap();
    assert!(matches!(ImageChannel::open(name, NO_WAIT), Err(OpenError::Unusable { .. })));
    let mut reader = UncheckedImageChannel::open(name, NO_WAIT).unwrap();
    writer.write(5, 0.25, &[7; 96]).unwrap();
    let image = reader.take().unwrap();
    assert!(image.is_whole() && image.view().unwrap().pixels() == [7; 96]);
}

#[test]
fn a_loan_is_in_place_and_dropping_it_discards() {
    let Name(name) = &Name::new("loan");
    let mut writer = ImageChannel::create(name, shape(8, 4), Options::default()).unwrap();
    let mut reader = ImageChannel::open(name, NO_WAIT).unwrap();
    let mut loan = writer.loan();
    loan.start(shape(8, 4), 1, 0.0).unwrap().fill(1);
    drop(loan);
    assert!(reader.take().is_none());
    let mut loan = writer.loan();
    loan.start(shape(8, 4), 2, 0.0).unwrap().fill(2);
    loan.seal();
    loan.publish();
    assert_eq!(reader.take().unwrap().view().unwrap().pixels(), [2; 96]);
}

#[test]
fn another_shape_retires_the_segment_and_wakes_its_readers() {
    let name = Name::new("retire");
    drop(ImageChannel::create(&name.0, shape(8, 4), Options::default()).unwrap());
    let mut reader = ImageChannel::open(&name.0, NO_WAIT).unwrap();
    // The writer has left, so the wait ends at once; a new writer of the same shape takes that back.
    assert_eq!(reader.wait(LONG), Wait::Closed);
    let writer = ImageChannel::create(&name.0, shape(8, 4), Options::default()).unwrap();
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = scope.spawn(move || {
            sender.send(()).unwrap();
            (reader.wait(LONG), reader)
        });
        receiver.recv().unwrap();
        drop(writer);
        let mut writer = ImageChannel::create(&name.0, shape(16, 4), Options::default()).unwrap();
        writer.write(1, 0.0, &[3; 192]).unwrap();
        let (ended, reader) = waiting.join().unwrap();
        assert_eq!(ended, Wait::Closed);
        assert!(reader.is_retired());
        assert_eq!(reader.shape(), Some(shape(8, 4)));
        let mut reader = ImageChannel::open(&name.0, NO_WAIT).unwrap();
        assert_eq!(reader.shape(), Some(shape(16, 4)));
        assert_eq!(reader.take().unwrap().view().unwrap().pixels(), [3; 192]);
    });
}

#[test]
fn what_is_in_use_is_not_removed() {
    let Name(name) = &Name::new("unlink");
    let writer = ControlChannel::create(name, Options::default()).unwrap();
    assert_eq!(unlink(name), Err(UnlinkError::InUse { name: name.clone() }));
    let reader = ControlChannel::open(name, NO_WAIT).unwrap();
    drop(writer);
    assert_eq!(unlink(name), Err(UnlinkError::InUse { name: name.clone() }));
    drop(reader);
    assert_eq!(unlink(name), Ok(()));
    assert!(matches!(ControlChannel::open(name, NO_WAIT), Err(OpenError::NoSuchChannel { .. })));
}

#[test]
fn age_is_a_result_of_its_own() {
    let Name(name) = &Name::new("age");
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    assert!(matches!(reader.latest_within(LONG), Latest::Empty));
    writer.loan().publish_at(lkas_shm::clock::now());
    assert!(matches!(reader.latest_within(LONG), Latest::Fresh(_)));
    writer.loan().publish_at(lkas_shm::clock::now() - 1_000_000_000);
    let Latest::Stale { age: Some(age), .. } = reader.latest_within(Duration::from_millis(100)) else {
        panic!("a second is more than 100 ms");
    };
    assert!(age >= 1_000_000_000);
    writer.loan().publish_at(lkas_shm::clock::now() + 60_000_000_000);
    assert!(matches!(reader.latest_within(LONG), Latest::Stale { age: None, .. }), "from the future");
}

#[test]
fn a_value_that_comes_while_its_age_is_asked_for_is_not_of_the_future() {
    let Name(name) = &Name::new("age_meanwhile");
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                writer.publish(control(1));
            }
        });
        let futures = (0..300_000).filter(|_| matches!(reader.latest_within(LONG), Latest::Stale { age: None, .. }));
        let futures = futures.count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(futures, 0);
    });
}

#[test]
fn waiting_ends_with_a_value_the_timeout_or_the_writer() {
    let name = Name::new("wait");
    let mut writer = ControlChannel::create(&name.0, Options::default()).unwrap();
    let mut reader = ControlChannel::open(&name.0, NO_WAIT).unwrap();
    let start = Instant::now();
    assert_eq!(reader.wait(Duration::from_millis(30)), Wait::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(30));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let mut seen = Vec::new();
            while reader.wait(LONG) == Wait::Fresh {
                seen.push(reader.take().unwrap().frame_id());
            }
            (seen, reader.is_closed())
        });
        for frame_id in 1..=100 {
            writer.publish(control(frame_id));
            std::thread::yield_now();
        }
        drop(writer);
        let (seen, closed) = waiting.join().unwrap();
        assert!(closed);
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        assert_eq!(seen.last(), Some(&100), "the last value is not lost when the writer leaves");
    });
}

#[test]
fn files_that_are_no_channels_are_left_alone() {
    let Name(name) = &Name::new("foreign");
    let path = format!("/dev/shm/{name}");
    for content in [&b""[..], b"hello", &[0; 4096], &[0xff; 10_000]] {
        std::fs::write(&path, content).unwrap();
        let open = ControlChannel::open(name, NO_WAIT).unwrap_err();
        assert!(matches!(open, OpenError::Unusable { .. }), "{open}");
        let create = ControlChannel::create(name, Options::default()).unwrap_err();
        assert!(matches!(create, CreateError::Unusable { .. }), "{create}");
        assert_eq!(unlink(name), Err(UnlinkError::NotAChannel { name: name.clone() }));
        assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_truncated_segment_is_an_error_and_not_a_fault() {
    let Name(name) = &Name::new("truncated");
    drop(ControlChannel::create(name, Options::default()).unwrap());
    let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{name}")).unwrap();
    for size in [4097, 4096, 4095, 1, 0] {
        file.set_len(size).unwrap();
        let error = ControlChannel::open(name, NO_WAIT).unwrap_err();
        let why = HeaderError::Size { found: size, expected: if size < 4096 { 4096 } else { 8192 + 4096 } };
        if size < 4096 {
            assert_eq!(error, OpenError::Unusable { name: name.clone(), why });
        } else {
            assert!(matches!(error, OpenError::Unusable { why: HeaderError::Size { .. }, .. }), "{error}");
        }
    }
}

#[test]
fn damaged_mailboxes_end_in_no_value_or_a_value_never_in_a_crash() {
    use std::os::unix::fs::FileExt;
    let Name(name) = &Name::new("damaged");
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut reader = ControlChannel::open(name, NO_WAIT).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(format!("/dev/shm/{name}")).unwrap();
    // Every combination of two index bytes and all flags, into the first reader's mailbox.
    for bits in 0..=u16::MAX {
        for flags in [0x0000_u16, 0x8000, 0x8003, 0xffff] {
            let word = u32::from(bits) | u32::from(flags) << 16;
            file.write_all_at(&word.to_le_bytes(), 4096).unwrap();
            if let Some(sample) = reader.latest() {
                let _ = (sample.mode(), sample.sequence(), sample.is_whole());
            }
        }
        if bits % 97 == 0 {
            writer.publish(control(u64::from(bits)));
            assert_eq!(reader.take().map(|sample| sample.frame_id()), Some(bits.into()), "repaired by a publish");
        }
    }
}

#[test]
fn the_mode_is_set_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let Name(name) = &Name::new("mode");
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let path = format!("/dev/shm/{name}");
    let writer = ControlChannel::create(name, Options::default()).unwrap();
    assert_eq!(mode(&path), 0o600);
    drop(writer);
    unlink(name).unwrap();
    let _writer = ControlChannel::create(name, Options::new().mode(0o666)).unwrap();
    assert_eq!(mode(&path), 0o666);
}

#[test]
fn impossible_options_are_errors() {
    let Name(name) = &Name::new("options");
    for readers in [0, 30] {
        let error = ControlChannel::create(name, Options::new().readers(readers)).unwrap_err();
        assert!(error.to_string().contains("expected 1 to 29"), "{error}");
    }
}

#[test]
fn reserved_places_are_given_only_to_those_who_ask_by_number() {
    let Name(name) = &Name::new("reserved");
    let _writer = ControlChannel::create(name, Options::new().readers(4).reserved(2)).unwrap();
    let open = |options: OpenOptions| ControlChannel::open(name, options.grace(Duration::ZERO));
    let taken = || {
        let readers = lkas_shm::Observer::open(name).unwrap().look().readers;
        readers.iter().map(|reader| reader.taken).collect::<Vec<_>>()
    };
    let others = [open(OpenOptions::new()).unwrap(), open(OpenOptions::new()).unwrap()];
    assert_eq!(taken(), [false, false, true, true]);
    assert!(matches!(open(OpenOptions::new()), Err(OpenError::NoPlace { places: 4, reserved: 2, .. })));
    let second = open(OpenOptions::new().place(1)).unwrap();
    assert_eq!(taken(), [false, true, true, true]);
    drop(others);
    let beside = open(OpenOptions::new().place(1)).unwrap();
    assert_eq!(taken(), [false, true, true, false], "one that is taken: any that is not reserved");
    let beyond = open(OpenOptions::new().place(99)).unwrap();
    assert_eq!(taken(), [false, true, true, true], "one that there is not, likewise");
    drop((second, beside, beyond));
}
