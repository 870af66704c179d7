use super::*;
use crate::simulation::{Camera, CameraOptions, Command, Pose, Road, Vehicle};
use lkas_messages::Lane;
use std::collections::VecDeque;

const FRAME_S: f32 = 1.0 / 30.0;

/// A straight lane in a picture of 800x600, as the simulation's camera sees it from `offset` half lane widths right of
/// its middle.
fn lanes(offset: f32) -> DetectionFields {
    // 280 pixels wide 120 pixels below a horizon at 288, growing with the distance from it.
    let lane = |side: f32| {
        let x = |y: f32| 400.0 + (side - offset) * (y - 288.0) * 1.25;
        Lane { x1: x(600.0), y1: 600.0, x2: x(370.0), y2: 370.0, confidence: 1.0 }
    };
    DetectionFields { left: Some(lane(-1.0)), right: Some(lane(1.0)), width: 800, height: 600, ..Default::default() }
}

#[test]
fn offset_width_and_heading_are_those_of_the_picture() {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    let control = keeper.decide(&lanes(0.2), FRAME_S);
    assert!((control.lateral_offset.unwrap() - 0.2).abs() < 1e-4);
    assert!((control.lateral_offset_m.unwrap() - 0.35).abs() < 1e-3);
    assert!((control.lane_width_px.unwrap() - 780.0).abs() < 0.1);
    assert!(control.heading_angle_deg.unwrap().abs() < 1e-3, "a parallel lane vanishes straight ahead");
    assert!(control.steering < 0.0, "right of the middle it steers left");
    assert_eq!((control.mode, control.brake), (Mode::LaneKeeping, 0.0));
    let control = LaneKeeper::new(DecisionParameters::default()).decide(&lanes(-0.2), FRAME_S);
    assert!(control.steering > 0.0 && control.lateral_offset.unwrap() < 0.0);
}

#[test]
fn departure_has_steps_with_hysteresis() {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    let mut status = |offset| keeper.decide(&lanes(offset), FRAME_S).departure.unwrap();
    assert_eq!(status(0.0), Departure::Centred);
    assert_eq!(status(-0.26), Departure::Drift);
    assert_eq!(status(0.22), Departure::Drift, "not back yet");
    assert_eq!(status(0.19), Departure::Centred);
    assert_eq!(status(0.51), Departure::Departure);
    assert_eq!(status(0.47), Departure::Departure, "not back yet");
    assert_eq!(status(0.44), Departure::Drift);
}

#[test]
fn one_line_is_enough_once_the_lane_was_seen() {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    let left_only = DetectionFields { right: None, ..lanes(0.1) };
    assert_eq!(keeper.decide(&left_only, FRAME_S).mode, Mode::EmergencyStop, "how wide the lane is nobody knows");
    keeper.decide(&lanes(0.0), FRAME_S);
    for detection in [left_only, DetectionFields { left: None, ..lanes(0.1) }] {
        let control = keeper.decide(&detection, FRAME_S);
        assert_eq!(control.mode, Mode::LaneKeeping);
        assert!((control.lateral_offset.unwrap() - 0.1).abs() < 1e-3);
    }
}

#[test]
fn without_lanes_it_holds_briefly_and_then_stops_until_they_are_back() {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    let nothing = DetectionFields { left: None, right: None, ..lanes(0.0) };
    assert_eq!(keeper.decide(&nothing, FRAME_S).mode, Mode::EmergencyStop, "nothing was seen yet");
    let steering = keeper.decide(&lanes(0.3), FRAME_S).steering;
    let mut blind = 0.0;
    while blind + FRAME_S <= HOLD_S {
        blind += FRAME_S;
        let control = keeper.decide(&nothing, FRAME_S);
        assert_eq!((control.mode, control.steering, control.brake), (Mode::LaneKeeping, steering, 0.0));
        assert_eq!(control.throttle, keeper.parameters().throttle_min);
        assert_eq!(control.lateral_offset, None);
    }
    keeper.decide(&nothing, FRAME_S);
    let control = keeper.decide(&nothing, FRAME_S);
    assert_eq!((control.mode, control.throttle, control.brake), (Mode::EmergencyStop, 0.0, 1.0));
    assert_eq!(keeper.decide(&lanes(0.0), FRAME_S).mode, Mode::LaneKeeping);
}

#[test]
fn every_parameter_has_its_effect() {
    let decide = |name: &str, value: f64, offset: f32| {
        let mut keeper = LaneKeeper::new(DecisionParameters::default());
        assert_eq!(keeper.set(name, value).unwrap() as f32, value as f32);
        keeper.decide(&lanes(0.0), FRAME_S);
        keeper.decide(&lanes(offset), FRAME_S)
    };
    assert!(decide("kp", 1.0, 0.2).steering < decide("kp", 0.5, 0.2).steering - 0.05);
    assert!(decide("kd", 1.0, 0.2).steering < decide("kd", 0.0, 0.2).steering);
    assert_eq!(decide("steer_max", 0.05, 0.5).steering, -0.05);
    assert_eq!(decide("throttle_base", 0.3, 0.0).throttle, 0.3);
    assert!(decide("throttle_min", 0.0, 0.9).throttle < decide("throttle_min", 0.14, 0.9).throttle);
    assert!(decide("steer_threshold", 0.0, 0.2).throttle < decide("steer_threshold", 0.5, 0.2).throttle);
}

