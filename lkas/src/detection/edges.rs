//! Edges after Canny ("A computational approach to edge detection", IEEE PAMI 8(6), 1986): smoothed gradient, thinning
//! across the edge, hysteresis along it.

use super::region::Region;
use lkas_messages::{ImageView, PixelFormat};
use memchr::memchr_iter;
use multiversion::multiversion;

/// Marks in the edge map.
const WEAK: u8 = 1;
const EDGE: u8 = 2;

/// The gradient's scale: a Sobel operator on a picture smoothed with a mask whose sum is 16, left undivided.
const GAIN: f64 = 16.0;

/// Finds edges, and keeps the memory for it from frame to frame.
#[derive(Debug, Default)]
pub(super) struct EdgeFinder {
    width: usize,
    rows: usize,
    grey: Vec<u8>,
    /// Of as many rows of the picture as make one of the region.
    sums: Vec<u32>,
    /// One row smoothed, and one differentiated, from top to bottom.
    smooth: Vec<i16>,
    differ: Vec<i16>,
    gx: Vec<i16>,
    gy: Vec<i16>,
    magnitude: Vec<i16>,
    marks: Vec<u8>,
    open: Vec<u32>,
}

impl EdgeFinder {
    /// Finds the edges in that region of the picture. `low` and `high` are the sums of the absolute horizontal and
    /// vertical Sobel responses at which an edge continues and starts, in either order.
    pub(super) fn find(&mut self, image: &ImageView<'_>, region: &Region, low: f64, high: f64) {
        (self.width, self.rows) = (region.width, region.rows);
        let size = region.width * region.rows;
        for plane in [&mut self.gx, &mut self.gy, &mut self.magnitude] {
            plane.resize(size, 0);
        }
        self.smooth.resize(region.width, 0);
        self.differ.resize(region.width, 0);
        self.grey.resize(size, 0);
        self.marks.clear();
        self.marks.resize(size, 0);
        self.make_grey(image, region);
        for row in 0..region.rows {
            self.differentiate(row);
        }
        // The saturating conversion keeps thresholds beyond any gradient meaning "no edge".
        let [low, high] = [low.min(high), low.max(high)].map(|threshold| (threshold * GAIN) as i16);
        self.open.clear();
        for row in 1..region.rows - 1 {
            self.thin(row, region.columns(row), low.max(1), high.max(1));
        }
        self.follow();
    }

    /// The region's columns in `row` at which there is an edge, each with its gradient (right, down).
    pub(super) fn edges_in(&self, row: usize) -> impl Iterator<Item = (usize, i16, i16)> + '_ {
        let range = row * self.width..(row + 1) * self.width;
        let [gx, gy] = [&self.gx, &self.gy].map(|plane| &plane[range.clone()]);
        memchr_iter(EDGE, &self.marks[range]).map(|column| (column, gx[column], gy[column]))
    }

    /// Whether in half of the region the noise is more than that standard deviation, in steps of 255: by the second
    /// differences of J. Immerkær ("Fast noise variance estimation", CVIU 64(2), 1996) in every eighth row.
    pub(super) fn is_noisier_than(&self, deviation: f32) -> bool {
        // The squares of the mask sum up to 36, and half of all normal noise is within 0.6745 standard deviations.
        let limit = (6.0 * 0.6745 * deviation) as i16;
        let rows = (1..self.rows - 1).step_by(8);
        let all = rows.len() * (self.width - 2);
        let row = |row: usize| &self.grey[row * self.width..(row + 1) * self.width];
        let above = rows.map(|at| differing([row(at - 1), row(at), row(at + 1)], limit));
        2 * above.sum::<usize>() > all
    }

    /// The mean of red and green: white and yellow paint are equally bright in it, and blue, which tells yellow from
    /// white and shadow from light, is left out.
    fn make_grey(&mut self, image: &ImageView<'_>, region: &Region) {
        let shape = image.shape();
        let channels = shape.format().channels() as usize;
        let stride = shape.width() as usize * channels;
        let (red, green) = match shape.format() {
            PixelFormat::Bgr8 => (2, 1),
            PixelFormat::Gray8 => (0, 0),
            _ => (0, 1),
        };
        let scale = region.scale;
        let rows = image.pixels().chunks_exact(stride * scale).skip(region.top);
        for (out, block) in self.grey.chunks_exact_mut(region.width).zip(rows) {
            match (scale, channels) {
                (1, 1) => out.copy_from_slice(block),
                (1, _) => mean_of_two(out, &block[red.min(green)..]),
                _ => {
                    self.sums.clear();
                    self.sums.resize(region.width * scale, 0);
                    for row in block.chunks_exact(stride) {
                        if channels == 1 {
                            self.sums.iter_mut().zip(row).for_each(|(sum, own)| *sum += 2 * u32::from(*own));
                        } else {
                            add_two(&mut self.sums, &row[red.min(green)..]);
                        }
                    }
                    match scale {
                        2 => means::<2>(out, &self.sums, 2),
                        3 => means::<3>(out, &self.sums, 3),
                        4 => means::<4>(out, &self.sums, 4),
                        _ => means::<0>(out, &self.sums, scale),
                    }
                }
            }
        }
    }

    /// The gradient of one row.
    fn differentiate(&mut self, row: usize) {
        let (width, last) = (self.width, self.rows - 1);
        let rows = [row.saturating_sub(2), row.saturating_sub(1), row, (row + 1).min(last), (row + 2).min(last)];
        let grey = rows.map(|row| &self.grey[row * width..(row + 1) * width]);
        let inner = row * width + 2..(row + 1) * width - 2;
        let [gx, gy] = [&mut self.gx, &mut self.gy].map(|plane| &mut plane[inner.clone()]);
        gradient(grey, &mut self.smooth, &mut self.differ, gx, gy, &mut self.magnitude[inner]);
    }

    /// Marks the pixels of one row that are larger than both neighbours across the edge.
    fn thin(&mut self, row: usize, (from, to): (usize, usize), low: i16, high: i16) {
        let (width, magnitude) = (self.width, &self.magnitude);
        let from = row * width + from.max(3);
        let row = &magnitude[from..row * width + to.min(width - 3)];
        for (at, &own) in strong(row, low).map(|(at, own)| (from + at, own)) {
            let (gx, gy) = (i32::from(self.gx[at]), i32::from(self.gy[at]));
            // tan 22.5° is 0.414 and tan 67.5° is 2.414, here as fractions of 256.
            let (across, steep) = (gx.abs() * 106, gy.abs() * 256);
            let step = if steep < across {
                1
            } else if steep > gx.abs() * 618 {
                width
            } else if (gx < 0) == (gy < 0) {
                width + 1
            } else {
                width - 1
            };
            // Of two equal neighbours exactly one stays.
            if own > magnitude[at - step] && own >= magnitude[at + step] {
                let strong = own >= high;
                self.marks[at] = if strong { EDGE } else { WEAK };
                if strong {
                    self.open.push(at as u32);
                }
            }
        }
    }

    /// Follows edges from their strong pixels through the weak ones.
    fn follow(&mut self) {
        let width = self.width;
        while let Some(at) = self.open.pop() {
            let at = at as usize;
            // Marks keep clear of the first and the last row and column, so that all eight neighbours exist.
            for first in [at - width - 1, at - 1, at + width - 1] {
                for near in first..first + 3 {
                    if self.marks[near] == WEAK {
                        self.marks[near] = EDGE;
                        self.open.push(near as u32);
                    }
                }
            }
        }
    }
}

