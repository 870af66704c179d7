//! Writing a recording.

use super::content::JpegFrame;
use super::described::Described;
use super::shown::Shown;
use super::times::Offset;
use super::{ABOUT, DROPPED, FORMAT};
use crate::Failure;
use crate::foxglove::schemas;
use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use mcap::{MAGIC, WriteOptions};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it was in its slot.
    Raw,
    /// A frame as JPEG, as Foxglove reads it.
    Jpeg,
}

impl Encoding {
    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raw => RAW,
            Self::Jpeg => "jpeg",
        }
    }

    /// That of a channel in a file, where it was a channel in shared memory.
    pub(super) fn of(channel: &mcap::records::Channel) -> Option<Self> {
        match &*channel.message_encoding {
            RAW => Some(Self::Raw),
            schemas::MESSAGE_ENCODING if channel.metadata.contains_key(HEADER) => Some(Self::Jpeg),
            _ => None,
        }
    }
}

/// The name in the file of values that are written as they were.
const RAW: &str = "lkas";

/// The name in the file of the way in which types are described.
pub(super) const DESCRIPTION: &str = "lkas-description";

/// The channel's metadata that has the header of its segment.
pub(super) const HEADER: &str = "header";

/// The channel's metadata that has the description of its fields, where the schema is another one.
pub(super) const FIELDS: &str = "fields";

/// Bytes of values that are written at once: of a file that is cut off, at most as many are lost.
const CHUNK: u64 = 256 << 10;

/// A value as it goes into a file. Times are those of the channels' clock, in nanoseconds.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub topic: &'a str,
    pub described: &'a Described,
    pub encoding: Encoding,
    pub sequence: u64,
    /// When it belongs into the recording: when it was published, but not before the recording began.
    pub time: u64,
    pub published: u64,
    pub data: &'a [u8],
}

type Writer = mcap::Writer<NoSeek<BufWriter<File>>>;

fn add_schema(writer: &mut Writer, name: &str, schema: &Value) -> Result<u16, Failure> {
    Ok(writer.add_schema(name, schemas::SCHEMA_ENCODING, schema.to_string().as_bytes())?)
}

/// What went wrong with that file: what the system said, where it did.
pub(super) fn in_file(path: &Path, why: &Failure) -> Failure {
    let cause = why.source().map_or_else(|| why.to_string(), ToString::to_string);
    format!("{}: {cause}", path.display()).into()
}

/// A recording that is being written.
pub(super) struct Output {
    writer: Writer,
    /// The same file, to be looked at.
    file: File,
    path: PathBuf,
    offset: Offset,
    dropped: BTreeMap<String, u64>,
    /// The channels of the file by their topics, and of what each was made.
    known: HashMap<String, (Encoding, Described, u16)>,
    /// Bytes of values.
    pub bytes: u64,
}

