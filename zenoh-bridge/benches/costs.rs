//! One way through a mirror, through bare Zenoh and through a TCP socket, on the loopback of one machine: latency and
//! throughput, as ratios taken in one run.

use lkas_mirror::{Mirror, Network};
use lkas_shm::{AnyChannel, ChannelName, ChannelType, Options, Wait as Waited, clock};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};
use zenoh::Wait;
use zenoh::qos::CongestionControl;

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A small message, and a camera frame of 800x600.
const SIZES: [usize; 2] = [64, 1_440_000];

/// Values that are sent one by one, and the time between two.
const VALUES: usize = 400;
const BETWEEN: Duration = Duration::from_millis(10);

/// How long as much is sent as goes.
const FLOOD: Duration = Duration::from_secs(3);

/// What carries values from one side to the other. The first eight bytes are when the value was sent.
trait Way {
    fn send(&mut self, value: &mut [u8]) -> Done<()>;
}

fn stamp(value: &mut [u8]) {
    value[..8].copy_from_slice(&clock::now().to_le_bytes());
}

/// What the receiving side notes: how long each value took.
#[derive(Clone)]
struct Noted(Sender<u64>, Arc<AtomicU64>);

impl Noted {
    fn note(&self, value: &[u8]) {
        let sent = value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let _ = self.0.send(clock::now().saturating_sub(sent));
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

struct Socket(TcpStream);

impl Socket {
    fn open(size: usize, noted: Noted) -> Done<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let stream = TcpStream::connect(listener.local_addr()?)?;
        stream.set_nodelay(true)?;
        let (mut receiver, _) = listener.accept()?;
        std::thread::spawn(move || {
            let mut value = vec![0; size];
            while receiver.read_exact(&mut value).is_ok() {
                noted.note(&value);
            }
        });
        Ok(Self(stream))
    }
}

impl Way for Socket {
    fn send(&mut self, value: &mut [u8]) -> Done<()> {
        stamp(value);
        Ok(self.0.write_all(value)?)
    }
}

struct Bare {
    _receiver: zenoh::Session,
    _sender: zenoh::Session,
    publisher: zenoh::pubsub::Publisher<'static>,
}

impl Bare {
    fn open(noted: Noted) -> Done<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = |mode: &str, way: &str| {
            zenoh::Config::from_json5(&format!(
                "{{ mode: '{mode}', {way}: {{ endpoints: ['tcp/127.0.0.1:{port}'] }}, \
                 scouting: {{ multicast: {{ enabled: false }} }} }}"
            ))
        };
        let receiver = zenoh::open(config("router", "listen")?).wait()?;
        let sender = zenoh::open(config("client", "connect")?).wait()?;
        let note = move |sample: zenoh::sample::Sample| noted.note(&sample.payload().to_bytes());
        receiver.declare_subscriber("bench").callback(note).background().wait()?;
        let publisher =
            sender.declare_publisher("bench").congestion_control(CongestionControl::Block).express(true).wait()?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(Self { _receiver: receiver, _sender: sender, publisher })
    }
}

impl Way for Bare {
    fn send(&mut self, value: &mut [u8]) -> Done<()> {
        stamp(value);
        self.publisher.put(value.to_vec()).wait()
    }
}

struct Mirrored {
    writer: Option<lkas_shm::Writer<[u8]>>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
    names: [ChannelName; 4],
}

impl Mirrored {
    fn open(size: usize, noted: Noted) -> Done<Self> {
        let sides = ["a", "b"].map(|side| format!("mirror-bench-{}-{side}", std::process::id()));
        let [here, there] = [ChannelName::new(&sides[0], "value")?, ChannelName::new(&sides[1], "value")?];
        let writer = AnyChannel::create(&here, ChannelType::new("bench.Value", &[], "", size, 8)?, Options::new())?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let endpoint = vec![format!("tcp/127.0.0.1:{port}")];
        let status = |side: &str| ChannelName::new(side, &Mirror::default().status);
        let names = [here, there.clone(), status(&sides[0])?, status(&sides[1])?];
        let [namespace, other] = sides;
        let sends = Mirror {
            exports: vec!["value".parse()?],
            network: Network { connect: endpoint.clone(), ..Network::default() },
            namespace,
            ..Mirror::default()
        };
        let receives = Mirror {
            imports: vec!["value".to_owned()],
            network: Network { listen: endpoint, ..Network::default() },
            namespace: other,
            ..Mirror::default()
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for mirror in [sends, receives] {
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || {
                if let Err(why) = mirror.run(&stop) {
                    eprintln!("{why}");
                }
            }));
        }
        let (_, mut reader) = AnyChannel::open(&there, Duration::from_secs(60))?;
        let stopped = stop.clone();
        threads.push(std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if reader.wait(Duration::from_millis(50)) == Waited::Fresh
                    && let Some(value) = reader.take()
                {
                    noted.note(&value);
                }
            }
        }));
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self { writer: Some(writer), stop, threads, names })
    }
}

impl Way for Mirrored {
    fn send(&mut self, value: &mut [u8]) -> Done<()> {
        stamp(value);
        let mut loan = self.writer.as_mut().ok_or("the writer is gone")?.loan();
        loan.copy_from_slice(value);
        loan.publish();
        Ok(())
    }
}

impl Drop for Mirrored {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.writer = None;
        for name in &self.names {
            if let Err(why) = lkas_shm::unlink(name) {
                eprintln!("{name}: {why}");
            }
        }
    }
}

/// Median latency in microseconds, its 99th percentile, and values a second.
fn measure(size: usize, open: impl FnOnce(Noted) -> Done<Box<dyn Way>>) -> Done<[f64; 3]> {
    let (sender, noted) = mpsc::channel();
    let count = Arc::new(AtomicU64::new(0));
    let mut way = open(Noted(sender, count.clone()))?;
    let mut value = vec![0; size];
    for _ in 0..VALUES {
        way.send(&mut value)?;
        std::thread::sleep(BETWEEN);
    }
    // Without those of the beginning.
    let mut took: Vec<u64> = noted.try_iter().skip(VALUES / 10).collect();
    took.sort_unstable();
    let at = |quantile: f64| took.get((took.len() as f64 * quantile) as usize).map_or(f64::NAN, |ns| *ns as f64 * 1e-3);
    let (start, before) = (Instant::now(), count.load(Ordering::Relaxed));
    while start.elapsed() < FLOOD {
        way.send(&mut value)?;
    }
    let rate = (count.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    Ok([at(0.5), at(0.99), rate])
}

fn main() -> Done<()> {
    println!("| bytes | way | p50 | p99 | values a second | p50 by a socket's | rate by a socket's |");
    println!("|---|---|---|---|---|---|---|");
    for size in SIZES {
        let socket = measure(size, |noted| Ok(Box::new(Socket::open(size, noted)?)))?;
        let bare = measure(size, |noted| Ok(Box::new(Bare::open(noted)?)))?;
        let mirrored = measure(size, |noted| Ok(Box::new(Mirrored::open(size, noted)?)))?;
        for (way, [p50, p99, rate]) in [("socket", socket), ("Zenoh", bare), ("mirror", mirrored)] {
            let (slower, less) = (p50 / socket[0], rate / socket[2]);
            println!("| {size} | {way} | {p50:.0} µs | {p99:.0} µs | {rate:.0} | {slower:.2} | {less:.3} |");
        }
    }
    Ok(())
}
