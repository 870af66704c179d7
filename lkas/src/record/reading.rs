//! Reading a recording. Whatever is in the file, it does not panic.

use super::content::{self, Content, Frame};
use super::described::Described;
use super::shown::AGAIN;
use super::writing::{DESCRIPTION, Encoding, FIELDS, HEADER};
use super::{ABOUT, DROPPED, FORMAT};
use crate::Failure;
use lkas_messages::ImageShape;
use mcap::McapError;
use mcap::records::{Record, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A channel in a recording.
#[derive(Debug)]
pub(super) struct Source {
    /// The channel's name, without a namespace.
    pub(super) topic: String,
    /// The name of the type.
    pub(super) type_name: String,
    /// How its values are written.
    pub(super) encoding: String,
    /// What it is like, where it was a channel in shared memory.
    pub(super) channel: Option<(Described, Encoding)>,
}

/// A value in a recording. Times are in nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct Value {
    /// Where it comes from.
    pub(super) source: Arc<Source>,
    /// The lower half of its number.
    pub(super) sequence: u32,
    /// Its time in the recording.
    pub(super) time: u64,
    /// When it was published.
    pub(super) published: u64,
    /// Its bytes, as its source says that they are written.
    pub(super) data: Vec<u8>,
}

impl Value {
    /// The frame of a recorded image; `None` where it is not whole.
    pub(super) fn frame(&self, shape: ImageShape, encoding: Encoding) -> Option<Frame> {
        match encoding {
            Encoding::Raw => content::frame(shape, &self.data),
            Encoding::Jpeg => content::from_jpeg(shape, &self.data).ok(),
        }
    }
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As its writer ended it.
    Whole,
    /// In the middle, for that reason: its writer died, or the file was damaged.
    CutOff(String),
}

/// A recording that is read from its beginning to its end.
pub(super) struct Recording {
    file: File,
    path: PathBuf,
    reader: LinearReader,
    schemas: HashMap<u16, (String, String, Vec<u8>)>,
    sources: HashMap<u16, Arc<Source>>,
    clock_offset: Option<i128>,
    dropped: BTreeMap<String, u64>,
    /// The data is over: what follows repeats what was said.
    data_ended: bool,
    ending: Option<Ending>,
}

impl Recording {
    /// Opens a recording and reads what it says of itself.
    ///
    /// # Errors
    /// There is no such file, it is no recording, or one of another format.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let in_file = |why: &dyn std::fmt::Display| Failure::from(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(|why| in_file(&why))?;
        let size = file.metadata().map_err(|why| in_file(&why))?;
        if !size.is_file() {
            return Err(in_file(&"not a file, expected a recording"));
        }
        // No record is larger than its file, whatever it says.
        let limit = usize::try_from(size.len()).unwrap_or(usize::MAX);
        let options = LinearReaderOptions::default()
            .with_prevalidate_chunk_crcs(true)
            .with_validate_data_section_crc(false)
            .with_record_length_limit(limit);
        let mut recording = Self {
            file,
            path: path.to_owned(),
            reader: LinearReader::new_with_options(options),
            schemas: HashMap::new(),
            sources: HashMap::new(),
            clock_offset: None,
            dropped: BTreeMap::new(),
            data_ended: false,
            ending: None,
        };
        while recording.clock_offset.is_none() {
            match recording.step() {
                Ok(Step::Nothing) if !recording.data_ended => {}
                Ok(_) => return Err(in_file(&"an MCAP file, but not a recording of lkas record")),
                Err(Stop::Other(found)) => {
                    let words = format!(
                        "a recording of format {found}, expected {FORMAT}; read it with the release that wrote it"
                    );
                    return Err(in_file(&words));
                }
                Err(Stop::File(why)) => return Err(in_file(&format!("not a recording: {why}"))),
            }
        }
        Ok(recording)
    }

    /// The file's path.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What was added to times of the channels' clock to have those in the file, in nanoseconds.
    #[must_use]
    pub(super) fn clock_offset(&self) -> i128 {
        self.clock_offset.unwrap_or(0)
    }

    /// How many values of each channel the recorder left out because the disk was too slow, as far as is read.
    #[must_use]
    pub(super) fn dropped(&self) -> &BTreeMap<String, u64> {
        &self.dropped
    }

    /// How the recording ends; `None` while there is more to read.
    #[must_use]
    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    fn step(&mut self) -> Result<Step, Stop> {
        let Some(event) = self.reader.next_event() else { return Ok(Step::End) };
        match event.map_err(|why| Stop::File(words(&why)))? {
            LinearReadEvent::ReadRequest(need) => {
                let read = self.file.read(self.reader.insert(need)).map_err(|why| Stop::File(why.to_string()))?;
                self.reader.notify_read(read);
                Ok(Step::Nothing)
            }
            LinearReadEvent::Record { opcode, .. } if self.data_ended || opcode == op::DATA_END => {
                self.data_ended = true;
                Ok(Step::Nothing)
            }
            LinearReadEvent::Record { opcode, data } => {
                let record = mcap::parse_record(opcode, data).map_err(|why| Stop::File(words(&why)))?;
                match record {
                    Record::Schema { header, data } => {
                        self.schemas.insert(header.id, (header.name, header.encoding, data.into_owned()));
                    }
                    Record::Channel(channel) => {
                        let source = source(&self.schemas, &channel).map_err(Stop::File)?;
                        self.sources.insert(channel.id, Arc::new(source));
                    }
                    Record::Message { header, data } => {
                        let missing =
                            || Stop::File(format!("a value of channel {}, which is not described", header.channel_id));
                        let source = self.sources.get(&header.channel_id).ok_or_else(missing)?;
                        if source.topic.starts_with(AGAIN) {
                            return Ok(Step::Nothing);
                        }
                        return Ok(Step::Value(Value {
                            source: source.clone(),
                            sequence: header.sequence,
                            time: header.log_time,
                            published: header.publish_time,
                            data: data.into_owned(),
                        }));
                    }
                    Record::Metadata(metadata) if metadata.name == ABOUT => {
                        let said = |key: &str| metadata.metadata.get(key).map_or("none", String::as_str);
                        if said("format") != FORMAT.to_string() {
                            return Err(Stop::Other(said("format").escape_debug().to_string()));
                        }
                        let offset = said("clock_offset_ns").parse::<i64>();
                        self.clock_offset = Some(offset.map_err(|why| Stop::File(format!("its clock: {why}")))?.into());
                    }
                    Record::Metadata(metadata) if metadata.name == DROPPED => {
                        let counts = metadata.metadata.into_iter();
                        self.dropped = counts.filter_map(|(topic, count)| Some((topic, count.parse().ok()?))).collect();
                    }
                    _ => {}
                }
                Ok(Step::Nothing)
            }
        }
    }
}

