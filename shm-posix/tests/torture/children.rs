//! The processes that are tortured. They check what they can see themselves and panic where it is wrong; the driver
//! notices that a child ended whom it did not kill.

use crate::payload::{CONTRACTS, Controls, Payloads};
use crate::random::Random;
use crate::report::{Pipe, Report, Taken};
use lkas_shm::{ChannelName, CreateError, NameCheck, OpenError, clock};
use rustix::process::{Pid, Signal};
use std::time::{Duration, Instant};

/// A role is free when its process is gone, and the driver starts a successor only then. Only whoever looks into
/// /proc/PID at that instant (a `ps`) can keep the dead one's mapping, and so its role, for as long as it looks.
const ROLE_IS_FREE_WITHIN: Duration = Duration::from_secs(20);

/// How long a reader waits for a channel that was never created yet.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest that a reader keeps what it took to itself, in nanoseconds.
const REPORT_EVERY: u64 = 1_000_000;

/// Dies with the driver, however that ends.
pub(crate) fn die_with(driver: i32) {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).expect("every process may ask for that");
    // The driver may have been gone before.
    assert_eq!(rustix::process::getppid().map(Pid::as_raw_pid), Some(driver), "the driver is gone");
}

/// Publishes until it is killed, or leaves in good order after a while if it is to.
pub(crate) fn write<P: Payloads>(name: &ChannelName, life: u64, seed: u64, leaves: bool) {
    let mut random = Random::new(seed);
    let mut pipe = Pipe::new();
    let deadline = Instant::now() + ROLE_IS_FREE_WITHIN;
    let mut tries = 0;
    let mut writer = loop {
        match P::create(name, life) {
            Ok(writer) => break writer,
            Err(CreateError::HasWriter { .. }) if Instant::now() < deadline => tries += 1,
            Err(why) => panic!("the role of a dead writer can't be had: {why}"),
        }
        std::thread::yield_now();
    };
    pipe.send(Report::Writing { sequence: writer.sequence(), tries });
    fork_sometimes(&mut random);
    loop {
        let small = P::HAS_SMALL && !random.one_in(3);
        for _ in 0..=random.below(if small { Controls::BURST } else { P::BURST }) {
            if !small && random.one_in(16) {
                P::spoil(&mut writer.loan());
            }
            let sequence = writer.sequence() + 1;
            let mut loan = writer.loan();
            P::fill(&mut loan, sequence, life, small);
            loan.publish();
        }
        if writer.check_name().unwrap_or_else(|why| panic!("{why}")) == NameCheck::Moved {
            fork_sometimes(&mut random);
        }
        if leaves && random.one_in(20) {
            return;
        }
        if random.one_in(2) {
            std::thread::sleep(random.pause(Duration::from_micros(500)));
        }
    }
}

