//! loom models of the channel protocol: every interleaving, within the bounds printed, of a writer and its readers.
//!
//! Run by `cargo verify loom`. Each model checks one named property of the public API. Payloads are two words, so that a
//! torn value shows, and loom itself reports any access to a slot that the protocol does not order.
#![cfg(lkas_loom)]
#![allow(missing_docs)]

use lkas_core::{AtomicU32, Channel, Reader, Sample, Sleepers, View, Writer, fault};
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

type Pair = [u64; 2];

/// A channel that threads of a model share.
struct Shared<const R: usize>(Arc<Channel<Pair, R>>);

impl<const R: usize> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const R: usize> Shared<R> {
    fn new() -> Self {
        Self(Arc::new(Channel::new()))
    }

    fn view(&self) -> View<'_, Pair> {
        self.0.view()
    }

    /// The writer's role. The model sees to it that the one before is dead.
    fn writer(&self) -> Writer<'_, Pair> {
        unsafe { self.view().writer() }
    }

    /// A reader's role. The model sees to it that the one before is dead.
    fn reader(&self, place: usize) -> Reader<'_, Pair> {
        unsafe { self.view().reader(place) }.expect("the channel has this place")
    }
}

/// Explores `model` with at most that many preemptions, one more with `--deep`, and prints how many executions it took.
fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let preemptions = preemptions + usize::from(std::env::var_os("LKAS_DEEP").is_some());
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!(
        "{name}: {} executions, at most {} preemptions",
        executions.load(Relaxed),
        builder.preemption_bound.unwrap()
    );
}

/// Looks at a sample: both words alike, its number above the one before.
fn check(sample: Option<Sample<'_, Pair>>, last: &mut u64) {
    if let Some(sample) = sample {
        let [a, b] = *sample;
        // The other side may run here, while the sample is held.
        thread::yield_now();
        assert_eq!(*sample, [a, b], "the value changed under its reader");
        assert_eq!(a, b, "torn");
        assert!(sample.sequence() > *last, "the sequence went from {last} to {}", sample.sequence());
        *last = sample.sequence();
    }
}

fn publish(writer: &mut Writer<'_, Pair>) -> Sleepers {
    let value = writer.sequence() + 1;
    writer.publish([value; 2], value)
}

fn publishes_and_takes<const R: usize>(publishes: usize, takes: usize) {
    let shared = Shared::<R>::new();
    let readers: Vec<_> = (0..R)
        .map(|place| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut reader = shared.reader(place);
                let mut last = 0;
                for _ in 0..takes {
                    check(reader.take(), &mut last);
                }
            })
        })
        .collect();
    let mut writer = shared.writer();
    for _ in 0..publishes {
        publish(&mut writer);
    }
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn no_torn_value_one_reader() {
    explore("no_torn_value_one_reader", 3, || publishes_and_takes::<1>(4, 3));
}

#[test]
fn no_torn_value_two_readers() {
    explore("no_torn_value_two_readers", 3, || publishes_and_takes::<2>(3, 2));
}

/// Whoever knows that a publish is done sees it, or a newer one.
#[test]
fn a_take_is_never_older_than_a_finished_publish() {
    explore("a_take_is_never_older_than_a_finished_publish", 3, || {
        let shared = Shared::<1>::new();
        let finished = Arc::new(AtomicU64::new(0));
        let writing = {
            let (shared, finished) = (shared.clone(), finished.clone());
            thread::spawn(move || {
                let mut writer = shared.writer();
                for _ in 0..3 {
                    publish(&mut writer);
                    finished.store(writer.sequence(), Ordering::Release);
                }
            })
        };
        let mut reader = shared.reader(0);
        for _ in 0..2 {
            let known = finished.load(Ordering::Acquire);
            let found = reader.latest().map_or(0, |sample| sample.sequence());
            assert!(found >= known, "publish {known} was finished, and the newest found is {found}");
        }
        writing.join().unwrap();
        assert_eq!(reader.latest().unwrap().sequence(), 3);
    });
}

