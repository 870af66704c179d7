//! Random bytes over a channel that is in use.

use crate::child::{Outcome, Process, goes_on, timed};
use crate::random::Random;
use crate::roles::look_on;
use crate::tally::{self, Tally};
use crate::values::{Controls, Pictures, READERS, Values};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use lkas_shm::{ChannelName, Description, UnlinkError, Wait, clock, unlink};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// How many children read at a time.
const CHILDREN: usize = 3;

/// How long it may take on a slow machine until all is well again.
const RECOVERY: Duration = Duration::from_secs(10);

const PAGE: usize = 4096;

/// The words of the header that belong to the segment's life and not to its layout: whether it is retired, who writes,
/// the contract, the clock.
const LIVE: Range<usize> = 88..120;

pub(crate) fn controls(name: &ChannelName) -> Outcome {
    torture::<Controls>(name);
    Ok(())
}

pub(crate) fn pictures(name: &ChannelName) -> Outcome {
    torture::<Pictures>(name);
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn torture<V: Values>(name: &ChannelName) {
    let seed = number("LKAS_HOSTILE_SEED").unwrap_or_else(clock::now);
    let faults = number("LKAS_HOSTILE_FAULTS").unwrap_or(10_000) / 2;
    println!("    {}: {faults} faults, LKAS_HOSTILE_SEED={seed}", V::NAME);
    let mut random = Random::new(seed);
    let mut tally = Tally::default();

    drop(V::create(name).unwrap());
    let mut segment = Bytes::map(name).expect("just created");
    let writer = format!("{}-writer", V::NAME);
    let reader = format!("{}-reader", V::NAME);
    let mut children = vec![Process::start(&writer, name, random.next())];
    children.extend((0..CHILDREN).map(|_| Process::start(&reader, name, random.next())));

    for fault in 0..faults {
        assert!(goes_on(), "nobody waits for the result");
        if segment.is_gone() {
            // A writer has replaced what it found retired. For a moment there may be none.
            let deadline = Instant::now() + RECOVERY;
            segment = loop {
                match Bytes::map(name) {
                    Some(next) => break next,
                    None => assert!(Instant::now() < deadline, "no segment comes"),
                }
                std::thread::yield_now();
            };
        }
        segment.damage(&mut random);
        tally.injected += 1;
        if fault % 4 == 0 {
            open_anew::<V>(name, &mut tally);
        }
        if random.one_in(6) {
            segment.repair_header();
        }
        // Long enough for some moves of the others, and different each time.
        std::thread::sleep(Duration::from_micros(random.below(200)));
        if fault % 64 == 0 {
            children.iter_mut().for_each(Process::must_live);
            tally.survived = tally.injected;
        }
    }

    // What is not damaged any more goes on by itself.
    segment.repair_header();
    drop(segment);
    recovers::<V>(name);
    for child in children {
        goes_on();
        tally.add(Tally::from_line(&child.stop()));
    }
    tally.survived = tally.injected;
    println!("    {}: {tally}", V::NAME);
    assert!(tally.whole > 0 && tally.damaged > 0 && tally.errors > 0, "nothing much was tried");
    tally::count(tally);

    match unlink(name) {
        Ok(()) => {}
        // What this error's text says: it is left alone, and whoever wants it removed removes the file.
        Err(UnlinkError::NotAChannel { .. }) => std::fs::remove_file(path(name)).unwrap(),
        Err(why) => panic!("{why}"),
    }
    let mut writer = V::create(name).unwrap();
    let mut reader = V::open(name, Duration::ZERO).unwrap();
    assert!(reader.take().is_none(), "nothing of the old one is left");
    let mut loan = writer.loan();
    V::fill(&mut loan, 7);
    loan.publish();
    assert!(reader.take().is_some_and(|value| value.sequence() == 1 && V::is_whole(&value)));
}

/// A writer that is there and silent, a mailbox that a stranger writes to without end: whoever waits on it is asleep most of
/// the time, and comes back in time. Nobody would wake it.
pub(crate) fn waits(name: &ChannelName) -> Outcome {
    const EACH: u64 = 100;
    let limit = Duration::from_millis(2);
    let _writer = Controls::create(name).unwrap();
    let mut reader = Controls::open(name, Duration::ZERO).unwrap();
    let segment = Bytes::map(name).expect("just created");
    let seed = number("LKAS_HOSTILE_SEED").unwrap_or_else(clock::now);
    println!("    LKAS_HOSTILE_SEED={seed}");
    let (is_over, faults) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(seed);
            while !is_over.load(Ordering::Relaxed) {
                // Neither fresh nor closed, most of the time: then there is nothing to come back for.
                let flags = if random.one_in(50) { 0 } else { 1 << 31 | 1 << 17 };
                segment.set(segment.mailboxes.start, plausible_mailbox(&mut random) & !flags);
                faults.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(random.below(500)));
            }
        });
        // As many waits, and as many words of the stranger beside them, however long that takes.
        let mut waits = 0;
        while waits < EACH || faults.load(Ordering::Relaxed) <= EACH {
            waits += 1;
            goes_on();
            let _ = timed(limit, || reader.wait(limit));
            let _ = timed(limit, || reader.spin(limit));
            if let Some(value) = timed(Duration::ZERO, || reader.take()) {
                tally.value(Controls::is_whole(&value));
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    tally.injected = faults.into_inner();
    tally.survived = tally.injected;
    tally::count(tally);
    Ok(())
}

/// Opens the channel in both manners: an error, or a reader that works.
fn open_anew<V: Values>(name: &ChannelName, tally: &mut Tally) {
    match timed(Duration::ZERO, || V::open(name, Duration::ZERO)) {
        Ok(mut reader) => {
            if let Some(value) = reader.latest() {
                tally.value(V::is_whole(&value));
            }
        }
        Err(why) => tally.error(&why),
    }
    look_on(name, tally);
}

/// A reader that comes now gets whole values with rising numbers from the writer that was there all the time, or from its
/// successor in a new segment.
fn recovers<V: Values>(name: &ChannelName) {
    let deadline = Instant::now() + RECOVERY;
    let mut last = 0;
    let mut in_order = 0;
    while in_order < 20 {
        goes_on();
        assert!(Instant::now() < deadline, "no whole values come");
        let Ok(mut reader) = V::open(name, Duration::from_millis(100)) else { continue };
        while in_order < 20 && Instant::now() < deadline && !reader.is_retired() {
            if reader.wait(Duration::from_millis(100)) != Wait::Fresh {
                continue;
            }
            if let Some(value) = reader.take() {
                in_order = if V::is_whole(&value) && value.sequence() > last { in_order + 1 } else { 0 };
                last = value.sequence();
            }
        }
    }
}

fn path(name: &ChannelName) -> String {
    format!("/dev/shm/{name}")
}

/// A segment's bytes, mapped by somebody who respects nothing.
#[derive(Debug)]
struct Bytes {
    file: File,
    words: &'static [AtomicU32],
    /// The header as it was created.
    header: Vec<u32>,
    /// The parts, in words.
    mailboxes: Range<usize>,
    slots: Range<usize>,
    stride: usize,
}

impl Bytes {
    /// `None` where there is no segment of that name.
    fn map(name: &ChannelName) -> Option<Self> {
        let file = File::options().read(true).write(true).open(path(name)).ok()?;
        let size = file.metadata().unwrap().len() as usize;
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let start = unsafe { mmap(core::ptr::null_mut(), size, flags, MapFlags::SHARED, &file, 0) }.unwrap();
        // SAFETY: that many bytes are mapped until drop, page-aligned, and the slice is used no longer; atomics are valid
        // whatever their bits, and others that write to them are what this test is about.
        let words = unsafe { core::slice::from_raw_parts(start.cast::<AtomicU32>(), size / 4) };
        let header: Vec<u32> = words[..PAGE / 4].iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        let description = Description::parse(&bytes, size as u64).expect("not damaged yet");
        let layout = description.layout();
        assert_eq!(layout.readers(), READERS);
        let mailboxes = PAGE / 4..(PAGE + layout.mailbox_bytes()) / 4;
        let first = (PAGE + layout.mailbox_bytes()).next_multiple_of(PAGE) / 4;
        let slots = first..first + layout.slot_bytes() / 4;
        Some(Self { file, words, header, mailboxes, slots, stride: layout.stride() / 4 })
    }

    /// Whether another segment has its name, or will have it.
    fn is_gone(&self) -> bool {
        self.file.metadata().unwrap().nlink() == 0
    }

    fn set(&self, at: usize, value: u32) {
        self.words[at].store(value, Ordering::Relaxed);
    }

    /// One fault: a word somewhere, or two words that stand together.
    fn damage(&self, random: &mut Random) {
        let any = |random: &mut Random, of: &Range<usize>| of.start + random.below(of.len() as u64) as usize;
        let live = LIVE.start / 4..LIVE.end / 4;
        let at = match random.below(100) {
            // Mostly the words that the protocol lives by.
            0..40 => {
                let at = self.mailboxes.start + random.below(READERS as u64) as usize * 32;
                if random.one_in(2) {
                    return self.set(at, plausible_mailbox(random));
                }
                at
            }
            40..45 => any(random, &self.mailboxes),
            45..60 => any(random, &(0..LIVE.start / 4)),
            60..68 => any(random, &live),
            68..72 => any(random, &(live.end..PAGE / 4)),
            // Numbers and times of slots.
            72..85 => {
                self.slots.start + random.below(READERS as u64 + 2) as usize * self.stride + random.below(4) as usize
            }
            _ => any(random, &self.slots),
        };
        let old = self.words[at].load(Ordering::Relaxed);
        let value = match random.below(6) {
            0 => random.next() as u32,
            1 | 2 => old ^ 1 << random.below(32),
            3 => random.below(64) as u32,
            4 => [0, u32::MAX, 1 << 31, i32::MAX as u32][random.below(4) as usize],
            _ => self.words[random.below(self.words.len() as u64) as usize].load(Ordering::Relaxed),
        };
        self.set(at, value);
        if at + 1 < self.words.len() && random.one_in(8) {
            self.set(at + 1, random.next() as u32);
        }
    }

    /// Makes the header good again, so that the segment can be used until the next fault hits it.
    fn repair_header(&self) {
        for (at, word) in self.header.iter().enumerate() {
            self.set(at, *word);
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        let start = self.words.as_ptr().cast_mut().cast();
        // SAFETY: exactly what was mapped, once; the slice ends with this.
        let _ = unsafe { munmap(start, size_of_val(self.words)) };
    }
}

/// A mailbox's word as there could be one, with slots that there are, or hardly not.
fn plausible_mailbox(random: &mut Random) -> u32 {
    let mut slot = || random.below(READERS as u64 + 4) as u32;
    let (current, held) = (slot(), slot());
    let flag = |bit: u32, random: &mut Random| (random.below(2) as u32) << bit;
    let closed = if random.one_in(4) { 1 << 17 } else { 0 };
    flag(31, random) | closed | flag(16, random) | held << 8 | current
}
