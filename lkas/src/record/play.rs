//! `lkas play`: the values of a recording back into channels, for programs to work on as if live.

use super::content::Content;
use super::reading::{Ending, Recording, Source, Value};
use super::writing::Encoding;
use super::{is_status, lockstep};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use clap::Args;
use lkas_messages::{Image, ImageShape};
use lkas_shm::{AnyChannel, ChannelName, CreateError, ImageChannel, Options, Writer, clock};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// What `lkas play` plays.
#[derive(Args, Clone, Debug)]
pub struct PlayOptions {
    /// The recording
    file: PathBuf,
    /// How fast: 2 is twice as fast as it was
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = rate, conflicts_with = "lockstep")]
    rate: f64,
    /// Begin again at the end, until the program shall end
    #[arg(long = "loop", conflicts_with = "lockstep")]
    repeat: bool,
    /// Begin so many seconds after the recording's beginning
    #[arg(long, default_value_t = 0.0, value_name = "S", value_parser = from)]
    from: f64,
    /// The channels to play, with commas between them; otherwise all but what processes say of themselves, in lockstep the
    /// camera's alone
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',')]
    topics: Vec<String>,
    /// Publish the next frame when detection has answered the last, with the times that were recorded
    #[arg(long)]
    lockstep: bool,
    /// What detection answers in lockstep, as a recording
    #[arg(long, short, value_name = "FILE", requires = "lockstep")]
    output: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=100.0).contains(&rate) => Ok(rate),
        _ => Err("expected a factor, 0.01 to 100".into()),
    }
}

fn from(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(from) if (0.0..=1e9).contains(&from) => Ok(from),
        _ => Err("expected a number of seconds, 0 or more".into()),
    }
}

/// How long a rest goes on before it looks whether it shall end.
const SLICE: Duration = Duration::from_millis(50);

/// Plays until the recording or the program shall end.
///
/// # Errors
/// It is no recording, a channel has a writer already or can't be created, there is nothing to play, or in lockstep
/// detection does not answer.
pub fn play(system: &SystemOptions, options: &PlayOptions, stop: &Stop) -> Result<(), Failure> {
    if options.lockstep {
        let topics = if options.topics.is_empty() { vec![system.camera.clone()] } else { options.topics.clone() };
        return lockstep::play(system, player(system, options, topics), &options.output, stop);
    }
    let mut player = player(system, options, options.topics.clone());
    loop {
        let mut recording = Recording::open(&options.file)?;
        player.round(&mut recording, options.rate, stop)?;
        if player.played == 0 && !stop.is_set() {
            return Err(player.nothing(&recording));
        }
        if !options.repeat || stop.is_set() {
            player.end(&recording);
            return Ok(());
        }
    }
}

fn player<'a>(system: &'a SystemOptions, options: &'a PlayOptions, topics: Vec<String>) -> Player<'a> {
    Player { system, options, topics, channels: HashMap::new(), played: 0, not_whole: 0 }
}

/// A channel that is played into.
enum Outlet {
    Image(Writer<Image>, ImageShape, Encoding),
    Any(Writer<[u8]>, Content),
}

/// Plays values into channels, which it creates when they first have one.
pub(super) struct Player<'a> {
    system: &'a SystemOptions,
    options: &'a PlayOptions,
    topics: Vec<String>,
    channels: HashMap<String, Outlet>,
    pub(super) played: u64,
    not_whole: u64,
}

