//! Waiting for several channels at once, by a descriptor, and as a stream.
#![allow(missing_docs)]

mod support;

use lkas_messages::Control;
use lkas_shm::{
    ChannelName, ControlChannel, Feed, Options, PollReader, Reader, Wait, WaitSet, Waitable, Writer, unlink,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::time::{Duration, Instant};
use support::{LONG, NO_WAIT, Name, control};

fn pair(name: &ChannelName) -> (Writer<Control>, Reader<Control>) {
    let writer = ControlChannel::create(name, Options::new()).unwrap();
    (writer, ControlChannel::open(name, NO_WAIT).unwrap())
}

#[test]
fn a_set_is_woken_by_whichever_has_something_new() {
    let names = [Name::new("set_a"), Name::new("set_b")];
    let (mut first, mut a) = pair(&names[0].0);
    let (mut second, mut b) = pair(&names[1].0);
    let mut set = WaitSet::new();
    assert_eq!(set.wait(&mut [&mut a, &mut b], Duration::from_millis(20)), Wait::TimedOut);
    for round in 1..=50 {
        let writer = if round % 2 == 0 { &mut first } else { &mut second };
        std::thread::scope(|scope| {
            // Before, while or after the set falls asleep.
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(round * 10));
                writer.publish(control(round));
            });
            assert_eq!(set.wait(&mut [&mut a, &mut b], LONG), Wait::Fresh);
        });
        let reader = if round % 2 == 0 { &mut a } else { &mut b };
        assert_eq!(reader.take().map(|control| control.frame_id()), Some(round));
    }
    drop(first);
    assert_eq!(set.wait(&mut [&mut a, &mut b], LONG), Wait::Closed);
    assert!(a.is_closed() && !b.is_closed());
    assert_eq!(set.wait(&mut [&mut a, &mut b], Duration::from_millis(20)), Wait::TimedOut, "said once");
    second.publish(control(51));
    assert_eq!(set.wait(&mut [&mut a, &mut b], LONG), Wait::Fresh);
}

#[test]
fn more_channels_than_the_system_waits_for_at_once() {
    let names: Vec<Name> = (0..130).map(|number| Name::new(&format!("many_{number}"))).collect();
    let (mut writers, mut readers): (Vec<_>, Vec<_>) = names.iter().map(|name| pair(&name.0)).unzip();
    let mut set = WaitSet::new();
    for chosen in [0, 64, 129] {
        std::thread::scope(|scope| {
            scope.spawn(|| writers[chosen].publish(control(7)));
            let mut members: Vec<&mut dyn Waitable> = readers.iter_mut().map(|reader| reader as _).collect();
            assert_eq!(set.wait(&mut members, LONG), Wait::Fresh);
        });
        let taken: Vec<usize> = (0..130).filter(|place| readers[*place].take().is_some()).collect();
        assert_eq!(taken, [chosen]);
    }
}

#[test]
fn a_feed_in_a_set_finds_its_channel() {
    let names = [Name::new("set_feed"), Name::new("set_other")];
    let mut feed = Feed::new(names[0].0.clone(), ControlChannel::open);
    let (_other, mut reader) = pair(&names[1].0);
    let mut set = WaitSet::new();
    // A channel of another shape in each life, so that the one before is retired.
    for (life, readers) in [(1, 2), (2, 3)] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = ControlChannel::create(&names[0].0, Options::new().readers(readers)).unwrap();
                writer.publish(control(life));
            });
            while set.wait(&mut [&mut feed, &mut reader], LONG) != Wait::Fresh {}
        });
        assert_eq!(feed.next(NO_WAIT).unwrap().map(|control| control.frame_id()), Some(life));
    }
}

#[test]
fn a_feed_that_is_alone_in_a_set_finds_its_channel() {
    let Name(name) = &Name::new("set_alone");
    let mut feed = Feed::new(name.clone(), ControlChannel::open);
    let mut writer = ControlChannel::create(name, Options::new()).unwrap();
    writer.publish(control(1));
    let start = Instant::now();
    assert_eq!(WaitSet::new().wait(&mut [&mut feed], LONG), Wait::Fresh);
    assert!(start.elapsed() < LONG / 2, "only when the time was over");
    assert_eq!(feed.next(NO_WAIT).unwrap().map(|control| control.frame_id()), Some(1));
}

