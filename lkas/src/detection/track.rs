//! One line over time: smoothed while it is seen, held for a moment when it is not.

use lkas_messages::Lane;

/// A line that is not seen is held for this many frames: a quarter of a second at 30 Hz, about what the gap between two
/// dashes takes at 50 km/h.
const HOLD: u32 = 8;

/// What is left of the confidence after each frame in which the line was not seen.
const FADE: f32 = 0.7;

/// A line that is further from its last position, as a share of the picture's width, is another line.
const JUMP: f32 = 0.1;

/// The largest share of the lines before in the new ones. A share of 1 would never follow the road.
const MOST_SMOOTHING: f32 = 0.95;

/// One line over time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Track {
    lane: Option<Lane>,
    missed: u32,
}

impl Track {
    /// The line, given what was seen of it in a new frame.
    pub(super) fn follow(&mut self, seen: Option<Lane>, smoothing: f32, picture_width: f32) -> Option<Lane> {
        self.lane = match (self.lane, seen) {
            (None, seen) => {
                self.missed = 0;
                seen
            }
            (Some(held), None) => self.hold(held),
            (Some(held), Some(seen)) => {
                let jump = (seen.x1 - held.x1).abs().max((seen.x2 - held.x2).abs());
                if jump <= JUMP * picture_width {
                    self.missed = 0;
                    let share = smoothing.clamp(0.0, MOST_SMOOTHING);
                    let mix = |old: f32, new: f32| share * old + (1.0 - share) * new;
                    Some(Lane { x1: mix(held.x1, seen.x1), x2: mix(held.x2, seen.x2), ..seen })
                } else if seen.confidence > held.confidence {
                    self.missed = 0;
                    Some(seen)
                } else {
                    // The held line fades, so that the other one wins within a few frames if it stays.
                    self.hold(held)
                }
            }
        };
        self.lane
    }

    fn hold(&mut self, held: Lane) -> Option<Lane> {
        self.missed += 1;
        (self.missed <= HOLD).then_some(Lane { confidence: held.confidence * FADE, ..held })
    }
}
