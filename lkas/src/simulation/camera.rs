//! What a camera behind the windscreen sees.
//!
//! A pinhole camera looks ahead along the vehicle and slightly down, without rolling. So every point of the ground that
//! one row of pixels shows is equally far ahead, and along a row the lateral position changes evenly: each row is drawn
//! from a few numbers, and the road's curve comes in through a table of its middle line in the vehicle's coordinates.

use super::{
    ground,
    outline::Outline,
    pinhole::Pinhole,
    road::{Pose, Road},
    scenery::Scenery,
    sky::Sky,
};
use core::fmt;
use lkas_messages::{ImageShape, MessageError, PixelFormat};

/// How a [`Camera`] is mounted and what it draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CameraOptions {
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
    /// Height of the camera above the ground in metres, 0.5 to 5.
    pub mount_height_m: f64,
    /// Horizontal field of view in degrees, 30 to 120.
    pub field_of_view_deg: f64,
    /// Where the horizon lies, as a part of the picture's height from the top, 0.2 to 0.8.
    pub horizon: f64,
    /// Whether there are trees and posts beside the road. Like real ones, they hide what is behind them.
    pub scenery: bool,
}

impl Default for CameraOptions {
    fn default() -> Self {
        Self { width: 800, height: 600, mount_height_m: 1.4, field_of_view_deg: 80.0, horizon: 0.48, scenery: true }
    }
}

/// A [`Camera`] can't be made as asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CameraError {
    /// No picture has this width and height.
    Shape(MessageError),
    /// A number is outside of its range.
    Range {
        /// The option's name.
        option: &'static str,
        /// The value found.
        found: f64,
        /// The least and the largest value.
        expected: [f64; 2],
    },
}

impl fmt::Display for CameraError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => error.fmt(f),
            Self::Range { option, found, expected: [least, most] } => {
                write!(f, "the camera's {option} is {found}, expected {least} to {most}; choose a value in between")
            }
        }
    }
}

impl core::error::Error for CameraError {}

/// Draws pictures of a [`Road`].
///
/// A picture depends on nothing but the options, the road and the vehicle's pose; what the camera stores is only
/// prepared once.
#[derive(Debug)]
pub struct Camera {
    shape: ImageShape,
    pinhole: Pinhole,
    pitch: f64,
    outline: Outline,
    sky: Sky,
    ground: ground::Painter,
    scenery: Option<Scenery>,
    shadows: f32,
}

impl Camera {
    /// A camera as `options` say.
    ///
    /// # Errors
    /// [`CameraError`] where the size is no picture's or a number is outside of its range.
    pub fn new(options: CameraOptions) -> Result<Self, CameraError> {
        let shape = ImageShape::new(options.width, options.height, PixelFormat::Rgb8).map_err(CameraError::Shape)?;
        let range = |option, found: f64, expected: [f64; 2]| {
            // NaN is in no range.
            let inside = found >= expected[0] && found <= expected[1];
            if inside { Ok(found) } else { Err(CameraError::Range { option, found, expected }) }
        };
        let mount = range("mount height in metres", options.mount_height_m, [0.5, 5.0])?;
        let view = range("field of view in degrees", options.field_of_view_deg, [30.0, 120.0])?;
        let horizon = range("horizon", options.horizon, [0.2, 0.8])?;

        let (width, height) = (f64::from(options.width), f64::from(options.height));
        let focal = 0.5 * width / (0.5 * view.to_radians()).tan();
        let pitch = ((0.5 - horizon) * height / focal).atan();
        let pinhole = Pinhole {
            width: options.width as usize,
            height: options.height as usize,
            focal: focal as f32,
            centre: [0.5 * width as f32, 0.5 * height as f32],
            mount: mount as f32,
            pitch: [pitch.sin() as f32, pitch.cos() as f32],
            bend: 0.0,
        };
        Ok(Self {
            shape,
            pinhole,
            pitch,
            outline: Outline::default(),
            sky: Sky::new(&pinhole),
            ground: ground::Painter::new(&pinhole),
            scenery: options.scenery.then(Scenery::new),
            shadows: 0.0,
        })
    }

    /// Size and format of the pictures.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// The row of the horizon, in pixels from the top.
    #[must_use]
    pub fn horizon(&self) -> f32 {
        self.pinhole.horizon()
    }

    /// Lets the camera look down by so many degrees more than it is mounted for, at most 10 either way, on ground that
    /// bends up (positive) or down, in 1/m.
    pub fn look(&mut self, down_deg: f64, bend: f64) {
        let pitch = self.pitch + down_deg.clamp(-10.0, 10.0).to_radians();
        self.pinhole.pitch = [pitch.sin() as f32, pitch.cos() as f32];
        self.pinhole.bend = bend as f32;
    }

    /// How dark the shadows of trees on the road are, 0 to 1.
    pub fn shade(&mut self, shadows: f64) {
        self.shadows = shadows.clamp(0.0, 1.0) as f32;
    }

    /// The geometry in force.
    pub(super) fn pinhole(&self) -> &Pinhole {
        &self.pinhole
    }

    /// Where a point of the ground shows in the picture taken from `pose`: column and row in pixels, possibly outside
    /// of the picture; `None` where the point is behind the camera.
    #[must_use]
    pub fn project(&self, pose: Pose, point: [f64; 2]) -> Option<[f32; 2]> {
        let [ahead, right] = pose.to_local(point);
        self.pinhole.project(ahead as f32, right as f32, 0.0)
    }

