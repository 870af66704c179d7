//! What each process of the system says of itself, on a channel of its own.
//!
//! Counters go on across restarts: a successor starts from what its predecessor published last.

use lkas_shm::{Channel, ChannelName, Contract, CreateError, Message, Options, Writer};
use std::time::{Duration, Instant};

/// How often a process publishes its vitals.
const EVERY: Duration = Duration::from_millis(100);

/// Counters and figures of one process. What does not apply to a process stays zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Vitals")]
#[repr(C)]
pub struct Vitals {
    /// Values published on the process's channel.
    pub published: u64,
    /// Values taken from the channel that the process reads.
    pub taken: u64,
    /// Values that were replaced on that channel before the process took them.
    pub missed: u64,
    /// Values whose check value did not fit: torn or damaged.
    pub torn: u64,
    /// Detections with both lanes.
    pub both_lanes: u64,
    /// How often the process began a safe stop.
    pub safe_stops: u64,
    /// From a frame's capture to the publish of the control that answers it: median, in milliseconds.
    #[message(unit = "ms")]
    pub latency_p50_ms: f64,
    /// The same, 99th percentile.
    #[message(unit = "ms")]
    pub latency_p99_ms: f64,
    /// The same, longest.
    #[message(unit = "ms")]
    pub latency_max_ms: f64,
    /// Mean distance of the vehicle from the middle of its lane while it drove, in metres.
    #[message(unit = "m")]
    pub offset_mean_abs_m: f64,
    /// The same, largest.
    #[message(unit = "m")]
    pub offset_max_abs_m: f64,
    /// That distance now, positive to the right.
    #[message(unit = "m")]
    pub offset_m: f64,
    /// Speed now.
    #[message(unit = "km/h")]
    pub speed_kmh: f64,
    /// What a person should know now: a [`Notice`] as its code.
    pub notice: u64,
}

/// What the vehicle has to tell a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notice {
    /// Nothing: it drives.
    #[default]
    None,
    /// It stands, because no control has come yet.
    Waiting,
    /// It brakes, because controls stopped coming.
    Stopping,
    /// It stands after a safe stop.
    Standing,
    /// It brakes or stands, because the decision server commands an emergency stop.
    EmergencyStop,
}

impl Notice {
    const ALL: [Self; 5] = [Self::None, Self::Waiting, Self::Stopping, Self::Standing, Self::EmergencyStop];

    /// The notice as a number for [`Vitals::notice`].
    #[must_use]
    pub fn code(self) -> u64 {
        self as u64
    }

    /// The notice of that code; none where there is no such code.
    #[must_use]
    pub fn from_code(code: u64) -> Self {
        Self::ALL.into_iter().find(|notice| notice.code() == code).unwrap_or_default()
    }

    /// The notice in words; `None` where there is nothing to say.
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Waiting => Some("waiting for the first control"),
            Self::Stopping => Some("SAFE STOP: braking, no fresh control"),
            Self::Standing => Some("SAFE STOP: standing, waiting for fresh controls"),
            Self::EmergencyStop => Some("EMERGENCY STOP: the lane is not known"),
        }
    }
}

/// The vitals of this process on their way out.
#[derive(Debug)]
pub struct VitalSigns {
    /// The figures, to be changed at will.
    pub now: Vitals,
    writer: Writer<Vitals>,
    due: Instant,
}

impl VitalSigns {
    /// Creates the channel `name`, and goes on with the figures of a predecessor if there was one.
    ///
    /// # Errors
    /// As [`Channel::create`].
    pub fn create(name: &ChannelName) -> Result<Self, CreateError> {
        let contract = Contract::new(3 * EVERY, 10 * EVERY).unwrap_or_else(|_| unreachable!("both are constants"));
        let writer = Channel::<Vitals>::create(name, Options::new().contract(contract))?;
        // A channel that can't be read back is one without a predecessor's figures.
        let before = Channel::open(name, Duration::ZERO).ok();
        let now = before.and_then(|mut reader| reader.latest().map(|vitals| *vitals)).unwrap_or_default();
        Ok(Self { now, writer, due: Instant::now() })
    }

    /// Publishes the figures if it is time to.
    pub fn publish_if_due(&mut self) {
        if Instant::now() >= self.due {
            self.publish();
        }
    }

    /// Publishes the figures.
    pub fn publish(&mut self) {
        self.writer.publish(self.now);
        self.due = Instant::now() + EVERY;
    }
}

impl Drop for VitalSigns {
    fn drop(&mut self) {
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_goes_on_counting() {
        let name = ChannelName::new(&format!("test-{}", std::process::id()), "vitals").unwrap();
        let mut first = VitalSigns::create(&name).unwrap();
        first.now.published = 7;
        drop(first);
        assert_eq!(VitalSigns::create(&name).unwrap().now.published, 7);
        lkas_shm::unlink(&name).unwrap();
    }

    #[test]
    fn notices_survive_as_codes() {
        for notice in Notice::ALL {
            assert_eq!(Notice::from_code(notice.code()), notice);
        }
        assert_eq!(Notice::from_code(99), Notice::None);
    }
}
