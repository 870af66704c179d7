//! A camera frame: a fixed header, then the pixels.

use crate::checksum::{METHOD, checksum_of_both, copy_with_checksum};
use crate::error::MessageError;
use core::fmt;
use lkas_core::{Code, Enumeration, Field, Message, Payload, Plain};
use serde::{Deserialize, Serialize};

/// The largest width and height of an image, in pixels.
pub const MAX_IMAGE_SIDE: u32 = 16_384;

/// What the bytes of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Enumeration)]
#[non_exhaustive]
#[repr(u32)]
pub enum PixelFormat {
    /// Three bytes: red, green, blue.
    Rgb8 = 1,
    /// Three bytes: blue, green, red.
    Bgr8 = 2,
    /// One byte: brightness.
    Gray8 = 3,
}

impl PixelFormat {
    /// Bytes for each pixel, which is also the number of channels.
    #[must_use]
    pub const fn channels(self) -> u32 {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Gray8 => 1,
        }
    }

    const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Rgb8),
            2 => Some(Self::Bgr8),
            3 => Some(Self::Gray8),
            _ => None,
        }
    }
}

/// The size and pixel format of every image on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ShapeFields")]
pub struct ImageShape {
    width: u32,
    height: u32,
    format: PixelFormat,
}

/// A shape as it comes in, not checked yet.
#[derive(Deserialize)]
#[serde(rename = "ImageShape")]
struct ShapeFields {
    width: u32,
    height: u32,
    format: PixelFormat,
}

impl TryFrom<ShapeFields> for ImageShape {
    type Error = MessageError;

    fn try_from(ShapeFields { width, height, format }: ShapeFields) -> Result<Self, MessageError> {
        Self::new(width, height, format)
    }
}

impl ImageShape {
    /// A shape of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`MessageError::Shape`] where a side is 0 or above [`MAX_IMAGE_SIDE`].
    pub const fn new(width: u32, height: u32, format: PixelFormat) -> Result<Self, MessageError> {
        if width == 0 || height == 0 || width > MAX_IMAGE_SIDE || height > MAX_IMAGE_SIDE {
            return Err(MessageError::Shape { width, height });
        }
        Ok(Self { width, height, format })
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(self) -> u32 {
        self.height
    }

    /// What the bytes of a pixel mean.
    #[must_use]
    pub const fn format(self) -> PixelFormat {
        self.format
    }

    /// Bytes of pixels: width x height x channels.
    #[must_use]
    pub const fn pixel_bytes(self) -> usize {
        self.width as usize * self.height as usize * self.format.channels() as usize
    }

    /// Bytes of a whole [`Image`] of this shape: its header and the pixels, rounded up to the header's alignment.
    #[must_use]
    pub const fn image_bytes(self) -> usize {
        (size_of::<ImageHeader>() + self.pixel_bytes()).next_multiple_of(align_of::<ImageHeader>())
    }

    /// The shape as four words for a segment's header: width, height, channels, format.
    #[must_use]
    pub const fn to_words(self) -> [u32; 4] {
        [self.width, self.height, self.format.channels(), self.format as u32]
    }

    /// The shape that four words of a segment's header describe; `None` where they describe none.
    #[must_use]
    pub const fn from_words([width, height, channels, code]: [u32; 4]) -> Option<Self> {
        let Some(format) = PixelFormat::from_code(code) else { return None };
        if channels != format.channels() {
            return None;
        }
        match Self::new(width, height, format) {
            Ok(shape) => Some(shape),
            Err(_) => None,
        }
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {:?}", self.width, self.height, self.format)
    }
}

/// The fixed part of an [`Image`]; 64 bytes.
#[derive(Clone, Copy, Debug, Message)]
#[message(name = "lkas.ImageHeader")]
#[repr(C)]
pub struct ImageHeader {
    frame_id: u64,
    #[message(unit = "s")]
    timestamp: f64,
    #[message(unit = "px")]
    width: u32,
    #[message(unit = "px")]
    height: u32,
    channels: u32,
    format: Code<PixelFormat>,
    check: u32,
    reserved: [u32; 7],
}

const _: () = assert!(size_of::<ImageHeader>() == 64 && align_of::<ImageHeader>() == 8);

/// A frame in a channel's slot: [`ImageHeader`], then the pixels, row by row from the top left, without gaps.
///
/// The pixels start 64 bytes behind the header's first byte. Fill them in place, then call [`seal`](Self::seal); or have them
/// copied there and sealed in one pass, by [`copy_from`](Self::copy_from).
///
/// `CHECKED` says whether there is a check value. It is part of the type: a channel of the one is refused by who expects the
/// other.
#[repr(C)]
pub struct Image<const CHECKED: bool = true> {
    header: ImageHeader,
    // As long as the slot allows; how much of it is frame, the header says. Words, so that no padding follows them.
    words: [u64],
}

/// An [`Image`] without a check value, between programs that trust their memory: sealing it costs nothing, and it is whole
/// wherever its header describes a frame. The channel still never delivers a torn one.
pub type UncheckedImage = Image<false>;

// SAFETY: a plain header of whole words, then words: any bit pattern is valid, and there is no padding. The tail is as long
// as the size allows, rounded down to whole words; without room for any, the value is the header alone.
unsafe impl<const CHECKED: bool> Payload for Image<CHECKED> {
    /// So that the pixels, 64 bytes further on, start a cache line.
    const ALIGN: usize = 64;

