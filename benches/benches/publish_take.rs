//! What does it cost to publish a value and to take it, on one thread, without contention?
#![allow(missing_docs)]

use core::hint::black_box;
use lkas_benches::{Bench, Block, Limit, Rival, clean, pin, prefix, processors, rounds, take_turns};
use lkas_core::{Channel, Reader, Writer};
use lkas_shm::{ChannelName, Options};
use std::sync::Mutex;
use std::time::Duration;

const FRAME: usize = 1_440_000;
const ROUNDS: usize = 100;

type Half<const N: usize> = Reader<'static, Block<N>>;

/// A static channel that lives as long as the program, and its halves.
fn split<const N: usize, const R: usize>() -> (Writer<'static, Block<N>>, [Half<N>; R]) {
    // Zeroed memory, so that nothing large is ever on the stack.
    let memory = Box::leak(Box::<Channel<Block<N>, R>>::new_uninit());
    memory.write(Channel::new()).split()
}

/// A channel in shared memory and its only reader.
fn shared<const N: usize>() -> (lkas_shm::Writer<Block<N>>, lkas_shm::Reader<Block<N>>) {
    let name: ChannelName = prefix().parse().expect("a good name");
    let options = Options::new().readers(1);
    let writer = lkas_shm::Channel::create(&name, options).expect("a channel");
    let reader = lkas_shm::Channel::open(&name, Duration::ZERO).expect("a place");
    // What is mapped stays.
    let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
    (writer, reader)
}

/// Publishing in place, into a slot that is left as it is, to readers that do not take.
fn idle<const N: usize, const R: usize>() -> Rival<'static> {
    let (mut writer, readers) = split::<N, R>();
    let name = format!("this channel, {R} idle reader{}", if R == 1 { "" } else { "s" });
    Rival::new(name, move |number| {
        black_box(writer.loan().publish(number));
        let _ = &readers;
    })
}

fn publish(bench: &mut Bench) {
    let mut rivals = Vec::new();
    #[cfg(feature = "rivals")]
    rivals.push(rivals::triple_buffer_idle());
    rivals.extend([idle::<128, 1>(), idle::<128, 2>(), idle::<128, 4>(), idle::<128, 8>()]);
    let (mut writer, reader) = shared::<128>();
    rivals.push(Rival::new("in shared memory, 1 idle reader", move |number| {
        writer.loan().publish_at(number);
        let _ = &reader;
    }));
    let (mut writer, reader) = shared::<128>();
    rivals.push(Rival::new("the same, and the clock is read", move |_| {
        writer.loan().publish();
        let _ = &reader;
    }));
    #[cfg(feature = "rivals")]
    rivals.extend([rivals::publisher(1), rivals::publisher(3), rivals::blackboard_idle()]);
    let group = take_turns("publish 128 bytes in place, filling left out", rounds(ROUNDS, 3), &mut rivals);
    let further = (group.p50("this channel, 8") - group.p50("this channel, 1")) / 7.0;
    let one = group.row("this channel, 1").ratio.unwrap_or(f64::NAN);
    bench.add(group);
    if cfg!(feature = "rivals") {
        bench.aim("publish to one reader, against triple_buffer", one, Limit::AtMost(1.5));
    }
    bench.aim("each further idle reader, in ns", further, Limit::AtMost(3.0));
}

fn sizes(bench: &mut Bench) {
    let mut rivals = [idle::<32, 1>(), idle::<128, 1>(), idle::<4096, 1>(), idle::<FRAME, 1>()];
    let mut group = take_turns("publish in place, by payload", rounds(ROUNDS, 3), &mut rivals);
    for (row, bytes) in group.rows.iter_mut().zip(["32 bytes (reference)", "128 bytes", "4 KiB", "1.44 MB"]) {
        row.name = bytes.into();
    }
    let largest = group.row("1.44").ratio.unwrap_or(f64::NAN);
    bench.add(group);
    bench.aim("publishing 1.44 MB in place, against 32 bytes", largest, Limit::AtMost(1.1));
}

/// Filling, publishing and taking, one after the other.
fn both<const N: usize, const R: usize>() -> Rival<'static> {
    let (mut writer, readers) = split::<N, R>();
    let mut readers = readers.into_iter();
    let mut reader = readers.next().expect("one at least");
    Rival::new(format!("this channel, 1 of {R} reader places in use"), move |number| {
        let mut loan = writer.loan();
        loan.0.fill(number as u8);
        black_box(loan.publish(number));
        black_box(reader.take().map(|sample| sample.0[0]));
    })
}

