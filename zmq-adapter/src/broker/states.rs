//! The vehicle's status: from one vehicle, and on to viewers.

use super::options::LastState;
use super::{Broker, drain};
use crate::decode::decode_vehicle_status;
use crate::error::Refusal;
use crate::socket::{self, Source};
use core::time::Duration;
use std::time::Instant;

/// A vehicle that says nothing for so long is no longer the one that is listened to.
const SILENCE: Duration = Duration::from_secs(1);

/// The vehicle that is listened to.
#[derive(Default)]
pub(super) struct Vehicle {
    pub(super) last: Option<LastState>,
    source: Option<Source>,
}

impl Vehicle {
    /// Whether that connection is the vehicle's: the one that spoke last, unless it fell silent.
    fn is(&self, source: &Source) -> bool {
        let Some((known, last)) = self.source.as_ref().zip(self.last.as_ref()) else { return true };
        known == source || last.received.elapsed() >= SILENCE
    }
}

impl Broker {
    pub(super) fn poll_states(&mut self) -> usize {
        let mut messages = drain(&self.vehicle_status, &mut self.statistics.states);
        for parts in &mut messages {
            let source = Source::of(parts);
            let permitted = self.permit(&source);
            let arrivals = &mut self.statistics.states;
            if let Err(refusal) = permitted {
                arrivals.refuse(refusal);
                continue;
            }
            match decode_vehicle_status(&socket::slices(parts)) {
                Ok(_) if !self.vehicle.is(&source) => arrivals.refuse(Refusal::SecondVehicle),
                Ok(status) => {
                    if self.broadcaster.status(&status).is_sent() {
                        arrivals.forwarded += 1;
                    }
                    self.vehicle.last = Some(LastState { status, received: Instant::now() });
                    self.vehicle.source = Some(source);
                }
                Err(refusal) => arrivals.refuse(refusal),
            }
        }
        messages.len()
    }
}
