use super::*;
use crate::simulation::{Command, World};
use std::path::PathBuf;

fn catalogue() -> Vec<Scenario> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths.iter().map(|path| Scenario::read(path).unwrap()).collect()
}

fn named(name: &str) -> Scenario {
    catalogue().into_iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("there is no {name}"))
}

#[test]
fn the_catalogue_can_be_read_and_says_what_it_is_about() {
    let catalogue = catalogue();
    assert!(catalogue.len() >= 40, "{}", catalogue.len());
    for scenario in &catalogue {
        assert!(!scenario.about.is_empty() && scenario.expect.outcome.is_some(), "{}", scenario.name);
        let ordinary = !scenario.name.starts_with("hazard-");
        assert_eq!(
            scenario.expect.max_offset_m == Some(0.25) && scenario.expect.outcome == Some(Outcome::Drives),
            ordinary,
            "{}",
            scenario.name
        );
        World::new(scenario.world(1)).unwrap_or_else(|why| panic!("{}: {why}", scenario.name));
    }
}

#[test]
fn the_same_seed_is_the_same_report_and_another_is_another() {
    let mut scenario = named("noise-12");
    scenario.duration_s = 8.0;
    let report = |seed| serde_json::to_string(&run(&scenario, seed).unwrap()).unwrap();
    assert_eq!(report(3), report(3));
    assert_ne!(report(3).replace("\"seed\":3", ""), report(4).replace("\"seed\":4", ""));
}

#[test]
fn what_was_really_so_is_told_for_each_frame_where_it_is_asked_for() {
    let mut scenario = named("hazard-start-aside");
    scenario.duration_s = 2.0;
    assert_eq!(run(&scenario, 1).unwrap().truths, []);
    let mut drive = Drive::new(&scenario, 1).unwrap();
    drive.keep_truths();
    while drive.frame() {}
    let report = drive.finish();
    assert_eq!((report.frames, report.truths.len()), (60, 60));
    assert_eq!(report.truths[0].offset_m, scenario.vehicle.start_offset_m);
}

#[test]
fn some_of_the_catalogue_holds() {
    for name in ["bend-60m", "car-beside-white", "hazard-delay-180", "hazard-straddle", "hazard-picture-frozen"] {
        let report = run(&named(name), 1).unwrap();
        println!("{report}");
        assert!(report.passed(), "{report}");
    }
}

/// What a drive is judged by must be able to fail.
#[test]
fn a_vehicle_that_leaves_its_lane_fails() {
    // Wind that no steering within the vehicle's limits holds against.
    let text =
        "duration_s = 20.0\n[[faults]]\nwhat = \"wind\"\nfrom_s = 10.0\nstrength = 8.0\n[vehicle]\ncruise_kmh = 70.0\n";
    let report = run(&Scenario::parse("storm", text).unwrap(), 1).unwrap();
    assert!(report.failures.iter().any(|failure| failure.contains("offset")), "{report}");
    let slow = Scenario::parse("slow", "duration_s = 3.0\n[expect]\ndistance_m = 500.0\noutcome = \"stops\"").unwrap();
    let report = run(&slow, 1).unwrap();
    assert!(report.failures.len() == 2 && report.to_string().contains("FAILED"), "{report}");
}

#[test]
fn nonsense_is_named() {
    let error = |text: &str| Scenario::parse("odd", text).unwrap_err().to_string();
    assert!(error("durations = 3").contains("durations"), "{}", error("durations = 3"));
    for (text, what) in [
        ("duration_s = 0.0", "duration_s is 0"),
        ("duration_s = nan", "duration_s is NaN"),
        ("[road]\nparts = [{ curve = { degrees = 10.0, radius = 1.0 } }]", "radius is 1"),
        ("[parameters]\nkq = 1.0", "\"kq\""),
        ("[[faults]]\nwhat = \"camera\"\nevery = 0", "every is 0"),
    ] {
        assert!(error(text).contains(what) && error(text).starts_with("odd: "), "{}", error(text));
    }
    let path = std::path::Path::new("/nowhere/at/all.toml");
    assert!(Scenario::read(path).unwrap_err().to_string().contains("/nowhere/at/all.toml"));
    for text in ["kp", "kp=1", "kp=2..1", "kp=a..b", "kp=0..nan"] {
        assert!(text.parse::<Axis>().unwrap_err().contains(text), "{text}");
    }
    assert_eq!("delay=0..250ms".parse::<Axis>().unwrap(), Axis { name: "delay".into(), from: 0.0, to: 250.0 });
}

