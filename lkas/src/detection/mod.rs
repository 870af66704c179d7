//! Finds the lane lines in a camera picture.
//!
//! Use it on pictures of a camera that looks ahead along the road, near the middle of the vehicle, with the horizon at
//! 42 % to 58 % of the picture's height. It knows nothing of the camera but that. It finds straight lines: in a curve,
//! the line along the near part. It does not tell paint from anything else that is bright, of a paint's width and leads
//! ahead.
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
//! 1. [Grey](https://en.wikipedia.org/wiki/Luma_(video)) from red and green, in the part of the picture below 61 % of
//!    its height; large pictures are halved (or more) first.
//! 2. Canny's edges.
//! 3. In each row, the middles between a rising edge and the falling one that follows: paint is brighter than road on
//!    both its sides. This leaves out kerbs, shadows and the road's own edges, and finds the middle of the paint.
//! 4. A Hough vote of those middles, each for lines along its own gradient.
//! 5. On each side, the best line that leads to about the middle of the horizon, fitted by least squares.
//! 6. Smoothing over time.

mod edges;
mod lines;
mod region;
mod track;

#[cfg(test)]
mod tests;

use self::{
    edges::EdgeFinder,
    lines::{Line, LineFinder, Needs},
    region::Region,
    track::Track,
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
}

/// The lane lines of one frame, in pixels of the picture.
///
/// Both lines run between the same heights: `y1` is the picture's last row, `y2` the top of the part that was looked
/// at. `x1` may lie outside of the picture, where the line leaves it at the side.
///
/// `confidence` is the share of the rows looked at in which paint was found on the line, where 35 % count as all (a
/// broken line has gaps), times the share of the paint nearby that lies on the line. It falls by 30 % with each frame
/// in which the line was not seen but held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lanes {
    /// The line on the left of the vehicle.
    pub left: Option<Lane>,
    /// The line on the right of the vehicle.
    pub right: Option<Lane>,
}

/// Finds lane lines in one picture after the other.
#[derive(Debug)]
pub struct LaneDetector {
    parameters: DetectorParameters,
    edges: EdgeFinder,
    lines: LineFinder,
    left: Track,
    right: Track,
    shape: Option<ImageShape>,
}

impl LaneDetector {
    /// A detector that has seen nothing yet. Parameters are brought into their ranges; NaN and infinities are replaced
    /// by defaults.
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
            edges: EdgeFinder::default(),
            lines: LineFinder::default(),
            left: Track::default(),
            right: Track::default(),
            shape: None,
        }
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
        let (parameter, current) = self.parameters.named(name)?;
        *current = parameter.accept(value).unwrap_or(*current);
        Ok(*current)
    }

    /// The lane lines in `image`, smoothed over the pictures before.
    ///
    /// A picture of another shape than the one before starts afresh. In pictures too small to see a line in (fewer
    /// than 16 columns, or about 40 rows) there is none.
    ///
    /// # Progress
    /// Memory is allocated for the first picture of a shape; later ones work in the same memory.
    pub fn detect(&mut self, image: &ImageView<'_>) -> Lanes {
        let shape = image.shape();
        if self.shape.replace(shape) != Some(shape) {
            (self.left, self.right) = (Track::default(), Track::default());
        }
        let Some(region) = Region::new(shape) else { return Lanes::default() };
        let parameters = &self.parameters;
        self.edges.find(image, &region, parameters.canny_low, parameters.canny_high);
        let needs = Needs {
            edge_points: parameters.hough_threshold as f32 * region.unit,
            length: parameters.hough_min_line_len as f32 * region.unit,
        };
        let found = self.lines.find(&self.edges, &region, needs);
        let seen = possible_lane(found.map(|line| line.map(|line| in_picture(line, &region, shape))));
        let (smoothing, width) = (parameters.smoothing_factor as f32, shape.width() as f32);
        let left = self.left.follow(seen[0], smoothing, width);
        let right = self.right.follow(seen[1], smoothing, width);
        let [left, right] = possible_lane([left, right]);
        Lanes { left, right }
    }
}

/// A line of the region as one of the picture.
fn in_picture(line: Line, region: &Region, shape: ImageShape) -> Lane {
    let y1 = (shape.height() - 1) as f32;
    let y2 = (region.top * region.scale) as f32;
    let x_at = |y| region.x_of(line.x_at(region.row_of(y), region));
    Lane { x1: x_at(y1), y1, x2: x_at(y2), y2, confidence: line.confidence }
}

/// Two lines that bound one lane: apart at the top and further apart at the bottom. Of two that do not, the one that
/// is less sure is no line of this lane.
fn possible_lane([left, right]: [Option<Lane>; 2]) -> [Option<Lane>; 2] {
    match (left, right) {
        (Some(l), Some(r)) if !(l.x2 < r.x2 && r.x2 - l.x2 < r.x1 - l.x1) => {
            if l.confidence > r.confidence {
                [left, None]
            } else {
                [None, right]
            }
        }
        both => both.into(),
    }
}
