//! The road: a closed lap of straights, arcs and the transitions between them.
//!
//! Coordinates, here and in the whole simulation: metres on a flat ground, x ahead at the start and y to the right of
//! it; headings in radians, curvatures in 1/m, both positive to the right (clockwise seen from above).
//!
//! The road's reference line is the middle of the vehicle's own lane. A place on it is given by `s`, the distance in
//! metres along that line, which wraps around after one lap; a place beside it by its lateral offset in metres,
//! positive to the right.

use core::f64::consts::{PI, TAU};

/// Width of a lane, from the middle of one line to the middle of the other, in metres, where a road says nothing else.
pub const LANE_WIDTH_M: f64 = 3.5;

/// Width of a painted line, in metres.
pub const LINE_WIDTH_M: f64 = 0.15;

/// Length of a dash and of the gap behind it, in metres. Denser than on a motorway: at every place there is a dash so
/// near to the camera that it is at least 40 pixels long in a picture 640 pixels wide.
pub const DASHES_M: [f64; 2] = [4.0, 4.0];

/// Distance of the stored points along the road, in metres. Between them, positions are integrated.
const SPACING_M: f64 = 1.0;

/// Length over which the curvature changes from one value to the next, in metres.
const TRANSITION_M: f64 = 50.0;

/// An open road is straight for this long before its first and after its last part, in metres.
const LEAD_M: [f64; 2] = [20.0, 500.0];

/// One painted line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Its middle, as a lateral offset in metres.
    pub offset_m: f64,
    /// Length of a dash and of the gap behind it in metres; `None` for a solid line.
    pub dashes_m: Option<[f64; 2]>,
    /// Yellow instead of white.
    pub yellow: bool,
    /// How worn it is, 0 (fresh) to 1 (gone).
    pub wear: f64,
    /// The stretch of the road along which it is painted, in metres.
    pub stretch_m: [f64; 2],
    /// How it bends away from the road after the stretch's start, in 1/m: the edge of an exit does.
    pub veer: f64,
}

impl Line {
    /// A fresh white line all along the road.
    #[must_use]
    pub fn new(offset_m: f64, dashes_m: Option<[f64; 2]>) -> Self {
        Self { offset_m, dashes_m, yellow: false, wear: 0.0, stretch_m: [f64::NEG_INFINITY, f64::INFINITY], veer: 0.0 }
    }

    /// Its lateral offset at `s`, in metres.
    #[must_use]
    pub fn offset_at(&self, s: f64) -> f64 {
        let along = if self.veer == 0.0 { 0.0 } else { (s - self.stretch_m[0]).max(0.0) };
        self.offset_m + 0.5 * self.veer * along * along
    }

    /// Whether there is paint at `s`, dashes left aside.
    #[must_use]
    pub fn covers(&self, s: f64) -> bool {
        s >= self.stretch_m[0] && s < self.stretch_m[1]
    }
}

/// The lines of a road with one more lane to the left of the vehicle's: solid, broken, solid.
#[must_use]
pub fn usual_lines(lane_width_m: f64) -> Vec<Line> {
    [(-1.5, None), (-0.5, Some(DASHES_M)), (0.5, None)].map(|(at, dashes)| Line::new(at * lane_width_m, dashes)).into()
}

/// A crest or a dip: a stretch of the road that bends up or down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bump {
    /// Where its middle is, in metres along the road.
    pub at_m: f64,
    /// Its length in metres.
    pub length_m: f64,
    /// Its radius in metres in the middle: negative on a crest, positive in a dip.
    pub radius_m: f64,
}

/// A place and a direction on the ground.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pose {
    /// Metres along x.
    pub x: f64,
    /// Metres along y, to the right of x.
    pub y: f64,
    /// Radians from x towards y.
    pub heading: f64,
}

impl Pose {
    /// A point in this pose's own coordinates: metres ahead and metres to the right.
    #[must_use]
    pub fn to_local(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.heading.sin_cos();
        let (dx, dy) = (x - self.x, y - self.y);
        [dx * cos + dy * sin, dy * cos - dx * sin]
    }

