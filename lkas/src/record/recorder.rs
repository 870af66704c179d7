//! `lkas record`: the values of a system's channels into a file. Who records writes to no channel, and takes a place that is
//! not reserved where values are large, else none.

use super::content::{self, Content};
use super::described::Described;
use super::queue::{Emptying, Filling, Queued, queue};
use super::shown::Memory;
use super::writing::{Encoding, Entry, Output, in_file};
use super::{missing, topic_of};
use crate::Failure;
use crate::options::SystemOptions;
use crate::stop::Stop;
use crate::tools;
use clap::{Args, ValueEnum};
use lkas_shm::{AnyChannel, ChannelName, Observer, OpenOptions, Reader, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What `lkas record` records.
#[derive(Args, Clone, Debug)]
pub struct RecordOptions {
    /// The channels, without their namespace; all of the system where none is named
    #[arg(value_name = "CHANNEL")]
    channels: Vec<String>,
    /// The file, which must not be there yet
    #[arg(long, short, value_name = "FILE", default_value = "recording.mcap")]
    output: PathBuf,
    /// How frames are kept: raw takes about ten times the space and is what detection saw, bit for bit
    #[arg(long, value_enum, default_value_t = Frames::Jpeg)]
    frames: Frames,
    /// Quality of the JPEG, 1 to 100
    #[arg(long, default_value_t = 85, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// Begin another file after so many megabytes
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    split_size: Option<u64>,
    /// Begin another file after so many seconds
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    split_time: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "S", value_parser = crate::tools::seconds)]
    duration: Option<f64>,
}

/// How frames are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Frames {
    /// As JPEG.
    Jpeg,
    /// As they are.
    Raw,
}

/// How often channels are looked at. What comes faster is missed, and seen to be missed by its numbers.
const LOOK: Duration = Duration::from_millis(1);

/// Values of so many bytes are read in a reader place: to copy them takes so long that who only looks on is overtaken.
const LARGE: usize = 64 << 10;

/// How often channels are looked for that came, went or were replaced.
const SEARCH: Duration = Duration::from_millis(250);

/// How often everything is handed to the system: what a recorder that is killed loses at most.
const FLUSH: Duration = Duration::from_secs(1);

/// Bytes that may wait for the disk: more than a second of frames of 800x600.
const WAITING: usize = 96 << 20;

/// How often it is said that values were left out.
const SAY: Duration = Duration::from_secs(5);

/// Records until the program shall end, and prints what is in the file. Takes a reader place of channels of large values, one
/// that is not reserved, and none of others.
///
/// # Errors
/// The file can't be written, or shared memory can't be looked at.
pub fn record(system: &SystemOptions, options: &RecordOptions, stop: &Stop) -> Result<(), Failure> {
    let start = clock::now();
    let file = Output::create(&options.output)?;
    let dropped = Arc::new(Mutex::new(BTreeMap::new()));
    let (filling, emptying) = queue(WAITING);
    let disk = Disk {
        options: options.clone(),
        file,
        files: 1,
        began: Instant::now(),
        dropped: dropped.clone(),
        shown: Memory::default(),
    };
    let disk = std::thread::Builder::new().name("disk".into()).spawn(move || disk.run(&emptying))?;
    let mut recorder =
        Recorder { system, options, start, taps: BTreeMap::new(), said: BTreeSet::new(), filling, dropped, missed: 0 };
    let looked = recorder.run(stop, &disk);
    let Recorder { filling, missed, dropped, .. } = recorder;
    drop(filling);
    let written = disk.join().map_err(|_| "the thread for the disk failed")?;
    let written = looked.and(written)?;
    let left_out: u64 = lock(&dropped).values().sum();
    tools::say(format_args!(
        "{}: {} of {}, {} in {}; {missed} missed, {left_out} left out",
        options.output.display(),
        tools::counted(written.values, "value", "values"),
        tools::counted(written.channels.len() as u64, "channel", "channels"),
        tools::size(written.bytes),
        tools::counted(written.files.into(), "file", "files"),
    ))?;
    match missing(&options.channels, |channel| written.channels.contains(channel)) {
        Some(missing) => Err(format!("nothing came of {missing}").into()),
        None => Ok(()),
    }
}

