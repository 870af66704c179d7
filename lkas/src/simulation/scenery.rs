//! Trees and posts beside the road.

use super::{
    ground::{HAZE, visibility},
    pinhole::Pinhole,
    road::{Pose, Road},
    texture::{hash, unit},
};

/// Nothing is drawn farther ahead along the road, in metres.
const REACH_M: f64 = 260.0;

/// Mean distance of the trees on one side of the road, in metres.
const TREES_M: f64 = 11.0;

/// Distance of the posts, in metres.
const POSTS_M: f64 = 25.0;

/// Side of a picture in its finest form, in texels.
const SIDE: usize = 128;

/// Red, green, blue, each already multiplied by the coverage, and the coverage.
type Texel = [f32; 4];

/// A small picture with transparent parts, at every size.
#[derive(Debug)]
struct Sprite {
    /// Each half as wide and high as the one before.
    levels: Vec<Vec<[u8; 4]>>,
}

impl Sprite {
    fn new(mut texels: Vec<Texel>) -> Self {
        let mut side = SIDE;
        let mut levels = Vec::new();
        loop {
            levels.push(texels.iter().map(|texel| texel.map(|value| value.clamp(0.0, 255.0) as u8)).collect());
            if side == 1 {
                return Self { levels };
            }
            let half = side / 2;
            let mean = |i: usize| {
                let at = i / half * 2 * side + i % half * 2;
                core::array::from_fn(|c| {
                    0.25 * (texels[at][c] + texels[at + 1][c] + texels[at + side][c] + texels[at + side + 1][c])
                })
            };
            texels = (0..half * half).map(mean).collect();
            side = half;
        }
    }

    /// Draws the sprite over a rectangle of the picture: left, top, right, bottom in pixels.
    fn draw(&self, pinhole: &Pinhole, [left, top, right, bottom]: [f32; 4], visibility: f32, pixels: &mut [u8]) {
        let (wide, high) = (right - left, bottom - top);
        if wide < 0.3 || high < 0.3 || right <= 0.0 || bottom <= 0.0 {
            return;
        }
        let shrink = (SIDE as f32 / wide.min(high)).max(1.0).log2() as usize;
        let level = shrink.min(self.levels.len() - 1);
        let side = SIDE >> level;
        let texels = &self.levels[level];
        let haze: [i32; 3] = HAZE.map(|value| (value * (1.0 - visibility)) as i32);
        let clear = (visibility * 256.0) as i32;
        let last = ((right + 0.5) as usize).min(pinhole.width);
        let first = (left.max(0.0) + 0.5) as usize;
        // Positions in the sprite in 65536ths of a texel.
        let step = (side as f32 / wide * 65536.0) as u32;
        let start = ((first as f32 + 0.5 - left).max(0.0) * side as f32 / wide * 65536.0) as u32;
        let rows = (top.max(0.0) + 0.5) as usize..((bottom + 0.5) as usize).min(pinhole.height);
        for row in rows {
            let v = (((row as f32 + 0.5 - top) * side as f32 / high) as usize).min(side - 1);
            let texels = &texels[v * side..(v + 1) * side];
            let from = 3 * (row * pinhole.width + first);
            let to = 3 * (row * pinhole.width + last);
            let Some(target) = pixels.get_mut(from..to) else { continue };
            let mut u = start;
            for pixel in target.chunks_exact_mut(3) {
                let [colour @ .., cover] = texels[((u >> 16) as usize).min(side - 1)].map(i32::from);
                u = u.wrapping_add(step);
                if cover == 0 {
                    continue;
                }
                if cover == 255 {
                    for ((value, colour), haze) in pixel.iter_mut().zip(colour).zip(haze) {
                        *value = ((colour * clear + haze * cover) >> 8).clamp(0, 255) as u8;
                    }
                    continue;
                }
                for ((value, colour), haze) in pixel.iter_mut().zip(colour).zip(haze) {
                    let over = (colour * clear + haze * cover) >> 8;
                    *value = (over + i32::from(*value) * (255 - cover) / 255).clamp(0, 255) as u8;
                }
            }
        }
    }
}

