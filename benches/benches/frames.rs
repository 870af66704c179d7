//! What do pictures of 1.44 MB cost: time to copy them in, memory, and the time of a reader that sleeps?
#![allow(missing_docs)]

use core::hint::black_box;
use lkas_benches::{
    Bench, Block, Group, Limit, Partner, Rival, Row, clean, picture, pin, prefix, processors, role, rounds, take_turns,
};
use lkas_messages::{ImageShape, PixelFormat};
use lkas_shm::{Channel, ChannelName, ImageChannel, Options, Reader, UncheckedImageChannel, Wait, Writer};
use std::time::Duration;

const FRAME: usize = 1_440_000;
const ROUNDS: usize = 100;
const ASLEEP: Duration = Duration::from_secs(2);

fn name(what: &str) -> ChannelName {
    format!("bench-{}-{what}", std::process::id()).parse().expect("a good name")
}

fn copies(bench: &mut Bench) {
    let picture = picture(FRAME);
    let options = Options::new().readers(1);
    let mut plain: Writer<Block<FRAME>> = Channel::create(&name("plain"), options).expect("a channel");
    let shape = ImageShape::new(800, 600, PixelFormat::Rgb8).expect("a good shape");
    let mut images = ImageChannel::create(&name("images"), shape, options).expect("a channel");
    let mut trusted = UncheckedImageChannel::create(&name("unchecked"), shape, options).expect("a channel");
    let mut sealed = ImageChannel::create(&name("sealed"), shape, options).expect("a channel");
    // As many buffers as the channel has slots, so that both find as much in the caches.
    let mut buffers = vec![vec![0_u8; FRAME]; 3];
    let mut rivals = [
        Rival::new("memcpy to three buffers in turn (reference)", |number| {
            let buffer = &mut buffers[number as usize % 3];
            buffer.copy_from_slice(&picture);
            black_box(buffer);
        })
        .slow(),
        Rival::new("copied into this channel and published", |_| {
            let mut loan = plain.loan();
            loan.0.copy_from_slice(&picture);
            loan.publish();
        })
        .slow(),
        Rival::new("as an image, copied and sealed in one pass", |number| {
            images.write(number, 0.0, &picture).expect("of the right size");
        })
        .slow(),
        Rival::new("as an image without a check value", |number| {
            trusted.write(number, 0.0, &picture).expect("of the right size");
        })
        .slow(),
        Rival::new("as an image, filled in place, then sealed", |number| {
            let mut loan = sealed.loan();
            loan.start(shape, number, 0.0).expect("as large as that").copy_from_slice(&picture);
            loan.seal();
            loan.publish();
        })
        .slow(),
    ];
    let group = take_turns("1.44 MB from ordinary memory", rounds(ROUNDS, 2), &mut rivals);
    let ratio = |name: &str| group.row(name).ratio.unwrap_or(f64::NAN);
    let (copied, sealed) = (ratio("copied into"), ratio("as an image, copied"));
    bench.add(group);
    bench.aim("1.44 MB by copy, against memcpy", copied, Limit::AtMost(1.1));
    bench.aim("1.44 MB copied and sealed, against memcpy", sealed, Limit::AtMost(1.2));
}

/// Bytes of memory that the files in shared memory have.
fn used() -> f64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let blocks: u64 = entries.filter_map(|entry| entry.metadata().ok()).map(|data| data.blocks()).sum();
    blocks as f64 * 512.0
}

fn memory(bench: &mut Bench) {
    let mut rows = Vec::new();
    let before = used();
    let writer: Writer<Block<128>> = Channel::create(&name("small"), Options::default()).expect("a channel");
    rows.push(Row::value("this channel, 128 bytes, 4 readers", used() - before));
    drop(writer);
    let before = used();
    let writer: Writer<Block<FRAME>> = Channel::create(&name("large"), Options::default()).expect("a channel");
    rows.push(Row::value("this channel, 1.44 MB, 4 readers", used() - before));
    drop(writer);
    #[cfg(feature = "rivals")]
    {
        rows.push(Row::value("iceoryx2, 128 bytes, as it comes, 4 subscribers", rivals::memory::<128>()));
        rows.push(Row::value("iceoryx2, 1.44 MB, as it comes, 4 subscribers", rivals::memory::<FRAME>()));
    }
    bench.add(Group::new("shared memory of one channel", "bytes", rows));
}

#[cfg(feature = "rivals")]
mod rivals {
    use iceoryx2::prelude::*;

    /// What a service with a publisher and four subscribers adds to the memory in use.
    pub(crate) fn memory<const N: usize>() -> f64 {
        let before = super::used();
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let name = format!("bench-{}-{N}", std::process::id());
        let builder = node.service_builder(&name.as_str().try_into().expect("a good name"));
        let service = builder.publish_subscribe::<[u8; N]>().open_or_create().expect("a service");
        let publisher = service.publisher_builder().create().expect("a publisher");
        let subscribers: Vec<_> =
            (0..4).map(|_| service.subscriber_builder().create().expect("a subscriber")).collect();
        // Memory is there once it was written to: each slot is sent once.
        for _ in 0..64 {
            let sample = publisher.loan_uninit().expect("a slot");
            let sample = sample.write_payload([1; N]);
            sample.send().expect("sent");
        }
        let found = super::used() - before;
        drop(subscribers);
        found
    }
}

/// The reader that sleeps: says how much time of the processor it took.
fn sleep(channel: &str) {
    let name: ChannelName = channel.parse().expect("a good name");
    let mut reader: Reader<Block<128>> = Channel::open(&name, Duration::from_secs(20)).expect("a place");
    let before = processor_time();
    assert_eq!(reader.wait(ASLEEP), Wait::TimedOut);
    let took = processor_time() - before;
    std::fs::write(format!("/dev/shm/{channel}-time"), took.to_string()).expect("a place for the figure");
    std::thread::sleep(Duration::from_secs(60));
}

/// Microseconds of this process's time on a processor.
fn processor_time() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn asleep(bench: &mut Bench) {
    let channel = name("asleep");
    let _writer: Writer<Block<128>> = Channel::create(&channel, Options::default()).expect("a channel");
    let processor = *processors().last().expect("one at least");
    let partner = Partner::start(channel.as_str(), processor).expect("a second process");
    std::thread::sleep(ASLEEP);
    let took = loop {
        let text = std::fs::read_to_string(format!("/dev/shm/{channel}-time")).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(microseconds) => break microseconds,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    drop(partner);
    let share = took / ASLEEP.as_micros() as f64 * 100.0;
    let rows = vec![Row::value("a reader that waits for two seconds in vain", share)];
    bench.add(Group::new("time of a processor", "% of one", rows));
    // Twenty looks, one in each slice of a wait.
    bench.aim("processor time of a reader asleep, in %", share, Limit::AtMost(0.1));
}

fn main() {
    #[cfg(feature = "rivals")]
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Fatal);
    if let Some(channel) = role() {
        return sleep(&channel);
    }
    pin(processors()[0]);
    let mut bench = Bench::new(
        "frames",
        "what do pictures of 1.44 MB cost: time to copy them in, memory, and the time of a reader that sleeps?",
        "The same bytes are copied with memcpy to as many buffers as the channel has slots. Memory is what the files in \
         shared memory have more of than before; iceoryx2 with the settings that it comes with. A reader's time is what \
         the kernel has counted for its process.",
        "Drawing or decoding in place, where there is nothing to copy: see latency, \"in place\".",
    );
    copies(&mut bench);
    memory(&mut bench);
    asleep(&mut bench);
    clean(&prefix());
    bench.save();
}
