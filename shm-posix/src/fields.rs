//! The description of a value's fields: a line of text for each, which `lkas-core` writes when a program is compiled.
//!
//! The grammar of a line is in the design document.

use crate::error::HeaderError;
use core::fmt;
use lkas_core::Scalar;

/// One field of a channel's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedField {
    /// The field's name, with those of the fields that it lies in: `wheels[].rate`.
    pub name: String,
    /// How its bytes are to be read.
    pub kind: FieldKind,
    /// How many values it has, one after the other; `None` where it is a single one and no array.
    pub count: Option<usize>,
    /// How often it is there again, for a field in an array of messages: how many there are, and the bytes from one to the
    /// next. `None` where there is one.
    pub repeat: Option<(usize, usize)>,
    /// Its first byte, from the start of the payload.
    pub offset: usize,
    /// Its unit, empty where it has none.
    pub unit: String,
    /// What says whether there is a value; `None` if there always is one.
    pub present: Option<PresentBit>,
}

/// A bit of the payload that is 1 where a field has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentBit {
    /// The byte that it is in, from the start of the payload.
    pub byte: usize,
    /// Which one of that byte: 0, the least, to 7.
    pub bit: u8,
    /// Whether each of a [repeated](DescribedField::repeat) field has one of its own, as far apart as the values are; this is
    /// that of the first. Otherwise it is the one for all.
    pub in_each: bool,
}

impl PresentBit {
    /// Whether the bit is 1, for the field's value `moved` bytes behind its first; `None` where `payload` is too short.
    fn is_set(self, payload: &[u8], moved: usize) -> Option<bool> {
        let moved = if self.in_each { moved } else { 0 };
        payload.get(self.byte + moved).map(|byte| byte & 1 << self.bit != 0)
    }
}

/// How a field's bytes are to be read. Numbers are little-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// A number.
    Number(Scalar),
    /// A byte that is 0 for false and 1 for true.
    Bool,
    /// UTF-8, as many bytes as [`DescribedField::count`] says, the rest of them zero.
    Text,
    /// A number that stands for a name.
    Code(Scalar, Vec<(i128, String)>),
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// An unsigned integer; also a number that stands for no name or truth value, where one should.
    Unsigned(u64),
    /// A signed integer, likewise.
    Signed(i64),
    /// A floating-point number, which may be NaN or infinite.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A name that a number stands for, or text: all that was written, which may be control characters too. Shown as text,
    /// those are escaped.
    Name(String),
    /// The values of an array.
    List(Vec<Self>),
    /// In a list: there is no value here, though there may be in the next place.
    Absent,
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Name(name) => f.write_str(&printable(name)),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index > 0 { ", " } else { "" })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Absent => f.write_str("-"),
        }
    }
}

impl FieldKind {
    fn scalar(&self) -> Scalar {
        match self {
            Self::Number(scalar) | Self::Code(scalar, _) => *scalar,
            Self::Bool | Self::Text => Scalar::U8,
        }
    }

    /// The value that `bytes` begin with.
    fn read(&self, bytes: &[u8]) -> Option<FieldValue> {
        let value = number(self.scalar(), bytes)?;
        let whole = match &value {
            FieldValue::Unsigned(number) => i128::from(*number),
            FieldValue::Signed(number) => i128::from(*number),
            _ => return Some(value),
        };
        let meant = match self {
            Self::Number(_) | Self::Text => None,
            Self::Bool => match whole {
                0 => Some(FieldValue::Bool(false)),
                1 => Some(FieldValue::Bool(true)),
                _ => None,
            },
            Self::Code(_, names) => {
                names.iter().find(|name| name.0 == whole).map(|name| FieldValue::Name(name.1.clone()))
            }
        };
        Some(meant.unwrap_or(value))
    }
}