type Dropped = Arc<Mutex<BTreeMap<String, u64>>>;

fn lock(dropped: &Dropped) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
    dropped.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a value of that channel that is not in the file.
fn leave_out(dropped: &Dropped, topic: &str) {
    *lock(dropped).entry(topic.to_owned()).or_insert(0) += 1;
}

/// A value on its way to the disk.
struct Taken {
    topic: Arc<str>,
    described: Arc<Described>,
    sequence: u64,
    published: u64,
    time: u64,
    data: Vec<u8>,
}

/// A channel that is looked at.
struct Tap {
    topic: Arc<str>,
    observer: Observer,
    /// Of large values.
    reader: Option<Reader<[u8]>>,
    described: Arc<Described>,
    /// The number of the last value, and when it was published.
    last: Option<(u64, u64)>,
}

struct Recorder<'a> {
    system: &'a SystemOptions,
    options: &'a RecordOptions,
    start: u64,
    taps: BTreeMap<ChannelName, Tap>,
    /// Channels without a free place, of which that was said.
    said: BTreeSet<ChannelName>,
    filling: Filling<Taken>,
    dropped: Dropped,
    missed: u64,
}

impl Recorder<'_> {
    fn run(&mut self, stop: &Stop, disk: &JoinHandle<Result<Written, Failure>>) -> Result<(), Failure> {
        let end = self.options.duration.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        let (mut search_due, mut say_due) = (Instant::now(), Instant::now());
        let (mut said, mut waits) = (0, false);
        while !stop.is_set() && !disk.is_finished() && end.is_none_or(|end| Instant::now() < end) {
            if Instant::now() >= search_due {
                self.search()?;
                if self.taps.is_empty() && !core::mem::replace(&mut waits, true) {
                    tracing::info!("waiting: there is no channel to record yet");
                }
                search_due = Instant::now() + SEARCH;
            }
            self.look();
            let left_out = lock(&self.dropped).values().sum();
            if left_out > said && Instant::now() >= say_due {
                tracing::warn!("{left_out} values were left out: they come faster than they can be written");
                (said, say_due) = (left_out, Instant::now() + SAY);
            }
            std::thread::sleep(LOOK);
        }
        // What came during the last rest.
        self.look();
        Ok(())
    }

    /// Looks for channels that came, went or were replaced.
    fn search(&mut self) -> Result<(), Failure> {
        self.taps.retain(|_, tap| !tap.observer.is_gone());
        for name in lkas_shm::channels()? {
            let Some(topic) = topic_of(self.system, &name) else { continue };
            let wanted = self.options.channels.is_empty() || self.options.channels.iter().any(|wanted| wanted == topic);
            if !wanted || self.taps.contains_key(&name) {
                continue;
            }
            // One that went meanwhile, or is being replaced, is looked for at the next time.
            let Ok(observer) = Observer::open(&name) else { continue };
            let Ok(described) = Described::of(&observer) else { continue };
            let mut tap =
                Tap { topic: topic.into(), observer, reader: None, described: Arc::new(described), last: None };
            if tap.size() >= LARGE {
                match AnyChannel::open(&name, OpenOptions::new()) {
                    Ok((description, reader)) if description == tap.described.description => tap.reader = Some(reader),
                    Ok(_) => continue,
                    Err(why) => {
                        if self.said.insert(name.clone()) {
                            tracing::warn!("{why}; its values are copied while others publish, and many are missed");
                        }
                    }
                }
            }
            self.taps.insert(name, tap);
        }
        Ok(())
    }

    fn look(&mut self) {
        for tap in self.taps.values_mut() {
            let newest = tap.observer.newest().ok().flatten();
            let Some(newest) = newest.filter(|newest| tap.last != Some((newest.sequence, newest.time))) else {
                continue;
            };
            let size = tap.size();
            // What does not fit is not copied either.
            let copied =
                if self.filling.fits(size) { tap.copy() } else { Some((newest.sequence, newest.time, Vec::new())) };
            // A writer that is faster than a copy is looked at again.
            let Some((sequence, published, data)) = copied else { continue };
            let before = tap.last.replace((sequence, published));
            self.missed += before.map_or(0, |(before, _)| sequence.saturating_sub(before + 1));
            let taken = tap.taken(sequence, published, self.start, data);
            if taken.data.len() < size || self.filling.put(size, taken) == Queued::Full {
                leave_out(&self.dropped, &tap.topic);
            }
        }
    }
}

