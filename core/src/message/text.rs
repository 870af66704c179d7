//! The description of a message as text, made when the program is compiled, and the fingerprint over it.
//!
//! A line for each field: name, kind, offset, unit, present bit, names of numbers, with a space between them and `-` for
//! what there is not. The design document has the grammar.

use crate::message::Message;
use crate::message::kind::{Field, Kind};

/// The longest description, in bytes: what the header of a segment has room for.
pub const MAX_DESCRIPTION: usize = 3840;

/// The longest name of a type, in bytes.
pub const MAX_TYPE_NAME: usize = 63;

/// A description of a message's fields.
#[derive(Clone, Copy, Debug)]
pub struct DescriptionText {
    bytes: [u8; MAX_DESCRIPTION],
    length: usize,
}

/// The fields of `M`, a line for each: what stands in the header of a segment.
///
/// A description that is too long is an error when the program is compiled.
#[must_use]
pub const fn description<M: Message + ?Sized>() -> &'static DescriptionText {
    const { &DescriptionText::of(M::NAME, M::FIELDS) }
}

/// A hash over the name of `M`, its [semantics](Message::SEMANTICS) and its [`description`]: two sides that have the same
/// one agree on what the bytes are.
///
/// It is 64-bit FNV-1a over these three texts, before each of them its length in bytes as eight bytes, little-endian.
#[must_use]
pub const fn fingerprint<M: Message + ?Sized>() -> u64 {
    const {
        let described = description::<M>();
        fingerprint_of(M::NAME, M::SEMANTICS, described.as_bytes())
    }
}

/// The fingerprint of a type that is only known at run time.
#[must_use]
pub const fn fingerprint_of(name: &str, semantics: &str, description: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hash = hash_text(hash, name.as_bytes());
    hash = hash_text(hash, semantics.as_bytes());
    hash_text(hash, description)
}

const fn hash_text(hash: u64, text: &[u8]) -> u64 {
    hash_bytes(hash_bytes(hash, &(text.len() as u64).to_le_bytes()), text)
}

const fn hash_bytes(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [byte, tail @ ..] = bytes {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        bytes = tail;
    }
    hash
}

/// The way to a field: `wheels[].rates[2]`.
#[derive(Clone, Copy)]
enum Path<'a> {
    Top,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
    Each(&'a Path<'a>),
}

/// What the names of a field's numbers are.
type Names = &'static [(&'static str, i128)];

/// The byte and the bit in it that say whether there is a value.
#[derive(Clone, Copy)]
struct PresentBit {
    byte: usize,
    bit: usize,
    /// It lies in each item of the outermost array, and this is that of the first.
    in_each: bool,
}

/// What all parts of a field have in common.
#[derive(Clone, Copy)]
struct Common {
    unit: &'static str,
    present: Option<PresentBit>,
    /// How many of the outermost array there are, and the bytes from one to the next.
    repeat: Option<(usize, usize)>,
}

#[allow(clippy::panic)] // all of it runs when the program is compiled
#[allow(clippy::indexing_slicing)] // likewise
impl DescriptionText {
    const fn of(name: &str, fields: &[Field]) -> Self {
        check_word(name);
        assert!(name.len() <= MAX_TYPE_NAME, "the name of a message is longer than 63 bytes");
        let mut text = Self { bytes: [0; MAX_DESCRIPTION], length: 0 };
        text.fields(fields, &Path::Top, 0, Common { unit: "", present: None, repeat: None });
        text
    }

