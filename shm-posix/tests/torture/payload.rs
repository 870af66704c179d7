//! The payloads: from 8 bytes to a camera frame, which takes long enough to fill and to check that most instants fall into
//! it; and the channels that carry them, for one reader up to as many as there can be.

use lkas_core::Payload;
use lkas_messages::{Control, ControlFields, Image, ImageShape, Mode, PixelFormat};
use lkas_shm::{
    Channel, ChannelName, Contract, ControlChannel, CreateError, ImageChannel, Message, OpenError, OpenOptions,
    Options, Reader, Writer,
};
use std::time::Duration;

/// What writers promise in turn.
pub(crate) const CONTRACTS: [Contract; 2] = [contract(20, 40), contract(100, 200)];

const fn contract(period_ms: u64, max_age_ms: u64) -> Contract {
    match Contract::new(Duration::from_millis(period_ms), Duration::from_millis(max_age_ms)) {
        Ok(contract) => contract,
        Err(_) => panic!(),
    }
}

/// As many reader places as readers: a place that does not come back is missed at once.
fn options<P: Payloads>(life: u64) -> Options {
    Options::new().readers(P::READERS).contract(CONTRACTS[life as usize % 2]).grace(Duration::ZERO)
}

fn patient(patience: Duration) -> OpenOptions {
    OpenOptions::new().patience(patience).grace(Duration::ZERO)
}

/// What a channel carries under torture. Every value names the number of its publish and the life of its writer, and is
/// sealed by a check value.
pub(crate) trait Payloads {
    /// For people, and as the child's argument.
    const NAME: &'static str;
    /// How many readers there are.
    const READERS: usize;
    /// The most values that a writer publishes without a pause.
    const BURST: u64;
    /// Whether some bursts are of small values, so that publishing itself takes a good part of the writer's time.
    const HAS_SMALL: bool;
    /// The longest pause between two faults.
    const PAUSE: Duration;
    type Value: Payload + ?Sized;

    fn create(name: &ChannelName, life: u64) -> Result<Writer<Self::Value>, CreateError>;
    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Self::Value>, OpenError>;
    /// Writes all of a value, or a small one where there are such.
    fn fill(value: &mut Self::Value, sequence: u64, life: u64, small: bool);
    /// Writes what nobody must ever see: the loan is dropped afterwards.
    fn spoil(value: &mut Self::Value);
    /// Whether the value is one that `fill` has written for the publish `sequence`, and for which life.
    fn check(value: &Self::Value, sequence: u64) -> Result<u64, String>;
}

/// 64 bytes.
#[derive(Debug)]
pub(crate) struct Controls;

impl Payloads for Controls {
    const NAME: &'static str = "control";
    const READERS: usize = 3;
    const BURST: u64 = 2000;
    const HAS_SMALL: bool = false;
    const PAUSE: Duration = Duration::from_millis(8);
    type Value = Control;

    fn create(name: &ChannelName, life: u64) -> Result<Writer<Control>, CreateError> {
        ControlChannel::create(name, options::<Self>(life))
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Control>, OpenError> {
        ControlChannel::open(name, patient(patience))
    }

    fn fill(value: &mut Control, sequence: u64, life: u64, _: bool) {
        let fields = ControlFields {
            mode: Mode::LaneKeeping,
            steering: (sequence % 201) as f32 / 100.0 - 1.0,
            throttle: (sequence % 101) as f32 / 100.0,
            brake: (sequence % 103) as f32 / 102.0,
            frame_id: sequence,
            timestamp: life as f64,
            processing_time_ms: sequence as f32,
            ..ControlFields::default()
        };
        *value = Control::try_from(fields).expect("all numbers are finite");
    }

    fn spoil(value: &mut Control) {
        Self::fill(value, u64::MAX, u64::MAX, false);
    }

    fn check(value: &Control, sequence: u64) -> Result<u64, String> {
        verdict(value.is_whole(), value.frame_id(), sequence, value.timestamp())
    }
}

/// 8 bytes for `R` readers: the number of the publish in the upper half, that of the writer's life in the lower.
#[derive(Debug)]
pub(crate) struct Words<const R: usize>;

#[derive(Clone, Copy, Debug, Message)]
#[message(name = "torture.Word")]
#[repr(C)]
pub(crate) struct Word {
    number: u64,
}

impl<const R: usize> Payloads for Words<R> {
    const NAME: &'static str = match R {
        1 => "word-1",
        _ => "word-29",
    };
    const READERS: usize = R;
    const BURST: u64 = 2000;
    const HAS_SMALL: bool = false;
    const PAUSE: Duration = Duration::from_millis(8);
    type Value = Word;

