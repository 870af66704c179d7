//! Which part of a picture is looked at, and at which resolution.

use lkas_messages::ImageShape;

/// Rows and columns in which lines are looked for, in *working* pixels: those of the picture, or blocks of
/// `scale` x `scale` of them where it is large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    /// Picture pixels to a working pixel, each way.
    pub(super) scale: usize,
    /// Columns; all those of the picture.
    pub(super) width: usize,
    /// Rows from `top` to the picture's bottom.
    pub(super) rows: usize,
    /// The first row, counted from the picture's top.
    pub(super) top: usize,
    /// Working pixels to a pixel of a picture 600 rows high, in which the parameters count.
    pub(super) unit: f32,
}

/// A working picture has about this many columns and rows at most.
const WORKING_SIZE: (usize, usize) = (1280, 960);

/// Fewer columns or rows than this show no line.
const LEAST_SIDE: usize = 16;

/// Frames are not halved for their noise to fewer rows than this.
const LEAST_HALVED: usize = 120;

impl Region {
    /// The region of pictures of that shape that starts at the share `top` of their height; `None` where they are too
    /// small to see a line in. They are halved `halvings` times more than their size asks for.
    pub(super) fn new(shape: ImageShape, top: f32, halvings: u32) -> Option<Self> {
        let (width, height) = (shape.width() as usize, shape.height() as usize);
        let scale = width.div_ceil(WORKING_SIZE.0).max(height.div_ceil(WORKING_SIZE.1)) << halvings;
        let (width, height) = (width / scale, height / scale);
        let top = (height as f32 * top.clamp(0.0, 1.0)).round() as usize;
        let rows = height.saturating_sub(top);
        (width >= LEAST_SIDE && rows >= LEAST_SIDE).then(|| Self {
            scale,
            width,
            rows,
            top,
            unit: height as f32 / 600.0,
        })
    }

    /// Whether frames of that shape can be halved once more.
    pub(super) fn can_be_halved(&self, shape: ImageShape) -> bool {
        shape.height() as usize / self.scale >= 2 * LEAST_HALVED
    }

    /// The first and the last but one column looked at in `row`: a trapezoid that narrows towards the horizon.
    pub(super) fn columns(&self, row: usize) -> (usize, usize) {
        // A quarter of the width is cut off on either side at the top, nothing from half way down.
        let cut = (0.25 - 0.5 * row as f32 / self.rows as f32).max(0.0);
        let cut = (cut * self.width as f32) as usize;
        (cut, self.width - cut)
    }

    /// A vertical position in the picture, in its pixels, as a row of the region.
    pub(super) fn row_of(&self, y: f32) -> f32 {
        (y + 0.5) / self.scale as f32 - 0.5 - self.top as f32
    }

    /// A column of the region as a horizontal position in the picture, in its pixels.
    pub(super) fn x_of(&self, column: f32) -> f32 {
        (column + 0.5) * self.scale as f32 - 0.5
    }
}