    /// The point that lies `ahead` metres before this pose and `right` metres to its right.
    #[must_use]
    pub fn point(&self, ahead: f64, right: f64) -> [f64; 2] {
        let (sin, cos) = self.heading.sin_cos();
        [self.x + ahead * cos - right * sin, self.y + ahead * sin + right * cos]
    }
}

/// The same angle between -pi and pi.
#[must_use]
pub fn wrap_angle(radians: f64) -> f64 {
    let wrapped = (radians + PI).rem_euclid(TAU) - PI;
    if wrapped.is_finite() { wrapped } else { 0.0 }
}

/// A stretch along which the curvature changes linearly: a straight, an arc, or the clothoid between them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: f64,
    length: f64,
    heading: f64,
    curvature: f64,
    /// Change of the curvature per metre.
    slope: f64,
}

impl Piece {
    fn heading_at(&self, s: f64) -> f64 {
        let along = s - self.start;
        self.heading + along * (self.curvature + 0.5 * self.slope * along)
    }
}

/// A road: a lap, or one with two ends.
///
/// Curves change their curvature linearly along their transitions (clothoids), so that it has no jumps and can be
/// followed by a vehicle whose wheels take time to turn.
#[derive(Clone, Debug)]
pub struct Road {
    pieces: Vec<Piece>,
    /// Poses at equal distances, the first at the start.
    points: Vec<Pose>,
    spacing: f64,
    length: f64,
    closed: bool,
    lane_width: f64,
    /// Where the asphalt begins and ends, as lateral offsets in metres.
    asphalt: [f64; 2],
    lines: Vec<Line>,
    bumps: Vec<Bump>,
}

/// What a road is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// Metres.
    Straight(f64),
    /// A curve by this many degrees, positive to the right, with this radius in metres.
    Curve(f64, f64),
}

/// Half a lap; the second half is the same again. The half turns by 180 degrees, so the second is the first one turned
/// about the middle between both ends, and the lap closes whatever the parts are.
const HALF_LAP: [Part; 9] = [
    Part::Straight(60.0),
    Part::Curve(-80.0, 200.0),
    Part::Straight(80.0),
    Part::Curve(120.0, 150.0),
    Part::Straight(100.0),
    Part::Curve(-40.0, 400.0),
    Part::Curve(110.0, 220.0),
    Part::Straight(220.0),
    Part::Curve(70.0, 300.0),
];

impl Default for Road {
    fn default() -> Self {
        Self::new()
    }
}

impl Road {
    /// The lap: about 4.6 km with straights, and curves to both sides with radii from 150 to 400 m.
    #[must_use]
    pub fn new() -> Self {
        let lap: Vec<Part> = HALF_LAP.iter().chain(&HALF_LAP).copied().collect();
        let mut road = Self::of(&lap, true);
        // A whole number of dashes, so that the pattern has no seam.
        let period = road.length / (road.length / (DASHES_M[0] + DASHES_M[1])).round();
        for line in &mut road.lines {
            line.dashes_m = line.dashes_m.map(|_| [0.5 * period; 2]);
        }
        road
    }

    /// A road with two ends: straight for 20 m, then `parts`, then straight again for 500 m.
    #[must_use]
    pub fn open(parts: &[Part]) -> Self {
        let [before, after] = LEAD_M.map(Part::Straight);
        let all: Vec<Part> = [before].into_iter().chain(parts.iter().copied()).chain([after]).collect();
        Self::of(&all, false)
    }

