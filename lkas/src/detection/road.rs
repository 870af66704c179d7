//! The lane as one thing on flat ground: two parallel lines, a vanishing point, a curve. What is known of it is carried
//! from frame to frame with how sure it is, and corrected by the paint that lies near where it is expected: a Kalman
//! filter in information form, with robust weights (J. W. Tukey's biweight) against paint that is none of the lane's.
//!
//! A line `p` metres to the right of the camera shows at the column `x = centre + focal * u` with
//! `u = p v / H + heading + curvature H / (2 v)`, where `v` is the row below the horizon over the focal length and `H`
//! the camera's height (E. D. Dickmanns and B. D. Mysliwetz, "Recursive 3-D road and relative ego-state recognition",
//! IEEE PAMI 14(2), 1992, for small angles).

use super::lines::{Line, Needs, Point};
use super::region::Region;

/// How the camera is mounted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mounting {
    /// Where the horizon lies while the vehicle stands level, as a part of the picture's height from the top.
    pub horizon: f32,
    /// How far from there it may be found, as a part of the picture's height.
    pub horizon_tolerance: f32,
    /// Height of the camera above the ground, in metres.
    pub height_m: f32,
    /// Horizontal field of view, in degrees.
    pub field_of_view_deg: f32,
}

impl Default for Mounting {
    /// For a camera of which nothing is known: the horizon may lie anywhere from 38 % to 62 % of the height.
    fn default() -> Self {
        Self { horizon: 0.5, horizon_tolerance: 0.12, height_m: 1.4, field_of_view_deg: 80.0 }
    }
}

/// Widths that a lane may have, in metres. The height of a camera that is not calibrated makes up half of that range.
pub(super) const WIDTH_M: [f32; 2] = [2.3, 4.8];

/// Paint narrower or wider than this, in metres, is no line.
const PAINT_M: [f64; 2] = [0.04, 0.42];

/// How many numbers describe the lane: its middle (metres to the right), its width (metres), its heading relative to the
/// vehicle's (radians), its curvature (1/m), the horizon's row (working pixels from the picture's top).
const N: usize = 5;
type Vector = [f64; N];
type Matrix = [[f64; N]; N];

/// How fast each of them wanders, for each second.
const DRIFT: Vector = [0.9, 0.04, 0.28, 0.006, 0.0];
/// The horizon's, in radians for each second.
const NODDING: f64 = 0.10;

/// How surely each is known when the lane is found.
const AT_FIRST: Vector = [0.3, 0.25, 0.03, 0.004, 0.0];

/// Paint in one row says as much of the lane as this many independent measurements: the rows around it are no news.
const NEWS: f64 = 0.12;

/// What was seen of one line in one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Evidence {
    /// Share of the rows where the line should be in which there is paint on it.
    pub(super) cover: f32,
    /// Share of the paint within half a metre that lies on it.
    pub(super) purity: f32,
    /// From the nearest to the farthest row with paint on it, as a share of the rows where the line should be.
    pub(super) extent: f32,
    /// Rows with paint on it.
    pub(super) on: f32,
    /// How far the paint parts from the line, in metres: its mean place on the farther half against that on the nearer.
    pub(super) parts_m: f32,
    /// Length from the nearest to the farthest paint, in working pixels.
    length: f32,
}

impl Evidence {
    /// Whether it is as much as the parameters ask for.
    pub(super) fn meets(&self, needs: Needs) -> bool {
        2.0 * self.on >= needs.edge_points && self.length >= needs.length
    }
}

/// The camera in working pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Optics {
    pub(super) centre: f64,
    pub(super) focal: f64,
    pub(super) height_m: f64,
    /// The horizon's usual row and how far from it it may lie, from the picture's top.
    pub(super) horizon: [f64; 2],
    /// The region's first row.
    pub(super) top: f64,
}

impl Optics {
    pub(super) fn new(mounting: &Mounting, region: &Region) -> Self {
        let width = region.width as f64;
        let picture = region.top as f64 + region.rows as f64;
        let half = f64::from(mounting.field_of_view_deg.clamp(20.0, 150.0)).to_radians() / 2.0;
        Self {
            centre: width / 2.0 - 0.5,
            focal: 0.5 * width / half.tan(),
            height_m: f64::from(mounting.height_m.clamp(0.3, 6.0)),
            horizon: [mounting.horizon, mounting.horizon_tolerance].map(|share| f64::from(share) * picture),
            top: region.top as f64,
        }
    }
}