#[test]
fn a_large_set_finds_channels_and_notices_what_was_removed() {
    // Too many for the system to wait for at once.
    let names: Vec<Name> = (0..130).map(|number| Name::new(&format!("large_{number}"))).collect();
    let (mut writers, mut readers): (Vec<_>, Vec<_>) = names.iter().map(|name| pair(&name.0)).unzip();
    let mut set = WaitSet::new();
    let mut wait = |readers: &mut [Reader<Control>], feed: Option<&mut Feed<Control>>| {
        let mut members: Vec<&mut dyn Waitable> = readers.iter_mut().map(|reader| reader as _).collect();
        members.extend(feed.map(|feed| feed as &mut dyn Waitable));
        let start = Instant::now();
        let ended = set.wait(&mut members, LONG);
        assert!(start.elapsed() < LONG / 2, "only when the time was over");
        ended
    };
    drop(writers.remove(7));
    assert_eq!(wait(&mut readers, None), Wait::Closed);
    std::fs::remove_file(format!("/dev/shm/{}", names[7].0)).unwrap();
    assert_eq!(wait(&mut readers, None), Wait::Closed, "removed");
    assert!(readers[7].is_retired());

    let name = Name::new("large_feed");
    let mut feed = Feed::new(name.0.clone(), ControlChannel::open);
    let mut writer = ControlChannel::create(&name.0, Options::new()).unwrap();
    writer.publish(control(1));
    assert_eq!(wait(&mut readers, Some(&mut feed)), Wait::Fresh);
    assert!(feed.next(NO_WAIT).unwrap().is_some());
}

/// Whether the descriptor becomes readable within that time.
fn is_readable<T: lkas_shm::Payload>(reader: &PollReader<T>, within: Duration) -> bool {
    let timeout = Timespec { tv_sec: within.as_secs() as _, tv_nsec: within.subsec_nanos().into() };
    poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

#[test]
fn a_descriptor_becomes_readable_once_for_each_time_it_is_armed() {
    let Name(name) = &Name::new("poll");
    let (mut writer, reader) = pair(name);
    let mut reader = PollReader::new(reader).unwrap();
    let a_moment = Duration::from_millis(20);
    writer.publish(control(1));
    assert!(!is_readable(&reader, a_moment), "not armed");
    reader.arm();
    assert!(is_readable(&reader, LONG), "something new was there already");
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(1));
    reader.arm();
    assert!(!is_readable(&reader, a_moment), "nothing new");
    for round in 2..200 {
        std::thread::scope(|scope| {
            scope.spawn(|| writer.publish(control(round)));
            assert!(is_readable(&reader, LONG));
        });
        assert_eq!(reader.take().map(|control| control.frame_id()), Some(round));
        reader.arm();
    }
    drop(writer);
    assert!(is_readable(&reader, LONG), "the writer has left");
    assert!(reader.reader().is_closed() && reader.take().is_none());
    reader.arm();
    assert!(!is_readable(&reader, a_moment), "that is known by now");
    let mut successor = ControlChannel::create(name, Options::new()).unwrap();
    successor.publish(control(200));
    assert!(is_readable(&reader, LONG), "a successor");
    assert_eq!(reader.take().map(|control| control.frame_id()), Some(200));
    reader.arm();
    drop(successor);
    assert!(is_readable(&reader, LONG));
    reader.arm();
    // Of another shape: the segment is retired, where it was closed before.
    let replacement = ControlChannel::create(name, Options::new().readers(9)).unwrap();
    assert!(is_readable(&reader, LONG), "replaced");
    assert!(reader.reader().is_retired());
    drop((reader, replacement));
    unlink(name).unwrap();
}

#[test]
fn a_descriptor_becomes_readable_where_the_channel_was_removed() {
    let Name(name) = &Name::new("poll_removed");
    let (writer, reader) = pair(name);
    let mut reader = PollReader::new(reader).unwrap();
    reader.arm();
    drop(writer);
    assert!(is_readable(&reader, LONG));
    assert!(reader.reader().is_closed() && !reader.reader().is_retired());
    reader.arm();
    // By hand, as whoever cleans up a machine does it: nothing in the segment says so.
    std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    assert!(is_readable(&reader, LONG), "removed");
    assert!(reader.reader().is_retired());
    reader.arm();
    assert!(!is_readable(&reader, Duration::from_millis(20)), "said once");
}

#[test]
fn a_removed_channel_with_a_writer_is_watched_on() {
    let Name(name) = &Name::new("poll_nameless");
    let (mut writer, reader) = pair(name);
    let mut reader = PollReader::new(reader).unwrap();
    std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
    reader.arm();
    assert!(!is_readable(&reader, Duration::from_millis(250)), "the writer may move it yet");
    assert!(!reader.reader().is_retired());
    writer.publish(control(1));
    assert!(is_readable(&reader, LONG) && reader.take().is_some());
}

#[test]
fn readers_come_and_go_while_others_are_watched() {
    let names: Vec<Name> = (0..8).map(|number| Name::new(&format!("come_and_go_{number}"))).collect();
    let mut channels: Vec<_> =
        names.iter().map(|name| ControlChannel::create(&name.0, Options::new()).unwrap()).collect();
    std::thread::scope(|scope| {
        for (name, writer) in names.iter().zip(&mut channels) {
            scope.spawn(move || {
                for round in 1..=30 {
                    // Its memory is gone with it, also where the thread sleeps on it at this moment.
                    let mut reader = PollReader::new(ControlChannel::open(&name.0, LONG).unwrap()).unwrap();
                    reader.arm();
                    writer.publish(control(round));
                    assert!(is_readable(&reader, LONG));
                    assert!(reader.take().is_some_and(|control| control.frame_id() == round));
                    reader.arm();
                }
            });
        }
    });
}

