//! Finds the lane lines in a camera's frames.
//!
//! Use it on frames of a camera that looks ahead along the road, near the middle of the vehicle. What is known of its
//! [`Mounting`] sharpens it; without, the horizon may lie anywhere from 38 % to 62 % of the height. It looks for a lane,
//! not for lines: two lines that are parallel on the ground, a lane's width apart, with the vehicle between them.
//! Ground is taken for flat; crests and nodding are followed as a horizon that moves.
//!
//! ```
//! use lkas::detection::{DetectorParameters, LaneDetector};
//! use lkas_messages::{ImageShape, ImageView, PixelFormat};
//!
//! let shape = ImageShape::new(800, 600, PixelFormat::Gray8)?;
//! let pixels = vec![90; shape.pixel_bytes()];
//! let image = ImageView::new(shape, &pixels).expect("as many bytes as the shape says");
//! let mut detector = LaneDetector::new(DetectorParameters::default());
//! let lanes = detector.detect(&image);
//! assert!(lanes.left.is_none() && lanes.right.is_none(), "an empty road");
//! # Ok::<(), lkas_messages::MessageError>(())
//! ```
//!
//! # Steps
//! 1. [Grey](https://en.wikipedia.org/wiki/Luma_(video)) from red and green, from a little below the horizon to the
//!    frame's last row; large frames and noisy ones are halved (or more) first.
//! 2. Canny's edges.
//! 3. In each row, the middles between a rising edge and the falling one that follows: paint is brighter than road on
//!    both its sides. This leaves out kerbs, shadows and the road's own edges, and finds the middle of the paint.
//! 4. Where a lane is known: what is known of it, corrected by the paint where it is expected.
//! 5. Where none is known, or little of it is seen: a Hough vote of those middles, each for lines along its own
//!    gradient; of the pairs of lines that can bound a lane, the one with most to be seen.
//! 6. How sure each line is, from the paint on it and beside it.

mod edges;
mod lines;
mod region;
mod road;

#[cfg(test)]
mod tests;

pub use self::road::Mounting;
use self::{
    edges::EdgeFinder,
    lines::{Line, LineFinder, Needs},
    region::Region,
    road::{Evidence, Optics},
};
use lkas_messages::NameError;
use lkas_messages::names::{Category, Parameter};
use lkas_messages::{ImageShape, ImageView, Lane};

/// How lines are found. Ranges and defaults are those of [`PARAMETERS`](lkas_messages::names::PARAMETERS).
///
/// Lengths and counts are in pixels of a picture 600 rows high; in others they count in proportion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorParameters {
    /// Gradient at which an edge continues: the sum of the absolute responses of the two Sobel operators on 8-bit
    /// grey, 4 for each step of grey at a sharp vertical edge. The smaller of the two thresholds is taken for this one.
    pub canny_low: f64,
    /// Gradient at which an edge starts. The larger of the two thresholds is taken for this one.
    pub canny_high: f64,
    /// Edge points that a line needs, on both its edges together.
    pub hough_threshold: f64,
    /// Length in pixels from the first to the last edge point that a line needs.
    pub hough_min_line_len: f64,
    /// Share of the lines before in the new ones, 0 to 1. Above 0.95 it works like 0.95: at 1, lines would never move.
    pub smoothing_factor: f64,
}

impl Default for DetectorParameters {
    fn default() -> Self {
        let default = |name| Parameter::find(Category::Detection, name).map_or(0.0, |parameter| parameter.default);
        Self {
            canny_low: default("canny_low"),
            canny_high: default("canny_high"),
            hough_threshold: default("hough_threshold"),
            hough_min_line_len: default("hough_min_line_len"),
            smoothing_factor: default("smoothing_factor"),
        }
    }
}

impl DetectorParameters {
    /// The parameter of that name.
    ///
    /// # Errors
    /// As for [`Parameter::find`].
    fn named(&mut self, name: &str) -> Result<(&'static Parameter, &mut f64), NameError> {
        let parameter = Parameter::find(Category::Detection, name)?;
        let value = match parameter.name {
            "canny_low" => &mut self.canny_low,
            "canny_high" => &mut self.canny_high,
            "hough_threshold" => &mut self.hough_threshold,
            "hough_min_line_len" => &mut self.hough_min_line_len,
            _ => &mut self.smoothing_factor,
        };
        Ok((parameter, value))
    }

