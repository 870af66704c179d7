//! `lkas evaluate`: what the detection finds in recorded frames, against labels made by people.
//!
//! A file of labels has a line for each frame: its file name, then the rows of the lines' upper and lower ends, then the
//! columns of the left line at those rows, then those of the right one; in pixels, separated by spaces. `-` in the place of
//! a column says that there is no such line, `?` that nobody can tell. What follows a `#` is a comment.

use crate::Failure;
use crate::detection::{DetectorParameters, LEAST_CONFIDENCE, LaneDetector, Lanes, Mounting, SURE};
use crate::tools;
use clap::Args;
use core::fmt;
use image::{Rgb, RgbImage};
use lkas_messages::{ImageShape, ImageView, Lane, PixelFormat};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A line that is further away from its label than this part of the lane's width in that row is wrong; of the picture's
/// width, where the lane's is not known.
const WRONG: [f32; 2] = [0.1, 0.04];

/// A still is shown so often: two seconds at 30 frames a second.
const REPEATS: usize = 60;

/// What is evaluated.
#[derive(Args, Clone, Debug)]
pub struct EvaluateOptions {
    /// Folder with the frames (JPEG or PNG), in the order of their names
    pub folder: PathBuf,
    /// File with the labels
    pub labels: PathBuf,
    /// The frames have nothing to do with each other: each is shown for two seconds to a detector of its own
    #[arg(long)]
    pub stills: bool,
    /// How the camera is mounted, from `lkas calibrate`
    #[arg(long, value_name = "FILE")]
    pub mounting: Option<PathBuf>,
    /// Write the frames with the lines found and the labels into this folder
    #[arg(long, value_name = "DIR")]
    pub draw: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// The labels of one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Label {
    /// Rows of the upper and the lower end.
    pub rows: [f32; 2],
    /// The left and the right line.
    pub lines: [Labelled; 2],
}

/// The label of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Labelled {
    /// Its columns at both rows.
    At([f32; 2]),
    /// There is none.
    Nothing,
    /// Nobody can tell.
    Unknown,
}

/// The labels of that text by file name.
///
/// # Errors
/// A line that is no label, with its number.
pub fn labels(text: &str) -> Result<BTreeMap<String, Label>, Failure> {
    let mut labels = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let wrong = || {
            let expected = "NAME TOP BOTTOM LEFT-TOP LEFT-BOTTOM RIGHT-TOP RIGHT-BOTTOM";
            format!("line {} of the labels is \"{line}\", expected {expected}, with - or ? for columns", index + 1)
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, top, bottom, columns @ ..] = &words[..] else { return Err(wrong().into()) };
        let number = |word: &str| word.parse::<f32>().ok().filter(|number| number.is_finite()).ok_or_else(wrong);
        let labelled = |top: &str, bottom: &str| match (top, bottom) {
            ("-", "-") => Ok(Labelled::Nothing),
            ("?", "?") => Ok(Labelled::Unknown),
            _ => Ok::<_, String>(Labelled::At([number(top)?, number(bottom)?])),
        };
        let &[lt, lb, rt, rb] = columns else { return Err(wrong().into()) };
        let label = Label { rows: [number(top)?, number(bottom)?], lines: [labelled(lt, lb)?, labelled(rt, rb)?] };
        labels.insert((*name).into(), label);
    }
    Ok(labels)
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evaluation {
    /// Frames looked at.
    pub frames: u64,
    /// Lines that are labelled, as there or not there, in the frames looked at.
    pub labelled: u64,
    /// Lines that were found where they are, at any confidence.
    pub right: u64,
    /// Lines that are there and were not found.
    pub missing: u64,
    /// Lines found at any confidence that are not where the label says, or where it says there is none.
    pub wrong: u64,
    /// Lines found with a confidence of 0.5 or more.
    pub sure: u64,
    /// Of those, the wrong ones.
    pub sure_wrong: u64,
    /// Frames with both lines, labelled or not, at any confidence.
    pub both: u64,
    /// Frames with both lines, each of a confidence of 0.5 or more.
    pub both_sure: u64,
    /// Mean distance of right lines from their labels at the top and at the bottom, in pixels.
    pub error_px: [f64; 2],
    /// Mean change of a line's change from frame to frame at the bottom, in pixels.
    pub jitter_px: f64,
    /// Median of the time for a frame, in milliseconds.
    pub frame_ms: f64,
    /// The largest confidence found where there is no line.
    pub most_confident_wrong: f64,
}

