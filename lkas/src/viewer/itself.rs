//! What the viewer says of itself: in its status, to whoever looks after it and to all pages, and to systemd.

use super::hub::{Hub, SILENCE};
use crate::notify::Notify;
use crate::status::State;
use crate::vitals::VitalSigns;
use core::time::Duration;
use lkas_shm::ChannelName;
use std::time::Instant;

/// Between two tries to have the name of a status that another viewer has.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The viewer's status on its way out.
#[derive(Debug)]
pub(super) struct Itself {
    name: Option<ChannelName>,
    vitals: Option<VitalSigns>,
    /// When to try again to have it; none before the first try.
    try_due: Option<Instant>,
    notify: Notify,
    published_before: u64,
    started: Instant,
    /// What it says while nothing comes from the broker.
    nothing_comes: String,
}

impl Itself {
    /// What is said on the channel `status`, if any, and to systemd.
    pub(super) fn new(status: Option<ChannelName>, notify: Notify, broker: &str) -> Self {
        Self {
            name: status,
            vitals: None,
            try_due: None,
            published_before: 0,
            notify,
            started: Instant::now(),
            nothing_comes: format!("nothing comes from the broker at {broker}"),
        }
    }

    /// Creates the channel, where that is not done. While it can't be, the viewer runs without: it only watches, and of two
    /// viewers one has the name.
    fn have_name(&mut self, frames: u64) {
        let Some(name) = self.name.as_ref().filter(|_| self.vitals.is_none()) else { return };
        if self.try_due.is_some_and(|due| Instant::now() < due) {
            return;
        }
        match VitalSigns::create_at_once(name) {
            Ok(vitals) => {
                self.published_before = vitals.now.published.saturating_sub(frames);
                self.vitals = Some(vitals);
            }
            Err(error) if self.try_due.is_none() => {
                tracing::info!("this viewer publishes no status for now: {error}");
            }
            Err(_) => {}
        }
        self.try_due = Some(Instant::now() + TRY_EVERY);
    }

    /// Says how it is; to be called some times in each tenth of a second.
    pub(super) fn say(&mut self, hub: &Hub) {
        let (frames, silence) = hub.heard_so_far();
        self.have_name(frames);
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