/// The lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    at: Vector,
    /// The inverse of the covariance.
    information: Matrix,
}

impl Lane {
    pub(super) fn middle_m(&self) -> f32 {
        self.at[0] as f32
    }

    pub(super) fn width_m(&self) -> f32 {
        self.at[1] as f32
    }

    pub(super) fn heading(&self) -> f32 {
        self.at[2] as f32
    }

    pub(super) fn curvature(&self) -> f32 {
        self.at[3] as f32
    }

    /// In working pixels from the picture's top.
    pub(super) fn horizon(&self) -> f32 {
        self.at[4] as f32
    }

    /// Where its lines meet were it straight: column and row of the region, in working pixels.
    pub(super) fn vanishing_point(&self, optics: &Optics) -> (f32, f32) {
        let [.., heading, _, horizon] = self.at;
        ((optics.centre + optics.focal * heading) as f32, (horizon - optics.top) as f32)
    }

    /// The same lane in working pixels that are `factor` times as many.
    pub(super) fn scaled(mut self, factor: f64) -> Self {
        self.at[4] *= factor;
        for i in 0..N {
            self.information[i][4] /= factor;
            self.information[4][i] /= factor;
        }
        self
    }

    /// The column of the line on that side (-1 left, 1 right) in a row of the region, in working pixels; `None` above
    /// the horizon.
    pub(super) fn x_at(&self, optics: &Optics, side: f64, row: f64) -> Option<f64> {
        let v = (row + optics.top - self.at[4]) / optics.focal;
        let [middle, width, heading, curvature, _] = self.at;
        let place = middle + 0.5 * side * width;
        (v > 0.004).then(|| {
            let u = place * v / optics.height_m + heading + 0.5 * curvature * optics.height_m / v;
            optics.centre + optics.focal * u
        })
    }

    /// Pixels to a metre in that row.
    fn scale(&self, optics: &Optics, row: f64) -> f64 {
        ((row + optics.top - self.at[4]) / optics.height_m).max(0.05)
    }

    /// The lane between two lines, if they can be those of one: they meet near the horizon, are as far apart as a lane
    /// is wide, and the vehicle is between them.
    pub(super) fn between(left: &Line, right: &Line, optics: &Optics, region: &Region) -> Option<Self> {
        let last = (region.rows - 1) as f64 + optics.top;
        let [l, r] = [left, right].map(|line| (f64::from(line.at_bottom), f64::from(line.slope)));
        let apart = r.1 - l.1;
        if apart < 0.3 {
            return None;
        }
        let horizon = last - (r.0 - l.0) / apart;
        let vanishing = l.0 + l.1 * (horizon - last);
        let [places_l, places_r] = [l.1, r.1].map(|slope| slope * optics.height_m);
        let heading = (vanishing - optics.centre) / optics.focal;
        let fits = (horizon - optics.horizon[0]).abs() <= optics.horizon[1]
            && (f64::from(WIDTH_M[0])..f64::from(WIDTH_M[1])).contains(&(places_r - places_l))
            && places_l < -0.25
            && places_r > 0.25
            && heading.abs() < 0.3;
        let mut information = [[0.0; N]; N];
        let mut spread = AT_FIRST;
        spread[4] = 0.01 * optics.focal;
        for (i, spread) in spread.iter().enumerate() {
            information[i][i] = 1.0 / (spread * spread);
        }
        let at = [0.5 * (places_l + places_r), places_r - places_l, heading, 0.0, horizon];
        fits.then_some(Self { at, information })
    }

    /// Lets `dt` seconds pass, in which the lane may have moved by `agility` times as much as usual.
    pub(super) fn wander(&mut self, optics: &Optics, dt: f64, agility: f64) {
        let Some(mut covariance) = inverse(self.information) else { return };
        for (i, row) in covariance.iter_mut().enumerate() {
            let drift = if i == 4 { NODDING * optics.focal } else { DRIFT[i] };
            row[i] += (drift * dt * agility).powi(2);
        }
        // Far from all experience the road is straight, the camera level and the lane as wide as lanes are.
        let mut information = inverse(covariance).unwrap_or(self.information);
        let usual = [None, Some((3.5, 1.0)), None, Some((0.0, 0.02)), Some((optics.horizon[0], optics.horizon[1]))];
        let mut right = multiply(&information, &self.at);
        for (i, usual) in usual.into_iter().enumerate() {
            if let Some((value, spread)) = usual {
                // As weak as one glance in ten seconds.
                let weight = dt * 0.1 / (spread * spread);
                information[i][i] += weight;
                right[i] += weight * value;
            }
        }
        if let Some(covariance) = inverse(information) {
            self.at = multiply(&covariance, &right);
            self.information = information;
        }
    }

