//! What is really so, frame by frame.

use crate::simulation::World;
use lkas_shm::Message;
use serde::{Deserialize, Serialize};

/// The distances ahead at which the true lines are given, in metres.
const AHEAD_M: [f64; 2] = [5.0, 12.0];

/// The vehicle in its lane as it really was when a frame was taken. Lengths in metres, everything sideways positive to the
/// right. Published by the simulation on the channel `ground_truth`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message, Serialize, Deserialize)]
#[message(name = "lkas.Truth")]
#[repr(C)]
pub struct Truth {
    /// The frame.
    pub frame_id: u64,
    /// When it was taken, in seconds.
    #[message(unit = "s")]
    pub timestamp: f64,
    /// Distance of the vehicle's middle from the lane's.
    #[message(unit = "m")]
    pub offset_m: f64,
    /// The lane's direction relative to the vehicle's, in radians.
    #[message(unit = "rad")]
    pub heading: f64,
    /// The lane's curvature in 1/m.
    #[message(unit = "1/m")]
    pub curvature: f64,
    /// The lane's width.
    #[message(unit = "m")]
    pub width_m: f64,
    /// Speed in km/h.
    #[message(unit = "km/h")]
    pub speed_kmh: f64,
    /// Where the left line shows in the frame 5 m ahead and 12 m ahead: column and row in pixels.
    pub left: [f64; 4],
    /// The same of the right line.
    pub right: [f64; 4],
}

impl Truth {
    /// The truth of `world` in this instant.
    #[must_use]
    pub fn of(world: &World, frame_id: u64, timestamp: f64) -> Self {
        let road = world.road();
        let pose = world.vehicle().pose();
        let half = 0.5 * road.lane_width();
        let line = |side: f64| {
            let mut shown = [0.0; 4];
            for (place, ahead) in shown.chunks_exact_mut(2).zip(AHEAD_M) {
                let there = road.pose_at(road.wrap(world.s() + ahead)).point(0.0, side * half);
                if let Some([x, y]) = world.camera().project(pose, there) {
                    place.copy_from_slice(&[x, y].map(f64::from));
                }
            }
            shown
        };
        Self {
            frame_id,
            timestamp,
            offset_m: world.lateral_offset_m(),
            heading: world.heading_error(),
            curvature: road.curvature(world.s()),
            width_m: road.lane_width(),
            speed_kmh: world.vehicle().speed() * 3.6,
            left: line(-1.0),
            right: line(1.0),
        }
    }
}
