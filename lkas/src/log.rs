//! What a process says to people: each record is one write, made by a thread that nobody waits for.
//!
//! Whoever reads the records may be slow, suspended or gone. What it does not take is dropped, counted and said as soon as
//! it reads again.

use core::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// Records that wait for a reader; more are dropped, the newest first.
const RECORDS: usize = 1024;

/// How long the last words of a process may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The target of what has to be known in order to use a program, and is said however little else is.
pub(crate) const NEEDED: &str = "needed";

/// How much is said, and in which form.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Say more: what is of interest while looking for a fault
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Say less: warnings and errors, and the viewer's token
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How records are written to standard error
    #[arg(long, value_enum, default_value_t, global = true, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// A form of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people: time, level, process, message
    #[default]
    Text,
    /// A JSON object in a line: the keys time, level, process and message
    Json,
}

impl LogOptions {
    fn level(self) -> Level {
        match (self.verbose, self.quiet) {
            (true, _) => Level::DEBUG,
            (_, true) => Level::WARN,
            _ => Level::INFO,
        }
    }

    /// These options as arguments for a child process.
    #[must_use]
    pub fn arguments(self) -> Vec<String> {
        let flags = [("--verbose", self.verbose), ("--quiet", self.quiet)];
        let json = ("--log-format=json", self.log_format == LogFormat::Json);
        flags.into_iter().chain([json]).filter(|(_, set)| *set).map(|(flag, _)| flag.to_owned()).collect()
    }
}

/// Starts to write what this process says. Dropping what is returned ends that, half a second after the last words at
/// the latest.
#[must_use = "nothing is written any more once it is dropped"]
pub fn start(process: &'static str, options: LogOptions) -> LastWords {
    let line = Line { process, format: options.log_format };
    let dropped = Arc::new(OnceLock::new());
    let (writer, guard) = non_blocking("log", Records { line, dropped: dropped.clone(), said: 0 });
    // Empty until now, so it can be set.
    let _ = dropped.set(writer.error_counter());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).event_format(line);
    let levels = Targets::new().with_default(options.level()).with_target(NEEDED, Level::INFO);
    // A process has one name and one log: in a test that starts several programs in one process, the first one's.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines).with(levels));
    LastWords(Some(guard))
}

fn non_blocking<W: Write + Send + 'static>(thread: &str, writer: W) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(RECORDS).thread_name(thread).finish(writer)
}

/// What was written last gets half a second to be read.
#[derive(Debug)]
pub struct LastWords(Option<WorkerGuard>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let guard = self.0.take();
        let (done, wait) = mpsc::channel();
        // The guard waits for longer than the end of a process may take, and then says so where nobody reads.
        std::thread::spawn(move || {
            drop(guard);
            done.send(())
        });
        let _ = wait.recv_timeout(LAST_WORDS);
    }
}

#[derive(Clone, Copy, Debug)]
struct Line {
    process: &'static str,
    format: LogFormat,
}

impl Line {
    fn write(self, out: &mut impl fmt::Write, level: Level, message: &str) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        match self.format {
            LogFormat::Text => {
                // On a terminal a line that is written again and again may stand there.
                let clear = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
                // What others sent must not look like a record of its own.
                let message = message.replace(|c: char| c.is_control(), " ");
                writeln!(out, "{clear}{time} {level:>5} {}: {message}", self.process)
            }
            LogFormat::Json => {
                let (level, process) = (level.as_str().to_lowercase(), self.process);
                let record = serde_json::json!({"time": time, "level": level, "process": process, "message": message});
                writeln!(out, "{record}")
            }
        }
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut message = Message::default();
        event.record(&mut message);
        self.write(&mut out, *event.metadata().level(), &message.0)
    }
}

/// The words of an event; libraries add fields, which are written after them.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        // A string takes what is written.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// Standard error, on the thread that may wait for its reader.
struct Records {
    line: Line,
    dropped: Arc<OnceLock<ErrorCounter>>,
    said: usize,
}

impl Write for Records {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        io::stderr().write(record)
    }

    fn write_all(&mut self, record: &[u8]) -> io::Result<()> {
        io::stderr().write_all(record)?;
        let dropped = self.dropped.get().map_or(0, ErrorCounter::dropped_lines);
        if dropped > self.said {
            let mut line = String::new();
            let message = format!("{} records were dropped: nobody read them", dropped - self.said);
            // A string takes what is written.
            let _ = self.line.write(&mut line, Level::WARN, &message);
            io::stderr().write_all(line.as_bytes())?;
            self.said = dropped;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard output of a program that must not wait for whoever reads it.
#[derive(Debug)]
pub struct Output {
    writer: NonBlocking,
    closed: Arc<AtomicBool>,
    _last: LastWords,
}

impl Output {
    /// Standard output from now on.
    #[must_use]
    pub fn start() -> Self {
        let closed = Arc::new(AtomicBool::new(false));
        let (writer, guard) = non_blocking("output", Stdout { closed: closed.clone() });
        Self { writer, closed, _last: LastWords(Some(guard)) }
    }

    /// Writes `text` as soon as its reader takes it, or drops it.
    pub fn print(&mut self, text: &str) {
        // It never fails: what has no room is dropped.
        let _ = self.writer.write_all(text.as_bytes());
    }

    /// Whether its reader is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // ORDERING: Relaxed, a flag that carries no data.
        self.closed.load(Ordering::Relaxed)
    }
}

struct Stdout {
    closed: Arc<AtomicBool>,
}

impl Stdout {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|why| why.kind() == io::ErrorKind::BrokenPipe) {
            // ORDERING: Relaxed, a flag that carries no data.
            self.closed.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Write for Stdout {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let result = io::stdout().write(text);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = io::stdout().flush();
        self.note(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, message: &str) -> String {
        let mut text = String::new();
        Line { process: "decision", format }.write(&mut text, Level::WARN, message).unwrap();
        text
    }

    #[test]
    fn a_record_is_one_line_with_time_level_and_process() {
        let text = line(LogFormat::Text, "two\nlines\u{1b}[2J");
        assert!(text.ends_with("Z  WARN decision: two lines [2J\n"), "{text:?}");
        let json: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, "two\nlines")).unwrap();
        assert_eq!((&json["level"], &json["process"]), (&"warn".into(), &"decision".into()));
        assert_eq!(json["message"], "two\nlines");
        assert!(json["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{json}");
    }

    #[test]
    fn children_say_as_much_as_their_parent() {
        let options = LogOptions { quiet: true, log_format: LogFormat::Json, ..LogOptions::default() };
        assert_eq!(options.arguments(), ["--quiet", "--log-format=json"]);
        assert_eq!((options.level(), LogOptions::default().level()), (Level::WARN, Level::INFO));
    }
}
