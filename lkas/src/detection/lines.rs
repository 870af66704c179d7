//! From edges to lines: paint is bright between two edges; its middles vote for lines after Duda and Hart ("Use of the
//! Hough transformation to detect lines and curves in pictures", CACM 15(1), 1972), each only for lines along its own
//! gradient (O'Gorman and Clowes, IEEE ToC C-25(4), 1976); what has most votes is fitted by least squares.

use super::{edges::EdgeFinder, region::Region};

/// The middle of a stripe of paint in one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Column and row in the region, in working pixels.
    pub(super) x: f32,
    pub(super) y: f32,
    /// The angle of the stripe's normal to the right, in radians: positive where it leads down to the left.
    pub(super) angle: f32,
    /// From the rising to the falling edge, in working pixels.
    pub(super) width: f32,
}

/// A line in the region, in working pixels: x = `at_bottom` + `slope` (y - last row).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) at_bottom: f32,
    pub(super) slope: f32,
    /// Rows with paint on it.
    pub(super) on: f32,
    /// The share of the paint nearby that lies on it, 0 to 1.
    pub(super) share: f32,
}

/// What a line needs, in working pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    pub(super) edge_points: f32,
    pub(super) length: f32,
}

/// Lines lean at most this far from the vertical, in degrees: a line 3 m beside a camera 1.4 m high does 65°.
const MAX_LEAN: f32 = 68.0;
/// Width of a cell of the vote in angle, in degrees.
const ANGLE_STEP: f32 = 1.0;
const ANGLES: usize = (2.0 * MAX_LEAN / ANGLE_STEP) as usize + 1;
/// A point votes for lines within this many cells of its own angle.
const ANGLE_REACH: isize = 7;

/// No more lines than this are looked for in a picture: the road's own, and what looks like them.
const MOST_LINES: usize = 8;

/// Finds lines, and keeps the memory for it from frame to frame.
#[derive(Debug, Default)]
pub(super) struct LineFinder {
    points: Vec<Point>,
    left: Vec<Point>,
    votes: Vec<i16>,
    distances: usize,
}

impl LineFinder {
    /// The middles of paint in the region.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The lines that lead to a row near `horizon`, which counts in working pixels from the region's top. Call
    /// [`collect`](Self::collect) before.
    pub(super) fn candidates(&mut self, region: &Region, needs: Needs, horizon: f32) -> Vec<Line> {
        let grid = Grid::new(region);
        self.distances = grid.distances;
        self.votes.clear();
        self.votes.resize(ANGLES * grid.distances, 0);
        self.left.clone_from(&self.points);
        for index in 0..self.left.len() {
            self.vote(&grid, self.left[index], 1);
        }
        let mut lines = Vec::new();
        for _ in 0..MOST_LINES {
            let Some(candidate) = self.strongest(&grid, region, needs, horizon) else { break };
            lines.extend(self.fit(candidate, region, needs).filter(|line| is_plausible(*line, region, horizon)));
            // Its points are taken back, and the next one has its turn.
            let mut index = 0;
            while index < self.left.len() {
                let point = self.left[index];
                if (point.x - candidate.x_at(point.y, region)).abs() < 3.0 * tolerance(point.y, region) {
                    self.vote(&grid, point, -1);
                    self.left.swap_remove(index);
                } else {
                    index += 1;
                }
            }
        }
        lines
    }

    /// Pairs each rising edge with the falling one that follows it within the width of paint.
    pub(super) fn collect(&mut self, edges: &EdgeFinder, region: &Region) {
        self.points.clear();
        let unit = region.unit;
        for row in 0..region.rows {
            // Paint 15 cm wide takes 0.11 pixels for each row below the horizon at 1.4 m; seen aslant, or double, more.
            let widest = 15.0 * unit + 0.2 * row as f32;
            let mut rise: Option<(usize, i16, i16)> = None;
            for (column, gx, gy) in edges.edges_in(row) {
                if gx > 0 {
                    rise = Some((column, gx, gy));
                } else if let Some((start, rx, ry)) = rise.take()
                    && gx < 0
                    && ((column - start) as f32) < widest
                {
                    let (nx, ny) = (f32::from(rx) - f32::from(gx), f32::from(ry) - f32::from(gy));
                    let x = (start + column) as f32 / 2.0;
                    let width = (column - start) as f32;
                    self.points.push(Point { x, y: row as f32, angle: (ny / nx).atan(), width });
                }
            }
        }
    }

    fn vote(&mut self, grid: &Grid, point: Point, vote: i16) {
        let own = grid.angle_cell(point.angle);
        let from = (own - ANGLE_REACH).max(0) as usize;
        let to = (own + ANGLE_REACH + 1).clamp(0, ANGLES as isize) as usize;
        for cell in from..to {
            let distance = grid.distance_cell(point, cell);
            if let Some(votes) = self.votes.get_mut(cell * grid.distances + distance) {
                *votes += vote;
            }
        }
    }

