//! What goes from one machine to another: descriptions, requests and values, as bytes. Nothing in here knows the network.
//!
//! All numbers are little-endian. The offsets are in README.md.

use core::fmt;
use lkas_core::{Contract, ContractError};
use lkas_shm::{Description, Page};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes of the attachment of a value.
pub const ATTACHMENT: usize = 56;

/// Bytes of a request.
pub const REQUEST: usize = 24;

/// The largest value that is mirrored, in bytes: whoever is let in may still not fill the memory of this machine.
pub const MAX_PAYLOAD: usize = 64 << 20;

/// The first bytes of every attachment: the format and its version.
pub const MAGIC: [u8; 4] = *b"LKM1";

/// Why something that arrived is not used. Each is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It has not as many bytes as it must have.
    Length {
        /// What it is.
        what: &'static str,
        /// Bytes found.
        found: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// It is of another format or version.
    Format {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The bytes are not those that were sent together.
    Check,
    /// The description is none.
    Description(String),
    /// The contract in it makes no sense.
    Contract(ContractError),
    /// Its values are larger than [`MAX_PAYLOAD`].
    TooLarge {
        /// Bytes of a value.
        found: usize,
    },
    /// The value is of another description than the one that is known.
    OtherDescription,
    /// A younger value arrived before.
    Old,
    /// The value is encoded in a way that is not known, or not meant for its type.
    Encoding {
        /// The number of the encoding.
        found: u32,
    },
    /// The image can't be decoded.
    Image(String),
    /// The value's own check value does not fit: it was damaged before it was sent.
    NotWhole,
    /// How the clocks of the two machines differ is not known.
    Clock,
    /// It was published later than it arrived.
    Future,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, found, expected } => write!(f, "{what} of {found} bytes, expected {expected}"),
            Self::Format { found } => {
                write!(
                    f,
                    "a format that begins with {found:02x?}, expected {MAGIC:02x?}; use the same release everywhere"
                )
            }
            Self::Check => f.write_str("bytes that are not those that were sent together"),
            Self::Description(why) => write!(f, "a description that is none: {why}"),
            Self::Contract(why) => why.fmt(f),
            Self::TooLarge { found } => write!(f, "values of {found} bytes, expected at most {MAX_PAYLOAD}"),
            Self::OtherDescription => f.write_str("a value of another description; it is asked for anew"),
            Self::Old => f.write_str("a value that is older than one that arrived before"),
            Self::Encoding { found } => write!(f, "a value of encoding {found}, which is not one of its type"),
            Self::Image(why) => write!(f, "an image that can't be decoded: {why}"),
            Self::NotWhole => f.write_str("a value whose own check value does not fit"),
            Self::Clock => f.write_str("a value while it is not known how the clocks differ"),
            Self::Future => f.write_str("a value that was published after it arrived; the clock was changed"),
        }
    }
}

impl core::error::Error for Refusal {}

/// What a channel is like, as its exporter describes it: everything that is needed to create another one like it.
#[derive(Clone, Debug)]
pub struct Described {
    /// Type, shape, fields and the number of reader places.
    pub description: Description,
    /// What the writer promises.
    pub contract: Option<Contract>,
    /// Stands for all of it in each value.
    pub hash: u64,
}

impl Described {
    /// Reads a description.
    ///
    /// # Errors
    /// [`Refusal`] where the bytes are none, where the contract makes no sense, or where values are too large.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let expected = Refusal::Length { what: "a description", found: bytes.len(), expected: Page::LEN };
        let page = Page::from_bytes(bytes).ok_or(expected)?;
        let description = page.description().map_err(|why| Refusal::Description(why.to_string()))?;
        let found = description.layout().payload_size();
        if found > MAX_PAYLOAD {
            return Err(Refusal::TooLarge { found });
        }
        let contract = page.contract().map_err(Refusal::Contract)?;
        Ok(Self { description, contract, hash: xxh3_64(bytes) })
    }
}

/// The eight bytes at `at`; 0 where there are none.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// How the bytes of a value were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Encoding {
    /// As they are in shared memory.
    Raw = 0,
    /// An image: frame id, time stamp, then a JPEG stream.
    Jpeg = 1,
}

/// The attachment of a value: which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the payload was made.
    pub encoding: Encoding,
    /// [`Described::hash`] of the channel.
    pub description: u64,
    /// Which of its exporter's segments the channel was in: later ones have larger numbers.
    pub incarnation: u64,
    /// The number of the publish in that segment.
    pub sequence: u64,
    /// When it was published, in nanoseconds of the exporter's clock.
    pub published: u64,
}

