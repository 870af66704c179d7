//! The whole system at once: simulation, detection, decision, broker and viewer, each a process of its own.

use crate::Failure;
use crate::log::Output;
use crate::options::SystemOptions;
use crate::report::AllVitals;
use crate::servers::{self, server};
use crate::simulation_program::SimulationOptions;
use crate::status::{Seen, StatusWatch, vehicle_words};
use crate::stop::Stop;
use crate::supervisor::{Plan, Supervisor};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often processes are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

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
    /// Port of the viewer's web page
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
    let mut supervisor = Supervisor::start(plans(system, options)?)?;
    let mut watch = Watch::new(system)?;
    let mut out = Output::start();
    let page = match options.no_viewer {
        true => "without a viewer".to_owned(),
        false => format!("watch it on http://localhost:{}", options.port),
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
    let mut line_due = start + line_every;
    // A demonstration is for somebody who watches it: it ends when its reader is gone, as in `lkas demo | head`.
    while !stop.is_set() && !out.is_closed() && options.duration.is_none_or(|duration| start.elapsed() < duration) {
        supervisor.look()?;
        watch.look();
        if !runs && watch.vitals.simulation.taken > 0 {
            runs = true;
            out.print("  The system runs.\n");
        }
        if Instant::now() >= line_due {
            line_due += line_every;
            let line = watch.line();
            out.print(&if terminal { format!("\r\x1b[K  {line}") } else { format!("  {line}\n") });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn plans(system: &SystemOptions, options: &DemoOptions) -> Result<Vec<Plan>, Failure> {
    let mut plans = vec![server("broker", servers::PAUSE, system, &[])];
    let mut simulation = vec!["--broadcast".into()];
    let SimulationOptions { width, height, fps, ref replay, .. } = options.simulation;
    simulation.extend([format!("--width={width}"), format!("--height={height}"), format!("--fps={fps}")]);
    if let Some(folder) = replay {
        let folder = folder.to_str().ok_or("the folder to be replayed has a name that is not UTF-8")?;
        simulation.push(format!("--replay={folder}"));
    }
    if let Some(file) = &options.simulation.scenario {
        let file = file.to_str().ok_or("the scenario has a name that is not UTF-8")?;
        simulation.push(format!("--scenario={file}"));
    }
    plans.extend(servers::plans(system, true));
    // After those that steer it, so that it ends before them: at the end of a run nobody has to stop for their lack.
    plans.push(server("simulation", servers::PAUSE, system, &simulation));
    if !options.no_viewer {
        plans.push(server("viewer", servers::PAUSE, system, &[format!("--port={}", options.port)]));
    }
    Ok(plans)
}

/// The status of all processes, as it comes.
struct Watch {
    watches: [StatusWatch; 4],
    vitals: AllVitals,
    vehicle: Option<Seen>,
    /// When the first and the latest frame was seen to be there.
    filmed: Option<(Instant, Instant)>,
    recent: (Instant, u64, f64),
}

impl Watch {
    fn new(system: &SystemOptions) -> Result<Self, Failure> {
        let watch = |process| system.status_channel(process).map(StatusWatch::new);
        Ok(Self {
            watches: [watch("simulation")?, watch("detection")?, watch("decision")?, watch("broker")?],
            vitals: AllVitals::default(),
            vehicle: None,
            filmed: None,
            recent: (Instant::now(), 0, 0.0),
        })
    }

    fn look(&mut self) {
        let AllVitals { simulation, detection, decision, broker } = &mut self.vitals;
        let places = [simulation, detection, decision, broker];
        let frames_before = places[0].published;
        let [vehicle, others @ ..] = &mut self.watches;
        self.vehicle = vehicle.look();
        let seen = [self.vehicle.clone()].into_iter().chain(others.iter_mut().map(StatusWatch::look));
        for (seen, vitals) in seen.zip(places) {
            // Its process has not come so far yet, or can't: then the supervisor knows.
            if let Some(seen) = seen {
                *vitals = seen.status.vitals;
            }
        }
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

    fn filmed(&self) -> Duration {
        self.filmed.map_or(Duration::ZERO, |(first, last)| last - first)
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
        match vehicle_words(self.vehicle.as_ref()) {
            Some(words) => format!("{figures}   {words}"),
            None => figures,
        }
    }
}
