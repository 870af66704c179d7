//! What the viewer says of itself: in its status, to whoever looks after it and to all pages, and to systemd.

use super::hub::Hub;
use crate::notify::Notify;
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
    vitals: Option<VitalSigns>,
    notify: Notify,
    published_before: u64,
    started: Instant,
    /// What it says while nothing comes from the broker.
    nothing_comes: String,
}

impl Itself {
    /// Creates the channel `status`. Where that can't be, the viewer runs without: it only watches, and of two viewers one has
    /// the name.
    pub(super) fn new(status: Option<&ChannelName>, notify: Notify, broker: &str) -> Self {
        let without = |error| tracing::info!("this viewer publishes no status: {error}");
        let vitals = status.and_then(|name| VitalSigns::create(name).map_err(without).ok());
        Self {
            published_before: vitals.as_ref().map_or(0, |vitals| vitals.now.published),
            vitals,
            notify,
            started: Instant::now(),
            nothing_comes: format!("nothing comes from the broker at {broker}"),
        }
    }

    /// Says how it is; to be called some times in each tenth of a second.
    pub(super) fn say(&mut self, hub: &Hub) {
        let (frames, silence) = hub.heard_so_far();
        let (state, reason) = match silence {
            Some(silence) if silence < SILENCE => (State::Running, ""),
            // Until then it is starting.
            None if self.started.elapsed() < SILENCE => (State::Waiting, ""),
            _ => (State::Waiting, self.nothing_comes.as_str()),
        };
        if let Some(vitals) = &mut self.vitals {
            vitals.enter(state, reason);
            vitals.now.published = self.published_before + frames;
            vitals.publish_if_due();
            vitals.keep_names(&mut []);
        }
        self.notify.tell(true, || match reason {
            "" => state.name().to_owned(),
            reason => format!("{}: {reason}", state.name()),
        });
    }
}
