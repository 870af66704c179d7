//! Scenarios, and that they can fail: each safety mechanism is taken out in turn, and named scenarios must see it.

use crate::tools::{cargo, copy, executable, output, root, run, target, write};
use crate::{How, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A safety mechanism that can be taken out: an expression in the source, with what stands before and behind it, another
/// one instead, and the scenarios that fail then. One that has several places has an entry for each; the first has the
/// scenarios.
struct Mechanism {
    /// What is so without it. `docs/safety.md` names it.
    without: &'static str,
    file: &'static str,
    place: [&'static str; 3],
    instead: &'static str,
    scenarios: &'static [&'static str],
}

const fn without(
    without: &'static str,
    file: &'static str,
    place: [&'static str; 3],
    instead: &'static str,
    scenarios: &'static [&'static str],
) -> Mechanism {
    Mechanism { without, file, place, instead, scenarios }
}

const AGE: &str = "core/safety/src/age.rs";
const MONITOR: &str = "core/safety/src/monitor.rs";
const HEALTH: &str = "lkas/src/decision/health.rs";
const KEEPER: &str = "lkas/src/decision/mod.rs";
const MOTION: &str = "lkas/src/decision/motion.rs";
const DETECTOR: &str = "lkas/src/detection/mod.rs";
const ROAD: &str = "lkas/src/detection/road.rs";

const MECHANISMS: &[Mechanism] = &[
    without("silence is borne", HEALTH, ["", "self.stop(Reason::Silent)", ";"], "()", &["hazard-freeze-in-bend"]),
    without(
        "a stop steers straight",
        KEEPER,
        ["self.steering = ", "self.steer(stopping, health == Health::Good, dt)", ";"],
        "{ let steering = self.steer(stopping, health == Health::Good, dt); if stopping { 0.0 } else { steering } }",
        &["hazard-freeze-in-bend"],
    ),
    without(
        "old controls are executed",
        AGE,
        ["let usable = ", "age_s <= limit_s", ";"],
        "true",
        &["hazard-decision-dies", "hazard-decision-dies-at-bend"],
    ),
    without("damaged controls are executed", MONITOR, ["if ", "control.is_whole()", " {"], "true", &["hazard-damaged"]),
    without(
        "the vehicle's own stop steers straight",
        MONITOR,
        ["if ", "self.held_s > STEERING_HOLD_S", " {"],
        "{ self.steering = 0.0; false }",
        &["hazard-decision-dies"],
    ),
    without(
        "the same picture is believed",
        HEALTH,
        ["        if ", "self.frozen", " {"],
        "false",
        &["hazard-picture-frozen"],
    ),
    without(
        "the last curvature is followed for ever",
        HEALTH,
        ["if ", "self.blind_s > hold_s", " {"],
        "false",
        &["hazard-dark", "hazard-noise-grows", "hazard-lines-end"],
    ),
    without(
        "noisy frames are not halved",
        DETECTOR,
        ["self.halvings[1] = ", "self.halvings[0] + u32::from(noisy) - u32::from(calm)", ";"],
        "0",
        &["noise-35", "noise-60"],
    ),
    without("any width is a lane's", HEALTH, ["|| ", "change > WIDTH_CHANGE", " {"], "false", &["hazard-fork"]),
    without(
        "perceived and steered motion may part",
        HEALTH,
        ["&& ", "self.parted_m.abs() > PARTED_M", ")"],
        "false",
        &["hazard-lines-shift"],
    ),
    without("gains have no lower bound", KEEPER, [".max(", "LEAST_OMEGA", ")"], "0.0", &["hazard-kp-0"]),
    without(
        "smoothing keeps lines where they were",
        DETECTOR,
        ["dt, ", "agility.max(0.3)", ")"],
        "if agility < 0.3 { 0.0 } else { agility }",
        &["hazard-smoothing-1"],
    ),
    without(
        "a departure does not stop",
        HEALTH,
        ["if ", "self.departing_s > DEPARTING_S", " =>"],
        "false",
        &["hazard-steer-max-0"],
    ),
    without(
        "bends are not braked for",
        KEEPER,
        ["&& ", "speed * speed * self.predictor.path().curvature.abs() > SIDEWAYS", ";"],
        "false",
        &["hazard-bend-too-fast"],
    ),
    without(
        "the mounting is not used",
        DETECTOR,
        ["", "Self { mounting, ..self }", "\n"],
        "{ let _ = mounting; self }",
        &["mounted-high", "horizon-low"],
    ),
    without(
        "what is not sure is driven on",
        HEALTH,
        ["(Some(place), _) if ", "place.sure[0].max(place.sure[1]) < SURE", " =>"],
        "false",
        &["hazard-noise-grows"],
    ),
    without(
        "late steering does not slow down",
        HEALTH,
        ["        ", "(predictor.delay_s() > slow).then_some(false)", "\n"],
        "None",
        &["hazard-delay-grows"],
    ),
    without(
        "a doubtful lane is driven fast",
        KEEPER,
        ["if ", "health != Health::Good || fast", " {"],
        "fast",
        &["hazard-delay-grows"],
    ),
    without(
        "nothing trims what lasts",
        MOTION,
        ["if ", "learn && self.path.offset.abs() < 0.6", " {"],
        "false",
        &["hazard-wind-lasts"],
    ),
    without(
        "a stop ends on the first lines",
        HEALTH,
        ["if ", "self.evidence_s >= needed", " {"],
        "doubt.is_none()",
        &["hazard-freeze-in-bend"],
    ),
    without(
        "who stands between dashes stands for ever",
        HEALTH,
        ["if ", "self.seen_s >= SEEN_S", " {"],
        "false",
        &["starts-between-dashes", "hazard-stops-between-dashes"],
    ),
    without(
        "lines of two lanes are one's",
        DETECTOR,
        ["let doubtful = ", "candidates.iter().any(|line| is_between(&line))", ";"],
        "false",
        &["hazard-straddle"],
    ),
    without(
        "lines of two lanes are one's",
        ROAD,
        ["&& ", "(f64::from(WIDTH_M[0])..f64::from(WIDTH_M[1])).contains(&(places_r - places_l))", "\n"],
        "true",
        &[],
    ),
    without(
        "lines of two lanes are one's",
        ROAD,
        ["        ", "(f64::from(WIDTH_M[0])..f64::from(WIDTH_M[1])).contains(&width)", "\n"],
        "true",
        &[],
    ),
    without(
        "lines of two lanes are one's",
        HEALTH,
        ["if ", "!(WIDTH_M[0]..WIDTH_M[1]).contains(&place.width_m)", " ||"],
        "false",
        &[],
    ),
];

/// Drives every scenario of the catalogue, and again those that a missing safety mechanism makes fail; with `--deep` also
/// the sweeps that the safety concept shows.
pub(crate) fn scenarios(how: &How) -> Outcome {
    let run_with = |arguments: &[&str]| {
        run(cargo(None, "", &["run", "--quiet", "--release", "-p", "lkas", "--", "scenario"]).args(arguments), "")
    };
    run_with(&["lkas/scenarios"])?;
    if how.deep {
        let svg = root().join("docs/stability.svg");
        let svg = svg.to_str().ok_or("the workspace's path is not UTF-8")?;
        let lap = "lkas/scenarios/lap-40.toml";
        run_with(&[lap, "--sweep", "delay=0..250ms", "kp=0..2", "--svg", svg])?;
    }
    take_out_each_mechanism()
}

fn take_out_each_mechanism() -> Outcome {
    let program = build(&target("scenarios/workspace"))?;
    let named: BTreeSet<&str> = MECHANISMS.iter().flat_map(|mechanism| mechanism.scenarios).copied().collect();
    let whole: Vec<_> = named.into_iter().map(|scenario| (scenario, None)).collect();
    for ((scenario, _), why) in whole.iter().zip(failures(&program, &whole)?) {
        if let Some(why) = why {
            return Err(format!("with every mechanism in its place {scenario} fails: {why}"));
        }
    }
    let each = MECHANISMS.iter().enumerate().flat_map(|(index, Mechanism { without, scenarios, .. })| {
        scenarios.iter().map(move |scenario| (*without, (*scenario, Some(index))))
    });
    let (without, drives): (Vec<&str>, Vec<Drive>) = each.unzip();
    let mut unseen = Vec::new();
    println!("  {:<46} seen by", "what is taken out");
    for ((without, (scenario, _)), why) in without.iter().zip(&drives).zip(failures(&program, &drives)?) {
        println!("  {without:<46} {scenario}: {}", why.as_deref().unwrap_or("NOT SEEN"));
        if why.is_none() {
            unseen.push(format!("{without} by {scenario}"));
        }
    }
    if unseen.is_empty() { Ok(()) } else { Err(format!("not seen: {}", unseen.join(", "))) }
}

/// A scenario, and the mechanism that is missing.
type Drive = (&'static str, Option<usize>);

/// How each of them fails, in their order; as many at a time as there are processors.
fn failures(program: &Path, drives: &[Drive]) -> Result<Vec<Option<String>>, String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Relaxed);
            let Some((scenario, missing)) = drives.get(index) else { return };
            let failure = failure(program, scenario, *missing);
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(index, failure);
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(work);
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// How the scenario fails without that mechanism; `None` where it passes.
fn failure(program: &Path, scenario: &str, missing: Option<usize>) -> Result<Option<String>, String> {
    let file = root().join("lkas/scenarios").join(scenario).with_extension("toml");
    let mut command = Command::new(program);
    command.args(["scenario", "--json"]).arg(&file).envs(missing.map(|index| (MISSING, index.to_string())));
    let (passed, said) = output(&mut command, "")?;
    let wrong = |why: &dyn core::fmt::Display| format!("{scenario} gave no report: {why}; it said {said}");
    let reports: serde_json::Value = serde_json::from_str(&said).map_err(|why| wrong(&why))?;
    let failures = reports[0]["failures"].as_array().ok_or_else(|| wrong(&"it has no failures"))?;
    if failures.is_empty() != passed {
        return Err(wrong(&"its exit code says otherwise"));
    }
    Ok(failures.first().map(|failure| failure.as_str().unwrap_or_default().to_owned()))
}

/// The variable that names the mechanism which is missing, by its index.
const MISSING: &str = "LKAS_VERIFY_MISSING";

/// Builds the program from a copy of the source in which each mechanism can be switched off.
fn build(to: &Path) -> Result<PathBuf, String> {
    let from = root();
    let _ = fs::remove_dir_all(to);
    let read = |path: &Path| fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()));
    for part in ["core", "shm-posix", "zmq-adapter", "lkas", "README.md", "Cargo.lock"] {
        copy(&from.join(part), &to.join(part))?;
    }
    let manifest = read(&from.join("Cargo.toml"))?.replace(", \"verify\", \"benches\"]", "]");
    // What stands in parentheses here needs none everywhere.
    let lints = "[workspace.lints.rust]\n";
    write(&to.join("Cargo.toml"), &manifest.replace(lints, &format!("{lints}unused_parens = \"allow\"\n")))?;
    let switch = "
        /// The mechanism that is missing.
        pub static MISSING: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(usize::MAX);
        /// Whether that mechanism is missing.
        pub fn is_missing(index: usize) -> bool {
            MISSING.load(core::sync::atomic::Ordering::Relaxed) == index
        }\n";
    let core = to.join("core/src/lib.rs");
    write(&core, &(read(&core)? + switch))?;
    let program = to.join("lkas/src/scenario/program.rs");
    let start = "    let mut scenarios = Vec::new();\n";
    let set = format!(
        "    if let Some(index) = std::env::var(\"{MISSING}\").ok().and_then(|index| index.parse().ok()) {{
             lkas_core::MISSING.store(index, core::sync::atomic::Ordering::Relaxed);
         }}\n{start}"
    );
    write(&program, &replaced(&read(&program)?, start, &set, "the start of the program")?)?;
    for Mechanism { without, file, place, instead, .. } in MECHANISMS {
        // That of its first place.
        let index = MECHANISMS.iter().position(|mechanism| mechanism.without == *without).unwrap_or_default();
        let [before, expression, after] = place;
        let switched =
            format!("{before}(if lkas_core::is_missing({index}) {{ {instead} }} else {{ {expression} }}){after}");
        let path = to.join(file);
        write(&path, &replaced(&read(&path)?, &place.concat(), &switched, without)?)?;
    }
    // Beside the whole programs, which are built of the same foreign crates, and under a name of its own.
    let bin = to.join("lkas/src/bin");
    fs::rename(bin.join("lkas.rs"), bin.join("lkas-without.rs")).map_err(|why| format!("{}: {why}", bin.display()))?;
    let manifest = to.join("lkas/Cargo.toml");
    write(
        &manifest,
        &replaced(&read(&manifest)?, "default-run = \"lkas\"\n", "", "the program that runs by default")?,
    )?;
    let arguments = ["build", "--quiet", "-p", "lkas", "--bin", "lkas-without"];
    executable(cargo(None, "", &arguments).current_dir(to), "lkas-without")
}

/// The source with another text in the one place of `from`.
fn replaced(source: &str, from: &str, to: &str, what: &str) -> Result<String, String> {
    match source.matches(from).count() {
        1 => Ok(source.replace(from, to)),
        count => Err(format!("\"{what}\": its place is there {count} times, expected once: {from}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mechanism_has_its_one_place_and_its_scenarios_and_is_in_the_safety_concept() {
        let concept = fs::read_to_string(root().join("docs/safety.md")).unwrap();
        for Mechanism { without, file, place, scenarios, .. } in MECHANISMS {
            let source = fs::read_to_string(root().join(file)).unwrap();
            assert_eq!(source.matches(&place.concat()).count(), 1, "\"{without}\" in {file}");
            assert!(concept.contains(without), "docs/safety.md does not name \"{without}\"");
            let first = MECHANISMS.iter().find(|mechanism| mechanism.without == *without).unwrap();
            assert!(!first.scenarios.is_empty(), "no scenario sees \"{without}\"");
            for scenario in *scenarios {
                let file = root().join("lkas/scenarios").join(scenario).with_extension("toml");
                assert!(file.exists(), "\"{without}\": there is no scenario {scenario}");
            }
        }
    }
}
