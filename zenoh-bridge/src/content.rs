//! What is in a value: whether it is whole, its times by this machine's clock, and frames as JPEG.

use crate::offset::Offset;
use crate::wire::{Encoding, Refusal};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use lkas_core::{Message, Plain};
use lkas_messages::{Control, ControlFields, Detection, DetectionFields, Image, ImageShape, PixelFormat, VehicleState};
use lkas_shm::Description;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Bytes before the JPEG stream: frame id and time stamp.
const JPEG_HEADER: usize = 16;

/// What is known of a channel's values beyond their bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Content {
    /// A camera frame.
    Image(ImageShape),
    /// A detection.
    Detection,
    /// A control.
    Control,
    /// The state of a vehicle.
    Vehicle,
    /// Another type. Where its field `timestamp` is a time in seconds and no check value is over it, that is where.
    Other {
        /// The offset of the field.
        timestamp: Option<usize>,
    },
}

impl Content {
    /// The content of the channel that is so described.
    #[must_use]
    pub(crate) fn of(description: &Description) -> Self {
        let of = description.channel_type();
        let is = |fingerprint, size| of.fingerprint() == fingerprint && of.payload_size() == size;
        if of.fingerprint() == lkas_core::fingerprint::<Image>()
            && let Some(shape) = ImageShape::from_words(description.shape())
            && of.payload_size() == shape.image_bytes()
        {
            Self::Image(shape)
        } else if is(fingerprint::<Detection>(), size_of::<Detection>()) {
            Self::Detection
        } else if is(fingerprint::<Control>(), size_of::<Control>()) {
            Self::Control
        } else if is(fingerprint::<VehicleState>(), size_of::<VehicleState>()) {
            Self::Vehicle
        } else {
            Self::Other { timestamp: description.timestamp() }
        }
    }

    /// Makes the JPEG of an image's memory, of `quality` 1 to 100; `None` where it is no whole image.
    #[must_use]
    pub(crate) fn to_jpeg(self, words: &[u64], quality: u8) -> Option<Vec<u8>> {
        let Self::Image(shape) = self else { return None };
        let image = Image::from_words(words)?;
        let view = image.view().filter(|view| view.shape() == shape && image.is_whole())?;
        let (width, height) = (u16::try_from(shape.width()).ok()?, u16::try_from(shape.height()).ok()?);
        let mut out = Vec::with_capacity(shape.pixel_bytes() / 8);
        out.extend_from_slice(&image.frame_id().to_le_bytes());
        out.extend_from_slice(&image.timestamp().to_le_bytes());
        let mut encoder = Encoder::new(&mut out, quality);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        let colors = match shape.format() {
            PixelFormat::Rgb8 => ColorType::Rgb,
            PixelFormat::Bgr8 => ColorType::Bgr,
            PixelFormat::Gray8 => ColorType::Luma,
            _ => return None,
        };
        encoder.encode(view.pixels(), width, height, colors).ok()?;
        Some(out)
    }

    /// Writes what arrived into `slot`, the memory of a value of this machine's channel, with its times moved to this
    /// machine's clock.
    ///
    /// # Errors
    /// [`Refusal`] where it has the wrong length, is not whole, or can't be decoded. Then `slot` holds nothing of use.
    pub(crate) fn write(
        self,
        encoding: Encoding,
        payload: &[u8],
        offset: Offset,
        slot: &mut [u8],
    ) -> Result<(), Refusal> {
        match (self, encoding) {
            (Self::Image(shape), Encoding::Jpeg) => return from_jpeg(shape, payload, offset, slot),
            (_, Encoding::Jpeg) => return Err(Refusal::Encoding { found: encoding as u32 }),
            (_, Encoding::Raw) => {}
        }
        if payload.len() != slot.len() {
            return Err(Refusal::Length { what: "a value", found: payload.len(), expected: slot.len() });
        }
        let when = |timestamp: f64| moved(timestamp, offset);
        match self {
            Self::Image(shape) => {
                slot.copy_from_slice(payload);
                let image = image(slot)?;
                if image.shape() != Some(shape) || !image.is_whole() {
                    return Err(Refusal::NotWhole);
                }
                let (id, timestamp) = (image.frame_id(), when(image.timestamp()));
                image.start(shape, id, timestamp).ok_or(Refusal::NotWhole)?;
                image.seal();
            }
            Self::Control => {
                let control = Control::from_bytes(payload).filter(Control::is_whole).ok_or(Refusal::NotWhole)?;
                let fields = ControlFields { timestamp: when(control.timestamp()), ..control.into() };
                let control = Control::try_from(fields).map_err(|_| Refusal::NotWhole)?;
                slot.copy_from_slice(control.as_bytes());
            }
            Self::Detection => {
                let detection = Detection::from_bytes(payload).filter(Detection::is_whole).ok_or(Refusal::NotWhole)?;
                let fields = DetectionFields { timestamp: when(detection.timestamp()), ..detection.into() };
                let detection = Detection::try_from(fields).map_err(|_| Refusal::NotWhole)?;
                slot.copy_from_slice(detection.as_bytes());
            }
            Self::Vehicle => {
                VehicleState::from_bytes(payload).filter(VehicleState::is_whole).ok_or(Refusal::NotWhole)?;
                slot.copy_from_slice(payload);
            }
            Self::Other { timestamp } => {
                slot.copy_from_slice(payload);
                if let Some(place) = timestamp.and_then(|at| slot.get_mut(at..)).and_then(<[u8]>::first_chunk_mut) {
                    *place = when(f64::from_le_bytes(*place)).to_le_bytes();
                }
            }
        }
        Ok(())
    }
}

