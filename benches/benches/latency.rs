//! How long does a value take from one process to another on another processor, both polling?
#![allow(missing_docs)]

use core::hint::spin_loop;
use core::sync::atomic::Ordering;
use lkas_benches::{Bench, Block, Duel, Group, Limit, Link, Match, Partner, Shared, Side};
use lkas_benches::{clean, is_wanted, one_processor, pin, prefix, processors, role, rounds};
use lkas_shm::{Channel, ChannelName, Options, Reader, Writer};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const FRAME: usize = 1_440_000;

/// How much of a payload its writer and its reader touch.
#[derive(Clone, Copy, PartialEq)]
enum Touch {
    /// The number in its first bytes.
    Number,
    /// All of it: copied in, and copied out.
    All,
}

/// What both sides do with a payload of `N` bytes, whatever carries it.
struct Cargo<const N: usize> {
    touch: Touch,
    own: Box<[u8; N]>,
}

impl<const N: usize> Cargo<N> {
    fn new(touch: Touch) -> Self {
        Self { touch, own: vec![0; N].into_boxed_slice().try_into().expect("of that size") }
    }

    #[inline]
    fn fill(&mut self, place: &mut [u8; N], number: u64) {
        match self.touch {
            Touch::Number => place[..8].copy_from_slice(&number.to_le_bytes()),
            Touch::All => {
                self.own[..8].copy_from_slice(&number.to_le_bytes());
                place.copy_from_slice(&*self.own);
            }
        }
    }

    #[inline]
    fn look(&mut self, place: &[u8; N]) -> u64 {
        if self.touch == Touch::All {
            self.own.copy_from_slice(place);
            core::hint::black_box(&mut self.own);
        }
        u64::from_le_bytes(*place.first_chunk().expect("eight bytes or more"))
    }
}

/// The limit for a signal: two words, each written by one side.
struct Word {
    shared: Shared,
    out: usize,
    last: u64,
}

impl Word {
    fn new(name: &str, side: Side) -> Self {
        Self { shared: Shared::open(name, 0).expect("shared memory"), out: usize::from(side == Side::Pong), last: 0 }
    }
}

impl Link for Word {
    #[inline]
    fn send(&mut self, number: u64) {
        self.shared.word(self.out).store(number, Ordering::Release);
    }

    #[inline]
    fn receive(&mut self) -> Option<u64> {
        let word = self.shared.word(1 - self.out);
        let before = self.last;
        loop {
            self.last = word.load(Ordering::Acquire);
            if self.last != before {
                return Some(self.last);
            }
        }
    }
}

/// The limit for a signal whose reader says that it took it, as any writer has to know that never waits and never overwrites
/// what is looked at: two exchanges.
struct Taken(Word);

/// A number that was sent and not taken.
const FRESH: u64 = 1 << 63;

impl Link for Taken {
    #[inline]
    fn send(&mut self, number: u64) {
        self.0.shared.word(self.0.out).swap(number | FRESH, Ordering::AcqRel);
    }

    #[inline]
    fn receive(&mut self) -> Option<u64> {
        let word = self.0.shared.word(1 - self.0.out);
        while word.load(Ordering::Relaxed) & FRESH == 0 {}
        Some(word.fetch_sub(FRESH, Ordering::AcqRel) - FRESH)
    }
}

/// The limit for data: bytes in one of some slots, and a word that says that they are there. No reader but this one, no
/// protection from either side being late: it works because the two take turns.
struct Flag<const N: usize, const SLOTS: usize, W> {
    word: W,
    out: [Shared; SLOTS],
    in_: [Shared; SLOTS],
    cargo: Cargo<N>,
}

impl<const N: usize, const SLOTS: usize, W> Flag<N, SLOTS, W> {
    fn new(name: &str, side: Side, word: W) -> Self {
        let (out, in_) = side.names(name);
        let open = |name: String| {
            core::array::from_fn(|slot| Shared::open(&format!("{name}-{slot}"), N).expect("shared memory"))
        };
        Self { word, out: open(out), in_: open(in_), cargo: Cargo::new(Touch::All) }
    }
}

