//! Driving, stopping, standing: what follows what.

use crate::event::{SafetyEvent, SafetyEvents, note};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum State {
    /// No whole control that could be acted on has ever arrived.
    Waiting,
    Driving,
    /// In a safe stop, still moving.
    Stopping,
    /// In a safe stop, standing; controls have been fresh for so many seconds.
    Standing {
        fresh_s: f64,
    },
}

impl State {
    /// Goes on by a step; `refused` is the safe stop that the last control asks for, `vouched_s` the time for which it may
    /// be acted on. Whether a safe stop began.
    pub(crate) fn advance(
        &mut self,
        refused: Option<SafetyEvent>,
        vouched_s: f64,
        resume_after_s: f64,
        standing: bool,
        events: &mut SafetyEvents,
    ) -> bool {
        if *self == Self::Waiting && refused.is_none() {
            *self = Self::Driving;
            note(events, SafetyEvent::Started);
        }
        let mut began = false;
        if let (Self::Driving, Some(stop)) = (*self, refused) {
            *self = Self::Stopping;
            began = true;
            note(events, stop);
        }
        if *self == Self::Stopping && standing {
            *self = Self::Standing { fresh_s: 0.0 };
            note(events, SafetyEvent::StandingStill);
        } else if let Self::Standing { fresh_s } = *self {
            let fresh_s = if refused.is_none() { fresh_s + vouched_s } else { 0.0 };
            *self = Self::Standing { fresh_s };
            // Sums of steps miss round numbers by a hair.
            if refused.is_none() && fresh_s + 1e-9 >= resume_after_s {
                *self = Self::Driving;
                note(events, SafetyEvent::Resumed { fresh_s });
            }
        }
        began
    }

    /// Stops and stands, whatever arrives. Whether a safe stop began.
    pub(crate) fn stop(&mut self, standing: bool, events: &mut SafetyEvents) -> bool {
        let began = *self == Self::Driving;
        let stood = matches!(self, Self::Standing { .. });
        if standing && !stood {
            note(events, SafetyEvent::StandingStill);
        }
        *self = if standing || stood { Self::Standing { fresh_s: 0.0 } } else { Self::Stopping };
        began
    }
}
