//! Channels of types that are only known when the program runs, as bytes. What they mean, Python code knows.

use crate::errors::{self, WrongType};
use crate::image_reader::check_age;
use crate::numbers::seconds;
use crate::shared::{self, Shared};
use crate::writers::{self, Named, WriterOptions};
use core::time::Duration;
use lkas_core::Scalar;
use lkas_shm::{
    AnyChannel, ChannelName, ChannelType, DescribedField, Description, FieldKind, OpenError, OpenOptions, Reader, Wait,
    clock,
};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// How often to look whether a quiet channel was replaced, and for one that has gone, in nanoseconds.
const LOOK_EVERY: u64 = 100_000_000;
const RETRY_EVERY: u64 = 10_000_000;

/// A field as Python code describes it: name, kind, count, offset, unit.
type Field = (String, String, Option<usize>, usize, String);

fn channel_type(name: &str, fields: Vec<Field>, size: usize, align: usize) -> PyResult<ChannelType> {
    let described = |(name, kind, count, offset, unit): Field| {
        let scalar = Scalar::ALL.into_iter().find(|scalar| scalar.name() == kind);
        let kind = match scalar {
            Some(scalar) => FieldKind::Number(scalar),
            None if kind == "bool" => FieldKind::Bool,
            None if kind == "text" => FieldKind::Text,
            None => {
                return Err(PyValueError::new_err(format!("field {name} is of kind {kind}, which no channel knows")));
            }
        };
        Ok(DescribedField { name, kind, count, repeat: None, offset, unit, present: None })
    };
    let fields = fields.into_iter().map(described).collect::<PyResult<Vec<_>>>()?;
    ChannelType::new(name, &fields, "", size, align).map_err(errors::value)
}

fn fields_of(description: &Description) -> Vec<Field> {
    let fields = |field: &DescribedField| {
        let kind = match &field.kind {
            FieldKind::Number(scalar) | FieldKind::Code(scalar, _) => scalar.name(),
            FieldKind::Text => "text",
            // A byte that is 0 or 1, and whatever there may be one day, as bytes.
            FieldKind::Bool => "bool",
            _ => "u8",
        };
        let (name, offset, unit) = (field.name.clone(), field.offset, field.unit.clone());
        let (kind, count) = (kind.to_owned(), field.count);
        // What is there several times is a field for each: numpy has no name for the others.
        let (times, stride) = field.repeat.unwrap_or((1, 0));
        let name_of =
            move |item: usize| if stride > 0 { name.replacen("[]", &format!("[{item}]"), 1) } else { name.clone() };
        (0..times).map(move |item| (name_of(item), kind.clone(), count, offset + item * stride, unit.clone()))
    };
    description.fields().iter().flat_map(fields).collect()
}

/// The writer of a channel of bytes, described by fields. For `lkas_channels.Channel`.
#[pyclass(frozen, module = "lkas_channels._native", name = "_RecordWriter")]
pub(crate) struct RecordWriter {
    writer: Shared<Named<[u8]>>,
}

#[pymethods]
impl RecordWriter {
    #[new]
    #[pyo3(signature = (name, type_name, fields, size, align, *, namespace = "", readers = 8, period = None,
        max_age = None, mode = 0o600, group = None, foreign_owner = false, grace = 1.0))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        name: &str,
        type_name: &str,
        fields: Vec<Field>,
        size: usize,
        align: usize,
        namespace: &str,
        readers: usize,
        period: Option<f64>,
        max_age: Option<f64>,
        mode: u32,
        group: Option<u32>,
        foreign_owner: bool,
        grace: f64,
    ) -> PyResult<Self> {
        let name = shared::channel_name(namespace, name)?;
        let options = WriterOptions { readers, period, max_age, mode, group, foreign_owner, grace }.checked()?;
        let of = channel_type(type_name, fields, size, align)?;
        let writer = writers::create(py, &name, options, |options| AnyChannel::create(&name, of.clone(), options))?;
        Ok(Self { writer: Shared::new("writer", name.to_string(), writer) })
    }

    fn write(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let bytes = PyBuffer::<u8>::get(value)?.to_vec(py)?;
        writers::publish(py, &self.writer, |writer| {
            let mut loan = writer.loan();
            if loan.len() != bytes.len() {
                return Err(PyValueError::new_err(format!("{} bytes, expected {}", bytes.len(), loan.len())));
            }
            loan.copy_from_slice(&bytes);
            loan.publish();
            Ok(())
        })
    }

    #[getter]
    fn sequence(&self, py: Python<'_>) -> PyResult<u64> {
        self.writer.with(py, |named| Ok(named.writer.sequence()))
    }

    #[getter]
    fn name(&self) -> &str {
        self.writer.name()
    }

    #[getter]
    fn closed(&self) -> bool {
        self.writer.is_closed()
    }

    fn close(&self, py: Python<'_>) {
        self.writer.close(py);
    }
}

