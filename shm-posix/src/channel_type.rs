//! What a channel carries.

use crate::error::TypeError;
use crate::fields::{self, DescribedField};
use lkas_core::{MAX_DESCRIPTION, MAX_TYPE_NAME, Message, Plain};

/// What a channel carries: a name, a description of the fields, and the size and alignment of a value.
///
/// Two sides understand each other where all of it is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelType {
    pub(crate) name: String,
    /// A line for each field.
    pub(crate) fields: String,
    pub(crate) fingerprint: u64,
    pub(crate) payload_size: usize,
    pub(crate) payload_align: usize,
    pub(crate) shape: [u32; 4],
}

impl ChannelType {
    /// The type that a channel of `T` has.
    #[must_use]
    pub fn of<T: Message + Plain>() -> Self {
        Self::sized::<T>(size_of::<T>(), [0; 4])
    }

    /// The type of a channel of `T` whose values have that many bytes, and a shape.
    pub(crate) fn sized<T: Message + ?Sized>(payload_size: usize, shape: [u32; 4]) -> Self {
        Self {
            name: T::NAME.to_owned(),
            fields: lkas_core::description::<T>().as_str().to_owned(),
            fingerprint: lkas_core::fingerprint::<T>(),
            payload_size,
            payload_align: T::ALIGN,
            shape,
        }
    }

    /// A type that is only known when the program runs, of values of `size` bytes that are aligned to `align`. `semantics`
    /// is what both sides must agree on beyond the layout; see [`Message::SEMANTICS`].
    ///
    /// A struct in Rust of the same name, fields, size, alignment and semantics is the same type.
    ///
    /// # Errors
    /// [`TypeError`] where a name is empty, too long, or has a space in it, where a field is not inside of the value, or
    /// where the whole is too long for the header of a segment.
    pub fn new(
        name: &str,
        fields: &[DescribedField],
        semantics: &str,
        size: usize,
        align: usize,
    ) -> Result<Self, TypeError> {
        if !fields::is_word(name) || name.len() > MAX_TYPE_NAME {
            return Err(TypeError::Name { found: name.to_owned() });
        }
        let lines = fields.iter().map(ToString::to_string).collect::<String>();
        if lines.len() > MAX_DESCRIPTION {
            return Err(TypeError::TooLong { found: lines.len() });
        }
        // What can't be read by others must not be written.
        if fields::read(lines.as_bytes(), size).as_deref() != Ok(fields) {
            let line = fields.iter().map(ToString::to_string).find(|line| fields::read(line.as_bytes(), size).is_err());
            return Err(TypeError::Field { line: line.unwrap_or(lines).trim_end().to_owned() });
        }
        let fingerprint = lkas_core::fingerprint_of(name, semantics, lines.as_bytes());
        Ok(Self {
            name: name.to_owned(),
            fields: lines,
            fingerprint,
            payload_size: size,
            payload_align: align,
            shape: [0; 4],
        })
    }

    /// The type's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of a value.
    #[must_use]
    pub fn payload_size(&self) -> usize {
        self.payload_size
    }

    /// What the address of a value is a multiple of.
    #[must_use]
    pub fn payload_align(&self) -> usize {
        self.payload_align
    }