/// A writer stops before its atomic operation number `step`; a successor goes on where it was.
fn a_writer_dies_at<const R: usize>(step: u32) {
    let shared = Shared::<R>::new();
    let readers: Vec<_> = (0..R)
        .map(|place| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut reader = shared.reader(place);
                let mut last = 0;
                for _ in 0..2 {
                    check(reader.take(), &mut last);
                }
                last
            })
        })
        .collect();
    let mut published = 0;
    fault::die_before_step(step, || {
        let mut writer = shared.writer();
        for _ in 0..2 {
            publish(&mut writer);
            published = writer.sequence();
        }
    });
    let mut successor = shared.writer();
    assert!(successor.sequence() >= published, "a publish that had returned was lost");
    publish(&mut successor);
    publish(&mut successor);
    let newest = successor.sequence();
    let seen: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    for (place, seen) in seen.into_iter().enumerate() {
        let mut last = seen;
        let mut reader = shared.reader(place);
        let sample = reader.latest().unwrap();
        assert_eq!(sample.sequence(), newest);
        last = last.min(newest - 1);
        check(Some(sample), &mut last);
    }
}

/// Operations of a writer until its second publish is done, with `readers` readers and without anybody in its way: the
/// take-over looks twice at each mailbox, a publish loads and exchanges each.
const fn writer_steps(readers: u32) -> u32 {
    2 * readers + 2 * 2 * readers
}

#[test]
fn a_writer_may_die_anywhere_one_reader() {
    for step in 0..=writer_steps(1) {
        explore(&format!("a_writer_may_die_anywhere_one_reader, step {step}"), 3, move || a_writer_dies_at::<1>(step));
    }
}

#[test]
fn a_writer_may_die_anywhere_two_readers() {
    for step in 0..=writer_steps(2) {
        explore(&format!("a_writer_may_die_anywhere_two_readers, step {step}"), 2, move || a_writer_dies_at::<2>(step));
    }
}

/// A reader stops before its atomic operation number `step` and is succeeded, while the writer publishes.
fn a_reader_dies_at<const R: usize>(step: u32) {
    let shared = Shared::<R>::new();
    let reading = {
        let shared = shared.clone();
        thread::spawn(move || {
            fault::die_before_step(step, || {
                let mut reader = shared.reader(0);
                let mut last = 0;
                for _ in 0..2 {
                    check(reader.take(), &mut last);
                    let _ = reader.announce_sleep();
                }
            });
            let mut successor = shared.reader(0);
            let mut last = 0;
            for _ in 0..2 {
                check(successor.take(), &mut last);
            }
        })
    };
    let others: Vec<_> = (1..R)
        .map(|place| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut last = 0;
                check(shared.reader(place).take(), &mut last);
            })
        })
        .collect();
    let mut writer = shared.writer();
    for _ in 0..3 {
        publish(&mut writer);
    }
    reading.join().unwrap();
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(shared.reader(0).latest().unwrap().sequence(), 3);
}

/// A look, then twice: load, exchange, load, exchange.
const READER_STEPS: u32 = 1 + 2 * 4;

#[test]
fn a_reader_may_die_anywhere_one_reader() {
    for step in 0..=READER_STEPS {
        explore(&format!("a_reader_may_die_anywhere_one_reader, step {step}"), 3, move || a_reader_dies_at::<1>(step));
    }
}

#[test]
fn a_reader_may_die_anywhere_two_readers() {
    for step in 0..=READER_STEPS {
        explore(&format!("a_reader_may_die_anywhere_two_readers, step {step}"), 2, move || a_reader_dies_at::<2>(step));
    }
}

