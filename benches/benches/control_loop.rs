//! What do publish and take cost at worst in a control loop of 1 kHz, with somebody else busy beside it?
#![allow(missing_docs)]

use core::sync::atomic::{AtomicU64, Ordering};
use lkas_benches::{Bench, Block, Figures, Group, Limit, Partner, Row, Ticks};
use lkas_benches::{clean, pin, prefix, processors, real_time, role, rounds, system_calls, ticks};
use lkas_shm::{Channel, ChannelName, Memory, OpenOptions, Options, Reader, Writer};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::alloc::{GlobalAlloc, Layout, System};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const PERIOD_NS: i64 = 1_000_000;
/// Steps of the loop: a minute.
const STEPS: usize = 60_000;

/// The system's allocator, and how often it was asked.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's, which keeps the promises.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn name(prefix: &str, what: &str) -> ChannelName {
    format!("{prefix}-{what}").parse().expect("a good name")
}

const MEMORY: Memory = Memory::new().prefault(true).lock(true).huge_pages(false);

fn writer(name: &ChannelName) -> Writer<Block<128>> {
    let options = Options::new().memory(MEMORY);
    Channel::create(name, options).expect("a channel")
}

fn reader(name: &ChannelName) -> Reader<Block<128>> {
    let options = OpenOptions::new().memory(MEMORY).patience(PATIENCE);
    Channel::open(name, options).expect("the other's channel")
}

/// Sleeps until `next`, on the monotonic clock.
fn sleep_until(next: Timespec) {
    // A signal may end it early; the loop does not mind.
    let _ = rustix::thread::clock_nanosleep_absolute(rustix::thread::ClockId::Monotonic, &next);
}

fn after(time: Timespec) -> Timespec {
    let nanoseconds = time.tv_nsec + PERIOD_NS;
    Timespec { tv_sec: time.tv_sec + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000 }
}

/// The two ends of a loop: takes what there is, answers it, at 1 kHz. What it took is left in `timed`.
fn run(in_: &mut Reader<Block<128>>, out: &mut Writer<Block<128>>, timed: &mut [u64]) {
    let mut next = clock_gettime(ClockId::Monotonic);
    for timed in timed {
        next = after(next);
        sleep_until(next);
        let from = ticks();
        let mut number = 0;
        if let Some(sample) = in_.take() {
            number = sample.0[0];
        }
        let mut loan = out.loan();
        loan.0.fill(number);
        loan.publish();
        *timed = ticks() - from;
    }
}

/// The rest of the system: sends at the same pace, looks at the answers, and is busy in between, copying memory.
fn other(prefix: &str) {
    let mut out = writer(&name(prefix, "in"));
    let mut in_ = reader(&name(prefix, "out"));
    let mut copy = copying();
    let mut number = 0;
    loop {
        number += 1;
        let mut loan = out.loan();
        loan.0.fill(number as u8);
        loan.publish();
        copy();
        if let Some(sample) = in_.take() {
            core::hint::black_box(sample.0[0]);
        }
    }
}

/// The same memory hog without channels, on the loop's own processor.
fn stress() {
    let mut copy = copying();
    loop {
        copy();
    }
}

/// Copies some megabytes each time.
fn copying() -> impl FnMut() {
    let (from, mut to) = (vec![1_u8; 4_000_000], vec![0_u8; 4_000_000]);
    move || {
        to.copy_from_slice(&from);
        core::hint::black_box(&mut to);
    }
}

/// The loop's own system calls, between two marks.
fn counted() {
    let prefix = prefix();
    let mut far = writer(&name(&prefix, "in"));
    let mut out = writer(&name(&prefix, "out"));
    let mut in_ = reader(&name(&prefix, "in"));
    clean(&prefix);
    far.publish(Block([0; 128]));
    let mut timed = vec![0; 100];
    let _ = rustix::process::getppid();
    run(&mut in_, &mut out, &mut timed);
    let _ = rustix::process::getppid();
}

#[allow(unsafe_code)]
fn faults() -> i64 {
    // SAFETY: a plain structure of numbers.
    let mut usage = unsafe { core::mem::zeroed::<libc::rusage>() };
    // SAFETY: it writes to the struct alone.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    usage.ru_minflt + usage.ru_majflt
}

fn main() {
    let prefix = prefix();
    match role().as_deref() {
        Some("counted") => return counted(),
        Some("stress") => return stress(),
        Some(prefix) => return other(prefix),
        None => (),
    }
    let processors = processors();
    let mut bench = Bench::new(
        "control_loop",
        "what do publish and take cost at worst in a control loop of 1 kHz, with somebody else busy beside it?",
        "A loop on the real-time schedule takes 128 bytes, answers with 128 bytes and sleeps until the next millisecond, for \
         a minute, its memory locked. The other end, on another processor, publishes and copies memory without pause, and \
         a third process copies memory on the loop's own processor. Timed is what the loop does between two sleeps.",
        "How late the loop wakes up: that is the kernel's, and on a virtual machine its host's. Its host's interruptions \
         are in the largest figures.",
    );
    let last = *processors.last().expect("one at least");
    let _other = Partner::start(&prefix, last).expect("a second process");
    let _stress = Partner::start("stress", processors[0]).expect("a third process");
    let mut out = writer(&name(&prefix, "out"));
    let mut in_ = reader(&name(&prefix, "in"));
    pin(processors[0]);
    // SAFETY: it changes how memory is held, and nothing in it.
    #[allow(unsafe_code)]
    let locked = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } == 0;
    let urgent = real_time();
    println!("  real-time schedule: {urgent}; memory locked: {locked}");
    let mut timed = vec![0; rounds(STEPS, 1000)];
    run(&mut in_, &mut out, &mut timed[..100]);
    let before = (ALLOCATIONS.load(Ordering::Relaxed), faults());
    run(&mut in_, &mut out, &mut timed);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before.0;
    let faults = faults() - before.1;
    clean(&prefix);
    let clock = Ticks::get();
    let samples: Vec<f64> = timed.iter().map(|ticks| clock.between(0, *ticks)).collect();
    let schedule = if urgent { "SCHED_FIFO" } else { "the ordinary schedule: SCHED_FIFO was refused" };
    let row = Row { figures: Some(Figures::of(&samples)), ..Row::named(schedule) };
    bench.add(Group::new("take and publish, once in a millisecond", "ns", vec![row]));
    let calls = system_calls("counted").unwrap_or_else(|why| panic!("{why}"));
    let calls = calls.iter().filter(|call| !call.starts_with("clock_nanosleep")).count();
    let rows = vec![
        Row::value("allocations", allocations as f64),
        Row::value("page faults", faults as f64),
        Row::value("system calls in 100 steps, but to sleep", calls as f64),
    ];
    bench.add(Group::new("in the loop", "times", rows));
    bench.aim("allocations in the loop", allocations as f64, Limit::Exactly(0.0));
    bench.aim("page faults in the loop", faults as f64, Limit::Exactly(0.0));
    bench.aim("system calls in the loop, but to sleep", calls as f64, Limit::Exactly(0.0));
    bench.save();
}