/// The values in the order in which they were recorded. A file that is cut off or damaged ends there.
impl Iterator for Recording {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        while self.ending.is_none() {
            match self.step() {
                Ok(Step::Value(value)) => return Some(value),
                Ok(Step::Nothing) => {}
                Ok(Step::End) if self.data_ended => self.ending = Some(Ending::Whole),
                Ok(Step::End) => self.ending = Some(Ending::CutOff("it has no end".into())),
                // What comes after the data is an index, which is not needed here.
                Err(_) if self.data_ended => self.ending = Some(Ending::Whole),
                Err(Stop::File(why)) => self.ending = Some(Ending::CutOff(why)),
                Err(Stop::Other(format)) => self.ending = Some(Ending::CutOff(format!("then comes format {format}"))),
            }
        }
        None
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("path", &self.path).field("ending", &self.ending).finish_non_exhaustive()
    }
}

enum Step {
    Nothing,
    Value(Value),
    End,
}

/// Why it can't be read on.
enum Stop {
    File(String),
    /// Another format.
    Other(String),
}

/// What is wrong, without what strangers wrote being obeyed by a terminal.
fn words(why: &McapError) -> String {
    match why {
        McapError::UnexpectedEof | McapError::UnexpectedEoc => "it ends in the middle".into(),
        why => why.to_string().escape_debug().to_string(),
    }
}

type Schemas = HashMap<u16, (String, String, Vec<u8>)>;

