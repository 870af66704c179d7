//! The viewer's status, for whoever looks after it and for the pages of others.

use super::hub::Hub;
use crate::status::State;
use crate::vitals::VitalSigns;
use core::time::Duration;
use lkas_shm::ChannelName;
use std::time::Instant;

/// The broker sends something ten times a second: one that is silent for so long is not there, or can't be reached.
const SILENCE: Duration = Duration::from_secs(1);

/// The viewer's status on its way out.
#[derive(Debug)]
pub(super) struct Itself {
    vitals: VitalSigns,
    published_before: u64,
    started: Instant,
    /// What it says while nothing comes from the broker.
    nothing_comes: String,
}

impl Itself {
    /// Creates the channel `name`. Where that can't be, the viewer runs without: it only watches, and one of two viewers has
    /// the name.
    pub(super) fn create(name: &ChannelName, broker: &str) -> Option<Self> {
        match VitalSigns::create(name) {
            Ok(vitals) => Some(Self {
                published_before: vitals.now.published,
                vitals,
                started: Instant::now(),
                nothing_comes: format!("nothing comes from the broker at {broker}"),
            }),
            Err(error) => {
                tracing::info!("this viewer publishes no status: {error}");
                None
            }
        }
    }

    /// Says how it is; to be called some times in each tenth of a second.
    pub(super) fn say(&mut self, hub: &Hub) {
        let (frames, silence) = hub.heard_so_far();
        match silence {
            Some(silence) if silence < SILENCE => self.vitals.enter(State::Running, ""),
            // Until then it is starting.
            None if self.started.elapsed() < SILENCE => {}
            _ => self.vitals.enter(State::Waiting, &self.nothing_comes),
        }
        self.vitals.now.published = self.published_before + frames;
        self.vitals.publish_if_due();
        self.vitals.keep_names(&mut []);
    }
}
