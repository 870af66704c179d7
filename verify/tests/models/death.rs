//! Writers and readers that stop dead at any step, and those who succeed them.

use crate::support::{Owners, Shared, check, explore, publish};
use lkas_core::fault;
use loom::thread;

/// Operations of a writer until its second publish is done, with `readers` readers and without anybody in its way: the
/// take-over looks twice at each mailbox, a publish loads and exchanges each.
const fn writer_steps(readers: u32) -> u32 {
    2 * readers + 2 * 2 * readers
}

/// A writer stops before its atomic operation number `step`; a successor goes on where it was.
fn a_writer_dies_at<const R: usize>(step: u32, takes: usize) {
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
        assert!(seen <= newest, "a reader had seen {seen}, and the newest is {newest}");
        let mut reader = shared.reader(place);
        let sample = reader.latest().unwrap();
        assert_eq!((sample.sequence(), sample[0], sample[1]), (newest, newest, newest));
    }
}

#[test]
fn a_writer_may_die_anywhere_one_reader() {
    for step in 0..=writer_steps(1) {
        explore(&format!("a_writer_may_die_anywhere_one_reader, step {step}"), 6, move || {
            a_writer_dies_at::<1>(step, 2)
        });
    }
}

#[test]
fn a_writer_may_die_anywhere_two_readers() {
    for step in 0..=writer_steps(2) {
        explore(&format!("a_writer_may_die_anywhere_two_readers, step {step}"), 2, move || {
            a_writer_dies_at::<2>(step, 2)
        });
    }
}

#[test]
fn a_writer_may_die_anywhere_three_readers() {
    for step in 0..=writer_steps(3) {
        explore(&format!("a_writer_may_die_anywhere_three_readers, step {step}"), 1, move || {
            a_writer_dies_at::<3>(step, 1);
        });
    }
}

/// After a take-over every reader sees the same newest value, and nobody had seen a newer one before.
fn no_value_is_lost<const R: usize>(step: u32) {
    let shared = Shared::<R>::new();
    let reading = {
        let shared = shared.clone();
        thread::spawn(move || {
            let mut reader = shared.reader(0);
            let mut last = 0;
            for _ in 0..2 {
                check(reader.take(), &mut last);
            }
            last
        })
    };
    fault::die_before_step(step, || {
        let mut writer = shared.writer();
        for _ in 0..2 {
            publish(&mut writer);
        }
    });
    let newest = shared.writer().sequence();
    let seen = reading.join().unwrap();
    assert!(seen <= newest, "a reader had seen {seen}, and the successor goes on from {newest}");
    for place in 0..R {
        let found = shared.reader(place).latest().map_or(0, |sample| sample.sequence());
        assert_eq!(found, newest, "place {place} does not see what the take-over found");
    }
}

#[test]
fn no_value_is_lost_at_take_over() {
    for step in 0..=writer_steps(2) {
        explore(&format!("no_value_is_lost_at_take_over, step {step}"), 6, move || no_value_is_lost::<2>(step));
    }
}

#[test]
fn no_value_is_lost_at_take_over_one_reader() {
    for step in 0..=writer_steps(1) {
        explore(&format!("no_value_is_lost_at_take_over_one_reader, step {step}"), 6, move || {
            no_value_is_lost::<1>(step);
        });
    }
}

#[test]
fn no_value_is_lost_at_take_over_three_readers() {
    for step in 0..=writer_steps(3) {
        explore(&format!("no_value_is_lost_at_take_over_three_readers, step {step}"), 4, move || {
            no_value_is_lost::<3>(step);
        });
    }
}

/// A writer stops in the middle of a publish, and its successor in the middle of finishing it.
fn a_successor_dies_too<const R: usize>(step: u32, then: u32) {
    let shared = Shared::<R>::new();
    publish(&mut shared.writer());
    let reading = {
        let shared = shared.clone();
        thread::spawn(move || {
            let mut last = 0;
            check(shared.reader(0).take(), &mut last);
            last
        })
    };
    fault::die_before_step(step, || {
        publish(&mut shared.writer());
    });
    fault::die_before_step(then, || {
        let _ = shared.writer();
    });
    let mut heir = shared.writer();
    let newest = heir.sequence();
    let seen = reading.join().unwrap();
    assert!(seen <= newest, "a reader had seen {seen}, and the heir goes on from {newest}");
    for place in 0..R {
        let found = shared.reader(place).latest().map_or(0, |sample| sample.sequence());
        assert_eq!(found, newest, "place {place} does not see what the take-over found");
    }
    publish(&mut heir);
}

#[test]
fn a_successor_may_die_while_it_takes_over() {
    // A take-over looks twice at each of two mailboxes, a publish is four operations, and finishing one two more.
    for step in 4..=8 {
        for then in 0..=6 {
            explore(&format!("a_successor_may_die_while_it_takes_over, steps {step} and {then}"), 3, move || {
                a_successor_dies_too::<2>(step, then);
            });
        }
    }
}