fn number(scalar: Scalar, bytes: &[u8]) -> Option<FieldValue> {
    use FieldValue::{Float, Signed, Unsigned};
    Some(match scalar {
        Scalar::U8 => Unsigned(u8::from_le_bytes(*bytes.first_chunk()?).into()),
        Scalar::U16 => Unsigned(u16::from_le_bytes(*bytes.first_chunk()?).into()),
        Scalar::U32 => Unsigned(u32::from_le_bytes(*bytes.first_chunk()?).into()),
        Scalar::U64 => Unsigned(u64::from_le_bytes(*bytes.first_chunk()?)),
        Scalar::I8 => Signed(i8::from_le_bytes(*bytes.first_chunk()?).into()),
        Scalar::I16 => Signed(i16::from_le_bytes(*bytes.first_chunk()?).into()),
        Scalar::I32 => Signed(i32::from_le_bytes(*bytes.first_chunk()?).into()),
        Scalar::I64 => Signed(i64::from_le_bytes(*bytes.first_chunk()?)),
        // In decimal as short as in single precision.
        Scalar::F32 => Float(f32::from_le_bytes(*bytes.first_chunk()?).to_string().parse().ok()?),
        Scalar::F64 => Float(f64::from_le_bytes(*bytes.first_chunk()?)),
    })
}

impl DescribedField {
    /// The field's value in `payload`; `None` where a bit says that there is none, or where `payload` is too short.
    #[must_use]
    pub fn read(&self, payload: &[u8]) -> Option<FieldValue> {
        if let Some(present) = self.present.filter(|present| !present.in_each)
            && !present.is_set(payload, 0)?
        {
            return None;
        }
        let Some((count, stride)) = self.repeat else { return self.read_at(payload, self.offset) };
        let each = (0..count).map(|item| {
            let moved = item * stride;
            match self.present {
                Some(present) if !present.is_set(payload, moved)? => Some(FieldValue::Absent),
                _ => self.read_at(payload, self.offset + moved),
            }
        });
        each.collect::<Option<_>>().map(FieldValue::List)
    }

    fn read_at(&self, payload: &[u8], offset: usize) -> Option<FieldValue> {
        let bytes = payload.get(offset..)?;
        let Some(count) = self.count else { return self.kind.read(bytes) };
        let size = self.kind.scalar().size();
        if self.kind == FieldKind::Text {
            let text = |bytes| String::from_utf8_lossy(until_zero(bytes)).into_owned();
            return bytes.get(..count).map(text).map(FieldValue::Name);
        }
        let values = bytes.get(..size * count)?.chunks_exact(size).map(|bytes| self.kind.read(bytes));
        values.collect::<Option<_>>().map(FieldValue::List)
    }

    /// Bytes from the first of its values to the end of the last.
    #[must_use]
    pub fn size(&self) -> usize {
        let one = self.kind.scalar().size() * self.count.unwrap_or(1);
        self.repeat.map_or(one, |(count, stride)| count.saturating_sub(1) * stride + one)
    }

