//! Where does it bend: with more readers, more channels, larger frames, more cameras?
#![allow(missing_docs)]

use core::hint::black_box;
use core::sync::atomic::Ordering;
use lkas_benches::{Bench, Block, Figures, Group, Limit, Partner, Rival, Row, Shared, Ticks};
use lkas_benches::{
    clean, is_short, is_wanted, one_processor, picture, pin, prefix, processors, role, rounds, take_turns, ticks,
};
use lkas_messages::{ImageShape, PixelFormat};
use lkas_shm::{Channel, ChannelName, ImageChannel, Options, Reader, Wait, Writer};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const READERS: [usize; 7] = [1, 2, 4, 8, 16, 24, 29];
const CHANNELS: [usize; 4] = [1, 10, 100, 1000];
/// Width and height of frames of three bytes a pixel: 64 KiB, 0.3 MB, 1.44 MB, 6.2 MB, 25 MB.
const FRAMES: [(u32, u32); 5] = [(148, 148), (320, 320), (800, 600), (1920, 1080), (3840, 2160)];
const CAMERAS: usize = 8;
/// Channels of each process where there are many, and how many processes.
const BEATS: usize = 10;
const PROCESSES: [usize; 3] = [1, 10, 100];
const BEAT: Duration = Duration::from_millis(1);
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 60);

fn name(text: &str) -> ChannelName {
    text.parse().expect("a good name")
}

/// Publishing 128 bytes, in nanoseconds, ten by ten.
fn publishes(writer: &mut Writer<Block<128>>, timings: usize) -> Vec<f64> {
    let clock = Ticks::get();
    let timing = |_| {
        let from = ticks();
        for number in 0..10 {
            let mut loan = writer.loan();
            loan.0[0] = number;
            loan.publish_at(from);
        }
        clock.between(from, ticks()) / 10.0
    };
    (0..timings).map(timing).collect()
}

fn readers(bench: &mut Bench, processor: usize) {
    let timings = rounds(20_000, 500);
    let (mut idle, mut polling) = (Vec::new(), Vec::new());
    for readers in READERS {
        let name = format!("{}-r{readers}", prefix());
        let options = Options::new().readers(readers);
        let mut writer: Writer<Block<128>> = Channel::create(&self::name(&name), options).expect("a channel");
        let figures = Figures::of(&publishes(&mut writer, timings));
        idle.push(Row { figures: Some(figures), ..Row::named(&format!("reader places: {readers}, nobody takes")) });
        let shared = Shared::open(&format!("{name}-there"), 0).expect("shared memory");
        let partner = Partner::start(&format!("poll {name}"), processor).expect("a second process");
        while shared.word(0).load(Ordering::Acquire) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let figures = Figures::of(&publishes(&mut writer, timings));
        polling.push(Row { figures: Some(figures), ..Row::named(&format!("readers: {readers}, all polling")) });
        drop(partner);
        clean(&name);
    }
    let p50 = |row: &Row| row.figures.map_or(f64::NAN, |figures| figures.p50);
    let further = (p50(&idle[READERS.len() - 1]) - p50(&idle[0])) / (READERS[READERS.len() - 1] - READERS[0]) as f64;
    bench.add(Group::new("publish, by reader places", "ns", idle));
    bench.add(Group::new("publish, by polling readers", "ns", polling));
    bench.aim("each further reader place up to 29, in ns", further, Limit::AtMost(4.0));
}

/// The process of the readers: one after the other takes, without pause.
fn poll(name: &str) {
    let mut readers: Vec<Reader<Block<128>>> = Vec::new();
    let patience = |readers: &[_]| if readers.is_empty() { PATIENCE } else { Duration::ZERO };
    while let Ok(reader) = Channel::open(&self::name(name), patience(&readers)) {
        readers.push(reader);
    }
    let shared = Shared::open(&format!("{name}-there"), 0).expect("shared memory");
    shared.word(0).store(1, Ordering::Release);
    loop {
        for reader in &mut readers {
            black_box(reader.take().map(|sample| sample.0[0]));
        }
    }
}