    fn of(parts: &[Part], closed: bool) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut end = Piece { start: 0.0, length: 0.0, heading: 0.0, curvature: 0.0, slope: 0.0 };
        let mut append = |length: f64, curvature: f64| {
            let piece = Piece { length, slope: (curvature - end.curvature) / length, ..end };
            pieces.push(piece);
            let start = piece.start + length;
            end = Piece { start, heading: piece.heading_at(start), curvature, ..piece };
        };
        for part in parts {
            match *part {
                Part::Straight(length) => append(length, 0.0),
                Part::Curve(degrees, radius) => {
                    let curvature = degrees.signum() / radius;
                    let whole = degrees.to_radians() / curvature;
                    let transition = TRANSITION_M.min(0.8 * whole);
                    append(transition, curvature);
                    // Each transition turns by half of what an arc of its length would.
                    append(whole - transition, curvature);
                    append(transition, 0.0);
                }
            }
        }
        let length = end.start;
        let count = (length / SPACING_M).round().max(1.0);
        let mut road = Self {
            pieces,
            points: Vec::new(),
            spacing: length / count,
            length,
            closed,
            lane_width: LANE_WIDTH_M,
            asphalt: [-1.5 * LANE_WIDTH_M - 1.25, 0.5 * LANE_WIDTH_M + 1.5],
            lines: usual_lines(LANE_WIDTH_M),
            bumps: Vec::new(),
        };
        let mut point = Pose::default();
        for i in 0..count as usize {
            road.points.push(point);
            let s = i as f64 * road.spacing;
            point = road.advance(point, s, road.spacing);
        }
        road
    }

    /// The same road with other lanes: their width, where the asphalt begins and ends, and the lines.
    #[must_use]
    pub fn with_lanes(self, lane_width_m: f64, asphalt_m: [f64; 2], lines: Vec<Line>) -> Self {
        Self { lane_width: lane_width_m, asphalt: asphalt_m, lines, ..self }
    }

    /// The same road with crests and dips.
    #[must_use]
    pub fn with_bumps(self, bumps: Vec<Bump>) -> Self {
        Self { bumps, ..self }
    }

    /// The width of the vehicle's lane in metres.
    #[must_use]
    pub fn lane_width(&self) -> f64 {
        self.lane_width
    }

    /// Where the asphalt begins and ends, as lateral offsets in metres.
    #[must_use]
    pub fn asphalt(&self) -> [f64; 2] {
        self.asphalt
    }

    /// The painted lines.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// How the road bends up (positive) or down at `s`, in 1/m.
    #[must_use]
    pub fn vertical_curvature(&self, s: f64) -> f64 {
        let share = |bump: &Bump| {
            let away = (s - bump.at_m).abs() / (0.5 * bump.length_m);
            if away < 1.0 { 0.5 * (1.0 + (PI * away).cos()) / bump.radius_m } else { 0.0 }
        };
        self.bumps.iter().map(share).sum()
    }

    /// Whether the road leads back to its start.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The length of the road, or of one lap, in metres.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.length
    }

    /// The same place with `s` between 0 and the lap's length, or the nearest place of a road with ends. 0 where `s` is
    /// not finite.
    #[must_use]
    pub fn wrap(&self, s: f64) -> f64 {
        if !self.closed {
            return if s.is_finite() { s.clamp(0.0, self.length - 1e-6) } else { 0.0 };
        }
        let wrapped = s.rem_euclid(self.length);
        // The remainder of a tiny negative number rounds up to the length itself.
        if wrapped < self.length { wrapped } else { 0.0 }
    }

    fn piece(&self, s: f64) -> &Piece {
        let after = self.pieces.partition_point(|piece| piece.start <= s);
        &self.pieces[after.max(1) - 1]
    }

    /// The pose `distance` metres behind `s`, by three-point Gauss-Legendre quadrature of the direction.
    fn advance(&self, from: Pose, s: f64, distance: f64) -> Pose {
        const NODES: [(f64, f64); 3] =
            [(0.112_701_665_379_258_3, 5.0 / 18.0), (0.5, 8.0 / 18.0), (0.887_298_334_620_741_7, 5.0 / 18.0)];
        let mut to = from;
        for (node, weight) in NODES {
            let at = s + node * distance;
            let (sin, cos) = self.piece(at).heading_at(at).sin_cos();
            to.x += weight * distance * cos;
            to.y += weight * distance * sin;
        }
        to.heading = self.piece(s + distance).heading_at(s + distance);
        to
    }

    /// Place and direction of the middle of the lane at `s`.
    #[must_use]
    pub fn pose_at(&self, s: f64) -> Pose {
        let s = self.wrap(s);
        let index = ((s / self.spacing) as usize).min(self.points.len() - 1);
        let start = index as f64 * self.spacing;
        self.advance(self.points[index], start, s - start)
    }

    /// The curvature at `s` in 1/m, positive to the right.
    #[must_use]
    pub fn curvature(&self, s: f64) -> f64 {
        let s = self.wrap(s);
        let piece = self.piece(s);
        piece.curvature + piece.slope * (s - piece.start).min(piece.length)
    }

    /// The place on the road next to a point: `s`, and the point's lateral offset in metres, positive to the right.
    ///
    /// `hint_s` is where the point was a moment ago: where the road comes near to itself, this decides. Far away from
    /// the hint, the whole lap is searched.
    #[must_use]
    pub fn locate(&self, point: [f64; 2], hint_s: f64) -> (f64, f64) {
        if !(point[0].is_finite() && point[1].is_finite()) {
            return (self.wrap(hint_s), 0.0);
        }
        if let Some(found) = self.descend(point, hint_s) {
            return found;
        }
        let distance = |pose: &Pose| (pose.x - point[0]).hypot(pose.y - point[1]);
        let nearest = (0..self.points.len())
            .min_by(|&a, &b| distance(&self.points[a]).total_cmp(&distance(&self.points[b])))
            .unwrap_or(0);
        let start = nearest as f64 * self.spacing;
        self.descend(point, start).unwrap_or_else(|| (start, self.points[nearest].to_local(point)[1]))
    }

    /// Newton's iteration for the foot of the perpendicular. `None` where it does not settle near the point.
    fn descend(&self, point: [f64; 2], hint_s: f64) -> Option<(f64, f64)> {
        const MAX_STEP: f64 = 20.0;
        const MAX_OFFSET: f64 = 100.0;
        let mut s = self.wrap(hint_s);
        for _ in 0..12 {
            let [ahead, right] = self.pose_at(s).to_local(point);
            if ahead.abs() < 1e-6 {
                return (right.abs() < MAX_OFFSET).then_some((s, right));
            }
            // At the centre of a curve every place of the arc is equally near; the bound keeps the step finite there.
            let stretch = (1.0 - right * self.curvature(s)).max(0.25);
            s = self.wrap(s + (ahead / stretch).clamp(-MAX_STEP, MAX_STEP));
        }
        None
    }

    /// How much of a line with those dashes is painted between two places, 0 to 1.
    ///
    /// `from` and `to` in metres along the road, in any order; where they are the same it is 0 or 1.
    #[must_use]
    pub fn painted_share([dash, gap]: [f64; 2], from: f64, to: f64) -> f64 {
        let period = dash + gap;
        let painted = |s: f64| {
            let periods = (s / period).floor();
            // Of the same rounding as the line above, unlike a remainder.
            periods * dash + (s - periods * period).clamp(0.0, dash)
        };
        if (to - from).abs() < 1e-6 {
            return if from.rem_euclid(period) < dash { 1.0 } else { 0.0 };
        }
        ((painted(to) - painted(from)) / (to - from)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lap_is_closed() {
        let road = Road::new();
        let (start, end) = (road.pose_at(0.0), road.pose_at(road.length() - 1e-9));
        assert!((start.x - end.x).hypot(start.y - end.y) < 1e-4, "{end:?}");
        assert!(wrap_angle(start.heading - end.heading).abs() < 1e-6);
        assert!((4_000.0..5_500.0).contains(&road.length()), "{}", road.length());
    }

    #[test]
    fn curvature_is_continuous_and_in_range() {
        let road = Road::new();
        let (mut least, mut most) = (0.0_f64, 0.0_f64);
        let mut s = 0.0;
        while s < road.length() {
            let (here, next) = (road.curvature(s), road.curvature(s + 0.5));
            assert!((next - here).abs() <= 0.5 / 150.0 / TRANSITION_M + 1e-12, "jump at {s}");
            (least, most) = (least.min(here), most.max(here));
            s += 0.5;
        }
        assert!((most - 1.0 / 150.0).abs() < 1e-9 && (least + 1.0 / 200.0).abs() < 1e-9, "{least} {most}");
    }

    #[test]
    fn pose_heading_and_curvature_agree() {
        let road = Road::new();
        let step = 0.01;
        for i in 0..450 {
            let s = f64::from(i) * 10.0 + 0.3;
            let (a, b, c) = (road.pose_at(s - step), road.pose_at(s), road.pose_at(s + step));
            let heading = (c.y - a.y).atan2(c.x - a.x);
            assert!(wrap_angle(heading - b.heading).abs() < 1e-4, "heading at {s}");
            let curvature = wrap_angle(c.heading - a.heading) / (2.0 * step);
            assert!((curvature - road.curvature(s)).abs() < 1e-5, "curvature at {s}");
        }
    }

    #[test]
    fn a_point_beside_the_road_is_located() {
        let road = Road::new();
        for i in 0..600 {
            let s = f64::from(i) * 7.7;
            let offset = f64::from(i % 21 - 10);
            let [x, y] = road.pose_at(s).point(0.0, offset);
            let (found, lateral) = road.locate([x, y], s - 8.0);
            let error = (found - road.wrap(s)).abs();
            assert!(error.min(road.length() - error) < 1e-3, "{s} {found}");
            assert!((lateral - offset).abs() < 1e-4, "{offset} {lateral}");
        }
    }

    #[test]
    fn locating_never_leaves_the_numbers() {
        let road = Road::new();
        for point in [[f64::NAN, 0.0], [f64::INFINITY, 0.0], [1e9, -1e9], [60.0, 300.0]] {
            for hint in [0.0, f64::NAN, 1e300, -5.0] {
                let (s, lateral) = road.locate(point, hint);
                assert!((0.0..road.length()).contains(&s) && lateral.is_finite(), "{point:?} {hint}: {s} {lateral}");
            }
        }
        let [x, y] = road.pose_at(2000.0).point(0.0, 1.0);
        let (s, lateral) = road.locate([x, y], 200.0);
        assert!((s - 2000.0).abs() < 1e-3 && (lateral - 1.0).abs() < 1e-4, "found without a good hint: {s} {lateral}");
    }

    #[test]
    fn half_of_the_broken_line_is_painted() {
        let road = Road::new();
        let dashes = road.lines()[1].dashes_m.unwrap();
        let share = |from, to| Road::painted_share(dashes, from, to);
        assert!((share(0.0, road.length()) - 0.5).abs() < 1e-9);
        assert_eq!((share(1.0, 1.0), share(5.5, 5.5)), (1.0, 0.0));
        assert!((share(3.0, 5.0) - 0.5).abs() < 0.01);
        assert!((share(5.0, 3.0) - 0.5).abs() < 0.01, "in either direction");
    }

    #[test]
    fn a_road_with_ends_has_its_parts_between_two_straights() {
        let road = Road::open(&[Part::Curve(90.0, 100.0), Part::Straight(30.0), Part::Curve(-10.0, 60.0)]);
        let length = 20.0 + (90.0_f64.to_radians() * 100.0 + 50.0) + 30.0 + 1.8 * 10.0_f64.to_radians() * 60.0 + 500.0;
        assert!((road.length() - length).abs() < 1e-6, "{} {length}", road.length());
        assert_eq!((road.wrap(-5.0), road.curvature(10.0)), (0.0, 0.0));
        assert!((road.curvature(20.0 + 100.0) - 0.01).abs() < 1e-9);
        assert!((road.pose_at(road.length()).heading - 80.0_f64.to_radians()).abs() < 1e-6);
    }
}