#[test]
fn a_sweep_tells_stable_from_stopping() {
    let text = "duration_s = 6.0\n[camera]\nwidth = 160\nheight = 120\n";
    let scenario = Scenario::parse("short", text).unwrap();
    let axes = ["delay=0..600", "kp=0.2..1"].map(|text| text.parse::<Axis>().unwrap());
    let map = sweep(&scenario, 1, &axes[0], &axes[1]).unwrap();
    let drawn = map.to_string();
    assert!(map.is_safe() && drawn.contains(" .") && drawn.contains(" s"), "{drawn}");
    assert!(map.svg().starts_with("<svg") && map.svg().ends_with("</svg>\n"));
    let unknown = "nothing=0..1".parse::<Axis>().unwrap();
    assert!(sweep(&scenario, 1, &axes[0], &unknown).unwrap_err().to_string().contains("nothing"));
}

/// The truth is where the vehicle is.
#[test]
fn the_truth_is_that_of_the_world() {
    let mut world = World::new(named("bend-120m").world(1)).unwrap();
    for _ in 0..600 {
        world.step(Command { throttle: 0.3, steering: 0.002, brake: 0.0 }, 0.02);
    }
    let truth = Truth::of(&world, 5, 2.0);
    assert_eq!((truth.frame_id, truth.timestamp, truth.offset_m), (5, 2.0, world.lateral_offset_m()));
    assert!(truth.heading.abs() > 1e-4 && truth.speed_kmh > 10.0 && truth.width_m == 3.5, "{truth:?}");
    let [near, far] = [0, 2].map(|at| truth.right[at] - truth.left[at]);
    assert!(near > far && far > 0.0, "the lane is narrower far ahead: {truth:?}");
}

/// Every kind of thing that files ask for is to be seen in the picture.
#[test]
fn what_files_ask_for_is_drawn() {
    let picture = |text: &str| {
        let mut world = World::new(Scenario::parse("drawn", text).unwrap().world(1)).unwrap();
        let mut pixels = vec![0; world.shape().pixel_bytes()];
        world.render(&mut pixels);
        pixels
    };
    let road = "[road]\nparts = [{ straight = 200.0 }]\nscenery = false\n";
    let plain = picture(road);
    for other in [
        "bumps = [{ at_m = 40.0, length_m = 100.0, radius_m = -1000.0 }]",
        "[[cars]]\nahead_m = 15.0\noffset_m = -3.5",
        "[[cars]]\nahead_m = 20.0\ntruck = true",
        "[weather]\ndaylight = 0.4",
        "[weather]\nsun = 0.5",
        "[weather]\nshadows = 0.8",
        "[weather]\nwet = 0.5",
        "[camera]\nnoise = 5.0",
        "[camera]\ndirt = 0.5",
        "[camera]\ngain = 1.3",
        "[[road.lines]]\noffset_m = 1.75\nyellow = true",
        "[[road.lines]]\noffset_m = 1.75\nwear = 0.5",
        "[vehicle]\nstart_offset_m = 0.5",
        "[vehicle]\nstart_heading_deg = 2.0",
    ] {
        let drawn = picture(&format!("{road}{other}\n"));
        let changed = plain.iter().zip(&drawn).filter(|(a, b)| a.abs_diff(**b) > 3).count();
        assert!(changed > 200, "{other}: {changed} values changed");
    }
}