fn publish_and_take<const N: usize>(bench: &mut Bench, bytes: &str) {
    let mut all = Vec::new();
    #[cfg(feature = "rivals")]
    all.push(rivals::triple_buffer::<N>());
    all.extend([both::<N, 1>(), both::<N, 2>(), both::<N, 4>(), both::<N, 8>()]);
    let mutex = Mutex::new([0_u8; N]);
    all.push(Rival::new("a mutex", move |number| {
        if let Ok(mut value) = mutex.lock() {
            value.fill(number as u8);
        }
        black_box(mutex.lock().map(|value| value[0]).ok());
    }));
    #[cfg(feature = "rivals")]
    all.extend(rivals::others::<N>());
    bench.add(take_turns(&format!("fill, publish and take {bytes}"), rounds(ROUNDS, 3), &mut all));
}

fn nothing_new(bench: &mut Bench) {
    let (mut writer, [mut reader]) = split::<128, 1>();
    writer.loan().publish(1);
    black_box(reader.take().is_some());
    let mut all = Vec::new();
    #[cfg(feature = "rivals")]
    all.push(rivals::nothing_new());
    all.push(Rival::new("this channel", move |_| {
        black_box(reader.take().is_some());
        let _ = &writer;
    }));
    let group = take_turns("take where nothing is new", rounds(ROUNDS, 3), &mut all);
    let found = group.p50("this channel");
    bench.add(group);
    bench.aim("take where nothing is new, in ns", found, Limit::AtMost(1.0));
}

#[cfg(feature = "rivals")]
mod rivals {
    use super::{Rival, black_box};
    use iceoryx2::port::publisher::Publisher;
    use iceoryx2::port::subscriber::Subscriber;
    use iceoryx2::prelude::*;
    use std::sync::Arc;