    /// Draws what is seen from `pose`, near the place `s` of the road, into rows of RGB pixels from the top left.
    ///
    /// `pixels` holds [`ImageShape::pixel_bytes`] bytes; of a shorter slice, the whole rows that fit are drawn.
    pub fn render(&mut self, road: &Road, pose: Pose, s: f64, pixels: &mut [u8]) {
        let pinhole = &self.pinhole;
        let row_bytes = 3 * pinhole.width;
        let rows = pinhole.height.min(pixels.len() / row_bytes);
        let pixels = &mut pixels[..rows * row_bytes];
        self.outline.trace(road, pose, s);
        let (above, below) = pixels.split_at_mut((pinhole.horizon() as usize).min(rows) * row_bytes);
        self.sky.draw(pinhole, pose.heading, above);
        self.ground.draw(pinhole, road, &self.outline, self.shadows, below);
        if let Some(scenery) = &mut self.scenery {
            scenery.draw(pinhole, road, pose, s, pixels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::Road;

    /// The brightness of the pixel that shows a point of the ground.
    fn brightness(camera: &Camera, pixels: &[u8], pose: Pose, point: [f64; 2]) -> Option<u32> {
        let [x, y] = camera.project(pose, point)?;
        let (width, height) = (camera.shape().width(), camera.shape().height());
        if !(0.0..width as f32).contains(&x) || !(0.0..height as f32).contains(&y) {
            return None;
        }
        let at = (y as usize * width as usize + x as usize) * 3;
        Some(pixels[at..at + 3].iter().map(|value| u32::from(*value)).sum::<u32>() / 3)
    }

    fn rendered(options: CameraOptions, road: &Road, pose: Pose, s: f64) -> (Camera, Vec<u8>) {
        let mut camera = Camera::new(options).unwrap();
        let mut pixels = vec![0; camera.shape().pixel_bytes()];
        camera.render(road, pose, s, &mut pixels);
        (camera, pixels)
    }

    #[test]
    fn paint_is_where_geometry_says() {
        let road = Road::new();
        for (width, height) in [(800, 600), (640, 480), (1280, 720)] {
            let mut s = 0.0;
            let mut looked = 0;
            while s < road.length() {
                let pose = road.pose_at(s);
                let options = CameraOptions { width, height, ..CameraOptions::default() };
                let (camera, pixels) = rendered(options, &road, pose, s);
                for ahead in [5.0, 8.0, 12.0] {
                    let there = road.pose_at(road.wrap(s + ahead));
                    let at = |right| brightness(&camera, &pixels, pose, there.point(0.0, right));
                    // The solid line on the right against the asphalt on its inside and in the lane's middle.
                    let (Some(line), Some(inside), Some(middle)) = (at(1.75), at(1.3), at(0.0)) else { continue };
                    assert!(line > inside + 60, "{width}x{height}, {s} m, {ahead} m ahead: {line} beside {inside}");
                    assert!(line > middle + 60, "{width}x{height}, {s} m, {ahead} m ahead: {line}, middle {middle}");
                    looked += 1;
                }
                s += 97.0;
            }
            assert!(looked > 100, "{looked}");
        }
    }

    #[test]
    fn the_left_line_is_broken() {
        let road = Road::new();
        let pose = road.pose_at(0.0);
        let (camera, pixels) = rendered(CameraOptions::default(), &road, pose, 0.0);
        let bright: Vec<bool> = (40..140)
            .filter_map(|step| {
                let there = road.pose_at(f64::from(step) * 0.1);
                brightness(&camera, &pixels, pose, there.point(0.0, -1.75)).map(|value| value > 150)
            })
            .collect();
        let changes = bright.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(bright.contains(&true) && bright.contains(&false) && changes <= 4, "{bright:?}");
    }

    #[test]
    fn the_same_place_is_the_same_picture_and_another_is_another() {
        let road = Road::new();
        let draw = |s: f64| rendered(CameraOptions::default(), &road, road.pose_at(s), s).1;
        assert_eq!(draw(100.0), draw(100.0));
        assert_ne!(draw(100.0), draw(100.5));
    }

    #[test]
    fn the_sky_is_above_the_horizon() {
        let road = Road::new();
        let (camera, pixels) =
            rendered(CameraOptions { scenery: false, ..CameraOptions::default() }, &road, road.pose_at(0.0), 0.0);
        let blue = |y: usize| {
            let at = (y * 800 + 400) * 3;
            pixels[at + 2] > pixels[at].saturating_add(20)
        };
        assert!((camera.horizon() - 288.0).abs() < 1.0, "{}", camera.horizon());
        assert!(blue(20) && !blue(590));
    }

    #[test]
    fn what_can_not_be_drawn_is_an_error() {
        let camera = |options| Camera::new(options).unwrap_err().to_string();
        let error = camera(CameraOptions { width: 0, ..CameraOptions::default() });
        assert!(error.contains("0x600"), "{error}");
        let error = camera(CameraOptions { field_of_view_deg: 5.0, ..CameraOptions::default() });
        assert!(error.contains('5') && error.contains("30") && error.contains("120"), "{error}");
        assert!(Camera::new(CameraOptions { horizon: f64::NAN, ..CameraOptions::default() }).is_err());
    }
}
