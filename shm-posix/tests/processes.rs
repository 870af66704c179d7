//! Channels between real processes, some of which are killed. Without arguments this program runs the tests; with a
//! role and a name it is a child of one.
#![allow(missing_docs)]

use lkas_messages::{Control, ControlFields, ImageShape, PixelFormat};
use lkas_shm::{ChannelName, ControlChannel, ImageChannel, Options, Wait, unlink};
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);
const KILLS: u64 = 40;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("publish") => publish(&arguments[2].parse().unwrap()),
        Some("film") => film(&arguments[2].parse().unwrap()),
        Some("watch") => watch(&arguments[2].parse().unwrap()),
        _ => tests(),
    }
}

fn shape() -> ImageShape {
    ImageShape::new(320, 240, PixelFormat::Rgb8).unwrap()
}

/// A child that publishes controls until it is killed.
fn publish(name: &ChannelName) {
    let mut writer = ControlChannel::create(name, Options::default()).unwrap();
    loop {
        let fields = ControlFields { frame_id: writer.sequence() + 1, ..ControlFields::default() };
        writer.publish(Control::try_from(fields).unwrap());
    }
}

/// A child that publishes frames, each of one colour, until it is killed.
fn film(name: &ChannelName) {
    let mut writer = ImageChannel::create(name, shape(), Options::default()).unwrap();
    loop {
        let frame_id = writer.sequence() + 1;
        let mut loan = writer.loan();
        loan.start(shape(), frame_id, 0.0).unwrap().fill(frame_id as u8);
        loan.seal();
        loan.publish();
    }
}

/// A child that takes and sleeps until it is killed.
fn watch(name: &ChannelName) {
    let mut reader = ControlChannel::open(name, LONG).unwrap();
    println!("watching");
    loop {
        let _ = reader.wait(Duration::from_millis(1));
        if let Some(control) = reader.take() {
            assert!(control.is_whole());
        }
    }
}

/// A child process that is killed at the end whatever happens.
struct Process(Child);

impl Process {
    fn start(role: &str, name: &ChannelName) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args([role, name.as_str()]).stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Waits until the child says something.
    fn wait_for_word(&mut self) {
        let mut byte = [0];
        self.0.stdout.as_mut().unwrap().read_exact(&mut byte).expect("the child lives and speaks");
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A small generator of delays; a fixed seed, so that a failure comes back.
struct Delays(u64);

impl Delays {
    fn next(&mut self, below: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_nanos(self.0 % below.as_nanos() as u64)
    }
}

/// Spins, because a sleep would always wake at the same places.
fn spin(delay: Duration) {
    let start = Instant::now();
    while start.elapsed() < delay {
        std::hint::spin_loop();
    }
}

/// Writers die at random instants; their successors go on in the same channel, and no reader sees anything but whole
/// values with rising numbers.
fn killed_writers_are_succeeded(name: &ChannelName) {
    let mut delays = Delays(0x9e37_79b9_7f4a_7c15);
    let mut writer = Process::start("publish", name);
    let mut reader = ControlChannel::open(name, LONG).unwrap();
    let (mut taken, mut last) = (0_u64, 0);
    for _ in 0..KILLS {
        let until = Instant::now() + delays.next(Duration::from_millis(5));
        assert_eq!(reader.wait(LONG), Wait::Fresh, "the writer publishes");
        let before = taken;
        while Instant::now() < until || taken < before + 2 {
            if let Some(control) = reader.take() {
                assert!(control.is_whole(), "torn after {taken} values");
                assert_eq!(control.frame_id(), control.sequence(), "header and value of different publishes");
                assert!(control.sequence() > last, "{} after {last}", control.sequence());
                last = control.sequence();
                taken += 1;
            }
        }
        writer.kill();
        assert!(!reader.has_writer(), "the role ends with the process");
        writer = Process::start("publish", name);
        // What the dead one published last may still be there to take; then the successor's are awaited.
        while reader.take().is_some_and(|control| {
            last = control.sequence();
            true
        }) {}
    }
    assert!(taken > KILLS, "{taken} values");
    println!("    {KILLS} writers killed, {taken} values taken, the last has number {last}");
}

fn killed_cameras_leave_whole_pictures(name: &ChannelName) {
    let mut delays = Delays(0xda94_2042_e4dd_58b5);
    let mut taken = 0_u64;
    let mut last = 0;
    let mut camera = Process::start("film", name);
    let mut reader = ImageChannel::open(name, LONG).unwrap();
    for _ in 0..KILLS {
        let until = Instant::now() + delays.next(Duration::from_millis(5));
        let enough = taken + 3;
        while Instant::now() < until || taken < enough {
            if let Some(image) = reader.take() {
                assert!(image.is_whole(), "torn after {taken} pictures");
                assert!(image.sequence() > last);
                last = image.sequence();
                taken += 1;
            }
        }
        camera.kill();
        camera = Process::start("film", name);
    }
    println!("    {KILLS} cameras killed, {taken} pictures taken");
}

/// Readers die at random instants, asleep or awake; their places are free again and the writer never runs out of slots.
fn killed_readers_leave_their_places(name: &ChannelName) {
    let mut delays = Delays(0x2545_f491_4f6c_dd1d);
    let mut writer = ControlChannel::create(name, Options::new().readers(2)).unwrap();
    let mut witness = ControlChannel::open(name, LONG).unwrap();
    for round in 0..KILLS {
        let mut victim = Process::start("watch", name);
        victim.wait_for_word();
        assert!(ControlChannel::open(name, Duration::ZERO).is_err(), "the child has the second place");
        for i in 0..200 {
            let fields = ControlFields { frame_id: round * 1000 + i, ..ControlFields::default() };
            writer.publish(Control::try_from(fields).unwrap());
            spin(delays.next(Duration::from_micros(20)));
        }
        victim.kill();
        let control = witness.take().unwrap();
        assert!(control.is_whole());
        assert_eq!(control.frame_id(), round * 1000 + 199, "the other reader gets the newest");
    }
    ControlChannel::open(name, Duration::ZERO).expect("the second place is free again");
    println!("    {KILLS} readers killed, {} values published", writer.sequence());
}

fn tests() {
    type Test = fn(&ChannelName);
    let tests: [(&str, Test); 3] = [
        ("killed_writers_are_succeeded", killed_writers_are_succeeded),
        ("killed_cameras_leave_whole_pictures", killed_cameras_leave_whole_pictures),
        ("killed_readers_leave_their_places", killed_readers_leave_their_places),
    ];
    for (test, run) in tests {
        println!("test {test} ...");
        let name = ChannelName::new(&format!("test-{}", std::process::id()), test).unwrap();
        let result = std::panic::catch_unwind(|| run(&name));
        let removed = unlink(&name);
        if let Err(cause) = result {
            println!("test {test} ... FAILED");
            std::panic::resume_unwind(cause);
        }
        removed.expect("nothing is left in use");
        println!("test {test} ... ok");
    }
    println!("{} passed, 0 failed", tests.len());
}
