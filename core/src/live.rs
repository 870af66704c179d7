//! The words of a segment that change while it is in use, beside mailboxes and slots.

use crate::contract::{Contract, Promise};
use crate::sync::{AtomicU32, AtomicU64, order};

/// What a segment says of its writer, and whether it is still in use. Lies in the header of a segment; all zero at first.
///
/// Written by whoever has the writer's role, read by everybody.
#[derive(Debug)]
#[repr(C)]
pub struct LiveWords {
    retired: AtomicU32,
    writer: AtomicU32,
    contract: AtomicU64,
    time_namespace: AtomicU64,
    pid_namespace: AtomicU64,
}

#[cfg(not(lkas_loom))]
const _: () = assert!(size_of::<LiveWords>() == 32);

/// Who writes, for people. The process may be gone, and its number another one's by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterIdentity {
    /// The process's number, in its own PID namespace.
    pub process: u32,
    /// The time namespace that its clock belongs to, as a number; 0 where unknown.
    pub time_namespace: u64,
    /// The PID namespace that its number belongs to, as a number; 0 where unknown.
    pub pid_namespace: u64,
}

impl LiveWords {
    /// Words of a new segment.
    #[cfg(lkas_loom)]
    #[must_use]
    pub fn new() -> Self {
        Self {
            retired: AtomicU32::new(0),
            writer: AtomicU32::new(0),
            contract: AtomicU64::new(0),
            time_namespace: AtomicU64::new(0),
            pid_namespace: AtomicU64::new(0),
        }
    }

    /// Says that the segment was replaced or removed: nothing will come any more. Never taken back.
    pub fn retire(&self) {
        // ORDERING: Release pairs with the Acquire of `is_retired`: who finds the segment retired finds what was published
        // elsewhere before. Model: `whoever_finds_it_retired_finds_the_successor`.
        self.retired.store(1, order!("retire", Release));
    }

    /// Whether the segment was replaced or removed.
    #[inline]
    #[must_use]
    pub fn is_retired(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of `retire`.
        self.retired.load(order!("is retired", Acquire)) != 0
    }

    /// Says who writes from now on.
    pub fn set_writer(&self, identity: WriterIdentity) {
        // ORDERING: Relaxed, all three. Each stands for itself: the first and the last are shown to people, and the clock
        // is looked at by readers that come later, and that check it again if they come meanwhile.
        self.writer.store(identity.process, order!("set writer", Relaxed));
        self.time_namespace.store(identity.time_namespace, order!("set clock", Relaxed));
        self.pid_namespace.store(identity.pid_namespace, order!("set process namespace", Relaxed));
    }

    /// Who wrote last.
    #[must_use]
    pub fn writer(&self) -> WriterIdentity {
        // ORDERING: Relaxed, as above.
        WriterIdentity {
            process: self.writer.load(order!("writer", Relaxed)),
            time_namespace: self.time_namespace.load(order!("clock", Relaxed)),
            pid_namespace: self.pid_namespace.load(order!("process namespace", Relaxed)),
        }
    }

    /// Says what the writer promises from now on.
    ///
    /// # Progress
    /// Wait-free: one store. Whoever reads it sees all of the old contract or all of the new one.
    pub fn set_contract(&self, contract: Option<Contract>) {
        // ORDERING: Relaxed. One word with all of it, which stands for itself. Model: `a_contract_is_never_a_mixture`.
        self.contract.store(contract.map_or(0, Contract::to_word), order!("set contract", Relaxed));
    }

    /// What the writer promises; `None` where it promises nothing.
    ///
    /// # Errors
    /// [`ContractError`](crate::ContractError) where the word makes no sense. Its channel must be judged as one whose values are too old.
    #[inline]
    pub fn contract(&self) -> Promise {
        // ORDERING: Relaxed, as above.
        Contract::from_word(self.contract.load(order!("contract", Relaxed)))
    }
}

#[cfg(lkas_loom)]
impl Default for LiveWords {
    fn default() -> Self {
        Self::new()
    }
}
