//! The whole system at once: simulation, detection, decision, broker and viewer, each a process of its own.

use crate::Failure;
use crate::log::Output;
use crate::notify::Notify;
use crate::options::{PROCESSES, SystemOptions};
use crate::report::{A_RATE_NEEDS, AllVitals};
use crate::servers::{self, server};
use crate::simulation_program::SimulationOptions;
use crate::status::{Seen, State, StatusWatch, Vitals, vehicle_words};
use crate::stop::Stop;
use crate::supervisor::{Plan, Supervisor};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often processes are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What can't be there twice. Viewers can, each on a port of its own.
const SYSTEM: [&str; 4] = {
    let [simulation, detection, decision, broker, _viewer] = PROCESSES;
    [simulation, detection, decision, broker]
};

/// How often the live line is written: to a terminal, and to anything else.
const LINE_EVERY: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// How the demonstration runs.
#[derive(Args, Clone, Debug)]
pub struct DemoOptions {
    /// End after so many seconds instead of on Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Write the summary as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Port of the viewer's web page; the second instance takes the next one, and so on
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub port: u16,
    /// Run without the viewer
    #[arg(long)]
    pub no_viewer: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub simulation: SimulationOptions,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds).map_err(|why| why.to_string()),
        _ => Err("expected a number of seconds above 0".into()),
    }
}

/// Runs until `stop` is set or the duration is over.
///
/// # Errors
/// A process can't run, or the report can't be written.
pub fn run(system: &SystemOptions, options: &DemoOptions, stop: &Stop) -> Result<(), Failure> {
    servers::begin(system, &SYSTEM)?;
    let mut watch = Watch::new(system)?;
    let mut supervisor = Supervisor::start(plans(system, options)?)?;
    let mut out = Output::start();
    let page = match options.no_viewer {
        true => "without a viewer".to_owned(),
        false => format!("watch it on http://localhost:{}", system.page_port(options.port)),
    };
    out.print(&format!("\n  The system starts; {page}\n  Ctrl-C ends it.\n\n"));
    let result = watch_over(&mut supervisor, &mut watch, options, &mut out, stop);
    supervisor.stop();
    // The last words of the processes that have just ended.
    watch.look();
    let filmed = watch.filmed();
    let report = watch.vitals.report(system, filmed, supervisor.restarts());
    result?;
    match watch.filmed {
        Some(_) if filmed < A_RATE_NEEDS => out.print(&format!("\n\n  In less than a second:\n{report}\n\n")),
        Some(_) => out.print(&format!("\n\n  In {:.1} s:\n{report}\n\n", filmed.as_secs_f64())),
        None => out.print("\n\n  No frame was filmed: there is nothing to report.\n\n"),
    }
    if let Some(path) = &options.report {
        report.write(path)?;
        out.print(&format!("  The report is in {}.\n", path.display()));
    }
    Ok(())
}