    fn create(name: &ChannelName, life: u64) -> Result<Writer<Word>, CreateError> {
        Channel::create(name, options::<Self>(life))
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Word>, OpenError> {
        Channel::open(name, patient(patience))
    }

    fn fill(value: &mut Word, sequence: u64, life: u64, _: bool) {
        value.number = sequence << 32 | life & 0xffff_ffff;
    }

    fn spoil(value: &mut Word) {
        value.number = u64::MAX;
    }

    fn check(value: &Word, sequence: u64) -> Result<u64, String> {
        let life = value.number & 0xffff_ffff;
        verdict(true, value.number >> 32, sequence & 0xffff_ffff, life as f64)
    }
}

/// 4 KiB.
#[derive(Debug)]
pub(crate) struct Pages;

#[derive(Clone, Copy, Debug, Message)]
#[message(name = "torture.Page")]
#[repr(C)]
pub(crate) struct Page {
    life: u64,
    /// Each of them the number of the publish.
    words: [u64; 511],
}

impl Payloads for Pages {
    const NAME: &'static str = "page-16";
    const READERS: usize = 16;
    const BURST: u64 = 500;
    const HAS_SMALL: bool = false;
    const PAUSE: Duration = Duration::from_millis(8);
    type Value = Page;

    fn create(name: &ChannelName, life: u64) -> Result<Writer<Page>, CreateError> {
        Channel::create(name, options::<Self>(life))
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Page>, OpenError> {
        Channel::open(name, patient(patience))
    }

    fn fill(value: &mut Page, sequence: u64, life: u64, _: bool) {
        value.life = life;
        value.words.fill(sequence);
    }

    fn spoil(value: &mut Page) {
        value.words[..300].fill(u64::MAX);
    }

    fn check(value: &Page, sequence: u64) -> Result<u64, String> {
        let whole = value.words.iter().all(|word| *word == value.words[0]);
        verdict(whole, value.words[0], sequence, value.life as f64)
    }
}

/// 1.44 MB.
#[derive(Debug)]
pub(crate) struct Images;

fn shape(small: bool) -> ImageShape {
    let (width, height) = if small { (8, 6) } else { (800, 600) };
    ImageShape::new(width, height, PixelFormat::Rgb8).expect("it is within bounds")
}

impl Payloads for Images {
    const NAME: &'static str = "image";
    const READERS: usize = 4;
    const BURST: u64 = 8;
    const HAS_SMALL: bool = true;
    const PAUSE: Duration = Duration::from_millis(20);
    type Value = Image;

    fn create(name: &ChannelName, life: u64) -> Result<Writer<Image>, CreateError> {
        ImageChannel::create(name, shape(false), options::<Self>(life))
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Image>, OpenError> {
        ImageChannel::open(name, patient(patience))
    }

    fn fill(value: &mut Image, sequence: u64, life: u64, small: bool) {
        let pixels = value.start(shape(small), sequence, life as f64).expect("the slot is as large as the shape");
        pixels.fill(sequence as u8);
        value.seal();
    }

    fn spoil(value: &mut Image) {
        let pixels = value.start(shape(false), u64::MAX, 0.0).expect("the slot is as large as the shape");
        let half = pixels.len() / 2;
        pixels[..half].fill(0xaa);
    }

    fn check(value: &Image, sequence: u64) -> Result<u64, String> {
        verdict(value.is_whole(), value.frame_id(), sequence, value.timestamp())
    }
}

fn verdict(whole: bool, frame_id: u64, sequence: u64, timestamp: f64) -> Result<u64, String> {
    if !whole {
        return Err(format!("torn: number {sequence}, which names itself {frame_id}"));
    }
    if frame_id != sequence {
        return Err(format!("header and value of different publishes: number {sequence} names itself {frame_id}"));
    }
    Ok(timestamp as u64)
}