/// A round crown of many leafy balls on a trunk.
fn broadleaf(seed: u32) -> Vec<Texel> {
    let side = SIDE as f32;
    let mut texels = vec![[0.0; 4]; SIDE * SIDE];
    let tint = 0.85 + 0.3 * unit(seed);
    fill(&mut texels, [0.47 * side, 0.6 * side, 0.53 * side, side], |x, _| {
        let shade = 1.0 - 0.5 * (x / side - 0.47) / 0.06;
        [82.0 * shade, 66.0 * shade, 50.0 * shade]
    });
    for i in 0..90 {
        let random = |k: u32| unit(hash(seed) ^ (i * 8 + k));
        // From the back and below to the front and above.
        let (angle, reach) = (random(0) * core::f32::consts::TAU, random(1).sqrt());
        let (x, y) = (0.5 + 0.36 * reach * angle.cos(), 0.40 + 0.29 * reach * angle.sin());
        let radius = 0.055 + 0.06 * random(2);
        let light = 0.62 + 0.5 * (0.72 - y) + 0.16 * (0.5 - x) + 0.14 * random(3);
        ball(&mut texels, [x * side, y * side], radius * side, seed ^ i, |shine| {
            let bright = light * (0.72 + 0.38 * shine);
            [74.0 * bright * tint, 112.0 * bright, 44.0 * bright * tint]
        });
    }
    texels
}

/// A cone of drooping branches.
fn conifer(seed: u32) -> Vec<Texel> {
    let side = SIDE as f32;
    let mut texels = vec![[0.0; 4]; SIDE * SIDE];
    fill(&mut texels, [0.475 * side, 0.8 * side, 0.525 * side, side], |_, _| [66.0, 52.0, 42.0]);
    for i in 0..150 {
        let random = |k: u32| unit(hash(seed) ^ (i * 8 + k));
        let height = i as f32 / 150.0;
        let y = 0.9 - 0.86 * height;
        let half = 0.30 * (1.0 - height) + 0.012;
        let x = 0.5 + half * (2.0 * random(0) - 1.0);
        let light = 0.55 + 0.35 * height + 0.2 * (0.5 - x) / half.max(0.05) * 0.5 + 0.12 * random(1);
        ball(&mut texels, [x * side, y * side], (0.022 + 0.045 * (1.0 - height)) * side, seed ^ i, |shine| {
            let bright = light * (0.7 + 0.4 * shine);
            [48.0 * bright, 84.0 * bright, 52.0 * bright]
        });
    }
    texels
}

/// A dark, soft spot on the grass below a tree.
fn shadow() -> Vec<Texel> {
    let texel = |i: usize| {
        let centred = |k: usize| (k as f32 + 0.5) / SIDE as f32 * 2.0 - 1.0;
        let distance = centred(i % SIDE).hypot(centred(i / SIDE));
        let cover = (1.0 - distance).clamp(0.0, 1.0).sqrt() * 100.0;
        [cover * 0.12, cover * 0.18, cover * 0.08, cover]
    };
    (0..SIDE * SIDE).map(texel).collect()
}

/// A white post with a black band and a reflector. It fills a third of the width: thin things need room to fade out.
fn post() -> Vec<Texel> {
    let side = SIDE as f32;
    let mut texels = vec![[0.0; 4]; SIDE * SIDE];
    fill(&mut texels, [side / 3.0, 0.0, side * 2.0 / 3.0, side], |x, y| {
        let (x, y) = (x / side * 3.0 - 1.0, y / side);
        let shade = 1.0 - 0.25 * x;
        if (0.16..0.3).contains(&y) && (0.2..0.8).contains(&x) {
            [196.0, 120.0, 40.0]
        } else if (0.10..0.36).contains(&y) {
            [46.0, 46.0, 48.0]
        } else {
            [226.0 * shade, 226.0 * shade, 222.0 * shade]
        }
    });
    texels
}

fn fill(texels: &mut [Texel], [left, top, right, bottom]: [f32; 4], colour: impl Fn(f32, f32) -> [f32; 3]) {
    for (i, texel) in texels.iter_mut().enumerate() {
        let (x, y) = ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5);
        if x >= left && x < right && y >= top && y < bottom {
            let [r, g, b] = colour(x, y);
            *texel = [r, g, b, 255.0];
        }
    }
}

/// A leafy ball: its edge is ragged. `colour` gets how much each part faces the light, -1 to 1.
fn ball(texels: &mut [Texel], [x, y]: [f32; 2], radius: f32, seed: u32, colour: impl Fn(f32) -> [f32; 3]) {
    for (i, texel) in texels.iter_mut().enumerate() {
        let (dx, dy) = (((i % SIDE) as f32 + 0.5 - x) / radius, ((i / SIDE) as f32 + 0.5 - y) / radius);
        let leaf = unit(hash(seed) ^ i as u32);
        if dx * dx + dy * dy < 0.65 + 0.5 * leaf {
            let [r, g, b] = colour((-0.5 * dx - 0.8 * dy).clamp(-1.0, 1.0) + 0.5 * (leaf - 0.5));
            *texel = [r, g, b, 255.0];
        }
    }
}