impl Tap {
    /// Bytes of a value.
    fn size(&self) -> usize {
        self.described.description.layout().payload_size()
    }

    /// The newest value's number, time and bytes; `None` where the writer was too fast, or a reader has it already.
    fn copy(&mut self) -> Option<(u64, u64, Vec<u8>)> {
        if let Some(reader) = &mut self.reader {
            return reader.take().map(|sample| (sample.sequence(), sample.time(), sample.to_vec()));
        }
        let mut data = Vec::new();
        let value = self.observer.copy(&mut data).ok().flatten()?;
        Some((value.sequence, value.time, data))
    }

    fn taken(&self, sequence: u64, published: u64, start: u64, data: Vec<u8>) -> Taken {
        let (topic, described) = (self.topic.clone(), self.described.clone());
        Taken { topic, described, sequence, published, time: published.max(start), data }
    }
}

/// What was written.
#[derive(Default)]
struct Written {
    values: u64,
    bytes: u64,
    files: u32,
    channels: BTreeSet<Arc<str>>,
}

/// The thread that encodes and writes.
struct Disk {
    options: RecordOptions,
    file: Output,
    files: u32,
    began: Instant,
    dropped: Dropped,
    shown: Memory,
}

impl Disk {
    fn run(mut self, emptying: &Emptying<Taken>) -> Result<Written, Failure> {
        let mut written = Written::default();
        let mut due = Instant::now() + FLUSH;
        loop {
            match emptying.next(due.saturating_duration_since(Instant::now())) {
                Ok(Some(taken)) => {
                    if let Some(size) = self.write(&taken).map_err(|why| self.in_file(&why))? {
                        written.values += 1;
                        written.bytes += size as u64;
                        written.channels.insert(taken.topic);
                    }
                }
                Ok(None) => {}
                Err(_) => break,
            }
            if Instant::now() >= due {
                let dropped = lock(&self.dropped).clone();
                self.file.flush(&dropped).map_err(|why| self.in_file(&why))?;
                due = Instant::now() + FLUSH;
                self.split_if_due()?;
            }
        }
        let (dropped, path) = (lock(&self.dropped).clone(), self.file.path().to_owned());
        self.file.finish(&dropped).map_err(|why| in_file(&path, &why))?;
        written.files = self.files;
        Ok(written)
    }

    fn in_file(&self, why: &Failure) -> Failure {
        in_file(self.file.path(), why)
    }

    /// Writes a value, and returns its size in the file; `None` where it was no whole frame.
    fn write(&mut self, taken: &Taken) -> Result<Option<usize>, Failure> {
        let mut entry = Entry {
            topic: &taken.topic,
            described: &taken.described,
            encoding: Encoding::Raw,
            sequence: taken.sequence,
            time: taken.time,
            published: taken.published,
            data: &taken.data,
        };
        let json;
        if let (Content::Image(shape), Frames::Jpeg) = (Content::of(&taken.described.description), self.options.frames)
        {
            let Ok(encoded) = content::to_jpeg(shape, &taken.data, self.options.quality) else {
                leave_out(&self.dropped, &taken.topic);
                return Ok(None);
            };
            json = encoded.to_json(self.file.offset().unix_of_seconds(encoded.timestamp));
            (entry.encoding, entry.data) = (Encoding::Jpeg, json.as_bytes());
        }
        self.file.write(&entry)?;
        let offset = self.file.offset();
        for shown in self.shown.of(&taken.topic, &taken.described, &taken.data, taken.time, offset) {
            self.file.show(&taken.described, &shown, taken.sequence)?;
        }
        Ok(Some(entry.data.len()))
    }