fn watch_over(
    supervisor: &mut Supervisor,
    watch: &mut Watch,
    options: &DemoOptions,
    out: &mut Output,
    stop: &Stop,
) -> Result<(), Failure> {
    let terminal = std::io::stdout().is_terminal();
    let line_every = LINE_EVERY[usize::from(!terminal)];
    let start = Instant::now();
    let mut runs = false;
    let mut notify = Notify::from_environment(false);
    let mut line_due = start + line_every;
    // A demonstration is for somebody who watches it: it ends when its reader is gone, as in `lkas demo | head`.
    while !stop.is_set() && !out.is_closed() && options.duration.is_none_or(|duration| start.elapsed() < duration) {
        supervisor.look()?;
        watch.look();
        if !runs && watch.runs(supervisor) {
            runs = true;
            out.print("  The system runs.\n");
        }
        let and_missing = |words: String| [words].into_iter().chain(supervisor.missing()).collect::<Vec<_>>();
        notify.tell(runs, || and_missing(watch.words().unwrap_or_else(|| "the vehicle drives".into())).join("; "));
        if Instant::now() >= line_due {
            line_due += line_every;
            let line = and_missing(watch.line()).join("   ");
            out.print(&if terminal { format!("\r\x1b[K  {line}") } else { format!("  {line}\n") });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    if out.is_closed() {
        tracing::warn!("nobody reads what this program prints any more: it ends");
    }
    Ok(())
}

fn plans(system: &SystemOptions, options: &DemoOptions) -> Result<Vec<Plan>, Failure> {
    let mut plans = vec![server("broker", servers::PAUSE, system, &[])];
    let mut simulation = vec!["--broadcast".into()];
    // It talks to the broker in any case, and is judged in none.
    let SimulationOptions { broadcast: _, width, height, fps, ref replay, ref scenario, seed, judge: _ } =
        options.simulation;
    let numbers = [format!("--width={width}"), format!("--height={height}"), format!("--fps={fps}")];
    simulation.extend(numbers.into_iter().chain([format!("--seed={seed}")]));
    if let Some(folder) = replay {
        let folder = folder.to_str().ok_or("the folder to be replayed has a name that is not UTF-8")?;
        simulation.push(format!("--replay={folder}"));
    }
    if let Some(file) = scenario {
        let file = file.to_str().ok_or("the scenario has a name that is not UTF-8")?;
        simulation.push(format!("--scenario={file}"));
    }
    plans.extend(servers::plans(system, true));
    // After those that steer it, so that it ends before them: at the end of a run nobody has to stop for their lack.
    plans.push(server("simulation", servers::PAUSE, system, &simulation));
    if !options.no_viewer {
        plans.push(server("viewer", servers::PAUSE, system, &[format!("--port={}", system.page_port(options.port))]));
    }
    Ok(plans)
}

/// The status of all processes, as it comes.
struct Watch {
    watches: [StatusWatch; 4],
    /// What each said last.
    seen: [Option<Seen>; 4],
    vitals: AllVitals,
    /// What the vehicle of an earlier run had counted: its status outlives it.
    before: Vitals,
    /// When the first and the latest frame was seen to be there.
    filmed: Option<(Instant, Instant)>,
    recent: (Instant, u64, f64),
}

impl Watch {
    /// To be made before the processes are started.
    fn new(system: &SystemOptions) -> Result<Self, Failure> {
        let watch = |process| system.status_channel(process).map(StatusWatch::new);
        let [simulation, detection, decision, broker] = SYSTEM;
        let mut watches = [watch(simulation)?, watch(detection)?, watch(decision)?, watch(broker)?];
        let before = watches[0].look().map(|seen| seen.status.vitals).unwrap_or_default();
        Ok(Self {
            watches,
            seen: [const { None }; 4],
            vitals: AllVitals::default(),
            before,
            filmed: None,
            recent: (Instant::now(), 0, 0.0),
        })
    }

    fn look(&mut self) {
        let frames_before = self.vitals.simulation.published;
        for (seen, watch) in self.seen.iter_mut().zip(&mut self.watches) {
            // Its process has not come so far yet, or can't: then the supervisor knows.
            *seen = watch.look();
        }
        let AllVitals { simulation, detection, decision, broker } = &mut self.vitals;
        for (seen, vitals) in self.seen.iter().zip([simulation, detection, decision, broker]) {
            *vitals = seen.as_ref().map_or(*vitals, |seen| seen.status.vitals);
        }
        self.vitals.simulation = since(self.before, self.vitals.simulation);
        let now = Instant::now();
        let frames = self.vitals.simulation.published;
        if frames > frames_before {
            let (first, _) = self.filmed.unwrap_or((now, now));
            self.filmed = Some((first, now));
        }
        let (since, frames_then, _) = self.recent;
        if now - since >= Duration::from_secs(1) {
            let rate = frames.saturating_sub(frames_then) as f64 / (now - since).as_secs_f64();
            self.recent = (now, frames, rate);
        }
    }

    /// Whether this system is seen to run: its vehicle, detection and decision are there, say so, and do their work.
    fn runs(&self, supervisor: &Supervisor) -> bool {
        let [vehicle, detection, decision, _] = &self.seen;
        let is_own = |seen: &&Seen| supervisor.runs(seen.status.process) && does_its_work(seen);
        [vehicle, detection, decision].into_iter().flatten().filter(is_own).count() == 3
    }

    fn filmed(&self) -> Duration {
        self.filmed.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// What a person must know of the vehicle.
    fn words(&self) -> Option<String> {
        let [vehicle, _, decision, _] = &self.seen;
        vehicle_words(vehicle.as_ref(), decision.as_ref())
    }

    /// The live line.
    fn line(&self) -> String {
        let AllVitals { simulation, detection, .. } = &self.vitals;
        let (_, _, fps) = self.recent;
        let both = detection.both_lanes as f64 / detection.published.max(1) as f64;
        let figures = format!(
            "{fps:4.1} frames/s   camera to control {:4.1} ms   offset {:+.2} m   {:3.0} km/h   both lanes {:3.0} %",
            simulation.latency.p50_ms,
            simulation.offset_m,
            simulation.speed_kmh,
            both * 100.0
        );
        match self.words() {
            Some(words) => format!("{figures}   {words}"),
            None => figures,
        }
    }
}

fn does_its_work(seen: &Seen) -> bool {
    seen.is_current() && seen.status.vitals.published > 0 && State::from_code(seen.status.state) == Some(State::Running)
}

/// What was counted since `before`.
fn since(before: Vitals, now: Vitals) -> Vitals {
    Vitals {
        published: now.published.saturating_sub(before.published),
        taken: now.taken.saturating_sub(before.taken),
        missed: now.missed.saturating_sub(before.missed),
        torn: now.torn.saturating_sub(before.torn),
        ..now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;
    use clap::Parser;

    #[derive(Parser)]
    struct Demo {
        #[command(flatten)]
        demo: DemoOptions,
        #[command(flatten)]
        system: SystemOptions,
    }

    #[derive(Parser)]
    struct Simulation {
        #[command(flatten)]
        simulation: SimulationOptions,
        #[command(flatten)]
        _system: SystemOptions,
    }

    #[test]
    fn the_simulation_is_told_all_that_the_demonstration_was_told() {
        let options = ["--broadcast", "--width=640", "--height=480", "--fps=20", "--seed=7"];
        for source in ["--scenario=a.toml", "--replay=frames"] {
            let line = ["demo"].into_iter().chain(options).chain([source]);
            let Demo { demo, system } = Demo::parse_from(line);
            let plans = plans(&system, &demo).unwrap();
            let plan = plans.iter().find(|plan| plan.name == "simulation").unwrap();
            let child = Simulation::parse_from(&plan.arguments).simulation;
            assert_eq!(format!("{child:?}"), format!("{:?}", demo.simulation));
        }
    }

    #[test]
    fn a_process_that_was_not_seen_at_work_does_not_run() {
        let vitals = Vitals { published: 100, ..Vitals::default() };
        let seen = |state: State, age_ms, is_alive| {
            let status = Status { state: state.code(), vitals, ..Status::default() };
            Seen { status, age: Some(Duration::from_millis(age_ms)), is_alive }
        };
        assert!(does_its_work(&seen(State::Running, 10, true)));
        assert!(!does_its_work(&seen(State::Running, 10, false)), "an earlier run's");
        assert!(!does_its_work(&seen(State::Running, 5000, true)), "suspended");
        assert!(!does_its_work(&seen(State::SafeStop, 10, true)));
    }
}
