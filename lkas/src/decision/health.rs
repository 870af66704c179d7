//! Whether what is seen may be driven on.

use super::motion::{Motion, Predictor};
use super::{HOLD_M, HOLD_S, LEAST_CONFIDENCE, Place, SURE, VEHICLE_WIDTH_M};
use core::fmt;

/// For so long one line may be unsure before the vehicle slows down, in seconds: that of a broken line is now and then.
const UNSURE_S: f32 = 1.0;

/// For so long both lines must be sure before the first start, and after a stop, in seconds.
const FIRST_EVIDENCE_S: f32 = 0.3;
const EVIDENCE_S: f32 = 1.0;
/// For so long one line may instead be merely seen beside a sure one, in seconds, for a slow start: who stands sees the
/// same dashes of a broken line for ever, and between some of them they are too few to be sure of.
const SEEN_S: f32 = 2.0;

/// Widths of a lane that are driven on, in metres; and by how much the width may differ from what it usually is.
const WIDTH_M: [f32; 2] = [2.4, 4.7];
const WIDTH_CHANGE: f32 = 0.06;
/// The usual width follows within this time, in seconds.
const WIDTH_S: f32 = 15.0;

/// From one frame to the next the lane jumps no further than this against where the vehicle should be: metres, radians.
const JUMP: [f32; 2] = [0.35, 0.07];

/// How far perceived and steered motion may part: metres of offset, summed up over about a second.
const PARTED_M: f32 = 0.55;

/// Age of a frame at the instant of its effect, in seconds: beyond the first the vehicle slows down, beyond the second it
/// stops. Both for speeds up to 50 km/h; above, they shrink with the speed.
const OLD_S: [f32; 2] = [0.24, 0.34];
const OLD_SPEED: f32 = 14.0;

/// How long something that is not right is borne before the vehicle stops, in seconds.
const DEPARTING_S: f32 = 0.1;
const TOO_OLD_S: f32 = 0.2;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing was seen yet.
    NothingSeen,
    /// A line is missing or not sure.
    Unsure,
    /// The lines are not as far apart as those of a lane, or as those of this lane were.
    Width,
    /// The lane jumps, or moves otherwise than the vehicle steers.
    Inconsistent,
    /// The camera shows the same picture again and again while the vehicle moves.
    Frozen,
    /// From a frame to its effect it takes longer than this speed allows.
    Slow,
    /// The vehicle leaves its lane.
    Departing,
    /// No detection comes.
    Silent,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingSeen => "no lane was seen yet",
            Self::Unsure => "the lines are not sure enough",
            Self::Width => "the lines are not a lane's width apart",
            Self::Inconsistent => "the lane moves otherwise than the vehicle",
            Self::Frozen => "the camera's picture does not change",
            Self::Slow => "steering takes effect too late for this speed",
            Self::Departing => "the vehicle leaves its lane",
            Self::Silent => "no detection comes",
        })
    }
}

/// How well the lane is known, and what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Both lines are sure: drive.
    Good,
    /// Drive slowly.
    Degraded(Reason),
    /// The lane is not known in this moment: follow the last curvature, for [`HOLD_M`] at most.
    Lost(Reason),
    /// Stop, and stand until both lines have been seen for a while.
    Stopped(Reason),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => f.write_str("keeping the lane"),
            Self::Degraded(reason) => write!(f, "driving slowly: {reason}"),
            Self::Lost(reason) => write!(f, "following the last curve: {reason}"),
            Self::Stopped(reason) => write!(f, "EMERGENCY STOP: {reason}"),
        }
    }
}

/// Whether the place that a frame shows is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Use,
    Ignore,
}

/// Watches over what is seen.
#[derive(Clone, Debug)]
pub(super) struct Monitor {
    health: Health,
    /// For how long there has been nothing to be believed, in seconds.
    blind_s: f32,
    /// For how long both lines have been sure while stopped, in seconds, and for how long at least seen, one of them sure.
    evidence_s: f32,
    seen_s: f32,
    started: bool,
    width_m: Option<f32>,
    /// Perceived minus steered motion.
    parted_m: f32,
    departing_s: f32,
    unsure_s: f32,
    old_s: f32,
    jumped: bool,
    /// The picture has not changed since it did not change while the vehicle moved.
    frozen: bool,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            health: Health::Stopped(Reason::NothingSeen),
            blind_s: 0.0,
            evidence_s: 0.0,
            seen_s: 0.0,
            started: false,
            width_m: None,
            parted_m: 0.0,
            departing_s: 0.0,
            unsure_s: 0.0,
            old_s: 0.0,
            jumped: false,
            frozen: false,
        }
    }
}

impl Monitor {
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// No detection comes.
    pub(super) fn silence(&mut self) {
        self.stop(Reason::Silent);
    }

    fn stop(&mut self, reason: Reason) {
        if !matches!(self.health, Health::Stopped(_)) {
            self.health = Health::Stopped(reason);
        }
        (self.evidence_s, self.seen_s) = (0.0, 0.0);
    }