/// Takes, in several manners, until it is killed.
pub(crate) fn read<P: Payloads>(name: &ChannelName, seed: u64) {
    let mut random = Random::new(seed);
    let mut pipe = Pipe::new();
    let deadline = Instant::now() + ROLE_IS_FREE_WITHIN;
    let mut tries = 0;
    let mut reader = loop {
        match P::open(name, PATIENCE) {
            Ok(reader) => break reader,
            Err(OpenError::NoPlace { .. }) if Instant::now() < deadline => tries += 1,
            Err(why) => panic!("the place of a dead reader can't be had: {why}"),
        }
        std::thread::yield_now();
    };
    pipe.send(Report::Reading { tries });
    fork_sometimes(&mut random);

    let (mut count, mut first, mut last, mut life) = (0_u64, 0, 0, 0);
    let mut last_before_move = 0;
    let mut telling = Telling { pipe, unsent: None, sent_at: 0 };
    loop {
        let (sleeps, holds) = (random.one_in(2), random.one_in(2));
        for _ in 0..random.below(64) {
            let before = clock::now();
            let contract = reader.contract();
            let promised =
                contract.is_ok_and(|contract| contract.is_some_and(|contract| CONTRACTS.contains(&contract)));
            assert!(promised, "a promise that nobody made: {contract:?}");
            let Some(value) = reader.take() else {
                if reader.is_retired() {
                    // Its name was removed, and the writer moved.
                    reader = reopen::<P>(name);
                    (count, first) = (0, 0);
                    last_before_move = last;
                    continue;
                }
                telling.tell_when_due(before);
                if sleeps {
                    let _ = reader.wait(random.pause(Duration::from_millis(200)));
                } else {
                    std::thread::yield_now();
                }
                continue;
            };
            let after = clock::now();
            let (sequence, published) = (value.sequence(), value.time());
            // A move shows the newest value again.
            let repeats = sequence == last && last == last_before_move;
            assert!(sequence > last || repeats, "number {sequence} after {last}");
            let of = P::check(&value, sequence).unwrap_or_else(|why| panic!("{why}"));
            assert!(of >= life, "number {sequence} of writer {of} after {last} of writer {life}");
            if holds && random.one_in(4) {
                std::thread::sleep(random.pause(Duration::from_millis(20)));
            }
            // Whatever happened in between, a value does not change while it is looked at. This process may have been
            // suspended in the meantime and the writer replaced.
            P::check(&value, sequence).unwrap_or_else(|why| panic!("changed while it was looked at: {why}"));
            assert_eq!((value.sequence(), value.time()), (sequence, published), "changed while it was looked at");

            count += 1;
            first = if first == 0 { sequence } else { first };
            assert_eq!(reader.missed() + count, sequence - first + 1, "each value was either taken or missed");
            let is_news = of != life;
            (last, life) = (sequence, of);
            if repeats {
                continue;
            }
            telling.add(Taken { life, values: 1, first: sequence, last, published, before, after }, is_news);
        }
    }
}

/// Sometimes has a child that lives on for a while, as Python's multiprocessing makes them: it has neither role nor place.
fn fork_sometimes(random: &mut Random) {
    if !random.one_in(4) {
        return;
    }
    // SAFETY: the child closes its reports, sleeps and ends, and touches nothing else.
    if unsafe { libc::fork() } == 0 {
        // SAFETY: its end of the pipe, which would keep the driver waiting.
        unsafe { libc::close(1) };
        std::thread::sleep(Duration::from_secs(2));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
}

/// Opens the channel after its writer moved.
fn reopen<P: Payloads>(name: &ChannelName) -> lkas_shm::Reader<P::Value> {
    let deadline = Instant::now() + ROLE_IS_FREE_WITHIN;
    loop {
        match P::open(name, PATIENCE) {
            Ok(reader) => return reader,
            Err(OpenError::NoPlace { .. }) if Instant::now() < deadline => std::thread::yield_now(),
            Err(why) => panic!("the channel that moved can't be opened: {why}"),
        }
    }
}

/// What a reader has still to tell.
struct Telling {
    pipe: Pipe,
    unsent: Option<Taken>,
    sent_at: u64,
}

impl Telling {
    /// Adds a value. The driver measures by the first one of each writer, so that is told at once and alone.
    fn add(&mut self, taken: Taken, is_first: bool) {
        if is_first {
            self.tell();
        }
        self.unsent = Some(match self.unsent {
            Some(start) => Taken { values: start.values + 1, first: start.first, ..taken },
            None => taken,
        });
        if is_first {
            self.tell();
        }
        self.tell_when_due(taken.after);
    }

    fn tell_when_due(&mut self, now: u64) {
        if now.saturating_sub(self.sent_at) >= REPORT_EVERY {
            self.tell();
            self.sent_at = now;
        }
    }

    fn tell(&mut self) {
        if let Some(taken) = self.unsent.take() {
            self.pipe.send(Report::Taken(taken));
        }
    }
}
