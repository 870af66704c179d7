//! Scenario files: TOML, with a default for everything.

use super::report::Outcome;
use crate::decision::DecisionParameters;
use crate::detection::{DetectorParameters, Mounting};
use crate::files;
use crate::simulation::road::{Bump, LANE_WIDTH_M, Line, Part, usual_lines};
use crate::simulation::{CameraOptions, Car, Lens, Road, Weather, WorldOptions};
use core::fmt;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A scenario can't be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The file can't be read.
    File {
        /// Its path.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The text is no scenario.
    Text {
        /// The scenario's name.
        name: String,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    Value {
        /// The scenario's name.
        name: String,
        /// What was found, what was expected and what to do.
        what: String,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => write!(f, "{path}: {error}; name a scenario file"),
            Self::Text { name, error } => write!(f, "{name}: {error}"),
            Self::Value { name, what } => write!(f, "{name}: {what}"),
        }
    }
}

impl core::error::Error for ScenarioError {}

/// A drive, and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Its name: that of its file.
    #[serde(skip)]
    pub name: String,
    /// What happens, in a sentence.
    pub about: String,
    /// How long it takes, in seconds.
    pub duration_s: f64,
    /// Frames a second.
    pub fps: f64,
    /// What is expected.
    pub expect: Expected,
    /// Where the vehicle drives.
    pub road: RoadText,
    /// Other vehicles.
    pub cars: Vec<CarText>,
    /// Light and weather.
    pub weather: WeatherText,
    /// The camera.
    pub camera: CameraText,
    /// What fails, and when.
    pub faults: Vec<Fault>,
    /// The vehicle.
    pub vehicle: VehicleText,
    /// Parameters of detection and decision by name, where they are not the defaults.
    pub parameters: BTreeMap<String, f64>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            about: String::new(),
            duration_s: 30.0,
            fps: 30.0,
            expect: Expected::default(),
            road: RoadText::default(),
            cars: Vec::new(),
            weather: WeatherText::default(),
            camera: CameraText::default(),
            faults: Vec::new(),
            vehicle: VehicleText::default(),
            parameters: BTreeMap::new(),
        }
    }
}

/// What is expected of a drive. That the vehicle stays in its lane or has begun a safe stop before it leaves it, and that
/// it is never more than 1.2 m from the lane's middle before it stands, and that no stop ends before, is expected of every
/// drive.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// The largest distance from the lane's middle while moving, in metres; no more than 1.2 where it is not said.
    pub max_offset_m: Option<f64>,
    /// Whether it drives, stops or never starts. Anything where it is not said.
    pub outcome: Option<Outcome>,
    /// In a drive with stops: how many there are at most.
    pub most_stops: Option<u64>,
    /// In a drive with stops: the first one begins at this time at the latest, in seconds.
    pub stops_by_s: Option<f64>,
    /// How far the vehicle comes at least, in metres.
    pub distance_m: Option<f64>,
    /// How far the vehicle comes at most, in metres: less than one that does not slow down.
    pub at_most_m: Option<f64>,
    /// How fast it becomes at least, in km/h.
    pub speed_kmh: Option<f64>,
    /// Whether the vehicle drives at the end.
    pub drives_at_end: Option<bool>,
}

/// A road: the usual lap where there are no parts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoadText {
    /// Its parts; it begins with 20 m and ends with 500 m of straight.
    pub parts: Vec<PartText>,
    /// Width of the vehicle's lane in metres.
    pub lane_width_m: f64,
    /// Width of the shoulder to the right of the lane, in metres.
    pub shoulder_m: f64,
    /// The lines; solid, broken and solid, for two lanes, where there are none.
    pub lines: Vec<LineText>,
    /// Crests and dips.
    pub bumps: Vec<BumpText>,
    /// Whether there are trees and posts.
    pub scenery: bool,
}

impl Default for RoadText {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            lane_width_m: LANE_WIDTH_M,
            shoulder_m: 1.5,
            lines: Vec::new(),
            bumps: Vec::new(),
            scenery: true,
        }
    }
}

/// A part of a road: a straight, or a curve.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum PartText {
    /// Its length in metres.
    Straight(f64),
    /// A curve.
    Curve {
        /// By how much it turns, positive to the right.
        degrees: f64,
        /// Its radius in metres.
        radius: f64,
    },
}

