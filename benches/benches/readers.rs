//! What do readers cost the writer: idle, polling, slow and stopped?
#![allow(missing_docs)]

use core::sync::atomic::Ordering;
use lkas_benches::{Bench, Block, Group, Limit, Partner, Row, Shared, Ticks};
use lkas_benches::{clean, median, one_processor, pin, processors, role, rounds, ticks};
use lkas_shm::{Channel, ChannelName, Options, Reader, Writer};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const ROUNDS: usize = 60;
/// Timings of one mode in a round.
const TIMINGS: usize = 1000;
/// Publishes that are timed together: one alone is shorter than the steps of some processors' counters.
const PUBLISHES: usize = 10;
const READERS: [usize; 4] = [1, 2, 4, 8];

/// What the readers do, all of them in one process on the other processor.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// They never look.
    Idle,
    /// They take without pause.
    Polling,
    /// They take once in a millisecond.
    Slow,
    /// Their process was stopped in the middle of polling.
    Stopped,
}

const MODES: [(Mode, &str); 4] = [
    (Mode::Idle, "idle (reference)"),
    (Mode::Polling, "polling"),
    (Mode::Slow, "slow, every millisecond"),
    (Mode::Stopped, "stopped"),
];

// Words by which the two processes agree: which mode is wanted, and which one there is.
const WANTED: usize = 0;
const THERE: usize = 1;

fn name(prefix: &str) -> ChannelName {
    prefix.parse().expect("a good name")
}

/// The process of the readers.
fn read(prefix: &str) {
    let shared = Shared::open(&format!("{prefix}-words"), 0).expect("shared memory");
    let mut readers: Vec<Reader<Block<128>>> = Vec::new();
    while let Ok(reader) = Channel::open(&name(prefix), if readers.is_empty() { PATIENCE } else { Duration::ZERO }) {
        readers.push(reader);
    }
    loop {
        let wanted = shared.word(WANTED).load(Ordering::Acquire);
        shared.word(THERE).store(wanted, Ordering::Release);
        let mode = MODES[wanted as usize].0;
        if mode != Mode::Idle {
            for reader in &mut readers {
                core::hint::black_box(reader.take().map(|sample| sample.0[0]));
            }
        }
        if mode == Mode::Idle || mode == Mode::Slow {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A row for each mode, with `readers` attached.
fn measure(readers: usize, processor: usize) -> Vec<Row> {
    let prefix = format!("bench-{}-{readers}", std::process::id());
    let options = Options::new().readers(readers);
    let mut writer: Writer<Block<128>> = Channel::create(&name(&prefix), options).expect("a channel");
    let shared = Shared::open(&format!("{prefix}-words"), 0).expect("shared memory");
    let partner = Partner::start(&prefix, processor).expect("a second process");
    let id = Pid::from_raw(partner.id() as i32).expect("a process");
    let clock = Ticks::get();
    let (mut samples, mut medians) = (vec![Vec::new(); MODES.len()], vec![Vec::new(); MODES.len()]);
    // Zero is a mode: readers are there when they say so of another one.
    for wanted in [1, 0] {
        shared.word(WANTED).store(wanted, Ordering::Release);
        while shared.word(THERE).load(Ordering::Acquire) != wanted {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let rounds = rounds(ROUNDS, 3);
    for round in 0..=rounds {
        for (index, (mode, _)) in MODES.iter().enumerate() {
            shared.word(WANTED).store(index as u64, Ordering::Release);
            while shared.word(THERE).load(Ordering::Acquire) != index as u64 {
                core::hint::spin_loop();
            }
            if *mode == Mode::Stopped {
                kill_process(id, Signal::STOP).expect("it can be stopped");
            }
            // In every mode: the first publishes after a sleep are slow, and one in a thousand is the first.
            std::thread::sleep(Duration::from_millis(1));
            let mut found = Vec::with_capacity(TIMINGS);
            for _ in 0..TIMINGS {
                let from = ticks();
                for number in 0..PUBLISHES {
                    let mut loan = writer.loan();
                    loan.0[0] = number as u8;
                    loan.publish_at(from);
                }
                found.push(clock.between(from, ticks()) / PUBLISHES as f64);
            }
            if *mode == Mode::Stopped {
                kill_process(id, Signal::CONT).expect("it can go on");
            }
            if round > 0 {
                medians[index].push(median(found.clone()));
                samples[index].extend(found);
            }
        }
    }
    drop(partner);
    clean(&prefix);
    let row = |index: usize| Row::against(&medians[0], MODES[index].1, &samples[index], &medians[index]);
    (0..MODES.len()).map(row).collect()
}

fn main() {
    if let Some(prefix) = role() {
        return read(&prefix);
    }
    if one_processor("readers") {
        return;
    }
    let processors = processors();
    pin(processors[0]);
    let mut bench = Bench::new(
        "readers",
        "what do readers cost the writer: idle, polling, slow and stopped?",
        "One process publishes 128 bytes in shared memory without pause (one byte of them written), timed ten by \
         ten; a second one on another processor has all the readers and does with them what the row says. The modes \
         take turns.",
        "Readers on as many processors as there are readers: here one process polls for all of them, in turn.",
    );
    for readers in READERS {
        let rows = measure(readers, processors[1]);
        let group =
            Group::new(&format!("one publish, {readers} reader{}", if readers == 1 { "" } else { "s" }), "ns", rows);
        let tail = |name: &str| group.row(name).figures.map_or(f64::NAN, |figures| figures.p99_9);
        let stopped = tail("stopped") / tail("idle");
        bench.add(group);
        // Two tails of the same size differ by chance.
        bench.aim(&format!("p99.9 with {readers} stopped, against idle"), stopped, Limit::AtMost(1.25));
    }
    bench.save();
}
