//! Feeds: they find their channel, and find it again when it is replaced or removed.
#![allow(missing_docs)]

mod support;

use lkas_messages::{ImageShape, PixelFormat};
use lkas_shm::{ChannelName, ControlChannel, DetectionChannel, Feed, ImageChannel, OpenError, Options, Writer};
use std::time::{Duration, Instant};
use support::{LONG, NO_WAIT, Name, control};

fn shape(width: u32) -> ImageShape {
    ImageShape::new(width, 4, PixelFormat::Gray8).unwrap()
}

/// The frame id of the next value, however often the feed comes back without one.
fn next<T: lkas_core::Payload + ?Sized>(feed: &mut Feed<T>, frame_id: fn(&T) -> u64) -> u64 {
    let start = Instant::now();
    while start.elapsed() < LONG {
        if let Some(sample) = feed.next(Duration::from_millis(20)).unwrap() {
            return frame_id(&sample);
        }
    }
    panic!("no value came");
}

fn image_writer(name: &ChannelName, width: u32) -> Writer<lkas_messages::Image> {
    ImageChannel::create(name, shape(width), Options::default()).unwrap()
}

#[test]
fn it_may_be_there_before_its_channel() {
    let Name(name) = &Name::new("feed_first");
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    let start = Instant::now();
    assert!(feed.next(Duration::from_millis(30)).unwrap().is_none());
    assert!(start.elapsed() >= Duration::from_millis(30), "it waits for its channel");
    assert!(feed.reader().is_none() && !feed.find(NO_WAIT).unwrap());
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    writer.publish(control(3));
    assert_eq!(feed.next(LONG).unwrap().unwrap().frame_id(), 3);
    assert!(feed.next(NO_WAIT).unwrap().is_none(), "each value once");
}

#[test]
fn a_channel_of_another_shape_is_found_again_and_missed_goes_on() {
    let Name(name) = &Name::new("feed_shape");
    let mut feed = Feed::new(name.clone(), ImageChannel::open);
    for (round, width) in [(0, 8), (1, 16), (2, 8)] {
        let mut writer = image_writer(name, width);
        writer.write(10 * round, 0.0, &vec![1; 4 * width as usize]).unwrap();
        assert_eq!(feed.next(LONG).unwrap().unwrap().frame_id(), 10 * round, "at once");
        assert_eq!(feed.reader().unwrap().shape(), Some(shape(width)));
        for more in 1..=3 {
            writer.write(10 * round + more, 0.0, &vec![1; 4 * width as usize]).unwrap();
        }
        assert_eq!(next(&mut feed, |image| image.frame_id()), 10 * round + 3);
        assert_eq!(feed.missed(), 2 * (round + 1));
    }
}

#[test]
fn who_waits_is_woken_and_goes_on_with_the_new_channel() {
    let name = Name::new("feed_woken");
    let writer = image_writer(&name.0, 8);
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut feed = Feed::new(name.0.clone(), ImageChannel::open);
        assert!(feed.find(NO_WAIT).unwrap());
        let waiting = scope.spawn(move || {
            sender.send(()).unwrap();
            next(&mut feed, |image| image.frame_id())
        });
        receiver.recv().unwrap();
        drop(writer);
        let mut writer = image_writer(&name.0, 16);
        writer.write(5, 0.0, &[1; 64]).unwrap();
        assert_eq!(waiting.join().unwrap(), 5);
    });
}

#[test]
fn a_channel_that_was_removed_and_created_again_is_found_again() {
    let Name(name) = &Name::new("feed_removed");
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    writer.publish(control(1));
    assert_eq!(next(&mut feed, |control| control.frame_id()), 1);
    for frame_id in 2..=4 {
        writer.publish(control(frame_id));
    }
    assert_eq!(next(&mut feed, |control| control.frame_id()), 4);

    // By hand, as whoever cleans up a machine does it: nothing in the segment says so.
    std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    writer.publish(control(5));
    assert_eq!(next(&mut feed, |control| control.frame_id()), 5, "there is no other one");

    let mut other = ControlChannel::create(name, Options::default()).unwrap();
    other.publish(control(6));
    assert_eq!(next(&mut feed, |control| control.frame_id()), 6, "it follows the name");
    assert_eq!(feed.missed(), 2);
    drop((writer, other));
}

#[test]
fn one_long_wait_follows_the_name() {
    let Name(name) = &Name::new("feed_follows");
    let silent = ControlChannel::create(name, Options::default()).unwrap();
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    // The second time it looks at the name, so that it does not do so again when the wait begins.
    assert!(feed.find(NO_WAIT).unwrap() && feed.find(NO_WAIT).unwrap());
    std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    let mut other = ControlChannel::create(name, Options::default()).unwrap();
    other.publish(control(1));
    assert_eq!(feed.next(LONG).unwrap().map(|control| control.frame_id()), Some(1));
    drop((silent, other));
}

#[test]
fn a_writer_that_leaves_does_not_make_a_busy_loop() {
    let Name(name) = &Name::new("feed_left");
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    writer.publish(control(1));
    drop(writer);
    assert_eq!(feed.next(LONG).unwrap().unwrap().frame_id(), 1, "what it left is there");
    let (start, slice) = (Instant::now(), Duration::from_millis(20));
    let mut returns = 0;
    while start.elapsed() < 10 * slice {
        assert!(feed.next(slice).unwrap().is_none());
        returns += 1;
    }
    // The news that the writer left comes once; every other call waits its time out.
    assert!(returns <= 12, "{returns} returns in ten times the time that each may wait");
    let mut successor = ControlChannel::create(name, Options::default()).unwrap();
    successor.publish(control(2));
    assert_eq!(next(&mut feed, |control| control.frame_id()), 2);
}

#[test]
fn a_channel_of_another_type_is_an_error_and_not_silence() {
    let Name(name) = &Name::new("feed_type");
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    let writer = DetectionChannel::create(name, Options::default()).unwrap();
    assert!(matches!(feed.next(NO_WAIT), Err(OpenError::Unusable { .. })));
    drop(writer);
    lkas_shm::unlink(name).unwrap();
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    writer.publish(control(1));
    assert_eq!(next(&mut feed, |control| control.frame_id()), 1);
}