fn channels(bench: &mut Bench) {
    let mut rows = Vec::new();
    let mut memory = Vec::new();
    for count in CHANNELS {
        let mut all: Vec<(Writer<Block<128>>, Reader<Block<128>>)> = (0..count)
            .map(|index| {
                let name = name(&format!("{}-c{index}", prefix()));
                let writer = Channel::create(&name, Options::new().readers(1)).expect("a channel");
                let reader = Channel::open(&name, Duration::ZERO).expect("a place");
                (writer, reader)
            })
            .collect();
        let clock = Ticks::get();
        let samples: Vec<f64> = (0..rounds(200_000, 2000).div_ceil(count))
            .flat_map(|round| {
                let timing = |(writer, reader): &mut (Writer<Block<128>>, Reader<Block<128>>)| {
                    let from = ticks();
                    let mut loan = writer.loan();
                    loan.0[0] = round as u8;
                    loan.publish();
                    black_box(reader.take().map(|sample| sample.0[0]));
                    clock.between(from, ticks())
                };
                all.iter_mut().map(timing).collect::<Vec<_>>()
            })
            .collect();
        let plural = if count == 1 { "" } else { "s" };
        rows.push(Row { figures: Some(Figures::of(&samples)), ..Row::named(&format!("{count} channel{plural}")) });
        memory.push(Row::value(&format!("{count} channel{plural}"), used(&prefix())));
        drop(all);
        clean(&prefix());
    }
    bench.add(Group::new("publish with its time and take, channel by channel in one process", "ns", rows));
    bench.add(Group::new("shared memory of channels of 128 bytes", "bytes", memory));
}

/// Bytes of memory that files in shared memory have whose names start so.
fn used(prefix: &str) -> f64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    ours.filter_map(|entry| entry.metadata().ok()).map(|data| data.blocks() as f64 * 512.0).sum()
}

fn frames(bench: &mut Bench) {
    for (width, height) in FRAMES {
        let shape = ImageShape::new(width, height, PixelFormat::Rgb8).expect("a good shape");
        let pixels = picture(shape.pixel_bytes());
        let name = name(&format!("{}-f{width}", prefix()));
        let mut writer = ImageChannel::create(&name, shape, Options::new().readers(1)).expect("a channel");
        let mut reader = ImageChannel::open(&name, Duration::ZERO).expect("a place");
        // As many as the channel has slots, so that both find as much in the caches.
        let mut buffers = vec![vec![0_u8; pixels.len()]; 3];
        let mut rivals = [
            Rival::new("memcpy to three buffers in turn (reference)", |number| {
                let buffer = &mut buffers[number as usize % 3];
                buffer.copy_from_slice(&pixels);
                black_box(buffer);
            })
            .slow(),
            Rival::new("copied, sealed, published and taken", |number| {
                writer.write(number, 0.0, &pixels).expect("of the right size");
                black_box(reader.take().map(|sample| sample.frame_id()));
            })
            .slow(),
        ];
        let count = rounds(if shape.pixel_bytes() > 2_000_000 { 20 } else { 100 }, 2);
        let title = format!("a frame of {width}x{height}, {:.2} MB", shape.pixel_bytes() as f64 * 1e-6);
        bench.add(take_turns(&title, count, &mut rivals));
        drop(rivals);
        clean(&prefix());
    }
}

/// Microseconds of this process's time on a processor.
fn processor_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

// Words by which the process that reads says what it found.
const READY: usize = 0;
const TAKEN: usize = 1;
const TIME: usize = 2;