impl<const N: usize, const SLOTS: usize, W: Link> Link for Flag<N, SLOTS, W> {
    #[inline]
    fn send(&mut self, number: u64) {
        self.cargo.own[..8].copy_from_slice(&number.to_le_bytes());
        self.out[number as usize % SLOTS].write(&*self.cargo.own);
        self.word.send(number);
    }

    #[inline]
    fn receive(&mut self) -> Option<u64> {
        let number = self.word.receive()?;
        self.in_[number as usize % SLOTS].read(&mut *self.cargo.own);
        core::hint::black_box(&mut self.cargo.own);
        self.cargo.own.first_chunk().map(|number| u64::from_le_bytes(*number))
    }
}

/// This project's channels, one for each direction.
struct Ours<const N: usize> {
    out: Writer<Block<N>>,
    in_: Reader<Block<N>>,
    cargo: Cargo<N>,
}

impl<const N: usize> Ours<N> {
    fn new(name: &str, side: Side, touch: Touch) -> Self {
        let (out, in_) = side.names(name);
        let name = |name: String| name.parse::<ChannelName>().expect("a good name");
        let out = Channel::create(&name(out), Options::new().readers(1));
        let in_ = Channel::open(&name(in_), PATIENCE);
        Self { out: out.expect("a channel"), in_: in_.expect("the other's channel"), cargo: Cargo::new(touch) }
    }
}

impl<const N: usize> Link for Ours<N> {
    #[inline]
    fn send(&mut self, number: u64) {
        let mut loan = self.out.loan();
        self.cargo.fill(&mut loan.0, number);
        // The time of day is not part of the question: no rival stamps its values.
        loan.publish_at(number);
    }

    #[inline]
    fn receive(&mut self) -> Option<u64> {
        loop {
            if let Some(sample) = self.in_.take() {
                return Some(self.cargo.look(&sample.0));
            }
        }
    }
}

/// A stream between two Unix sockets, polled.
struct Socket<const N: usize> {
    stream: UnixStream,
    cargo: Cargo<N>,
}

