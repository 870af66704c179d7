use super::*;
use lkas_messages::Lane;

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

const NOTHING: DetectionFields = DetectionFields {
    left: None,
    right: None,
    width: 800,
    height: 600,
    frame_id: 0,
    timestamp: 0.0,
    processing_time_ms: 0.0,
};

/// A frame after the one before.
fn next(keeper: &mut LaneKeeper, detection: &DetectionFields) -> ControlFields {
    keeper.decide(detection, &Circumstances::after(FRAME_S))
}

/// How many frames make up so many seconds, and one more.
fn frames(seconds: f32) -> usize {
    (seconds / FRAME_S) as usize + 2
}

/// A keeper that has seen the lane for long enough to drive.
fn started(parameters: DecisionParameters) -> LaneKeeper {
    let mut keeper = LaneKeeper::new(parameters);
    for _ in 0..frames(0.3) {
        next(&mut keeper, &lanes(0.0));
    }
    assert_eq!(keeper.health(), Health::Good);
    keeper
}

#[test]
fn it_starts_after_sustained_evidence_only() {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    for _ in 0..4 {
        for _ in 0..6 {
            let control = next(&mut keeper, &lanes(0.0));
            assert_eq!((control.mode, control.throttle, control.brake), (Mode::EmergencyStop, 0.0, 1.0));
        }
        assert_eq!(next(&mut keeper, &NOTHING).mode, Mode::EmergencyStop);
    }
    let modes: Vec<Mode> = (0..frames(0.3)).map(|_| next(&mut keeper, &lanes(0.0)).mode).collect();
    assert_eq!(modes.last(), Some(&Mode::LaneKeeping));
}

#[test]
fn offset_width_and_heading_are_those_of_the_picture() {
    let mut keeper = started(DecisionParameters::default());
    let control = next(&mut keeper, &lanes(0.15));
    assert!((control.lateral_offset.unwrap() - 0.15).abs() < 1e-4);
    assert!((control.lateral_offset_m.unwrap() - 0.2625).abs() < 1e-3);
    assert!((control.lane_width_px.unwrap() - 780.0).abs() < 0.1);
    assert!(control.heading_angle_deg.unwrap().abs() < 1e-3, "a parallel lane vanishes straight ahead");
    assert!(control.steering < 0.0, "right of the middle it steers left");
    assert_eq!((control.mode, control.brake), (Mode::LaneKeeping, 0.0));
    let control = next(&mut started(DecisionParameters::default()), &lanes(-0.15));
    assert!(control.steering > 0.0 && control.lateral_offset.unwrap() < 0.0);
}

#[test]
fn departure_has_steps_with_hysteresis() {
    let steps = [
        (0.0, Departure::Centred),
        (0.26, Departure::Drift),
        (0.22, Departure::Drift),
        (0.19, Departure::Centred),
        (0.51, Departure::Departure),
        (0.47, Departure::Departure),
        (0.44, Departure::Drift),
    ];
    let mut before = None;
    for (offset, expected) in steps {
        let status = departure(offset, before);
        assert_eq!(status, expected, "{offset}");
        before = Some(status);
    }
}

#[test]
fn one_line_is_driven_on_slowly() {
    for one in [DetectionFields { right: None, ..lanes(0.1) }, DetectionFields { left: None, ..lanes(0.1) }] {
        let mut keeper = started(DecisionParameters::default());
        for _ in 0..frames(1.0) {
            next(&mut keeper, &one);
        }
        for _ in 0..30 {
            let control = next(&mut keeper, &one);
            assert_eq!(keeper.health(), Health::Degraded(Reason::Unsure));
            assert_eq!((control.mode, control.throttle), (Mode::LaneKeeping, keeper.parameters().throttle_min));
            assert!((control.lateral_offset.unwrap() - 0.1).abs() < 1e-3);
        }
        let mut fresh = LaneKeeper::new(DecisionParameters::default());
        for _ in 0..60 {
            assert_eq!(next(&mut fresh, &one).mode, Mode::EmergencyStop, "one line is no start");
        }
    }
}

#[test]
fn unsure_lines_are_as_good_as_none() {
    let mut unsure = lanes(0.0);
    for lane in [&mut unsure.left, &mut unsure.right].into_iter().flatten() {
        lane.confidence = 0.45;
    }
    for detection in [unsure, NOTHING] {
        let mut keeper = started(DecisionParameters::default());
        let driven = (0..300).take_while(|_| next(&mut keeper, &detection).mode == Mode::LaneKeeping).count();
        let driven_s = driven as f32 * FRAME_S;
        assert!((HOLD_S[0]..HOLD_S[1]).contains(&driven_s), "{driven_s} s");
        for _ in 0..90 {
            assert_eq!(next(&mut keeper, &unsure).mode, Mode::EmergencyStop, "they are no reason to start");
        }
    }
}

