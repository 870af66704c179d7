//! Where the vehicle is, from two lines in a picture. The camera is in the vehicle's middle and looks straight ahead.

use super::FIELD_OF_VIEW_DEG;
use lkas_messages::{DetectionFields, Lane};

/// Lines closer to each other than this part of the picture's width are no lane.
const LEAST_WIDTH: f32 = 0.02;

/// Where the vehicle is in its lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Located {
    /// Distance from the lane's middle, in half lane widths, positive to the right.
    pub(super) offset: f32,
    /// Direction of the lane relative to the vehicle's, in degrees, positive to the right.
    pub(super) heading_deg: f32,
    /// Width of the lane at the bottom of the picture, in pixels.
    pub(super) width_px: f32,
}

/// The lane's middle and width at one height of the picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level {
    y: f32,
    middle: f32,
    width: f32,
}

/// What is known of the lane's shape from the last detection with both lines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LaneGeometry {
    /// Widths at the bottom and at the top, as parts of the picture's width.
    widths: Option<[f32; 2]>,
}

impl LaneGeometry {
    /// `None` where there is no line, only one whose partner was never seen, or lines that are no lane.
    pub(super) fn locate(&mut self, detection: &DetectionFields) -> Option<Located> {
        let picture = f32::from(detection.width);
        let level = |y: f32, width: f32| -> Option<Level> {
            let left = detection.left.and_then(|lane| lane.x_at(y));
            let right = detection.right.and_then(|lane| lane.x_at(y));
            let (middle, width) = match (left, right) {
                (Some(left), Some(right)) => ((left + right) / 2.0, right - left),
                (Some(left), None) => (left + width / 2.0, width),
                (None, Some(right)) => (right - width / 2.0, width),
                (None, None) => return None,
            };
            Some(Level { y, middle, width })
        };
        let Lane { y1, y2, .. } = detection.left.or(detection.right)?;
        let both = detection.left.is_some() && detection.right.is_some();
        let [bottom_width, top_width] = if both { [0.0; 2] } else { self.widths?.map(|width| width * picture) };
        let bottom = level(y1, bottom_width)?;
        let top = level(y2, top_width)?;
        let usable = |level: Level| level.width.is_finite() && level.width > LEAST_WIDTH * picture;
        // On a flat road lines come together ahead; lines that part ahead are none of one lane.
        if !usable(bottom) || !usable(top) || bottom.width <= top.width || bottom.y <= top.y {
            return None;
        }
        if both {
            self.widths = Some([bottom.width, top.width].map(|width| width / picture));
        }
        Some(located(picture, bottom, top))
    }
}

fn located(picture: f32, bottom: Level, top: Level) -> Located {
    let axis = picture / 2.0;
    // Focal length in pixels of a pinhole camera: half the picture over the tangent of half the field of view.
    let focal = axis / (FIELD_OF_VIEW_DEG.to_radians() / 2.0).tan();
    // Width and middle of the lane are straight lines over the height of the picture: a level on them by its width.
    let at_width = |width: f32| {
        let share = (bottom.width - width) / (bottom.width - top.width);
        Level {
            y: bottom.y + share * (top.y - bottom.y),
            middle: bottom.middle + share * (top.middle - bottom.middle),
            width,
        }
    };
    // Where the lane's width is nothing, its lines meet: the direction in which it goes.
    let vanishing = at_width(0.0);
    let half_widths = |level: Level| (level.middle - axis) / (level.width / 2.0);
    Located {
        offset: -half_widths(bottom),
        heading_deg: ((vanishing.middle - axis) / focal).atan().to_degrees(),
        width_px: bottom.width,
    }
}
