//! What happens to the one side when the other is slow, stopped or dead?
#![allow(missing_docs)]

use core::sync::atomic::Ordering;
use lkas_benches::{Bench, Block, Figures, Group, Limit, Partner, Row, Shared};
use lkas_benches::{clean, one_processor, pin, prefix, processors, role, rounds};
use lkas_shm::{Channel, ChannelName, Options, Reader, Writer};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};

/// Bytes of a value: enough that a writer is nearly always in the middle of one.
const SIZE: usize = 65_536;
type Value = [u8; SIZE];

/// The longest that is waited for something that may never come.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a look at the newest value found.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    /// A value all of whose bytes belong together.
    Whole(u8),
    /// One whose bytes do not.
    Torn,
    /// Nothing that was not seen before.
    Nothing,
    /// An error, which this channel does not have.
    #[cfg_attr(not(feature = "rivals"), expect(dead_code, reason = "only rivals fail"))]
    Failed,
}

fn seen(value: &Value) -> Seen {
    let first = value[0];
    if value.iter().all(|byte| *byte == first) { Seen::Whole(first) } else { Seen::Torn }
}

trait Publish {
    fn publish(&mut self, number: u8);
}

trait Look {
    /// Looks at the newest value.
    fn look(&mut self) -> Seen;
    /// Looks at the newest value, at it again after `meanwhile`, and says whether it was the same; `None` where a reader has
    /// a copy.
    fn hold(&mut self, meanwhile: &mut dyn FnMut()) -> Option<bool>;
}

/// Who takes part: how both sides are opened under a name. `None` where that is refused.
struct Contender {
    name: &'static str,
    writer: fn(&str) -> Option<Box<dyn Publish>>,
    reader: fn(&str) -> Option<Box<dyn Look>>,
}

fn contenders() -> Vec<Contender> {
    vec![
        Contender { name: "this channel", writer: ours::writer, reader: ours::reader },
        #[cfg(feature = "rivals")]
        Contender { name: "iceoryx2, publish-subscribe", writer: rivals::publisher, reader: rivals::subscriber },
        #[cfg(feature = "rivals")]
        Contender { name: "mmap-sync", writer: rivals::mapped, reader: rivals::mapped_reader },
        #[cfg(feature = "rivals")]
        Contender { name: "ringfire, blackboard", writer: rivals::ring, reader: rivals::ring_reader },
    ]
}

mod ours {
    use super::{Block, Channel, ChannelName, Duration, Look, Options, Publish, Reader, SIZE, Seen, Writer, seen};

    fn name(text: &str) -> ChannelName {
        text.parse().expect("a good name")
    }

    struct Out(Writer<Block<SIZE>>);
    struct In(Reader<Block<SIZE>>);

    pub(crate) fn writer(text: &str) -> Option<Box<dyn Publish>> {
        Some(Box::new(Out(Channel::create(&name(text), Options::default()).ok()?)))
    }

    pub(crate) fn reader(text: &str) -> Option<Box<dyn Look>> {
        Some(Box::new(In(Channel::open(&name(text), Duration::ZERO).ok()?)))
    }

    impl Publish for Out {
        fn publish(&mut self, number: u8) {
            let mut loan = self.0.loan();
            loan.0.fill(number);
            loan.publish();
        }
    }

    impl Look for In {
        fn look(&mut self) -> Seen {
            self.0.take().map_or(Seen::Nothing, |sample| seen(&sample.0))
        }

        fn hold(&mut self, meanwhile: &mut dyn FnMut()) -> Option<bool> {
            let sample = self.0.latest()?;
            let before = seen(&sample.0);
            meanwhile();
            Some(seen(&sample.0) == before)
        }
    }
}

#[cfg(feature = "rivals")]
mod rivals {
    use super::{Duration, Look, Publish, SIZE, Seen, Value, seen};
    use iceoryx2::port::{publisher::Publisher, subscriber::Subscriber};
    use iceoryx2::prelude::*;
    use mmap_sync::synchronizer::Synchronizer;
    use ringfire::blackboard::{BlackboardConsumer, BlackboardProducer};

    type Service = iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, Value, ()>;