    #[inline]
    fn at(start: *mut u8, size: usize) -> *mut Self {
        let words = size.saturating_sub(size_of::<ImageHeader>()) / size_of::<u64>();
        core::ptr::slice_from_raw_parts_mut(start.cast::<u64>(), words) as *mut Self
    }
}

fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: words are bytes, as many as there are.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: as above, and any bytes are words.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

// Of images with a check value alone, so that `Image::from_words` says which it means.
impl Image {
    /// An image in `words`, with whatever is in them; `None` where they are less than its header.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Option<&Self> {
        let start = Self::at(words.as_ptr().cast_mut().cast(), size_of_val(words));
        // SAFETY: borrowed as long as the result, aligned as words are, and as large as they are.
        (size_of_val(words) >= size_of::<ImageHeader>()).then(|| unsafe { &*start })
    }

    /// As [`from_words`](Self::from_words), to be filled.
    #[must_use]
    pub fn from_words_mut(words: &mut [u64]) -> Option<&mut Self> {
        let size = size_of_val(words);
        let start = Self::at(words.as_mut_ptr().cast(), size);
        // SAFETY: as above, and nobody else has them.
        (size >= size_of::<ImageHeader>()).then(|| unsafe { &mut *start })
    }
}

impl<const CHECKED: bool> Image<CHECKED> {
    /// All of the image as words: its header, then the pixels and whatever is behind them.
    #[must_use]
    pub fn as_words(&self) -> &[u64] {
        let start = core::ptr::from_ref(self).cast::<u64>();
        // SAFETY: header and tail are whole words without padding.
        unsafe { core::slice::from_raw_parts(start, size_of_val(self) / size_of::<u64>()) }
    }

