//! How long does it take to wake a reader that sleeps in another process?
#![allow(missing_docs)]

use core::sync::atomic::{AtomicU32, Ordering};
use lkas_benches::{Bench, Block, Duel, Group, Limit, Link, Match, Partner, Row, Shared, Side};
use lkas_benches::{clean, is_wanted, median, pin, prefix, processors, role, rounds, system_calls};
use lkas_shm::{Channel, ChannelName, Options, Reader, Wait, Writer, clock};
use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::futex;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
/// A timeout like that of this channel's waits.
const SLICE: futex::Timespec = futex::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Nobody waits as long as this.
const LONG: Duration = Duration::from_secs(60);

/// The limit: a word that says how often the other side was woken, and a futex on it.
struct Futex {
    shared: Shared,
    out: usize,
    last: u32,
    timeout: Option<futex::Timespec>,
}

impl Futex {
    fn new(name: &str, side: Side, timeout: Option<futex::Timespec>) -> Self {
        let shared = Shared::open(name, 0).expect("shared memory");
        Self { shared, out: usize::from(side == Side::Pong), last: 0, timeout }
    }

    fn word(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the lower half of an aligned word of eight bytes, which nobody uses as one.
        #[allow(unsafe_code)]
        unsafe {
            AtomicU32::from_ptr(self.shared.word(index).as_ptr().cast())
        }
    }
}

impl Link for Futex {
    fn send(&mut self, number: u64) {
        let word = self.word(self.out);
        word.store(number as u32, Ordering::Release);
        futex::wake(word, futex::Flags::empty(), 1).expect("a word to wake on");
    }

    fn receive(&mut self) -> Option<u64> {
        let before = self.last;
        let word = self.word(1 - self.out);
        let mut now = word.load(Ordering::Acquire);
        while now == before {
            // It was not asleep yet, or a signal came: look again.
            let _ = futex::wait(word, futex::Flags::empty(), before, self.timeout.as_ref());
            now = word.load(Ordering::Acquire);
        }
        self.last = now;
        Some(now.into())
    }
}

/// This project's channels, one for each direction.
struct Ours {
    out: Writer<Block<128>>,
    in_: Reader<Block<128>>,
}

impl Ours {
    fn new(name: &str, side: Side) -> Self {
        let (out, in_) = side.names(name);
        let name = |name: String| name.parse::<ChannelName>().expect("a good name");
        let out = Channel::create(&name(out), Options::new().readers(1)).expect("a channel");
        Self { out, in_: Channel::open(&name(in_), PATIENCE).expect("the other's channel") }
    }
}

impl Link for Ours {
    fn send(&mut self, number: u64) {
        let mut loan = self.out.loan();
        loan.0[..8].copy_from_slice(&number.to_le_bytes());
        loan.publish();
    }

    fn receive(&mut self) -> Option<u64> {
        while self.in_.wait(LONG) != Wait::Fresh {}
        let sample = self.in_.take().expect("it is fresh");
        sample.0.first_chunk().map(|number| u64::from_le_bytes(*number))
    }
}

/// A counter of the kernel's for each direction.
struct Events {
    out: OwnedFd,
    in_: OwnedFd,
}

impl Events {
    /// From the numbers of two counters that both processes have.
    fn new(numbers: [RawFd; 2], side: Side) -> Self {
        let [first, second] = numbers.map(|number| {
            // SAFETY: the counters stay open: neither process closes what the other was given by number.
            #[allow(unsafe_code)]
            let counter = unsafe { BorrowedFd::borrow_raw(number) };
            counter.try_clone_to_owned().expect("a counter")
        });
        if side == Side::Ping { Self { out: first, in_: second } } else { Self { out: second, in_: first } }
    }
}

impl Link for Events {
    fn send(&mut self, _number: u64) {
        rustix::io::write(&self.out, &1_u64.to_ne_bytes()).expect("a counter");
    }

    fn receive(&mut self) -> Option<u64> {
        rustix::io::read(&self.in_, &mut [0; 8]).expect("a counter");
        None
    }
}

/// A pair of ZeroMQ sockets.
struct Zmq(zmq::Socket);

impl Zmq {
    fn new(name: &str, side: Side) -> Self {
        let socket = zmq::Context::new().socket(zmq::PAIR).expect("a socket");
        let path = format!("ipc://{}", std::env::temp_dir().join(name).display());
        if side == Side::Ping { socket.bind(&path) } else { socket.connect(&path) }.expect("an address");
        Self(socket)
    }
}

impl Link for Zmq {
    fn send(&mut self, number: u64) {
        self.0.send(&number.to_le_bytes()[..], 0).expect("sent");
    }