fn cameras(bench: &mut Bench, processor: usize) {
    let shape = ImageShape::new(800, 600, PixelFormat::Rgb8).expect("a good shape");
    let pixels = picture(shape.pixel_bytes());
    let names: Vec<String> = (0..CAMERAS).map(|camera| format!("{}-k{camera}", prefix())).collect();
    let create = |text: &String| ImageChannel::create(&name(text), shape, Options::new().readers(1));
    let mut writers: Vec<_> = names.iter().map(|name| create(name).expect("a channel")).collect();
    let shared = Shared::open(&format!("{}-cameras", prefix()), 0).expect("shared memory");
    let partner = Partner::start(&format!("film {}", prefix()), processor).expect("a second process");
    while shared.word(READY).load(Ordering::Acquire) < CAMERAS as u64 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let frames: u64 = if is_short() { 30 } else { 600 };
    let (start, before) = (Instant::now(), processor_time());
    let (taken_before, read_before) =
        (shared.word(TAKEN).load(Ordering::Acquire), shared.word(TIME).load(Ordering::Acquire));
    for frame in 1..=frames {
        for writer in &mut writers {
            writer.write(frame, 0.0, &pixels).expect("of the right size");
        }
        std::thread::sleep((PERIOD * frame as u32).saturating_sub(start.elapsed()));
    }
    let elapsed = start.elapsed().as_micros() as f64;
    let share = |time: u64| time as f64 / elapsed * 100.0;
    let rows = vec![
        Row::value("the writer: eight frames copied and sealed", share(processor_time() - before)),
        Row::value(
            "the reader: woken, taken and checked",
            share(shared.word(TIME).load(Ordering::Acquire) - read_before),
        ),
    ];
    let taken = shared.word(TAKEN).load(Ordering::Acquire) - taken_before;
    drop(partner);
    clean(&prefix());
    bench.add(Group::new("eight cameras of 800x600 at 60 frames a second: time of a processor", "% of one", rows));
    let part = taken as f64 / (frames * CAMERAS as u64) as f64 * 100.0;
    let row = Row::value("frames that the reader saw", part);
    bench.add(Group::new("eight cameras: frames seen", "% of those written", vec![row]));
}

/// The process that sees the frames of all cameras, by a thread for each.
fn film(prefix: &str) {
    let shared = Shared::open(&format!("{prefix}-cameras"), 0).expect("shared memory");
    std::thread::scope(|scope| {
        for camera in 0..CAMERAS {
            let shared = &shared;
            scope.spawn(move || {
                let name = name(&format!("{prefix}-k{camera}"));
                let mut reader = ImageChannel::open(&name, PATIENCE).expect("its channel");
                shared.word(READY).fetch_add(1, Ordering::AcqRel);
                loop {
                    if reader.wait(PATIENCE) == Wait::Fresh {
                        let seen = reader.take().is_some_and(|frame| frame.is_whole());
                        shared.word(TAKEN).fetch_add(seen.into(), Ordering::AcqRel);
                        shared.word(TIME).store(processor_time(), Ordering::Release);
                    }
                }
            });
        }
    });
}

/// `processes` with as many channels each, all published a thousand times a second and taken by the next process: time of a
/// processor for all of it, in percent.
fn beating(processes: usize, channels: usize, seconds: f64) -> f64 {
    let name = format!("{}-b{processes}-{channels}", prefix());
    let shared = Shared::open(&format!("{name}-beats"), 0).expect("shared memory");
    let partners: Vec<Partner> = (0..processes)
        .map(|number| {
            let role = format!("beat {name} {number} {processes} {channels}");
            Partner::start(&role, processors()[number % processors().len()]).expect("another process")
        })
        .collect();
    while shared.word(READY).load(Ordering::Acquire) < processes as u64 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let look = || (Instant::now(), partners.iter().map(|partner| time_of(partner.id())).sum::<f64>());
    let before = look();
    let taken = shared.word(TAKEN).load(Ordering::Acquire);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = look();
    assert!(shared.word(TAKEN).load(Ordering::Acquire) > taken, "nobody takes");
    drop(partners);
    clean(&name);
    (after.1 - before.1) / (after.0 - before.0).as_secs_f64() * 100.0
}

