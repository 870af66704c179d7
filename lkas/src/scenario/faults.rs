//! What a scenario does to frames, controls and the vehicle, in lockstep and in real time.

use super::file::{Failing, Fault, Scenario};
use crate::simulation::{Command, World};
use lkas_messages::{Control, ControlFields, Mode};
use lkas_shm::Plain;

/// What the cruise control accelerates with at most, in m/s².
const CRUISE_ACCELERATION: f64 = 3.0;

impl Scenario {
    /// The fault of that kind at that time and frame, with its strength.
    pub(crate) fn failing(&self, what: Failing, now_s: f64, frame: u64) -> Option<f64> {
        let in_force =
            |fault: &&Fault| fault.what == what && fault.lasts_at(now_s) && frame.is_multiple_of(fault.every);
        self.faults.iter().find(in_force).map(|fault| fault.strength)
    }
}

impl Fault {
    /// Whether the time is one of those at which there is the fault.
    pub(super) fn lasts_at(&self, now_s: f64) -> bool {
        (0.0..self.for_s).contains(&(now_s - self.from_s))
    }
}

/// Whether the drive has come to its end, by its time or its road.
pub(crate) fn is_over(scenario: &Scenario, world: &World, now_s: f64) -> bool {
    let road = world.road();
    let road_ends = !road.is_closed() && world.s() > road.length() - 420.0;
    now_s + 1e-9 >= scenario.duration_s || road_ends
}

/// Even noise of that standard deviation, another one in each frame.
pub(crate) fn add_noise(pixels: &mut [u8], deviation: f64, seed: u64, frame: u64) {
    let scale = (deviation * 12.0_f64.sqrt() / 255.0 * 65536.0) as i32;
    let mut state = seed ^ frame.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for values in pixels.chunks_mut(8) {
        // The generator of G. Marsaglia, "Xorshift RNGs".
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (value, random) in values.iter_mut().zip(state.to_le_bytes()) {
            let noise = ((i32::from(random) - 128) * scale) >> 16;
            *value = (i32::from(*value) + noise).clamp(0, 255) as u8;
        }
    }
}

/// What the vehicle does at that speed (in m/s) about a control: by its cruise control, where there is one.
pub(crate) fn cruise(scenario: &Scenario, control: &Control, speed: f64) -> Command {
    let command = Command::from(control);
    let Some(kmh) = scenario.vehicle.cruise_kmh else { return command };
    if control.mode() == Mode::EmergencyStop {
        return command;
    }
    let base = f64::from(scenario.parameters().1.throttle_base).max(1e-3);
    let target = kmh / 3.6 * (command.throttle / base).clamp(0.0, 1.0);
    // What holds the speed, by the vehicle's own drag, and what changes it.
    let hold = 0.1 + (0.016_19 + 0.006_807 * speed) * speed;
    let wanted = (0.8 * (target - speed)).clamp(-1.5, CRUISE_ACCELERATION);
    let pedal = (hold + wanted) / 8.0;
    Command { throttle: pedal.clamp(0.0, 1.0), brake: command.brake.max((-pedal).clamp(0.0, 0.3)), ..command }
}

/// Makes of a control one to the other side. The check value, which comes last, stays that of what was sent.
pub(crate) fn damage(control: &mut Control) {
    let fields = ControlFields::from(*control);
    let Ok(other) = Control::try_from(ControlFields { steering: -fields.steering, ..fields }) else { return };
    let checked = size_of::<Control>() - size_of::<u32>();
    control.as_bytes_mut()[..checked].copy_from_slice(&other.as_bytes()[..checked]);
}