    fn receive(&mut self) -> Option<u64> {
        let mut number = [0; 8];
        self.0.recv_into(&mut number, 0).expect("received");
        Some(u64::from_le_bytes(number))
    }
}

#[cfg(feature = "rivals")]
mod rivals {
    use iceoryx2::port::listener::Listener;
    use iceoryx2::port::notifier::Notifier;
    use iceoryx2::prelude::*;
    use lkas_benches::{Link, Side};

    /// iceoryx2's events.
    pub(crate) struct Event {
        out: Notifier<ipc::Service>,
        in_: Listener<ipc::Service>,
        _node: Node<ipc::Service>,
    }

    impl Event {
        pub(crate) fn new(name: &str, side: Side) -> Self {
            let node = NodeBuilder::new().create::<ipc::Service>().expect("a node");
            let (out, in_) = side.names(name);
            let service = |name: &str| {
                let builder = node.service_builder(&name.try_into().expect("a good name"));
                builder.event().open_or_create().expect("a service")
            };
            Self {
                out: service(&out).notifier_builder().create().expect("a notifier"),
                in_: service(&in_).listener_builder().create().expect("a listener"),
                _node: node,
            }
        }
    }

    impl Link for Event {
        fn send(&mut self, _number: u64) {
            self.out.notify().expect("sent");
        }

        fn receive(&mut self) -> Option<u64> {
            let mut count = 0;
            while count == 0 {
                self.in_.blocking_wait(|_| count += 1).expect("a wait");
            }
            None
        }
    }
}

const NAMES: [&str; 6] = [
    "a raw futex (reference)",
    "a raw futex with a timeout",
    "this channel",
    "eventfd",
    "ZeroMQ, ipc",
    "iceoryx2, event",
];

/// Everything that takes part, the same on both sides.
fn links(name: &str, counters: [RawFd; 2], side: Side) -> Vec<Box<dyn Link>> {
    let name = |rival: &str| format!("{name}-{rival}");
    let mut all: Vec<Box<dyn Link>> = vec![
        Box::new(Futex::new(&name("futex"), side, None)),
        Box::new(Futex::new(&name("timeout"), side, Some(SLICE))),
        Box::new(Ours::new(&name("ours"), side)),
        Box::new(Events::new(counters, side)),
        Box::new(Zmq::new(&name("zmq"), side)),
    ];
    #[cfg(feature = "rivals")]
    all.push(Box::new(rivals::Event::new(&name("event"), side)));
    all.truncate(NAMES.len());
    all
}

/// One way to ask: back and forth, or one way at a steady pace.
#[derive(Clone, Copy)]
enum Pace {
    PingPong,
    Every(Duration),
}

const PACES: [Pace; 3] =
    [Pace::PingPong, Pace::Every(Duration::from_millis(1)), Pace::Every(Duration::from_millis(20))];

impl Pace {
    fn name(self) -> String {
        match self {
            Self::PingPong => "back and forth".into(),
            Self::Every(period) => format!("every {period:?}"),
        }
    }

    /// Rounds, and samples of each link in a round.
    fn amount(self) -> (usize, u64) {
        match self {
            Self::PingPong => (rounds(100, 2), 100),
            Self::Every(period) if period.as_millis() == 1 => (rounds(30, 2), 20),
            Self::Every(_) => (rounds(10, 1), 10),
        }
    }
}

fn duel(links: Vec<Box<dyn Link>>) -> Duel {
    let (rounds, trips) = Pace::PingPong.amount();
    let matches = NAMES.iter().zip(links).map(|(name, link)| Match::new(name, trips, link)).collect();
    Duel::new(None, matches, rounds)
}

// Words of the shared memory by which the two sides of a paced run agree.
const SENT: usize = 0;
const FOUND: usize = 1;
const DONE: usize = 2;

/// Sends at a steady pace; the other side says how long it took.
fn paced_ping(period: Duration, shared: &Shared, mut links: Vec<Box<dyn Link>>) -> Vec<Row> {
    let (rounds, count) = Pace::Every(period).amount();
    let (mut samples, mut medians) = (vec![Vec::new(); links.len()], vec![Vec::new(); links.len()]);
    let mut number = 0;
    for round in 0..=rounds {
        for (index, link) in links.iter_mut().enumerate() {
            let mut found = Vec::new();
            for _ in 0..count {
                std::thread::sleep(period);
                number += 1;
                shared.word(SENT).store(clock::now(), Ordering::Release);
                link.send(number);
                while shared.word(DONE).load(Ordering::Acquire) != number {
                    std::thread::sleep(Duration::from_micros(200));
                }
                found.push(shared.word(FOUND).load(Ordering::Acquire) as f64);
            }
            if round > 0 {
                medians[index].push(median(found.clone()));
                samples[index].extend(found);
            }
        }
    }
    let row = |index: usize| Row::against(&medians[0], NAMES[index], &samples[index], &medians[index]);
    (0..links.len()).map(row).collect()
}

