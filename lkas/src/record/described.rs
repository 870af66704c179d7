//! What a channel is like, in a form that can be kept: everything that is needed to create another one like it.

use lkas_shm::{Contract, Description, Observer, Page};

/// Where a page's description of fields begins, behind its header.
const FIELDS: usize = 256;

/// A channel as its segment describes it, with what its writer promises.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Described {
    /// Type, shape, fields and the number of reader places.
    pub(super) description: Description,
    /// What the writer promises.
    pub(super) contract: Option<Contract>,
    page: Page,
}

impl Described {
    /// Of the channel that is looked at.
    pub(super) fn of(channel: &Observer) -> Result<Self, String> {
        Self::from_page(channel.page())
    }

    fn from_page(page: Page) -> Result<Self, String> {
        let description = page.description().map_err(|why| why.to_string())?;
        let contract = page.contract().map_err(|why| why.to_string())?;
        Ok(Self { description, contract, page })
    }

    /// Reads what [`header`](Self::header) and [`fields`](Self::fields) gave. Foreign bytes: they never make it panic.
    pub(super) fn read(header: &str, fields: &[u8]) -> Result<Self, String> {
        let mut page = [0; Page::LEN];
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
        Self::from_page(Page::from_bytes(&page).ok_or("no page")?)
    }

    /// The header in hexadecimal digits.
    pub(super) fn header(&self) -> String {
        self.page.as_bytes()[..FIELDS].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The description of the fields: a line for each.
    pub(super) fn fields(&self) -> &[u8] {
        let text = &self.page.as_bytes()[FIELDS..];
        text.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}