/// One thing beside the road.
#[derive(Clone, Copy, Debug)]
struct Thing {
    sprite: usize,
    ahead: f32,
    right: f32,
    /// Metres.
    size: [f32; 2],
}

/// Index of the first sprite that is no tree.
const TREES: usize = 5;
const SHADOW: usize = TREES;
const POST: usize = TREES + 1;

/// Everything that stands beside the road.
#[derive(Debug)]
pub(super) struct Scenery {
    sprites: Vec<Sprite>,
    /// What the picture in work shows.
    things: Vec<Thing>,
}

impl Scenery {
    pub(super) fn new() -> Self {
        let pictures = [broadleaf(101), broadleaf(202), broadleaf(303), conifer(404), conifer(505), shadow(), post()];
        Self { sprites: pictures.map(Sprite::new).into(), things: Vec::new() }
    }

    /// Draws what stands along the road ahead, the farthest first.
    pub(super) fn draw(&mut self, pinhole: &Pinhole, road: &Road, pose: Pose, s: f64, pixels: &mut [u8]) {
        self.things.clear();
        let ahead = (pose.heading - road.pose_at(s).heading).cos().signum();
        self.along(road, pose, s, ahead, TREES_M, Self::tree);
        self.along(road, pose, s, ahead, POSTS_M, Self::post);
        self.things.sort_unstable_by(|a, b| b.ahead.total_cmp(&a.ahead));
        for thing in &self.things {
            let Thing { sprite, ahead, right, size: [wide, high] } = *thing;
            let (Some([left, bottom]), Some([end, top])) =
                (pinhole.project(ahead, right - 0.5 * wide, 0.0), pinhole.project(ahead, right + 0.5 * wide, high))
            else {
                continue;
            };
            // Things fade in, or they would pop up.
            let visible = visibility(ahead);
            if sprite < TREES
                && let (Some([_, back]), Some([_, front])) =
                    (pinhole.project(ahead + 1.2, right, 0.0), pinhole.project(ahead - 1.2, right, 0.0))
            {
                let spread = 0.1 * (end - left);
                self.sprites[SHADOW].draw(pinhole, [left + spread, back, end - spread, front], visible, pixels);
            }
            self.sprites[sprite].draw(pinhole, [left, top, end, bottom], visible, pixels);
        }
    }

    /// Adds what stands at regular distances along the road. The numbers of the places repeat with every lap.
    fn along(
        &mut self,
        road: &Road,
        pose: Pose,
        s: f64,
        ahead: f64,
        distance: f64,
        thing: impl Fn(u32, [f64; 2]) -> Option<(Thing, f64, f64)>,
    ) {
        let places = (road.length() / distance).round().max(1.0);
        let distance = road.length() / places;
        let first = (s / distance).floor();
        for i in 0..(REACH_M / distance) as u32 {
            let place = (first + ahead * f64::from(i)).rem_euclid(places);
            for side in 0..2 {
                let Some((thing, shift, offset)) = thing(place as u32 * 2 + side, road.asphalt()) else { continue };
                let at = place * distance + shift;
                let [ahead, right] = pose.to_local(road.pose_at(at).point(0.0, offset));
                if ahead > 2.0 {
                    self.things.push(Thing { ahead: ahead as f32, right: right as f32, ..thing });
                }
            }
        }
    }

    /// The tree with this number, how far along the road it is shifted, and its lateral offset in metres.
    fn tree(number: u32, asphalt: [f64; 2]) -> Option<(Thing, f64, f64)> {
        let random = |k: u32| unit(hash(number) ^ (k + 77));
        if random(0) < 0.25 {
            return None;
        }
        let away = 7.0 + 34.0 * f64::from(random(1) * random(1));
        let offset = if number.is_multiple_of(2) { asphalt[0] - away } else { asphalt[1] + away };
        let sprite = (random(2) * TREES as f32) as usize % TREES;
        let high = if sprite < 3 { 5.0 + 4.0 * random(3) } else { 6.0 + 5.0 * random(3) };
        let wide = if sprite < 3 { high * 1.0 } else { high * 0.75 };
        let thing = Thing { sprite, ahead: 0.0, right: 0.0, size: [wide, high] };
        Some((thing, f64::from(random(4)) * TREES_M, offset))
    }

    /// The post with this number.
    fn post(number: u32, asphalt: [f64; 2]) -> Option<(Thing, f64, f64)> {
        let offset = if number.is_multiple_of(2) { asphalt[0] - 1.2 } else { asphalt[1] + 1.2 };
        Some((Thing { sprite: POST, ahead: 0.0, right: 0.0, size: [0.36, 1.0] }, 0.0, offset))
    }
}
