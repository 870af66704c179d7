//! What the children do.

use crate::child::{Outcome, goes_on, timed, watch};
use crate::containers;
use crate::random::Random;
use crate::tally::{self, Tally};
use crate::values::{Controls, Pictures, Values, options};
use lkas_shm::{AnyChannel, ChannelName, ControlChannel, Latest, Observer, Reader, Reading, clock};
use std::time::Duration;

/// Plays the role to its end.
pub(crate) fn play(role: &str, name: &ChannelName, seed: u64) -> Outcome {
    match role {
        "controls-writer" => write::<Controls>(name, seed),
        "controls-reader" => read::<Controls>(name, seed),
        "pictures-writer" => write::<Pictures>(name, seed),
        "pictures-reader" => read::<Pictures>(name, seed),
        "holder-of-the-writer" => {
            let _writer = ControlChannel::create(name, options()).unwrap();
            hold();
        }
        "holder-of-a-place" => {
            let _reader = ControlChannel::open(name, Duration::ZERO).unwrap();
            hold();
        }
        "clock" => println!("{}", clock::now()),
        _ => {
            containers::play(role, name)?;
            println!("{}", tally::total().to_line());
        }
    }
    Ok(())
}

/// Says that the role is taken, and keeps it until the end.
fn hold() {
    watch();
    println!("holding");
    while goes_on() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Publishes; now and then a successor takes over whatever is there.
fn write<V: Values>(name: &ChannelName, seed: u64) {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    watch();
    let mut writer = None;
    while goes_on() {
        let Some(open) = &mut writer else {
            match timed(Duration::ZERO, || V::create(name)) {
                Ok(new) => writer = Some(new),
                Err(why) => {
                    tally.error(&why);
                    pause();
                }
            }
            continue;
        };
        for _ in 0..random.below(20) {
            let number = random.next() >> 16;
            timed(Duration::ZERO, || {
                let mut loan = open.loan();
                V::fill(&mut loan, number);
                if number.is_multiple_of(16) {
                    drop(loan);
                } else {
                    loan.publish();
                }
            });
        }
        if random.one_in(10) {
            writer = None;
        } else if random.one_in(2) {
            pause();
        }
    }
    drop(writer);
    println!("{}", tally.to_line());
}

/// Takes in every manner, leaves, and comes back.
fn read<V: Values>(name: &ChannelName, seed: u64) {
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    watch();
    let mut reader = None;
    while goes_on() {
        let Some(open) = &mut reader else {
            let patience = Duration::from_micros(random.below(5_000));
            match timed(patience, || V::open(name, patience)) {
                Ok(new) => reader = Some(new),
                Err(why) => {
                    tally.error(&why);
                    pause();
                }
            }
            continue;
        };
        if random.one_in(40) || open.is_retired() {
            reader = None;
            look_on(name, &mut tally);
        } else {
            use_once::<V>(open, &mut random, &mut tally);
        }
    }
    drop(reader);
    println!("{}", tally.to_line());
}

/// One use of a reader.
fn use_once<V: Values>(reader: &mut Reader<V::Value>, random: &mut Random, tally: &mut Tally) {
    let mut note = |value: &V::Value| tally.value(V::is_whole(value));
    let limit = Duration::from_micros(random.below(3_000));
    match random.below(8) {
        0 | 1 => {
            if let Some(sample) = timed(Duration::ZERO, || reader.take()) {
                note(&sample);
            }
        }
        2 => {
            if let Some(sample) = timed(Duration::ZERO, || reader.latest()) {
                note(&sample);
            }
        }
        3 => match timed(Duration::ZERO, || reader.read()) {
            Reading::Empty => {}
            Reading::Value { sample, .. } => note(&sample),
        },
        4 => match timed(Duration::ZERO, || reader.latest_within(limit)) {
            Latest::Empty => {}
            Latest::Fresh(sample) | Latest::Stale { sample, .. } => note(&sample),
        },
        5 => {
            let _ = timed(limit, || reader.spin(limit));
        }
        6 => {
            let _ = (reader.missed(), reader.is_closed(), reader.has_writer(), reader.contract(), reader.warnings());
        }
        _ => {
            let _ = timed(limit, || reader.wait(limit));
        }
    }
}

/// Looks on without a role, and reads without knowing the type.
pub(crate) fn look_on(name: &ChannelName, tally: &mut Tally) {
    match timed(Duration::ZERO, || Observer::open(name)) {
        Ok(observer) => {
            let seen = timed(Duration::ZERO, || observer.look());
            let newest = timed(Duration::ZERO, || observer.newest());
            assert!(!format!("{seen:?} {newest:?} {:?}", observer.description()).is_empty());
        }
        Err(why) => tally.error(&why),
    }
    match timed(Duration::ZERO, || AnyChannel::open(name, Duration::ZERO)) {
        Ok((description, mut reader)) => {
            if let Some(sample) = reader.latest() {
                let texts = description.values(&sample).filter_map(|(_, value)| value).map(|value| value.to_string());
                assert!(texts.map(|text| text.len()).sum::<usize>() < 100_000);
            }
        }
        Err(why) => tally.error(&why),
    }
}

/// Lets others run.
fn pause() {
    std::thread::sleep(Duration::from_micros(100));
}