    /// As [`as_words`](Self::as_words); any words are an image.
    #[must_use]
    pub fn as_words_mut(&mut self) -> &mut [u64] {
        let start = core::ptr::from_mut(self).cast::<u64>();
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(start, size_of_val(self) / size_of::<u64>()) }
    }

    /// Sets shape, frame id and capture time, and returns the pixels to be filled. Their content is that of an earlier
    /// frame. `None` where the image's memory is too small for `shape`.
    ///
    /// `timestamp` is the instant that the frame shows, in seconds.
    pub fn start(&mut self, shape: ImageShape, frame_id: u64, timestamp: f64) -> Option<&mut [u8]> {
        let pixels = bytes_mut(&mut self.words).get_mut(..shape.pixel_bytes())?;
        let [width, height, channels, _] = shape.to_words();
        let format = shape.format().into();
        self.header = ImageHeader { frame_id, timestamp, width, height, channels, format, check: 0, reserved: [0; 7] };
        Some(pixels)
    }

    /// Copies `frame` and seals it in one pass, part by part, so that each is looked at and copied while it is in the
    /// processor's first cache. `false`, and nothing copied, where the image's memory is too small for it.
    ///
    /// `timestamp` is the instant that the frame shows, in seconds.
    pub fn copy_from(&mut self, frame: &ImageView<'_>, frame_id: u64, timestamp: f64) -> bool {
        let Some(pixels) = self.start(frame.shape, frame_id, timestamp) else { return false };
        if !CHECKED {
            pixels.copy_from_slice(frame.pixels);
            return true;
        }
        let header = self.header;
        let pixels = bytes_mut(&mut self.words).get_mut(..frame.pixels.len()).unwrap_or_default();
        self.header.check = copy_with_checksum(header.as_bytes(), pixels, frame.pixels);
        true
    }

    /// Writes the check value over header and pixels. An image that was not sealed is not whole.
    pub fn seal(&mut self) {
        self.header.check = self.check_value();
    }

    /// Whether header and pixels are those that were sealed together. Reads every byte.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.shape().is_some() && self.header.check == self.check_value()
    }

    fn check_value(&self) -> u32 {
        if !CHECKED {
            return 0;
        }
        let header = ImageHeader { check: 0, ..self.header };
        checksum_of_both(header.as_bytes(), self.view().map_or(&[], |view| view.pixels))
    }

    /// The number of the frame, counted from its source's start.
    #[must_use]
    pub fn frame_id(&self) -> u64 {
        self.header.frame_id
    }

    /// The instant that the frame shows, in seconds of the monotonic clock; 0 where it is not finite.
    #[must_use]
    pub fn timestamp(&self) -> f64 {
        if self.header.timestamp.is_finite() { self.header.timestamp } else { 0.0 }
    }

    /// Size and format, `None` where the header describes no frame that fits this memory.
    #[must_use]
    pub fn shape(&self) -> Option<ImageShape> {
        let header = &self.header;
        ImageShape::from_words([header.width, header.height, header.channels, header.format.number()])
            .filter(|shape| shape.pixel_bytes() <= size_of_val(&self.words))
    }

    /// The frame: shape and pixels; `None` as for [`shape`](Self::shape).
    #[must_use]
    pub fn view(&self) -> Option<ImageView<'_>> {
        let shape = self.shape()?;
        let pixels = bytes(&self.words).get(..shape.pixel_bytes())?;
        Some(ImageView { shape, pixels })
    }
}

impl<const CHECKED: bool> fmt::Debug for Image<CHECKED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<const CHECKED: bool> Message for Image<CHECKED> {
    const NAME: &'static str = "lkas.Image";
    // Of the header alone: what the pixels are follows from it.
    const FIELDS: &'static [Field] = ImageHeader::FIELDS;
    const SEMANTICS: &'static str = if CHECKED { METHOD } else { "no check value" };
}

/// A borrowed frame: `pixels` has exactly `shape.pixel_bytes()` bytes.
#[derive(Clone, Copy)]
pub struct ImageView<'a> {
    shape: ImageShape,
    pixels: &'a [u8],
}

impl<'a> ImageView<'a> {
    /// A frame over `pixels`; `None` unless there are exactly as many bytes as `shape` says.
    #[must_use]
    pub fn new(shape: ImageShape, pixels: &'a [u8]) -> Option<Self> {
        (pixels.len() == shape.pixel_bytes()).then_some(Self { shape, pixels })
    }

    /// Size and format.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The pixels, row by row from the top left.
    #[must_use]
    pub fn pixels(&self) -> &'a [u8] {
        self.pixels
    }
}

