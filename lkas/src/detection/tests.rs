use super::*;
use crate::simulation::{Camera, CameraOptions, Road};
use lkas_messages::PixelFormat;

const WIDTH: u32 = 800;
const HEIGHT: u32 = 600;
/// The lower ends at the picture's last row, and where the lines would meet: left, right, and the vanishing point.
const FEET: [f32; 2] = [120.0, 700.0];
const VANISHING: [f32; 2] = [410.0, 300.0];

fn shape(format: PixelFormat) -> ImageShape {
    ImageShape::new(WIDTH, HEIGHT, format).unwrap()
}

/// Where a painted line with that foot is at height `y`.
fn line_at(foot: f32, y: f32) -> f32 {
    VANISHING[0] + (foot - VANISHING[0]) * (y - VANISHING[1]) / (HEIGHT as f32 - 1.0 - VANISHING[1])
}

/// A grey road with lines of `paint` from these feet, in RGB. Paint grows wider towards the bottom.
fn road(feet: &[f32], paint: [u8; 3]) -> Vec<u8> {
    let mut pixels = vec![95; shape(PixelFormat::Rgb8).pixel_bytes()];
    for row in VANISHING[1] as u32 + 10..HEIGHT {
        let half = 10.0 * (row as f32 - VANISHING[1]) / (HEIGHT as f32 - VANISHING[1]);
        for foot in feet {
            let middle = line_at(*foot, row as f32);
            for column in (middle - half).max(0.0) as u32..((middle + half).max(0.0) as u32).min(WIDTH) {
                let at = (row * WIDTH + column) as usize * 3;
                pixels[at..at + 3].copy_from_slice(&paint);
            }
        }
    }
    pixels
}

fn detect(detector: &mut LaneDetector, pixels: &[u8]) -> Lanes {
    detector.detect(&ImageView::new(shape(PixelFormat::Rgb8), pixels).unwrap())
}

fn first(pixels: &[u8]) -> Lanes {
    detect(&mut LaneDetector::new(DetectorParameters::default()), pixels)
}

fn assert_on(lane: Option<Lane>, foot: f32) {
    let lane = lane.expect("the line is found");
    for y in [400.0, 450.0, 500.0, 599.0] {
        let (found, painted) = (lane.x_at(y).unwrap(), line_at(foot, y));
        assert!((found - painted).abs() < 3.0, "at {y} the line is at {painted:.1}, found at {found:.1}");
    }
    assert!(lane.confidence > 0.8 && lane.confidence <= 1.0, "{}", lane.confidence);
}

#[test]
fn painted_lines_are_found_where_they_are() {
    for paint in [[250, 250, 250], [230, 190, 40]] {
        let lanes = first(&road(&FEET, paint));
        assert_on(lanes.left, FEET[0]);
        assert_on(lanes.right, FEET[1]);
    }
}

