//! The program `lkas-mirror`; see `lkas-mirror --help`.

mod section;

use clap::{Args, Parser, Subcommand};
use lkas_mirror::{Direction, Export, Failure, Mirror, MirrorStatus, Mirrored, Network};
use lkas_shm::{Channel, ChannelName};
use section::Section;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Channels of this machine for others, and those of others for this one.
#[derive(Debug, Parser)]
#[command(name = "lkas-mirror", version, args_conflicts_with_subcommands = true)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    mirror: MirrorOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a mirror of this machine does: offset of the clocks, rate, ages, drops, bytes
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        names: Names,
    },
}

#[derive(Args, Debug)]
struct Names {
    /// Prefix of all shared-memory names on this machine
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Channel of the mirror's own status [default: mirror_status]
    #[arg(long, value_name = "NAME")]
    status: Option<String>,
}

#[derive(Args, Debug)]
struct MirrorOptions {
    /// Take what is not said here from the section [mirror] of this file, usually lkas.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A channel for others; images go as JPEG with NAME:jpeg or NAME:jpeg=QUALITY (1 to 100)
    #[arg(long, value_name = "NAME[:jpeg[=QUALITY]]")]
    export: Vec<Export>,
    /// A channel of others
    #[arg(long, value_name = "NAME")]
    import: Vec<String>,
    /// Where to listen for other mirrors: tcp/127.0.0.1:7447, or an address that others reach
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<String>,
    /// Where to connect: a mirror that listens, or a Zenoh router
    #[arg(long, value_name = "ENDPOINT")]
    connect: Vec<String>,
    /// Zenoh's own configuration (JSON5), for certificates, access control and the rest
    #[arg(long, value_name = "FILE")]
    zenoh: Option<PathBuf>,
    /// The system's name on the network: mirrors of another system don't meet [default: lkas]
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    #[command(flatten)]
    names: Names,
}

fn main() -> ExitCode {
    let line = Line::parse();
    let _last_words = log();
    let done = match line.command {
        Some(Command::Status { json, names }) => status(&names, json),
        None => run(line.mirror),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Lines to standard error, written by a thread that nobody waits for. Of Zenoh only its errors are of interest: that a
/// connection is away, the mirror says itself.
fn log() -> tracing_appender::non_blocking::WorkerGuard {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false).with_ansi(false);
    let level = LevelFilter::INFO;
    let targets = Targets::new().with_default(LevelFilter::ERROR).with_target("lkas_mirror", level);
    // It is the first one of this process.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines).with(targets));
    guard
}

fn run(options: MirrorOptions) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // In this order: the first signal finds the flag not set yet.
        signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    options.mirror()?.run(&stop)
}

impl MirrorOptions {
    /// The mirror that is asked for: by the command line, then by the file.
    fn mirror(self) -> Result<Mirror, Failure> {
        let file = self.config.as_deref().map(Section::read).transpose()?.unwrap_or_default();
        let default = Mirror::default();
        let or = |said: Vec<String>, file: Vec<String>| if said.is_empty() { file } else { said };
        let exports = match self.export.is_empty() {
            false => self.export,
            true => file.export.iter().map(|export| export.parse()).collect::<Result<_, String>>()?,
        };
        // Where one is said on the command line, the other end of the file is not meant.
        let (listen, connect) = match self.listen.is_empty() && self.connect.is_empty() {
            true => (file.listen, file.connect),
            false => (self.listen, self.connect),
        };
        Ok(Mirror {
            exports,
            imports: or(self.import, file.import),
            network: Network { listen, connect, zenoh: self.zenoh.or(file.zenoh) },
            namespace: self.names.namespace.or(file.namespace).unwrap_or(default.namespace),
            system: self.system.or(file.system).unwrap_or(default.system),
            status: self.names.status.or(file.status).unwrap_or(default.status),
        })
    }
}

fn status(names: &Names, json: bool) -> Result<(), Failure> {
    let Mirror { namespace, status, .. } = Mirror::default();
    let or = |said: &Option<String>, default| said.clone().unwrap_or(default);
    let name = ChannelName::new(&or(&names.namespace, namespace), &or(&names.status, status))?;
    let mut reader = Channel::<MirrorStatus>::open(&name, Duration::ZERO)?;
    let has_writer = reader.has_writer();
    let status = reader.latest().ok_or("the mirror has not said anything yet")?;
    let channels: Vec<&Mirrored> = status.channels.iter().filter(|channel| !channel.name.is_empty()).collect();
    let text = if json { as_json(&channels, has_writer) } else { table(&channels, has_writer) };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // Nobody reads any more.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn direction(channel: &Mirrored) -> &'static str {
    match channel.direction.get() {
        Ok(Direction::Exported) => "exported",
        Ok(Direction::Imported) => "imported",
        Err(_) => "?",
    }
}

