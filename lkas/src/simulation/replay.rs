//! Recorded pictures in the place of the camera.

use core::fmt;
use image::{ColorType, DynamicImage, ImageDecoder, ImageReader};
use lkas_messages::{ImageShape, PixelFormat};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The names of the pictures end with one of these, in upper or lower case.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// A [`Replay`] can't be opened or has no next picture.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReplayError {
    /// The folder can't be read.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no picture in the folder.
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file is no picture that can be read.
    Picture {
        /// The file.
        path: PathBuf,
        /// Why.
        error: image::ImageError,
    },
    /// A picture has another size than the first one.
    Size {
        /// The file.
        path: PathBuf,
        /// Its width and height in pixels.
        found: [u32; 2],
        /// Width and height of the first picture.
        expected: [u32; 2],
    },
    /// The first picture has a size that no channel carries.
    Shape {
        /// The file.
        path: PathBuf,
        /// Why.
        error: lkas_messages::MessageError,
    },
    /// The place for the pixels has another size than a picture.
    Space {
        /// Its size in bytes.
        found: usize,
        /// The size of a picture in bytes.
        expected: usize,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, error } => {
                write!(f, "{}: {error}; name a folder with pictures", path.display())
            }
            Self::Empty { path } => {
                write!(f, "{}: no picture in it, expected files named *.jpg, *.jpeg or *.png", path.display())
            }
            Self::Picture { path, error } => {
                write!(f, "{}: {error}; repair the file or remove it from the folder", path.display())
            }
            Self::Size { path, found: [w, h], expected: [width, height] } => write!(
                f,
                "{}: a picture of {w}x{h} pixels, expected {width}x{height} as the first one has; scale it or remove it \
                 from the folder",
                path.display()
            ),
            Self::Shape { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Space { found, expected } => {
                write!(f, "a picture needs {expected} bytes, but {found} are provided")
            }
        }
    }
}

impl core::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Folder { error, .. } => Some(error),
            Self::Picture { error, .. } => Some(error),
            Self::Shape { error, .. } => Some(error),
            Self::Empty { .. } | Self::Size { .. } | Self::Space { .. } => None,
        }
    }
}

/// The pictures of a folder, in the order of their names, over and over again.
///
/// All have the size of the first. The size is read from every file's beginning when the folder is opened, so that a
/// wrong one is found before anything moves, not minutes later.
#[derive(Debug)]
pub struct Replay {
    files: Vec<PathBuf>,
    shape: ImageShape,
    next: usize,
}

impl Replay {
    /// Finds the pictures in `folder` and checks their sizes. Files with other names, and subfolders, are left alone.
    ///
    /// # Errors
    /// [`ReplayError`] where the folder can't be read or has no picture in it, and where a picture's beginning can't be
    /// read or says another size than that of the first one.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, ReplayError> {
        let folder = folder.as_ref();
        let failed = |error| ReplayError::Folder { path: folder.to_owned(), error };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let is_picture = EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known));
            if is_picture && !path.is_dir() {
                files.push(path);
            }
        }
        files.sort_unstable();
        let Some(first) = files.first() else { return Err(ReplayError::Empty { path: folder.to_owned() }) };
        let [width, height] = size(first)?;
        let shape = ImageShape::new(width, height, PixelFormat::Rgb8)
            .map_err(|error| ReplayError::Shape { path: first.clone(), error })?;
        for path in &files[1..] {
            let found = size(path)?;
            if found != [width, height] {
                return Err(ReplayError::Size { path: path.clone(), found, expected: [width, height] });
            }
        }
        Ok(Self { files, shape, next: 0 })
    }

    /// Size and format of the pictures: always RGB.
    #[must_use]
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// How many pictures there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always at least one")]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Starts again with the first picture.
    pub fn restart(&mut self) {
        self.next = 0;
    }

    /// Decodes the next picture into `pixels`, which holds [`ImageShape::pixel_bytes`] bytes. After the last picture
    /// comes the first.
    ///
    /// # Errors
    /// [`ReplayError`] where the file can't be read or decoded or has changed its size. Then `pixels` may be half
    /// overwritten; the next call goes on with the next picture.
    pub fn next_into(&mut self, pixels: &mut [u8]) -> Result<(), ReplayError> {
        let expected = self.shape.pixel_bytes();
        if pixels.len() != expected {
            return Err(ReplayError::Space { found: pixels.len(), expected });
        }
        let path = &self.files[self.next];
        self.next = (self.next + 1) % self.files.len();
        let failed = |error| ReplayError::Picture { path: path.clone(), error };

        let decoder = reader(path)?.into_decoder().map_err(failed)?;
        let (width, height) = decoder.dimensions();
        let expected = [self.shape.width(), self.shape.height()];
        if [width, height] != expected {
            return Err(ReplayError::Size { path: path.clone(), found: [width, height], expected });
        }
        if decoder.color_type() == ColorType::Rgb8 {
            return decoder.read_image(pixels).map_err(failed);
        }
        let picture = DynamicImage::from_decoder(decoder).map_err(failed)?.into_rgb8();
        pixels.copy_from_slice(picture.as_raw());
        Ok(())
    }
}