    /// Whether a value goes together with the others.
    ///
    /// # Errors
    /// The reason, in words: an edge can't end at a gradient at which none starts.
    pub fn check(&self, name: &str, value: f64) -> Result<(), String> {
        let (low, high) = (self.canny_low, self.canny_high);
        match name {
            "canny_low" if value > high => Err(format!("canny_low can't be above canny_high, which is {high}")),
            "canny_high" if value < low => Err(format!("canny_high can't be below canny_low, which is {low}")),
            _ => Ok(()),
        }
    }

    /// As [`LaneDetector::set`].
    ///
    /// # Errors
    /// As there.
    pub fn set(&mut self, name: &str, value: f64) -> Result<f64, NameError> {
        let (parameter, current) = self.named(name)?;
        *current = parameter.accept(value).unwrap_or(*current);
        Ok(*current)
    }
}

/// A line that is less sure than this is none.
pub const LEAST_CONFIDENCE: f32 = 0.2;

/// A line that is at least so sure is right: of such lines, fewer than one in a hundred is wrong.
pub const SURE: f32 = 0.5;

/// The most that a line has which can't be sure.
const NOT_SURE: f32 = 0.9 * SURE;

/// A line that is not seen is held for this many frames: a quarter of a second at 30 Hz, about what the gap between two
/// dashes takes at 50 km/h.
const HOLD: u32 = 8;

/// What is left of the confidence after each frame in which a line was not seen.
const FADE: f32 = 0.7;

/// The largest share of the lines before in the new ones. A share of 1 would never follow the road.
const MOST_SMOOTHING: f64 = 0.95;

/// The time from one frame to the next where nobody says it, in seconds.
const USUAL_DT: f64 = 1.0 / 30.0;

/// Standard deviations of noise, in steps of 255: with more than the second, the frame after it is halved once more; with
/// less than the first, once less. Halving halves the noise of neighbours that know nothing of each other.
const NOISY: [f32; 2] = [4.0, 11.0];

/// What is seen this far below the horizon and nearer, as a share of the frame's height, is looked at.
const BELOW_HORIZON: f32 = 0.045;

/// Lines that pass the lane's vanishing point within this share of the frame's width are parallel to it.
const PARALLEL: f32 = 0.08;

/// The lines that go out end this far below the horizon: straight lines say little of what is farther away.
const END_BELOW_HORIZON: f32 = 0.13;

/// The lane lines of one frame, in its pixels.
///
/// Both lines run between the same heights: `y1` is the frame's last row, `y2` the row that lies 13 % of the height
/// below the horizon. They are chords of the lane: in a curve, they meet it at both ends. `x1` may lie outside of the
/// frame, where the line leaves it at the side.
///
/// `confidence` says how much paint there is where the line is, and how little beside it. Lines of [`SURE`] and more are
/// right in more than 99 of 100 cases (measured on the labelled frames); below [`LEAST_CONFIDENCE`] there is none. A line
/// that is not seen but held loses 30 % with each frame, and is never sure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lanes {
    /// The line on the left of the vehicle.
    pub left: Option<Lane>,
    /// The line on the right of the vehicle.
    pub right: Option<Lane>,
    /// The lane as a shape on the ground; `None` where it is not known.
    pub shape: Option<LaneShape>,
}

/// The lane on the ground, at the camera. Metres are as right as the [`Mounting`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneShape {
    /// How far the lane's middle lies to the right of the camera, in metres.
    pub middle_m: f32,
    /// The lane's width, in metres.
    pub width_m: f32,
    /// The lane's direction relative to the vehicle's in radians, positive to the right.
    pub heading: f32,
    /// The lane's curvature in 1/m, positive to the right.
    pub curvature: f32,
    /// How sure the left and the right line are, 0 to 1; 0 for one that was not seen in this very frame.
    pub seen: [f32; 2],
    /// Whether the frame shows exactly what the one before showed.
    pub unchanged: bool,
}

/// A lane that is followed.
#[derive(Clone, Copy, Debug)]
struct Followed {
    lane: road::Lane,
    confidence: [f32; 2],
    missed: [u32; 2],
    /// It looked like two lanes when it was found: never sure.
    doubtful: bool,
}

/// Finds lane lines in one frame after the other.
#[derive(Debug)]
pub struct LaneDetector {
    parameters: DetectorParameters,
    mounting: Mounting,
    edges: EdgeFinder,
    lines: LineFinder,
    followed: Option<Followed>,
    shape: Option<ImageShape>,
    /// How often frames are halved because they are noisy; and the next one, by the noise of the last.
    halvings: [u32; 2],
    /// What the last frame showed, in short.
    glance: u64,
}