    /// Goes on in another file where this one is large or long enough.
    fn split_if_due(&mut self) -> Result<(), Failure> {
        let large = self.options.split_size.is_some_and(|megabytes| self.file.bytes >= megabytes * 1_000_000);
        let long = self.options.split_time.is_some_and(|seconds| self.began.elapsed() >= Duration::from_secs(seconds));
        if !large && !long {
            return Ok(());
        }
        self.files += 1;
        self.began = Instant::now();
        let next = Output::create(&numbered(&self.options.output, self.files))?;
        let dropped = lock(&self.dropped).clone();
        core::mem::replace(&mut self.file, next).finish(&dropped)
    }
}

/// The name of a further file: `drive.mcap`, `drive-2.mcap`, `drive-3.mcap`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
    path.with_file_name(format!("{stem}-{number}{end}"))
}

#[cfg(test)]
mod tests {
    use super::super::reading::Recording;
    use super::*;
    use clap::Parser;
    use lkas_messages::{Control, ControlFields};
    use lkas_shm::{ControlChannel, Options};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        system: SystemOptions,
        #[command(flatten)]
        options: RecordOptions,
    }

    /// The disk does nothing for a while: values that find no room are left out and counted, and the file says so.
    #[test]
    fn what_the_disk_is_too_slow_for_is_left_out_and_the_file_says_how_much() {
        let namespace = format!("recorder-{}", std::process::id());
        let output = std::env::temp_dir().join(format!("{namespace}.mcap"));
        let arguments = ["record", "--namespace", &namespace, "-o", output.to_str().unwrap()];
        let Program { system, options } = Program::try_parse_from(arguments).unwrap();
        let name = ChannelName::new(&namespace, "vehicle_control").unwrap();
        let mut controls = ControlChannel::create(&name, Options::new()).unwrap();
        let (filling, emptying) = queue(2 * size_of::<Control>());
        let dropped = Dropped::default();
        let (taps, said) = Default::default();
        let mut recorder = Recorder {
            system: &system,
            options: &options,
            start: clock::now(),
            taps,
            said,
            filling,
            dropped: dropped.clone(),
            missed: 0,
        };
        recorder.search().unwrap();
        for _ in 0..5 {
            controls.publish(Control::try_from(ControlFields::default()).unwrap());
            recorder.look();
        }
        assert_eq!(lock(&dropped).get("vehicle_control"), Some(&3));
        assert_eq!(recorder.missed, 0, "each was seen");
        drop(recorder);
        let file = Output::create(&output).unwrap();
        let (began, shown) = (Instant::now(), Memory::default());
        let written = Disk { options: options.clone(), file, files: 1, began, dropped, shown }.run(&emptying).unwrap();
        assert_eq!(written.values, 2);
        let mut recording = Recording::open(&output).unwrap();
        while recording.next().is_some() {}
        assert_eq!(recording.dropped().get("vehicle_control"), Some(&3));
        std::fs::remove_file(&output).unwrap();
        drop(controls);
        lkas_shm::unlink(&name).unwrap();
    }

    #[test]
    fn further_files_are_numbered() {
        assert_eq!(numbered(Path::new("a/drive.mcap"), 2), Path::new("a/drive-2.mcap"));
        assert_eq!(numbered(Path::new("drive"), 3), Path::new("drive-3"));
    }
}