/// The gradient of a row of which two rows above and below are given, but for its two outer columns at either end: a 3x3
/// binomial and a Sobel operator in one pass, both split into a vertical and a horizontal mask. The largest response,
/// 16 x 4 x 255, fits 16 bits, and so does the sum of two.
#[multiversion(targets("x86_64+avx2"))]
fn gradient(
    grey: [&[u8]; 5],
    smooth: &mut [i16],
    differ: &mut [i16],
    gx: &mut [i16],
    gy: &mut [i16],
    magnitude: &mut [i16],
) {
    let width = smooth.len();
    let grey = grey.map(|row| &row[..width]);
    let differ = &mut differ[..width];
    for x in 0..width {
        let [a2, a1, m, b1, b2] = grey.map(|row| i16::from(row[x]));
        smooth[x] = a2 + b2 + 4 * (a1 + b1) + 6 * m;
        differ[x] = b2 - a2 + 2 * (b1 - a1);
    }
    let n = width - 4;
    let (gx, gy, magnitude) = (&mut gx[..n], &mut gy[..n], &mut magnitude[..n]);
    let s: [&[i16]; 5] = core::array::from_fn(|i| &smooth[i..i + n]);
    let d: [&[i16]; 5] = core::array::from_fn(|i| &differ[i..i + n]);
    for x in 0..n {
        let right = s[4][x] - s[0][x] + 2 * (s[3][x] - s[1][x]);
        let down = d[0][x] + d[4][x] + 4 * (d[1][x] + d[3][x]) + 6 * d[2][x];
        gx[x] = right;
        gy[x] = down;
        magnitude[x] = right.abs() + down.abs();
    }
}

/// How many pixels of the middle row differ from those around them by more than `limit`, as seen through the mask
/// 1 -2 1, -2 4 -2, 1 -2 1.
#[multiversion(targets("x86_64+avx2"))]
fn differing(rows: [&[u8]; 3], limit: i16) -> usize {
    const PART: usize = 4096;
    let n = rows[1].len() - 2;
    let [a, m, b] = rows;
    let [a0, a1, a2] = [&a[..n], &a[1..=n], &a[2..n + 2]];
    let [m0, m1, m2] = [&m[..n], &m[1..=n], &m[2..n + 2]];
    let [b0, b1, b2] = [&b[..n], &b[1..=n], &b[2..n + 2]];
    let mut count = 0;
    // Counted in 16 bits, which a part can't fill, so that a vector counts as many pixels as it works out. A closure in this
    // loop would be called for each pixel.
    for start in (0..n).step_by(PART) {
        let mut part = 0_i16;
        for x in start..n.min(start + PART) {
            let corners = i16::from(a0[x]) + i16::from(a2[x]) + i16::from(b0[x]) + i16::from(b2[x]);
            let sides = i16::from(a1[x]) + i16::from(b1[x]) + i16::from(m0[x]) + i16::from(m2[x]);
            part += i16::from((corners - 2 * sides + 4 * i16::from(m1[x])).abs() > limit);
        }
        count += part as usize;
    }
    count
}