/// Evaluates and prints. Returns whether fewer than one in a hundred sure lines is wrong.
///
/// # Errors
/// Frames or labels can't be read, or the drawings not written.
pub fn program(options: &EvaluateOptions) -> Result<bool, Failure> {
    let text =
        std::fs::read_to_string(&options.labels).map_err(|why| format!("{}: {why}", options.labels.display()))?;
    let mounting = match &options.mounting {
        Some(path) => crate::calibrate::read(path)?,
        None => Mounting::default(),
    };
    let found = evaluate(&options.folder, &labels(&text)?, mounting, options.stills, options.draw.as_deref())?;
    if options.json {
        tools::say(serde_json::to_string_pretty(&found)?)?;
    } else {
        tools::say(&found)?;
    }
    Ok(found.sure_wrong * 100 < found.sure.max(1))
}

/// Evaluates the frames of a folder.
///
/// # Errors
/// A frame can't be read, there is none, or a drawing can't be written.
pub fn evaluate(
    folder: &Path,
    labels: &BTreeMap<String, Label>,
    mounting: Mounting,
    stills: bool,
    draw: Option<&Path>,
) -> Result<Evaluation, Failure> {
    let mut found = Evaluation::default();
    let mut detector = LaneDetector::new(DetectorParameters::default()).mounted(mounting);
    let mut times = Vec::new();
    let mut errors = [0.0; 2];
    let mut jitter = Jitter::default();
    if let Some(folder) = draw {
        std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    }
    for path in frames(folder)? {
        let image = image::open(&path).map_err(|why| format!("{}: {why}", path.display()))?.into_rgb8();
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let shape = ImageShape::new(image.width(), image.height(), PixelFormat::Rgb8)?;
        let view = ImageView::new(shape, image.as_raw()).ok_or("a picture with another size than it says")?;
        if stills {
            detector = LaneDetector::new(DetectorParameters::default()).mounted(mounting);
        }
        for shown in 0..if stills { REPEATS } else { 1 } {
            let start = Instant::now();
            let lanes = detector.detect(&view);
            times.push(start.elapsed().as_secs_f64() * 1e3);
            if shown > 0 && shown + 1 < REPEATS {
                continue;
            }
            found.frames += 1;
            jitter.add(&lanes);
            found.count(&lanes, labels.get(&name), shape.width() as f32, &mut errors);
            if let Some(folder) = draw.filter(|_| shown == 0) {
                let path = folder.join(&name).with_extension("png");
                drawn(&image, &lanes, labels.get(&name))
                    .save(&path)
                    .map_err(|why| format!("{}: {why}", path.display()))?;
            }
        }
    }
    times.sort_by(f64::total_cmp);
    found.frame_ms = times.get(times.len() / 2).copied().unwrap_or(0.0);
    found.error_px = errors.map(|sum| sum / found.right.max(1) as f64);
    found.jitter_px = jitter.mean();
    Ok(found)
}

fn frames(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |why| format!("{}: {why}; name a folder with frames", folder.display());
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let is_frame = |path: &PathBuf| {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        extension.is_some_and(|extension| ["jpg", "jpeg", "png"].contains(&extension.as_str()))
    };
    let mut frames: Vec<PathBuf> = paths.into_iter().filter(is_frame).collect();
    frames.sort_unstable();
    if frames.is_empty() {
        return Err(format!("{}: no frame in it, expected files named *.jpg, *.jpeg or *.png", folder.display()).into());
    }
    Ok(frames)
}

