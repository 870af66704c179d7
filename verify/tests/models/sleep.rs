//! Sleeping and waking. Sleep has no end of its own here: a wake-up that is lost is a deadlock, which loom reports.

use crate::support::{Pair, Shared, check, explore, publish};
use lkas_core::{Reader, SleepWord, Writer, fault};
use loom::sync::atomic::Ordering;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// A futex as the kernel has it: comparing and falling asleep are one step.
#[derive(Default)]
pub(crate) struct Futex {
    sleeping: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn wait(&self, word: SleepWord<'_>, value: u32) {
        // SAFETY: only read.
        let word = unsafe { word.atomic() };
        let guard = self.sleeping.lock().unwrap();
        if word.load(Ordering::Relaxed) == value {
            drop(self.woken.wait(guard).unwrap());
        }
    }

    pub(crate) fn wake(&self) {
        drop(self.sleeping.lock().unwrap());
        self.woken.notify_all();
    }
}

/// Publishes as an adapter does.
fn publish_and_wake(writer: &mut Writer<'_, Pair>, futex: &Futex) {
    if !publish(writer).is_empty() {
        futex.wake();
    }
}

/// Waits as an adapter does as long as `goes_on` holds for the newest value.
pub(crate) fn wait_while(
    reader: &mut Reader<'_, Pair>,
    futex: &Futex,
    goes_on: impl Fn(&Reader<'_, Pair>, u64) -> bool,
) {
    wait_until(reader, futex, |reader, value| !goes_on(reader, value));
}

/// Waits as an adapter does until `done` holds for the newest value.
fn wait_until(reader: &mut Reader<'_, Pair>, futex: &Futex, done: impl Fn(&Reader<'_, Pair>, u64) -> bool) {
    let mut last = 0;
    let mut value = 0;
    loop {
        if let Some(sample) = reader.take() {
            value = sample[0];
            check(Some(sample), &mut last);
        }
        if done(reader, value) {
            return;
        }
        if let Some((word, value)) = reader.announce_sleep() {
            futex.wait(word, value);
        } else {
            // Something new, or the writer has left and its successor is not there yet.
            thread::yield_now();
        }
    }
}

fn whoever_sleeps_is_woken<const R: usize>() {
    let shared = Shared::<R>::new();
    let futex = Arc::new(Futex::default());
    let writing = {
        let (shared, futex) = (shared.clone(), futex.clone());
        thread::spawn(move || {
            let mut writer = shared.writer();
            for _ in 0..2 {
                publish_and_wake(&mut writer, &futex);
            }
        })
    };
    wait_until(&mut shared.reader(R - 1), &futex, |_, value| value == 2);
    writing.join().unwrap();
}

#[test]
fn no_wake_up_is_lost() {
    explore("no_wake_up_is_lost", 6, whoever_sleeps_is_woken::<1>);
}

#[test]
fn no_wake_up_is_lost_two_places() {
    explore("no_wake_up_is_lost_two_places", 5, whoever_sleeps_is_woken::<2>);
}

#[test]
fn no_wake_up_is_lost_three_places() {
    explore("no_wake_up_is_lost_three_places", 4, whoever_sleeps_is_woken::<3>);
}

#[test]
fn closing_wakes_and_loses_nothing() {
    explore("closing_wakes_and_loses_nothing", 6, || {
        let shared = Shared::<1>::new();
        let futex = Arc::new(Futex::default());
        let writing = {
            let (shared, futex) = (shared.clone(), futex.clone());
            thread::spawn(move || {
                let mut writer = shared.writer();
                publish_and_wake(&mut writer, &futex);
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

/// What a successor publishes, so that it can be told from what its predecessor left.
const SUCCEEDED: Pair = [77; 2];

/// A writer that stops anywhere, before its publish, within it, or before the wake-up that should follow, leaves nobody
/// asleep beyond its successor's first publish.
fn whoever_was_left_asleep_is_woken<const R: usize>(step: u32, closes: bool) {
    let shared = Shared::<R>::new();
    let futex = Arc::new(Futex::default());
    let writing = {
        let (shared, futex) = (shared.clone(), futex.clone());
        thread::spawn(move || {
            fault::die_before_step(step, || {
                let mut writer = shared.writer();
                // It never comes to wake anybody.
                publish(&mut writer);
                if closes {
                    let _ = writer.close();
                }
            });
            let mut successor = shared.writer();
            if !successor.publish(SUCCEEDED, 0).is_empty() {
                futex.wake();
            }
        })
    };
    // The last place: the one that a publish reaches last.
    wait_until(&mut shared.reader(R - 1), &futex, |_, value| value == SUCCEEDED[0]);
    writing.join().unwrap();
}

#[test]
fn a_succeeding_writer_wakes_whom_its_predecessor_left_asleep() {
    // A look and a publish are four operations for each of two readers.
    for step in 0..=8 {
        explore(&format!("a_succeeding_writer_wakes_whom_its_predecessor_left_asleep, step {step}"), 3, move || {
            whoever_was_left_asleep_is_woken::<2>(step, false)
        });
    }
}

#[test]
fn a_succeeding_writer_wakes_whom_a_close_left_asleep() {
    for step in 8..=10 {
        explore(&format!("a_succeeding_writer_wakes_whom_a_close_left_asleep, step {step}"), 3, move || {
            whoever_was_left_asleep_is_woken::<2>(step, true)
        });
    }
}

/// Somebody sleeps in the reader's place while the reader takes: the next publish wakes them, and the writer needs no more
/// attempts than otherwise.
#[test]
fn whoever_sleeps_in_the_readers_place_is_woken() {
    explore("whoever_sleeps_in_the_readers_place_is_woken", 3, || {
        let shared = Shared::<1>::new();
        let futex = Arc::new(Futex::default());
        let helping = {
            let (shared, futex) = (shared.clone(), futex.clone());
            thread::spawn(move || {
                let word = shared.reader(0).sleep_word();
                while !word.is_fresh() {
                    if let Some(value) = word.announce() {
                        futex.wait(word, value);
                    }
                }
            })
        };
        let reading = {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut last = 0;
                check(shared.reader(0).take(), &mut last);
            })
        };
        let mut writer = shared.writer();
        publish_and_wake(&mut writer, &futex);
        reading.join().unwrap();
        // Whatever was taken before, this one stays.
        publish_and_wake(&mut writer, &futex);
        helping.join().unwrap();
    });
}
