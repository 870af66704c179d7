//! Sky, clouds and the hills on the horizon.

use super::{
    ground::HAZE,
    palette::Palette,
    pinhole::Pinhole,
    texture::{self, Course, Ripmap, phase, phase_step, value_noise},
};
use core::f64::consts::TAU;

const ZENITH: [f32; 3] = [92.0, 146.0, 212.0];
const CLOUD: [f32; 3] = [250.0, 250.0, 250.0];

/// Ranges of hills from the farthest to the nearest: colour, least and largest height as tangents of the elevation.
const HILLS: [([f32; 3], [f32; 2]); 2] =
    [([176.0, 193.0, 206.0], [0.012, 0.085]), ([144.0, 166.0, 160.0], [0.004, 0.046])];

/// The horizon's outline is stored for this many directions.
const DIRECTIONS: usize = 4096;

/// Extent of the clouds' texture, as a multiple of their height above the camera.
const CLOUD_TILE: f64 = 9.0;

/// Everything above the horizon. It is infinitely far away: only the vehicle's heading matters.
#[derive(Debug)]
pub(super) struct Sky {
    clouds: Ripmap,
    /// Heights of the hills for every direction.
    hills: [Vec<f32>; 2],
    /// The direction of each column relative to the vehicle's, in radians.
    columns: Vec<f32>,
    /// How high the hills of the picture in work reach in each column, in pixels above the horizon.
    heights: [Vec<f32>; 2],
    /// The cover of clouds in each column of the row in work, 0 to 127.
    covers: Vec<i16>,
}

impl Sky {
    pub(super) fn new(pinhole: &Pinhole) -> Self {
        let outline = |range: usize| {
            let [least, most] = HILLS[range].1;
            let height = |direction: usize| {
                let u = direction as f32 / DIRECTIONS as f32;
                let octave = |bits, seed| value_noise(u, 0.0, bits, seed + 100 * range as u32);
                let rough = 0.55 * octave(4, 1) + 0.3 * octave(5, 2) + 0.12 * octave(7, 3) + 0.03 * octave(9, 4);
                least + (most - least) * (0.5 + 0.5 * rough).clamp(0.0, 1.0)
            };
            (0..DIRECTIONS).map(height).collect()
        };
        let column = |i: usize| ((i as f32 + 0.5 - pinhole.centre[0]) / pinhole.focal).atan();
        Self {
            clouds: texture::clouds(),
            hills: [outline(0), outline(1)],
            columns: (0..pinhole.width).map(column).collect(),
            heights: [vec![0.0; pinhole.width], vec![0.0; pinhole.width]],
            covers: vec![0; pinhole.width],
        }
    }

    /// Draws the rows from the top to the horizon.
    pub(super) fn draw(&mut self, pinhole: &Pinhole, heading: f64, pixels: &mut [u8]) {
        let mut highest = 0.0_f32;
        let turn = DIRECTIONS as f64 / TAU;
        let first = (heading / TAU).rem_euclid(1.0) * DIRECTIONS as f64;
        for (heights, hills) in self.heights.iter_mut().zip(&self.hills) {
            for (height, column) in heights.iter_mut().zip(&self.columns) {
                let at = (first + f64::from(*column) * turn).rem_euclid(DIRECTIONS as f64);
                let (index, part) = (at as usize, at.fract() as f32);
                let (a, b) = (hills[index % DIRECTIONS], hills[(index + 1) % DIRECTIONS]);
                *height = pinhole.focal * (a + (b - a) * part);
                highest = highest.max(*height);
            }
        }
        let (sin, cos) = heading.sin_cos();
        for (i, row) in pixels.chunks_exact_mut(3 * pinhole.width).enumerate() {
            self.air(pinhole, i as f32 + 0.5, [sin, cos], row);
            let above = pinhole.horizon() - i as f32;
            if above <= highest + 1.0 {
                self.hills(above, pinhole.focal, row);
            }
        }
    }

    /// The gradient, and clouds on a plane far above the ground.
    fn air(&mut self, pinhole: &Pinhole, row: f32, [sin, cos]: [f64; 2], pixels: &mut [u8]) {
        let [ahead, down] = pinhole.ray(row);
        let up = (-down).max(0.5);
        let elevation = up / pinhole.focal;
        let blue = (elevation / 0.75).min(1.0).powf(0.6);
        let air: [f32; 3] = core::array::from_fn(|i| HAZE[i] + (ZENITH[i] - HAZE[i]) * blue);
        // Clouds near the horizon are too far away to be seen.
        let fade = ((elevation - 0.05) / 0.2).clamp(0.0, 1.0) * 0.85;
        let base = air.map(|value| (value * 256.0) as i32 + 128);
        let swing: [i32; 3] = core::array::from_fn(|i| ((CLOUD[i] - air[i]) * fade * 256.0 / 127.0) as i32);

        let scale = 1.0 / f64::from(up) / CLOUD_TILE;
        let (ahead, right) = (f64::from(ahead) * scale, f64::from(0.5 - pinhole.centre[0]) * scale);
        let course = Course {
            u: phase(ahead * cos - right * sin),
            u_step: phase_step(-sin * scale),
            v: phase(ahead * sin + right * cos),
            v_step: phase_step(cos * scale),
        };
        let extent = (scale as f32 / elevation).min(1.0);
        self.clouds.level(extent, extent).along(&course, &mut self.covers);
        Palette::<128>::new(0, base, swing).paint(&self.covers, pixels);
    }

    /// The hills of a row whose upper edge is `above` pixels above the horizon.
    fn hills(&self, above: f32, focal: f32, pixels: &mut [u8]) {
        for ((heights, (colour, [_, most])), step) in self.heights.iter().zip(HILLS).zip([0.55, 0.5]) {
            // The foot of the hills lies deeper in the haze than their tops.
            let visible = 0.25 + step * (above / (most * focal)).clamp(0.0, 1.0);
            let colour: [f32; 3] = core::array::from_fn(|i| HAZE[i] + (colour[i] - HAZE[i]) * visible.min(1.0));
            let whole = colour.map(|value| value as u8);
            for (height, pixel) in heights.iter().zip(pixels.chunks_exact_mut(3)) {
                let share = height - above + 1.0;
                if share >= 1.0 {
                    pixel.copy_from_slice(&whole);
                } else if share > 0.0 {
                    for (value, hill) in pixel.iter_mut().zip(colour) {
                        *value = (f32::from(*value) + (hill - f32::from(*value)) * share) as u8;
                    }
                }
            }
        }
    }
}
