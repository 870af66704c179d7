//! What the first page of a segment says of its channel, for whoever was not compiled for the channel's type.
//!
//! The fields of the type are text, a line for each: name, kind, offset, unit or `-`, present bit or `-`.

use crate::error::HeaderError;
use crate::header::{Header, PAGE};
use core::fmt;
use lkas_core::Layout;
use lkas_messages::{Field, ImageShape, Kind};
use zerocopy::FromBytes;

/// What a segment's header says of its channel.
///
/// # Examples
/// ```no_run
/// use lkas_shm::Description;
///
/// let segment = std::fs::read("/dev/shm/vehicle_control")?;
/// let channel = Description::parse(&segment, segment.len() as u64)?;
/// println!("{} for {} readers", channel.type_name(), channel.layout().readers());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    type_name: String,
    layout: Layout,
    shape: Option<ImageShape>,
    fields: Vec<DescribedField>,
}

/// One field of a channel's type: a [`Field`] that was read from a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedField {
    /// The field's name.
    pub name: String,
    /// How its bytes are to be read.
    pub kind: Kind,
    /// Its first byte, from the start of the payload. All of the field lies inside of the payload.
    pub offset: usize,
    /// Its unit, empty where it has none.
    pub unit: String,
    /// The bit of the field `present` that says whether there is a value; `None` if there always is one.
    pub present_bit: Option<u8>,
}

impl Description {
    /// Reads the header of a segment of `size` bytes from its first bytes, at least one page of 4096.
    ///
    /// Foreign bytes: everything is checked against everything else, and nothing makes it panic.
    ///
    /// # Errors
    /// [`HeaderError`] where they are no header of a channel that this library can read.
    pub fn parse(bytes: &[u8], size: u64) -> Result<Self, HeaderError> {
        let short = || HeaderError::Size { found: bytes.len() as u64, expected: PAGE as u64 };
        let (header, _) = Header::read_from_prefix(bytes).map_err(|_| short())?;
        let layout = header.layout(size)?;
        Ok(Self {
            type_name: header.type_name(),
            layout,
            shape: ImageShape::from_words(header.shape()),
            fields: read(header.fields(), layout.payload_size())?,
        })
    }

    /// The type's name, with whatever can't be printed escaped.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// How many readers there can be, and the sizes of the channel's parts.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The pictures' shape, on a channel of pictures.
    #[must_use]
    pub fn shape(&self) -> Option<ImageShape> {
        self.shape
    }

    /// The type's fields.
    #[must_use]
    pub fn fields(&self) -> &[DescribedField] {
        &self.fields
    }

    /// Each field's value in `payload`; `None` where the field `present` says that there is none, or where `payload` is
    /// too short.
    pub fn values<'a>(&'a self, payload: &'a [u8]) -> impl Iterator<Item = (&'a DescribedField, Option<Number>)> {
        let present = self.fields.iter().find(|field| field.name == "present");
        let present = present.and_then(|field| field.read(payload));
        self.fields.iter().map(move |field| {
            let there = match (field.present_bit, present) {
                (Some(bit), Some(Number::Unsigned(present))) => present & 1 << bit != 0,
                _ => true,
            };
            (field, field.read(payload).filter(|_| there))
        })
    }
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer.
    Unsigned(u64),
    /// A floating-point number, which may be NaN or infinite.
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

impl DescribedField {
    /// The field's bytes in `payload` as a number; `None` where `payload` is too short.
    #[must_use]
    pub fn read(&self, payload: &[u8]) -> Option<Number> {
        let bytes = payload.get(self.offset..)?;
        Some(match self.kind {
            Kind::U16 => Number::Unsigned(u16::from_le_bytes(*bytes.first_chunk()?).into()),
            Kind::U32 => Number::Unsigned(u32::from_le_bytes(*bytes.first_chunk()?).into()),
            Kind::U64 => Number::Unsigned(u64::from_le_bytes(*bytes.first_chunk()?)),
            // In decimal as short as in single precision.
            Kind::F32 => Number::Float(f32::from_le_bytes(*bytes.first_chunk()?).to_string().parse().ok()?),
            Kind::F64 => Number::Float(f64::from_le_bytes(*bytes.first_chunk()?)),
        })
    }
}

