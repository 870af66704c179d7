//! Other vehicles: boxes with windows, lights and wheels, and a shadow below.

use super::{
    ground::{HAZE, visibility},
    pinhole::Pinhole,
    road::{Pose, Road},
};

/// Another vehicle. It follows the road at a constant speed, and may change its lane once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Car {
    /// How far ahead of the start its middle is at first, in metres.
    pub ahead_m: f64,
    /// Its lateral offset from the middle of the own vehicle's lane, in metres.
    pub offset_m: f64,
    /// The offset that it moves to, if it does, in metres.
    pub then_offset_m: Option<f64>,
    /// When it begins to move there and how long that takes, in seconds.
    pub moves_s: [f64; 2],
    /// Its speed in km/h; less than 0 for one that comes towards the own vehicle.
    pub speed_kmh: f64,
    /// It keeps its distance to the own vehicle, whatever both speeds are.
    pub keeps_distance: bool,
    /// A truck instead of a car.
    pub truck: bool,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

/// Nothing nearer than this ahead of the camera is drawn, in metres.
const NEAR_M: f32 = 0.6;

/// A corner: metres ahead, to the right and up.
type Corner = [f32; 3];

/// Fills a face with a colour in that light.
type Fill<'a> = dyn FnMut(&[Corner], [f32; 3], f32) + 'a;

impl Car {
    /// Where along the road it is `time_s` after the start at `start_s`, while the own vehicle is at `own_s`.
    fn place(&self, start_s: f64, own_s: f64, time_s: f64) -> f64 {
        if self.keeps_distance { own_s + self.ahead_m } else { start_s + self.ahead_m + self.speed_kmh / 3.6 * time_s }
    }

    /// Its lateral offset `time_s` after the start: it changes smoothly.
    fn offset(&self, time_s: f64) -> f64 {
        let [at_s, for_s] = self.moves_s;
        let part = ((time_s - at_s) / for_s.max(1e-3)).clamp(0.0, 1.0);
        let then = self.then_offset_m.unwrap_or(self.offset_m);
        self.offset_m + (then - self.offset_m) * part * part * (3.0 - 2.0 * part)
    }

    /// Length, width and height in metres.
    fn size(&self) -> [f64; 3] {
        if self.truck { [9.0, 2.5, 3.4] } else { [4.5, 1.8, 1.45] }
    }
}

/// Where and when traffic is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) pose: Pose,
    pub(super) start_s: f64,
    pub(super) own_s: f64,
    pub(super) time_s: f64,
    /// How bright the day is, as for the rest of the picture.
    pub(super) lights: bool,
}

/// Draws all vehicles that are to be seen, the farthest first.
pub(super) fn draw(pinhole: &Pinhole, road: &Road, cars: &[Car], moment: &Moment, pixels: &mut [u8]) {
    let mut seen: Vec<(f64, &Car, Pose)> = cars
        .iter()
        .filter_map(|car| {
            let s = car.place(moment.start_s, moment.own_s, moment.time_s);
            let middle = road.pose_at(road.wrap(s));
            let [x, y] = middle.point(0.0, car.offset(moment.time_s));
            let [ahead, _] = moment.pose.to_local([x, y]);
            (ahead > -6.0 && ahead < 250.0).then_some((ahead, car, Pose { x, y, heading: middle.heading }))
        })
        .collect();
    seen.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, car, pose) in seen {
        draw_one(pinhole, car, pose, moment, pixels);
    }
}