    fn parse(line: &str, size: usize) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let &[name, kind, offset, unit, present, names] = words.as_slice() else { return None };
        let (kind, repeat) = match kind.split_once('*') {
            None => (kind, None),
            Some((kind, repeat)) => {
                let (count, stride) = repeat.split_once('+')?;
                let count: usize = count.parse().ok().filter(|count| *count > 0)?;
                (kind, Some((count, stride.parse().ok()?)))
            }
        };
        let (kind, count) = match kind.strip_suffix(']') {
            None => (kind, None),
            Some(array) => {
                let (kind, count) = array.split_once('[')?;
                (kind, Some(count.parse().ok()?))
            }
        };
        let scalar = Scalar::ALL.into_iter().find(|scalar| scalar.name() == kind);
        let kind = match (scalar, names) {
            (None, "-") if kind == "bool" => FieldKind::Bool,
            (None, "-") if kind == "text" && count.is_some() => FieldKind::Text,
            (Some(scalar), "-") => FieldKind::Number(scalar),
            (Some(scalar), names) if !matches!(scalar, Scalar::F32 | Scalar::F64) => {
                let parse = |entry: &str| {
                    let (number, name) = entry.split_once('=')?;
                    Some((number.parse().ok()?, name.to_owned()))
                };
                FieldKind::Code(scalar, names.split(',').map(parse).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        let offset: usize = offset.parse().ok()?;
        let (more, stride) = repeat.map_or((0, 0), |(count, stride): (usize, usize)| (count - 1, stride));
        let one = kind.scalar().size().checked_mul(count.unwrap_or(1))?;
        // So that there are no more of them than bytes: who reads them all makes a list of that length.
        if more > 0 && stride < one.max(1) {
            return None;
        }
        let last = more.checked_mul(stride)?.checked_add(offset)?;
        let end = last.checked_add(one)?;
        let present = match present {
            "-" => None,
            place => {
                let in_each = place.ends_with('*');
                let (byte, bit) = place.strip_suffix('*').unwrap_or(place).split_once(':')?;
                let (byte, bit): (usize, u8) = (byte.parse().ok()?, bit.parse().ok()?);
                // The last one is in the payload as well.
                let last = if in_each { byte.checked_add(more.checked_mul(stride)?)? } else { byte };
                if last >= size || bit > 7 || in_each && repeat.is_none() {
                    return None;
                }
                Some(PresentBit { byte, bit, in_each })
            }
        };
        let unit = if unit == "-" { "" } else { unit };
        let field = Self { name: name.to_owned(), kind, count, repeat, offset, unit: unit.to_owned(), present };
        (end <= size && !name.is_empty()).then_some(field)
    }
}

/// The field's line in a description, with its end.
impl fmt::Display for DescribedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            FieldKind::Bool => "bool",
            FieldKind::Text => "text",
            kind => kind.scalar().name(),
        };
        write!(f, "{} {kind}", self.name)?;
        if let Some(count) = self.count {
            write!(f, "[{count}]")?;
        }
        if let Some((count, stride)) = self.repeat {
            write!(f, "*{count}+{stride}")?;
        }
        write!(f, " {} {} ", self.offset, if self.unit.is_empty() { "-" } else { &self.unit })?;
        match self.present {
            Some(PresentBit { byte, bit, in_each }) => write!(f, "{byte}:{bit}{} ", if in_each { "*" } else { "" })?,
            None => f.write_str("- ")?,
        }
        match &self.kind {
            FieldKind::Code(_, names) => {
                for (index, (number, name)) in names.iter().enumerate() {
                    write!(f, "{}{number}={name}", if index > 0 { "," } else { "" })?;
                }
                writeln!(f)
            }
            _ => writeln!(f, "-"),
        }
    }
}

pub(crate) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == ',')
}

/// Reads the lines; an error where one is malformed or its field is not inside of a payload of `size` bytes.
pub(crate) fn read(bytes: &[u8], size: usize) -> Result<Vec<DescribedField>, HeaderError> {
    let lines = until_zero(bytes).split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let line = text(line);
            DescribedField::parse(&line, size).ok_or(HeaderError::Field { line })
        })
        .collect()
}

/// Foreign bytes up to the first zero, as text to print.
pub(crate) fn text(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(until_zero(bytes)))
}