/// A painted line.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineText {
    /// Its lateral offset from the lane's middle, in metres.
    offset_m: f64,
    /// Length of a dash and of the gap behind it, in metres; solid where it is not said.
    #[serde(default)]
    dashes_m: Option<[f64; 2]>,
    #[serde(default)]
    yellow: bool,
    /// How worn it is, 0 to 1.
    #[serde(default)]
    wear: f64,
    /// Where along the road it begins and ends, in metres.
    #[serde(default)]
    from_m: Option<f64>,
    #[serde(default)]
    to_m: Option<f64>,
    /// How it bends away from the road behind `from_m`, in 1/m, positive to the right.
    #[serde(default)]
    veer: f64,
}

/// A crest (negative radius) or a dip.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BumpText {
    at_m: f64,
    length_m: f64,
    radius_m: f64,
}

/// Another vehicle; see [`Car`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarText {
    ahead_m: f64,
    #[serde(default)]
    offset_m: f64,
    #[serde(default)]
    then_offset_m: Option<f64>,
    #[serde(default)]
    moves_s: [f64; 2],
    #[serde(default)]
    speed_kmh: f64,
    #[serde(default)]
    keeps_distance: bool,
    #[serde(default)]
    truck: bool,
    #[serde(default = "grey")]
    colour: [u8; 3],
}

fn grey() -> [u8; 3] {
    [120, 122, 128]
}

/// Light and weather; see [`Weather`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeatherText {
    daylight: f64,
    sun: f64,
    shadows: f64,
    wet: f64,
}

impl Default for WeatherText {
    fn default() -> Self {
        let Weather { daylight, sun, shadows, wet } = Weather::default();
        Self { daylight, sun, shadows, wet }
    }
}

/// The camera; see [`CameraOptions`] and [`Lens`].
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameraText {
    width: u32,
    height: u32,
    horizon: f64,
    mount_height_m: f64,
    field_of_view_deg: f64,
    /// Whether the detection is told how the camera is mounted.
    calibrated: bool,
    noise: f64,
    gain: f64,
    dirt: f64,
    nod_deg: f64,
}

impl Default for CameraText {
    fn default() -> Self {
        let camera = CameraOptions::default();
        let lens = Lens::default();
        Self {
            width: 320,
            height: 240,
            horizon: camera.horizon,
            mount_height_m: camera.mount_height_m,
            field_of_view_deg: camera.field_of_view_deg,
            calibrated: true,
            noise: lens.noise,
            gain: lens.gain,
            dirt: lens.dirt,
            nod_deg: lens.nod_deg,
        }
    }
}

/// Something that fails for a while.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What fails.
    pub what: Failing,
    /// When it begins, in seconds.
    #[serde(default)]
    pub from_s: f64,
    /// For how long, in seconds; until the end where it is not said.
    #[serde(default = "for_ever")]
    pub for_s: f64,
    /// Of the frames (or controls) in that time, every so many-th one; all where it is 1.
    #[serde(default = "one")]
    pub every: u64,
    /// For [`Failing::Wind`]: the push to the right in m/s². For [`Failing::Late`]: the delay in seconds.
    /// For [`Failing::Noise`]: its standard deviation, in steps of 255.
    #[serde(default)]
    pub strength: f64,
}

fn for_ever() -> f64 {
    f64::INFINITY
}

fn one() -> u64 {
    1
}

/// What can fail.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Failing {
    /// The camera sends no frame.
    Camera,
    /// The camera sends the picture before once more.
    Picture,
    /// The camera's picture is black.
    Dark,
    /// The detection sends nothing.
    Detection,
    /// The decision sends nothing.
    Decision,
    /// The controls reach the vehicle late.
    Late,
    /// The controls reach the vehicle with a bit that is another: they steer to the other side.
    Damaged,
    /// A person stops the vehicle, and releases it when this is over.
    Person,
    /// Wind pushes the vehicle.
    Wind,
    /// The camera's picture is noisy.
    Noise,
}

/// The vehicle.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VehicleText {
    /// From a frame's capture to the publish of its control, in milliseconds.
    pub latency_ms: f64,
    /// From a control's publish to the vehicle, in milliseconds.
    pub delay_ms: f64,
    /// The speed that the vehicle's cruise control makes of a throttle of `throttle_base`, in km/h; less throttle is less
    /// of it. Where it is not said, throttle is throttle.
    pub cruise_kmh: Option<f64>,
    /// Where along the road it starts, in metres.
    pub start_m: f64,
    /// How far from the lane's middle it starts, in metres.
    pub start_offset_m: f64,
    /// By how much it starts turned to the right, in degrees.
    pub start_heading_deg: f64,
    /// Whether it tells the decision its speed, steering and the age of its controls.
    pub tells: bool,
}