/// Seconds of a processor's time that a process has had.
fn time_of(process: u32) -> f64 {
    let words = std::fs::read_to_string(format!("/proc/{process}/schedstat")).expect("a process of ours");
    words.split(' ').next().and_then(|word| word.parse::<f64>().ok()).expect("nanoseconds") * 1e-9
}

/// One of those processes: publishes its own channels and takes from those of the next one.
fn beat(arguments: &str) {
    let mut arguments = arguments.split(' ');
    let prefix = arguments.next().expect("a name");
    let [number, processes, channels] =
        [(); 3].map(|()| arguments.next().and_then(|word| word.parse().ok()).expect("a number"));
    let name = |process: usize, channel: usize| name(&format!("{prefix}-{process}-{channel}"));
    let options = || Options::new().readers(1);
    let mut writers: Vec<Writer<Block<128>>> =
        (0..channels).map(|channel| Channel::create(&name(number, channel), options()).expect("a channel")).collect();
    let next = (number + 1) % processes;
    let mut readers: Vec<Reader<Block<128>>> =
        (0..channels).map(|channel| Channel::open(&name(next, channel), PATIENCE).expect("the next one's")).collect();
    let shared = Shared::open(&format!("{prefix}-beats"), 0).expect("shared memory");
    shared.word(READY).fetch_add(1, Ordering::AcqRel);
    let mut due = Instant::now();
    loop {
        due += BEAT;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        for writer in &mut writers {
            let mut loan = writer.loan();
            loan.0[0] = loan.0[0].wrapping_add(1);
            loan.publish();
        }
        let taken = readers.iter_mut().filter_map(Reader::take).count();
        shared.word(TAKEN).fetch_add(taken as u64, Ordering::AcqRel);
    }
}

fn processes(bench: &mut Bench) {
    let seconds = if is_short() { 0.5 } else { 5.0 };
    let mut rows = Vec::new();
    for processes in PROCESSES {
        let channels = processes * BEATS;
        rows.push(Row::value(&format!("{channels} channels in one process"), beating(1, channels, seconds)));
        if processes > 1 {
            let title = format!("{channels} channels in {processes} processes");
            rows.push(Row::value(&title, beating(processes, BEATS, seconds)));
        }
    }
    let title = "channels of 128 bytes, each published and taken 1000 times a second: time of a processor";
    bench.add(Group::new(title, "% of one", rows));
}

/// A part of the bench, and its name.
type Part<'a> = (&'a str, &'a dyn Fn(&mut Bench));

fn main() {
    let role = role();
    match role.as_deref().and_then(|role| role.split_once(' ')) {
        Some(("poll", name)) => return poll(name),
        Some(("film", prefix)) => return film(prefix),
        Some(("beat", arguments)) => return beat(arguments),
        Some((other, _)) => panic!("there is no role {other}"),
        None => (),
    }
    if one_processor("scale") {
        return;
    }
    let processors = processors();
    pin(processors[0]);
    let mut bench = Bench::new(
        "scale",
        "where does it bend: with more readers, more channels, larger frames, more cameras?",
        "One process publishes; a second one on another processor has all the readers, and polls for them in turn. Channels \
         are published to and taken from one after the other; where they are in many processes, each has ten, and takes from \
         those of the next one. Frames come from ordinary memory; memcpy to as many \
         buffers as the channel has slots takes turns with them.",
        "Readers on as many processors as there are readers.",
    );
    let parts: [Part<'_>; 5] = [
        ("readers", &|bench| readers(bench, processors[1])),
        ("channels", &channels),
        ("processes", &processes),
        ("frames", &frames),
        ("cameras", &|bench| cameras(bench, processors[1])),
    ];
    let wanted: Vec<_> = parts.iter().filter(|(part, _)| is_wanted(part)).collect();
    for (_, part) in &wanted {
        part(&mut bench);
    }
    clean(&prefix());
    if wanted.len() == parts.len() {
        bench.save();
    }
}