impl LaneDetector {
    /// A detector that has seen nothing yet, for a camera of which nothing is known. Parameters are brought into their
    /// ranges; NaN and infinities are replaced by defaults.
    #[must_use]
    pub fn new(parameters: DetectorParameters) -> Self {
        let mut checked = DetectorParameters::default();
        let mut given = parameters;
        for parameter in lkas_messages::names::PARAMETERS.iter().filter(|p| p.category == Category::Detection) {
            if let (Ok((_, from)), Ok((_, to))) = (given.named(parameter.name), checked.named(parameter.name)) {
                *to = parameter.accept(*from).unwrap_or(*to);
            }
        }
        Self {
            parameters: checked,
            mounting: Mounting::default(),
            edges: EdgeFinder::default(),
            lines: LineFinder::default(),
            followed: None,
            shape: None,
            halvings: [0; 2],
            glance: 0,
        }
    }

    /// The same detector for a camera that is mounted like that.
    #[must_use]
    pub fn mounted(self, mounting: Mounting) -> Self {
        Self { mounting, ..self }
    }

    /// The parameters in force.
    #[must_use]
    pub fn parameters(&self) -> &DetectorParameters {
        &self.parameters
    }

    /// Sets a parameter, for the next picture on, and returns the value now in force: `value` brought into the
    /// parameter's range, or the value before where `value` is NaN or infinite.
    ///
    /// # Errors
    /// A name that is not a parameter of detection.
    pub fn set(&mut self, name: &str, value: f64) -> Result<f64, NameError> {
        self.parameters.set(name, value)
    }

    /// The lane lines in `image`, taken a thirtieth of a second after the one before; see
    /// [`detect_after`](Self::detect_after).
    pub fn detect(&mut self, image: &ImageView<'_>) -> Lanes {
        self.detect_after(image, USUAL_DT)
    }

    /// The lane lines in `image`, taken `dt` seconds after the one before.
    ///
    /// A frame of another shape than the one before, or more than a second after it, starts afresh. In frames too small
    /// to see a line in (fewer than 16 columns, or about 40 rows) there is none.
    ///
    /// # Progress
    /// Memory is allocated for the first frame of a shape; later ones work in the same memory, but where a lane is looked
    /// for anew.
    pub fn detect_after(&mut self, image: &ImageView<'_>, dt: f64) -> Lanes {
        let shape = image.shape();
        let dt = if dt.is_finite() && dt > 0.0 { dt } else { USUAL_DT };
        if self.shape.replace(shape) != Some(shape) || dt > 1.0 {
            self.followed = None;
            self.halvings = [0; 2];
        }
        self.halve();
        let Some(region) = Region::new(shape, self.top(shape), self.halvings[0]) else { return Lanes::default() };
        let parameters = self.parameters;
        self.edges.find(image, &region, parameters.canny_low, parameters.canny_high);
        let noisy = region.can_be_halved(shape) && self.edges.is_noisier_than(NOISY[1]);
        let calm = self.halvings[0] > 0 && !self.edges.is_noisier_than(NOISY[0]);
        self.halvings[1] = self.halvings[0] + u32::from(noisy) - u32::from(calm);
        self.lines.collect(&self.edges, &region);
        let unchanged = self.is_unchanged(&region);
        let needs = Needs {
            edge_points: parameters.hough_threshold as f32 * region.unit,
            length: parameters.hough_min_line_len as f32 * region.unit,
        };
        let optics = Optics::new(&self.mounting, &region);
        let agility = (1.0 - parameters.smoothing_factor.min(MOST_SMOOTHING)) / 0.3;
        let kept =
            self.followed.and_then(|followed| self.keep(followed, &optics, &region, needs, dt, agility.max(0.3)));
        let weak = kept.as_ref().is_none_or(|(_, seen)| seen[0].max(seen[1]) < SURE);
        let found = if weak { self.look_around(&optics, &region, needs) } else { None };
        let (followed, seen) = match (kept, found) {
            (Some((kept, seen)), Some((found, other))) => {
                // A sure lane replaces one that is not; what is near it is the same one.
                let better = other[0].min(other[1]) >= SURE && kept.lane.differs(&found.lane) > 0.3;
                if better { (found, other) } else { (kept, seen) }
            }
            (Some(kept), None) => kept,
            (None, Some(found)) => found,
            (None, None) => {
                self.followed = None;
                return self.alone(&optics, &region, needs, shape);
            }
        };
        self.followed = Some(followed);
        let line = |i: usize, side: f64| {
            let confidence = followed.confidence[i];
            (confidence >= LEAST_CONFIDENCE)
                .then(|| chord(&followed.lane, &optics, &region, shape, side, confidence))?
        };
        Lanes {
            left: line(0, -1.0),
            right: line(1, 1.0),
            shape: Some(LaneShape {
                middle_m: followed.lane.middle_m(),
                width_m: followed.lane.width_m(),
                heading: followed.lane.heading(),
                curvature: followed.lane.curvature(),
                seen,
                unchanged,
            }),
        }
    }