/// The mean of the first two bytes of each three.
#[multiversion(targets("x86_64+avx2"))]
fn mean_of_two(means: &mut [u8], pixels: &[u8]) {
    // The last pixel may have no third byte.
    let Some((last, means)) = means.split_last_mut() else { return };
    for (mean, pixel) in means.iter_mut().zip(pixels.chunks_exact(3)) {
        *mean = ((u16::from(pixel[0]) + u16::from(pixel[1])) / 2) as u8;
    }
    let pixel = &pixels[3 * means.len()..];
    *last = ((u16::from(pixel[0]) + u16::from(pixel[1])) / 2) as u8;
}

/// Adds the first two bytes of each three.
#[multiversion(targets("x86_64+avx2"))]
fn add_two(sums: &mut [u32], pixels: &[u8]) {
    // The last pixel may have no third byte.
    let Some((last, sums)) = sums.split_last_mut() else { return };
    for (sum, pixel) in sums.iter_mut().zip(pixels.chunks_exact(3)) {
        *sum += u32::from(pixel[0]) + u32::from(pixel[1]);
    }
    let pixel = &pixels[3 * sums.len()..];
    *last += u32::from(pixel[0]) + u32::from(pixel[1]);
}

/// The means over `scale` sums, each of two channels and as many rows. `SCALE` is the same number where the compiler is to
/// know it, and zero otherwise: a division by what it knows is none.
#[multiversion(targets("x86_64+avx2"))]
fn means<const SCALE: usize>(means: &mut [u8], sums: &[u32], scale: usize) {
    let scale = if SCALE == 0 { scale } else { SCALE };
    for (mean, sums) in means.iter_mut().zip(sums.chunks_exact(scale)) {
        let mut sum = 0;
        for part in sums {
            sum += part;
        }
        *mean = (sum / (2 * scale * scale) as u32) as u8;
    }
}

/// The magnitudes of a row that are at least `low`, which few are, and where they stand.
fn strong(row: &[i16], low: i16) -> impl Iterator<Item = (usize, &i16)> {
    // As many as two vectors of any processor have.
    const PART: usize = 32;
    let parts = row.chunks(PART).enumerate();
    parts.filter(move |(_, part)| part.iter().fold(0, |most, own| most.max(*own)) >= low).flat_map(
        move |(index, part)| {
            part.iter().enumerate().filter(move |(_, own)| **own >= low).map(move |(at, own)| (index * PART + at, own))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::ImageShape;

    /// Bytes without a pattern.
    fn bytes(count: usize) -> Vec<u8> {
        (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
    }

    #[test]
    fn grey_is_the_mean_of_red_and_green_over_each_block() {
        for format in [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8] {
            // Sides that no scale divides.
            let shape = ImageShape::new(107, 101, format).unwrap();
            let pixels = bytes(shape.pixel_bytes());
            let image = ImageView::new(shape, &pixels).unwrap();
            let channels = format.channels() as usize;
            let [red, green] = match format {
                PixelFormat::Rgb8 => [0, 1],
                PixelFormat::Bgr8 => [2, 1],
                _ => [0, 0],
            };
            for scale in 1..=6 {
                let (width, rows, top) = (107 / scale, 101 / scale - 3, 3);
                let region = Region { scale, width, rows, top, unit: 1.0 };
                let mut finder = EdgeFinder::default();
                finder.find(&image, &region, 100.0, 200.0);
                for (at, grey) in finder.grey.iter().enumerate() {
                    let (row, column) = ((top + at / width) * scale, at % width * scale);
                    let block = (row..row + scale).flat_map(|row| (column..column + scale).map(move |x| row * 107 + x));
                    let pixel = |at: usize| [red, green].map(|channel| usize::from(pixels[at * channels + channel]));
                    let sum: usize = block.flat_map(pixel).sum();
                    assert_eq!(usize::from(*grey), sum / (2 * scale * scale), "{format:?}, scale {scale}, {at}");
                }
            }
        }
    }

    #[test]
    fn pixels_that_differ_are_counted_in_rows_of_any_length() {
        let all = bytes(3 * 9001);
        for length in [3, 4, 35, 4098, 4099, 9001] {
            let rows = [0, 1, 2].map(|row| &all[row * 9001..][..length]);
            for limit in [0, 300, 2000] {
                let differs = |x: &usize| {
                    let [a, m, b] = rows.map(|row| [0, 1, 2].map(|i| i32::from(row[x + i])));
                    let seen = a[0] + a[2] + b[0] + b[2] - 2 * (a[1] + b[1] + m[0] + m[2]) + 4 * m[1];
                    seen.abs() > i32::from(limit)
                };
                assert_eq!(differing(rows, limit), (0..length - 2).filter(differs).count(), "{length}, {limit}");
            }
        }
    }
}
