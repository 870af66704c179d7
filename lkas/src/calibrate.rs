//! `lkas calibrate`: how a camera is mounted, estimated from a straight drive.

use crate::Failure;
use crate::detection::{DetectorParameters, LaneDetector, Mounting, SURE};
use crate::files;
use crate::tools::print;
use clap::Args;
use core::fmt::Write;
use lkas_messages::ImageView;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Sure frames that an estimate needs.
const LEAST_FRAMES: usize = 30;

/// What is calibrated.
#[derive(Args, Clone, Debug)]
pub struct CalibrateOptions {
    /// Folder with the frames of a drive straight ahead in the middle of a lane
    pub folder: PathBuf,
    /// Width of that lane, from the middle of one line to the middle of the other, in metres
    #[arg(long, default_value_t = 3.5, value_name = "METRES")]
    pub lane_width: f32,
    /// Horizontal field of view of the camera in degrees, from its data sheet
    #[arg(long, default_value_t = 80.0, value_name = "DEGREES")]
    pub field_of_view: f32,
    /// Write the mounting into this file; it is printed where none is named
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A mounting in a file.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MountingText {
    horizon: f32,
    horizon_tolerance: f32,
    height_m: f32,
    field_of_view_deg: f32,
}

/// The mounting in that file.
///
/// # Errors
/// The file can't be read, or a number is missing or out of range.
pub fn read(path: &Path) -> Result<Mounting, Failure> {
    let named = |why: &dyn core::fmt::Display| format!("{}: {why}", path.display());
    let text = files::text(path).map_err(|why| named(&why))?;
    let MountingText { horizon, horizon_tolerance, height_m, field_of_view_deg } =
        toml::from_str(&text).map_err(|why| named(&why))?;
    let ranges = [
        ("horizon", horizon, [0.1, 0.9]),
        ("horizon_tolerance", horizon_tolerance, [0.01, 0.2]),
        ("height_m", height_m, [0.3, 6.0]),
        ("field_of_view_deg", field_of_view_deg, [20.0, 150.0]),
    ];
    for (name, found, [least, most]) in ranges {
        if !(found >= least && found <= most) {
            return Err(named(&format!("{name} is {found}, expected {least} to {most}; run `lkas calibrate`")).into());
        }
    }
    Ok(Mounting { horizon, horizon_tolerance, height_m, field_of_view_deg })
}

/// Estimates a mounting and prints or writes it.
///
/// # Errors
/// The frames can't be read or show too little of a lane, or the file can't be written.
pub fn program(options: &CalibrateOptions) -> Result<bool, Failure> {
    let mut replay = crate::simulation::Replay::open(&options.folder)?;
    let shape = replay.shape();
    let mut pixels = vec![0; shape.pixel_bytes()];
    let mut estimate = Estimate::new(options.lane_width, options.field_of_view);
    for _ in 0..replay.len() {
        replay.next_into(&mut pixels)?;
        let view = ImageView::new(shape, &pixels).ok_or("a picture with another size than it says")?;
        estimate.add(&view);
    }
    let mounting = estimate.mounting()?;
    let text = text(&mounting);
    match &options.out {
        Some(path) => std::fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))?,
        None => print(&text)?,
    }
    Ok(true)
}

/// The mounting as a file.
pub(crate) fn text(mounting: &Mounting) -> String {
    let Mounting { horizon, horizon_tolerance, height_m, field_of_view_deg } = mounting;
    let mut text = String::new();
    // Writing to a string never fails.
    let _ = write!(
        text,
        "# How the camera is mounted: horizon as a part of the picture's height and how far from there it may be, height\n\
         # above the ground in metres, horizontal field of view in degrees.\n\
         horizon = {horizon:.3}\nhorizon_tolerance = {horizon_tolerance:.3}\nheight_m = {height_m:.2}\n\
         field_of_view_deg = {field_of_view_deg:.1}\n"
    );
    text
}

/// A mounting that becomes surer with each frame.
#[derive(Debug)]
pub struct Estimate {
    lane_width_m: f32,
    field_of_view_deg: f32,
    detectors: Vec<(LaneDetector, Mounting, Vec<[f32; 2]>)>,
}

