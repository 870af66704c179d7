//! The road's middle line as the vehicle sees it.

use super::road::{Pose, Road, wrap_angle};

/// No road is drawn beyond this distance ahead, in metres.
pub(super) const FAR_M: f32 = 400.0;

/// The road is followed until it turns away by this much, in radians: from there on it is drawn straight, which is
/// outside of the picture or nearly so.
const MAX_TURN: f64 = 1.35;

/// A place of the road's middle line in the vehicle's coordinates.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Metres ahead of the vehicle.
    pub(super) ahead: f32,
    /// Metres to its right.
    pub(super) right: f32,
    /// The road's direction relative to the vehicle's.
    pub(super) sin: f32,
    pub(super) cos: f32,
    /// 1/m.
    pub(super) curvature: f32,
    /// Metres along the road.
    pub(super) s: f32,
}

/// The road's middle line as a function of the distance ahead.
#[derive(Debug, Default)]
pub(super) struct Outline {
    places: Vec<Place>,
}

impl Outline {
    /// Follows the road from the vehicle on, in the direction in which the vehicle looks.
    pub(super) fn trace(&mut self, road: &Road, pose: Pose, s: f64) {
        self.places.clear();
        let along = if wrap_angle(road.pose_at(s).heading - pose.heading).abs() <= 0.5 * core::f64::consts::PI {
            1.0
        } else {
            -1.0
        };
        // Starts a little behind: the vehicle's own place may lie askew to the road.
        let mut distance = -6.0;
        while distance < 2.0 * f64::from(FAR_M) {
            let at = s + along * distance;
            let middle = road.pose_at(at);
            let [ahead, right] = pose.to_local([middle.x, middle.y]);
            let turn = wrap_angle(middle.heading - pose.heading);
            // The angle to the nearer of "ahead" and "backwards".
            let askew = if along > 0.0 { turn } else { wrap_angle(turn - core::f64::consts::PI) };
            let bounded = askew.clamp(-MAX_TURN, MAX_TURN);
            let (sin, cos) = bounded.sin_cos();
            let place = Place {
                ahead: ahead as f32,
                right: right as f32,
                sin: (along * sin) as f32,
                cos: (along * cos) as f32,
                curvature: road.curvature(at) as f32,
                s: at as f32,
            };
            let turned_away = askew != bounded;
            if turned_away && distance <= 0.0 {
                // Looking across the road: all that matters is the place next to the vehicle.
                self.places.clear();
            } else if turned_away || self.places.last().is_some_and(|last| place.ahead <= last.ahead) {
                break;
            }
            self.places.push(place);
            if place.ahead > FAR_M {
                break;
            }
            distance += if distance < 60.0 { 1.0 } else { 3.0 };
        }
    }

    /// The places at growing distances: call it with distances that never shrink.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { places: &self.places }
    }
}

/// Finds places of an [`Outline`] in the order of their distance.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    places: &'a [Place],
}

impl Cursor<'_> {
    /// The place `ahead` metres before the vehicle, interpolated, and extended straight beyond both ends.
    pub(super) fn at(&mut self, ahead: f32) -> Place {
        while let [_, next, _, ..] = self.places
            && next.ahead < ahead
        {
            self.places = &self.places[1..];
        }
        match self.places {
            [a, b, ..] if a.ahead <= ahead && ahead <= b.ahead => {
                let part = (ahead - a.ahead) / (b.ahead - a.ahead);
                let mix = |a: f32, b: f32| a + (b - a) * part;
                Place {
                    ahead,
                    right: mix(a.right, b.right),
                    sin: mix(a.sin, b.sin),
                    cos: mix(a.cos, b.cos),
                    curvature: mix(a.curvature, b.curvature),
                    s: mix(a.s, b.s),
                }
            }
            [first, rest @ ..] => {
                let end = rest.first().filter(|next| ahead > next.ahead).unwrap_or(first);
                let beyond = (ahead - end.ahead) / end.cos;
                Place { ahead, right: end.right + beyond * end.sin, s: end.s + beyond, curvature: 0.0, ..*end }
            }
            [] => Place { ahead, cos: 1.0, ..Place::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_on_the_road() {
        let road = Road::new();
        let mut outline = Outline::default();
        for i in 0..90 {
            let s = f64::from(i) * 50.0;
            let middle = road.pose_at(s);
            let [x, y] = middle.point(0.0, 1.0);
            for flip in [0.0, core::f64::consts::PI] {
                let pose = Pose { x, y, heading: middle.heading + 0.1 + flip };
                outline.trace(&road, pose, s);
                let mut cursor = outline.cursor();
                for ahead in [2.0_f32, 3.5, 10.0, 25.0, 60.0] {
                    let place = cursor.at(ahead);
                    let point = pose.point(f64::from(ahead), f64::from(place.right));
                    let (found, lateral) = road.locate(point, f64::from(place.s));
                    assert!(lateral.abs() < 0.02, "{s} {ahead}: {lateral}");
                    assert!((found - road.wrap(f64::from(place.s))).abs() < 0.05, "{s} {ahead}: {found} {place:?}");
                    let direction = road.pose_at(found).heading - pose.heading;
                    assert!((direction.cos() as f32 - place.cos).abs() < 1e-3, "{s} {ahead}");
                }
            }
        }
    }

    #[test]
    fn any_direction_gives_finite_places() {
        let road = Road::new();
        let mut outline = Outline::default();
        for i in 0..720 {
            let s = f64::from(i) * 6.0;
            let pose = Pose { heading: f64::from(i) * 0.05, ..road.pose_at(s) };
            outline.trace(&road, pose, s);
            let mut cursor = outline.cursor();
            for ahead in 0..400 {
                let place = cursor.at(ahead as f32);
                assert!(place.right.is_finite() && place.s.is_finite() && place.cos.abs() > 0.1, "{i}: {place:?}");
            }
        }
    }
}