    /// Judges what a frame shows against what was expected of it; `predictor` has not been corrected by it yet.
    pub(super) fn judge(
        &mut self,
        place: Option<&Place>,
        predictor: &Predictor,
        motion: Option<Motion>,
        dt: f32,
    ) -> Verdict {
        let doubt = self.doubt(place, predictor, motion, dt);
        let verdict = match (place, doubt) {
            (None, _) | (_, Some(Reason::Width | Reason::Inconsistent | Reason::Frozen)) => Verdict::Ignore,
            (Some(place), _) if place.sure[0].max(place.sure[1]) < SURE => Verdict::Ignore,
            _ => Verdict::Use,
        };
        let late = self.late(predictor, dt);
        let departing = place.filter(|_| verdict == Verdict::Use).is_some_and(|place| departs(place, predictor));
        self.departing_s = if departing { self.departing_s + dt } else { 0.0 };
        if let Health::Stopped(reason) = self.health {
            let standing = motion.is_none_or(|motion| motion.speed < 0.3);
            let ready = late != Some(true) && !departing && standing;
            let seen = doubt == Some(Reason::Unsure)
                && verdict == Verdict::Use
                && place.is_some_and(|place| place.sure[0].min(place.sure[1]) >= LEAST_CONFIDENCE);
            self.evidence_s = if ready && doubt.is_none() { self.evidence_s + dt } else { 0.0 };
            self.seen_s = if ready && (seen || doubt.is_none()) { self.seen_s + dt } else { 0.0 };
            let needed = if self.started { EVIDENCE_S } else { FIRST_EVIDENCE_S };
            self.health = if self.evidence_s >= needed {
                Health::Good
            } else if self.seen_s >= SEEN_S {
                Health::Degraded(Reason::Unsure)
            } else {
                Health::Stopped(reason)
            };
            if !matches!(self.health, Health::Stopped(_)) {
                self.started = true;
                self.blind_s = 0.0;
                // A slow start goes on slowly until both lines are sure.
                self.unsure_s = self.seen_s;
            }
            return verdict;
        }
        self.blind_s = if verdict == Verdict::Use { 0.0 } else { self.blind_s + dt };
        self.unsure_s = if doubt == Some(Reason::Unsure) { self.unsure_s + dt } else { 0.0 };
        self.health = match (verdict, doubt, late) {
            (_, _, Some(true)) => Health::Stopped(Reason::Slow),
            (Verdict::Use, ..) if self.departing_s > DEPARTING_S => Health::Stopped(Reason::Departing),
            (Verdict::Ignore, reason, _) => {
                let reason = reason.unwrap_or(Reason::Unsure);
                let hold_s = (HOLD_M / predictor.speed().max(0.1)).clamp(HOLD_S[0], HOLD_S[1]);
                if self.blind_s > hold_s { Health::Stopped(reason) } else { Health::Lost(reason) }
            }
            (Verdict::Use, Some(reason), _) if reason != Reason::Unsure || self.unsure_s > UNSURE_S => {
                Health::Degraded(reason)
            }
            (Verdict::Use, _, Some(false)) => Health::Degraded(Reason::Slow),
            (Verdict::Use, ..) => Health::Good,
        };
        if matches!(self.health, Health::Stopped(_)) {
            (self.evidence_s, self.seen_s) = (0.0, 0.0);
        }
        verdict
    }

    /// What is wrong with a frame, the worst first.
    fn doubt(
        &mut self,
        place: Option<&Place>,
        predictor: &Predictor,
        motion: Option<Motion>,
        dt: f32,
    ) -> Option<Reason> {
        let Some(place) = place else { return Some(Reason::Unsure) };
        // A vehicle that has come to a standstill sees no change either: once frozen, it is not believed until it has.
        self.frozen = place.unchanged && (self.frozen || motion.is_some_and(|motion| motion.speed > 1.0));
        if self.frozen {
            return Some(Reason::Frozen);
        }
        let usual = *self.width_m.get_or_insert(place.width_m);
        let change = (place.width_m - usual).abs() / usual.max(0.1);
        self.width_m = Some(usual + (place.width_m - usual) * (dt / (WIDTH_S + dt)));
        if !(WIDTH_M[0]..WIDTH_M[1]).contains(&place.width_m) || change > WIDTH_CHANGE {
            return Some(Reason::Width);
        }
        let expected = predictor.path();
        let off = place.path.offset - expected.offset;
        let turned = place.path.heading - expected.heading;
        let jump = off.abs() > JUMP[0] || turned.abs() > JUMP[1];
        let both = place.sure[0].min(place.sure[1]) >= SURE;
        // A vehicle that stands, or that does not tell, may be anywhere; where the lane was lost for a moment, two sure
        // lines may show that it moved meanwhile.
        let stopped = matches!(self.health, Health::Stopped(_)) && motion.is_none_or(|motion| motion.speed < 0.3);
        let excused = stopped || (self.blind_s > 0.0 && !self.jumped && both);
        self.parted_m = if stopped { 0.0 } else { self.parted_m * (-dt).exp() + off };
        let jumped = core::mem::replace(&mut self.jumped, jump && !excused);
        if (jump && !excused && !jumped) || (motion.is_some() && self.parted_m.abs() > PARTED_M) {
            return Some(Reason::Inconsistent);
        }
        (!both).then_some(Reason::Unsure)
    }

    /// Whether frames take effect late: `Some(false)` a little, `Some(true)` for too long.
    fn late(&mut self, predictor: &Predictor, dt: f32) -> Option<bool> {
        let share = (OLD_SPEED / predictor.speed().max(0.1)).min(1.0).sqrt();
        let [slow, stop] = OLD_S.map(|limit| limit * share);
        self.old_s = if predictor.delay_s() > stop { self.old_s + dt } else { 0.0 };
        if self.old_s > TOO_OLD_S {
            return Some(true);
        }
        (predictor.delay_s() > slow).then_some(false)
    }
}

/// Whether the vehicle is about to leave its lane: it touches a line, or will within a moment.
fn departs(place: &Place, predictor: &Predictor) -> bool {
    let room = (0.5 * (place.width_m - VEHICLE_WIDTH_M)).max(0.3);
    let soon = predictor.delay_s().min(0.4) + 0.3;
    let offset = place.path.offset;
    let sideways = -predictor.speed() * place.path.heading;
    let outward = sideways * offset.signum();
    offset.abs() > room - 0.15 || (outward > 0.0 && offset.abs() > 0.35 && offset.abs() + outward * soon > room)
}