    /// The horizon that is followed, in pixels from the frame's top; `None` where no lane is.
    #[must_use]
    pub fn horizon(&self) -> Option<f32> {
        let shape = self.shape?;
        let region = Region::new(shape, 0.0, self.halvings[0])?;
        self.followed.map(|followed| region.x_of(followed.lane.horizon()))
    }

    /// Halves frames as often as the noise of the last one asks for.
    fn halve(&mut self) {
        let [now, next] = self.halvings;
        self.halvings = [next; 2];
        if now != next
            && let Some(followed) = &mut self.followed
        {
            followed.lane = followed.lane.scaled(0.5_f64.powi(next as i32 - now as i32));
        }
    }

    /// Where to start looking, as a share of the frame's height. In steps, so that the horizon's nodding does not change
    /// the size of everything with each frame.
    fn top(&self, shape: ImageShape) -> f32 {
        let Some(horizon) = self.horizon().filter(|_| self.followed.is_some()) else {
            return self.mounting.horizon + (self.mounting.horizon_tolerance - 0.01).max(BELOW_HORIZON);
        };
        ((horizon / shape.height() as f32 + BELOW_HORIZON) * 50.0).ceil() / 50.0
    }

    /// Whether paint lies exactly where it lay before.
    fn is_unchanged(&mut self, region: &Region) -> bool {
        let glance = self.lines.points().iter().fold(region.top as u64, |sum, point| {
            let bits = u64::from(point.x.to_bits()) << 32 | u64::from(point.angle.to_bits());
            (sum ^ bits).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        });
        core::mem::replace(&mut self.glance, glance) == glance && !self.lines.points().is_empty()
    }

    /// The lane that is followed, and how sure each line is seen in this frame. `None` where it is lost.
    fn keep(
        &self,
        followed: Followed,
        optics: &Optics,
        region: &Region,
        needs: Needs,
        dt: f64,
        agility: f64,
    ) -> Option<(Followed, [f32; 2])> {
        let Followed { mut lane, mut confidence, mut missed, doubtful } = followed;
        lane.wander(optics, dt, agility);
        let points = self.lines.points();
        let (lane, seen) = match lane.corrected(optics, points) {
            Some(corrected) => (corrected, sureness(corrected.evidence(optics, points, region), needs)),
            None => (lane, [0.0; 2]),
        };
        let seen = if doubtful { seen.map(|seen| seen.min(NOT_SURE)) } else { seen };
        for i in 0..2 {
            if seen[i] >= LEAST_CONFIDENCE {
                (confidence[i], missed[i]) = (seen[i], 0);
            } else {
                missed[i] += 1;
                // What is not seen is never sure.
                confidence[i] = if missed[i] > HOLD { 0.0 } else { (confidence[i] * FADE).min(NOT_SURE) };
            }
        }
        (missed[0].min(missed[1]) <= HOLD).then_some((Followed { lane, confidence, missed, doubtful }, seen))
    }

