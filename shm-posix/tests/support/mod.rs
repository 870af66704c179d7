//! What tests of channels share.
#![allow(dead_code)] // not every one uses everything

use lkas_messages::{Control, ControlFields};
use lkas_shm::ChannelName;
use std::time::Duration;

pub(crate) const NO_WAIT: Duration = Duration::ZERO;
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A name of its own for each test; the segment is removed at the end.
pub(crate) struct Name(pub(crate) ChannelName);

impl Name {
    pub(crate) fn new(test: &str) -> Self {
        Self(ChannelName::new(&format!("test-{}", std::process::id()), test).unwrap())
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(format!("/dev/shm/{}", self.0));
    }
}

pub(crate) fn control(frame_id: u64) -> Control {
    Control::try_from(ControlFields { frame_id, ..ControlFields::default() }).unwrap()
}
