//! Grass, asphalt and lines.

use super::{
    outline::{Cursor, FAR_M, Outline, Place},
    palette::Palette,
    pinhole::Pinhole,
    road::{LINE_WIDTH_M, Road},
    texture::{self, Course, Ripmap, phase, phase_step, unit},
};

/// The colour into which everything far away fades, and that of the sky at the horizon.
pub(super) const HAZE: [f32; 3] = [203.0, 216.0, 226.0];

// Both as bright as each other in a grey picture: the strongest edges are those of the lines, as on a real road.
const ASPHALT: [f32; 3] = [106.0, 107.0, 111.0];
const GRASS: [f32; 3] = [98.0, 122.0, 62.0];
const WHITE: [f32; 3] = [238.0, 238.0, 232.0];
const YELLOW: [f32; 3] = [232.0, 178.0, 44.0];

/// Extent of the pattern of shadows in metres, sideways and along the road.
const SHADE_M: [f64; 2] = [44.0, 57.0];

/// How much a full swing of the noise changes each colour.
const ASPHALT_GRAIN: [f32; 3] = [17.0, 17.0, 17.0];
const GRASS_GRAIN: [f32; 3] = [30.0, 28.0, 18.0];

/// What is this far away has faded to about a third, in metres.
const SIGHT_M: f32 = 260.0;

/// Extent of the texture in metres: sideways, and roughly along the road.
const TILE_M: [f64; 2] = [10.24, 20.48];

/// Rows of lines are computed at several heights and averaged, or far lines would flicker; further away more often.
const NEAR_SLICES: usize = 4;
const FAR_SLICES: usize = 12;

/// Where more slices begin, in metres ahead.
const FAR_SLICES_FROM_M: f32 = 35.0;

/// How much of a colour remains, 0 to 1, this many metres ahead.
pub(super) fn visibility(ahead: f32) -> f32 {
    let part = ahead / SIGHT_M;
    (-part * part.min(1.0)).exp()
}

/// A colour as seen through the haze.
pub(super) fn hazed(colour: [f32; 3], visibility: f32) -> [f32; 3] {
    core::array::from_fn(|i| HAZE[i] + (colour[i] - HAZE[i]) * visibility)
}

/// One row of the ground, or a part of it as high as a fraction of a row.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    place: Place,
    /// Metres to the side for each pixel.
    scale: f32,
    /// Column in which the vehicle's own direction shows.
    centre: f32,
    /// How the lateral offset bends away from a linear function, in 1/m: see [`Slice::column`].
    bend: f32,
}

impl Slice {
    fn new(pinhole: &Pinhole, row: f32, cursor: &mut Cursor<'_>) -> Self {
        let [ahead, scale] = pinhole.ground(row).unwrap_or([FAR_M, (FAR_M / pinhole.focal).max(f32::MIN_POSITIVE)]);
        let place = cursor.at(ahead);
        // Where the road runs nearly across the picture the bend is left out: far away, and a series of one term would
        // not do there.
        let weight = ((place.cos.abs() - 0.3) / 0.3).clamp(0.0, 1.0);
        let bend = 0.5 * weight * place.curvature * place.sin * place.sin;
        Self { place, scale, centre: pinhole.centre[0], bend }
    }

    /// The column in which a lateral offset shows, in pixels.
    ///
    /// A point `t` metres to the right of the road's middle has, in the road's own coordinates, the offset
    /// `t cos - curvature/2 (t sin)²` to second order. This is that, solved for `t`.
    fn column(&self, offset: f32) -> f32 {
        let Place { right, cos, .. } = self.place;
        let mut across = offset / cos;
        for _ in 0..2 {
            across = (offset + self.bend * across * across) / cos;
        }
        self.centre + (right + across) / self.scale
    }

    /// The columns between two offsets, in ascending order.
    fn columns(&self, [from, to]: [f32; 2]) -> [f32; 2] {
        let (a, b) = (self.column(from), self.column(to));
        [a.min(b), a.max(b)]
    }
}

/// How much of the pixel in column `index` lies between two columns, 0 to 1.
fn overlap(index: usize, [from, to]: [f32; 2]) -> f32 {
    let left = index as f32;
    (to.min(left + 1.0) - from.max(left)).clamp(0.0, 1.0)
}

/// The colours of grass in one row: the noise is a byte.
type Grass = Palette<256>;
/// Those of asphalt: noise and wear.
type Asphalt = Palette<512>;

/// The colours of a surface in a row, from `first` on.
fn surface<const N: usize>(first: i32, colour: [f32; 3], grain: [f32; 3], visibility: f32) -> Palette<N> {
    Palette::new(
        first,
        hazed(colour, visibility).map(|value| (value * 256.0) as i32 + 128),
        grain.map(|value| (value * visibility * 2.0) as i32),
    )
}

fn grass(visibility: f32) -> Grass {
    surface(-128, GRASS, GRASS_GRAIN, visibility)
}