/// Writes as many whole lines as there is room for.
pub(crate) fn write(fields: &[Field], into: &mut [u8]) {
    let mut length = 0;
    for Field { name, kind, offset, unit, present_bit } in fields {
        let unit = if unit.is_empty() { "-" } else { unit };
        let bit = present_bit.map_or("-".to_owned(), |bit| bit.to_string());
        let line = format!("{name} {} {offset} {unit} {bit}\n", kind.name());
        let Some(room) = into.get_mut(length..length + line.len()) else { return };
        room.copy_from_slice(line.as_bytes());
        length += line.len();
    }
}

/// Reads the lines; an error where one is malformed or its field is not inside of a payload of `size` bytes.
fn read(bytes: &[u8], size: usize) -> Result<Vec<DescribedField>, HeaderError> {
    let lines = until_zero(bytes).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| field(&text(line), size)).collect()
}

fn field(line: &str, size: usize) -> Result<DescribedField, HeaderError> {
    let parse = || {
        let words: Vec<&str> = line.split(' ').collect();
        let &[name, kind, offset, unit, bit] = words.as_slice() else { return None };
        let kind = Kind::from_name(kind)?;
        let offset: usize = offset.parse().ok()?;
        let end = offset.checked_add(kind.size())?;
        let present_bit = match bit {
            "-" => None,
            bit => Some(bit.parse().ok().filter(|bit| *bit < 32)?),
        };
        let unit = if unit == "-" { "" } else { unit };
        let field = DescribedField { name: name.to_owned(), kind, offset, unit: unit.to_owned(), present_bit };
        (end <= size && !name.is_empty()).then_some(field)
    };
    parse().ok_or_else(|| HeaderError::Field { line: line.to_owned() })
}

/// Foreign bytes up to the first zero, as text to print: line ends and what can't be printed are escaped.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(until_zero(bytes)).escape_debug().collect()
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Result<Vec<DescribedField>, HeaderError> {
        read(text.as_bytes(), 64)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0; 100];
        let field = |name, offset, unit, present_bit| Field { name, kind: Kind::F32, offset, unit, present_bit };
        write(&[field("a", 0, "", None), field("speed", 60, "km/h", Some(3))], &mut bytes);
        let fields = read(&bytes, 64).unwrap();
        assert_eq!(fields.len(), 2);
        assert_eq!((fields[0].unit.as_str(), fields[0].present_bit), ("", None));
        assert_eq!((fields[1].name.as_str(), fields[1].offset, fields[1].unit.as_str()), ("speed", 60, "km/h"));
        assert_eq!(fields[1].present_bit, Some(3));
    }

    #[test]
    fn only_whole_lines_are_written() {
        let mut bytes = [0; 30];
        let field = Field { name: "longitude", kind: Kind::F64, offset: 8, unit: "deg", present_bit: None };
        write(&[field, field], &mut bytes);
        assert_eq!(read(&bytes, 64).unwrap().len(), 1);
    }

    #[test]
    fn malformed_lines_and_fields_beyond_the_payload_are_errors() {
        assert_eq!(described("").unwrap(), []);
        for line in ["a f32 61 - -", "a f32 0 -", "a f33 0 - -", " f32 0 - -", "a f32 18446744073709551615 - -"] {
            assert_eq!(described(line), Err(HeaderError::Field { line: line.to_owned() }));
        }
        assert!(described("a f32 0 - 32").is_err());
        assert!(
            described("\x1b[2J f32 0 - -").unwrap()[0].name.starts_with("\\u{1b}"),
            "nothing that a terminal obeys"
        );
    }
}