#[test]
fn every_pixel_format_shows_the_same_lines() {
    let rgb = road(&FEET, [250, 250, 250]);
    let expected = first(&rgb);
    let bgr: Vec<u8> = rgb.chunks_exact(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
    let gray: Vec<u8> = rgb.chunks_exact(3).map(|pixel| pixel[1]).collect();
    for (format, pixels) in [(PixelFormat::Bgr8, bgr), (PixelFormat::Gray8, gray)] {
        let mut detector = LaneDetector::new(DetectorParameters::default());
        assert_eq!(detector.detect(&ImageView::new(shape(format), &pixels).unwrap()), expected, "{format:?}");
    }
}

#[test]
fn one_line_is_no_lane_and_never_sure() {
    for (i, foot) in FEET.into_iter().enumerate() {
        let lanes = first(&road(&[foot], [250; 3]));
        let lines = [lanes.left, lanes.right];
        let line = lines[i].expect("the line is found");
        assert!((line.x_at(500.0).unwrap() - line_at(foot, 500.0)).abs() < 3.0);
        assert!(line.confidence < SURE, "{}", line.confidence);
        assert_eq!((lines[1 - i], lanes.shape), (None, None));
    }
}

#[test]
fn lines_of_two_lanes_are_not_sure() {
    let middle = 0.5 * (FEET[0] + FEET[1]);
    let mut detector = LaneDetector::new(DetectorParameters::default());
    let three = road(&[FEET[0], middle, FEET[1]], [250; 3]);
    for _ in 0..30 {
        let lanes = detect(&mut detector, &three);
        for lane in [lanes.left, lanes.right].into_iter().flatten() {
            assert!(lane.confidence < SURE, "{lane:?}");
        }
    }
}

#[test]
fn what_stands_upright_between_the_lines_is_none() {
    // As wide as paint, on a car's back: between the lines, and not parallel to them on the ground.
    let mut pixels = road(&FEET, [250; 3]);
    for row in VANISHING[1] as u32 + 60..VANISHING[1] as u32 + 230 {
        let at = (row * WIDTH + 500) as usize * 3;
        pixels[at..at + 4 * 3].fill(240);
    }
    let lanes = first(&pixels);
    assert_on(lanes.left, FEET[0]);
    assert_on(lanes.right, FEET[1]);
    for lane in [lanes.left, lanes.right].into_iter().flatten() {
        assert!(lane.confidence >= SURE, "{lane:?}");
    }
}

#[test]
fn a_lane_that_can_be_none_is_none() {
    // Too narrow for any vehicle, and too wide for one lane.
    for feet in [[350.0, 460.0], [-600.0, 1400.0]] {
        let lanes = first(&road(&feet, [250; 3]));
        assert_eq!(lanes.shape, None, "{feet:?}");
    }
}

#[test]
fn the_lane_on_the_ground_is_that_of_the_picture() {
    let lanes = first(&road(&FEET, [250; 3]));
    let shape = lanes.shape.unwrap();
    // By the formulas of a camera 1.4 m above the ground with 80 degrees of view.
    let rows = HEIGHT as f32 - 1.0 - VANISHING[1];
    let width = 1.4 * (FEET[1] - FEET[0]) / rows;
    let middle = 1.4 * (0.5 * (FEET[0] + FEET[1]) - VANISHING[0]) / rows;
    let heading = (VANISHING[0] - 400.0) / (400.0 / 40.0_f32.to_radians().tan());
    assert!((shape.width_m - width).abs() < 0.05, "{} {width}", shape.width_m);
    assert!((shape.middle_m - middle).abs() < 0.05, "{} {middle}", shape.middle_m);
    assert!((shape.heading - heading).abs() < 0.01, "{} {heading}", shape.heading);
    assert!(shape.curvature.abs() < 0.001 && !shape.unchanged, "{shape:?}");
}

#[test]
fn a_picture_that_does_not_change_is_noticed() {
    let mut detector = LaneDetector::new(DetectorParameters::default());
    let (a, b) = (road(&FEET, [250; 3]), road(&FEET.map(|foot| foot + 1.0), [250; 3]));
    // Once the lane is known, more of the frame is looked at.
    for _ in 0..3 {
        detect(&mut detector, &a);
    }
    let unchanged = [&a, &b, &b, &a].map(|pixels| detect(&mut detector, pixels).shape.unwrap().unchanged);
    assert_eq!(unchanged, [true, false, true, false]);
}

#[test]
fn an_empty_road_and_noise_have_no_lanes() {
    assert_eq!(first(&road(&[], [0; 3])), Lanes::default());
    let mut seed = 1_u32;
    let noise: Vec<u8> = (0..shape(PixelFormat::Rgb8).pixel_bytes())
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    let lanes = first(&noise);
    assert_eq!(lanes.shape, None);
    for lane in [lanes.left, lanes.right].into_iter().flatten() {
        assert!(lane.confidence < SURE, "sure of a line in noise: {lane:?}");
    }
}

#[test]
fn lines_that_are_gone_fade_and_end() {
    let mut detector = LaneDetector::new(DetectorParameters::default());
    let seen = detect(&mut detector, &road(&FEET, [250; 3])).left.unwrap();
    let empty = road(&[], [0; 3]);
    let held = detect(&mut detector, &empty).left.unwrap();
    assert!(held.confidence < SURE, "what is not seen is not sure");
    assert!((held.x1 - seen.x1).abs() < 2.0 && (held.x2 - seen.x2).abs() < 2.0, "{held:?} {seen:?}");
    let frames = (0..100).position(|_| detect(&mut detector, &empty) == Lanes::default());
    assert!(frames.is_some_and(|frames| frames < 10), "gone after {frames:?} frames");
}

#[test]
fn smoothing_follows_at_its_own_pace() {
    let moved = FEET.map(|foot| foot + 20.0);
    let after_one_frame = |smoothing: f64| {
        let mut detector = LaneDetector::new(DetectorParameters::default());
        detector.set("smoothing_factor", smoothing).unwrap();
        let mut before = Lanes::default();
        for _ in 0..60 {
            before = detect(&mut detector, &road(&FEET, [250; 3]));
        }
        detect(&mut detector, &road(&moved, [250; 3])).right.unwrap().x1 - before.right.unwrap().x1
    };
    let [none, some, most] = [0.0, 0.7, 1.0].map(after_one_frame);
    println!("of 20 px, in one frame: {none:.1}, {some:.1}, {most:.1}");
    assert!(none > some && some > most, "{none} {some} {most}");
    assert!(none > 16.0 && most > 1.0, "without smoothing it jumps, and with most it still moves: {none} {most}");
}

#[test]
fn every_parameter_has_its_effect() {
    let with = |name: &str, value: f64, paint: u8| {
        let mut detector = LaneDetector::new(DetectorParameters::default());
        assert_eq!(detector.set(name, value).unwrap(), value);
        detect(&mut detector, &road(&FEET, [paint; 3])).right.is_some()
    };
    // Paint 25 steps brighter than the road has a gradient of about 100.
    assert!(!with("canny_high", 255.0, 120) && with("canny_high", 50.0, 120));
    assert!(with("canny_low", 1.0, 250) && with("canny_low", 150.0, 250));
    // Short lines: paint only in the lowest rows.
    let short = |name: &str, value: f64| {
        let mut pixels = road(&FEET, [250; 3]);
        let kept = (WIDTH * (HEIGHT - 60)) as usize * 3;
        pixels[..kept].fill(95);
        let mut detector = LaneDetector::new(DetectorParameters::default());
        detector.set(name, value).unwrap();
        detect(&mut detector, &pixels).right.is_some()
    };
    assert!(short("hough_min_line_len", 10.0) && !short("hough_min_line_len", 150.0));
    assert!(short("hough_threshold", 1.0) && !short("hough_threshold", 150.0));
}

#[test]
fn parameters_stay_in_their_ranges() {
    let wild = DetectorParameters { canny_low: f64::NAN, canny_high: 1e9, ..DetectorParameters::default() };
    let mut detector = LaneDetector::new(wild);
    assert_eq!((detector.parameters().canny_low, detector.parameters().canny_high), (50.0, 255.0));
    assert_eq!(detector.set("canny_low", f64::INFINITY).unwrap(), 50.0);
    assert_eq!(detector.set("hough_threshold", -5.0).unwrap(), 1.0);
    assert!(detector.set("kp", 1.0).is_err());
}

#[test]
fn no_size_and_no_extreme_of_a_parameter_is_too_much() {
    for (width, height) in [(1, 1), (15, 500), (16, 41), (160, 120), (801, 599), (1920, 1080)] {
        let shape = ImageShape::new(width, height, PixelFormat::Rgb8).unwrap();
        let pixels: Vec<u8> = (0..shape.pixel_bytes()).map(|i| if i / 3 % 40 < 6 { 250 } else { 90 }).collect();
        for extreme in [-1e9, 1e9] {
            let mut detector = LaneDetector::new(DetectorParameters::default());
            for name in ["canny_low", "canny_high", "hough_threshold", "hough_min_line_len", "smoothing_factor"] {
                detector.set(name, extreme).unwrap();
            }
            for _ in 0..2 {
                let lanes = detector.detect(&ImageView::new(shape, &pixels).unwrap());
                for lane in [lanes.left, lanes.right].into_iter().flatten() {
                    assert!([lane.x1, lane.y1, lane.x2, lane.y2, lane.confidence].iter().all(|n| n.is_finite()));
                }
            }
        }
    }
}

/// All around the simulated road, the lines found lie on the lines painted.
#[test]
fn lines_of_the_simulated_road_are_found() {
    let road = Road::new();
    let mut camera = Camera::new(CameraOptions::default()).unwrap();
    let shape = camera.shape();
    let mut pixels = vec![0; shape.pixel_bytes()];
    let (mut found, mut looked) = (0, 0);
    let mut s = 0.0;
    while s < road.length() {
        // A detector without a past: each picture must do by itself.
        let mounting = Mounting { horizon: 0.48, horizon_tolerance: 0.05, ..Mounting::default() };
        let mut detector = LaneDetector::new(DetectorParameters::default()).mounted(mounting);
        let pose = road.pose_at(s);
        camera.render(&road, pose, s, &mut pixels);
        let lanes = detector.detect(&ImageView::new(shape, &pixels).unwrap());
        for (lane, side) in [(lanes.left, -1.0), (lanes.right, 1.0)] {
            looked += 1;
            let Some(lane) = lane else { continue };
            // A point of the line seven metres ahead.
            let middle = road.pose_at(road.wrap(s + 7.0));
            let [x, y] = camera.project(pose, middle.point(0.0, side * 1.75)).unwrap();
            found += u32::from((lane.x_at(y).unwrap() - x).abs() < 12.0);
        }
        s += 23.0;
    }
    println!("{found} of {looked} lines found where they are");
    assert!(found * 100 >= looked * 97, "{found} of {looked}");
}
