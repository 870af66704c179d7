//! Looking on: what a channel does, without a role in it.

use crate::claim::{self, Role};
use crate::clock;
use crate::description::Description;
use crate::error::{OpenError, Warning};
use crate::fork::File;
use crate::mapping::Mapping;
use crate::name::ChannelName;
use crate::page::Page;
use crate::segment::{self, FOLDER};
use core::time::Duration;
use lkas_core::{MailboxState, Observed, Overtaken, Promise, WriterIdentity};
use rustix::fd::AsFd;
use std::io;

/// How often [`Observer::look`] tries again where the writer is too fast.
const LOOKS: u32 = 8;

/// The names of all channels of this machine, sorted. Files that are none are left out, whoever made them.
///
/// # Errors
/// The folder of shared memory can't be read.
pub fn channels() -> io::Result<Vec<ChannelName>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(FOLDER)? {
        let file = entry?.file_name();
        let Some(name) = file.to_str().and_then(|name| name.parse::<ChannelName>().ok()) else { continue };
        if Observer::open(&name).is_ok() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Somebody who looks on a channel. It takes no role, writes nothing, and disturbs nobody.
///
/// # Examples
/// ```no_run
/// let channel = lkas_shm::Observer::open(&"vehicle_control".parse()?)?;
/// let now = channel.look();
/// println!("{} values, writer alive: {}", now.sequence, now.has_writer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    name: ChannelName,
    description: Description,
    page: Page,
    size: u64,
    mapping: Mapping,
    file: File,
}

/// What a channel looks like at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Nanoseconds of the [clock] when this was looked at.
    pub time: u64,
    /// The number of the newest publish; 0 before the first.
    pub sequence: u64,
    /// Time since the newest publish; `None` before the first, and where it lies in the future: another clock stamped it.
    pub age: Option<Duration>,
    /// Whether some process has the writer's role, running or suspended.
    pub has_writer: bool,
    /// The process that took the writer's role last. It may be gone, and be another one by now.
    pub writer: WriterIdentity,
    /// What the writer promises; an error where the segment says something that makes no sense.
    pub contract: Promise,
    /// Whether the writer has left in good order.
    pub closed: bool,
    /// Whether the channel was replaced or removed: nothing will come any more.
    pub retired: bool,
    /// The reader places, taken or not.
    pub readers: Vec<ReaderPlace>,
}

/// A reader place at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderPlace {
    /// Whether some process has it, running or suspended.
    pub taken: bool,
    /// What its mailbox says.
    pub mailbox: MailboxState,
}

impl Observer {
    /// Looks for the channel `name`, once.
    ///
    /// # Errors
    /// There is no file of that name, the file is not a channel, or it belongs to somebody else: see [`OpenError`].
    pub fn open(name: &ChannelName) -> Result<Self, OpenError> {
        Self::open_of(name, false)
    }

    /// As [`open`](Self::open), also where the segment belongs to another user.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`OpenError::Owner`].
    pub fn open_foreign(name: &ChannelName) -> Result<Self, OpenError> {
        Self::open_of(name, true)
    }

    fn open_of(name: &ChannelName, foreign_owner: bool) -> Result<Self, OpenError> {
        let (file, size, page) = segment::open_to_look(name, foreign_owner)?;
        let description =
            Description::parse(page.as_bytes(), size).map_err(|why| OpenError::Unusable { name: name.clone(), why })?;
        let mapping = Mapping::to_look(file.as_fd(), *description.layout()).map_err(|why| OpenError::System {
            name: name.clone(),
            what: "map segment",
            why,
        })?;
        Ok(Self { name: name.clone(), description, page, size, mapping, file })
    }

    /// What the channel carries.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What the channel is like, to be kept or sent; with what its writer promised when this was opened.
    #[must_use]
    pub fn page(&self) -> Page {
        self.page.clone()
    }

    /// Bytes of shared memory.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What its users should know: that some may read the segment and not write to it, which a reader's
    /// [`warnings`](crate::Reader::warnings) say too. One system call.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        segment::mode_warning(&self.file).into_iter().collect()
    }

    /// Sequence number and publish time (nanoseconds of the [clock]) of the newest value; `None` before the first publish.
    ///
    /// # Progress
    /// A handful of loads; no system call.
    ///
    /// # Errors
    /// [`Overtaken`] where the writer published again and again meanwhile.
    ///
    /// # Panics
    /// In a forked process.
    pub fn newest(&self) -> Result<Option<Observed>, Overtaken> {
        self.mapping.view_to_look().newest()
    }

    /// Copies the newest value, without taking a reader place; `None` before the first publish. The copy is whole.
    ///
    /// # Progress
    /// No system call; up to 16 copies where the writer is as fast as the copying.
    ///
    /// # Errors
    /// [`Overtaken`] where the writer published again and again meanwhile. A [`Reader`](crate::Reader) can't be overtaken.
    ///
    /// # Panics
    /// In a forked process.
    pub fn copy(&self, into: &mut Vec<u8>) -> Result<Option<Observed>, Overtaken> {
        into.resize(self.description.layout().payload_size(), 0);
        let view = self.mapping.view_to_look();
        // SAFETY: this mapping can't be written to. A writer of this process has one of its own.
        unsafe { view.copy_newest(into) }
    }

    /// Whether the channel was replaced or removed, or somebody removed its name, or cut its file: what is not there any
    /// more can't be looked at. Two system calls.
    ///
    /// # Panics
    /// In a forked process.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // A system that can't tell whether it has its name has not removed it.
        let is_whole = rustix::fs::fstat(&self.file)
            .is_ok_and(|stat| stat.st_size as u64 >= self.size && segment::has_name(&self.name, &stat).unwrap_or(true));
        !is_whole || self.mapping.live().is_retired()
    }

    /// What the channel looks like now. A handful of loads, and a system call for each role.
    #[must_use]
    pub fn look(&self) -> Observation {
        let view = self.mapping.view_to_look();
        let places = 0..self.description.layout().readers();
        let newest = (0..LOOKS).find_map(|_| view.newest().ok()).flatten();
        let time = clock::now();
        let age = newest.and_then(|newest| time.checked_sub(newest.time)).map(Duration::from_nanos);
        // A system that can't tell who is alive is shown as one where nobody is.
        let taken = |role| claim::is_taken(self.file.as_fd(), role).unwrap_or(false);
        let live = self.mapping.live();
        let readers: Vec<ReaderPlace> = places
            .filter_map(|place| Some(ReaderPlace { taken: taken(Role::Reader(place)), mailbox: view.mailbox(place)? }))
            .collect();
        Observation {
            time,
            sequence: newest.map_or(0, |newest| newest.sequence),
            age,
            has_writer: taken(Role::Writer),
            writer: live.writer(),
            contract: live.contract(),
            closed: readers.iter().any(|reader| reader.mailbox.closed),
            retired: live.is_retired(),
            readers,
        }
    }
}