#[test]
fn without_lanes_it_holds_briefly_and_then_stops_until_both_are_sure_for_a_while() {
    let mut keeper = started(DecisionParameters::default());
    let mut blind = 0.0;
    while blind + FRAME_S <= HOLD_S[0] {
        blind += FRAME_S;
        let control = next(&mut keeper, &NOTHING);
        assert_eq!((control.mode, control.brake, control.lateral_offset), (Mode::LaneKeeping, 0.0, None));
        assert_eq!(control.throttle, keeper.parameters().throttle_min);
        assert_eq!(keeper.health(), Health::Lost(Reason::Unsure));
    }
    while blind < HOLD_S[1] {
        blind += FRAME_S;
        next(&mut keeper, &NOTHING);
    }
    let control = next(&mut keeper, &NOTHING);
    assert_eq!((control.mode, control.throttle, control.brake), (Mode::EmergencyStop, 0.0, 1.0));
    let modes: Vec<Mode> = (0..frames(1.0)).map(|_| next(&mut keeper, &lanes(0.0)).mode).collect();
    let stopped = modes.iter().filter(|mode| **mode == Mode::EmergencyStop).count();
    assert!(stopped as f32 * FRAME_S > 0.9, "resumes after {stopped} frames");
    assert_eq!(modes.last(), Some(&Mode::LaneKeeping));
}

/// A lane on the ground.
fn shape(offset_m: f32, curvature: f32) -> LaneShape {
    LaneShape { middle_m: -offset_m, width_m: 3.5, curvature, seen: [1.0; 2], ..LaneShape::default() }
}

/// Circumstances of a vehicle that tells its speed.
fn at_speed(shape: LaneShape, speed: f32) -> Circumstances {
    let motion = Motion { speed, steering: 0.0, control_age_s: 0.05 };
    Circumstances { dt: FRAME_S, age_s: 0.02, shape: Some(shape), motion: Some(motion) }
}

/// A keeper that drives at that speed.
fn driving(speed: f32, curvature: f32) -> LaneKeeper {
    let mut keeper = LaneKeeper::new(DecisionParameters::default());
    for _ in 0..frames(0.3) {
        keeper.decide(&lanes(0.0), &at_speed(shape(0.0, curvature), 0.0));
    }
    let circumstances = at_speed(shape(0.0, curvature), speed);
    keeper.decide(&lanes(0.0), &circumstances);
    assert_eq!(keeper.health(), Health::Good);
    keeper
}

#[test]
fn a_stop_steers_along_the_last_curvature() {
    let mut keeper = driving(20.0, 1.0 / 200.0);
    let motion = Motion { speed: 20.0, steering: motion::steering_of(1.0 / 200.0), control_age_s: 0.05 };
    let mut steering = 0.0;
    for _ in 0..30 {
        let control = keeper.without_detection(FRAME_S, Some(motion));
        assert_eq!((control.mode, control.brake), (Mode::EmergencyStop, 1.0));
        steering = control.steering;
    }
    assert_eq!(keeper.health(), Health::Stopped(Reason::Silent));
    let curvature = motion::curvature_of(steering);
    assert!((curvature * 200.0 - 1.0).abs() < 0.2, "the path's curvature is {curvature}");
}

#[test]
fn what_is_wrong_is_named_and_stops() {
    let stops = |what: &dyn Fn(usize) -> Circumstances| {
        let mut keeper = driving(15.0, 0.0);
        for i in 0..60 {
            let control = keeper.decide(&lanes(0.0), &what(i));
            if control.mode == Mode::EmergencyStop {
                return Some((keeper.health(), i as f32 * FRAME_S));
            }
        }
        None
    };
    assert_eq!(stops(&|_| at_speed(shape(0.0, 0.0), 15.0)), None, "nothing is wrong");
    let wrong: [(Reason, &dyn Fn(usize) -> Circumstances); 5] = [
        (Reason::Width, &|_| at_speed(LaneShape { width_m: 4.2, ..shape(0.0, 0.0) }, 15.0)),
        (Reason::Frozen, &|_| at_speed(LaneShape { unchanged: true, ..shape(0.0, 0.0) }, 15.0)),
        (Reason::Inconsistent, &|i| at_speed(shape(if i % 2 == 0 { 0.0 } else { 0.6 }, 0.0), 15.0)),
        (Reason::Departing, &|i| at_speed(shape((0.02 * i as f32).min(0.72), 0.0), 2.0)),
        (Reason::Slow, &|_| {
            let mut late = at_speed(shape(0.0, 0.0), 15.0);
            late.age_s = 0.5;
            late
        }),
    ];
    for (reason, what) in wrong {
        let (health, after) = stops(what).unwrap_or_else(|| panic!("{reason} does not stop"));
        assert_eq!(health, Health::Stopped(reason));
        println!("{reason}: stops after {after:.2} s");
        assert!(after < 1.8, "{reason}: {after}");
    }
}

