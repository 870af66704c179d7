//! Writing a recording.

use super::content::JpegFrame;
use super::described::Described;
use super::shown::Shown;
use super::{ABOUT, DROPPED, FORMAT};
use crate::Failure;
use crate::foxglove::schemas;
use lkas_shm::clock;
use mcap::WriteOptions;
use mcap::records::{MessageHeader, Metadata};
use mcap::write::NoSeek;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

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

/// The topics of what is said a second time begin so; no channel's name does.
pub(super) const AGAIN: char = '/';

/// The name in the file of the way in which types are described.
pub(super) const DESCRIPTION: &str = "lkas-description";

/// The channel's metadata that has the header of its segment.
pub(super) const HEADER: &str = "header";

/// The channel's metadata that has the description of its fields, where the schema is another one.
pub(super) const FIELDS: &str = "fields";

/// Bytes of values that are written at once: of a file that is cut off, at most as many are lost.
const CHUNK: u64 = 256 << 10;

/// What is added to a time of the channels' clock to have one since 1970, both in nanoseconds.
pub(super) fn clock_offset() -> i128 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    unix as i128 - i128::from(clock::now())
}

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

/// A recording that is being written.
pub(super) struct Output {
    writer: mcap::Writer<NoSeek<BufWriter<File>>>,
    path: PathBuf,
    offset: i128,
    dropped: BTreeMap<String, u64>,
    /// Bytes of values.
    pub bytes: u64,
}

impl Output {
    /// Begins a recording in a new file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let file = File::create_new(path).map_err(|why| match why.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{}: there is such a file already; nothing is overwritten", path.display())
            }
            _ => format!("{}: {why}", path.display()),
        })?;
        let library = concat!("lkas ", env!("CARGO_PKG_VERSION"));
        // Chunks are made in memory: what is in the file is whole, up to the last one.
        let options = WriteOptions::new().profile("lkas").library(library).compression(None);
        let options = options.disable_seeking(true).chunk_size(Some(CHUNK));
        let writer = options.create(NoSeek::new(BufWriter::new(file)))?;
        let mut output =
            Self { writer, path: path.to_owned(), offset: clock_offset(), dropped: BTreeMap::new(), bytes: 0 };
        let about = BTreeMap::from([
            ("format".to_owned(), FORMAT.to_string()),
            ("clock_offset_ns".to_owned(), output.offset.to_string()),
        ]);
        output.writer.write_metadata(&Metadata { name: ABOUT.to_owned(), metadata: about })?;
        output.flush(&BTreeMap::new())?;
        Ok(output)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is added to a time of the channels' clock to have one of the file, in nanoseconds.
    pub(super) fn offset(&self) -> i128 {
        self.offset
    }

    fn unix(&self, time: u64) -> u64 {
        u64::try_from(i128::from(time) + self.offset).unwrap_or(0)
    }

    pub(super) fn write(&mut self, entry: &Entry<'_>) -> Result<(), Failure> {
        let described = entry.described;
        let mut metadata = BTreeMap::from([(HEADER.to_owned(), described.header())]);
        // Known ones are not written again.
        let (schema, encoding) = match entry.encoding {
            Encoding::Raw => {
                let name = described.description.type_name();
                (self.writer.add_schema(name, DESCRIPTION, described.fields())?, RAW)
            }
            Encoding::Jpeg => {
                let fields = String::from_utf8_lossy(described.fields()).into_owned();
                metadata.insert(FIELDS.to_owned(), fields);
                let schema = JpegFrame::schema().to_string();
                let how = schemas::SCHEMA_ENCODING;
                let schema = self.writer.add_schema(schemas::COMPRESSED_IMAGE, how, schema.as_bytes())?;
                (schema, schemas::MESSAGE_ENCODING)
            }
        };
        let channel_id = self.writer.add_channel(schema, entry.topic, encoding, &metadata)?;
        let header = MessageHeader {
            channel_id,
            // The lower half is enough to see what is missing.
            sequence: entry.sequence as u32,
            log_time: self.unix(entry.time),
            publish_time: self.unix(entry.published),
        };
        self.bytes += entry.data.len() as u64;
        Ok(self.writer.write_to_known_channel(&header, entry.data)?)
    }

    /// Writes what is said a second time.
    pub(super) fn show(&mut self, shown: &Shown, sequence: u64) -> Result<(), Failure> {
        let schema = shown.schema.to_string();
        let schema = self.writer.add_schema(&shown.schema_name, schemas::SCHEMA_ENCODING, schema.as_bytes())?;
        let channel_id = self.writer.add_channel(schema, &shown.topic, schemas::MESSAGE_ENCODING, &BTreeMap::new())?;
        let (log_time, publish_time) = (shown.time, shown.time);
        let header = MessageHeader { channel_id, sequence: sequence as u32, log_time, publish_time };
        Ok(self.writer.write_to_known_channel(&header, shown.message.as_bytes())?)
    }

    /// Hands everything to the system, so that it outlives this process.
    pub(super) fn flush(&mut self, dropped: &BTreeMap<String, u64>) -> Result<(), Failure> {
        if self.dropped != *dropped {
            self.dropped.clone_from(dropped);
            let metadata = dropped.iter().map(|(topic, count)| (topic.clone(), count.to_string())).collect();
            self.writer.write_metadata(&Metadata { name: DROPPED.to_owned(), metadata })?;
        }
        Ok(self.writer.flush()?)
    }

    /// Ends the recording.
    pub(super) fn finish(mut self, dropped: &BTreeMap<String, u64>) -> Result<(), Failure> {
        self.flush(dropped)?;
        self.writer.finish()?;
        Ok(self.writer.into_inner().into_inner().flush()?)
    }
}