    struct Out(Publisher<ipc::Service, Value, ()>, #[expect(dead_code, reason = "lives as long")] Node<ipc::Service>);
    struct In(Subscriber<ipc::Service, Value, ()>, #[expect(dead_code, reason = "lives as long")] Node<ipc::Service>);

    fn service(name: &str) -> Option<(Node<ipc::Service>, Service)> {
        let node = NodeBuilder::new().create::<ipc::Service>().ok()?;
        let builder = node.service_builder(&name.try_into().ok()?).publish_subscribe::<Value>();
        let builder = builder.history_size(1).subscriber_max_buffer_size(1).enable_safe_overflow(true);
        let service = builder.open_or_create().ok()?;
        Some((node, service))
    }

    pub(crate) fn publisher(name: &str) -> Option<Box<dyn Publish>> {
        let (node, service) = service(name)?;
        Some(Box::new(Out(service.publisher_builder().create().ok()?, node)))
    }

    pub(crate) fn subscriber(name: &str) -> Option<Box<dyn Look>> {
        let (node, service) = service(name)?;
        Some(Box::new(In(service.subscriber_builder().create().ok()?, node)))
    }

    impl Publish for Out {
        fn publish(&mut self, number: u8) {
            let sample = self.0.loan_uninit().expect("a slot");
            sample.write_payload([number; SIZE]).send().expect("sent");
        }
    }

    impl Look for In {
        fn look(&mut self) -> Seen {
            match self.0.receive() {
                Ok(sample) => sample.map_or(Seen::Nothing, |sample| seen(sample.payload())),
                Err(_) => Seen::Failed,
            }
        }

        fn hold(&mut self, meanwhile: &mut dyn FnMut()) -> Option<bool> {
            let sample = self.0.receive().ok()??;
            let before = seen(sample.payload());
            meanwhile();
            Some(seen(sample.payload()) == before)
        }
    }

    /// How long mmap-sync's writer waits for its readers, as its documentation has it.
    const GRACE: Duration = Duration::from_secs(1);

    fn path(name: &str) -> String {
        format!("/dev/shm/{name}-file")
    }

    struct Mapped(Synchronizer);

    pub(crate) fn mapped(name: &str) -> Option<Box<dyn Publish>> {
        Some(Box::new(Mapped(Synchronizer::new(path(name).as_ref()))))
    }

    pub(crate) fn mapped_reader(name: &str) -> Option<Box<dyn Look>> {
        Some(Box::new(Mapped(Synchronizer::new(path(name).as_ref()))))
    }

    impl Publish for Mapped {
        fn publish(&mut self, number: u8) {
            self.0.write_raw::<Value>(&[number; SIZE], GRACE).expect("written");
        }
    }

    impl Look for Mapped {
        fn look(&mut self) -> Seen {
            // SAFETY: bytes of any value are bytes; what is torn is counted.
            #[allow(unsafe_code)]
            let value = unsafe { self.0.read::<Value>(false) };
            value.map_or(Seen::Failed, |value| seen(&value))
        }

        fn hold(&mut self, meanwhile: &mut dyn FnMut()) -> Option<bool> {
            // SAFETY: as above; this is what is asked.
            #[allow(unsafe_code)]
            let value = unsafe { self.0.read::<Value>(false) }.ok()?;
            let before = seen(&value);
            meanwhile();
            Some(seen(&value) == before)
        }
    }

    struct RingOut(BlackboardProducer<Value>);
    struct RingIn(BlackboardConsumer<Value>);

    pub(crate) fn ring(name: &str) -> Option<Box<dyn Publish>> {
        Some(Box::new(RingOut(BlackboardProducer::create(path(name), 1).ok()?)))
    }

    pub(crate) fn ring_reader(name: &str) -> Option<Box<dyn Look>> {
        Some(Box::new(RingIn(BlackboardConsumer::attach(path(name)).ok()?)))
    }

    impl Publish for RingOut {
        fn publish(&mut self, number: u8) {
            self.0.write(0, &[number; SIZE]).expect("written");
        }
    }

    impl Look for RingIn {
        fn look(&mut self) -> Seen {
            match self.0.read(0) {
                Ok(value) => value.map_or(Seen::Nothing, |value| seen(&value)),
                Err(_) => Seen::Failed,
            }
        }

        fn hold(&mut self, meanwhile: &mut dyn FnMut()) -> Option<bool> {
            let _ = self.0.read(0);
            meanwhile();
            None
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Tries `open` until it says yes.
fn at_last<T>(open: impl Fn() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < 5 * PATIENCE {
        if let Some(found) = open() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

/// The longest of some publishes in milliseconds.
fn longest(writer: &mut dyn Publish) -> f64 {
    let publish = |number| {
        let start = Instant::now();
        writer.publish(number);
        milliseconds(start)
    };
    (100..110).map(publish).fold(0.0, f64::max)
}

/// A row of one number, and in words what else was found.
fn told(contender: &Contender, words: &str, value: f64) -> Row {
    Row::value(&format!("{}{}{words}", contender.name, if words.is_empty() { "" } else { ": " }), value)
}

/// A reader keeps a value while others are published.
fn reader_looks(contender: &Contender, prefix: &str) -> Row {
    let name = format!("{prefix}-looks");
    let mut writer = (contender.writer)(&name).expect("a writer");
    writer.publish(1);
    let mut reader = (contender.reader)(&name).expect("a reader");
    // Where nothing comes to who was late, there is something now.
    writer.publish(2);
    let mut took = 0.0;
    let kept = reader.hold(&mut || took = longest(&mut *writer));
    let words = match kept {
        Some(true) => "its value stays",
        Some(false) => "ITS VALUE CHANGES",
        None => "readers copy",
    };
    told(contender, words, took)
}

/// A reader dies while it looks.
fn reader_dies(contender: &Contender, index: usize, prefix: &str, processor: usize) -> Row {
    let name = format!("{prefix}-dies");
    let mut writer = (contender.writer)(&name).expect("a writer");
    writer.publish(1);
    let shared = Shared::open(&format!("{name}-word"), 0).expect("shared memory");
    let partner = Partner::start(&format!("look {index} {name}"), processor).expect("a second process");
    let mut number = 2;
    while shared.word(0).load(Ordering::Acquire) == 0 {
        writer.publish(number);
        number = number % 99 + 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(partner);
    told(contender, "", longest(&mut *writer))
}

/// What a reader finds of a writer that never pauses, is stopped at random instants, and dies.
fn writer_misbehaves(contender: &Contender, index: usize, prefix: &str, processor: usize) -> [Row; 4] {
    let name = format!("{prefix}-busy");
    let partner = Partner::start(&format!("write {index} {name}"), processor).expect("a second process");
    let mut reader = at_last(|| (contender.reader)(&name)).expect("a reader");
    let started = Instant::now();
    while !matches!(reader.look(), Seen::Whole(_)) {
        assert!(started.elapsed() < 5 * PATIENCE, "{}: nothing whole comes", contender.name);
    }
    let (mut times, mut wrong) = (Vec::new(), 0.0);
    let wanted = rounds(5000, 200);
    while times.len() < wanted {
        let start = Instant::now();
        let seen = reader.look();
        if seen != Seen::Nothing {
            times.push(start.elapsed().as_nanos() as f64);
            wrong += f64::from(u8::from(!matches!(seen, Seen::Whole(_))));
        }
    }
    let busy = Row { figures: Some(Figures::of(&times)), ..Row::named(contender.name) };
    let wrong = told(contender, "", wrong / wanted as f64 * 1000.0);

    let id = Pid::from_raw(partner.id() as i32).expect("a process");
    let (mut slowest, mut failed) = (0.0_f64, 0);
    for pause in 0..rounds(40, 10) as u64 {
        std::thread::sleep(Duration::from_micros(500 + pause * 37));
        kill_process(id, Signal::STOP).expect("it can be stopped");
        std::thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        let seen = reader.look();
        slowest = slowest.max(milliseconds(start));
        failed += usize::from(matches!(seen, Seen::Failed | Seen::Torn));
        kill_process(id, Signal::CONT).expect("it can go on");
    }
    let stopped = told(contender, &format!("{failed} of {} looks fail", rounds(40, 10)), slowest);

    drop(partner);
    let start = Instant::now();
    let mut successor = None;
    let mut words = "NOT WITHIN 2 S";
    while start.elapsed() < PATIENCE {
        successor = successor.or_else(|| (contender.writer)(&name));
        if let Some(writer) = &mut successor {
            // A number that the dead one has not sent.
            writer.publish(200);
        }
        if reader.look() == Seen::Whole(200) {
            words = "";
            break;
        }
    }
    [busy, wrong, stopped, told(contender, words, milliseconds(start))]
}

/// Whether who comes after the last publish sees it.
fn late(contender: &Contender, prefix: &str) -> Row {
    let name = format!("{prefix}-late");
    let mut writer = (contender.writer)(&name).expect("a writer");
    writer.publish(7);
    let mut reader = (contender.reader)(&name).expect("a reader");
    let sees = reader.look() == Seen::Whole(7);
    told(contender, "", f64::from(u8::from(sees)))
}

/// The other process: it writes without pause, or dies while it looks.
fn partner(role: &str) {
    let mut words = role.split(' ');
    let mut word = || words.next().expect("three words");
    let (what, index, name) = (word(), word().parse::<usize>().expect("a number"), word());
    let contender = contenders().swap_remove(index);
    if what == "write" {
        let mut writer = (contender.writer)(name).expect("a writer");
        for number in (1..100).cycle() {
            writer.publish(number);
        }
    }
    let mut reader = (contender.reader)(name).expect("a reader");
    let shared = Shared::open(&format!("{name}-word"), 0).expect("shared memory");
    loop {
        // It comes back only where nothing was there yet.
        let _ = reader.hold(&mut || {
            shared.word(0).store(1, Ordering::Release);
            std::thread::sleep(10 * PATIENCE);
        });
    }
}

fn main() {
    #[cfg(feature = "rivals")]
    iceoryx2::prelude::set_log_level(iceoryx2::prelude::LogLevel::Fatal);
    if let Some(role) = role() {
        return partner(&role);
    }
    if one_processor("behaviour") {
        return;
    }
    let processors = processors();
    pin(processors[0]);
    let mut bench = Bench::new(
        "behaviour",
        "what happens to the one side when the other is slow, stopped or dead?",
        "Values of 64 KiB, all bytes of which are looked at. A reader keeps its value while ten others are published. A \
         writer in another process publishes without pause, is stopped at random instants, killed, and succeeded.",
        "Instants that were not hit. triple_buffer, which is for threads, and a Unix socket, which is a queue: its oldest \
         value comes first, and a reader that stops blocks the writer or loses.",
    );
    let prefix = prefix();
    let mut tables: [Vec<Row>; 7] = Default::default();
    for (index, contender) in contenders().iter().enumerate() {
        let prefix = format!("{prefix}-{index}");
        let [busy, wrong, stopped, killed] = writer_misbehaves(contender, index, &prefix, processors[1]);
        let looks = reader_looks(contender, &prefix);
        let dies = reader_dies(contender, index, &prefix, processors[1]);
        for (table, row) in tables.iter_mut().zip([looks, dies, busy, wrong, stopped, killed, late(contender, &prefix)])
        {
            table.push(row);
        }
        clean(&prefix);
    }
    let titles = [
        ("a reader keeps a value: the longest publish", "ms"),
        ("a reader was killed while it looked: the longest publish after", "ms"),
        ("a look at 64 KiB while a writer never pauses", "ns"),
        ("the same: looks that are torn or fail", "thousandths"),
        ("a writer is stopped at a random instant: the longest look", "ms"),
        ("a writer was killed: until the same reader sees its successor's value", "ms"),
        ("who comes after the last publish sees it", "0 or 1"),
    ];
    for ((title, unit), rows) in titles.iter().zip(tables) {
        bench.add(Group::new(title, unit, rows));
    }
    let value = |group: usize| bench.groups[group].row("this channel").value.unwrap_or(f64::NAN);
    let (wrong, late) = (value(3), value(6));
    let kept = f64::from(u8::from(bench.groups[0].rows[0].name.ends_with("stays")));
    bench.aim("looks that are torn or fail, of 1000", wrong, Limit::Exactly(0.0));
    bench.aim("a value that is kept stays", kept, Limit::Exactly(1.0));
    bench.aim("who comes late sees the newest value", late, Limit::Exactly(1.0));
    bench.save();
}
