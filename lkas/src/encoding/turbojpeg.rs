//! libturbojpeg, where the system has it: found when the program runs, so that nothing has to be installed to build it.
//!
//! The interface is that of TurboJPEG 2, which version 3 still has: <https://libjpeg-turbo.org/Documentation>.

use super::Colour;
use crate::Failure;
use core::ffi::{c_int, c_uchar, c_ulong, c_void};
use core::fmt;
use core::ptr::NonNull;
use libloading::Library;

const LIBRARY: &str = "libturbojpeg.so.0";

/// Sampling of colour, as the library numbers it: full, by halves in both directions, none.
const SAMP_444: c_int = 0;
const SAMP_420: c_int = 2;
const SAMP_GRAY: c_int = 3;

/// The library must not allocate: the buffer is large enough.
const NO_REALLOC: c_int = 1024;

type Init = unsafe extern "C" fn() -> *mut c_void;
type Bound = unsafe extern "C" fn(c_int, c_int, c_int) -> c_ulong;
type Destroy = unsafe extern "C" fn(*mut c_void) -> c_int;
type Compress = unsafe extern "C" fn(
    *mut c_void,
    *const c_uchar,
    c_int,
    c_int,
    c_int,
    c_int,
    *mut *mut c_uchar,
    *mut c_ulong,
    c_int,
    c_int,
    c_int,
) -> c_int;

/// An encoder of the library's.
pub(super) struct TurboJpeg {
    handle: NonNull<c_void>,
    bound: Bound,
    compress: Compress,
    destroy: Destroy,
    buffer: Vec<u8>,
    /// Where the functions are; last, so that it goes last.
    _library: Library,
}

// SAFETY: an encoder of the library may be used by any thread, by one at a time; `encode` and `drop` need it for themselves.
unsafe impl Send for TurboJpeg {}

impl TurboJpeg {
    /// Loads the library and makes an encoder that has proved that it makes JPEGs.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn load() -> Result<Self, Failure> {
        // SAFETY: the initialisers of the system's libturbojpeg set up its tables and nothing else.
        let library = unsafe { Library::new(LIBRARY) }?;
        // SAFETY: in libturbojpeg the function of this name has this type.
        let init: Init = *unsafe { library.get::<Init>(b"tjInitCompress\0") }?;
        // SAFETY: as above.
        let bound: Bound = *unsafe { library.get::<Bound>(b"tjBufSize\0") }?;
        // SAFETY: as above.
        let compress: Compress = *unsafe { library.get::<Compress>(b"tjCompress2\0") }?;
        // SAFETY: as above.
        let destroy: Destroy = *unsafe { library.get::<Destroy>(b"tjDestroy\0") }?;
        // SAFETY: it takes nothing, and `library` keeps its code where it is.
        let handle = NonNull::new(unsafe { init() }).ok_or("tjInitCompress failed")?;
        let mut encoder = Self { handle, bound, compress, destroy, buffer: Vec::new(), _library: library };
        let mut jpeg = Vec::new();
        encoder.encode(&[128; 16 * 16 * 3], 16, 16, Colour::Rgb, 80, &mut jpeg)?;
        if jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]) {
            Ok(encoder)
        } else {
            Err("what it makes is no JPEG".into())
        }
    }

    /// Encodes `width` times `height` pixels to the end of `jpeg`.
    ///
    /// # Errors
    /// Pixels that are not as many, or that the library refuses.
    pub(super) fn encode(
        &mut self,
        pixels: &[u8],
        width: u16,
        height: u16,
        colour: Colour,
        quality: u8,
        jpeg: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (format, channels) = match colour {
            Colour::Rgb => (0, 3),
            Colour::Bgr => (1, 3),
            Colour::Gray => (6, 1),
        };
        let pitch = usize::from(width) * channels;
        if width == 0 || height == 0 || pixels.len() != pitch * usize::from(height) {
            return Err(format!("{} bytes are no {width}x{height} pixels of {channels} bytes", pixels.len()).into());
        }
        let sampling = match colour {
            Colour::Gray => SAMP_GRAY,
            // As the other encoder does it.
            _ if quality >= 90 => SAMP_444,
            _ => SAMP_420,
        };
        // SAFETY: it computes with three numbers.
        let bound = unsafe { (self.bound)(width.into(), height.into(), sampling) };
        let bound =
            usize::try_from(bound).ok().filter(|bound| (1..=1 << 31).contains(bound)).ok_or("tjBufSize failed")?;
        if self.buffer.len() < bound {
            self.buffer.resize(bound, 0);
        }
        let mut start = self.buffer.as_mut_ptr();
        let mut size = self.buffer.len() as c_ulong;
        // SAFETY: the handle lives until `drop`, and nobody else has it. `pixels` has `height` rows of `pitch` bytes, which
        // was checked. The buffer has as many bytes as the library said that it needs for this, and it may not be replaced.
        let outcome = unsafe {
            (self.compress)(
                self.handle.as_ptr(),
                pixels.as_ptr(),
                width.into(),
                c_int::try_from(pitch)?,
                height.into(),
                format,
                &raw mut start,
                &raw mut size,
                sampling,
                quality.clamp(1, 100).into(),
                NO_REALLOC,
            )
        };
        let made = usize::try_from(size).ok().and_then(|size| self.buffer.get(..size));
        match made {
            Some(made) if outcome == 0 && core::ptr::eq(start, self.buffer.as_ptr()) => jpeg.extend_from_slice(made),
            _ => return Err(format!("tjCompress2 gave {outcome} and {size} bytes").into()),
        }
        Ok(())
    }
}

impl Drop for TurboJpeg {
    fn drop(&mut self) {
        // SAFETY: the handle is from tjInitCompress and used no more. There is nothing to be done where it fails.
        let _ = unsafe { (self.destroy)(self.handle.as_ptr()) };
    }
}

impl fmt::Debug for TurboJpeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurboJpeg").finish_non_exhaustive()
    }
}