/// A successor may look in peace at what its predecessor had taken, and gets it as new.
#[test]
fn a_succeeding_reader_sees_the_newest() {
    explore("a_succeeding_reader_sees_the_newest", 3, || {
        let shared = Shared::<1>::new();
        let reading = {
            let shared = shared.clone();
            thread::spawn(move || {
                let taken = shared.reader(0).take().map_or(0, |sample| sample.sequence());
                // From here on it is dead.
                let mut successor = shared.reader(0);
                let mut last = 0;
                check(successor.take(), &mut last);
                assert!(last >= taken, "the predecessor had {taken}, its successor {last}");
                check(successor.take(), &mut last);
            })
        };
        let mut writer = shared.writer();
        for _ in 0..3 {
            publish(&mut writer);
        }
        reading.join().unwrap();
    });
}

/// A writer succeeds another while the reader hands slots back: of those it knows from the mailbox alone.
#[test]
fn a_succeeding_writer_goes_on() {
    explore("a_succeeding_writer_goes_on", 3, || {
        let shared = Shared::<1>::new();
        let reading = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut reader = shared.reader(0);
                let mut last = 0;
                for _ in 0..3 {
                    check(reader.take(), &mut last);
                }
            })
        };
        for round in 0..3 {
            let mut writer = shared.writer();
            assert_eq!(writer.sequence(), round);
            publish(&mut writer);
        }
        reading.join().unwrap();
    });
}

/// A futex as the kernel has it: comparing and falling asleep are one step.
#[derive(Default)]
struct Futex {
    sleeping: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn wait(&self, word: &AtomicU32, value: u32) {
        let guard = self.sleeping.lock().unwrap();
        if word.load(Ordering::SeqCst) == value {
            drop(self.woken.wait(guard).unwrap());
        }
    }

    fn wake(&self) {
        drop(self.sleeping.lock().unwrap());
        self.woken.notify_all();
    }
}

/// Waits as an adapter does until `done` holds for the newest sequence.
fn wait_until(reader: &mut Reader<'_, Pair>, futex: &Futex, done: impl Fn(&Reader<'_, Pair>, u64) -> bool) {
    let mut last = 0;
    loop {
        check(reader.take(), &mut last);
        if done(reader, last) {
            return;
        }
        if let Some((word, value)) = reader.announce_sleep() {
            futex.wait(word, value);
        }
    }
}

/// If a wake-up were lost, the reader would sleep for ever, which loom reports as a deadlock.
#[test]
fn no_wake_up_is_lost() {
    explore("no_wake_up_is_lost", 3, || {
        let shared = Shared::<1>::new();
        let futex = Arc::new(Futex::default());
        let writing = {
            let (shared, futex) = (shared.clone(), futex.clone());
            thread::spawn(move || {
                let mut writer = shared.writer();
                for _ in 0..2 {
                    if !publish(&mut writer).is_empty() {
                        futex.wake();
                    }
                }
            })
        };
        wait_until(&mut shared.reader(0), &futex, |_, last| last == 2);
        writing.join().unwrap();
    });
}

#[test]
fn closing_wakes_and_loses_nothing() {
    explore("closing_wakes_and_loses_nothing", 3, || {
        let shared = Shared::<1>::new();
        let futex = Arc::new(Futex::default());
        let writing = {
            let (shared, futex) = (shared.clone(), futex.clone());
            thread::spawn(move || {
                let mut writer = shared.writer();
                if !publish(&mut writer).is_empty() {
                    futex.wake();
                }
                if !writer.close().is_empty() {
                    futex.wake();
                }
            })
        };
        let mut reader = shared.reader(0);
        wait_until(&mut reader, &futex, |reader, _| reader.is_closed());
        // What was published before the close can still be had.
        assert_eq!(reader.latest().unwrap().sequence(), 1);
        writing.join().unwrap();
        let mut successor = shared.writer();
        assert!(!shared.reader(0).is_closed());
        publish(&mut successor);
        assert_eq!(shared.reader(0).latest().unwrap().sequence(), 2);
    });
}
