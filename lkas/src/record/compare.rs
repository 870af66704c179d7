//! `lkas compare`: where two recordings differ.

use super::content::JpegFrame;
use super::reading::{Ending, Recording, Source, Value};
use super::{is_among, missing, writing::Encoding};
use crate::Failure;
use crate::tools::unless_nobody_reads;
use clap::Args;
use lkas_shm::Description;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::path::PathBuf;

/// What `lkas compare` compares.
#[derive(Args, Clone, Debug)]
pub struct CompareOptions {
    /// A recording
    a: PathBuf,
    /// Another one
    b: PathBuf,
    /// The channels to compare, with commas between them; otherwise all but what processes say of themselves
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',')]
    topics: Vec<String>,
    /// Fields that may differ, with commas between them. How long something took always may, and a check value
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Differences to print
    #[arg(long, default_value_t = 10, value_name = "N")]
    show: u64,
}

/// Fields that differ from run to run: how long it took, and what stands for all of the value.
const MAY_DIFFER: [&str; 2] = ["processing_time_ms", "check"];

/// Compares the first value of each channel with the first, the second with the second, and so on; prints what differs and
/// how much was compared. Whether nothing differs.
///
/// # Errors
/// One is no recording, or of another format.
pub fn compare(options: &CompareOptions) -> Result<bool, Failure> {
    let mut comparison = Comparison { options, channels: BTreeMap::new(), lines: Vec::new(), differences: 0 };
    let mut recordings = [Recording::open(&options.a)?, Recording::open(&options.b)?];
    loop {
        let values = recordings.each_mut().map(Iterator::next);
        if values.iter().all(Option::is_none) {
            break;
        }
        for (side, value) in values.into_iter().enumerate() {
            if let Some(value) = value.filter(|value| comparison.is_wanted(&value.source.topic)) {
                comparison.add(side, value);
            }
        }
    }
    if let Some(missing) = missing(&options.topics, |topic| comparison.channels.contains_key(topic)) {
        let (a, b) = (options.a.display(), options.b.display());
        return Err(format!("neither {a} nor {b} has a value of {missing}; lkas info says what they have").into());
    }
    let compared = comparison.end(&recordings);
    let mut out = std::io::stdout().lock();
    let text = comparison.lines.join("\n");
    let printed = if text.is_empty() { Ok(()) } else { writeln!(out, "{text}") };
    let same = comparison.differences == 0 && compared > 0;
    let verdict = match comparison.differences {
        _ if compared == 0 => "nothing was compared: they have no channel in common".to_owned(),
        0 => format!("{compared} values are the same"),
        found => format!("{found} differences in {compared} values"),
    };
    unless_nobody_reads(printed.and_then(|()| writeln!(out, "{verdict}")).map_err(Failure::from))?;
    Ok(same)
}

struct Comparison<'a> {
    options: &'a CompareOptions,
    channels: BTreeMap<String, Channel>,
    lines: Vec<String>,
    differences: u64,
}

/// What came of one channel.
#[derive(Default)]
struct Channel {
    /// Values that the other side has not had yet: one of both is empty.
    waiting: [VecDeque<Value>; 2],
    counts: [u64; 2],
    compared: u64,
}

impl Comparison<'_> {
    fn is_wanted(&self, topic: &str) -> bool {
        is_among(&self.options.topics, topic)
    }

    fn add(&mut self, side: usize, value: Value) {
        let channel = self.channels.entry(value.source.topic.clone()).or_default();
        channel.counts[side] += 1;
        let Some(other) = channel.waiting[1 - side].pop_front() else {
            channel.waiting[side].push_back(value);
            return;
        };
        channel.compared += 1;
        let number = channel.compared;
        let (a, b) = if side == 0 { (value, other) } else { (other, value) };
        if let Some(words) = difference(&a, &b, &self.options.ignore) {
            self.say(format!("{} value {number}: {words}", a.source.topic));
        }
    }

    fn say(&mut self, line: String) {
        self.differences += 1;
        if self.differences <= self.options.show {
            self.lines.push(line);
        }
    }

    /// What can be said at the end. How many values were compared.
    fn end(&mut self, recordings: &[Recording; 2]) -> u64 {
        let uneven: Vec<String> = self
            .channels
            .iter()
            .filter(|(_, channel)| channel.counts[0] != channel.counts[1])
            .map(|(topic, channel)| format!("{topic}: {} values, and {}", channel.counts[0], channel.counts[1]))
            .collect();
        for line in uneven {
            self.say(line);
        }
        for recording in recordings {
            if let Some(Ending::CutOff(why)) = recording.ending() {
                self.say(format!("{} is cut off: {why}", recording.path().display()));
            }
        }
        self.channels.values().map(|channel| channel.compared).sum()
    }
}