    /// What is different about what is `expected`, for a person; `None` where it is the same type.
    #[must_use]
    pub fn difference(&self, expected: &Self) -> Option<String> {
        if self == expected {
            return None;
        }
        if self.name != expected.name {
            return Some(format!("found type {}, expected {}", self.name, expected.name));
        }
        let (mut ours, mut theirs) = (self.fields.lines(), expected.fields.lines());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => break,
                (found, wanted) if found == wanted => (),
                (found, wanted) => {
                    let line = |line: Option<&str>| line.map_or("no more".to_owned(), |line| format!("\"{line}\""));
                    return Some(format!("found field {}, expected {}", line(found), line(wanted)));
                }
            }
        }
        if self.payload_size != expected.payload_size {
            return Some(format!("found {} bytes, expected {}", self.payload_size, expected.payload_size));
        }
        if self.payload_align != expected.payload_align {
            return Some(format!("found an alignment of {}, expected {}", self.payload_align, expected.payload_align));
        }
        Some("found the same fields of another shape or meaning".to_owned())
    }

    /// The hash that stands for name, semantics and fields; see [`lkas_core::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_known_at_run_time_is_that_of_a_struct_of_the_same_fields() {
        #[derive(lkas_core::Message)]
        #[repr(C)]
        #[message(semantics = "as agreed")]
        struct Wheels {
            #[message(unit = "rad/s")]
            rates: [f32; 4],
            blocked: lkas_core::Bool,
            gear: i8,
            reserved: [u8; 2],
        }
        let lines = "rates f32[4] 0 rad/s - -\nblocked bool 16 - - -\ngear i8 17 - - -\nreserved u8[2] 18 - - -\n";
        let fields = fields::read(lines.as_bytes(), 20).unwrap();
        let known = ChannelType::new("Wheels", &fields, "as agreed", 20, 4).unwrap();
        assert_eq!(known, ChannelType::of::<Wheels>());
        assert_ne!(known.fingerprint(), ChannelType::new("Wheels", &fields, "", 20, 4).unwrap().fingerprint());
    }

    #[test]
    fn what_differs_is_said() {
        let of = |name, lines: &str, semantics, size, align| {
            let fields = fields::read(lines.as_bytes(), size).unwrap();
            ChannelType::new(name, &fields, semantics, size, align).unwrap()
        };
        let expected = of("T", "x f32 0 m - -\n", "", 4, 4);
        for (found, difference) in [
            (expected.clone(), None),
            (of("S", "x f32 0 m - -\n", "", 4, 4), Some("found type S, expected T")),
            (of("T", "x f32 0 - - -\n", "", 4, 4), Some("found field \"x f32 0 - - -\", expected \"x f32 0 m - -\"")),
            (of("T", "", "", 4, 4), Some("found field no more, expected \"x f32 0 m - -\"")),
            (of("T", "x f32 0 m - -\n", "", 8, 4), Some("found 8 bytes, expected 4")),
            (of("T", "x f32 0 m - -\n", "", 4, 1), Some("found an alignment of 1, expected 4")),
            (of("T", "x f32 0 m - -\n", "other", 4, 4), Some("found the same fields of another shape or meaning")),
        ] {
            assert_eq!(found.difference(&expected).as_deref(), difference);
        }
    }

    #[test]
    fn whoever_was_not_compiled_for_a_type_reads_its_empty_arrays_too() {
        #[derive(Clone, Copy, lkas_core::Message)]
        #[repr(C)]
        struct Wheel {
            rate: f32,
            nothing: [u8; 0],
            teeth: u32,
        }
        #[derive(lkas_core::Message)]
        #[repr(C)]
        struct Car {
            spare: [Wheel; 0],
            wheels: [Wheel; 2],
            numbers: [u8; 0],
            grid: [[u16; 0]; 3],
        }
        let of = ChannelType::of::<Car>();
        let fields = fields::read(of.fields.as_bytes(), of.payload_size).unwrap();
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["wheels[].rate", "wheels[].nothing", "wheels[].teeth", "numbers"]);
        assert_eq!(fields[1].read(&[0; 16]).unwrap().to_string(), "[[], []]");
        assert_eq!(ChannelType::new("Car", &fields, "", 16, 4).unwrap(), of);
    }

    #[test]
    fn a_type_that_others_could_not_read_is_an_error() {
        let field = |name: &str| DescribedField {
            name: name.to_owned(),
            ..fields::read(b"x u8 0 - - -", 1).unwrap().remove(0)
        };
        let new = |name, fields: &[DescribedField], size| ChannelType::new(name, fields, "", size, 1);
        assert!(new("T", &[field("x")], 1).is_ok());
        let quoted = DescribedField { unit: "\"'\\".to_owned(), ..field("driver's") };
        assert!(new("driver's", &[quoted], 1).is_ok());
        let long = "x".repeat(64);
        for name in ["", "a b", "a\n", &long] {
            assert_eq!(new(name, &[], 1), Err(TypeError::Name { found: name.to_owned() }));
        }
        assert!(
            matches!(new("T", &[field("x"), field("y z")], 1), Err(TypeError::Field { line }) if line.starts_with("y z "))
        );
        assert!(matches!(new("T", &[field("a\nb")], 1), Err(TypeError::Field { .. })));
        assert!(matches!(new("T", &[field("x")], 0), Err(TypeError::Field { .. })));
        let repeated = |count, stride| DescribedField { repeat: Some((count, stride)), ..field("x") };
        assert!(new("T", &[repeated(1, 0)], 1).is_ok());
        assert!(matches!(new("T", &[repeated(usize::MAX, 0)], 1), Err(TypeError::Field { .. })));
        assert!(matches!(new("T", &vec![field("x"); 1000], 1), Err(TypeError::TooLong { found: 13_000 })));
    }
}