fn source(schemas: &Schemas, channel: &mcap::records::Channel) -> Result<Source, String> {
    let printable = |text: &str| text.escape_debug().to_string();
    let schema = schemas.get(&channel.schema_id);
    let mut source = Source {
        topic: printable(&channel.topic),
        type_name: schema.map_or_else(|| "-".to_owned(), |schema| printable(&schema.0)),
        encoding: printable(&channel.message_encoding),
        channel: None,
    };
    let Some(encoding) = Encoding::of(channel) else { return Ok(source) };
    let in_channel = |why: String| format!("channel {}: {why}", source.topic);
    let fields = match encoding {
        Encoding::Raw => schema.filter(|(_, how, _)| how == DESCRIPTION).map(|(_, _, fields)| &**fields),
        Encoding::Jpeg => channel.metadata.get(FIELDS).map(String::as_bytes),
    };
    let fields = fields.ok_or_else(|| in_channel("no description of its fields".into()))?;
    let header = channel.metadata.get(HEADER).ok_or_else(|| in_channel("no header".into()))?;
    let described = Described::read(header, fields).map_err(in_channel)?;
    if encoding == Encoding::Jpeg && !matches!(Content::of(&described.description), Content::Image(_)) {
        return Err(in_channel("JPEG of something that is no frame".into()));
    }
    source.type_name = described.description.type_name().escape_debug().to_string();
    source.encoding = encoding.name().to_owned();
    source.channel = Some((described, encoding));
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::writing::{Entry, Output};
    use lkas_messages::{Control, PixelFormat};
    use lkas_shm::{ChannelName, ControlChannel, ImageChannel, Observer, Options};
    use proptest::prelude::*;
    use std::fs;

    fn described(name: &ChannelName) -> Described {
        Described::of(&Observer::open(name).unwrap()).unwrap()
    }

    /// A recording of controls and frames, raw and as JPEG.
    fn recording(path: &Path) -> Vec<u8> {
        let name = |what: &str| ChannelName::new(&format!("reading-{}", std::process::id()), what).unwrap();
        let (control, image) = (name("control"), name("image"));
        let shape = ImageShape::new(16, 8, PixelFormat::Rgb8).unwrap();
        let controls = ControlChannel::create(&control, Options::new()).unwrap();
        let mut images = ImageChannel::create(&image, shape, Options::new()).unwrap();
        images.write(7, 1.5, &[90; 384]).unwrap();
        let mut frame = Vec::new();
        Observer::open(&image).unwrap().copy(&mut frame).unwrap().unwrap();
        let jpeg = content::to_jpeg(shape, &frame, 90).unwrap().to_json(1_500_000_000).into_bytes();
        let (of_controls, of_images) = (described(&control), described(&image));
        let zeros = [0; size_of::<Control>()];
        let _ = fs::remove_file(path);
        let mut output = Output::create(path).unwrap();
        for sequence in 1..=3 {
            let mut write = |topic, described, encoding, data| {
                let entry = Entry { topic, described, encoding, sequence, time: sequence, published: sequence, data };
                output.write(&entry).unwrap();
            };
            write("control", &of_controls, Encoding::Raw, &zeros[..]);
            write("raw", &of_images, Encoding::Raw, &frame);
            write("jpeg", &of_images, Encoding::Jpeg, &jpeg);
            output.flush(&BTreeMap::from([("control".to_owned(), sequence)])).unwrap();
        }
        output.finish(&BTreeMap::from([("control".to_owned(), 3)])).unwrap();
        drop((controls, images));
        lkas_shm::unlink(&control).unwrap();
        lkas_shm::unlink(&image).unwrap();
        fs::read(path).unwrap()
    }

    /// Reads all that can be read, as those do who play it.
    fn read_all(path: &Path) -> Result<(u64, Recording), Failure> {
        let mut recording = Recording::open(path)?;
        let mut values = 0;
        for value in recording.by_ref() {
            values += 1;
            if let Some((described, encoding)) = &value.source.channel
                && let Content::Image(shape) = Content::of(&described.description)
                && let Some(frame) = value.frame(shape, *encoding)
            {
                assert_eq!(frame.pixels.len(), shape.pixel_bytes());
            }
        }
        Ok((values, recording))
    }

    #[test]
    fn what_was_written_is_read_whole_or_cut_and_never_panics_whatever_is_in_it() {
        let path = std::env::temp_dir().join(format!("reading-{}.mcap", std::process::id()));
        let whole = recording(&path);
        let (values, recording) = read_all(&path).unwrap();
        assert_eq!((values, recording.ending()), (9, Some(&Ending::Whole)));
        assert_eq!(recording.dropped().get("control"), Some(&3));

        // Another format is refused by its number, before anything else of it is looked at.
        let format = [b"format".as_slice(), &1_u32.to_le_bytes(), b"2"].concat();
        let at = whole.windows(format.len()).position(|bytes| bytes == format).unwrap() + format.len() - 1;
        let mut other = whole.clone();
        other[at] = b'7';
        fs::write(&path, &other).unwrap();
        let why = read_all(&path).unwrap_err().to_string();
        assert!(why.contains("format 7, expected 2"), "{why}");

        // Cut anywhere, it is read up to there, and says so.
        let mut before = 0;
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            fs::write(&path, &whole[..length]).unwrap();
            let Ok((values, recording)) = read_all(&path) else { continue };
            assert!(values >= before, "{values} values of {length} bytes, {before} of fewer");
            before = values;
            assert!(values == 9 || matches!(recording.ending(), Some(Ending::CutOff(_))), "{length}");
        }
        assert_eq!(before, 9);

        // Bytes that are damaged. In a chunk they are noticed: whatever is read is what was written.
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 500,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let damage = proptest::collection::vec((0..whole.len(), any::<u8>()), 1..4);
        let result = runner.run(&damage, |damage| {
            let mut bytes = whole.clone();
            damage.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            fs::write(&path, &bytes).unwrap();
            let _ = read_all(&path);
            Ok(())
        });
        fs::remove_file(&path).unwrap();
        result.unwrap();
    }
}
