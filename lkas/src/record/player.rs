//! Values of a recording into channels.

use super::content::Content;
use super::reading::{Ending, Recording, Source, Value};
use super::writing::Encoding;
use super::{is_among, missing};
use crate::Failure;
use crate::options::{SERVERS, SystemOptions};
use crate::signals::{LANE, MOTION, TRUTH};
use crate::tools;
use lkas_messages::{Image, ImageShape, ImageView};
use lkas_shm::{AnyChannel, ChannelName, CreateError, ImageChannel, Options, Writer};
use std::collections::HashMap;

/// A channel that is played into.
enum Outlet {
    Image(Writer<Image>, ImageShape, Encoding),
    Any(Writer<[u8]>, Content),
}

/// Plays values into channels, which it creates when they first have one.
pub(super) struct Player<'a> {
    system: &'a SystemOptions,
    topics: Vec<String>,
    from_s: f64,
    channels: HashMap<String, Outlet>,
    pub(super) played: u64,
    not_whole: u64,
}

impl<'a> Player<'a> {
    /// One that plays these channels, or all but what processes say of themselves, from `from_s` seconds after a recording's
    /// beginning on.
    pub(super) fn new(system: &'a SystemOptions, topics: Vec<String>, from_s: f64) -> Self {
        Self { system, topics, from_s, channels: HashMap::new(), played: 0, not_whole: 0 }
    }

    /// Whether the value is one of those to be played.
    pub(super) fn is_wanted(&self, value: &Value, first: u64) -> bool {
        let topic = &value.source.topic;
        let late_enough = value.time.saturating_sub(first) as f64 >= self.from_s * 1e9;
        is_among(&self.topics, topic) && late_enough && value.source.channel.is_some()
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
        // With the places that this system's programs ask for.
        let mut options = match &*source.topic {
            _ if of_system => self.system.channel(SERVERS),
            LANE | MOTION | TRUTH => self.system.signal(),
            _ => Options::new().readers(description.layout().readers()),
        };
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

    /// Publishes a value into the channel that [`open`](Self::open) has opened, as if at `published`, in nanoseconds of the
    /// channels' clock, with the times in it moved by `seconds`. The frame's number where it is a frame; a frame that is not whole is left out.
    pub(super) fn publish(&mut self, value: &Value, published: u64, seconds: f64) -> Result<Option<u64>, Failure> {
        match self.channels.get_mut(&value.source.topic) {
            Some(Outlet::Image(writer, shape, encoding)) => {
                let Some(frame) = value.frame(*shape, *encoding) else {
                    self.not_whole += 1;
                    return Ok(None);
                };
                let view = ImageView::new(*shape, &frame.pixels).ok_or("a frame of another size")?;
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
        format!("there is {wanted} after {} s in {file}{end}; lkas info {file} says what is", self.from_s).into()
    }

    /// Says how it went.
    pub(super) fn end(&self, recording: &Recording) -> Result<(), Failure> {
        if let Some(Ending::CutOff(why)) = recording.ending() {
            tracing::warn!("the recording is cut off, and was played up to there: {why}");
        }
        if self.not_whole > 0 {
            tracing::warn!("{} values were not whole and were left out", self.not_whole);
        }
        tools::say(format_args!(
            "{} of {}",
            tools::counted(self.played, "value", "values"),
            tools::counted(self.channels.len() as u64, "channel", "channels")
        ))?;
        // Who ended it may have done so before their first value.
        let is_over = recording.ending().is_some();
        match missing(&self.topics, |topic| self.channels.contains_key(topic)).filter(|_| is_over) {
            Some(missing) => Err(format!("there was nothing of {missing} in {}", recording.path().display()).into()),
            None => Ok(()),
        }
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
