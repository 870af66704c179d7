//! `lkas pause`, `resume`, `respawn` and `stop`: ask the vehicle for something, and wait until it says that it is so.

use super::broker::nobody_answers;
use crate::Failure;
use crate::options::SystemOptions;
use crate::status::{SILENCE, Seen, StatusWatch, vehicle_words};
use crate::stop::Stop;
use clap::Args;
use lkas_messages::names::Name;
use lkas_zmq::wire::ActionStatus;
use lkas_zmq::wire::{EMERGENCY_STOP, RELEASE_EMERGENCY_STOP};
use lkas_zmq::{Topic, ViewerClient, ViewerMessage};
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, Instant};

/// How long to wait for an answer.
#[derive(Args, Clone, Copy, Debug)]
pub struct Patience {
    /// How long to wait until it takes effect, in seconds
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = super::seconds)]
    pub timeout: f64,
}

impl Patience {
    pub(super) fn deadline(self) -> Instant {
        Instant::now() + Duration::from_secs_f64(self.timeout)
    }
}

/// How `lkas stop` works.
#[derive(Args, Clone, Copy, Debug)]
pub struct StopOptions {
    /// Release the emergency stop instead
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    patience: Patience,
}

/// What to ask the vehicle for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That time stands still.
    Pause,
    /// That time goes on.
    Resume,
    /// That it goes back to its start.
    Respawn,
    /// That it stops until it is released.
    Stop,
    /// That it is released.
    Release,
}

impl Wish {
    fn action(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Respawn => "respawn",
            Self::Stop => EMERGENCY_STOP,
            Self::Release => RELEASE_EMERGENCY_STOP,
        }
    }

    /// Whether what the vehicle said before and says now means that the wish came true.
    fn is_true(self, before: Option<Says>, now: Says) -> bool {
        match self {
            Self::Pause => now.paused,
            Self::Resume => !now.paused,
            Self::Respawn => before.is_some_and(|before| now.respawns > before.respawns),
            Self::Stop => now.latched,
            Self::Release => !now.latched,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "time goes on",
            Self::Respawn => "the vehicle is back at its start",
            Self::Stop => "emergency stop: latched until `lkas stop --release`",
            Self::Release => "released: the vehicle drives again when it stands and controls are fresh",
        }
    }
}

/// What the vehicle says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Says {
    latched: bool,
    paused: bool,
    respawns: u64,
}

impl Says {
    fn of(seen: &Seen) -> Option<Self> {
        let status = seen.is_current().then_some(&seen.status)?;
        Some(Self { latched: status.latched != 0, paused: status.paused != 0, respawns: status.respawns })
    }

    /// From what the broker passes on.
    fn in_broadcast(status: &Value) -> Option<Self> {
        let vehicle = status.get("vehicle")?;
        Some(Self {
            latched: vehicle.get("latched")?.as_bool()?,
            paused: vehicle.get("paused")?.as_bool()?,
            respawns: vehicle.get("respawns")?.as_u64()?,
        })
    }
}

fn is_own(ids: &[String], status: &ActionStatus) -> bool {
    status.id.as_ref().and_then(Value::as_str).is_some_and(|id| ids.iter().any(|own| own == id))
}

/// An emergency stop is asked for again and again, until the vehicle says that it is latched.
const AGAIN: Duration = Duration::from_millis(200);

/// As [`act`], for `lkas stop`.
///
/// # Errors
/// As [`act`].
pub fn emergency(system: &SystemOptions, options: StopOptions, stop: &Stop) -> Result<bool, Failure> {
    act(system, if options.release { Wish::Release } else { Wish::Stop }, options.patience, stop)
}

/// Asks for something and waits until the vehicle's status says that it is so; `false`, with a word on who did not answer,
/// where it does not.
///
/// # Errors
/// A name or an address is unusable, or a socket failed.
pub fn act(system: &SystemOptions, wish: Wish, patience: Patience, stop: &Stop) -> Result<bool, Failure> {
    let deadline = patience.deadline();
    let action: Name = wish.action().parse()?;
    let mut watch = StatusWatch::new(system.status_channel("simulation")?);
    let mut viewer = ViewerClient::connect_to(&system.endpoint(), &[Topic::ActionStatus, Topic::Status])?;
    // Of a vehicle elsewhere only its broker knows.
    let mut look = || if system.network.is_here() { watch.look() } else { None };
    let mut vehicle = look();
    let mut before = vehicle.as_ref().and_then(Says::of);
    // Who only waits for a count to rise has to know where it began. An emergency stop waits for nothing.
    let mut asked: Option<Instant> = None;
    let mut answer: Option<ActionStatus> = None;
    // Others may ask for the same.
    let mut own: Vec<String> = Vec::new();
    let mut says = before;
    let mut told: Option<(Instant, Says)> = None;
    while Instant::now() < deadline && !stop.is_set() {
        let due = match asked {
            None => wish == Wish::Stop || before.is_some(),
            Some(asked) => wish == Wish::Stop && asked.elapsed() >= AGAIN,
        };
        if due {
            // One that waits already is as good.
            own.extend(viewer.send_action(&action));
            asked = Some(Instant::now());
        }
        match viewer.next(Duration::from_millis(20))? {
            Some(ViewerMessage::ActionStatus(status)) if is_own(&own, &status) => answer = Some(status),
            Some(ViewerMessage::Status(status)) => {
                told = Says::in_broadcast(&status).map(|says| (Instant::now(), says));
            }
            _ => {}
        }
        vehicle = look();
        let in_broadcast = told.filter(|(at, _)| at.elapsed() < SILENCE).map(|(_, says)| says);
        says = vehicle.as_ref().and_then(Says::of).or(in_broadcast);
        if asked.is_some() && says.is_some_and(|says| wish.is_true(before, says)) {
            let words = match before {
                Some(Says { latched: false, .. }) if wish == Wish::Release => "no emergency stop is latched",
                _ => wish.words(),
            };
            writeln!(std::io::stdout(), "{words}").map_err(|why| format!("{words}, and standard output: {why}"))?;
            return Ok(true);
        }
        before = before.or(says);
        if wish != Wish::Stop && answer.as_ref().is_some_and(|answer| !answer.accepted) {
            break;
        }
    }
    let why = match answer {
        Some(ActionStatus { accepted: false, reason, .. }) => {
            format!("it was refused: {}", reason.as_deref().unwrap_or("it does not say why"))
        }
        _ if !viewer.is_connected() => nobody_answers(&system.endpoint()),
        Some(ActionStatus { delivered: false, .. }) => {
            "the broker answers, but no vehicle listens to it: start one (simulation --broadcast)".to_owned()
        }
        _ => match says {
            Some(_) => "the vehicle was asked and does not say that it is so".to_owned(),
            None => vehicle_words(vehicle.as_ref(), None).unwrap_or_else(|| "the vehicle did not answer".to_owned()),
        },
    };
    tracing::error!("{} did not take effect: {why}", wish.action());
    Ok(false)
}
