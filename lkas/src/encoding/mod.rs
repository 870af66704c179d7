//! Frames as JPEG, for viewers.

mod frames;
#[allow(unsafe_code)] // calls into a C library
mod turbojpeg;

pub(crate) use self::frames::{Encoded, Figures, FrameThread};

use self::turbojpeg::TurboJpeg;
use crate::Failure;
use crate::number::within;
use clap::Args;
use jpeg_encoder::{ColorType, Encoder};
use lkas_messages::PixelFormat;
use std::time::Duration;

/// How frames are encoded for viewers.
#[derive(Args, Clone, Copy, Debug)]
pub struct EncodingOptions {
    /// How good the frames for viewers are, 1 to 100
    #[arg(long, default_value_t = 80, global = true, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub jpeg_quality: u8,
    /// Frames a second for viewers, at most; all frames of the camera where it is not given
    #[arg(long, global = true, value_name = "RATE", value_parser = rate)]
    pub viewer_fps: Option<f64>,
}

fn rate(text: &str) -> Result<f64, String> {
    within(0.1..=1000.0, text, "expected a number of frames a second, 0.1 to 1000")
}

impl EncodingOptions {
    /// These options as arguments for a child process.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let rate = self.viewer_fps.map(|rate| format!("--viewer-fps={rate}"));
        [format!("--jpeg-quality={}", self.jpeg_quality)].into_iter().chain(rate).collect()
    }

    /// The time from one frame for viewers to the next, at least.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.viewer_fps.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate))
    }
}

/// What a pixel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Red, green and blue, a byte each.
    Rgb,
    /// Blue, green and red, a byte each.
    Bgr,
    /// Brightness, a byte.
    Gray,
}

impl From<PixelFormat> for Colour {
    fn from(format: PixelFormat) -> Self {
        match format {
            PixelFormat::Bgr8 => Self::Bgr,
            PixelFormat::Gray8 => Self::Gray,
            _ => Self::Rgb,
        }
    }
}

/// Makes JPEGs: by libturbojpeg where the system has it, otherwise by an encoder that is built in.
#[derive(Debug)]
pub struct JpegEncoder {
    turbo: Option<TurboJpeg>,
    quality: u8,
}

impl JpegEncoder {
    /// The fastest encoder of this system, for a quality of 1 to 100.
    #[must_use]
    pub fn new(quality: u8) -> Self {
        let turbo = TurboJpeg::load().inspect_err(|why| tracing::debug!("no libturbojpeg: {why}")).ok();
        Self { turbo, quality }
    }

    /// The encoder that is always there.
    #[must_use]
    pub const fn built_in(quality: u8) -> Self {
        Self { turbo: None, quality }
    }

    /// Which encoder it is.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        if self.turbo.is_some() { "libturbojpeg" } else { "built in" }
    }

    /// Encodes `width` times `height` pixels, row by row, to the end of `jpeg`.
    ///
    /// # Errors
    /// Pixels that are not as many, or sides of 0.
    pub fn encode(
        &mut self,
        pixels: &[u8],
        width: u16,
        height: u16,
        colour: Colour,
        jpeg: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if let Some(turbo) = &mut self.turbo {
            match turbo.encode(pixels, width, height, colour, self.quality, jpeg) {
                Ok(()) => return Ok(()),
                Err(why) => {
                    tracing::warn!("libturbojpeg is used no more: {why}");
                    self.turbo = None;
                }
            }
        }
        let kind = match colour {
            Colour::Rgb => ColorType::Rgb,
            Colour::Bgr => ColorType::Bgr,
            Colour::Gray => ColorType::Luma,
        };
        Ok(Encoder::new(jpeg, self.quality).encode(pixels, width, height, kind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slope in each channel, of which encoders lose little.
    fn pixels(channels: usize) -> Vec<u8> {
        (0..64 * 48).flat_map(|i| [i % 64 * 4, i / 64 * 5, 90].into_iter().take(channels)).map(|v| v as u8).collect()
    }

    fn check(mut encoder: JpegEncoder) {
        let name = encoder.name();
        for (colour, channels) in [(Colour::Rgb, 3), (Colour::Bgr, 3), (Colour::Gray, 1)] {
            let (pixels, mut jpeg) = (pixels(channels), b"before".to_vec());
            encoder.encode(&pixels, 64, 48, colour, &mut jpeg).unwrap();
            let image = image::load_from_memory(jpeg.strip_prefix(b"before").unwrap()).unwrap().into_rgb8();
            assert_eq!(image.dimensions(), (64, 48));
            let expected = |i: usize| match (colour, &pixels[i * channels..(i + 1) * channels]) {
                (Colour::Bgr, &[b, g, r]) => [r, g, b],
                (_, &[r, g, b]) => [r, g, b],
                (_, other) => [other[0]; 3],
            };
            let errors = image.pixels().enumerate().flat_map(|(i, found)| {
                expected(i).into_iter().zip(found.0).map(|(expected, found)| f64::from(expected.abs_diff(found)))
            });
            let mean = errors.sum::<f64>() / (64.0 * 48.0 * 3.0);
            assert!(mean < 4.0, "{name}, {colour:?}: off by {mean:.1}");
        }
        assert!(encoder.encode(&pixels(1), 64, 48, Colour::Rgb, &mut Vec::new()).is_err(), "too few pixels");
    }

    #[test]
    fn the_built_in_encoder_makes_what_a_decoder_reads() {
        check(JpegEncoder::built_in(85));
    }

    #[test]
    fn libturbojpeg_makes_what_a_decoder_reads() {
        let encoder = JpegEncoder::new(85);
        if encoder.turbo.is_none() {
            assert!(std::env::var_os("LKAS_REQUIRE_TURBOJPEG").is_none(), "libturbojpeg is required");
            eprintln!("LEFT OUT, because there is no libturbojpeg.so.0 (Debian: libturbojpeg0)");
            return;
        }
        check(encoder);
    }

    #[test]
    fn an_encoder_that_fails_is_replaced_by_the_built_in_one() {
        let mut encoder = JpegEncoder::new(85);
        let before = encoder.name();
        // Neither can encode this; from then on the other one is asked.
        assert!(encoder.encode(&[], 0, 0, Colour::Rgb, &mut Vec::new()).is_err());
        assert_eq!(encoder.name(), "built in", "{before} was");
        let mut jpeg = Vec::new();
        encoder.encode(&pixels(3), 64, 48, Colour::Rgb, &mut jpeg).unwrap();
        assert!(jpeg.starts_with(&[0xff, 0xd8]));
    }
}