impl<const N: usize> Socket<N> {
    fn new(name: &str, side: Side) -> Self {
        let path = std::env::temp_dir().join(name);
        let stream = if side == Side::Ping {
            let listener = UnixListener::bind(&path).expect("a socket");
            let stream = listener.accept().expect("the other").0;
            let _ = std::fs::remove_file(&path);
            stream
        } else {
            loop {
                if let Ok(stream) = UnixStream::connect(&path) {
                    break stream;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        stream.set_nonblocking(true).expect("a socket that polls");
        Self { stream, cargo: Cargo::new(Touch::All) }
    }
}

/// Goes on with `step` until it has moved `size` bytes.
fn all(size: usize, mut step: impl FnMut(usize) -> std::io::Result<usize>) {
    let mut done = 0;
    while done < size {
        match step(done) {
            Ok(0) => panic!("the other side has closed"),
            Ok(count) => done += count,
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => spin_loop(),
            Err(why) => panic!("{why}"),
        }
    }
}

impl<const N: usize> Link for Socket<N> {
    fn send(&mut self, number: u64) {
        self.cargo.own[..8].copy_from_slice(&number.to_le_bytes());
        all(N, |done| self.stream.write(&self.cargo.own[done..]));
    }

    fn receive(&mut self) -> Option<u64> {
        all(N, |done| self.stream.read(&mut self.cargo.own[done..]));
        self.cargo.own.first_chunk().map(|number| u64::from_le_bytes(*number))
    }
}

/// A pair of ZeroMQ sockets. They sleep, because their own threads need the two processors.
struct Zmq<const N: usize> {
    socket: zmq::Socket,
    cargo: Cargo<N>,
}

impl<const N: usize> Zmq<N> {
    fn new(name: &str, side: Side, transport: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::PAIR).expect("a socket");
        let shared = Shared::open(name, 0).expect("shared memory");
        let path = format!("ipc://{}", std::env::temp_dir().join(name).display());
        if side == Side::Ping {
            socket.bind(if transport == "tcp" { "tcp://127.0.0.1:*" } else { &path }).expect("an address");
            let address = socket.get_last_endpoint().expect("an address").expect("in letters");
            let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(1);
            shared.word(0).store(port, Ordering::Release);
        } else {
            let port = loop {
                match shared.word(0).load(Ordering::Acquire) {
                    0 => std::thread::sleep(Duration::from_millis(1)),
                    port => break port,
                }
            };
            let address = if transport == "tcp" { format!("tcp://127.0.0.1:{port}") } else { path };
            socket.connect(&address).expect("the other's address");
        }
        Self { socket, cargo: Cargo::new(Touch::All) }
    }
}

impl<const N: usize> Link for Zmq<N> {
    fn send(&mut self, number: u64) {
        self.cargo.own[..8].copy_from_slice(&number.to_le_bytes());
        self.socket.send(&self.cargo.own[..], 0).expect("sent");
    }

    fn receive(&mut self) -> Option<u64> {
        let count = self.socket.recv_into(&mut self.cargo.own[..], 0).expect("received");
        assert_eq!(count, N);
        self.cargo.own.first_chunk().map(|number| u64::from_le_bytes(*number))
    }
}

#[cfg(feature = "rivals")]
mod rivals {
    use super::{Cargo, Touch};
    use iceoryx2::port::publisher::Publisher;
    use iceoryx2::port::reader::EntryHandle;
    use iceoryx2::port::subscriber::Subscriber;
    use iceoryx2::port::writer::EntryHandleMut;
    use iceoryx2::prelude::*;
    use lkas_benches::{Link, Side};
    use mmap_sync::synchronizer::Synchronizer;
    use ringfire::blackboard::{BlackboardConsumer, BlackboardProducer};

    /// How long mmap-sync's writer waits for readers.
    const GRACE: core::time::Duration = core::time::Duration::from_secs(1);

    /// iceoryx2's publish-subscribe: the newest value, in place.
    pub(crate) struct Subscription<const N: usize> {
        out: Publisher<ipc::Service, [u8; N], ()>,
        in_: Subscriber<ipc::Service, [u8; N], ()>,
        cargo: Cargo<N>,
        _node: Node<ipc::Service>,
    }

    impl<const N: usize> Subscription<N> {
        pub(crate) fn new(name: &str, side: Side, touch: Touch) -> Self {
            let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
            let (out, in_) = side.names(name);
            let service = |name: &str| {
                let builder = node.service_builder(&name.try_into().expect("a good name"));
                let builder = builder.publish_subscribe::<[u8; N]>().max_publishers(1).max_subscribers(1);
                let builder = builder.history_size(0).subscriber_max_buffer_size(1).enable_safe_overflow(true);
                builder.open_or_create().expect("a service")
            };
            Self {
                out: service(&out).publisher_builder().create().expect("a publisher"),
                in_: service(&in_).subscriber_builder().create().expect("a subscriber"),
                cargo: Cargo::new(touch),
                _node: node,
            }
        }
    }

    impl<const N: usize> Link for Subscription<N> {
        #[inline]
        fn send(&mut self, number: u64) {
            let mut sample = self.out.loan_uninit().expect("a slot");
            // SAFETY: bytes of any value are bytes.
            #[allow(unsafe_code)]
            let place = unsafe { &mut *sample.payload_mut().as_mut_ptr() };
            self.cargo.fill(place, number);
            // SAFETY: as far as anybody looks, it is filled.
            #[allow(unsafe_code)]
            let sample = unsafe { sample.assume_init() };
            sample.send().expect("sent");
        }

        #[inline]
        fn receive(&mut self) -> Option<u64> {
            loop {
                if let Some(sample) = self.in_.receive().expect("a connection") {
                    return Some(self.cargo.look(sample.payload()));
                }
            }
        }
    }

    /// iceoryx2's blackboard: a value that is copied in and out.
    pub(crate) struct Blackboard<const N: usize> {
        out: Option<EntryHandleMut<ipc::Service, u64, [u8; N]>>,
        in_: EntryHandle<ipc::Service, u64, [u8; N]>,
        last: u64,
        cargo: Cargo<N>,
        _node: Node<ipc::Service>,
    }

    impl<const N: usize> Blackboard<N> {
        pub(crate) fn new(name: &str, side: Side) -> Self {
            let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
            let (out, in_) = side.names(name);
            let builder = |name: &str| node.service_builder(&name.try_into().expect("a good name"));
            let creator = builder(&out).blackboard_creator::<u64>().add::<[u8; N]>(0, [0; N]);
            let out = creator.create().expect("a blackboard");
            let in_ = loop {
                if let Ok(board) = builder(&in_).blackboard_opener::<u64>().open() {
                    break board;
                }
                std::thread::sleep(core::time::Duration::from_millis(1));
            };
            let out = out.writer_builder().create().expect("a writer").entry::<[u8; N]>(&0).expect("an entry");
            let in_ = in_.reader_builder().create().expect("a reader").entry::<[u8; N]>(&0).expect("an entry");
            Self { out: Some(out), in_, last: 0, cargo: Cargo::new(Touch::All), _node: node }
        }
    }

    impl<const N: usize> Link for Blackboard<N> {
        #[inline]
        fn send(&mut self, number: u64) {
            let mut value = self.out.take().expect("always put back").loan_uninit();
            // SAFETY: bytes of any value are bytes.
            #[allow(unsafe_code)]
            let place = unsafe { &mut *value.value_mut().as_mut_ptr() };
            self.cargo.fill(place, number);
            // SAFETY: it is filled.
            #[allow(unsafe_code)]
            let value = unsafe { value.assume_init_and_update() };
            self.out = Some(value);
        }

        #[inline]
        fn receive(&mut self) -> Option<u64> {
            loop {
                let value = self.in_.get();
                let number = self.cargo.look(&value);
                if number != self.last {
                    self.last = number;
                    return Some(number);
                }
            }
        }
    }

    /// mmap-sync: two files in turn, readers counted; as raw bytes, which its serializer would copy once more.
    pub(crate) struct Mapped<const N: usize> {
        out: Synchronizer,
        in_: Synchronizer,
        last: u64,
        cargo: Cargo<N>,
    }

    impl<const N: usize> Mapped<N> {
        pub(crate) fn new(name: &str, side: Side) -> Self {
            let (out, in_) = side.names(name);
            let open = |name: String| Synchronizer::new(format!("/dev/shm/{name}").as_ref());
            let mut out = open(out);
            out.write_raw::<[u8; N]>(&[0; N], GRACE).expect("written");
            Self { out, in_: open(in_), last: 0, cargo: Cargo::new(Touch::All) }
        }
    }

    impl<const N: usize> Link for Mapped<N> {
        #[inline]
        fn send(&mut self, number: u64) {
            self.cargo.own[..8].copy_from_slice(&number.to_le_bytes());
            self.out.write_raw::<[u8; N]>(&*self.cargo.own, GRACE).expect("written");
        }

        #[inline]
        fn receive(&mut self) -> Option<u64> {
            loop {
                // SAFETY: bytes of any value are bytes; it is looked at for less than the grace.
                #[allow(unsafe_code)]
                let value = unsafe { self.in_.read::<[u8; N]>(false) };
                // The other may not have made its files yet.
                let Ok(value) = value else { continue };
                let number = self.cargo.look(&value);
                if number != self.last {
                    self.last = number;
                    return Some(number);
                }
            }
        }
    }

    /// ringfire's blackboard: a sequence lock, copied in and out.
    pub(crate) struct Ring<const N: usize> {
        out: BlackboardProducer<[u8; N]>,
        in_: BlackboardConsumer<[u8; N]>,
        last: u64,
        cargo: Cargo<N>,
    }

    impl<const N: usize> Ring<N> {
        pub(crate) fn new(name: &str, side: Side) -> Self {
            let (out, in_) = side.names(name);
            let path = |name: &str| format!("/dev/shm/{name}");
            let out = BlackboardProducer::create(path(&out), 1).expect("a blackboard");
            let in_ = loop {
                match BlackboardConsumer::attach(path(&in_)) {
                    Ok(board) => break board,
                    Err(_) => std::thread::sleep(core::time::Duration::from_millis(1)),
                }
            };
            Self { out, in_, last: 0, cargo: Cargo::new(Touch::All) }
        }
    }

    impl<const N: usize> Link for Ring<N> {
        #[inline]
        fn send(&mut self, number: u64) {
            self.cargo.own[..8].copy_from_slice(&number.to_le_bytes());
            self.out.write(0, &self.cargo.own).expect("written");
        }

        #[inline]
        fn receive(&mut self) -> Option<u64> {
            loop {
                if let Some(value) = self.in_.read(0).expect("a writer that goes on") {
                    let number = self.cargo.look(&value);
                    if number != self.last {
                        self.last = number;
                        return Some(number);
                    }
                }
            }
        }
    }
}

const ROUNDS: usize = 150;

const GROUPS: [&str; 4] = ["128 bytes", "4 KiB", "1.44 MB in place", "1.44 MB copied"];

/// Everything that takes part in a group, the same on both sides.
fn matches(group: &str, name: &str, side: Side) -> Vec<Match> {
    match group {
        "128 bytes" => small::<128>(name, side),
        "4 KiB" => small::<4096>(name, side),
        "1.44 MB in place" => in_place(name, side),
        "1.44 MB copied" => copied(name, side),
        other => panic!("there is no group {other}"),
    }
}

fn flag<const N: usize>(name: &str, side: Side) -> Flag<N, 1, Word> {
    Flag::new(name, side, Word::new(name, side))
}

fn slots<const N: usize, const SLOTS: usize>(name: &str, side: Side) -> Flag<N, SLOTS, Word> {
    Flag::new(name, side, Word::new(name, side))
}

fn taken<const N: usize>(name: &str, side: Side) -> Flag<N, 3, Taken> {
    Flag::new(name, side, Taken(Word::new(name, side)))
}

fn small<const N: usize>(name: &str, side: Side) -> Vec<Match> {
    let name = |rival: &str| format!("{name}-{rival}");
    let mut all = vec![
        Match::new("a bare flag and as many bytes (reference)", 1000, flag::<N>(&name("flag"), side)),
        Match::new("the same, in one of three slots, and taken", 1000, taken::<N>(&name("taken"), side)),
        Match::new("a bare word", 1000, Word::new(&name("word"), side)),
        Match::new("this channel", 1000, Ours::<N>::new(&name("ours"), side, Touch::All)),
    ];
    #[cfg(feature = "rivals")]
    {
        let link = rivals::Subscription::<N>::new(&name("subscription"), side, Touch::All);
        all.push(Match::new("iceoryx2, publish-subscribe", 500, link));
        let link = rivals::Blackboard::<N>::new(&name("blackboard"), side);
        all.push(Match::new("iceoryx2, blackboard", 500, link));
        all.push(Match::new("mmap-sync", 200, rivals::Mapped::<N>::new(&name("mmap-sync"), side)));
        all.push(Match::new("ringfire, blackboard", 500, rivals::Ring::<N>::new(&name("ringfire"), side)));
    }
    all.push(Match::new("Unix socket", 100, Socket::<N>::new(&name("unix"), side)));
    all.push(Match::new("ZeroMQ, ipc", 20, Zmq::<N>::new(&name("ipc"), side, "ipc")));
    all.push(Match::new("ZeroMQ, tcp", 20, Zmq::<N>::new(&name("tcp"), side, "tcp")));
    all
}

fn in_place(name: &str, side: Side) -> Vec<Match> {
    let name = |rival: &str| format!("{name}-{rival}");
    let touch = Touch::Number;
    #[cfg_attr(not(feature = "rivals"), expect(unused_mut, reason = "only a rival is added"))]
    let mut all = vec![
        Match::new("this channel, 128 bytes (reference)", 1000, Ours::<128>::new(&name("less"), side, touch)),
        Match::new("this channel", 1000, Ours::<FRAME>::new(&name("ours"), side, touch)),
    ];
    #[cfg(feature = "rivals")]
    {
        let link = rivals::Subscription::<FRAME>::new(&name("subscription"), side, touch);
        all.push(Match::new("iceoryx2, publish-subscribe", 500, link));
    }
    all
}

fn copied(name: &str, side: Side) -> Vec<Match> {
    let name = |rival: &str| format!("{name}-{rival}");
    let touch = Touch::All;
    let mut all = vec![
        Match::new("a bare flag and as many bytes (reference)", 5, flag::<FRAME>(&name("flag"), side)),
        Match::new("the same, in two slots in turn", 5, slots::<FRAME, 2>(&name("two"), side)),
        Match::new("the same, in three slots in turn", 5, slots::<FRAME, 3>(&name("three"), side)),
        Match::new("this channel", 5, Ours::<FRAME>::new(&name("ours"), side, touch)),
    ];
    #[cfg(feature = "rivals")]
    {
        let link = rivals::Subscription::<FRAME>::new(&name("subscription"), side, touch);
        all.push(Match::new("iceoryx2, publish-subscribe", 5, link));
    }
    all.push(Match::new("Unix socket", 3, Socket::<FRAME>::new(&name("unix"), side)));
    all.push(Match::new("ZeroMQ, ipc", 3, Zmq::<FRAME>::new(&name("ipc"), side, "ipc")));
    all.push(Match::new("ZeroMQ, tcp", 3, Zmq::<FRAME>::new(&name("tcp"), side, "tcp")));
    all
}

fn duel(group: usize, prefix: &str, side: Side) -> Duel {
    let name = format!("{prefix}-{group}");
    let gauge = Match::new("gauge", 1000, Word::new(&format!("{name}-gauge"), side));
    Duel::new(Some(gauge), matches(GROUPS[group], &name, side), rounds(ROUNDS, 3))
}

fn main() {
    #[cfg(feature = "rivals")]
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Fatal);
    if let Some(role) = role() {
        let (group, prefix) = role.split_once(' ').expect("a group and a prefix");
        return duel(group.parse().expect("a number"), prefix, Side::Pong).pong();
    }
    if one_processor("latency") {
        return;
    }
    let processors = processors();
    pin(processors[0]);
    let mut bench = Bench::new(
        "latency",
        "how long does a value take to another process on another processor, both polling?",
        "Two processes, each on a processor of its own, send a number back and forth; the time is half of a round trip. \
         All bytes of a payload are copied in and out, but where it says \"in place\". ZeroMQ sleeps, as its own threads \
         need the processors; all others poll. A bare word is sent before each measurement: rounds in which it takes \
         more than twice its best count as far apart.",
        "The time to wake a sleeper (see wake), and more than one reader (see readers).",
    );
    for (group, title) in GROUPS.iter().enumerate() {
        if !is_wanted(title) {
            continue;
        }
        let prefix = prefix();
        let partner = Partner::start(&format!("{group} {prefix}"), processors[1]).expect("a second process");
        let rows = duel(group, &prefix, Side::Ping).ping();
        drop(partner);
        clean(&prefix);
        bench.add(Group::new(&format!("{title}, one way"), "ns", rows));
    }
    if bench.groups.len() == GROUPS.len() {
        aims(&mut bench);
        bench.save();
    }
}

fn aims(bench: &mut Bench) {
    let ratio = |group: usize, name: &str| bench.groups[group].row(name).ratio.unwrap_or(f64::NAN);
    let ours = ratio(0, "this channel");
    let mut aims = vec![("128 bytes against a bare flag with as many bytes", ours, 1.2)];
    #[cfg(feature = "rivals")]
    {
        aims.push(("128 bytes against iceoryx2's publish-subscribe", ours / ratio(0, "iceoryx2, publish"), 0.25));
        aims.push(("128 bytes against iceoryx2's blackboard", ours / ratio(0, "iceoryx2, blackboard"), 1.0));
    }
    let large = bench.groups[2].rows[1].ratio.unwrap_or(f64::NAN);
    aims.push(("1.44 MB in place against 128 bytes", large, 1.1));
    for (what, found, limit) in aims {
        bench.aim(what, found, Limit::AtMost(limit));
    }
}
