//! What a channel is like, in a form that can be kept: everything that is needed to create another one like it.

use crate::Failure;
use core::ops::Range;
use lkas_shm::{ChannelName, Contract, Description, Observer};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A segment's first page: its header, and from [`FIELDS`] on the description of its fields.
const PAGE: usize = 4096;
const FIELDS: usize = 256;

/// The size of the segment.
const SIZE: usize = 16;

/// The words that change while a segment is in use, and the contract among them.
const LIVE: Range<usize> = 88..120;
const CONTRACT: Range<usize> = 96..104;

/// A channel as its segment describes it, with what its writer promises.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    /// Type, shape, fields and the number of reader places.
    pub(super) description: Description,
    /// What the writer promises.
    pub(super) contract: Option<Contract>,
    page: Box<[u8; PAGE]>,
}

impl Described {
    /// Of the channel that is looked at; `None` where it has been replaced meanwhile.
    pub(super) fn of(name: &ChannelName, channel: &Observer) -> Result<Option<Self>, Failure> {
        let mut page = Box::new([0; PAGE]);
        File::open(Path::new("/dev/shm").join(name.as_str()))?.read_exact(page.as_mut_slice())?;
        let described = Self::from_page(page)?;
        Ok((described.description == *channel.description()).then_some(described))
    }

    fn from_page(mut page: Box<[u8; PAGE]>) -> Result<Self, String> {
        for at in LIVE.filter(|at| !CONTRACT.contains(at)) {
            page[at] = 0;
        }
        let number = |at: usize| page[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let description = Description::parse(page.as_slice(), number(SIZE)).map_err(|why| why.to_string())?;
        let contract = Contract::from_word(number(CONTRACT.start)).map_err(|why| why.to_string())?;
        Ok(Self { description, contract, page })
    }

    /// Reads what [`header`](Self::header) and [`fields`](Self::fields) gave. Foreign bytes: they never make it panic.
    pub(super) fn read(header: &str, fields: &[u8]) -> Result<Self, String> {
        let mut page = Box::new([0; PAGE]);
        let (head, text) = page.split_at_mut(FIELDS);
        if header.len() != 2 * FIELDS || !header.is_ascii() {
            return Err(format!("a header of {} characters, expected {}", header.len(), 2 * FIELDS));
        }
        for (at, byte) in head.iter_mut().enumerate() {
            let digits = header.get(2 * at..2 * at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16)
                .map_err(|_| format!("\"{digits}\" in a header of hexadecimal digits"))?;
        }
        let room = text.len();
        let text = text.get_mut(..fields.len());
        let text = text.ok_or_else(|| format!("a description of {} bytes, expected at most {room}", fields.len()))?;
        text.copy_from_slice(fields);
        Self::from_page(page)
    }

    /// The header in hexadecimal digits.
    pub(super) fn header(&self) -> String {
        self.page[..FIELDS].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The description of the fields: a line for each.
    pub(super) fn fields(&self) -> &[u8] {
        let text = &self.page[FIELDS..];
        text.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}