#[test]
fn parameters_start_at_their_defaults_and_stay_in_their_ranges() {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    for parameter in PARAMETERS.iter().filter(|parameter| parameter.category == Category::Decision) {
        assert_eq!(keeper.set(parameter.name, f64::NAN).unwrap() as f32, parameter.default as f32);
        assert_eq!(keeper.set(parameter.name, 1e9).unwrap() as f32, parameter.max as f32);
        assert_eq!(keeper.set(parameter.name, -1e9).unwrap() as f32, parameter.min as f32);
    }
    assert!(keeper.set("canny_low", 1.0).is_err());
}

#[test]
fn nonsense_never_leaves_as_a_number_that_is_not_finite() {
    let numbers = [0.0, -1.0, 1e6, -1e6, 300.0, 600.0];
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    for x1 in numbers {
        for y1 in numbers {
            for x2 in numbers {
                for width in [0, 1, 800] {
                    let lane = Lane { x1, y1, x2, y2: x1, confidence: 1.0 };
                    let other = Lane { x1: x2, ..lane };
                    let detection =
                        DetectionFields { left: Some(lane), right: Some(other), width, ..DetectionFields::default() };
                    for dt in [f32::NAN, -1.0, 0.0, FRAME_S, 1e9] {
                        let control = keeper.decide(&detection, dt);
                        lkas_messages::Control::try_from(control).expect("finite");
                        assert!(control.steering.abs() <= 1.0);
                    }
                }
            }
        }
    }
}

/// What a perfect detector would see: the true lines at two distances, joined by straight segments.
fn ideal(camera: &Camera, road: &Road, s: f64, pose: Pose) -> DetectionFields {
    let line = |side: f64| {
        let point = |ahead: f64| {
            let middle = road.pose_at(road.wrap(s + ahead));
            camera.project(pose, middle.point(0.0, side * f64::from(LANE_WIDTH_M) / 2.0))
        };
        let [x1, y1] = point(3.5)?;
        let [x2, y2] = point(14.0)?;
        // Both lines on the same two heights, as the detector has them.
        let lane = Lane { x1, y1, x2, y2, confidence: 1.0 };
        Some(Lane { x1: lane.x_at(590.0)?, y1: 590.0, x2: lane.x_at(380.0)?, y2: 380.0, confidence: 1.0 })
    };
    DetectionFields { left: line(-1.0), right: line(1.0), width: 800, height: 600, ..DetectionFields::default() }
}

/// Drives a lap with two frames of delay at a held speed; returns the largest offset and the roughness of the steering.
fn lap(speed_kmh: f64) -> (f64, f32) {
    let road = Road::new();
    let camera = Camera::new(CameraOptions::default()).unwrap();
    let mut vehicle = Vehicle::new(road.pose_at(0.0));
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    let mut on_their_way: VecDeque<ControlFields> = VecDeque::new();
    let (mut s, mut largest, mut driven, mut roughness, mut steering) = (0.0, 0.0_f64, 0.0, 0.0_f32, 0.0_f32);
    while driven < road.length() {
        let pose = vehicle.pose();
        on_their_way.push_back(keeper.decide(&ideal(&camera, &road, s, pose), FRAME_S));
        if on_their_way.len() > 2 {
            let control = on_their_way.pop_front().unwrap();
            assert_eq!(control.mode, Mode::LaneKeeping, "the lane is lost at {s:.0} m");
            roughness = roughness.max((control.steering - steering).abs());
            steering = control.steering;
        }
        let throttle = if vehicle.speed() * 3.6 < speed_kmh { 0.5 } else { 0.0 };
        vehicle.step(Command { steering: f64::from(steering), throttle, brake: 0.0 }, f64::from(FRAME_S));
        let after = vehicle.pose();
        let (place, offset) = road.locate([after.x, after.y], s);
        s = place;
        driven += vehicle.speed() * f64::from(FRAME_S);
        largest = largest.max(offset.abs());
    }
    (largest, roughness)
}

#[test]
fn the_vehicle_stays_in_its_lane_all_around_the_road() {
    for speed in [20.0, 30.0, 40.0, 50.0] {
        let (offset, roughness) = lap(speed);
        println!(
            "{speed} km/h: at most {offset:.2} m from the middle, steering changes by at most {roughness:.3} a frame"
        );
        assert!(offset < 0.5, "{offset:.2} m from the middle at {speed} km/h");
        assert!(roughness < 0.05, "steering jumps by {roughness:.3} at {speed} km/h");
    }
}