impl Header {
    /// The attachment for `payload`.
    #[must_use]
    pub fn encode(&self, payload: &[u8]) -> [u8; ATTACHMENT] {
        let mut bytes = [0; ATTACHMENT];
        let numbers = [self.description, self.incarnation, self.sequence, self.published, 0];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&(self.encoding as u32).to_le_bytes());
        for (place, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[40..48].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        let check = check(&bytes, payload);
        bytes[48..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads the attachment of `payload`, and checks that they belong together.
    ///
    /// # Errors
    /// [`Refusal`] where they don't, or are of another format.
    pub fn decode(attachment: &[u8], payload: &[u8]) -> Result<Self, Refusal> {
        let length = |what, found, expected| Refusal::Length { what, found, expected };
        if let Some(found) = attachment.first_chunk().filter(|found| **found != MAGIC) {
            return Err(Refusal::Format { found: *found });
        }
        let bytes: &[u8; ATTACHMENT] =
            attachment.try_into().map_err(|_| length("an attachment", attachment.len(), ATTACHMENT))?;
        let expected = number(bytes, 40);
        if expected != payload.len() as u64 {
            return Err(length("a payload", payload.len(), usize::try_from(expected).unwrap_or(usize::MAX)));
        }
        if number(bytes, 48) != check(bytes, payload) {
            return Err(Refusal::Check);
        }
        let encoding = match number(bytes, 0) >> 32 {
            0 => Encoding::Raw,
            1 => Encoding::Jpeg,
            other => return Err(Refusal::Encoding { found: other as u32 }),
        };
        let [description, incarnation, sequence, published] = [8, 16, 24, 32].map(|at| number(bytes, at));
        Ok(Self { encoding, description, incarnation, sequence, published })
    }

    /// Which value it is: a younger one has a larger one, of the same exporter.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { incarnation: self.incarnation, sequence: self.sequence }
    }
}

/// The check value over the attachment, but for itself, and the payload.
fn check(attachment: &[u8; ATTACHMENT], payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, xxh3_64(&attachment[..48]))
}

/// Which of an exporter's values one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As [`Header::incarnation`].
    pub incarnation: u64,
    /// As [`Header::sequence`].
    pub sequence: u64,
}

/// A request for one value: a permit to send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The last value that arrived; all 0 where none has. What is sent is younger.
    pub after: Place,
    /// No other request of this importer is open: what was asked for or sent before is lost.
    pub first: bool,
}

impl Request {
    /// The request as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        let numbers = [self.after.incarnation, self.after.sequence, u64::from(self.first)];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`Refusal::Length`] where it has another length.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() != REQUEST {
            return Err(Refusal::Length { what: "a request", found: bytes.len(), expected: REQUEST });
        }
        let after = Place { incarnation: number(bytes, 0), sequence: number(bytes, 8) };
        Ok(Self { after, first: number(bytes, 16) != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header =
        Header { encoding: Encoding::Jpeg, description: 1, incarnation: 2, sequence: 3, published: u64::MAX };

    #[test]
    fn what_is_encoded_is_decoded() {
        for payload in [&b""[..], b"x", &[7; 5000]] {
            assert_eq!(Header::decode(&HEADER.encode(payload), payload), Ok(HEADER));
        }
        let request = Request { after: HEADER.place(), first: true };
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let payload = [5; 40];
        let attachment = HEADER.encode(&payload);
        for bit in 0..ATTACHMENT * 8 {
            let mut damaged = attachment;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged, &payload).is_err(), "bit {bit}");
        }
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&attachment, &damaged), Err(Refusal::Check), "bit {bit}");
        }
        assert!(Header::decode(&attachment[1..], &payload).is_err());
        assert!(Header::decode(&attachment, &payload[1..]).is_err());
    }

    #[test]
    fn refusals_say_what_was_found_and_expected() {
        let refused = Header::decode(b"LKM1", b"").unwrap_err();
        assert_eq!(refused.to_string(), "an attachment of 4 bytes, expected 56");
        assert!(Header::decode(&[0; ATTACHMENT], b"").unwrap_err().to_string().contains("use the same release"));
        assert_eq!(Described::decode(&[0; 5]).unwrap_err().to_string(), "a description of 5 bytes, expected 4096");
        assert!(matches!(Described::decode(&[0; Page::LEN]), Err(Refusal::Description(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(
            attachment in proptest::collection::vec(any::<u8>(), 0..80),
            payload in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let _ = Header::decode(&attachment, &payload);
            let _ = Request::decode(&payload);
            let _ = Described::decode(&payload);
        }
    }
}