/// `text` for a person: control characters, which a terminal obeys, are escaped, and nothing else is changed.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            printable.extend(letter.escape_debug());
        } else {
            printable.push(letter);
        }
    }
    printable
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

    const LINES: &str = "a f32 0 - - -\n\
        mode i16 4 - - -1=off,0=on\n\
        grid u8[3] 6 px 63:7 -\n\
        on bool 9 - - -\n\
        gears[1].speed f64 10 km/h - -\n\
        wheels[].rate u8[2]*3+4 20 - - -\n\
        wheels[].name text[2]*3+4 22 - - -\n\
        spots[].hue u8*3+2 33 - 32:7* -\n";

    #[test]
    fn what_is_read_is_written() {
        let fields = described(LINES).unwrap();
        assert_eq!(fields.iter().map(ToString::to_string).collect::<String>(), LINES);
        assert_eq!(
            (fields[1].kind.clone(), fields[2].present),
            (
                FieldKind::Code(Scalar::I16, vec![(-1, "off".into()), (0, "on".into())]),
                Some(PresentBit { byte: 63, bit: 7, in_each: false })
            )
        );
    }

    #[test]
    fn quotes_and_backslashes_are_letters_like_any_other() {
        let line = "driver's u8 0 \"/\\ - 0=don't,1=\"\n";
        let fields = described(line).unwrap();
        assert_eq!((fields[0].name.as_str(), fields[0].unit.as_str()), ("driver's", "\"/\\"));
        assert_eq!(fields[0].to_string(), line);
        assert_eq!(fields[0].read(&[0]), Some(FieldValue::Name("don't".into())));
    }

    #[test]
    fn text_is_what_was_written_and_shown_without_what_a_terminal_obeys() {
        let fields = described("name text[16] 0 - - -").unwrap();
        let mut payload = [0; 64];
        let written = "it's \"5\\6\"\n\x1b\u{9b}";
        payload[..written.len()].copy_from_slice(written.as_bytes());
        let value = fields[0].read(&payload).unwrap();
        assert_eq!(value, FieldValue::Name(written.into()));
        assert_eq!(value.to_string(), "it's \"5\\6\"\\n\\u{1b}\\u{9b}");
    }

    #[test]
    fn values_are_shown_as_what_they_mean() {
        let fields = described(LINES).unwrap();
        let mut payload = [0; 64];
        payload[..4].copy_from_slice(&0.1_f32.to_le_bytes());
        payload[4..10].copy_from_slice(&[0xff, 0xff, 7, 8, 9, 1]);
        let shown = |payload: &[u8]| {
            let values = fields.iter().map(|field| field.read(payload));
            values.map(|value| value.map_or("-".to_owned(), |value| value.to_string())).collect::<Vec<_>>()
        };
        payload[20..32].copy_from_slice(b"\x01\x02ab\x03\x04c\0\x05\x06de");
        let wheels = ["[[1, 2], [3, 4], [5, 6]]", "[ab, c, de]"];
        payload[32..38].copy_from_slice(&[0x7f, 1, 0x80, 2, 0, 3]);
        assert_eq!(shown(&payload), ["0.1", "off", "-", "true", "0", wheels[0], wheels[1], "[-, 2, -]"]);
        payload[63] = 0x80;
        payload[4..10].copy_from_slice(&[0xfe, 0xff, 7, 8, 9, 2]);
        assert_eq!(
            shown(&payload),
            ["0.1", "-2", "[7, 8, 9]", "2", "0", wheels[0], wheels[1], "[-, 2, -]"],
            "what means nothing is a number"
        );
        assert_eq!(shown(&payload[..8]), ["0.1", "-2", "-", "-", "-", "-", "-", "-"], "too short");
    }

    #[test]
    fn malformed_lines_and_fields_beyond_the_payload_are_errors() {
        assert_eq!(described("").unwrap(), []);
        for line in [
            "a f32 61 - - -",
            "a f32 0 - -",
            "a f33 0 - - -",
            " f32 0 - - -",
            "a f32 18446744073709551615 - - -",
            "a f32 0 - 64:0 -",
            "a f32 0 - 0:8 -",
            "a f32 0 - 0 -",
            "a f32 0 - 8:0* -",
            "a u8*3+4 0 - 56:0* -",
            "a u8*3+4 0 - 18446744073709551615:0* -",
            "a u8*3+4 0 - 0:0** -",
            "a f32 0 - - 0=off",
            "a u8 0 - - off",
            "a u8[65] 0 - - -",
            "a u8[18446744073709551615] 8 - - -",
            "a u8] 0 - - -",
            "a text 0 - - -",
            "a u8*2 0 - - -",
            "a u8*0+1 0 - - -",
            "a u8*2+0 0 - - -",
            "a u8*18446744073709551615+0 0 - - -",
            "a u16*2+1 0 - - -",
            "a u8[4]*2+3 0 - - -",
            "a text[0]*2+0 0 - - -",
            "a text[0]*18446744073709551615+0 0 - - -",
            "a text[0]*66+1 0 - - -",
            "a u8*3+32 0 - - -",
            "a u8*2+18446744073709551615 8 - - -",
            "a bool 0 - - 0=off",
        ] {
            assert_eq!(described(line), Err(HeaderError::Field { line: line.to_owned() }));
        }
        assert!(
            described("\x1b[2J f32 0 - - -").unwrap()[0].name.starts_with("\\u{1b}"),
            "nothing that a terminal obeys"
        );
    }
}
