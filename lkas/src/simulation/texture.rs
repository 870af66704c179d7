//! Noise for surfaces and clouds, prepared at every resolution that a picture needs.

use core::f32::consts::TAU;
use multiversion::multiversion;

/// Side of the finest level in texels, as a power of two.
const BITS: u32 = 9;

/// How often each axis is halved.
const LEVELS: u32 = 7;

/// A well mixed number for each number: one round of the integer hash "lowbias32" by Chris Wellons.
pub(super) fn hash(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The same as a number from 0 to 1.
pub(super) fn unit(x: u32) -> f32 {
    hash(x) as f32 / u32::MAX as f32
}

/// Smooth noise from -1 to 1 on a grid of `1 << cells_bits` cells each way, periodic; `u` and `v` from 0 to 1.
pub(super) fn value_noise(u: f32, v: f32, cells_bits: u32, seed: u32) -> f32 {
    let cells = 1_u32 << cells_bits;
    let (x, y) = (u * cells as f32, v * cells as f32);
    let (ix, iy) = (x as u32, y as u32);
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (smooth(x - ix as f32), smooth(y - iy as f32));
    let corner = |dx: u32, dy: u32| {
        let (x, y) = ((ix + dx) & (cells - 1), (iy + dy) & (cells - 1));
        2.0 * unit(seed ^ (y << 16 | x)) - 1.0
    };
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * fx;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * fx;
    top + (bottom - top) * fy
}

/// A square, periodic texture, averaged to every combination of resolutions along both of its axes.
///
/// A place in it is a pair of phases: the whole period is the whole range of `u32`, so adding to them wraps by itself.
#[derive(Debug)]
pub(super) struct Ripmap {
    levels: Vec<Vec<i8>>,
}

impl Ripmap {
    /// A texture from a function of two coordinates from 0 to 1, with values from -1 to 1.
    pub(super) fn new(value: impl Fn(f32, f32) -> f32) -> Self {
        let side = 1_usize << BITS;
        let texel = |i: usize| (i as f32 + 0.5) / side as f32;
        let mut finest = Vec::with_capacity(side * side);
        for v in 0..side {
            finest.extend((0..side).map(|u| value(texel(u), texel(v))));
        }
        let mut levels = Vec::new();
        for _ in 0..LEVELS {
            let mut current = finest.clone();
            for _ in 0..LEVELS {
                levels.push(current.iter().map(|value| (value.clamp(-1.0, 1.0) * 127.0) as i8).collect());
                current = current.chunks_exact(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
            }
            let width = side;
            let rows: Vec<&[f32]> = finest.chunks_exact(width).collect();
            let halved = rows.chunks_exact(2).flat_map(|pair| pair[0].iter().zip(pair[1]).map(|(a, b)| 0.5 * (a + b)));
            finest = halved.collect();
        }
        Self { levels }
    }

    /// The level whose texels are as large as a pixel is: its extent along both axes, as a part of the period.
    pub(super) fn level(&self, extent_u: f32, extent_v: f32) -> Level<'_> {
        let halvings = |extent: f32| {
            let texels = extent.abs() * (1_u32 << BITS) as f32;
            (texels.max(1.0).log2().round() as u32).min(LEVELS - 1)
        };
        let (u, v) = (halvings(extent_u), halvings(extent_v));
        let u_bits = BITS - u;
        Level {
            texels: &self.levels[(v * LEVELS + u) as usize],
            u_shift: 32 - u_bits,
            v_shift: 32 - (BITS - v),
            u_bits,
        }
    }
}

/// One resolution of a [`Ripmap`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Level<'a> {
    texels: &'a [i8],
    u_shift: u32,
    v_shift: u32,
    u_bits: u32,
}

/// A straight way through a texture: the phases of its first pixel, and what each pixel adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) u: u32,
    pub(super) u_step: u32,
    pub(super) v: u32,
    pub(super) v_step: u32,
}

impl Course {
    /// The phases of the pixel so many further on.
    #[inline]
    pub(super) fn at(&self, pixel: usize) -> (u32, u32) {
        let at = |start: u32, step: u32| start.wrapping_add(step.wrapping_mul(pixel as u32));
        (at(self.u, self.u_step), at(self.v, self.v_step))
    }
}