/// What is read, and where to find it again.
struct Records {
    name: ChannelName,
    expected: Option<ChannelType>,
    options: OpenOptions,
    reader: Reader<[u8]>,
    last: Option<(Vec<u8>, u64, u64)>,
    missed_before: u64,
    looked: u64,
}

/// Why a channel is not read.
enum Unread {
    Open(OpenError),
    Type(String),
}

impl Unread {
    fn error(self, name: &ChannelName) -> PyErr {
        match self {
            Self::Open(why) => errors::open(why),
            Self::Type(difference) => WrongType::new_err(format!(
                "channel {name} carries another type than that of the dtype: {difference}; both sides have to agree on the \
                 type's name, fields, offsets, units, size and alignment, which is that of np.dtype(..., align=True) in Rust"
            )),
        }
    }
}

fn open(
    name: &ChannelName,
    expected: Option<&ChannelType>,
    options: OpenOptions,
) -> Result<(Description, Reader<[u8]>), Unread> {
    let (description, reader) = AnyChannel::open(name, options).map_err(Unread::Open)?;
    match expected {
        Some(expected) => match description.channel_type().difference(expected) {
            Some(difference) => Err(Unread::Type(difference)),
            None => Ok((description, reader)),
        },
        None => Ok((description, reader)),
    }
}