fn as_json(channels: &[&Mirrored], has_writer: bool) -> String {
    let rows = channels.iter().map(|channel| {
        serde_json::json!({
            "channel": channel.name.as_str(),
            "direction": direction(channel),
            "trouble": channel.trouble.as_str(),
            "peer": channel.peer.as_str(),
            "importers": channel.importers,
            "offset_s": channel.offset_s,
            "uncertainty_s": channel.uncertainty_s,
            "rate_hz": channel.rate_hz,
            "age_p50_s": channel.age_p50_s,
            "age_p99_s": channel.age_p99_s,
            "values": channel.values,
            "dropped": channel.dropped,
            "refused": channel.refused,
            "bytes": channel.bytes,
        })
    });
    serde_json::json!({ "running": has_writer, "channels": rows.collect::<Vec<_>>() }).to_string() + "\n"
}

fn table(channels: &[&Mirrored], has_writer: bool) -> String {
    const HEADINGS: [&str; 10] =
        ["CHANNEL", "WAY", "STATE", "RATE", "CLOCK", "AGE p50", "AGE p99", "DROPPED", "REFUSED", "BYTES"];
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    let cells = channels.iter().map(|channel| {
        let is_import = channel.direction.get() == Ok(Direction::Imported);
        let imported = |text: String| if is_import { text } else { "-".to_owned() };
        let clock = match channel.offset_s {
            offset if offset.is_finite() => format!("{offset:+.6} s ± {}", ms(channel.uncertainty_s)),
            _ => "not known".to_owned(),
        };
        let works = || match is_import {
            true => format!("from {}", channel.peer.as_str()),
            false => format!("to {}", channel.importers),
        };
        let trouble = channel.trouble.as_str();
        [
            channel.name.as_str().to_owned(),
            direction(channel).to_owned(),
            if trouble.is_empty() { works() } else { trouble.to_owned() },
            format!("{:.1}/s", channel.rate_hz),
            imported(clock),
            imported(ms(channel.age_p50_s)),
            imported(ms(channel.age_p99_s)),
            channel.dropped.to_string(),
            channel.refused.to_string(),
            channel.bytes.to_string(),
        ]
    });
    let lines: Vec<[String; 10]> = core::iter::once(HEADINGS.map(str::to_owned)).chain(cells).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        text += padded.join("  ").trim_end();
        text.push('\n');
    }
    if !has_writer {
        text += "the mirror is not running: these are its last words\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(name: &str, text: &str, arguments: &str) -> Result<Mirror, String> {
        let path = std::env::temp_dir().join(format!("lkas-mirror-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let config = path.display().to_string();
        let line = ["lkas-mirror", "--config", &config].into_iter().chain(arguments.split_whitespace());
        let mirror = Line::try_parse_from(line).unwrap().mirror.mirror();
        std::fs::remove_file(&path).unwrap();
        mirror.map_err(|why| why.to_string().replace(&config, "lkas.toml"))
    }

    #[test]
    fn the_command_line_goes_over_the_section_of_a_file() {
        let text = "[system]\nnamespace = \"car\"\nbroker-port = 6000\n\n[mirror]\nlisten = [\"tcp/127.0.0.1:7447\"]\n\
                    export = [\"camera_feed:jpeg=40\", \"vehicle_motion\"]\nimport = [\"vehicle_control\"]\n";
        let found = mirror("whole", text, "").unwrap();
        assert_eq!(found.exports, ["camera_feed:jpeg=40".parse().unwrap(), "vehicle_motion".parse().unwrap()]);
        assert_eq!((&found.imports[..], &*found.namespace), (&["vehicle_control".to_owned()][..], "car"));
        assert_eq!((&*found.system, &*found.status), ("lkas", "mirror_status"));
        assert_eq!(found.network.listen, ["tcp/127.0.0.1:7447"]);
        let found = mirror("under", text, "--connect tcp/127.0.0.1:1 --import lanes --namespace van").unwrap();
        assert_eq!((found.network.connect.len(), found.network.listen.len()), (1, 0));
        assert_eq!((&found.imports[..], &*found.namespace), (&["lanes".to_owned()][..], "van"));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_named_with_its_line() {
        let error = mirror("unknown", "[mirror]\nlistn = []\n", "").unwrap_err();
        assert!(error.starts_with("lkas.toml: ") && error.contains("line 2") && error.contains("`listn`"), "{error}");
        assert_eq!(mirror("none", "[system]\n", "").unwrap_err(), "lkas.toml: there is no section [mirror]");
        let error = mirror("export", "[mirror]\nexport = [\"a:png\"]\n", "").unwrap_err();
        assert!(error.contains("expected jpeg"), "{error}");
    }
}