impl Output {
    /// Begins a recording in a new file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        Self::begin(path).map_err(|why| in_file(path, &why))
    }

    fn begin(path: &Path) -> Result<Self, Failure> {
        let file =
            File::options().read(true).write(true).create_new(true).open(path).map_err(|why| match why.kind() {
                std::io::ErrorKind::AlreadyExists => "there is such a file already; nothing is overwritten".to_owned(),
                _ => why.to_string(),
            })?;
        let library = concat!("lkas ", env!("CARGO_PKG_VERSION"));
        // Chunks are made in memory: what is in the file is whole, up to the last one.
        let options = WriteOptions::new().profile("lkas").library(library).compression(None);
        let options = options.disable_seeking(true).chunk_size(Some(CHUNK));
        let looked_at = file.try_clone()?;
        let writer = options.create(NoSeek::new(BufWriter::new(file)))?;
        let mut output = Self {
            writer,
            file: looked_at,
            path: path.to_owned(),
            offset: Offset::now(),
            dropped: BTreeMap::new(),
            known: HashMap::new(),
            bytes: 0,
        };
        let about = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_string()),
            ("clock_offset_ns".to_owned(), output.offset.0.to_string()),
        ]);
        output.writer.write_metadata(&Metadata { name: ABOUT.to_owned(), metadata: about })?;
        output.flush(&BTreeMap::new())?;
        Ok(output)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn offset(&self) -> Offset {
        self.offset
    }

    pub(super) fn write(&mut self, entry: &Entry<'_>) -> Result<(), Failure> {
        let Entry { topic, described, encoding, .. } = *entry;
        let channel_id = self.channel(topic, described, encoding, |writer| {
            let mut metadata = BTreeMap::from([(HEADER.to_owned(), described.header())]);
            let (schema, encoding) = match encoding {
                Encoding::Raw => {
                    let name = described.description.type_name();
                    (writer.add_schema(name, DESCRIPTION, described.fields())?, RAW)
                }
                Encoding::Jpeg => {
                    let fields = String::from_utf8_lossy(described.fields()).into_owned();
                    metadata.insert(FIELDS.to_owned(), fields);
                    let schema = add_schema(writer, schemas::COMPRESSED_IMAGE, &JpegFrame::schema())?;
                    (schema, schemas::MESSAGE_ENCODING)
                }
            };
            Ok(writer.add_channel(schema, topic, encoding, &metadata)?)
        })?;
        let header = MessageHeader {
            channel_id,
            // The lower half is enough to see what is missing.
            sequence: entry.sequence as u32,
            log_time: self.offset.unix(entry.time),
            publish_time: self.offset.unix(entry.published),
        };
        self.bytes += entry.data.len() as u64;
        Ok(self.writer.write_to_known_channel(&header, entry.data)?)
    }

    /// Writes what is said a second time of a value of a channel.
    pub(super) fn show(&mut self, described: &Described, shown: &Shown, sequence: u64) -> Result<(), Failure> {
        let channel_id = self.channel(&shown.topic, described, Encoding::Raw, |writer| {
            let (name, schema) = shown.schema.of(described);
            let schema = add_schema(writer, &name, &schema)?;
            Ok(writer.add_channel(schema, &shown.topic, schemas::MESSAGE_ENCODING, &BTreeMap::new())?)
        })?;
        let (log_time, publish_time) = (shown.time, shown.time);
        let header = MessageHeader { channel_id, sequence: sequence as u32, log_time, publish_time };
        Ok(self.writer.write_to_known_channel(&header, shown.message.as_bytes())?)
    }

    /// The number of a channel in the file, which `add` makes where the topic is new or carries something else by now.
    fn channel(
        &mut self,
        topic: &str,
        described: &Described,
        encoding: Encoding,
        add: impl FnOnce(&mut Writer) -> Result<u16, Failure>,
    ) -> Result<u16, Failure> {
        if let Some((how, of, id)) = self.known.get(topic)
            && *how == encoding
            && of == described
        {
            return Ok(*id);
        }
        let id = add(&mut self.writer)?;
        self.known.insert(topic.to_owned(), (encoding, described.clone(), id));
        Ok(id)
    }

    /// Hands everything to the system, so that it outlives this process.
    pub(super) fn flush(&mut self, dropped: &BTreeMap<String, u64>) -> Result<(), Failure> {
        if self.dropped != *dropped {
            self.dropped.clone_from(dropped);
            let metadata = dropped.iter().map(|(topic, count)| (topic.clone(), count.to_string())).collect();
            self.writer.write_metadata(&Metadata { name: DROPPED.to_owned(), metadata })?;
        }
        self.writer.flush()?;
        if self.file.metadata()?.nlink() == 0 {
            return Err("the file was removed while it was written".into());
        }
        let mut beginning = [0; MAGIC.len()];
        if self.file.read_at(&mut beginning, 0)? < MAGIC.len() || beginning != MAGIC {
            return Err("the file was cut, or written to, by somebody else".into());
        }
        Ok(())
    }

    /// Ends the recording.
    pub(super) fn finish(mut self, dropped: &BTreeMap<String, u64>) -> Result<(), Failure> {
        self.flush(dropped)?;
        self.writer.finish()?;
        Ok(self.writer.into_inner().into_inner().flush()?)
    }
}