    /// The lane with most to be seen, whatever was known before.
    fn look_around(&mut self, optics: &Optics, region: &Region, needs: Needs) -> Option<(Followed, [f32; 2])> {
        let candidates = self.lines.candidates(region, needs, (optics.horizon[0] - optics.top) as f32);
        let points = self.lines.points();
        let mut best: Option<(f32, Followed)> = None;
        for left in &candidates {
            for right in &candidates {
                let Some(lane) = road::Lane::between(left, right, optics, region) else { continue };
                let Some(lane) = lane.corrected(optics, points) else { continue };
                let mut confidence = sureness(lane.evidence(optics, points, region), needs);
                // With another line between them, parallel to them, they are those of two lanes, or the camera is not what
                // it is taken for.
                let (column, row) = lane.vanishing_point(optics);
                let is_between = |line: &&Line| {
                    let inside = |a: f32, b: f32, c: f32| a + 0.2 * (c - a) < b && b < c - 0.2 * (c - a);
                    let enough = line.on > 0.35 * left.on.min(right.on);
                    let parallel = (line.x_at(row, region) - column).abs() < PARALLEL * region.width as f32;
                    enough && parallel && inside(left.slope, line.slope, right.slope)
                };
                let doubtful = candidates.iter().any(|line| is_between(&line));
                if doubtful {
                    confidence = confidence.map(|confidence| confidence.min(NOT_SURE));
                }
                // The lane that the vehicle is in the middle of, of a usual width.
                let odd = (lane.width_m() - 3.6) / 1.2;
                let usual = (-odd * odd).exp() * (1.0 - 0.5 * (lane.middle_m() / lane.width_m()).abs());
                let score = confidence[0].min(confidence[1]) * usual;
                if confidence[0].min(confidence[1]) >= LEAST_CONFIDENCE && best.is_none_or(|(most, _)| score > most) {
                    best = Some((score, Followed { lane, confidence, missed: [0; 2], doubtful }));
                }
            }
        }
        best.map(|(_, followed)| (followed, followed.confidence))
    }

    /// Lines that are no lane together: the clearest on each side, and never sure.
    fn alone(&mut self, optics: &Optics, region: &Region, needs: Needs, shape: ImageShape) -> Lanes {
        let candidates = self.lines.candidates(region, needs, (optics.horizon[0] - optics.top) as f32);
        let middle = region.width as f32 / 2.0;
        let clearest = |on_side: &dyn Fn(f32) -> bool| {
            candidates
                .iter()
                .filter(|line| on_side(line.at_bottom - middle))
                .map(|line| in_picture(line, region, shape))
                .filter(|lane| lane.confidence >= LEAST_CONFIDENCE)
                .max_by(|a, b| a.confidence.total_cmp(&b.confidence))
        };
        let apart = 0.04 * region.width as f32;
        let [left, right] = [clearest(&|x| x < -apart), clearest(&|x| x > apart)];
        // Two lines that are no lane: nobody knows which of them is one of it.
        if left.is_some() && right.is_some() { Lanes::default() } else { Lanes { left, right, shape: None } }
    }
}

/// How sure each of the two lines is, from what is seen of it.
///
/// The numbers are chosen on labelled frames (`lkas evaluate`) so that [`SURE`] means what it says.
fn sureness(evidence: [Evidence; 2], needs: Needs) -> [f32; 2] {
    evidence.map(|line| {
        if !line.meets(needs) {
            return 0.0;
        }
        let ramp = |value: f32, from: f32, to: f32| ((value - from) / (to - from)).clamp(0.0, 1.0);
        let parallel = 1.0 - ramp(line.parts_m.abs(), 0.12, 0.3);
        parallel * ramp(line.cover, 0.02, 0.28) * ramp(line.purity, 0.3, 0.75) * ramp(line.extent, 0.05, 0.45)
    })
}

/// A line of the lane as a straight one in the picture.
fn chord(
    lane: &road::Lane,
    optics: &Optics,
    region: &Region,
    shape: ImageShape,
    side: f64,
    confidence: f32,
) -> Option<Lane> {
    let y1 = (shape.height() - 1) as f32;
    let horizon = region.x_of(lane.horizon());
    let y2 = horizon + END_BELOW_HORIZON * shape.height() as f32;
    let x = |y: f32| lane.x_at(optics, side, f64::from(region.row_of(y))).map(|x| region.x_of(x as f32));
    Some(Lane { x1: x(y1)?, y1, x2: x(y2)?, y2, confidence })
}

/// A line of the region as one of the picture, never sure.
fn in_picture(line: &Line, region: &Region, shape: ImageShape) -> Lane {
    let y1 = (shape.height() - 1) as f32;
    let y2 = (region.top * region.scale) as f32;
    let x_at = |y| region.x_of(line.x_at(region.row_of(y), region));
    let confidence = (line.on / (0.35 * region.rows as f32)).min(1.0) * line.share * NOT_SURE;
    Lane { x1: x_at(y1), y1, x2: x_at(y2), y2, confidence }
}
