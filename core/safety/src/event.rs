//! What changed about who drives, in words.

use core::fmt;

/// Why a control is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is no channel.
    NoChannel,
    /// The writer ended without a word.
    WriterDied,
    /// The writer left in good order.
    WriterLeft,
    /// There is a writer: it is stuck or suspended, or what it decides from is old itself.
    Silent,
    /// What the channel promises makes no sense, so that no age can be trusted to be young enough.
    NonsenseContract,
    /// The age is negative or not a number: the clocks differ, or the time in it is wrong.
    ImpossibleAge,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoChannel => "the channel of the controls is gone",
            Self::WriterDied => "the writer of the controls died",
            Self::WriterLeft => "the writer of the controls has ended",
            Self::Silent => "the writer of the controls is there, but silent or without frames",
            Self::NonsenseContract => "the contract of the controls' channel makes no sense",
            Self::ImpossibleAge => "compare the clocks",
        })
    }
}

/// Something that changed about who drives. Its `Display` is a line for a log.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum SafetyEvent {
    /// The first whole control arrived.
    Started,
    /// The last control must not be acted on any more. The vehicle brakes to a stop.
    SafeStop {
        /// The age of the last whole control in seconds; negative, NaN or infinite where that is what was found.
        age_s: f64,
        /// The limit that it exceeded, in seconds.
        limit_s: f64,
        /// Why there is no younger one.
        reason: Reason,
    },
    /// The vehicle came to a standstill after a safe stop.
    StandingStill,
    /// Driving goes on after a safe stop.
    Resumed {
        /// For how long controls have been fresh, in seconds.
        fresh_s: f64,
    },
    /// The decision asked for an emergency stop.
    EmergencyStop,
    /// The decision no longer asks for an emergency stop.
    EmergencyStopOver,
    /// An emergency stop by a person is latched. The vehicle brakes to a stop and stands until it is released.
    Latched,
    /// The latched emergency stop was released. The vehicle goes on as after any safe stop.
    Released,
    /// A control was not whole: its bytes are not those that were published together.
    Damaged {
        /// How many of them there have been.
        count: u64,
    },
}

impl fmt::Display for SafetyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Started => write!(f, "driving: the first control arrived"),
            Self::SafeStop { age_s, limit_s, reason: reason @ Reason::ImpossibleAge } => {
                write!(f, "safe stop: the last control's age is {age_s} s, expected 0 to {limit_s:.2} s; {reason}")
            }
            Self::SafeStop { age_s, limit_s, reason } => {
                // An age of 0.2501 s must not be shown as 0.25 s.
                let shown = libm::ceil(age_s * 100.0) / 100.0;
                write!(f, "safe stop: the last control is {shown:.2} s old (limit {limit_s:.2} s); {reason}")
            }
            Self::StandingStill => write!(f, "standing still after a safe stop"),
            Self::Resumed { fresh_s } => write!(f, "driving again: fresh controls for {fresh_s:.1} s"),
            Self::EmergencyStop => write!(f, "emergency stop: the decision asks for it"),
            Self::EmergencyStopOver => write!(f, "the emergency stop is over: the decision drives again"),
            Self::Latched => write!(f, "safe stop: emergency stop by a person, until it is released"),
            Self::Released => write!(f, "the emergency stop by a person was released"),
            Self::Damaged { count } => write!(f, "a control is damaged and ignored ({count} so far)"),
        }
    }
}

/// What changed in one step. Four at most: a damaged control, a latch that is set or released, a change between driving,
/// stopping and standing, and one more: standing at the very start of a stop, or an emergency stop that begins or ends where
/// driving does.
pub type SafetyEvents = heapless::Vec<SafetyEvent, 4>;

pub(crate) fn note(events: &mut SafetyEvents, event: SafetyEvent) {
    let noted = events.push(event);
    debug_assert!(noted.is_ok(), "no room for {event}");
}