    /// The lane corrected by the paint in a frame.
    #[expect(clippy::needless_range_loop, reason = "two places of a symmetric matrix at once")]
    pub(super) fn corrected(&self, optics: &Optics, points: &[Point]) -> Option<Self> {
        let prior = multiply(&self.information, &self.at);
        let mut lane = *self;
        let near = self.near(optics, points);
        // Each time nearer: half-widths of the stripe in metres in which paint counts.
        for reach in [0.45, 0.28, 0.18] {
            let (mut information, mut right) = (self.information, prior);
            for point in &near {
                let Some((side, away, scale)) = lane.nearest(optics, point) else { continue };
                let part = away / (reach * scale + 2.0);
                if part.abs() >= 1.0 {
                    continue;
                }
                let slope = lane.slope(optics, side, scale);
                let sigma = 0.7 + 0.02 * scale;
                let weight = NEWS * (1.0 - part * part).powi(2) / (sigma * sigma);
                // The residual of the model made straight around `lane`.
                let value = away + (0..N).map(|i| slope[i] * lane.at[i]).sum::<f64>();
                for i in 0..N {
                    let weighted = weight * slope[i];
                    right[i] += weighted * value;
                    for j in 0..=i {
                        information[i][j] += weighted * slope[j];
                    }
                }
            }
            for i in 0..N {
                for j in 0..i {
                    information[j][i] = information[i][j];
                }
            }
            lane = Self { at: multiply(&inverse(information)?, &right), information };
            if !lane.is_possible(optics) {
                return None;
            }
        }
        Some(lane)
    }

    /// The paint that may be of the lane's lines: near to where they should be, as wide as a line, and along it.
    fn near(&self, optics: &Optics, points: &[Point]) -> Vec<Point> {
        let may_be = |point: &&Point| {
            let Some((side, away, scale)) = self.nearest(optics, point) else { return false };
            let wide = f64::from(point.width) / scale;
            away.abs() < 0.7 * scale + 3.0
                && (PAINT_M[0] - 2.0 / scale..PAINT_M[1] + 3.0 / scale).contains(&wide)
                && (f64::from(point.angle) - self.slope(optics, side, scale)[4].atan()).abs() < 0.35
        };
        points.iter().filter(may_be).copied().collect()
    }

    /// By how much the column of a line changes with each number of the lane, in the row with that many pixels to a metre.
    fn slope(&self, optics: &Optics, side: f64, scale: f64) -> Vector {
        let f = optics.focal;
        let v = scale * optics.height_m / f;
        let place = self.at[0] + 0.5 * side * self.at[1];
        let bend = 0.5 * optics.height_m / v;
        [
            f * v / optics.height_m,
            0.5 * side * f * v / optics.height_m,
            f,
            f * bend,
            self.at[3] * bend / v - place / optics.height_m,
        ]
    }

    /// The side of the nearer line, how far to its right the point lies in pixels, and pixels to a metre there.
    fn nearest(&self, optics: &Optics, point: &Point) -> Option<(f64, f64, f64)> {
        let row = f64::from(point.y);
        let [left, right] = [-1.0, 1.0].map(|side| self.x_at(optics, side, row));
        let [left, right] = [f64::from(point.x) - left?, f64::from(point.x) - right?];
        let (side, away) = if left.abs() < right.abs() { (-1.0, left) } else { (1.0, right) };
        Some((side, away, self.scale(optics, row)))
    }

    fn is_possible(&self, optics: &Optics) -> bool {
        let [middle, width, heading, curvature, horizon] = self.at;
        (f64::from(WIDTH_M[0])..f64::from(WIDTH_M[1])).contains(&width)
            && middle.abs() < width
            && heading.abs() < 0.4
            && curvature.abs() < 0.04
            && (horizon - optics.horizon[0]).abs() < 1.3 * optics.horizon[1]
    }

