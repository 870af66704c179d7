//! The channels of a lane keeping system.

use crate::channel_type::ChannelType;
use crate::channels::{Channel, Reader, Writer};
use crate::error::{CreateError, OpenError};
use crate::name::ChannelName;
use crate::options::{OpenOptions, Options};
use core::fmt;
use lkas_messages::{Control, Detection, Image, ImageHeader, ImageShape, ImageView, UncheckedImage};

/// Channels of [`Detection`]s.
pub type DetectionChannel = Channel<Detection>;
/// Channels of [`Control`]s.
pub type ControlChannel = Channel<Control>;

/// Channels of [`Image`]s, whose shape is chosen at creation and found by readers from the channel itself.
#[derive(Debug)]
pub struct ImageChannel(());

impl ImageChannel {
    /// Creates the channel for frames of `shape` and becomes its writer; see [`Channel::create`]. Over a channel of
    /// another shape whose writer is gone, that one is retired and replaced.
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create(name: &ChannelName, shape: ImageShape, options: Options) -> Result<Writer<Image>, CreateError> {
        create(name, shape, options)
    }

    /// Opens the channel as a reader; see [`Channel::open`].
    ///
    /// # Errors
    /// As [`Channel::open`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<Reader<Image>, OpenError> {
        open(name, &options.into())
    }
}

/// As [`ImageChannel`], of images without a check value: between programs that trust their memory. The one refuses readers
/// of the other.
#[derive(Debug)]
pub struct UncheckedImageChannel(());

impl UncheckedImageChannel {
    /// As [`ImageChannel::create`].
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create(
        name: &ChannelName,
        shape: ImageShape,
        options: Options,
    ) -> Result<Writer<UncheckedImage>, CreateError> {
        create(name, shape, options)
    }

    /// As [`ImageChannel::open`].
    ///
    /// # Errors
    /// As [`Channel::open`].
    pub fn open(name: &ChannelName, options: impl Into<OpenOptions>) -> Result<Reader<UncheckedImage>, OpenError> {
        open(name, &options.into())
    }
}

fn create<const CHECKED: bool>(
    name: &ChannelName,
    shape: ImageShape,
    options: Options,
) -> Result<Writer<Image<CHECKED>>, CreateError> {
    Writer::create(name, ChannelType::sized::<Image<CHECKED>>(shape.image_bytes(), shape.to_words()), options)
}

fn open<const CHECKED: bool>(name: &ChannelName, options: &OpenOptions) -> Result<Reader<Image<CHECKED>>, OpenError> {
    let least = size_of::<ImageHeader>();
    Reader::open(name, Some((ChannelType::sized::<Image<CHECKED>>(least, [0; 4]), least..=usize::MAX)), options)
}

impl<const CHECKED: bool> Writer<Image<CHECKED>> {
    /// The shape of the channel's frames.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        // Chosen at creation by an `ImageShape`, so it is one.
        ImageShape::from_words(self.channel_type().shape).unwrap_or_else(|| unreachable!("created from a shape"))
    }

    /// Publishes a copy of a frame, sealed in one pass with the copy. `timestamp` is the instant that it shows, in
    /// seconds of the [clock](crate::clock).
    ///
    /// # Errors
    /// [`PixelsError`] unless `pixels` has exactly as many bytes as the channel's shape says.
    pub fn write(&mut self, frame_id: u64, timestamp: f64, pixels: &[u8]) -> Result<(), PixelsError> {
        let shape = self.shape();
        let wrong = PixelsError { found: pixels.len(), expected: shape };
        let frame = ImageView::new(shape, pixels).ok_or(wrong)?;
        let mut loan = self.loan();
        if !loan.copy_from(&frame, frame_id, timestamp) {
            return Err(wrong);
        }
        loan.publish();
        Ok(())
    }
}

impl<const CHECKED: bool> Reader<Image<CHECKED>> {
    /// The shape of the channel's frames; `None` where the header's words describe none.
    #[must_use]
    pub fn shape(&self) -> Option<ImageShape> {
        ImageShape::from_words(self.shape_words()).filter(|shape| shape.image_bytes() <= self.payload_size())
    }
}

/// The pixels given are not those of the channel's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelsError {
    /// Bytes given.
    pub found: usize,
    /// The channel's shape.
    pub expected: ImageShape,
}

impl fmt::Display for PixelsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, expected) = (self.found, self.expected);
        write!(f, "{found} bytes of pixels, expected {} for {expected}", expected.pixel_bytes())
    }
}

impl core::error::Error for PixelsError {}