fn asphalt(visibility: f32) -> Asphalt {
    surface(-256, ASPHALT, ASPHALT_GRAIN, visibility)
}

/// Draws the ground.
#[derive(Debug)]
pub(super) struct Painter {
    noise: Ripmap,
    /// What the wheels have done to the asphalt, for each 256th of the texture's width: added to the noise.
    wear: [i16; 256],
    /// How much of each pixel of the row in work is line.
    line: Vec<f32>,
    shade: Ripmap,
    /// The values of a texture in each column of the row in work.
    grain: Vec<i16>,
}

impl Painter {
    pub(super) fn new(pinhole: &Pinhole) -> Self {
        let wear = core::array::from_fn(|i| {
            let offset = (i as f32 + 0.5) / 256.0 * TILE_M[0] as f32;
            // The texture repeats sideways, but the asphalt is narrower than it.
            let offset = if offset > 0.5 * 7.0 { offset - TILE_M[0] as f32 } else { offset };
            // Two darker bands in each lane, where the wheels run.
            let lane = (offset + 1.75).rem_euclid(3.5) - 1.75;
            let from_track = (lane.abs() - 0.8) / 0.42;
            let in_lane = if (-5.25..1.75).contains(&offset) { 1.0 } else { 0.0 };
            (in_lane * -62.0 * (-from_track * from_track).exp()) as i16
        });
        Self {
            noise: texture::ground(),
            wear,
            line: vec![0.0; pinhole.width],
            shade: texture::clouds(),
            grain: vec![0; pinhole.width],
        }
    }

