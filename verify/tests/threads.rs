//! Real threads on one channel: for ThreadSanitizer and Miri, and as a plain test.
#![cfg(not(lkas_loom))]
#![allow(missing_docs)]
// Dying is to stop without a word, whether or not the type has something to say when it is dropped.
#![allow(clippy::forget_non_drop)]

use lkas_core::{Channel, Reader, View, Writer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// Large enough that a torn one takes many instructions to write.
type Value = [u64; 64];

const PUBLISHES: u64 = if cfg!(miri) { 40 } else { 20_000 };

/// Takes until `last` was seen, and returns how many values it saw and missed.
fn read_until(reader: &mut Reader<'_, Value>, last: u64) -> (u64, u64) {
    let (mut before, mut seen) = (0, 0);
    while before < last {
        let Some(sample) = reader.take() else {
            thread::yield_now();
            continue;
        };
        let number = sample.sequence();
        assert!(number > before, "the sequence went from {before} to {number}");
        assert!(sample.iter().all(|word| *word == number), "torn: {number} {:?}", *sample);
        assert_eq!(sample.time(), number);
        (before, seen) = (number, seen + 1);
    }
    (seen, reader.missed())
}

fn publish(writer: &mut Writer<'_, Value>) {
    let number = writer.sequence() + 1;
    let mut loan = writer.loan();
    for word in loan.iter_mut() {
        *word = number;
    }
    loan.publish(number);
}

fn no_value_is_torn<const R: usize>() {
    let mut channel = Channel::<Value, R>::new();
    let (mut writer, readers) = channel.split();
    thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || {
                let (seen, missed) = read_until(&mut reader, PUBLISHES);
                assert!(seen + missed <= PUBLISHES && seen > 0);
            });
        }
        for _ in 0..PUBLISHES {
            publish(&mut writer);
        }
    });
}

#[test]
fn no_value_is_torn_one_reader() {
    no_value_is_torn::<1>();
}

#[test]
fn no_value_is_torn_three_readers() {
    no_value_is_torn::<3>();
}

/// What a lock of the kernel is between processes, a mutex is here.
fn with_role(lock: &Mutex<()>, life: impl FnOnce()) {
    let _held = lock.lock().unwrap();
    life();
}

/// Writers and readers come and go all the time, and some go in the middle of a loan or with a sample in their hand.
#[test]
fn roles_are_taken_over_while_others_run() {
    let channel = Channel::<Value, 2>::new();
    let view: View<'_, Value> = channel.view();
    let (writing, places) = (Mutex::new(()), [Mutex::new(()), Mutex::new(())]);
    let stop = AtomicBool::new(false);
    let newest = AtomicU64::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..PUBLISHES / 10 {
                        with_role(&writing, || {
                            // SAFETY: the mutex is the writer's role.
                            let mut writer = unsafe { view.writer() };
                            for _ in 0..3 {
                                publish(&mut writer);
                            }
                            newest.fetch_max(writer.sequence(), Relaxed);
                            let mut loan = writer.loan();
                            loan[0] = u64::MAX;
                            core::mem::forget(loan);
                        });
                    }
                })
            })
            .collect();
        for place in [0, 0, 1] {
            let (places, stop) = (&places, &stop);
            scope.spawn(move || {
                while !stop.load(Relaxed) {
                    with_role(&places[place], || {
                        // SAFETY: the mutex is the role of the reader at this place.
                        let mut reader = unsafe { view.reader(place) }.unwrap();
                        let mut before = 0;
                        for _ in 0..3 {
                            if let Some(sample) = reader.take() {
                                let number = sample.sequence();
                                assert!(number > before, "the sequence went from {before} to {number}");
                                assert!(sample.iter().all(|word| *word == number), "torn: {number} {:?}", *sample);
                                before = number;
                                core::mem::forget(sample);
                            }
                        }
                    });
                    thread::yield_now();
                }
            });
        }
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Relaxed);
    });
    let expected = PUBLISHES / 10 * 2 * 3;
    assert_eq!(newest.load(Relaxed), expected, "every publish counted once, whoever did it");
    // SAFETY: all threads are gone.
    let mut reader = unsafe { view.reader(0) }.unwrap();
    assert_eq!(reader.latest().unwrap().sequence(), expected);
}