    /// What there is to be seen of both lines.
    pub(super) fn evidence(&self, optics: &Optics, points: &[Point], region: &Region) -> [Evidence; 2] {
        let mut evidence = [Evidence::default(); 2];
        let mut near = [0.0_f32; 2];
        let mut rows = [[f32::MAX, f32::MIN]; 2];
        let mut last_row = [-1.0_f32; 2];
        // Number and sum of the distances on the farther and the nearer half. Distance goes with one over the row.
        let mut halves = [[[0.0_f32; 2]; 2]; 2];
        let half_way = 2.0 * (optics.top - self.at[4]).max(2.0);
        for point in points {
            let Some((side, away, scale)) = self.nearest(optics, point) else { continue };
            let i = usize::from(side > 0.0);
            let away_m = (away / scale) as f32;
            let blur = (1.5 / scale) as f32;
            if away_m.abs() < 0.5 + blur {
                near[i] += 1.0;
            }
            if away_m.abs() < 0.4 + blur {
                let half = usize::from(f64::from(point.y) + optics.top - self.at[4] > half_way);
                halves[i][half][0] += 1.0;
                halves[i][half][1] += away_m;
            }
            let wide = point.width / scale as f32;
            if away_m.abs() < 0.11 + blur
                && (PAINT_M[0] as f32 - 2.0 * blur..PAINT_M[1] as f32 + 2.0 * blur).contains(&wide)
                && last_row[i] != point.y
            {
                last_row[i] = point.y;
                evidence[i].on += 1.0;
                rows[i] = [rows[i][0].min(point.y), rows[i][1].max(point.y)];
            }
        }
        for (i, side) in [-1.0, 1.0].into_iter().enumerate() {
            let inside = |row: &usize| {
                let (from, to) = region.columns(*row);
                self.x_at(optics, side, *row as f64).is_some_and(|x| x > from as f64 && x < to as f64)
            };
            let expected = (0..region.rows).filter(inside).count().max(1) as f32;
            let Evidence { on, .. } = evidence[i];
            let extent = (rows[i][1] - rows[i][0]).max(0.0);
            let ends = rows[i].map(|row| self.x_at(optics, side, f64::from(row)).unwrap_or(0.0) as f32);
            let [far, nearer] = halves[i].map(|[count, sum]| (count >= 6.0).then(|| sum / count));
            let parts_m = far.zip(nearer).map_or(0.0, |(far, nearer)| far - nearer);
            evidence[i] = Evidence {
                parts_m,
                cover: on / expected,
                purity: on / near[i].max(1.0),
                extent: extent / expected,
                on,
                length: if on > 0.0 { extent.hypot(ends[1] - ends[0]) } else { 0.0 },
            };
        }
        evidence
    }

    /// How far it is from another one: the larger of the distances of both lines, in metres, at the vehicle.
    pub(super) fn differs(&self, other: &Self) -> f32 {
        let places = |lane: &Self| [-0.5, 0.5].map(|side| lane.at[0] + side * lane.at[1]);
        let [a, b] = [places(self), places(other)];
        (a[0] - b[0]).abs().max((a[1] - b[1]).abs()) as f32
    }
}

fn multiply(matrix: &Matrix, vector: &Vector) -> Vector {
    core::array::from_fn(|i| (0..N).map(|j| matrix[i][j] * vector[j]).sum())
}

/// By elimination with pivots on the diagonal: the matrices here are symmetric and positive. `None` where one is not.
fn inverse(mut matrix: Matrix) -> Option<Matrix> {
    let mut result: Matrix = core::array::from_fn(|i| core::array::from_fn(|j| f64::from(u8::from(i == j))));
    for pivot in 0..N {
        let scale = matrix[pivot][pivot];
        if !(scale > 0.0 && scale.is_finite()) {
            return None;
        }
        for j in 0..N {
            matrix[pivot][j] /= scale;
            result[pivot][j] /= scale;
        }
        for i in (0..N).filter(|&i| i != pivot) {
            let factor = matrix[i][pivot];
            for j in 0..N {
                matrix[i][j] -= factor * matrix[pivot][j];
                result[i][j] -= factor * result[pivot][j];
            }
        }
    }
    Some(result)
}