impl Player<'_> {
    pub(super) fn recording(&self) -> Result<Recording, Failure> {
        Recording::open(&self.options.file)
    }

    /// Plays all of it once, in the times between which it was recorded.
    fn round(&mut self, recording: &mut Recording, rate: f64, stop: &Stop) -> Result<(), Failure> {
        // When the recording began, by its own time and by this machine's clock.
        let (mut first, mut start) = (None, None);
        while let Some(value) = recording.next().filter(|_| !stop.is_set()) {
            let first = *first.get_or_insert(value.time);
            if !self.is_wanted(&value, first) {
                continue;
            }
            // Before the clock of the recording starts: it takes its time.
            self.open(&value.source)?;
            let after = (value.time.saturating_sub(first) as f64 / rate) as u64;
            let due = *start.get_or_insert_with(|| clock::now().saturating_sub(after)) + after;
            while !stop.is_set() && clock::now() < due {
                std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now())).min(SLICE));
            }
            // At the rate 1 the same for all values.
            let shift = i128::from(due) - i128::from(value.time);
            let published = u64::try_from(i128::from(value.published) + shift).unwrap_or(0);
            // Captures were stamped by the recorded clock, not since 1970.
            let seconds = (shift + recording.clock_offset()) as f64 * 1e-9;
            self.publish(&value, published, seconds)?;
        }
        Ok(())
    }

    /// Whether the value is one of those to be played.
    pub(super) fn is_wanted(&self, value: &Value, first: u64) -> bool {
        let topic = &value.source.topic;
        let wanted = match self.topics.is_empty() {
            true => !is_status(topic),
            false => self.topics.contains(topic),
        };
        let late_enough = value.time.saturating_sub(first) as f64 >= self.options.from * 1e9;
        wanted && late_enough && value.source.channel.is_some()
    }

    /// Creates the channel where there is none yet. A channel of another shape takes its place.
    pub(super) fn open(&mut self, source: &Source) -> Result<(), Failure> {
        let Some((described, encoding)) = &source.channel else { return Ok(()) };
        let description = &described.description;
        let content = Content::of(description);
        let fits = |outlet: &Outlet| match (outlet, content) {
            (Outlet::Image(_, shape, how), Content::Image(wanted)) => *shape == wanted && how == encoding,
            (Outlet::Any(writer, _), _) => writer.channel_type() == description.channel_type(),
            _ => false,
        };
        if self.channels.get(&source.topic).is_some_and(fits) {
            return Ok(());
        }
        self.channels.remove(&source.topic);
        let name = ChannelName::new(&self.system.namespace, &source.topic)?;
        let of_system = [&self.system.camera, &self.system.detections, &self.system.controls].contains(&&source.topic);
        let mut options = Options::new().readers(description.layout().readers());
        if of_system {
            // With the places that this system's programs ask for.
            options = self.system.channel(crate::options::SERVERS);
        }
        options.contract = described.contract;
        let outlet = match content {
            Content::Image(shape) => {
                ImageChannel::create(&name, shape, options).map(|writer| Outlet::Image(writer, shape, *encoding))
            }
            content => AnyChannel::create(&name, description.channel_type().clone(), options)
                .map(|writer| Outlet::Any(writer, content)),
        };
        let outlet = outlet.map_err(|why| match why {
            CreateError::HasWriter { .. } => Failure::from(format!(
                "{why}; end it, play other channels with --topics, or play into another --namespace"
            )),
            why => why.into(),
        })?;
        self.channels.insert(source.topic.clone(), outlet);
        Ok(())
    }

    /// How many values were published on the channel, by whomever.
    pub(super) fn published(&self, topic: &str) -> u64 {
        match self.channels.get(topic) {
            Some(Outlet::Image(writer, ..)) => writer.sequence(),
            Some(Outlet::Any(writer, _)) => writer.sequence(),
            None => 0,
        }
    }

    /// Publishes a value as if at `published`, in nanoseconds of the channels' clock, with the times in it moved by
    /// `seconds`. The frame's number where it is a frame; a frame that is not whole is left out.
    pub(super) fn publish(&mut self, value: &Value, published: u64, seconds: f64) -> Result<Option<u64>, Failure> {
        self.open(&value.source)?;
        match self.channels.get_mut(&value.source.topic) {
            Some(Outlet::Image(writer, shape, encoding)) => {
                let Some(frame) = value.frame(*shape, *encoding) else {
                    self.not_whole += 1;
                    return Ok(None);
                };
                let view = lkas_messages::ImageView::new(*shape, &frame.pixels).ok_or("a frame of another size")?;
                let mut loan = writer.loan();
                if !loan.copy_from(&view, frame.id, frame.timestamp + seconds) {
                    return Err("the channel is too small for its own shape".into());
                }
                loan.publish_at(published);
                self.played += 1;
                Ok(Some(frame.id))
            }
            Some(Outlet::Any(writer, content)) => {
                let mut loan = writer.loan();
                if loan.len() != value.data.len() {
                    self.not_whole += 1;
                    return Ok(None);
                }
                loan.copy_from_slice(&value.data);
                if seconds != 0.0 {
                    content.move_time(&mut loan, seconds);
                }
                loan.publish_at(published);
                self.played += 1;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    pub(super) fn nothing(&self, recording: &Recording) -> Failure {
        let wanted = if self.topics.is_empty() {
            "no channel to play".to_owned()
        } else {
            format!("nothing of {}", self.topics.join(", "))
        };
        let end = match recording.ending() {
            Some(Ending::CutOff(why)) => format!(", which is cut off: {why}"),
            _ => String::new(),
        };
        let file = recording.path().display();
        format!("there is {wanted} after {} s in {file}{end}; lkas info {file} says what is", self.options.from).into()
    }

    /// Says how it went.
    pub(super) fn end(&self, recording: &Recording) {
        if let Some(Ending::CutOff(why)) = recording.ending() {
            tracing::warn!("the recording is cut off, and was played up to there: {why}");
        }
        if self.not_whole > 0 {
            tracing::warn!("{} values were not whole and were left out", self.not_whole);
        }
        println!("{} values of {} channels", self.played, self.channels.len());
    }
}

/// What was played goes where nobody uses it any more.
impl Drop for Player<'_> {
    fn drop(&mut self) {
        for (topic, outlet) in self.channels.drain() {
            drop(outlet);
            // Whoever still reads it removes it later, or `lkas clean` does.
            let _ = ChannelName::new(&self.system.namespace, &topic).map(|name| lkas_shm::unlink(&name));
        }
    }
}