#[test]
fn after_a_stop_it_drives_again_from_standstill_only() {
    let mut keeper = driving(15.0, 0.0);
    keeper.without_detection(FRAME_S, None);
    for _ in 0..90 {
        let control = keeper.decide(&lanes(0.0), &at_speed(shape(0.0, 0.0), 5.0));
        assert_eq!(control.mode, Mode::EmergencyStop, "still moving");
    }
    let modes: Vec<Mode> =
        (0..frames(1.0)).map(|_| keeper.decide(&lanes(0.0), &at_speed(shape(0.0, 0.0), 0.0)).mode).collect();
    assert_eq!((modes[0], modes.last()), (Mode::EmergencyStop, Some(&Mode::LaneKeeping)));
}

/// Between two dashes of a broken line there is little of it to be seen, and a vehicle that stands sees no other.
#[test]
fn who_stands_between_two_dashes_drives_on_slowly() {
    let first_drive = |sure: [f32; 2], stopped: bool| {
        let mut keeper = if stopped { driving(15.0, 0.0) } else { LaneKeeper::new(DecisionParameters::default()) };
        if stopped {
            keeper.without_detection(FRAME_S, None);
        }
        let seen = LaneShape { seen: sure, ..shape(0.0, 0.0) };
        let drives = (0..frames(20.0)).find(|_| {
            let control = keeper.decide(&lanes(0.0), &at_speed(seen, 0.0));
            control.mode == Mode::LaneKeeping
        })?;
        assert_eq!(keeper.health(), Health::Degraded(Reason::Unsure));
        let control = keeper.decide(&lanes(0.0), &at_speed(seen, 1.0));
        assert_eq!((control.mode, control.throttle), (Mode::LaneKeeping, keeper.parameters().throttle_min));
        keeper.decide(&lanes(0.0), &at_speed(shape(0.0, 0.0), 2.0));
        assert_eq!(keeper.health(), Health::Good);
        Some(drives as f32 * FRAME_S)
    };
    for stopped in [false, true] {
        let after = first_drive([0.35, 1.0], stopped).expect("both are seen, one is sure");
        assert!((1.9..2.2).contains(&after), "{after} s");
        assert_eq!(first_drive([0.1, 1.0], stopped), None, "one line is none");
        assert_eq!(first_drive([0.45, 0.45], stopped), None, "none is sure");
    }
}

#[test]
fn gains_follow_the_speed_and_the_delay() {
    let steering = |speed: f32, control_age_s: f32| {
        let mut keeper = driving(speed, 0.0);
        keeper.set("kp", 2.0).unwrap();
        let mut circumstances = at_speed(shape(0.2, 0.0), speed);
        if let Some(motion) = &mut circumstances.motion {
            motion.control_age_s = control_age_s;
        }
        keeper.decide(&lanes(0.0), &circumstances).steering.abs()
    };
    assert!(steering(8.0, 0.05) > 2.0 * steering(25.0, 0.05), "slower, it steers more");
    assert!(steering(15.0, 0.02) > steering(15.0, 0.2), "later, it steers less");
}

#[test]
fn every_parameter_has_its_effect() {
    let decide = |name: &str, value: f64, offset: f32| {
        let mut keeper = started(DecisionParameters::default());
        assert_eq!(keeper.set(name, value).unwrap() as f32, value as f32);
        next(&mut keeper, &lanes(offset))
    };
    assert!(decide("kp", 1.0, 0.15).steering < decide("kp", 0.3, 0.15).steering);
    assert_eq!(decide("steer_max", 0.01, 0.19).steering, -0.01);
    assert_eq!(decide("throttle_base", 0.3, 0.0).throttle, 0.3);
    let at_most = |name: &str, value: f64| {
        let mut keeper = started(DecisionParameters { steer_threshold: 0.0, steer_max: 0.02, ..Default::default() });
        keeper.set(name, value).unwrap();
        next(&mut keeper, &lanes(0.19)).throttle
    };
    assert!(at_most("throttle_min", 0.0) < at_most("throttle_min", 0.14));
    assert!(at_most("steer_threshold", 0.0) < at_most("steer_threshold", 0.5));
    // The derivative's gain shows where the lane is askew.
    let askew = |kd: f64| {
        let mut keeper = driving(12.0, 0.0);
        keeper.set("kd", kd).unwrap();
        let shape = LaneShape { heading: 0.03, ..shape(0.0, 0.0) };
        keeper.decide(&lanes(0.0), &at_speed(shape, 12.0)).steering
    };
    assert!(askew(1.0) > askew(0.0), "{} {}", askew(1.0), askew(0.0));
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
                        let motion = Motion { speed: dt, steering: x1, control_age_s: x2 * dt };
                        let shape = LaneShape { middle_m: x1 * dt, width_m: 3.5, heading: x2, ..LaneShape::default() };
                        let circumstances =
                            Circumstances { dt, age_s: dt, shape: (x1 < 0.0).then_some(shape), motion: Some(motion) };
                        let control = keeper.decide(&detection, &circumstances);
                        lkas_messages::Control::try_from(control).expect("finite");
                        assert!(control.steering.abs() <= 1.0);
                    }
                }
            }
        }
    }
}
