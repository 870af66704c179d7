//! The emergency stop that a person triggers, until it is released.

use crate::event::{SafetyEvent, SafetyEvents, note};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latch {
    pub(crate) set: bool,
    /// Whether the last event about it said that it is set.
    told: bool,
}

impl Latch {
    /// Says what changed since the last step. Whether it is set.
    pub(crate) fn tell(&mut self, events: &mut SafetyEvents) -> bool {
        if self.set != self.told {
            self.told = self.set;
            note(events, if self.set { SafetyEvent::Latched } else { SafetyEvent::Released });
        }
        self.set
    }
}