    /// Draws all rows from the horizon to the bottom. `shadows` is how dark shadows are, 0 to 1.
    pub(super) fn draw(&mut self, pinhole: &Pinhole, road: &Road, outline: &Outline, shadows: f32, pixels: &mut [u8]) {
        let mut cursor = outline.cursor();
        let first_row = (pinhole.horizon() as usize).min(pinhole.height);
        // From the bottom up: distances grow.
        for (i, row) in pixels.chunks_exact_mut(3 * pinhole.width).enumerate().rev() {
            let row_top = (first_row + i) as f32;
            let Some([ahead, _]) = pinhole.ground(row_top + 0.5) else {
                let plain = grass(visibility(FAR_M)).at(0);
                row.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&plain));
                continue;
            };
            let count = if ahead > FAR_SLICES_FROM_M { FAR_SLICES } else { NEAR_SLICES };
            let mut slices = [Slice::default(); FAR_SLICES];
            let slices = &mut slices[..count];
            for (k, slice) in slices.iter_mut().enumerate().rev() {
                *slice = Slice::new(pinhole, row_top + (k as f32 + 0.5) / count as f32, &mut cursor);
            }
            self.surfaces(pinhole, road, slices, visibility(ahead), row);
            self.lines(road, slices, visibility(ahead), row);
            if shadows > 0.0 {
                self.shade(slices, shadows * visibility(ahead), row);
            }
        }
    }

    /// The shadows of trees: dark patches with soft edges that stay in their places on the ground.
    fn shade(&mut self, slices: &[Slice], shadows: f32, row: &mut [u8]) {
        let middle = &slices[slices.len() / 2];
        let depth = (slices[0].place.ahead - slices[slices.len() - 1].place.ahead).abs();
        let Place { right, sin, cos, .. } = middle.place;
        let [scale, right, sin, cos] = [middle.scale, right, sin, cos].map(f64::from);
        let start = f64::from(0.5 - middle.centre) * scale - right;
        let course = Course {
            u: phase(start * cos / SHADE_M[0]),
            u_step: phase_step(scale * cos / SHADE_M[0]),
            v: phase((f64::from(middle.place.s) + start * sin) / SHADE_M[1]),
            v_step: phase_step(scale * sin / SHADE_M[1]),
        };
        let level = self.shade.level(scale as f32 / SHADE_M[0] as f32, depth / SHADE_M[1] as f32);
        level.along(&course, &mut self.grain);
        for (pixel, cover) in row.chunks_exact_mut(3).zip(&self.grain) {
            let cover = f32::from(*cover) / 127.0;
            let left = 1.0 - 0.7 * shadows * cover;
            for value in pixel {
                *value = (f32::from(*value) * left) as u8;
            }
        }
    }

    /// Grass, asphalt, grass.
    fn surfaces(&mut self, pinhole: &Pinhole, road: &Road, slices: &[Slice], visibility: f32, row: &mut [u8]) {
        let width = pinhole.width;
        let (asphalt, grass) = (asphalt(visibility), grass(visibility));

        let middle = &slices[slices.len() / 2];
        let (near, far) = (&slices[slices.len() - 1].place, &slices[0].place);
        let Place { right, sin, cos, s, .. } = middle.place;
        let start = f64::from((0.5 - middle.centre) * middle.scale - right);
        // A whole number of tiles in a lap, so that the texture has no seam.
        let tile = road.length() / (road.length() / TILE_M[1]).round().max(1.0);
        let (sin, cos, scale) = (f64::from(sin), f64::from(cos), f64::from(middle.scale));
        let course = Course {
            u: phase(start * cos / TILE_M[0]),
            u_step: phase_step(scale * cos / TILE_M[0]),
            v: phase((f64::from(s) + start * sin) / tile),
            v_step: phase_step(scale * sin / tile),
        };
        let depth = (far.ahead - near.ahead).abs();
        let level = self
            .noise
            .level((scale * cos) as f32 / TILE_M[0] as f32, depth.max((scale * sin).abs() as f32) / TILE_M[1] as f32);

        let asphalt_m = road.asphalt().map(|offset| offset as f32);
        let mut bounds = [[f32::MAX, f32::MIN]; 2];
        let mut edges = [[0.0; 2]; FAR_SLICES];
        for (slice, edges) in slices.iter().zip(&mut edges) {
            *edges = slice.columns(asphalt_m);
            for (bound, edge) in bounds.iter_mut().zip(*edges) {
                *bound = [bound[0].min(edge), bound[1].max(edge)];
            }
        }
        let edges = &edges[..slices.len()];
        let column = |at: f32| (at.max(0.0) as usize).min(width);
        let left = [column(bounds[0][0]), column(bounds[0][1] + 1.0)];
        let right = [column(bounds[1][0]).max(left[1]), column(bounds[1][1] + 1.0).max(left[1])];

        level.along(&course, &mut self.grain);
        let worn = |at: usize| self.wear[(course.at(at).0 >> 24) as usize];
        for (at, grain) in (left[1]..right[0]).zip(&mut self.grain[left[1]..right[0]]) {
            *grain += worn(at);
        }
        let grain = &*self.grain;
        for columns in [0..left[0], right[1]..width] {
            grass.paint(&grain[columns.clone()], &mut row[3 * columns.start..3 * columns.end]);
        }
        asphalt.paint(&grain[left[1]..right[0]], &mut row[3 * left[1]..3 * right[0]]);
        for at in (left[0]..left[1]).chain(right[0]..right[1]) {
            let share = edges.iter().map(|&edges| overlap(at, edges)).sum::<f32>() / edges.len() as f32;
            let (under, over) = (grass.at(grain[at].into()), asphalt.at((grain[at] + worn(at)).into()));
            for (i, value) in row[3 * at..3 * at + 3].iter_mut().enumerate() {
                *value = (f32::from(under[i]) * (1.0 - share) + f32::from(over[i]) * share) as u8;
            }
        }
    }

    /// The painted lines, over the surfaces.
    fn lines(&mut self, road: &Road, slices: &[Slice], visibility: f32, row: &mut [u8]) {
        let width = self.line.len();
        let (near, far) = (slices[slices.len() - 1].place.s, slices[0].place.s);
        // Along the road, a slice is as long as the slices are apart.
        let length = (far - near) / (slices.len() - 1) as f32;
        for line in road.lines() {
            let (mut first, mut end) = (width, 0);
            let half = 0.5 * LINE_WIDTH_M as f32;
            for slice in slices {
                // The place along the road where this row meets the line.
                let s = f64::from(slice.place.s) + line.offset_m * f64::from(slice.place.sin / slice.place.cos);
                let offset = line.offset_at(s) as f32;
                let [from, to] = slice.columns([offset - half, offset + half]);
                if !line.covers(s) || to <= 0.0 || from >= width as f32 {
                    continue;
                }
                let share = line.dashes_m.map_or(1.0, |dashes| {
                    Road::painted_share(dashes, s - 0.5 * f64::from(length), s + 0.5 * f64::from(length)) as f32
                });
                let weight = share * worn(line.wear as f32, s, line.offset_m) / slices.len() as f32;
                let span = from.max(0.0) as usize..(to.min(width as f32).ceil() as usize);
                first = first.min(span.start);
                end = end.max(span.end);
                for (i, cover) in self.line[span.clone()].iter_mut().enumerate() {
                    *cover += weight * overlap(span.start + i, [from, to]);
                }
            }
            if first >= end {
                continue;
            }
            let colour = hazed(if line.yellow { YELLOW } else { WHITE }, visibility);
            for (cover, pixel) in self.line[first..end].iter_mut().zip(row[3 * first..3 * end].chunks_exact_mut(3)) {
                if *cover > 0.0 {
                    let share = cover.min(1.0);
                    for (value, line) in pixel.iter_mut().zip(colour) {
                        *value = (f32::from(*value) + (line - f32::from(*value)) * share) as u8;
                    }
                    *cover = 0.0;
                }
            }
        }
    }
}

/// How much paint is left at `s` of a line that is worn: it flakes off in patches.
fn worn(wear: f32, s: f64, offset: f64) -> f32 {
    if wear <= 0.0 {
        return 1.0;
    }
    let place = (s * 3.0).floor() as i64 as u32 ^ (offset * 16.0) as i32 as u32;
    (1.0 - wear * (0.5 + unit(place))).clamp(0.0, 1.0)
}