    pub(crate) fn triple_buffer_idle() -> Rival<'static> {
        let (mut input, output) = triple_buffer::triple_buffer(&[0_u8; 128]);
        Rival::new("triple_buffer, 1 idle reader (reference)", move |_| {
            black_box(input.input_buffer_mut());
            black_box(input.publish());
            let _ = &output;
        })
    }

    pub(crate) fn triple_buffer<const N: usize>() -> Rival<'static> {
        let (mut input, mut output) = triple_buffer::triple_buffer(&[0_u8; N]);
        Rival::new("triple_buffer, 1 reader (reference)", move |number| {
            input.input_buffer_mut().fill(number as u8);
            input.publish();
            black_box(output.read()[0]);
        })
    }

    pub(crate) fn nothing_new() -> Rival<'static> {
        let (input, mut output) = triple_buffer::triple_buffer(&[0_u8; 128]);
        Rival::new("triple_buffer (reference)", move |_| {
            black_box(output.update());
            let _ = &input;
        })
    }

    type Ports<const N: usize> =
        (Node<ipc::Service>, Publisher<ipc::Service, [u8; N], ()>, Vec<Subscriber<ipc::Service, [u8; N], ()>>);

    fn ports<const N: usize>(subscribers: usize) -> Ports<N> {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let name = format!("bench-{}-{N}-{subscribers}", std::process::id());
        let builder = node.service_builder(&name.as_str().try_into().expect("a good name"));
        let builder = builder.publish_subscribe::<[u8; N]>().subscriber_max_buffer_size(1).history_size(0);
        let service = builder.enable_safe_overflow(true).open_or_create().expect("a service");
        let publisher = service.publisher_builder().create().expect("a publisher");
        let subscriber = |_| service.subscriber_builder().create().expect("a subscriber");
        (node, publisher, (0..subscribers).map(subscriber).collect())
    }

    pub(crate) fn publisher(subscribers: usize) -> Rival<'static> {
        let (node, publisher, subscribers) = ports::<128>(subscribers);
        Rival::new(format!("iceoryx2, publish-subscribe, {} idle", subscribers.len()), move |_| {
            let sample = publisher.loan_uninit().expect("a slot");
            // SAFETY: bytes of any value are bytes, and nobody reads these.
            #[allow(unsafe_code)]
            let sample = unsafe { sample.assume_init() };
            black_box(sample.send().expect("sent"));
            let _ = (&node, &subscribers);
        })
    }

    /// A blackboard with one entry and one reader of it, and what to do with them.
    fn blackboard<const N: usize>(name: &str, takes: bool) -> Rival<'static> {
        let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
        let service = format!("bench-{}-{N}-{takes}", std::process::id());
        let builder = node.service_builder(&service.as_str().try_into().expect("a good name"));
        let board = builder.blackboard_creator::<u64>().add::<[u8; N]>(0, [0; N]).create().expect("a blackboard");
        let writer = board.writer_builder().create().expect("a writer").entry::<[u8; N]>(&0).expect("an entry");
        let reader = board.reader_builder().create().expect("a reader").entry::<[u8; N]>(&0).expect("an entry");
        let mut writer = Some(writer);
        Rival::new(name, move |number| {
            let mut value = writer.take().expect("always put back").loan_uninit();
            if takes {
                // SAFETY: bytes of any value are bytes.
                #[allow(unsafe_code)]
                unsafe { &mut *value.value_mut().as_mut_ptr() }.fill(number as u8);
            }
            // SAFETY: as far as anybody looks, it is filled.
            #[allow(unsafe_code)]
            let updated = unsafe { value.assume_init_and_update() };
            writer = Some(updated);
            if takes {
                black_box(reader.get()[0]);
            }
            let _ = (&node, &board);
        })
    }

    pub(crate) fn blackboard_idle() -> Rival<'static> {
        blackboard::<128>("iceoryx2, blackboard, 1 idle", false)
    }

    fn mapped<const N: usize>() -> Rival<'static> {
        let path = format!("/dev/shm/bench-{}-mmap-sync-{N}", std::process::id());
        let open = || mmap_sync::synchronizer::Synchronizer::new(path.as_ref());
        let (mut writer, mut reader) = (open(), open());
        Rival::new("mmap-sync", move |number| {
            let grace = core::time::Duration::from_secs(1);
            writer.write_raw::<[u8; N]>(&[number as u8; N], grace).expect("written");
            // SAFETY: bytes of any value are bytes; nobody writes meanwhile.
            #[allow(unsafe_code)]
            let value = unsafe { reader.read::<[u8; N]>(false) };
            black_box(value.expect("a value")[0]);
        })
    }

    fn ring<const N: usize>() -> Rival<'static> {
        let path = format!("/dev/shm/bench-{}-ringfire-{N}", std::process::id());
        let mut writer = ringfire::blackboard::BlackboardProducer::<[u8; N]>::create(&path, 1).expect("a blackboard");
        let reader = ringfire::blackboard::BlackboardConsumer::<[u8; N]>::attach(&path).expect("the blackboard");
        Rival::new("ringfire, blackboard", move |number| {
            writer.write(0, &[number as u8; N]).expect("written");
            black_box(reader.read(0).expect("a value").map(|value| value[0]));
        })
    }

    pub(crate) fn others<const N: usize>() -> Vec<Rival<'static>> {
        let seqlock = seqlock::SeqLock::new([0_u8; N]);
        let swap = arc_swap::ArcSwap::from_pointee([0_u8; N]);
        let (node, publisher, subscribers) = ports::<N>(1);
        vec![
            Rival::new("a seqlock (seqlock)", move |number| {
                seqlock.lock_write().fill(number as u8);
                black_box(seqlock.read()[0]);
            }),
            Rival::new("arc-swap, allocates", move |number| {
                swap.store(Arc::new([number as u8; N]));
                black_box(swap.load()[0]);
            }),
            Rival::new("iceoryx2, publish-subscribe", move |number| {
                let mut sample = publisher.loan_uninit().expect("a slot");
                // SAFETY: bytes of any value are bytes.
                #[allow(unsafe_code)]
                unsafe { &mut *sample.payload_mut().as_mut_ptr() }.fill(number as u8);
                // SAFETY: it is filled.
                #[allow(unsafe_code)]
                unsafe { sample.assume_init() }.send().expect("sent");
                black_box(subscribers[0].receive().expect("a connection").map(|sample| sample.payload()[0]));
                let _ = &node;
            }),
            blackboard::<N>("iceoryx2, blackboard", true),
            mapped::<N>(),
            ring::<N>(),
        ]
    }
}

fn main() {
    #[cfg(feature = "rivals")]
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Fatal);
    pin(processors()[0]);
    let mut bench = Bench::new(
        "publish_take",
        "what does it cost to publish a value and to take it, on one thread, without contention?",
        "Each rival runs a hundred batches of a hundred operations, then the next one, round after round. The static \
         channel of lkas-core, but where it says \"in shared memory\". Rivals that cannot fill in place copy.",
        "The cost of moving cache lines between processors, which is most of a real publish: see latency and readers.",
    );
    publish(&mut bench);
    sizes(&mut bench);
    publish_and_take::<32>(&mut bench, "32 bytes");
    publish_and_take::<128>(&mut bench, "128 bytes");
    publish_and_take::<4096>(&mut bench, "4 KiB");
    nothing_new(&mut bench);
    clean(&prefix());
    bench.save();
}
