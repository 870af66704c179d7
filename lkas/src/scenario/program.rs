//! `lkas scenario`.

use super::parallel::in_parallel;
use super::sweep::{Axis, sweep};
use super::{Drive, Report, Scenario, real_time};
use crate::Failure;
use crate::options::SystemOptions;
use crate::tools;
use clap::Args;
use std::path::PathBuf;

/// Which scenarios run, and how.
#[derive(Args, Clone, Debug)]
pub struct ScenarioOptions {
    /// Scenario files, or folders with files named *.toml
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What noise and dirt are drawn from
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Print the reports as JSON
    #[arg(long)]
    pub json: bool,
    /// With --json: what was really so in each frame (offset, heading, curvature, speed, where the lines show)
    #[arg(long, requires = "json")]
    pub truth: bool,
    /// Use a camera of 320x240 pixels, whatever the files say
    #[arg(long)]
    pub fast: bool,
    /// Drive in real time over the processes of a system of its own: they are killed and suspended as the file says
    #[arg(long, conflicts_with_all = ["truth", "fast", "draw", "sweep"])]
    pub real_time: bool,
    /// Write the frame from the middle of each drive into this folder
    #[arg(long, value_name = "DIR")]
    pub draw: Option<PathBuf>,
    /// Drive one file once for each pair of values of two parameters, or of delay, cruise, fps or noise, and print the map
    #[arg(long, num_args = 2, value_names = ["NAME=FROM..TO", "NAME=FROM..TO"])]
    pub sweep: Option<Vec<Axis>>,
    /// Write the map as SVG
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub svg: Option<PathBuf>,
}

/// Runs the scenarios and prints a line for each. Returns whether all passed.
///
/// # Errors
/// A file is no scenario, or the map can't be written.
pub fn program(system: &SystemOptions, options: &ScenarioOptions) -> Result<bool, Failure> {
    let mut scenarios = Vec::new();
    let paths = files(&options.files)?;
    for path in &paths {
        let mut scenario = Scenario::read(path)?;
        if options.fast {
            scenario.make_small();
        }
        scenarios.push(scenario);
    }
    if let Some(axes) = &options.sweep {
        let ([scenario], [across, up]) = (&scenarios[..], &axes[..]) else {
            return Err(format!("--sweep drives one file, found {}; name one", scenarios.len()).into());
        };
        let map = sweep(scenario, options.seed, across, up)?;
        tools::say(map.to_string().trim_end())?;
        if let Some(path) = &options.svg {
            std::fs::write(path, map.svg()).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        return Ok(map.is_safe());
    }
    let mut said = Ok(());
    let mut print = |report: &Report| {
        if !options.json && said.is_ok() {
            said = tools::say(report);
        }
    };
    let reports = if options.real_time {
        let mut reports = Vec::new();
        for (path, scenario) in paths.iter().zip(&scenarios) {
            reports.push(real_time::drive(system, path, scenario, options.seed)?);
            reports.last().into_iter().for_each(&mut print);
        }
        reports
    } else {
        run_all(&scenarios, options, print)?
    };
    said?;
    if options.json {
        tools::say(serde_json::to_string_pretty(&reports)?)?;
    } else {
        let failed = reports.iter().filter(|report| !report.passed()).count();
        tools::say(format_args!("{} scenarios, {failed} failed", reports.len()))?;
    }
    Ok(reports.iter().all(Report::passed))
}

/// The files themselves, and those in folders in the order of their names.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for path in given {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let failed = |why| format!("{}: {why}", path.display());
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let paths =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let is_scenario = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
        let mut inside: Vec<PathBuf> = paths.into_iter().filter(is_scenario).collect();
        inside.sort_unstable();
        if inside.is_empty() {
            return Err(format!("{}: no scenario in it, expected files named *.toml", path.display()).into());
        }
        all.extend(inside);
    }
    Ok(all)
}

/// Runs scenarios on all processors and hands each report to `done`, in the order of the scenarios.
fn run_all(
    scenarios: &[Scenario],
    options: &ScenarioOptions,
    mut done: impl FnMut(&Report),
) -> Result<Vec<Report>, Failure> {
    if let Some(folder) = &options.draw {
        std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    }
    let mut reports: Vec<Option<Result<Report, Failure>>> = scenarios.iter().map(|_| None).collect();
    let mut finished = Vec::new();
    in_parallel(
        scenarios.len(),
        |index| drive(&scenarios[index], options),
        |index, report| {
            reports[index] = Some(report);
            while let Some(Some(Ok(report))) = reports.get(finished.len()) {
                done(report);
                finished.push(());
            }
        },
    );
    reports.into_iter().flatten().collect()
}

/// Drives a scenario, and writes the frame from its middle where that is asked for.
fn drive(scenario: &Scenario, options: &ScenarioOptions) -> Result<Report, Failure> {
    let mut drive = Drive::new(scenario, options.seed)?;
    if options.truth {
        drive.keep_truths();
    }
    let middle = (0.5 * scenario.duration_s * scenario.fps) as u64;
    let mut frame = 0;
    while drive.frame() {
        frame += 1;
        if let Some(folder) = options.draw.as_ref().filter(|_| frame == middle) {
            let shape = drive.world().shape();
            let path = folder.join(&scenario.name).with_extension("png");
            image::save_buffer(&path, drive.pixels(), shape.width(), shape.height(), image::ColorType::Rgb8)
                .map_err(|why| format!("{}: {why}", path.display()))?;
        }
    }
    Ok(drive.finish())
}