fn reader(path: &Path) -> Result<ImageReader<io::BufReader<fs::File>>, ReplayError> {
    // What counts is the file's content: a PNG that is named .jpg is read all the same.
    ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|error| ReplayError::Picture { path: path.to_owned(), error: error.into() })
}

fn size(path: &Path) -> Result<[u32; 2], ReplayError> {
    let failed = |error| ReplayError::Picture { path: path.to_owned(), error };
    reader(path)?.into_dimensions().map(|(width, height)| [width, height]).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, RgbImage};

    /// A folder of its own for each test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lkas-replay-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn picture(&self, name: &str, size: [u32; 2], colour: u8) {
            RgbImage::from_pixel(size[0], size[1], Rgb([colour; 3])).save(self.0.join(name)).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn pictures_come_in_the_order_of_their_names_and_again() {
        let folder = Folder::new("order");
        for (name, colour) in [("b.png", 20), ("a.jpg", 10), ("c.PNG", 30)] {
            folder.picture(name, [8, 6], colour);
        }
        fs::write(folder.0.join("notes.txt"), "no picture").unwrap();
        let mut replay = Replay::open(&folder.0).unwrap();
        assert_eq!((replay.len(), replay.shape().width(), replay.shape().height()), (3, 8, 6));
        let mut pixels = vec![0; replay.shape().pixel_bytes()];
        let mut next = |replay: &mut Replay| {
            replay.next_into(&mut pixels).unwrap();
            // JPEG is not exact.
            (f32::from(pixels[0]) / 10.0).round() as u8
        };
        assert_eq!([1, 2, 3, 1], [(); 4].map(|()| next(&mut replay)));
        replay.restart();
        assert_eq!(next(&mut replay), 1);
    }

    #[test]
    fn what_can_not_be_replayed_is_named() {
        let message = |folder: &Path| Replay::open(folder).unwrap_err().to_string();
        let missing = Path::new("/nowhere/at/all");
        assert!(message(missing).contains("/nowhere/at/all"));
        let folder = Folder::new("errors");
        assert!(message(&folder.0).contains(folder.0.to_str().unwrap()), "empty");
        folder.picture("a.png", [8, 6], 1);
        folder.picture("b.png", [9, 6], 1);
        let error = message(&folder.0);
        assert!(error.contains("b.png") && error.contains("9x6") && error.contains("8x6"), "{error}");
        fs::write(folder.0.join("b.png"), b"not a picture").unwrap();
        assert!(message(&folder.0).contains("b.png"));
    }

    #[test]
    fn a_picture_that_breaks_later_is_an_error_and_the_next_one_comes() {
        let folder = Folder::new("broken");
        folder.picture("a.png", [8, 6], 1);
        folder.picture("b.png", [8, 6], 2);
        let mut replay = Replay::open(&folder.0).unwrap();
        let whole = fs::read(folder.0.join("a.png")).unwrap();
        fs::write(folder.0.join("a.png"), &whole[..whole.len() / 2]).unwrap();
        let mut pixels = vec![0; replay.shape().pixel_bytes()];
        let error = replay.next_into(&mut pixels).unwrap_err().to_string();
        assert!(error.contains("a.png"), "{error}");
        replay.next_into(&mut pixels).unwrap();
        assert_eq!(pixels[0], 2);
        assert!(replay.next_into(&mut [0; 3]).is_err(), "too little space");
    }
}