impl Evaluation {
    fn count(&mut self, lanes: &Lanes, label: Option<&Label>, picture_width: f32, errors: &mut [f64; 2]) {
        let lines = [lanes.left, lanes.right];
        let confidence = |lane: Option<Lane>| lane.map_or(0.0, |lane| lane.confidence);
        let least = confidence(lines[0]).min(confidence(lines[1]));
        self.both += u64::from(least >= LEAST_CONFIDENCE);
        self.both_sure += u64::from(least >= SURE);
        let Some(label) = label else { return };
        let limits = match label.lines {
            [Labelled::At(left), Labelled::At(right)] => [0, 1].map(|end| WRONG[0] * (right[end] - left[end]).abs()),
            _ => [WRONG[1] * picture_width; 2],
        };
        for (line, labelled) in lines.into_iter().zip(label.lines) {
            if labelled == Labelled::Unknown {
                continue;
            }
            self.labelled += 1;
            let Some(line) = line else {
                self.missing += u64::from(labelled != Labelled::Nothing);
                continue;
            };
            let away = match labelled {
                Labelled::At(columns) => [0, 1].map(|end| {
                    let x = line.x_at(label.rows[end]).unwrap_or(f32::MAX);
                    (x - columns[end]).abs()
                }),
                _ => [f32::MAX; 2],
            };
            let right = away[0] <= limits[0] && away[1] <= limits[1];
            let sure = line.confidence >= SURE;
            self.sure += u64::from(sure);
            if right {
                self.right += 1;
                for (sum, away) in errors.iter_mut().zip(away) {
                    *sum += f64::from(away);
                }
            } else {
                self.wrong += 1;
                self.sure_wrong += u64::from(sure);
                self.most_confident_wrong = self.most_confident_wrong.max(f64::from(line.confidence));
            }
        }
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: u64, of: u64| 100.0 * count as f64 / of.max(1) as f64;
        let Self { frames, labelled, right, missing, wrong, sure, sure_wrong, both, both_sure, .. } = *self;
        writeln!(
            f,
            "{frames} frames: both lines in {:.1} %, both sure in {:.1} %",
            share(both, frames),
            share(both_sure, frames)
        )?;
        writeln!(
            f,
            "{labelled} labels: {:.1} % right, {:.1} % missing, {:.1} % wrong (the surest of them {:.2})",
            share(right, labelled),
            share(missing, labelled),
            share(wrong, labelled),
            self.most_confident_wrong
        )?;
        writeln!(f, "{sure} sure lines: {:.2} % wrong", share(sure_wrong, sure))?;
        let [top, bottom] = self.error_px;
        write!(
            f,
            "error {top:.1} px at the top, {bottom:.1} px at the bottom; jitter {:.2} px; {:.2} ms a frame",
            self.jitter_px, self.frame_ms
        )
    }
}

/// How unevenly lines move.
#[derive(Default)]
struct Jitter {
    /// For each side, the columns at the bottom in the two frames before.
    before: [[Option<f32>; 2]; 2],
    sum: f64,
    count: u64,
}

