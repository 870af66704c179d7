//! How channels are created and opened.

use core::time::Duration;
use lkas_core::Contract;

/// How long a role that is still taken is asked for again, unless said otherwise: a process that was killed keeps its
/// roles until the kernel has cleaned up after it.
const GRACE: Duration = Duration::from_secs(1);

/// How a channel is created.
///
/// ```
/// use lkas_shm::{Contract, Options};
/// use std::time::Duration;
///
/// let contract = Contract::new(Duration::from_millis(100), Duration::from_millis(250))?;
/// let options = Options::new().readers(8).mode(0o660).contract(contract);
/// assert_eq!(options.readers, 8);
/// # Ok::<(), lkas_shm::ContractError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How many readers there can be at a time, 1 to [`MAX_READERS`](lkas_core::MAX_READERS). Each costs one slot.
    pub readers: usize,
    /// How many of the places, from 0 on, are given only to readers that ask for them by number
    /// ([`OpenOptions::place`]). Whoever creates the segment says it; a successor in the writer's role does not change it.
    pub reserved: usize,
    /// Who takes part: permission bits of the segment, whatever the umask. A reader writes to its mailbox, so each class of
    /// users has permission to read and to write, or neither: 0o600, 0o660, 0o606, 0o666.
    pub mode: u32,
    /// The group of the segment's file, by its number; `None` for this process's own. Useful with a mode of 0o660.
    pub group: Option<u32>,
    /// What is promised to readers.
    pub contract: Option<Contract>,
    /// How the memory is held.
    pub memory: Memory,
    /// Whether a segment that belongs to another user is taken over. Otherwise it is an error.
    pub foreign_owner: bool,
    /// How long to ask again for the writer's role while somebody else has it: a killed process keeps its roles until the
    /// kernel has cleaned up after it.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Four readers, nobody but the owner, no promise, a grace of one second.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            readers: 4,
            reserved: 0,
            mode: 0o600,
            group: None,
            contract: None,
            memory: Memory::new(),
            foreign_owner: false,
            grace: GRACE,
        }
    }

    /// Sets [`readers`](Self::readers).
    #[must_use]
    pub const fn readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// Sets [`reserved`](Self::reserved).
    #[must_use]
    pub const fn reserved(mut self, places: usize) -> Self {
        self.reserved = places;
        self
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets [`group`](Self::group).
    #[must_use]
    pub const fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Sets [`contract`](Self::contract).
    #[must_use]
    pub const fn contract(mut self, contract: Contract) -> Self {
        self.contract = Some(contract);
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub const fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Sets [`foreign_owner`](Self::foreign_owner).
    #[must_use]
    pub const fn foreign_owner(mut self, allowed: bool) -> Self {
        self.foreign_owner = allowed;
        self
    }

    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// How a process holds a channel's memory. What the system refuses is left out and noted in the warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// Every page is made present at once, so that nothing faults later.
    pub prefault: bool,
    /// No page is ever moved out of memory (mlock).
    pub lock: bool,
    /// Asks for huge pages: fewer entries of the address translation for frames. The system has to allow it for shared
    /// memory.
    pub huge_pages: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// Present at once, not locked, pages of the usual size.
    #[must_use]
    pub const fn new() -> Self {
        Self { prefault: true, lock: false, huge_pages: false }
    }

    /// Sets [`prefault`](Self::prefault).
    #[must_use]
    pub const fn prefault(mut self, wanted: bool) -> Self {
        self.prefault = wanted;
        self
    }

    /// Sets [`lock`](Self::lock).
    #[must_use]
    pub const fn lock(mut self, wanted: bool) -> Self {
        self.lock = wanted;
        self
    }

    /// Sets [`huge_pages`](Self::huge_pages).
    #[must_use]
    pub const fn huge_pages(mut self, wanted: bool) -> Self {
        self.huge_pages = wanted;
        self
    }
}

/// How a channel is opened. A [`Duration`] stands for how long to wait for the channel's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// How long to wait for the channel's writer to create it.
    pub patience: Duration,
    /// How the memory is held.
    pub memory: Memory,
    /// Whether a segment that belongs to another user is opened. Otherwise it is an error.
    pub foreign_owner: bool,
    /// How long to ask again for a reader place while all are taken: a killed process keeps its place until the kernel
    /// has cleaned up after it.
    pub grace: Duration,
    /// The place to ask for, which may be a reserved one; where it is taken, or there is none of that number, any that is not
    /// reserved. `None` for any that is not reserved.
    pub place: Option<usize>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Does not wait for the writer; a grace of one second.
    #[must_use]
    pub const fn new() -> Self {
        Self { patience: Duration::ZERO, memory: Memory::new(), foreign_owner: false, grace: GRACE, place: None }
    }

    /// Sets [`patience`](Self::patience).
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub const fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Sets [`foreign_owner`](Self::foreign_owner).
    #[must_use]
    pub const fn foreign_owner(mut self, allowed: bool) -> Self {
        self.foreign_owner = allowed;
        self
    }

    /// Sets [`place`](Self::place).
    #[must_use]
    pub const fn place(mut self, place: usize) -> Self {
        self.place = Some(place);
        self
    }

    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

impl From<Duration> for OpenOptions {
    fn from(patience: Duration) -> Self {
        Self::new().patience(patience)
    }
}