    /// The description as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        self.bytes.split_at(self.length).0
    }

    /// The description as text.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        match core::str::from_utf8(self.as_bytes()) {
            Ok(text) => text,
            // It is made of text alone.
            Err(_) => "",
        }
    }

    const fn fields(&mut self, fields: &[Field], path: &Path<'_>, start: usize, outer: Common) {
        let mut rest = fields;
        while let [field, tail @ ..] = rest {
            check_word(field.name);
            check_word(field.unit);
            let present = match field.present_bit {
                Some(bit) => {
                    let byte = start + present_offset(fields, bit) + bit as usize / 8;
                    Some(PresentBit { byte, bit: bit as usize % 8, in_each: outer.repeat.is_some() })
                }
                None => outer.present,
            };
            let common = Common { unit: field.unit, present, repeat: outer.repeat };
            self.values(field.kind, &Path::Field(path, field.name), start + field.offset, common);
            rest = tail;
        }
    }

    const fn values(&mut self, kind: Kind, path: &Path<'_>, offset: usize, common: Common) {
        match kind {
            Kind::Number(scalar) => self.line(path, scalar.name(), None, offset, common, &[]),
            Kind::Bool => self.line(path, "bool", None, offset, common, &[]),
            Kind::Text(size) => self.line(path, "text", Some(size), offset, common, &[]),
            Kind::Code(scalar, names) => self.line(path, scalar.name(), None, offset, common, names),
            Kind::Message(fields) => self.fields(fields, path, offset, common),
            Kind::Array(Kind::Number(scalar), count) => {
                self.line(path, scalar.name(), Some(count), offset, common, &[]);
            }
            Kind::Array(Kind::Bool, count) => self.line(path, "bool", Some(count), offset, common, &[]),
            Kind::Array(Kind::Code(scalar, names), count) => {
                self.line(path, scalar.name(), Some(count), offset, common, names);
            }
            // There is nothing to read, and no line of so many of nothing.
            Kind::Array(of, count) if count == 0 || of.size() == 0 => (),
            // The outermost array is one line for all, what is within it again an array is a line for each.
            Kind::Array(of, count) if common.repeat.is_none() => {
                let repeat = Some((count, of.size()));
                self.values(*of, &Path::Each(path), offset, Common { repeat, ..common });
            }
            Kind::Array(of, count) => {
                let mut item = 0;
                while item < count {
                    self.values(*of, &Path::Item(path, item), offset + item * of.size(), common);
                    item += 1;
                }
            }
        }
    }

    const fn line(
        &mut self,
        path: &Path<'_>,
        kind: &str,
        count: Option<usize>,
        offset: usize,
        common: Common,
        names: Names,
    ) {
        self.path(path);
        self.text(" ");
        self.text(kind);
        if let Some(count) = count {
            self.text("[");
            self.number(count as i128);
            self.text("]");
        }
        if let Some((count, stride)) = common.repeat {
            self.text("*");
            self.number(count as i128);
            self.text("+");
            self.number(stride as i128);
        }
        self.text(" ");
        self.number(offset as i128);
        self.text(" ");
        self.text(if common.unit.is_empty() { "-" } else { common.unit });
        self.text(" ");
        match common.present {
            Some(PresentBit { byte, bit, in_each }) => {
                self.number(byte as i128);
                self.text(":");
                self.number(bit as i128);
                self.text(if in_each { "*" } else { "" });
            }
            None => self.text("-"),
        }
        self.text(" ");
        self.names(names);
        self.text("\n");
    }

    const fn names(&mut self, mut names: Names) {
        if names.is_empty() {
            self.text("-");
        }
        while let [(name, number), tail @ ..] = names {
            check_word(name);
            self.number(*number);
            self.text("=");
            self.text(name);
            if !tail.is_empty() {
                self.text(",");
            }
            names = tail;
        }
    }

    const fn path(&mut self, path: &Path<'_>) {
        match path {
            Path::Top => (),
            Path::Field(before, name) => {
                self.path(before);
                if !matches!(before, Path::Top) {
                    self.text(".");
                }
                self.text(name);
            }
            Path::Each(before) => {
                self.path(before);
                self.text("[]");
            }
            Path::Item(before, item) => {
                self.path(before);
                self.text("[");
                self.number(*item as i128);
                self.text("]");
            }
        }
    }

    const fn number(&mut self, number: i128) {
        if number < 0 {
            self.text("-");
        }
        let mut rest = number.unsigned_abs();
        let mut power = 1;
        while rest / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            self.byte(b'0' + (rest / power) as u8);
            rest %= power;
            power /= 10;
        }
    }

    const fn text(&mut self, text: &str) {
        let mut bytes = text.as_bytes();
        while let [byte, tail @ ..] = bytes {
            self.byte(*byte);
            bytes = tail;
        }
    }

    const fn byte(&mut self, byte: u8) {
        assert!(
            self.length < MAX_DESCRIPTION,
            "the description of a message is longer than 3840 bytes: shorten names, or make arrays of numbers of many fields"
        );
        self.bytes[self.length] = byte;
        self.length += 1;
    }
}

/// Where the field `present` lies, which must have the bit.
#[allow(clippy::panic)] // when the program is compiled
const fn present_offset(fields: &[Field], bit: u8) -> usize {
    let mut rest = fields;
    while let [field, tail @ ..] = rest {
        if is_present(field.name) {
            assert!((bit as usize) < field.kind.size() * 8, "the field `present` has too few bits");
            return field.offset;
        }
        rest = tail;
    }
    panic!("a field that says `present = BIT` needs an unsigned integer named `present` beside it")
}