    fn strongest(&self, grid: &Grid, region: &Region, needs: Needs, horizon: f32) -> Option<Line> {
        // The cells split a line's votes between neighbours, so that a fraction is reason enough to look closer.
        let least = (needs.edge_points / 2.0 * 0.3).max(3.0) as i16;
        let mut best: Option<(f32, Line)> = None;
        for (cell, row) in self.votes.chunks_exact(grid.distances.max(1)).enumerate() {
            for (distance, &votes) in row.iter().enumerate() {
                if votes < least {
                    continue;
                }
                let line = grid.line(cell, distance);
                if !is_plausible(line, region, horizon) {
                    continue;
                }
                // Of two lines the nearer one bounds the lane.
                let aside = (line.at_bottom / region.width as f32 - 0.5).abs();
                let score = f32::from(votes) / (0.15 + aside);
                if best.is_none_or(|(most, _)| score > most) {
                    best = Some((score, line));
                }
            }
        }
        best.map(|(_, line)| line)
    }

    /// Least squares over the points near the candidate, thrice, each time nearer; then the tests.
    fn fit(&self, candidate: Line, region: &Region, needs: Needs) -> Option<Line> {
        let mut line = candidate;
        for reach in [3.0, 2.0, 1.0, 1.0] {
            let mut sums = Sums::default();
            for point in &self.left {
                if (point.x - line.x_at(point.y, region)).abs() < reach * tolerance(point.y, region) {
                    // The near part counts more: in a curve it is the one that the vehicle gets to first.
                    let weight = 0.2 + point.y / region.rows as f32;
                    sums.add(point.y - (region.rows - 1) as f32, point.x, weight);
                }
            }
            (line.at_bottom, line.slope) = sums.solve()?;
        }
        let (mut on, mut near) = (0.0, 0.0);
        let (mut first, mut last) = (f32::MAX, f32::MIN);
        for point in &self.left {
            let away = (point.x - line.x_at(point.y, region)).abs() / tolerance(point.y, region);
            if away < 1.0 {
                on += 1.0;
                first = first.min(point.y);
                last = last.max(point.y);
            }
            if away < 5.0 {
                near += 1.0;
            }
        }
        // In noise, points lie near the line as often as on it: a fifth of them on it.
        let share: f32 = on / near;
        (line.on, line.share) = (on, share);
        let length = (last - first) * line.slope.hypot(1.0);
        (2.0 * on >= needs.edge_points && length >= needs.length && share >= 0.4).then_some(line)
    }
}

/// How far from a line its points may lie in that row, in working pixels: paint is worn, and near paint is wide.
fn tolerance(row: f32, region: &Region) -> f32 {
    1.0 + 2.0 * region.unit + 0.008 * row
}

/// Whether a line may be one of the road's: it leads to about the middle of the horizon.
fn is_plausible(line: Line, region: &Region, horizon: f32) -> bool {
    let width = region.width as f32;
    (line.at_bottom / width - 0.5).abs() < 1.5 && (line.x_at(horizon, region) / width - 0.5).abs() < 0.25
}

impl Line {
    /// The horizontal position in that row, in working pixels.
    pub(super) fn x_at(&self, row: f32, region: &Region) -> f32 {
        self.at_bottom + self.slope * (row - (region.rows - 1) as f32)
    }
}

/// The cells of the vote: angle of the normal by distance from the middle of the region's last row.
struct Grid {
    distances: usize,
    step: f32,
    origin: (f32, f32),
    /// Sine and cosine of each angle.
    directions: [(f32, f32); ANGLES],
}

impl Grid {
    fn new(region: &Region) -> Self {
        let origin = (region.width as f32 / 2.0, (region.rows - 1) as f32);
        let step = (4.0 * region.unit).max(2.0);
        let farthest = origin.0.hypot(origin.1);
        let directions = core::array::from_fn(|cell| (cell as f32 * ANGLE_STEP - MAX_LEAN).to_radians().sin_cos());
        Self { distances: (2.0 * farthest / step) as usize + 2, step, origin, directions }
    }

    fn angle_cell(&self, angle: f32) -> isize {
        ((angle.to_degrees() + MAX_LEAN) / ANGLE_STEP).round() as isize
    }

    fn distance_cell(&self, point: Point, angle_cell: usize) -> usize {
        let (sin, cos) = self.directions[angle_cell];
        let distance = (point.x - self.origin.0) * cos + (point.y - self.origin.1) * sin;
        (distance / self.step + self.distances as f32 / 2.0) as usize
    }

    fn line(&self, angle_cell: usize, distance_cell: usize) -> Line {
        let (sin, cos) = self.directions[angle_cell];
        let distance = (distance_cell as f32 + 0.5 - self.distances as f32 / 2.0) * self.step;
        Line { at_bottom: self.origin.0 + distance / cos, slope: -sin / cos, on: 0.0, share: 0.0 }
    }
}

/// Weighted sums for a straight line x = a + b y.
#[derive(Default)]
struct Sums {
    w: f32,
    y: f32,
    x: f32,
    yy: f32,
    yx: f32,
}

impl Sums {
    fn add(&mut self, y: f32, x: f32, weight: f32) {
        self.w += weight;
        self.y += weight * y;
        self.x += weight * x;
        self.yy += weight * y * y;
        self.yx += weight * y * x;
    }

    /// (a, b); `None` where all points are in one row.
    fn solve(&self) -> Option<(f32, f32)> {
        let (y, x) = (self.y / self.w, self.x / self.w);
        let spread = self.yy / self.w - y * y;
        let slope = (self.yx / self.w - y * x) / spread;
        (spread > 0.5 && slope.is_finite()).then_some((x - slope * y, slope))
    }
}
