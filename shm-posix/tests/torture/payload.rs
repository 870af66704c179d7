//! The two payloads: a command of one cache line, and a camera picture that takes long enough to fill and to check that
//! most instants fall into it.

use lkas_core::Payload;
use lkas_messages::{Control, ControlFields, Image, ImageShape, Mode, PixelFormat};
use lkas_shm::{ChannelName, ControlChannel, CreateError, ImageChannel, OpenError, Options, Reader, Writer};
use std::time::Duration;

/// As many readers as places: a place that does not come back is missed at once.
pub(crate) const READERS: usize = 3;

fn options() -> Options {
    Options::new().readers(READERS)
}

/// What a channel carries under torture. Every value names the number of its publish and the life of its writer, and is
/// sealed by a check value.
pub(crate) trait Payloads {
    /// For people, and as the child's argument.
    const NAME: &'static str;
    /// The most values that a writer publishes without a pause.
    const BURST: u64;
    /// Whether some bursts are of small values, so that publishing itself takes a good part of the writer's time.
    const HAS_SMALL: bool;
    /// The longest pause between two faults.
    const PAUSE: Duration;
    type Value: Payload + ?Sized;

    fn create(name: &ChannelName) -> Result<Writer<Self::Value>, CreateError>;
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
    const BURST: u64 = 2000;
    const HAS_SMALL: bool = false;
    const PAUSE: Duration = Duration::from_millis(8);
    type Value = Control;

    fn create(name: &ChannelName) -> Result<Writer<Control>, CreateError> {
        ControlChannel::create(name, options())
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Control>, OpenError> {
        ControlChannel::open(name, patience)
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

/// 1.44 MB.
#[derive(Debug)]
pub(crate) struct Images;

fn shape(small: bool) -> ImageShape {
    let (width, height) = if small { (8, 6) } else { (800, 600) };
    ImageShape::new(width, height, PixelFormat::Rgb8).expect("it is within bounds")
}

impl Payloads for Images {
    const NAME: &'static str = "image";
    const BURST: u64 = 8;
    const HAS_SMALL: bool = true;
    const PAUSE: Duration = Duration::from_millis(20);
    type Value = Image;

    fn create(name: &ChannelName) -> Result<Writer<Image>, CreateError> {
        ImageChannel::create(name, shape(false), options())
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Image>, OpenError> {
        ImageChannel::open(name, patience)
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