const fn is_present(name: &str) -> bool {
    matches!(name.as_bytes(), b"present")
}

/// Names and units stand between spaces, and names of numbers between commas.
const fn check_word(word: &str) {
    let mut bytes = word.as_bytes();
    while let [byte, tail @ ..] = bytes {
        assert!(
            *byte > b' ' && *byte != b',' && *byte != 0x7f,
            "a name or a unit of a message has a space, a comma or a control character in it"
        );
        bytes = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::kind::Scalar;

    const fn field(name: &'static str, kind: Kind, offset: usize) -> Field {
        Field { name, kind, offset, unit: "", present_bit: None }
    }

    const F32: Kind = Kind::Number(Scalar::F32);
    const POINT: &[Field] = &[field("x", F32, 0), Field { unit: "m", ..field("y", F32, 4) }];
    const SPOT: &[Field] = &[
        field("present", Kind::Number(Scalar::U8), 0),
        Field { present_bit: Some(3), ..field("hue", Kind::Number(Scalar::U8), 1) },
    ];
    const MODE: Kind = Kind::Code(Scalar::I16, &[("off", -1), ("on", 0)]);

    #[test]
    fn every_value_has_a_line_or_stands_in_one() {
        let text = DescriptionText::of(
            "Test",
            &[
                field("present", Kind::Number(Scalar::U16), 0),
                Field { present_bit: Some(9), ..field("mode", MODE, 2) },
                field("points", Kind::Array(&Kind::Message(POINT), 2), 4),
                field("grid", Kind::Array(&Kind::Array(&F32, 3), 2), 20),
                field("flags", Kind::Array(&Kind::Bool, 4), 44),
                Field { present_bit: Some(0), ..field("place", Kind::Message(POINT), 48) },
                field("deep", Kind::Array(&Kind::Array(&Kind::Message(POINT), 2), 3), 56),
                field("name", Kind::Text(8), 104),
                Field { present_bit: Some(1), ..field("spots", Kind::Array(&Kind::Message(SPOT), 2), 112) },
            ],
        );
        let expected = "present u16 0 - - -\n\
            mode i16 2 - 1:1 -1=off,0=on\n\
            points[].x f32*2+8 4 - - -\n\
            points[].y f32*2+8 8 m - -\n\
            grid[] f32[3]*2+12 20 - - -\n\
            flags bool[4] 44 - - -\n\
            place.x f32 48 - 0:0 -\n\
            place.y f32 52 m 0:0 -\n\
            deep[][0].x f32*3+16 56 - - -\n\
            deep[][0].y f32*3+16 60 m - -\n\
            deep[][1].x f32*3+16 64 - - -\n\
            deep[][1].y f32*3+16 68 m - -\n\
            name text[8] 104 - - -\n\
            spots[].present u8*2+2 112 - 0:1 -\n\
            spots[].hue u8*2+2 113 - 112:3* -\n";
        assert_eq!(text.as_str(), expected);
    }

    #[test]
    fn arrays_without_a_byte_have_no_line_where_each_item_would_have_one() {
        let text = DescriptionText::of(
            "Test",
            &[
                field("none", Kind::Array(&Kind::Message(POINT), 0), 0),
                field("deep", Kind::Array(&Kind::Array(&Kind::Message(POINT), 0), 3), 0),
                field("grid", Kind::Array(&Kind::Array(&F32, 0), 2), 0),
                field("names", Kind::Array(&Kind::Text(8), 0), 0),
                field("numbers", Kind::Array(&F32, 0), 0),
                field("one", F32, 0),
            ],
        );
        assert_eq!(text.as_str(), "numbers f32[0] 0 - - -\none f32 0 - - -\n");
    }

    #[test]
    fn lengths_keep_texts_apart() {
        let hash = fingerprint_of;
        assert_ne!(hash("ab", "c", b"d"), hash("a", "bc", b"d"));
        assert_ne!(hash("ab", "", b"d"), hash("a", "b", b"d"));
        assert_ne!(hash("a", "b", b"cd"), hash("a", "bc", b"d"));
        // For whoever writes another implementation.
        assert_eq!(hash("Wheel", "", b"rate f32 0 rad/s - -\n"), 0x3feb_79ef_d7d2_4314);
    }
}