fn paced_pong(period: Duration, shared: &Shared, mut links: Vec<Box<dyn Link>>) {
    let (rounds, count) = Pace::Every(period).amount();
    let mut number = 0;
    for _ in 0..=rounds {
        for link in &mut links {
            for _ in 0..count {
                number += 1;
                link.receive();
                let took = clock::now() - shared.word(SENT).load(Ordering::Acquire);
                shared.word(FOUND).store(took, Ordering::Release);
                shared.word(DONE).store(number, Ordering::Release);
            }
        }
    }
}

/// The other process: what it is to do stands in its role.
fn pong(role: &str) {
    let mut words = role.split(' ');
    let mut number = || words.next().and_then(|word| word.parse::<i32>().ok()).expect("a number");
    let (pace, counters) = (PACES[number() as usize], [number(), number()]);
    let prefix = words.next().expect("a prefix");
    let shared = Shared::open(&format!("{prefix}-paced"), 0).expect("shared memory");
    let links = links(prefix, counters, Side::Pong);
    match pace {
        Pace::PingPong => duel(links).pong(),
        Pace::Every(period) => paced_pong(period, &shared, links),
    }
    // The one that measures ends this process; to end by itself would look like a failure.
    std::thread::sleep(LONG);
}

/// What a writer and a reader that does not sleep do all day.
fn awake() {
    let name: ChannelName = prefix().parse().expect("a good name");
    let mut writer: Writer<Block<128>> = Channel::create(&name, Options::default()).expect("a channel");
    let mut reader: Reader<Block<128>> = Channel::open(&name, PATIENCE).expect("its place");
    let _ = lkas_shm::unlink(&name);
    let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
    let _ = rustix::process::getppid();
    for _ in 0..1000 {
        writer.loan().publish();
        assert_eq!(reader.wait(LONG), Wait::Fresh);
        assert!(reader.take().is_some());
    }
    let _ = rustix::process::getppid();
}

fn main() {
    #[cfg(feature = "rivals")]
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Fatal);
    match role().as_deref() {
        Some("awake") => return awake(),
        Some(role) => return pong(role),
        None => (),
    }
    let processors = processors();
    pin(processors[0]);
    let mut bench = Bench::new(
        "wake",
        "how long does it take to wake a reader that sleeps in another process?",
        "Two processes wake each other in turn (half of a round trip), or one wakes the other at a steady pace (from \
         before the send until the other has the processor, by the system's clock). The raw futex carries a number, this \
         channel 128 bytes of which a number is written, eventfd and iceoryx2's event nothing.",
        "What an idle processor's sleep costs on other machines: here a virtual machine has to be woken.",
    );
    for other in processors.iter().take(2).rev() {
        let place = if *other == processors[0] { "one processor" } else { "two processors" };
        for (index, pace) in PACES.iter().enumerate() {
            let title = format!("{}, {place}", pace.name());
            if !is_wanted(&title) {
                continue;
            }
            let prefix = prefix();
            let shared = Shared::open(&format!("{prefix}-paced"), 0).expect("shared memory");
            // Inherited by the other process: not closed when it starts.
            let counters = [(); 2].map(|()| eventfd(0, EventfdFlags::empty()).expect("a counter"));
            let numbers = [counters[0].as_raw_fd(), counters[1].as_raw_fd()];
            let role = format!("{index} {} {} {prefix}", numbers[0], numbers[1]);
            let partner = Partner::start(&role, *other).expect("a second process");
            let links = links(&prefix, numbers, Side::Ping);
            let rows = match pace {
                Pace::PingPong => duel(links).ping(),
                Pace::Every(period) => paced_ping(*period, &shared, links),
            };
            drop(partner);
            clean(&prefix);
            let group = Group::new(&title, "ns", rows);
            let ratio = group.row("this channel").ratio.unwrap_or(f64::NAN);
            bench.add(group);
            bench.aim(&format!("{title}, against a raw futex"), ratio, Limit::AtMost(1.15));
        }
    }
    let calls = system_calls("awake").unwrap_or_else(|why| panic!("{why}"));
    let row = Row::value("1000 times publish, wait and take, nobody asleep", calls.len() as f64);
    bench.add(Group::new("system calls, by strace", "calls", vec![row]));
    bench.aim("system calls of 1000 publishes while nobody sleeps", calls.len() as f64, Limit::Exactly(0.0));
    bench.save();
}
