//! The reader of controls that stops the vehicle when they stop coming.

use crate::clock;
use crate::deadline::{DeadlineReader, Gone, Received};
use crate::error::OpenError;
use crate::name::ChannelName;
use crate::options::OpenOptions;
use crate::vehicle::ControlChannel;
use core::time::Duration;
use lkas_messages::{Control, Mode};
use lkas_safety::{LastControl, Reason, SafetyEvents, SafetyMonitor, SafetyOptions};

/// The longest rest after an error, so that a loop with a long timeout still decides and tries again.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// A control as it arrived, not yet checked: see [`Control::is_whole`].
pub type ReceivedControl = Received<Control>;

/// What moves a vehicle asks this for its controls: a [`DeadlineReader`] of them and a [`SafetyMonitor`], with the clock.
///
/// In a loop, [`next`](Self::next) waits for a new control and [`decide`](Self::decide) says what to execute now. While
/// controls are fresh that is the last of them. When they stop coming, grow too old, or nobody is left to send any, it
/// is an emergency stop, until the vehicle stands and controls have been fresh again for a while; the events say when
/// and why. The rules are the monitor's.
///
/// The age of a control counts from the frame that it answers (its [`timestamp`](Control::timestamp), in seconds of
/// the [clock]): what was decided just now from an old frame is old. The contract of the channel is held against that
/// age too. An emergency stop needs no frame, so its age counts from its publish.
///
/// A control outlives its channel: while that is replaced the vehicle drives on for as long as the control may be acted
/// on.
///
/// # Examples
/// ```
/// use lkas_messages::{Control, ControlFields, Mode};
/// use lkas_shm::{ChannelName, ControlChannel, ControlSupervisor, Options, SafetyOptions, clock};
/// use std::time::Duration;
///
/// # let name = format!("doc-supervisor-{}", std::process::id());
/// let name: ChannelName = name.parse()?;
/// let mut controls = ControlSupervisor::new(name.clone(), SafetyOptions::default());
/// # let mut writer = ControlChannel::create(&name, Options::default())?;
/// # let drive = ControlFields { mode: Mode::LaneKeeping, steering: 0.1, brake: 0.0, ..Default::default() };
/// # writer.publish(Control::try_from(ControlFields { timestamp: clock::now_seconds(), ..drive })?);
/// # for _ in 0..3 {
/// // The loop of whatever drives:
/// if let Err(why) = controls.next(Duration::from_millis(10)) {
///     // The loop goes on: once the last control is too old, this brakes until the vehicle stands.
///     eprintln!("{why}");
/// }
/// let standing = false; // from the vehicle's own sensors
/// let (execute, events) = controls.decide(standing);
/// for event in events {
///     eprintln!("{event}");
/// }
/// // Here execute.steering(), execute.throttle() and execute.brake() go to the actuators.
/// # let _ = execute;
/// # }
/// # drop((writer, controls));
/// # lkas_shm::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ControlSupervisor {
    controls: DeadlineReader<Control>,
    monitor: SafetyMonitor,
    /// When the last decision was made.
    decided: Option<u64>,
}

impl ControlSupervisor {
    /// A supervisor of the controls on the channel `name`, which need not be there yet.
    #[must_use]
    pub fn new(name: ChannelName, options: SafetyOptions) -> Self {
        // How old a control may be is the monitor's to say: it counts from the frame.
        // And who moves the vehicle has the first place, also where it is reserved.
        let open = |name: &ChannelName, options: OpenOptions| ControlChannel::open(name, options.place(0));
        let controls = DeadlineReader::new(name, open, Duration::MAX);
        Self { controls, monitor: SafetyMonitor::new(options), decided: None }
    }

    /// The same, with options for opening the channel, as [`Feed::with_options`](crate::Feed::with_options). Their place does
    /// not count: it has the first.
    #[must_use]
    pub fn with_options(self, options: OpenOptions) -> Self {
        Self { controls: self.controls.with_options(options), ..self }
    }