impl Level<'_> {
    /// The values along a course, one for each pixel.
    pub(super) fn along(&self, course: &Course, values: &mut [i16]) {
        follow(self, course, values);
    }

    /// The value at two phases, -127 to 127.
    #[cfg(test)]
    fn at(&self, u: u32, v: u32) -> i32 {
        let mut value = [0];
        self.along(&Course { u, u_step: 0, v, v_step: 0 }, &mut value);
        value[0].into()
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn follow(level: &Level<'_>, course: &Course, values: &mut [i16]) {
    // Places first and then what is there: the former is done for several pixels at once.
    let mut places = [0_u32; 64];
    for (part, values) in values.chunks_mut(places.len()).enumerate() {
        let first = part * places.len();
        for (i, place) in places.iter_mut().enumerate() {
            let (u, v) = course.at(first + i);
            *place = (v >> level.v_shift) << level.u_bits | u >> level.u_shift;
        }
        for (value, place) in values.iter_mut().zip(&places) {
            // Always inside; a lookup that can't fail costs nothing over one that could.
            *value = level.texels.get(*place as usize).copied().unwrap_or(0).into();
        }
    }
}

/// A number of periods as a phase.
pub(super) fn phase(periods: f64) -> u32 {
    ((periods - periods.floor()) * f64::from(u32::MAX)) as u32
}

/// A difference of phases, which may be negative.
pub(super) fn phase_step(periods: f64) -> u32 {
    (periods * f64::from(u32::MAX)) as i64 as u32
}

/// Surfaces of road and grass: mostly fine grain, with some larger spots.
pub(super) fn ground() -> Ripmap {
    Ripmap::new(|u, v| {
        0.5 * value_noise(u, v, BITS, 1)
            + 0.3 * value_noise(u, v, 7, 2)
            + 0.3 * value_noise(u, v, 5, 3)
            + 0.3 * value_noise(u, v, 3, 4)
    })
}

/// Cover of clouds, 0 to 1.
pub(super) fn clouds() -> Ripmap {
    Ripmap::new(|u, v| {
        // Bent coordinates: the noise's grid does not show.
        let bent = (u + 0.02 * (v * TAU * 2.0).sin()).rem_euclid(1.0);
        let heap = 0.55 * value_noise(bent, v, 3, 11)
            + 0.3 * value_noise(bent, v, 4, 12)
            + 0.2 * value_noise(bent, v, 5, 13)
            + 0.12 * value_noise(bent, v, 6, 14)
            + 0.06 * value_noise(bent, v, 7, 15);
        let cover = ((heap + 0.02) / 0.55).clamp(0.0, 1.0);
        cover * cover * (3.0 - 2.0 * cover)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coarse_levels_are_means_of_fine_ones() {
        let map = Ripmap::new(|u, v| if (u < 0.5) == (v < 0.5) { 1.0 } else { -1.0 });
        let fine = map.level(0.0, 0.0);
        assert_eq!((fine.at(0, 0), fine.at(u32::MAX, 0), fine.at(0, u32::MAX)), (127, -127, -127));
        let coarse = map.level(1.0, 1.0);
        assert_eq!((coarse.at(0, 0), coarse.at(u32::MAX, 0), coarse.at(u32::MAX, u32::MAX)), (127, -127, 127));
        let noise = ground();
        let spread = |level: Level<'_>| {
            let values = (0..4096_u32).map(|i| level.at(hash(i), hash(!i)));
            values.map(|value| f64::from(value * value)).sum::<f64>().sqrt()
        };
        assert!(spread(noise.level(1.0, 1.0)) < 0.5 * spread(noise.level(0.0, 0.0)), "far away there is little grain");
    }

    #[test]
    fn phases_wrap() {
        assert!(phase(-0.25).abs_diff(phase(0.75)) < 4 && phase(3.5).abs_diff(u32::MAX / 2) < 4);
        let (start, step) = (phase(0.1), phase_step(-0.2));
        assert!(start.wrapping_add(step).abs_diff(phase(0.9)) < 4);
        assert_eq!((phase(f64::NAN), phase_step(f64::INFINITY)), (0, u32::MAX));
    }
}