impl fmt::Debug for ImageView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageView").field("shape", &self.shape).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CodecError, codec};
    use std::vec;
    use std::vec::Vec;

    const SHAPE: ImageShape = match ImageShape::new(5, 3, PixelFormat::Rgb8) {
        Ok(shape) => shape,
        Err(_) => panic!(),
    };

    fn image(memory: &mut [u64]) -> &mut Image {
        Image::from_words_mut(memory).unwrap()
    }

    fn with_image(test: impl FnOnce(&mut Image)) {
        test(image(&mut vec![0u64; SHAPE.image_bytes() / 8]));
    }

    #[test]
    fn a_sealed_image_is_whole_until_any_part_changes() {
        with_image(|image| {
            image.start(SHAPE, 7, 1.5).unwrap().fill(9);
            assert!(!image.is_whole());
            image.seal();
            assert!(image.is_whole());
            assert_eq!((image.frame_id(), image.timestamp()), (7, 1.5));
            assert_eq!(image.view().unwrap().pixels(), [9; 45]);
            bytes_mut(&mut image.words)[44] = 8;
            assert!(!image.is_whole());
            bytes_mut(&mut image.words)[44] = 9;
            image.header.frame_id = 8;
            assert!(!image.is_whole());
        });
    }

    /// Distances in bytes at which a hash may treat words alike: neighbours, words, vectors, stripes and blocks of stripes.
    const DISTANCES: [usize; 9] = [1, 4, 8, 16, 32, 64, 128, 1024, 4096];

    /// Where an interpreter is too slow for all places in a frame of some size, it gets some in a small one.
    const STRIDE: usize = if cfg!(miri) { 331 } else { 1 };

    fn larger_picture(frame_id: u64, pixel: u8) -> Vec<u64> {
        let (width, height) = if cfg!(miri) { (16, 8) } else { (64, 48) };
        let shape = ImageShape::new(width, height, PixelFormat::Rgb8).unwrap();
        let mut memory = vec![0; shape.image_bytes() / 8];
        let image = image(&mut memory);
        image.start(shape, frame_id, 1.5).unwrap().fill(pixel);
        image.seal();
        memory
    }

    #[test]
    fn flipped_bits_anywhere_in_a_picture_are_noticed() {
        for pixel in [0, 0x5a] {
            let mut memory = larger_picture(7, pixel);
            let size = size_of_val(&*memory);
            let mut is_whole = |at: usize, bit: u8| {
                bytes_mut(&mut memory)[at] ^= bit;
                image(&mut memory).is_whole()
            };
            assert!(is_whole(0, 0));
            // Each with the topmost bit of its words, which many a multiplication does not spread, and with another.
            for (at, bit) in (0..size).step_by(STRIDE).flat_map(|at| [(at, 0x80), (at, 1 << (at % 7))]) {
                assert!(!is_whole(at, bit), "byte {at}, bit {bit:#x}");
                let others = DISTANCES.iter().map(|distance| at + distance).chain([(at * 31 + 17) % size]);
                for other in others.filter(|other| *other < size && *other != at) {
                    assert!(!is_whole(other, bit), "bytes {at} and {other}, bit {bit:#x}");
                    assert!(!is_whole(other, bit), "byte {at} again");
                }
                assert!(is_whole(at, bit), "byte {at} as it was");
            }
        }
    }

    #[test]
    fn parts_of_two_pictures_are_no_picture() {
        let (old, new) = (larger_picture(1, 10), larger_picture(2, 11));
        for seam in (1..old.len()).step_by(STRIDE) {
            for (first, second) in [(&old, &new), (&new, &old)] {
                let mut torn = [&first[..seam], &second[seam..]].concat();
                assert!(!image(&mut torn).is_whole(), "{seam}");
            }
        }
    }

    #[test]
    fn a_copied_frame_is_sealed_as_one_that_was_filled_in_place() {
        // One that is shorter than what is copied at a time, and two that are longer; fewer where an interpreter looks.
        let sizes = if cfg!(miri) { [(5, 3), (16, 6), (16, 11)] } else { [(5, 3), (64, 43), (64, 128)] };
        for (width, height) in sizes {
            let shape = ImageShape::new(width, height, PixelFormat::Rgb8).unwrap();
            let pixels: Vec<u8> = (0..shape.pixel_bytes()).map(|at| (at * 7 + at / 251) as u8).collect();
            let frame = ImageView::new(shape, &pixels).unwrap();
            let (mut copied, mut filled) = (vec![0; shape.image_bytes() / 8], vec![0; shape.image_bytes() / 8]);
            assert!(image(&mut copied).copy_from(&frame, 7, 1.5));
            image(&mut filled).start(shape, 7, 1.5).unwrap().copy_from_slice(&pixels);
            image(&mut filled).seal();
            assert!(copied == filled && image(&mut copied).is_whole(), "{shape}");
            assert!(!image(&mut vec![0; shape.image_bytes() / 8 - 1]).copy_from(&frame, 7, 1.5));
        }
    }

    #[test]
    fn without_a_check_value_it_is_another_type() {
        let mut memory = vec![0u64; SHAPE.image_bytes() / 8];
        let start = UncheckedImage::at(memory.as_mut_ptr().cast(), size_of_val(&*memory));
        // SAFETY: memory of that size, borrowed by nobody else.
        let image = unsafe { &mut *start };
        assert!(!image.is_whole(), "zeroes describe no picture");
        assert!(image.copy_from(&ImageView::new(SHAPE, &[9; 45]).unwrap(), 7, 1.5));
        image.seal();
        assert!(image.is_whole() && image.view().unwrap().pixels() == [9; 45] && image.header.check == 0);
        assert_ne!(UncheckedImage::SEMANTICS, <Image>::SEMANTICS);
    }

    #[test]
    fn a_shape_that_does_not_fit_is_no_picture() {
        with_image(|image| {
            assert!(image.view().is_none(), "zeroes describe no picture");
            let large = ImageShape::new(16, 3, PixelFormat::Rgb8).unwrap();
            assert!(image.start(large, 1, 0.0).is_none());
            image.start(SHAPE, 1, f64::NAN).unwrap();
            assert_eq!(image.timestamp(), 0.0);
            image.header.height = 1000;
            assert!(image.view().is_none());
            image.seal();
            assert!(!image.is_whole());
        });
    }

    #[test]
    fn shapes_are_checked_and_survive_the_header() {
        assert_eq!(ImageShape::from_words(SHAPE.to_words()), Some(SHAPE));
        assert_eq!(ImageShape::from_words([5, 3, 1, 1]), None, "RGB has three channels");
        assert_eq!(ImageShape::from_words([0, 3, 3, 1]), None);
        assert!(ImageShape::new(MAX_IMAGE_SIDE + 1, 3, PixelFormat::Gray8).is_err());
    }

    #[test]
    fn shapes_are_checked_when_they_are_decoded() {
        let mut space = [0; 16];
        let encoded = codec::encode(&SHAPE, &mut space).unwrap();
        assert_eq!(encoded, [5, 3, 0], "width, height, format");
        assert_eq!(codec::decode(encoded), Ok(SHAPE));
        for (width, height) in [(0, 0), (0, 3), (5, 0), (5, MAX_IMAGE_SIDE + 1), (u32::MAX, u32::MAX)] {
            let encoded = codec::encode(&(width, height, PixelFormat::Rgb8), &mut space).unwrap();
            assert_eq!(codec::decode::<ImageShape>(encoded), Err(CodecError::Malformed), "{width}x{height}");
        }
        let json = serde_json::to_string(&SHAPE).unwrap();
        assert_eq!(json, r#"{"width":5,"height":3,"format":"Rgb8"}"#);
        assert_eq!(serde_json::from_str::<ImageShape>(&json).unwrap(), SHAPE);
    }
}
