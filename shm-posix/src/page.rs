//! What a channel is like, in a form that can be kept and sent.

use crate::description::Description;
use crate::error::HeaderError;
use crate::header::{Header, PAGE};
use core::fmt;
use lkas_core::{Contract, Plain, Promise};

/// Everything that is needed to create another channel like one that is there: the first page of its segment. Of the words
/// that change while the segment is in use, only the contract is kept; the others are 0.
///
/// # Examples
/// ```no_run
/// use lkas_shm::{Observer, Page};
///
/// let page = Observer::open(&"vehicle_control".parse()?)?.page();
/// let kept = page.as_bytes().to_vec(); // in a file, or on another machine
///
/// let page = Page::from_bytes(&kept).ok_or("not a page")?;
/// println!("{}, {:?}", page.description()?.type_name(), page.contract()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Page(Box<Header>);

impl Page {
    /// Bytes of a page.
    pub const LEN: usize = PAGE;

    /// A page out of bytes, which may be foreign: [`description`](Self::description) and [`contract`](Self::contract) say
    /// whether they make sense. `None` where they are not [`LEN`](Self::LEN).
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Header::from_bytes(bytes).map(Self::of)
    }

    pub(crate) fn of(header: Header) -> Self {
        Self(Box::new(header.without_use()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Type, shape, fields and the number of reader places.
    ///
    /// # Errors
    /// [`HeaderError`] where the bytes are no header of a channel that this library can read.
    pub fn description(&self) -> Result<Description, HeaderError> {
        Description::parse(self.as_bytes(), self.0.total_size())
    }

    /// What the writer promises.
    ///
    /// # Errors
    /// The page says something that makes no sense.
    pub fn contract(&self) -> Promise {
        Contract::from_word(self.0.contract_word())
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

impl PartialEq for Page {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnyChannel, ChannelName, ControlChannel, Observer, Options, unlink};
    use core::time::Duration;

    #[test]
    fn a_channel_is_made_anew_from_what_was_kept() {
        let name: ChannelName = format!("page-{}", std::process::id()).parse().unwrap();
        let contract = Contract::new(Duration::from_millis(20), Duration::from_millis(70)).unwrap();
        let writer = ControlChannel::create(&name, Options::new().contract(contract).readers(3)).unwrap();
        let kept = Observer::open(&name).unwrap().page();
        drop(writer);
        unlink(&name).unwrap();

        let page = Page::from_bytes(kept.as_bytes()).unwrap();
        let of_use = [&page.as_bytes()[88..96], &page.as_bytes()[104..120]].concat();
        assert_eq!(of_use, [0; 24], "nothing of who writes is in it");
        let description = page.description().unwrap();
        assert_eq!((page.contract(), description.layout().readers()), (Ok(Some(contract)), 3));
        let options = Options::new().contract(contract).readers(3);
        let writer = AnyChannel::create(&name, description.channel_type().clone(), options).unwrap();
        let again = Observer::open(&name).unwrap();
        assert_eq!(again.page(), page);
        assert_eq!(*again.description(), description);
        drop(writer);
        unlink(&name).unwrap();
    }

    #[test]
    fn bytes_that_are_no_channel_are_no_description() {
        assert!(Page::from_bytes(&[0; Page::LEN - 1]).is_none());
        assert_eq!(Page::from_bytes(&[0; Page::LEN]).unwrap().description(), Err(HeaderError::NotAChannel));
        let mut bytes = [0; Page::LEN];
        // A contract of a period and no greatest age.
        bytes[96] = 1;
        assert!(Page::from_bytes(&bytes).unwrap().contract().is_err());
    }
}