impl Records {
    /// Goes over to the channel that has this one's name now, where this one was replaced or removed.
    fn follow(&mut self) -> Result<(), Unread> {
        if self.reader.has_fresh() {
            return Ok(());
        }
        let now = clock::now();
        let since = now.saturating_sub(self.looked);
        if !self.reader.is_retired() {
            if since < LOOK_EVERY {
                return Ok(());
            }
            // A wait that ends by its time looks whether the segment has lost both name and writer.
            let _ = self.reader.wait(Duration::from_micros(1));
        } else if since < RETRY_EVERY {
            return Ok(());
        }
        self.looked = now;
        if !self.reader.is_retired() {
            return Ok(());
        }
        match open(&self.name, self.expected.as_ref(), self.options.grace(Duration::ZERO)) {
            Ok((_, reader)) => {
                self.missed_before += self.reader.missed();
                self.reader = reader;
                Ok(())
            }
            Err(Unread::Open(OpenError::NoSuchChannel { .. })) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// Whether there was something new, which is the last value now.
    fn take(&mut self) -> Result<bool, Unread> {
        self.follow()?;
        let Some(sample) = self.reader.take() else { return Ok(false) };
        self.last = Some((sample.to_vec(), sample.sequence(), sample.time()));
        Ok(true)
    }

    fn wait(&mut self, timeout: Duration) -> Result<bool, Unread> {
        self.follow()?;
        if self.reader.is_retired() && !self.reader.has_fresh() {
            // Nobody wakes who sleeps there.
            std::thread::sleep(timeout.min(Duration::from_nanos(RETRY_EVERY)));
            return Ok(false);
        }
        Ok(self.reader.wait(timeout) == Wait::Fresh)
    }
}

/// A reader of a channel of any type, as bytes. For `lkas_channels.Channel`.
#[pyclass(frozen, module = "lkas_channels._native", name = "_RecordReader")]
pub(crate) struct RecordReader {
    records: Shared<Records>,
    channel: ChannelName,
    /// The name of the channel's type.
    #[pyo3(get)]
    type_name: String,
    fields: Vec<Field>,
    /// Bytes of a value.
    #[pyo3(get)]
    size: usize,
    /// What the address of a value is a multiple of.
    #[pyo3(get)]
    align: usize,
}

impl RecordReader {
    fn bytes<'py>(&self, py: Python<'py>, last: bool, max_age: Option<f64>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let max_age = max_age.map(|age| seconds("max_age", age)).transpose()?;
        self.records.with(py, |records| {
            let fresh = records.take().map_err(|why| why.error(&self.channel))?;
            let Some((bytes, _, published)) = records.last.as_ref().filter(|_| fresh || last) else { return Ok(None) };
            if let Some(max_age) = max_age {
                check_age(self.records.name(), *published, max_age)?;
            }
            Ok(Some(PyBytes::new(py, bytes)))
        })
    }
}

#[pymethods]
impl RecordReader {
    /// `expected`: type name, fields, size and alignment; None takes what there is.
    #[new]
    #[pyo3(signature = (name, expected, *, wait = 0.0, namespace = "", foreign_owner = false))]
    fn new(
        py: Python<'_>,
        name: &str,
        expected: Option<(String, Vec<Field>, usize, usize)>,
        wait: f64,
        namespace: &str,
        foreign_owner: bool,
    ) -> PyResult<Self> {
        let options = OpenOptions::new().foreign_owner(foreign_owner);
        let channel = shared::channel_name(namespace, name)?;
        let of = |(name, fields, size, align): (String, _, _, _)| channel_type(&name, fields, size, align);
        let expected = expected.map(of).transpose()?;
        let found =
            shared::open_within(py, wait, options, |options| match open(&channel, expected.as_ref(), options) {
                Err(Unread::Open(why)) => Err(why),
                found => Ok(found),
            })?;
        let (description, reader) = found.map_err(|why| why.error(&channel))?;
        let fields = fields_of(&description);
        // What is read without a type of one's own stays of the type that was found.
        let expected = Some(expected.unwrap_or_else(|| description.channel_type().clone()));
        let (name, looked) = (channel.clone(), clock::now());
        let records = Records { name, expected, options, reader, last: None, missed_before: 0, looked };
        Ok(Self {
            records: Shared::new("reader", channel.to_string(), records),
            channel,
            type_name: description.type_name().to_owned(),
            fields,
            size: description.channel_type().payload_size(),
            align: description.channel_type().payload_align(),
        })
    }

    #[getter]
    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.bytes(py, false, None)
    }

    #[pyo3(signature = (max_age = None))]
    fn latest<'py>(&self, py: Python<'py>, max_age: Option<f64>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.bytes(py, true, max_age)
    }

    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.records.wait(py, timeout, |records, left| records.wait(left).map_err(|why| why.error(&self.channel)))
    }

    #[getter]
    fn name(&self) -> &str {
        self.records.name()
    }

    #[getter]
    fn missed(&self, py: Python<'_>) -> PyResult<u64> {
        self.records.with(py, |records| Ok(records.missed_before + records.reader.missed()))
    }

    #[getter]
    fn sequence(&self, py: Python<'_>) -> PyResult<u64> {
        self.records.with(py, |records| Ok(records.last.as_ref().map_or(0, |last| last.1)))
    }

    #[getter]
    fn writer_alive(&self, py: Python<'_>) -> PyResult<bool> {
        self.records.with(py, |records| Ok(records.reader.has_writer()))
    }

    #[getter]
    fn closed(&self) -> bool {
        self.records.is_closed()
    }

    fn close(&self, py: Python<'_>) {
        self.records.close(py);
    }
}
