//! What is in a value, as far as a recording has to know: the pixels of a frame, and when it was captured.

use crate::Failure;
use crate::encoding::JpegEncoder;
use crate::foxglove::schemas;
use base64::{Engine, prelude::BASE64_STANDARD};
use lkas_core::fingerprint;
use lkas_messages::{Control, ControlFields, Detection, DetectionFields, Image, ImageShape, ImageView, PixelFormat};
use lkas_shm::{Description, Plain};
use serde_json::json;

/// What values of a type are to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Frames of that shape.
    Image(ImageShape),
    Detection,
    Control,
    /// Anything else, with the place of the time at which it was so, where it says so.
    Other {
        timestamp: Option<usize>,
    },
}

/// A frame as JPEG.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JpegFrame {
    pub id: u64,
    /// When it was captured, in seconds of the recorded clock.
    pub timestamp: f64,
    pub jpeg: Vec<u8>,
}

impl JpegFrame {
    /// How it is recorded: a `foxglove.CompressedImage`, captured at `time`, in nanoseconds since 1970, that also says the
    /// frame's number and the very time that it had.
    pub(super) fn to_json(&self, time: u64) -> String {
        let mut image = schemas::compressed_image(time, "camera", &self.jpeg);
        image["number"] = self.id.into();
        // As text, which keeps every bit.
        image["captured_s"] = self.timestamp.to_string().into();
        image.to_string()
    }

    /// The schema of [`to_json`](Self::to_json).
    pub(super) fn schema() -> serde_json::Value {
        let mut schema = schemas::compressed_image_schema();
        schema["properties"]["number"] = json!({"type": "integer", "description": "The number of the frame"});
        let captured = "When it was captured, in seconds of the channels' clock";
        schema["properties"]["captured_s"] = json!({"type": "string", "description": captured});
        schema
    }

    /// Reads what [`to_json`](Self::to_json) gave. Foreign bytes: they never make it panic.
    pub(super) fn from_json(recorded: &[u8]) -> Result<Self, Failure> {
        #[derive(serde::Deserialize)]
        struct Recorded {
            data: String,
            number: u64,
            captured_s: String,
        }
        let Recorded { data, number, captured_s } = serde_json::from_slice(recorded)?;
        Ok(Self { id: number, timestamp: captured_s.parse()?, jpeg: BASE64_STANDARD.decode(data)? })
    }
}

/// A frame out of a recording.
#[derive(Debug)]
pub(super) struct Frame {
    pub id: u64,
    /// When it was captured, in seconds of the recorded clock.
    pub timestamp: f64,
    pub pixels: Vec<u8>,
}

impl Content {
    pub(super) fn of(description: &Description) -> Self {
        let of = description.channel_type();
        let is = |fingerprint, size| of.fingerprint() == fingerprint && of.payload_size() == size;
        if let Some(shape) = ImageShape::from_words(description.shape())
            && is(fingerprint::<Image>(), shape.image_bytes())
        {
            return Self::Image(shape);
        }
        if is(fingerprint::<Detection>(), size_of::<Detection>()) {
            return Self::Detection;
        }
        if is(fingerprint::<Control>(), size_of::<Control>()) {
            return Self::Control;
        }
        Self::Other { timestamp: description.timestamp() }
    }

    /// Moves the time at which the value was so by `seconds`. A value that is not whole stays as it is; so does a frame,
    /// which is sealed when it is published.
    pub(super) fn move_time(self, value: &mut [u8], seconds: f64) {
        let moved = match self {
            Self::Image(_) => return,
            Self::Detection => Detection::from_bytes(value).filter(Detection::is_whole).and_then(|detection| {
                let fields = DetectionFields::from(detection);
                let moved = Detection::try_from(DetectionFields { timestamp: fields.timestamp + seconds, ..fields });
                moved.ok().map(|moved| moved.as_bytes().to_vec())
            }),
            Self::Control => Control::from_bytes(value).filter(Control::is_whole).and_then(|control| {
                let fields = ControlFields::from(control);
                let moved = Control::try_from(ControlFields { timestamp: fields.timestamp + seconds, ..fields });
                moved.ok().map(|moved| moved.as_bytes().to_vec())
            }),
            Self::Other { timestamp } => {
                if let Some(place) = timestamp.and_then(|at| value.get_mut(at..)).and_then(<[u8]>::first_chunk_mut) {
                    *place = (f64::from_le_bytes(*place) + seconds).to_le_bytes();
                }
                return;
            }
        };
        if let Some(moved) = moved {
            value.copy_from_slice(&moved);
        }
    }
}

/// A frame's memory as words, which is what a frame is made of.
fn words(value: &[u8]) -> Vec<u64> {
    value.chunks_exact(8).filter_map(|word| word.first_chunk()).map(|word| u64::from_le_bytes(*word)).collect()
}

/// The frame in the memory of a value of that shape; `None` where it is not whole.
fn whole(shape: ImageShape, words: &[u64]) -> Option<(&Image, ImageView<'_>)> {
    let image = Image::from_words(words)?;
    let view = image.view().filter(|view| view.shape() == shape && image.is_whole())?;
    Some((image, view))
}

/// The frame in a value of that shape; `None` where it is not whole.
pub(super) fn frame(shape: ImageShape, value: &[u8]) -> Option<Frame> {
    let words = words(value);
    let (image, view) = whole(shape, &words)?;
    Some(Frame { id: image.frame_id(), timestamp: image.timestamp(), pixels: view.pixels().to_vec() })
}

/// The frame as it is recorded when JPEG is asked for. It is the same on every machine.
pub(super) fn to_jpeg(shape: ImageShape, value: &[u8], quality: u8) -> Result<JpegFrame, Failure> {
    let words = words(value);
    let (image, view) = whole(shape, &words).ok_or("a frame that is not whole")?;
    let mut jpeg = Vec::with_capacity(shape.pixel_bytes() / 8);
    // A frame's sides fit: the largest is 16384.
    let (width, height) = (shape.width() as u16, shape.height() as u16);
    JpegEncoder::built_in(quality).encode(view.pixels(), width, height, shape.format().into(), &mut jpeg)?;
    Ok(JpegFrame { id: image.frame_id(), timestamp: image.timestamp(), jpeg })
}

/// The frame that was recorded as JPEG, as nearly as JPEG keeps it. Foreign bytes: they never make it panic.
pub(super) fn from_jpeg(shape: ImageShape, recorded: &[u8]) -> Result<Frame, Failure> {
    let JpegFrame { id, timestamp, jpeg } = JpegFrame::from_json(recorded)?;
    let mut reader = image::ImageReader::with_format(std::io::Cursor::new(jpeg), image::ImageFormat::Jpeg);
    let mut limits = image::Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(shape.width()), Some(shape.height()));
    reader.limits(limits);
    let decoded = reader.decode()?;
    let found = (decoded.width(), decoded.height());
    if found != (shape.width(), shape.height()) {
        return Err(format!("a frame of {}x{} pixels, expected {shape}", found.0, found.1).into());
    }
    let pixels = match shape.format() {
        PixelFormat::Gray8 => decoded.into_luma8().into_raw(),
        format => {
            let mut pixels = decoded.into_rgb8().into_raw();
            if format == PixelFormat::Bgr8 {
                pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
            }
            pixels
        }
    };
    Ok(Frame { id, timestamp, pixels })
}