/// The first publish is half done, both readers hold what they found, and there still is a slot that nobody has.
fn a_free_slot<const R: usize>(step: u32) {
    let shared = Shared::<R>::new();
    let owners = Owners::default();
    let mut writer = shared.writer();
    publish(&mut writer);
    let mut early = shared.reader(0);
    let held = early.latest().unwrap();
    publish(&mut writer);
    let reading = {
        let (shared, owners) = (shared.clone(), owners.clone());
        thread::spawn(move || owners.look(&mut shared.reader(1)))
    };
    fault::die_before_step(step, move || {
        publish(&mut writer);
    });
    let mut successor = shared.writer();
    for _ in 0..2 {
        owners.publish(&mut successor);
    }
    assert_eq!(*held, [1, 1], "the reader that held its sample all the time");
    reading.join().unwrap();
}

#[test]
fn a_succeeding_writer_finds_a_free_slot() {
    // A publish to two readers: a load and an exchange for each.
    for step in 0..=4 {
        explore(&format!("a_succeeding_writer_finds_a_free_slot, step {step}"), 5, move || a_free_slot::<2>(step));
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

/// A look, then twice: load, exchange, a figure of what was missed, load, exchange.
const READER_STEPS: u32 = 1 + 2 * 5;

#[test]
fn a_reader_may_die_anywhere_one_reader() {
    for step in 0..=READER_STEPS {
        explore(&format!("a_reader_may_die_anywhere_one_reader, step {step}"), 5, move || a_reader_dies_at::<1>(step));
    }
}

#[test]
fn a_reader_may_die_anywhere_two_readers() {
    for step in 0..=READER_STEPS {
        explore(&format!("a_reader_may_die_anywhere_two_readers, step {step}"), 2, move || a_reader_dies_at::<2>(step));
    }
}

#[test]
fn a_reader_may_die_anywhere_three_readers() {
    for step in 0..=READER_STEPS {
        explore(&format!("a_reader_may_die_anywhere_three_readers, step {step}"), 1, move || {
            a_reader_dies_at::<3>(step);
        });
    }
}

/// A successor may look in peace at what its predecessor had taken, and gets it as new.
#[test]
fn a_succeeding_reader_sees_the_newest() {
    explore("a_succeeding_reader_sees_the_newest", 8, || {
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
    explore("a_succeeding_writer_goes_on", 8, || {
        let shared = Shared::<1>::new();
        publish(&mut shared.writer());
        let writing = {
            let shared = shared.clone();
            thread::spawn(move || {
                for round in 1..4 {
                    let mut writer = shared.writer();
                    assert_eq!(writer.sequence(), round, "the sequence goes on");
                    publish(&mut writer);
                }
            })
        };
        let mut reader = shared.reader(0);
        let mut last = 0;
        for _ in 0..3 {
            check(reader.take(), &mut last);
        }
        writing.join().unwrap();
    });
}

/// Writer and reader both stop, each at a step of its own, and both are succeeded: nothing is lost, and the successors go
/// on. The reader may be asleep when it dies.
fn both_die(writer_step: u32, reader_step: u32) {
    let shared = Shared::<1>::new();
    publish(&mut shared.writer());
    let reading = {
        let shared = shared.clone();
        thread::spawn(move || {
            let mut taken = 0;
            fault::die_before_step(reader_step, || {
                let mut reader = shared.reader(0);
                for _ in 0..2 {
                    check(reader.take(), &mut taken);
                    let _ = reader.announce_sleep();
                }
            });
            let mut successor = shared.reader(0);
            let mut last = 0;
            check(successor.take(), &mut last);
            taken.max(last)
        })
    };
    let mut published = 1;
    fault::die_before_step(writer_step, || {
        let mut writer = shared.writer();
        for _ in 0..2 {
            publish(&mut writer);
            published = writer.sequence();
        }
    });
    let mut heir = shared.writer();
    assert!(heir.sequence() >= published, "a publish that had returned was lost");
    let woken = publish(&mut heir);
    assert!(!woken.is_empty(), "whoever is asleep is woken by the first publish");
    let newest = heir.sequence();
    let seen = reading.join().unwrap();
    assert!(seen <= newest, "a reader had seen {seen}, and the newest is {newest}");
    let mut reader = shared.reader(0);
    let sample = reader.latest().unwrap();
    assert_eq!((sample.sequence(), sample[0], sample[1]), (newest, newest, newest));
}

#[test]
fn a_writer_and_a_reader_may_die_together() {
    for writer_step in 0..=writer_steps(1) {
        for reader_step in 0..=READER_STEPS {
            let name = format!("a_writer_and_a_reader_may_die_together, steps {writer_step} and {reader_step}");
            explore(&name, 3, move || both_die(writer_step, reader_step));
        }
    }
}
