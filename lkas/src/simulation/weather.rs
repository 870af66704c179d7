//! Light and weather, and what a lens and its sensor add: a picture is drawn in fair weather and then changed.

use super::{
    pinhole::Pinhole,
    texture::{hash, unit, value_noise},
};
use core::f32::consts::TAU;

/// Light and weather. The default is a fair day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// How bright it is, 0 to 1; 0.3 is late dusk.
    pub daylight: f64,
    /// How strongly a low sun ahead blinds, 0 to 1.
    pub sun: f64,
    /// How dark the shadows of trees on the road are, 0 to 1.
    pub shadows: f64,
    /// How strongly the wet road mirrors the sky, 0 to 1.
    pub wet: f64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { daylight: 1.0, sun: 0.0, shadows: 0.0, wet: 0.0 }
    }
}

/// What lens and sensor do to a picture. The default is nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lens {
    /// Standard deviation of the noise in each pixel, in steps of 255.
    pub noise: f64,
    /// What all brightness is multiplied by.
    pub gain: f64,
    /// How much dirt sticks to the windscreen in front of it, 0 to 1.
    pub dirt: f64,
    /// By how many degrees it nods up and down, at about one and a half times a second.
    pub nod_deg: f64,
}

impl Default for Lens {
    fn default() -> Self {
        Self { noise: 0.0, gain: 1.0, dirt: 0.0, nod_deg: 0.0 }
    }
}

/// Noise is cut from a strip of this length.
const STRIP: usize = 1 << 16;

/// Changes pictures as [`Weather`] and [`Lens`] say.
#[derive(Debug)]
pub(super) struct Filter {
    weather: Weather,
    lens: Lens,
    seed: u32,
    noise: Vec<i8>,
    /// What is left of each pixel behind the dirt, in 256ths; empty for a clean one.
    dirt: Vec<u8>,
}

impl Filter {
    pub(super) fn new(weather: Weather, lens: Lens, seed: u32, pinhole: &Pinhole) -> Self {
        let mut noise = Vec::new();
        if lens.noise > 0.0 {
            // The method of G. E. P. Box and M. E. Muller for normal numbers from even ones.
            noise.extend((0..STRIP as u32).map(|i| {
                let even = |k: u32| unit(hash(seed ^ 0x5eed) ^ (2 * i + k)).max(1e-7);
                let normal = (-2.0 * even(0).ln()).sqrt() * (TAU * even(1)).cos();
                (normal * lens.noise as f32).round().clamp(-127.0, 127.0) as i8
            }));
        }
        let mut dirt = Vec::new();
        if lens.dirt > 0.0 {
            let (width, height) = (pinhole.width, pinhole.height);
            dirt.extend((0..width * height).map(|i| {
                let (u, v) = ((i % width) as f32 / width as f32, (i / width) as f32 / height as f32);
                let spots = 0.6 * value_noise(u, v, 3, seed ^ 31) + 0.4 * value_noise(u, v, 5, seed ^ 32);
                let cover = ((spots - 0.9 + 1.1 * lens.dirt as f32) * 2.5).clamp(0.0, 1.0) * 0.75;
                ((1.0 - cover) * 255.0) as u8
            }));
        }
        Self { weather, lens, seed, noise, dirt }
    }

    /// By how much the camera looks down more than it is mounted for after `time_s`, in degrees.
    pub(super) fn nod(&self, time_s: f64) -> f64 {
        // Two frequencies: real springs do not repeat themselves.
        self.lens.nod_deg * (0.7 * (time_s * 9.4).sin() + 0.3 * (time_s * 14.9 + 1.0).sin())
    }

    /// Changes the picture number `frame`.
    pub(super) fn apply(&self, pinhole: &Pinhole, frame: u64, pixels: &mut [u8]) {
        if self.weather.wet > 0.0 {
            mirror(pinhole, self.weather.wet as f32, pixels);
        }
        if self.weather.sun > 0.0 {
            glare(pinhole, self.weather.sun as f32, pixels);
        }
        let tint = if self.weather.daylight < 1.0 { [0.92, 0.95, 1.08] } else { [1.0; 3] };
        let factor = tint.map(|tint| ((self.weather.daylight * self.lens.gain) * tint * 256.0) as u32);
        if factor != [256; 3] {
            for pixel in pixels.chunks_exact_mut(3) {
                for (value, factor) in pixel.iter_mut().zip(factor) {
                    *value = ((u32::from(*value) * factor) >> 8).min(255) as u8;
                }
            }
        }
        for (pixel, &left) in pixels.chunks_exact_mut(3).zip(&self.dirt) {
            let veil = (255 - u16::from(left)) / 3;
            for value in pixel {
                *value = (u16::from(*value) * u16::from(left) / 255 + veil).min(255) as u8;
            }
        }
        if !self.noise.is_empty() {
            for (row, values) in pixels.chunks_mut(3 * pinhole.width).enumerate() {
                let start = hash(self.seed ^ hash(frame as u32) ^ row as u32) as usize % STRIP;
                let (mut values, mut start) = (values, start);
                while !values.is_empty() {
                    let count = values.len().min(STRIP - start);
                    let (now, later) = values.split_at_mut(count);
                    for (value, noise) in now.iter_mut().zip(&self.noise[start..]) {
                        *value = value.saturating_add_signed(*noise);
                    }
                    (values, start) = (later, 0);
                }
            }
        }
    }
}

/// A wet road mirrors what is as far above the horizon as it is below, the more the flatter one looks at it.
fn mirror(pinhole: &Pinhole, wet: f32, pixels: &mut [u8]) {
    let stride = 3 * pinhole.width;
    let horizon = (pinhole.horizon().max(0.0) as usize).min(pinhole.height);
    let (above, below) = pixels.split_at_mut((horizon * stride).min(pixels.len()));
    for (row, values) in below.chunks_exact_mut(stride).enumerate() {
        let Some(from) = (horizon - horizon.min(row + 1)).checked_mul(stride) else { return };
        let Some(source) = above.get(from..from + stride) else { return };
        let flat = 1.0 - (row as f32 / (0.6 * pinhole.focal)).min(1.0);
        let share = (wet * (0.12 + 0.5 * flat * flat) * 256.0) as u32;
        for (value, mirrored) in values.iter_mut().zip(source) {
            *value = ((u32::from(*value) * (256 - share) + u32::from(*mirrored) * share) >> 8) as u8;
        }
    }
}

/// A low sun ahead: a glow around it, and its long reflection on the road.
fn glare(pinhole: &Pinhole, sun: f32, pixels: &mut [u8]) {
    let column = 0.58 * pinhole.width as f32;
    let size = pinhole.focal;
    let horizon = pinhole.horizon();
    for (row, values) in pixels.chunks_exact_mut(3 * pinhole.width).enumerate() {
        let away = (row as f32 - horizon + 0.06 * size) / size;
        let streak = if row as f32 > horizon { 60.0 * (-away * 1.6).exp() } else { 0.0 };
        let glow = 190.0 * (-away * away / 0.06).exp() + 40.0;
        for (x, pixel) in values.chunks_exact_mut(3).enumerate() {
            let aside = (x as f32 - column) / size;
            let fall = aside * aside;
            let light = sun * (glow / (1.0 + fall / 0.05) + streak / (1.0 + fall / 0.004));
            for (value, tint) in pixel.iter_mut().zip([1.0, 0.93, 0.78]) {
                *value = (f32::from(*value) + light * tint).min(255.0) as u8;
            }
        }
    }
}