fn described(source: &Source) -> Option<(&Description, Encoding)> {
    source.channel.as_ref().map(|(described, encoding)| (&described.description, *encoding))
}

/// In which way two values differ; `None` where they don't, but for fields that may.
fn difference(a: &Value, b: &Value, ignore: &[String]) -> Option<String> {
    let (Some((of_a, as_a)), Some((of_b, as_b))) = (described(&a.source), described(&b.source)) else {
        return (a.data != b.data).then(|| "other bytes".to_owned());
    };
    if of_a.channel_type() != of_b.channel_type() {
        return Some(format!("of type {}, and {}, or of other shapes", of_a.type_name(), of_b.type_name()));
    }
    if as_a != as_b {
        return Some(format!("written as {}, and {}", as_a.name(), as_b.name()));
    }
    if as_a == Encoding::Jpeg {
        let [a, b] = [a, b].map(|value| JpegFrame::from_json(&value.data).ok());
        return (a != b || a.is_none()).then(|| "other frames as JPEG".to_owned());
    }
    let may_differ = |name: &str| MAY_DIFFER.contains(&name) || ignore.iter().any(|ignored| ignored == name);
    let (mut rest_a, mut rest_b) = (a.data.clone(), b.data.clone());
    let mut found = Vec::new();
    for field in of_a.fields() {
        let place = field.offset..field.offset + field.size();
        if !may_differ(&field.name) && a.data.get(place.clone()) != b.data.get(place.clone()) {
            let words =
                |value: &Value| field.read(&value.data).map_or_else(|| "-".to_owned(), |value| value.to_string());
            found.push(format!("{} {}, and {}", field.name, words(a), words(b)));
        }
        for rest in [&mut rest_a, &mut rest_b] {
            if let Some(bytes) = rest.get_mut(place.clone()) {
                bytes.fill(0);
            }
        }
    }
    // What no field covers: the pixels of a frame.
    let pixels = || rest_a.iter().zip(&rest_b).filter(|(a, b)| a != b).count();
    if rest_a.len() != rest_b.len() {
        found.push(format!("{} bytes, and {}", rest_a.len(), rest_b.len()));
    } else if rest_a != rest_b {
        found.push(format!("{} other bytes behind the fields", pixels()));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::described::Described;
    use lkas_messages::{Detection, DetectionFields, Lane};
    use lkas_shm::{ChannelName, DetectionChannel, Observer, Options, Plain};
    use std::sync::Arc;

    #[test]
    fn one_bit_is_a_difference_and_how_long_it_took_is_none() {
        let name: ChannelName = format!("compare-{}", std::process::id()).parse().unwrap();
        let writer = DetectionChannel::create(&name, Options::new()).unwrap();
        let described = Described::of(&Observer::open(&name).unwrap()).unwrap();
        drop(writer);
        lkas_shm::unlink(&name).unwrap();
        let source = Arc::new(Source {
            topic: "lane_detection".into(),
            type_name: "lkas.Detection".into(),
            encoding: "lkas".into(),
            channel: Some((described, Encoding::Raw)),
        });
        let value = |x1: f32, processing_time_ms| {
            let left = Some(Lane { x1, y1: 239.0, x2: 120.0, y2: 146.0, confidence: 1.0 });
            let fields = DetectionFields { left, processing_time_ms, frame_id: 7, ..DetectionFields::default() };
            let data = Detection::try_from(fields).unwrap().as_bytes().to_vec();
            Value { source: source.clone(), sequence: 1, time: 1, published: 1, data }
        };
        let a = value(4.5, 1.0);
        assert_eq!(difference(&a, &value(4.5, 2.0), &[]), None);
        let next = f32::from_bits(4.5_f32.to_bits() + 1);
        let words = difference(&a, &value(next, 1.0), &[]).unwrap();
        assert!(words.starts_with("left.x1 4.5, and 4.50000"), "{words}");
        assert_eq!(difference(&a, &value(next, 1.0), &["left.x1".to_owned()]), None);
        let longer = Value { data: [a.data.clone(), vec![0]].concat(), ..value(4.5, 1.0) };
        assert!(difference(&a, &longer, &[]).is_some());
    }
}