impl Jitter {
    fn add(&mut self, lanes: &Lanes) {
        for (line, before) in [lanes.left, lanes.right].into_iter().zip(&mut self.before) {
            let now = line.filter(|lane| lane.confidence >= SURE).map(|lane| lane.x1);
            if let (Some(now), [Some(a), Some(b)]) = (now, *before) {
                self.sum += f64::from((now - 2.0 * a + b).abs());
                self.count += 1;
            }
            *before = [now, before[0]];
        }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// The frame with lines found (green where sure, yellow where not) and labels (magenta).
fn drawn(image: &RgbImage, lanes: &Lanes, label: Option<&Label>) -> RgbImage {
    let mut image = image.clone();
    let mut line = |from: [f32; 2], to: [f32; 2], colour: [u8; 3]| {
        for shift in [-1.0, 0.0, 1.0] {
            let ends = [from, to].map(|[x, y]| (x + shift, y));
            imageproc::drawing::draw_line_segment_mut(&mut image, ends[0], ends[1], Rgb(colour));
        }
    };
    for lane in [lanes.left, lanes.right].into_iter().flatten() {
        let colour = if lane.confidence >= SURE { [0, 255, 0] } else { [255, 220, 0] };
        line([lane.x1, lane.y1], [lane.x2, lane.y2], colour);
    }
    if let Some(label) = label {
        for labelled in label.lines {
            if let Labelled::At([top, bottom]) = labelled {
                line([top, label.rows[0]], [bottom, label.rows[1]], [255, 0, 255]);
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_nonsense_is_named() {
        let read = labels("# comment\na.jpg 300 539 400 100 - - # no right line\n\nb.jpg 300 539 ? ? 1 2\n").unwrap();
        assert_eq!(read["a.jpg"].lines, [Labelled::At([400.0, 100.0]), Labelled::Nothing]);
        assert_eq!(read["b.jpg"].lines, [Labelled::Unknown, Labelled::At([1.0, 2.0])]);
        for wrong in ["a.jpg", "a.jpg 1 2 3 4 5", "a.jpg 1 2 - 4 5 6", "a.jpg 1 2 x 4 5 6", "a.jpg 1 NaN 3 4 5 6"] {
            let error = labels(&format!("\n{wrong}")).unwrap_err().to_string();
            assert!(error.contains("line 2") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn right_wrong_and_missing_are_told_apart() {
        let label = Label { rows: [300.0, 500.0], lines: [Labelled::At([400.0, 100.0]), Labelled::Nothing] };
        let lane = |x1: f32, x2: f32| Some(Lane { x1, y1: 500.0, x2, y2: 300.0, confidence: 0.8 });
        let count = |left, right| {
            let mut found = Evaluation::default();
            found.count(&Lanes { left, right, shape: None }, Some(&label), 960.0, &mut [0.0; 2]);
            (found.right, found.missing, found.wrong, found.sure_wrong)
        };
        assert_eq!(count(lane(103.0, 402.0), None), (1, 0, 0, 0));
        assert_eq!(count(None, None), (0, 1, 0, 0));
        assert_eq!(count(lane(103.0, 500.0), None), (0, 0, 1, 1), "wrong at the top");
        assert_eq!(count(lane(100.0, 400.0), lane(800.0, 500.0)), (1, 0, 1, 1), "a line where there is none");
    }

    /// The real frames are not part of the repository; their labels are.
    fn of_folder(name: &str, stills: bool) -> Option<Evaluation> {
        let manifest = env!("CARGO_MANIFEST_DIR");
        let road = std::env::var("LKAS_ROAD").unwrap_or_else(|_| format!("{manifest}/../../shared/road"));
        let folder = Path::new(&road).join(name);
        let text = std::fs::read_to_string(format!("{manifest}/labels/{name}.txt")).unwrap();
        let labels = labels(&text).unwrap();
        if !folder.is_dir() {
            println!("skipped: there is no {}", folder.display());
            return None;
        }
        let found = evaluate(&folder, &labels, Mounting::default(), stills, None).unwrap();
        println!("{name}: {found}");
        Some(found)
    }

    #[test]
    fn on_a_free_motorway_both_lines_are_found_where_they_are() {
        for (name, stills) in [("solid-white-right", false), ("stills", true)] {
            let Some(found) = of_folder(name, stills) else { continue };
            assert_eq!(found.both, found.frames, "{name}");
            assert_eq!((found.right, found.sure_wrong), (found.labelled, 0), "{name}");
            assert!(found.error_px[0] < 3.0 && found.error_px[1] < 4.0, "{name}: {:?}", found.error_px);
        }
    }

    #[test]
    fn in_a_jam_no_sure_line_is_wrong() {
        if let Some(found) = of_folder("jam", false) {
            assert_eq!(found.sure_wrong, 0);
        }
    }

    #[test]
    fn without_a_lane_no_line_is_sure() {
        if let Some(found) = of_folder("no-lane", true) {
            assert!(found.most_confident_wrong < f64::from(SURE) && found.sure == 0, "{found}");
            assert_eq!(found.both_sure, 0);
        }
    }
}
