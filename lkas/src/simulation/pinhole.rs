//! The geometry of a camera.

use super::outline::FAR_M;

/// The geometry of a pinhole camera above flat ground.
///
/// Positions in the picture count in pixels from its top left corner; the middle of the first pixel is at (0.5, 0.5).
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinhole {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Focal length in pixels.
    pub(super) focal: f32,
    pub(super) centre: [f32; 2],
    /// Height above the ground in metres.
    pub(super) mount: f32,
    /// Sine and cosine of the angle by which it looks down.
    pub(super) pitch: [f32; 2],
    /// How the ground ahead bends up (positive) or down, in 1/m.
    pub(super) bend: f32,
}

impl Pinhole {
    /// The direction of a row of pixels: how far ahead and how far down it goes for `focal` pixels' worth of depth.
    pub(super) fn ray(&self, row: f32) -> [f32; 2] {
        let below = row - self.centre[1];
        let [sin, cos] = self.pitch;
        [self.focal * cos - below * sin, self.focal * sin + below * cos]
    }

    /// The row below which there is ground: the horizon where it is flat.
    pub(super) fn horizon(&self) -> f32 {
        let slope = if self.bend < 0.0 {
            (-2.0 * self.bend * self.mount).sqrt()
        } else if self.bend > 0.0 {
            self.mount / FAR_M - 0.5 * self.bend * FAR_M
        } else {
            0.0
        };
        let [sin, cos] = self.pitch;
        self.centre[1] + self.focal * (slope * cos - sin) / (cos + slope * sin)
    }

    /// What a row shows of the ground: how far ahead in metres, and metres to the side for each pixel. `None` where it
    /// shows none.
    pub(super) fn ground(&self, row: f32) -> Option<[f32; 2]> {
        let [ahead, down] = self.ray(row);
        let slope = down / ahead;
        let root = (slope * slope + 2.0 * self.bend * self.mount).sqrt();
        // The nearer one of two places on a parabola; NaN and infinity where the ray meets none.
        let distance = 2.0 * self.mount / (slope + root);
        if !(distance > 0.0 && distance <= FAR_M) {
            return None;
        }
        let [sin, cos] = self.pitch;
        let below = self.mount - 0.5 * self.bend * distance * distance;
        Some([distance, (distance * cos + below * sin) / self.focal])
    }

    /// Where a point shows that is `ahead`, `right` and `up` metres from the ground below the camera; `None` behind it.
    pub(super) fn project(&self, ahead: f32, right: f32, up: f32) -> Option<[f32; 2]> {
        let [sin, cos] = self.pitch;
        let below = self.mount - up - 0.5 * self.bend * ahead * ahead;
        let depth = ahead * cos + below * sin;
        (depth > 0.05).then(|| {
            let scale = self.focal / depth;
            [self.centre[0] + right * scale, self.centre[1] + (below * cos - ahead * sin) * scale]
        })
    }
}