const fn fingerprint<M: Message>() -> u64 {
    lkas_core::fingerprint::<M>()
}

/// A time stamp by this machine's clock, the earliest that it can be. What is no time stays as it is: not finite, and 0,
/// which stands for none.
fn moved(timestamp: f64, offset: Offset) -> f64 {
    if timestamp.is_finite() && timestamp != 0.0 { offset.earliest_s(timestamp) } else { timestamp }
}

fn image(slot: &mut [u8]) -> Result<&mut Image, Refusal> {
    let words = bytemuck::try_cast_slice_mut(slot).map_err(|why| Refusal::Image(why.to_string()))?;
    Image::from_words_mut(words).ok_or(Refusal::NotWhole)
}

fn from_jpeg(shape: ImageShape, payload: &[u8], offset: Offset, slot: &mut [u8]) -> Result<(), Refusal> {
    let wrong = |why: &dyn core::fmt::Display| Refusal::Image(why.to_string());
    let short = Refusal::Length { what: "an image", found: payload.len(), expected: JPEG_HEADER };
    let (header, stream) = payload.split_at_checked(JPEG_HEADER).ok_or(short)?;
    let (id, timestamp) = header.split_at(8);
    let frame_id = u64::from_le_bytes(id.try_into().unwrap_or_default());
    let timestamp = f64::from_le_bytes(timestamp.try_into().unwrap_or_default());
    if !timestamp.is_finite() {
        return Err(Refusal::NotWhole);
    }
    let image = image(slot)?;
    let pixels = image.start(shape, frame_id, moved(timestamp, offset)).ok_or(Refusal::NotWhole)?;
    let colors = if shape.format() == PixelFormat::Gray8 { ColorSpace::Luma } else { ColorSpace::RGB };
    let (width, height) = (shape.width() as usize, shape.height() as usize);
    let options = DecoderOptions::new_fast().set_max_width(width).set_max_height(height);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(stream), options.jpeg_set_out_colorspace(colors));
    decoder.decode_headers().map_err(|why| wrong(&why))?;
    if decoder.dimensions() != Some((width, height)) || decoder.output_buffer_size() != Some(pixels.len()) {
        return Err(wrong(&format_args!("it is not {shape}")));
    }
    decoder.decode_into(pixels).map_err(|why| wrong(&why))?;
    if shape.format() == PixelFormat::Bgr8 {
        pixels.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
    }
    image.seal();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offset::Clocks;
    use lkas_messages::Mode;
    use proptest::prelude::*;

    /// Times of the other machine are 10 s behind: 10 s are added, and nothing is uncertain.
    fn ten_seconds() -> Offset {
        let mut clocks = Clocks::default();
        clocks.add(20_000_000_000, 10_000_000_000, 20_000_000_000);
        clocks.offset(20_000_000_000).unwrap()
    }

    fn shape(format: PixelFormat) -> ImageShape {
        ImageShape::new(64, 48, format).unwrap()
    }

    fn frame(shape: ImageShape) -> Vec<u64> {
        let mut words = vec![0; shape.image_bytes() / 8];
        let image = Image::from_words_mut(&mut words).unwrap();
        let pixels = image.start(shape, 7, 2.5).unwrap();
        let across = shape.format().channels() as usize;
        for (index, pixel) in pixels.chunks_exact_mut(across).enumerate() {
            // Not grey, so that channels which are swapped show.
            pixel.iter_mut().zip([200, (index % 64) as u8, 20]).for_each(|(byte, value)| *byte = value);
        }
        image.seal();
        words
    }

    #[test]
    fn frames_arrive_whole_with_their_time_moved() {
        for format in [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8] {
            let (shape, words) = (shape(format), frame(shape(format)));
            let content = Content::Image(shape);
            let bytes: &[u8] = bytemuck::cast_slice(&words);
            let jpeg = content.to_jpeg(&words, 90).unwrap();
            assert!(jpeg.len() < bytes.len());
            for (encoding, payload) in [(Encoding::Raw, bytes), (Encoding::Jpeg, &jpeg)] {
                let mut slot = vec![0_u64; words.len()];
                content.write(encoding, payload, ten_seconds(), bytemuck::cast_slice_mut(&mut slot)).unwrap();
                let arrived = Image::from_words(&slot).unwrap();
                assert!(arrived.is_whole());
                assert_eq!((arrived.frame_id(), arrived.timestamp(), arrived.shape()), (7, 12.5, Some(shape)));
                let sent = Image::from_words(&words).unwrap().view().unwrap().pixels();
                let got = arrived.view().unwrap().pixels();
                let worst = sent.iter().zip(got).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
                assert!(worst <= if encoding == Encoding::Raw { 0 } else { 24 }, "{format:?} {encoding:?}: {worst}");
            }
        }
    }

    #[test]
    fn frames_that_are_not_whole_are_refused() {
        let shape = shape(PixelFormat::Rgb8);
        let content = Content::Image(shape);
        let mut words = frame(shape);
        let mut slot = vec![0_u64; words.len()];
        let slot: &mut [u8] = bytemuck::cast_slice_mut(&mut slot);
        let jpeg = content.to_jpeg(&words, 90).unwrap();
        assert!(matches!(
            content.write(Encoding::Jpeg, &jpeg[..10], ten_seconds(), slot),
            Err(Refusal::Length { what: "an image", found: 10, expected: 16 })
        ));
        assert!(matches!(content.write(Encoding::Jpeg, &jpeg[..40], ten_seconds(), slot), Err(Refusal::Image(_))));
        let other = Content::Image(ImageShape::new(48, 64, PixelFormat::Rgb8).unwrap());
        assert!(matches!(other.write(Encoding::Jpeg, &jpeg, ten_seconds(), slot), Err(Refusal::Image(_))));
        assert!(matches!(
            Content::Control.write(Encoding::Jpeg, &jpeg, ten_seconds(), slot),
            Err(Refusal::Encoding { .. })
        ));
        words[20] ^= 1;
        let damaged: &[u8] = bytemuck::cast_slice(&words);
        assert_eq!(content.write(Encoding::Raw, damaged, ten_seconds(), slot), Err(Refusal::NotWhole));
        assert_eq!(content.to_jpeg(&words, 90), None, "damage is not sealed anew");
    }

    #[test]
    fn messages_keep_all_but_their_time() {
        let drive = ControlFields { mode: Mode::LaneKeeping, steering: 0.25, frame_id: 9, ..ControlFields::default() };
        for (timestamp, expected) in [(2.5, 12.5), (0.0, 0.0)] {
            let control = Control::try_from(ControlFields { timestamp, ..drive }).unwrap();
            let mut slot = [0; size_of::<Control>()];
            Content::Control.write(Encoding::Raw, control.as_bytes(), ten_seconds(), &mut slot).unwrap();
            let arrived = Control::from_bytes(&slot).unwrap();
            assert!(arrived.is_whole());
            assert_eq!(ControlFields::from(arrived), ControlFields { timestamp: expected, ..drive });
        }
        let mut damaged = *Control::try_from(drive).unwrap().as_bytes().first_chunk::<64>().unwrap();
        damaged[16] ^= 1;
        let refused = Content::Control.write(Encoding::Raw, &damaged, ten_seconds(), &mut [0; 64]);
        assert_eq!(refused, Err(Refusal::NotWhole));

        let detection = DetectionFields { width: 800, timestamp: 2.5, ..DetectionFields::default() };
        let mut slot = [0; size_of::<Detection>()];
        let bytes = Detection::try_from(detection).unwrap();
        Content::Detection.write(Encoding::Raw, bytes.as_bytes(), ten_seconds(), &mut slot).unwrap();
        let arrived = Detection::from_bytes(&slot).unwrap();
        assert!(arrived.is_whole());
        assert_eq!(DetectionFields::from(arrived), DetectionFields { timestamp: 12.5, ..detection });
    }

    #[test]
    fn a_time_in_another_type_is_moved() {
        let other = Content::Other { timestamp: Some(8) };
        let (mut payload, mut slot) = ([1; 16], [0; 16]);
        payload[8..].copy_from_slice(&2.5_f64.to_le_bytes());
        other.write(Encoding::Raw, &payload, ten_seconds(), &mut slot).unwrap();
        assert_eq!((&slot[..8], f64::from_le_bytes(*slot.last_chunk().unwrap())), (&payload[..8], 12.5));
        let refused = other.write(Encoding::Raw, &payload[1..], ten_seconds(), &mut slot);
        assert_eq!(refused, Err(Refusal::Length { what: "a value", found: 15, expected: 16 }));
        Content::Other { timestamp: None }.write(Encoding::Raw, &payload, ten_seconds(), &mut slot).unwrap();
        assert_eq!(slot, payload);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(payload in proptest::collection::vec(any::<u8>(), 0..200), jpeg in any::<bool>()) {
            let encoding = if jpeg { Encoding::Jpeg } else { Encoding::Raw };
            let small = ImageShape::new(4, 4, PixelFormat::Rgb8).unwrap();
            for content in [
                Content::Image(small),
                Content::Control,
                Content::Detection,
                Content::Vehicle,
                Content::Other { timestamp: Some(5) },
            ] {
                let mut slot = vec![0_u64; payload.len() / 8];
                let _ = content.write(encoding, &payload, ten_seconds(), bytemuck::cast_slice_mut(&mut slot));
            }
        }
    }
}