fn draw_one(pinhole: &Pinhole, car: &Car, pose: Pose, moment: &Moment, pixels: &mut [u8]) {
    let [length, width, height] = car.size();
    let (half, wide) = (0.5 * length, 0.5 * width);
    let [ahead, right] = moment.pose.to_local([pose.x, pose.y]);
    let clear = visibility(ahead.max(0.0) as f32);
    let corner = |along: f64, aside: f64, up: f64| -> Corner {
        let [ahead, right] = moment.pose.to_local(pose.point(along, aside));
        [ahead as f32, right as f32, up as f32]
    };
    let mut fill = |corners: &[Corner], colour: [f32; 3], light: f32| {
        let colour = core::array::from_fn(|i| HAZE[i] + (colour[i] * light - HAZE[i]) * clear);
        polygon(pinhole, corners, colour, pixels);
    };
    let body = car.colour.map(f32::from);
    let (dark, glass) = ([26.0, 26.0, 28.0], [44.0, 52.0, 60.0]);
    // Its shadow.
    let spread = 0.2;
    let [l, w] = [half + spread, wide + spread];
    fill(&[corner(-l, -w, 0.0), corner(-l, w, 0.0), corner(l, w, 0.0), corner(l, -w, 0.0)], dark, 1.4);
    // The side that is turned to the camera, and the end.
    let side = if right > 0.0 { -wide } else { wide };
    let wall = |fill: &mut Fill<'_>, from: f64, to: f64, low: f64, high: f64, colour, light| {
        let corners =
            [corner(from, side, low), corner(to, side, low), corner(to, side, high), corner(from, side, high)];
        fill(&corners, colour, light);
    };
    wall(&mut fill, -half, half, 0.3, height * 0.62, body, 0.8);
    if car.truck {
        wall(&mut fill, -half, half, 0.9, height, body, 0.8);
    } else {
        wall(&mut fill, -half, 0.22 * length, height * 0.62, height, body, 0.8);
        wall(&mut fill, -0.42 * length, 0.18 * length, height * 0.66, height * 0.93, glass, 1.0);
    }
    for wheel in [-0.32, 0.32] {
        wall(&mut fill, wheel * length - 0.32, wheel * length + 0.32, 0.0, 0.62, dark, 1.0);
    }
    let end = -half;
    let back = |left: f64, right: f64, low: f64, high: f64, inset: f64| {
        [
            corner(end, left, low),
            corner(end, right, low),
            corner(end, right - inset, high),
            corner(end, left + inset, high),
        ]
    };
    let belt = if car.truck { height } else { height * 0.65 };
    fill(&back(-wide, wide, 0.28, belt, 0.0), body, 1.0);
    if !car.truck {
        fill(&back(-wide, wide, belt, height, 0.22), body, 1.0);
        fill(&back(-wide + 0.14, wide - 0.14, belt + 0.03, height - 0.1, 0.16), glass, 1.0);
    }
    fill(&back(-wide, wide, 0.28, 0.45, 0.0), dark, 1.5);
    fill(&back(-0.26, 0.26, 0.5, 0.62, 0.0), [225.0, 225.0, 215.0], 1.0);
    let lamp = if car.speed_kmh < 0.0 { [250.0, 250.0, 235.0] } else { [190.0, 30.0, 28.0] };
    let light = if moment.lights { 2.0 } else { 1.0 };
    for left in [-wide + 0.06, wide - 0.36] {
        fill(&back(left, left + 0.3, 0.68, 0.86, 0.0), lamp, light);
    }
    for left in [-wide + 0.05, wide - 0.25] {
        fill(&back(left, left + 0.2, 0.0, 0.3, 0.0), dark, 1.0);
    }
}

/// Fills a convex polygon; what is behind the camera is cut off.
fn polygon(pinhole: &Pinhole, corners: &[Corner], colour: [f32; 3], pixels: &mut [u8]) {
    let mut clipped: Vec<Corner> = Vec::with_capacity(corners.len() + 2);
    for (i, &a) in corners.iter().enumerate() {
        let b = corners[(i + 1) % corners.len()];
        if a[0] >= NEAR_M {
            clipped.push(a);
        }
        if (a[0] >= NEAR_M) != (b[0] >= NEAR_M) {
            let part = (NEAR_M - a[0]) / (b[0] - a[0]);
            clipped.push(core::array::from_fn(|k| a[k] + (b[k] - a[k]) * part));
        }
    }
    let points: Vec<[f32; 2]> =
        clipped.iter().filter_map(|&[ahead, right, up]| pinhole.project(ahead, right, up)).collect();
    if points.len() < 3 || points.iter().any(|point| !(point[0].abs() < 1e5 && point[1].abs() < 1e5)) {
        return;
    }
    let top = points.iter().map(|point| point[1]).fold(f32::MAX, f32::min).max(0.0) as usize;
    let bottom = points.iter().map(|point| point[1]).fold(f32::MIN, f32::max).min(pinhole.height as f32);
    let colour = colour.map(|value| value.clamp(0.0, 255.0));
    for row in top..bottom.max(0.0).ceil() as usize {
        let y = row as f32 + 0.5;
        let (mut from, mut to) = (f32::MAX, f32::MIN);
        for (i, a) in points.iter().enumerate() {
            let b = points[(i + 1) % points.len()];
            if (a[1] <= y) != (b[1] <= y) {
                let x = a[0] + (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]);
                (from, to) = (from.min(x), to.max(x));
            }
        }
        let [from, to] = [from, to].map(|x| x.clamp(0.0, pinhole.width as f32));
        let start = 3 * row * pinhole.width;
        let Some(row) = pixels.get_mut(start..start + 3 * pinhole.width) else { return };
        for (column, pixel) in row.chunks_exact_mut(3).enumerate().take(to.ceil() as usize).skip(from as usize) {
            let share = (to.min(column as f32 + 1.0) - from.max(column as f32)).clamp(0.0, 1.0);
            for (value, colour) in pixel.iter_mut().zip(colour) {
                *value = (f32::from(*value) + (colour - f32::from(*value)) * share) as u8;
            }
        }
    }
}
