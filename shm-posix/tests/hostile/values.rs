//! The two kinds of values: a command of 64 bytes, and a frame that takes long enough to fill that much happens
//! meanwhile.

use lkas_core::Payload;
use lkas_messages::{Control, ControlFields, Image, ImageShape, Mode, PixelFormat};
use lkas_shm::Plain;
use lkas_shm::{ChannelName, ControlChannel, CreateError, ImageChannel, OpenError, Options, Reader, Writer};
use std::time::Duration;

/// More places than readers, so that the test's own reader has one too.
pub(crate) const READERS: usize = 5;

pub(crate) fn options() -> Options {
    Options::new().readers(READERS)
}

pub(crate) fn shape() -> ImageShape {
    ImageShape::new(64, 48, PixelFormat::Rgb8).expect("it is within bounds")
}

/// What a channel carries. Every value is made of its number, so that one that passes for whole can be compared.
pub(crate) trait Values {
    /// For people, and as the child's argument.
    const NAME: &'static str;
    type Value: Payload + ?Sized;

    fn create(name: &ChannelName) -> Result<Writer<Self::Value>, CreateError>;
    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Self::Value>, OpenError>;
    /// Writes the whole value, sealed before it comes into the slot.
    fn fill(value: &mut Self::Value, number: u64);
    /// Whether a receiver takes it for whole, and rightly. Looks at a copy, as others may write to the value meanwhile, and
    /// panics where it is taken for whole and is not what `fill` makes.
    fn is_whole(value: &Self::Value) -> bool;
}

#[derive(Debug)]
pub(crate) struct Controls;

fn control(number: u64) -> Control {
    let fields = ControlFields {
        mode: Mode::LaneKeeping,
        steering: (number % 201) as f32 / 100.0 - 1.0,
        throttle: (number % 101) as f32 / 100.0,
        brake: (number % 103) as f32 / 102.0,
        frame_id: number,
        ..ControlFields::default()
    };
    Control::try_from(fields).expect("all numbers are finite")
}

impl Values for Controls {
    const NAME: &'static str = "controls";
    type Value = Control;

    fn create(name: &ChannelName) -> Result<Writer<Control>, CreateError> {
        ControlChannel::create(name, options())
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Control>, OpenError> {
        ControlChannel::open(name, patience)
    }

    fn fill(value: &mut Control, number: u64) {
        *value = control(number);
    }

    fn is_whole(value: &Control) -> bool {
        // Every accessor copes with every bit pattern.
        let _ = (value.mode(), value.steering(), value.throttle(), value.timestamp(), value.is_whole());
        let copy = Control::from_bytes(value.as_bytes()).expect("as many bytes");
        if copy.is_whole() {
            let wanted = control(copy.frame_id());
            assert_eq!(copy.as_bytes(), wanted.as_bytes(), "damaged, and taken for whole");
        }
        copy.is_whole()
    }
}

#[derive(Debug)]
pub(crate) struct Pictures;

impl Values for Pictures {
    const NAME: &'static str = "pictures";
    type Value = Image;

    fn create(name: &ChannelName) -> Result<Writer<Image>, CreateError> {
        ImageChannel::create(name, shape(), options())
    }

    fn open(name: &ChannelName, patience: Duration) -> Result<Reader<Image>, OpenError> {
        ImageChannel::open(name, patience)
    }

    fn fill(value: &mut Image, number: u64) {
        // Made elsewhere: what is damaged in the slot between filling and sealing would be sealed.
        let mut made = vec![0_u64; size_of_val(value) / size_of::<u64>()];
        let picture = Image::from_words_mut(&mut made).expect("a header");
        picture.start(shape(), number, 0.25).expect("the slot is as large as the shape").fill(number as u8);
        picture.seal();
        value.as_words_mut().copy_from_slice(picture.as_words());
    }

    fn is_whole(value: &Image) -> bool {
        let _ = (value.shape(), value.timestamp(), value.is_whole());
        let copy = value.as_words().to_vec();
        let copy = Image::from_words(&copy).expect("a header");
        if copy.is_whole() {
            let picture = copy.view().expect("whole pictures have a shape");
            let number = copy.frame_id();
            let is_right = picture.shape() == shape() && copy.timestamp() == 0.25;
            let wrong = picture.pixels().iter().filter(|pixel| **pixel != number as u8).count();
            assert!(is_right && wrong == 0, "{wrong} bytes damaged, and taken for whole: {copy:?}");
        }
        copy.is_whole()
    }
}