    /// The next new control; `None` where none came within `timeout`, or sooner as in [`Feed::next`](crate::Feed::next). Call it before
    /// each [`decide`](Self::decide): nothing else takes controls from the channel.
    ///
    /// # Progress
    /// As [`DeadlineReader::next`].
    ///
    /// # Errors
    /// As [`DeadlineReader::next`]: the channel is there and can't be used. `decide` stays right, so keep calling it as long as
    /// the vehicle moves. An error comes when `timeout` is over, or after 100 ms, so that such a loop keeps its pace.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<ReceivedControl>, OpenError> {
        let start = clock::now();
        let next = self.controls.next(timeout);
        if next.is_err() {
            let passed = Duration::from_nanos(clock::now().saturating_sub(start));
            std::thread::sleep(timeout.min(LONGEST_REST).saturating_sub(passed));
        }
        next
    }

    /// What the vehicle executes now, and what changed. `standing` says whether it stands still.
    ///
    /// Time passes from one call to the next, so call it at the rate at which the vehicle is commanded; of a pause of
    /// more than 0.1 s, 0.1 s count.
    ///
    /// # Progress
    /// A fixed number of steps, one reading of the clock, no allocation, no waiting. A system call only where
    /// the control is overdue: older than the contract's period, or than the limit where there is no contract.
    #[must_use = "the vehicle executes this and nothing else"]
    pub fn decide(&mut self, standing: bool) -> (Control, SafetyEvents) {
        let now = clock::now();
        let dt = now.saturating_sub(self.decided.replace(now).unwrap_or(now)) as f64 * 1e-9;
        let last = self.controls.last().map(|&Received { value: control, published, contract, .. }| LastControl {
            control,
            age_s: age_s(&control, published, now),
            contract,
        });
        self.monitor.decide(dt, now as f64 * 1e-9, last, standing, || self.controls.gone().map(reason))
    }

    /// Latches an emergency stop: [`SafetyMonitor::trigger_emergency_stop`].
    pub fn trigger_emergency_stop(&mut self) {
        self.monitor.trigger_emergency_stop();
    }

    /// Releases the latch: [`SafetyMonitor::release_emergency_stop`].
    pub fn release_emergency_stop(&mut self) {
        self.monitor.release_emergency_stop();
    }

    /// Whether an emergency stop is latched.
    #[must_use]
    pub fn is_emergency_stop_latched(&self) -> bool {
        self.monitor.is_emergency_stop_latched()
    }

    /// How many controls were published and replaced before they were taken.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.controls.missed()
    }

    /// How many safe stops there have been.
    #[must_use]
    pub fn safe_stops(&self) -> u64 {
        self.monitor.safe_stops()
    }

    /// How many controls were not whole, and ignored.
    #[must_use]
    pub fn damaged_controls(&self) -> u64 {
        self.monitor.damaged_controls()
    }
}

fn reason(gone: Gone) -> Reason {
    match gone {
        Gone::NoChannel => Reason::NoChannel,
        Gone::WriterDied => Reason::WriterDied,
        Gone::WriterLeft => Reason::WriterLeft,
    }
}

/// By how much a frame's time may lie after the publish of the control that answers it, in seconds: times that were moved from
/// another clock are not exact.
const EXACTNESS_S: f64 = 0.05;

/// How old a control is, in seconds, by the frame that it answers: what was decided just now from an old frame is
/// old, and nothing answers a frame of the future: that has a time of another clock, which says nothing about age. An emergency
/// stop needs no frame, so it counts from its publish.
fn age_s(control: &Control, published: u64, now: u64) -> f64 {
    let since_publish = (now as f64 - published as f64) * 1e-9;
    if control.mode() == Mode::EmergencyStop || since_publish < 0.0 {
        return since_publish;
    }
    let before_publish = published as f64 * 1e-9 - control.timestamp();
    if before_publish < -EXACTNESS_S {
        return before_publish;
    }
    since_publish + before_publish.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::ControlFields;

    #[test]
    fn a_control_is_as_old_as_its_frame() {
        const SECOND: u64 = 1_000_000_000;
        let control =
            |mode, timestamp| Control::try_from(ControlFields { mode, timestamp, ..ControlFields::default() }).unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        close(age_s(&control(Mode::LaneKeeping, 9.9), 10 * SECOND, 11 * SECOND), 1.1);
        close(age_s(&control(Mode::LaneKeeping, 3.0), 10 * SECOND, 10 * SECOND), 7.0);
        close(age_s(&control(Mode::EmergencyStop, 3.0), 10 * SECOND, 10 * SECOND), 0.0);
        close(age_s(&control(Mode::LaneKeeping, 10.01), 10 * SECOND, 11 * SECOND), 1.0);
        close(age_s(&control(Mode::LaneKeeping, 20.0), 10 * SECOND, 11 * SECOND), -10.0);
        close(age_s(&control(Mode::LaneKeeping, 20.0), 10 * SECOND, 40 * SECOND), -10.0);
        close(age_s(&control(Mode::EmergencyStop, 20.0), 10 * SECOND, 11 * SECOND), 1.0);
        close(age_s(&control(Mode::LaneKeeping, 9.9), 12 * SECOND, 11 * SECOND), -1.0);
        let never = age_s(&control(Mode::LaneKeeping, 0.0), 10_000 * SECOND, 10_000 * SECOND);
        assert!(never > 1e3, "without a frame");
    }
}