impl Estimate {
    /// An estimate from a lane of that width, by a camera with that horizontal field of view in degrees.
    #[must_use]
    pub fn new(lane_width_m: f32, field_of_view_deg: f32) -> Self {
        // Nobody knows where the horizon is or how high the camera: several guesses, and the one that sees most counts.
        let mut detectors = Vec::new();
        for horizon in [0.35, 0.5, 0.65] {
            for height_m in [1.3, 2.4] {
                let mounting = Mounting { horizon, horizon_tolerance: 0.1, height_m, field_of_view_deg };
                let detector = LaneDetector::new(DetectorParameters::default()).mounted(mounting);
                detectors.push((detector, mounting, Vec::new()));
            }
        }
        Self { lane_width_m, field_of_view_deg, detectors }
    }

    /// Adds a frame.
    pub fn add(&mut self, view: &ImageView<'_>) {
        let height = view.shape().height() as f32;
        for (detector, _, seen) in &mut self.detectors {
            let lanes = detector.detect(view);
            let (Some(shape), Some(horizon)) = (lanes.shape, detector.horizon()) else { continue };
            if shape.seen[0].min(shape.seen[1]) >= SURE {
                seen.push([horizon / height, shape.width_m]);
            }
        }
    }

    /// The mounting.
    ///
    /// # Errors
    /// Too few frames showed both lines.
    pub fn mounting(self) -> Result<Mounting, Failure> {
        let most = self.detectors.into_iter().max_by_key(|(_, _, seen)| seen.len());
        let (_, guess, mut seen) = most.ok_or("no guess to start from")?;
        if seen.len() < LEAST_FRAMES {
            let found = seen.len();
            return Err(format!(
                "both lines were sure in {found} frames, expected {LEAST_FRAMES} or more; drive straight ahead in a lane \
                 with clear lines"
            )
            .into());
        }
        let mut median = |which: usize| {
            seen.sort_by(|a, b| a[which].total_cmp(&b[which]));
            seen[seen.len() / 2][which]
        };
        let (horizon, width_m) = (median(0), median(1));
        // The lane looks as much too wide as the camera was taken for too high.
        let height_m = guess.height_m * self.lane_width_m / width_m;
        Ok(Mounting { horizon, horizon_tolerance: 0.05, height_m, field_of_view_deg: self.field_of_view_deg })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::{CameraOptions, Part, Road, World, WorldOptions};

    #[test]
    fn a_straight_drive_tells_how_the_camera_is_mounted() {
        for (horizon, mount_height_m) in [(0.48, 1.4), (0.6, 1.2), (0.4, 2.5)] {
            let camera = CameraOptions { width: 640, height: 480, horizon, mount_height_m, ..CameraOptions::default() };
            let mut estimate = Estimate::new(3.5, 80.0);
            let road = Road::open(&[Part::Straight(300.0)]);
            for i in 0..40 {
                let start_s = 30.0 + 2.0 * f64::from(i);
                let mut world =
                    World::new(WorldOptions { camera, road: road.clone(), start_s, ..WorldOptions::default() })
                        .unwrap();
                let mut pixels = vec![0; world.shape().pixel_bytes()];
                world.render(&mut pixels);
                estimate.add(&ImageView::new(world.shape(), &pixels).unwrap());
            }
            let found = estimate.mounting().unwrap();
            assert!((f64::from(found.horizon) - horizon).abs() < 0.01, "{horizon}: {found:?}");
            assert!((f64::from(found.height_m) / mount_height_m - 1.0).abs() < 0.04, "{mount_height_m}: {found:?}");
            let path = std::env::temp_dir().join(format!("lkas-mounting-{}-{horizon}.toml", std::process::id()));
            std::fs::write(&path, text(&found)).unwrap();
            let again = read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!((again.height_m - found.height_m).abs() < 0.01 && (again.horizon - found.horizon).abs() < 0.001);
        }
    }

    #[test]
    fn too_little_to_see_is_an_error() {
        let error = Estimate::new(3.5, 80.0).mounting().unwrap_err().to_string();
        assert!(error.contains("0 frames") && error.contains("30"), "{error}");
    }
}
