//! What the processes of the system tell each other beside frames, detections and controls: messages of this system's own,
//! each on a channel of its own. Who does not find them works without.

use crate::decision::Motion;
use crate::detection::LaneShape;
use lkas_shm::Message;

/// The channel of [`LaneSignal`], written by the detection.
pub const LANE: &str = "lane_shape";
/// The channel of [`MotionSignal`], written by the vehicle.
pub const MOTION: &str = "vehicle_motion";
/// The channel of [`Truth`](crate::scenario::Truth), written by the simulation.
pub const TRUTH: &str = "ground_truth";

/// A signal older than this is none, in seconds.
pub const MAX_AGE_S: f64 = 0.3;

/// A [`LaneShape`] on its way. Published just before the detection of the same frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.LaneShape")]
#[repr(C)]
pub struct LaneSignal {
    /// The frame.
    pub frame_id: u64,
    /// Whether a lane is known; the numbers are 0 where none is.
    pub known: u64,
    /// As [`LaneShape::middle_m`].
    #[message(unit = "m")]
    pub middle_m: f64,
    /// As [`LaneShape::width_m`].
    #[message(unit = "m")]
    pub width_m: f64,
    /// As [`LaneShape::heading`].
    #[message(unit = "rad")]
    pub heading: f64,
    /// As [`LaneShape::curvature`].
    #[message(unit = "1/m")]
    pub curvature: f64,
    /// How sure the left line is, 0 to 1.
    pub left: f64,
    /// How sure the right line is, 0 to 1.
    pub right: f64,
    /// Whether the frame shows exactly what the one before showed.
    pub unchanged: u64,
}

impl LaneSignal {
    /// The signal of that frame.
    #[must_use]
    pub fn new(frame_id: u64, shape: Option<LaneShape>) -> Self {
        let Some(shape) = shape else { return Self { frame_id, ..Self::default() } };
        Self {
            frame_id,
            known: 1,
            middle_m: shape.middle_m.into(),
            width_m: shape.width_m.into(),
            heading: shape.heading.into(),
            curvature: shape.curvature.into(),
            left: shape.seen[0].into(),
            right: shape.seen[1].into(),
            unchanged: shape.unchanged.into(),
        }
    }

    /// The lane; `None` where none is known.
    #[must_use]
    pub fn shape(&self) -> Option<LaneShape> {
        (self.known != 0).then_some(LaneShape {
            middle_m: self.middle_m as f32,
            width_m: self.width_m as f32,
            heading: self.heading as f32,
            curvature: self.curvature as f32,
            seen: [self.left as f32, self.right as f32],
            unchanged: self.unchanged != 0,
        })
    }
}

/// A [`Motion`] on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(name = "lkas.Motion")]
#[repr(C)]
pub struct MotionSignal {
    /// When it was so, in seconds.
    #[message(unit = "s")]
    pub timestamp: f64,
    /// As [`Motion::speed`].
    #[message(unit = "m/s")]
    pub speed: f64,
    /// As [`Motion::steering`].
    pub steering: f64,
    /// As [`Motion::control_age_s`].
    #[message(unit = "s")]
    pub control_age_s: f64,
}

impl MotionSignal {
    /// The motion, if it is fresh at `now_s` and makes sense.
    #[must_use]
    pub fn motion(&self, now_s: f64) -> Option<Motion> {
        let age_s = now_s - self.timestamp;
        let finite = [self.speed, self.steering, self.control_age_s].iter().all(|number| number.is_finite());
        (finite && (-0.01..MAX_AGE_S).contains(&age_s) && self.speed >= 0.0 && self.control_age_s >= 0.0).then_some(
            Motion {
                speed: self.speed as f32,
                steering: self.steering as f32,
                control_age_s: self.control_age_s as f32,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_arrives_as_it_was_sent() {
        let shape = LaneShape {
            middle_m: 0.25,
            width_m: 3.5,
            heading: -0.5,
            curvature: 0.125,
            seen: [0.5, 1.0],
            unchanged: true,
        };
        assert_eq!(LaneSignal::new(7, Some(shape)).shape(), Some(shape));
        assert_eq!((LaneSignal::new(7, None).shape(), LaneSignal::new(7, None).frame_id), (None, 7));
    }

    #[test]
    fn motion_that_is_old_or_nonsense_is_none() {
        let good = MotionSignal { timestamp: 10.0, speed: 5.0, steering: 0.1, control_age_s: 0.05 };
        assert_eq!(good.motion(10.1).map(|motion| motion.speed), Some(5.0));
        assert_eq!((good.motion(10.5), good.motion(9.0), good.motion(f64::NAN)), (None, None, None));
        for wrong in [MotionSignal { speed: f64::NAN, ..good }, MotionSignal { speed: -1.0, ..good }] {
            assert_eq!(wrong.motion(10.0), None);
        }
    }
}