#[cfg(feature = "stream")]
#[test]
fn streams_end_with_their_channel_and_share_a_thread() {
    use lkas_shm::{DetectionChannel, Updates};
    use tokio_stream::StreamExt;

    let names = [Name::new("stream_a"), Name::new("stream_b")];
    let (mut first, a) = pair(&names[0].0);
    let (mut second, b) = pair(&names[1].0);
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        let mut both = Updates::new(a).unwrap().merge(Updates::new(b).unwrap());
        for round in 1..=100 {
            let writer = if round % 2 == 0 { &mut first } else { &mut second };
            std::thread::scope(|scope| {
                scope.spawn(|| writer.publish(control(round)));
            });
            let update = tokio::time::timeout(LONG, both.next()).await.unwrap().unwrap();
            assert_eq!(update.value.frame_id(), round);
        }
        for (name, writer) in names.iter().zip([first, second]) {
            let waiting = std::thread::spawn({
                let name = name.0.clone();
                move || {
                    drop(writer);
                    drop(DetectionChannel::create(&name, Options::new()).unwrap());
                }
            });
            waiting.join().unwrap();
        }
        assert!(tokio::time::timeout(LONG, both.next()).await.unwrap().is_none(), "both were replaced");
    });
}

#[cfg(feature = "stream")]
#[test]
fn a_stream_ends_where_the_channel_was_removed() {
    use lkas_shm::Updates;
    use tokio_stream::StreamExt;

    let Name(name) = &Name::new("stream_removed");
    let (mut writer, reader) = pair(name);
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
        let mut updates = Updates::new(reader).unwrap();
        writer.publish(control(1));
        assert!(tokio::time::timeout(LONG, updates.next()).await.unwrap().is_some());
        drop(writer);
        std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
        assert!(tokio::time::timeout(LONG, updates.next()).await.expect("it ends").is_none());
        assert!(updates.reader().is_retired());
    });
}

/// Tasks whose wakers run the program's own code: nothing that it does keeps others from being told.
#[cfg(feature = "stream")]
mod wakers {
    use super::*;
    use lkas_shm::Updates;
    use std::sync::{Arc, Mutex, mpsc};
    use std::task::{Context, Poll, Wake, Waker};
    use tokio_stream::Stream;

    /// Polls once, in vain.
    fn ask(updates: &mut Updates<Control>, waker: &Waker) {
        let polled = std::pin::Pin::new(updates).poll_next(&mut Context::from_waker(waker));
        assert!(matches!(polled, Poll::Pending));
    }

    fn others_are_told(test: &str) {
        let Name(name) = &Name::new(test);
        let (mut writer, reader) = pair(name);
        let mut reader = PollReader::new(reader).unwrap();
        reader.arm();
        writer.publish(control(1));
        assert!(is_readable(&reader, LONG));
    }

    /// A waker that has another stream, and perhaps its own, with it.
    struct Owner {
        updates: Mutex<Option<Updates<Control>>>,
        dropped: mpsc::Sender<()>,
    }

    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            drop(self.updates.lock().unwrap().take());
            let _ = self.dropped.send(());
        }
    }

    #[test]
    fn a_waker_whose_end_is_the_end_of_a_stream() {
        let names = [Name::new("waker_ends_a"), Name::new("waker_ends_b")];
        let (mut writer, reader) = pair(&names[0].0);
        let mut updates = Updates::new(reader).unwrap();
        let (_other, reader) = pair(&names[1].0);
        let (dropped, is_dropped) = mpsc::channel();
        let owner = || Owner {
            updates: Mutex::new(Some(Updates::new(ControlChannel::open(&names[1].0, NO_WAIT).unwrap()).unwrap())),
            dropped: dropped.clone(),
        };
        // The thread is the last that has it.
        ask(&mut updates, &Waker::from(Arc::new(owner())));
        writer.publish(control(1));
        is_dropped.recv_timeout(LONG).expect("the waker is dropped");
        others_are_told("waker_ends_others");

        // Another one comes in its place.
        let mut updates = Updates::new(reader).unwrap();
        ask(&mut updates, &Waker::from(Arc::new(owner())));
        ask(&mut updates, Waker::noop());
        is_dropped.recv_timeout(LONG).expect("the waker is dropped");

        // Its stream ends.
        ask(&mut updates, &Waker::from(Arc::new(owner())));
        drop(updates);
        is_dropped.recv_timeout(LONG).expect("the waker is dropped");
        others_are_told("waker_ends_others");
    }

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker of a test");
        }
    }

    #[test]
    fn a_waker_that_panics() {
        let Name(name) = &Name::new("waker_panics");
        let (mut writer, reader) = pair(name);
        let mut updates = Updates::new(reader).unwrap();
        let panics = Arc::new(Panics);
        ask(&mut updates, &Waker::from(panics.clone()));
        writer.publish(control(1));
        let start = Instant::now();
        while Arc::strong_count(&panics) > 1 {
            assert!(start.elapsed() < LONG, "it is not told");
            std::thread::yield_now();
        }
        others_are_told("waker_panics_others");
    }
}