impl Default for VehicleText {
    fn default() -> Self {
        Self {
            latency_ms: 15.0,
            delay_ms: 0.0,
            cruise_kmh: None,
            start_m: 20.0,
            start_offset_m: 0.0,
            start_heading_deg: 0.0,
            tells: true,
        }
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// [`ScenarioError`] where it can't be read or is no scenario.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text =
            files::text(path).map_err(|error| ScenarioError::File { path: path.display().to_string(), error })?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Self::parse(&name, &text)
    }

    /// The scenario of that text.
    ///
    /// # Errors
    /// [`ScenarioError`] where it is none.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
            let what = "the file is empty; say at least what happens: about = \"...\"".to_owned();
            return Err(ScenarioError::Value { name: name.into(), what });
        }
        let scenario: Self =
            toml::from_str(text).map_err(|error| ScenarioError::Text { name: name.into(), error: Box::new(error) })?;
        let scenario = Self { name: name.into(), ..scenario };
        scenario.check().map_err(|what| ScenarioError::Value { name: name.into(), what })?;
        Ok(scenario)
    }

    /// Gives it a camera of 320x240 pixels.
    pub(super) fn make_small(&mut self) {
        (self.camera.width, self.camera.height) = (320, 240);
    }

    /// Sets a parameter, the delay of controls (`delay`, in milliseconds), the cruise control's speed (`cruise`, in km/h),
    /// frames a second (`fps`) or the noise of the camera (`noise`, in steps of 255).
    ///
    /// # Errors
    /// There is no such name, or the value is out of range.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), ScenarioError> {
        match name {
            "delay" => self.vehicle.delay_ms = value,
            "cruise" => self.vehicle.cruise_kmh = Some(value),
            "fps" => self.fps = value,
            "noise" => self.camera.noise = value,
            _ => drop(self.parameters.insert(name.into(), value)),
        }
        self.check().map_err(|what| ScenarioError::Value { name: self.name.clone(), what })
    }

    fn check(&self) -> Result<(), String> {
        let range = |what: &str, found: f64, [least, most]: [f64; 2]| {
            let inside = found >= least && found <= most;
            if inside { Ok(()) } else { Err(format!("{what} is {found}, expected {least} to {most}; change it")) }
        };
        range("duration_s", self.duration_s, [0.1, 3600.0])?;
        range("fps", self.fps, [5.0, 120.0])?;
        range("road.lane_width_m", self.road.lane_width_m, [2.0, 6.0])?;
        range("road.shoulder_m", self.road.shoulder_m, [0.0, 30.0])?;
        range("vehicle.latency_ms", self.vehicle.latency_ms, [0.0, 2000.0])?;
        range("vehicle.delay_ms", self.vehicle.delay_ms, [0.0, 2000.0])?;
        range("vehicle.start_m", self.vehicle.start_m, [0.0, 1e6])?;
        range("vehicle.start_offset_m", self.vehicle.start_offset_m, [-10.0, 10.0])?;
        range("vehicle.start_heading_deg", self.vehicle.start_heading_deg, [-45.0, 45.0])?;
        for share in [self.weather.daylight, self.weather.sun, self.weather.shadows, self.weather.wet, self.camera.dirt]
        {
            range("a share in weather or camera", share, [0.0, 1.0])?;
        }
        range("camera.noise", self.camera.noise, [0.0, 100.0])?;
        range("camera.gain", self.camera.gain, [0.0, 10.0])?;
        range("camera.nod_deg", self.camera.nod_deg, [0.0, 5.0])?;
        for part in &self.road.parts {
            match *part {
                PartText::Straight(length) => range("a straight", length, [1.0, 100_000.0])?,
                PartText::Curve { degrees, radius } => {
                    range("a curve's radius", radius, [15.0, 100_000.0])?;
                    range("a curve's length", degrees.to_radians().abs() * radius, [5.0, 100_000.0])?;
                }
            }
        }
        for line in &self.road.lines {
            range("a line's wear", line.wear, [0.0, 1.0])?;
            for length in line.dashes_m.into_iter().flatten() {
                range("a dash or gap", length, [0.1, 1000.0])?;
            }
        }
        for seconds in self.cars.iter().flat_map(|car| car.moves_s) {
            range("a number of a car's moves_s", seconds, [0.0, 3600.0])?;
        }
        for bump in &self.road.bumps {
            range("a bump's length", bump.length_m, [10.0, 10_000.0])?;
            range("the size of a bump's radius", bump.radius_m.abs(), [200.0, 1e6])?;
        }
        for name in self.parameters.keys() {
            let known = |category| lkas_messages::names::Parameter::find(category, name).is_ok();
            if !lkas_messages::names::Category::ALL.into_iter().any(known) {
                return Err(format!(
                    "there is no parameter \"{name}\"; see the sliders of the viewer for those there are"
                ));
            }
        }
        for fault in &self.faults {
            range("a fault's every", fault.every as f64, [1.0, 1e9])?;
        }
        Ok(())
    }

    /// The world that it takes place in.
    #[must_use]
    pub fn world(&self, seed: u64) -> WorldOptions {
        let camera = self.camera;
        let parts = self.road.parts.iter().map(|part| match *part {
            PartText::Straight(length) => Part::Straight(length),
            PartText::Curve { degrees, radius } => Part::Curve(degrees, radius),
        });
        let parts: Vec<Part> = parts.collect();
        let width = self.road.lane_width_m;
        let lines = self.road.lines.iter().map(|line| Line {
            yellow: line.yellow,
            wear: line.wear,
            stretch_m: [line.from_m.unwrap_or(f64::NEG_INFINITY), line.to_m.unwrap_or(f64::INFINITY)],
            veer: line.veer,
            ..Line::new(line.offset_m, line.dashes_m)
        });
        let lines: Vec<Line> = lines.collect();
        let road = if parts.is_empty() { Road::new() } else { Road::open(&parts) };
        let usual = lines.is_empty() && width == LANE_WIDTH_M;
        let lines = if usual {
            road.lines().to_vec()
        } else if lines.is_empty() {
            usual_lines(width)
        } else {
            lines
        };
        let bumps =
            self.road.bumps.iter().map(|&BumpText { at_m, length_m, radius_m }| Bump { at_m, length_m, radius_m });
        let asphalt = [-1.5 * width - 1.25, 0.5 * width + self.road.shoulder_m];
        WorldOptions {
            camera: CameraOptions {
                width: camera.width,
                height: camera.height,
                mount_height_m: camera.mount_height_m,
                field_of_view_deg: camera.field_of_view_deg,
                horizon: camera.horizon,
                scenery: self.road.scenery,
            },
            road: road.with_lanes(width, asphalt, lines).with_bumps(bumps.collect()),
            start_s: self.vehicle.start_m,
            start_offset_m: self.vehicle.start_offset_m,
            start_heading_deg: self.vehicle.start_heading_deg,
            start_speed: 0.0,
            cars: self.cars.iter().map(CarText::car).collect(),
            weather: Weather {
                daylight: self.weather.daylight,
                sun: self.weather.sun,
                shadows: self.weather.shadows,
                wet: self.weather.wet,
            },
            lens: Lens { noise: camera.noise, gain: camera.gain, dirt: camera.dirt, nod_deg: camera.nod_deg },
            seed: seed as u32 ^ (seed >> 32) as u32,
        }
    }

    /// What the detection knows of the camera.
    #[must_use]
    pub fn mounting(&self) -> Mounting {
        if !self.camera.calibrated {
            return Mounting::default();
        }
        Mounting {
            horizon: self.camera.horizon as f32,
            horizon_tolerance: 0.06,
            height_m: self.camera.mount_height_m as f32,
            field_of_view_deg: self.camera.field_of_view_deg as f32,
        }
    }

    /// The parameters of detection and decision.
    #[must_use]
    pub fn parameters(&self) -> (DetectorParameters, DecisionParameters) {
        let mut detector = crate::detection::LaneDetector::new(DetectorParameters::default());
        let mut keeper = crate::decision::LaneKeeper::new(DecisionParameters::default());
        for (name, value) in &self.parameters {
            // A name belongs to one of them; unknown ones were refused.
            if detector.set(name, *value).is_err() {
                let _ = keeper.set(name, *value);
            }
        }
        (*detector.parameters(), *keeper.parameters())
    }
}

impl CarText {
    fn car(&self) -> Car {
        let Self { ahead_m, offset_m, then_offset_m, moves_s, speed_kmh, keeps_distance, truck, colour } = *self;
        Car { ahead_m, offset_m, then_offset_m, moves_s, speed_kmh, keeps_distance, truck, colour }
    }
}
