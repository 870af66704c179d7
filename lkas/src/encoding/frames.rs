//! The thread that encodes frames: one JPEG for all viewers, only while somebody watches, and beside whoever routes.

use super::{EncodingOptions, JpegEncoder};
use crate::Failure;
use crate::inlet::Inlet;
use crate::options::BROKERS_PLACE;
use core::sync::atomic::{AtomicBool, Ordering};
use lkas_shm::{ChannelName, ImageChannel};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A frame as JPEG.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) jpeg: Vec<u8>,
    pub(crate) frame_id: u64,
    /// When it was captured, in seconds of the channels' clock.
    pub(crate) timestamp: f64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// What the thread has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Frames taken from the channel.
    pub(crate) taken: u64,
    /// Frames that were replaced before they were taken.
    pub(crate) missed: u64,
    /// Frames that were not whole.
    pub(crate) torn: u64,
    /// Frames encoded.
    pub(crate) encoded: u64,
    /// How long the last one took to encode.
    pub(crate) took: Duration,
    /// Frames a second that the camera publishes; `None` where that is not known.
    pub(crate) fps: Option<f64>,
    /// Which encoder it is.
    pub(crate) encoder: &'static str,
}

#[derive(Debug)]
struct Shared {
    is_watched: AtomicBool,
    is_over: AtomicBool,
    /// Told when it is over.
    wake: OwnedFd,
    /// Can be read when there is a frame.
    ready: OwnedFd,
    /// The newest frame that was not fetched yet, and the figures.
    state: Mutex<(Option<Encoded>, Figures)>,
}

/// The camera's frames, encoded by a thread of their own.
#[derive(Debug)]
pub(crate) struct FrameThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl FrameThread {
    /// Starts the thread, which looks for the channel until it is there.
    ///
    /// # Errors
    /// The system has no descriptor or thread to give.
    pub(crate) fn start(camera: ChannelName, options: EncodingOptions) -> Result<Self, Failure> {
        let descriptor = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let encoder = JpegEncoder::new(options.jpeg_quality);
        let figures = Figures { encoder: encoder.name(), ..Figures::default() };
        let shared = Arc::new(Shared {
            is_watched: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            wake: descriptor()?,
            ready: descriptor()?,
            state: Mutex::new((None, figures)),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("encoder".to_owned()).spawn(move || {
            let outcome = run(camera, encoder, options.period(), &theirs);
            signal(&theirs.ready);
            outcome
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Says whether somebody watches. Nothing is encoded while nobody does.
    pub(crate) fn set_watched(&self, is_watched: bool) {
        self.shared.is_watched.store(is_watched, Ordering::Relaxed);
    }

    /// What can be read once there is a frame.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }

    /// The newest frame, where there is a new one, and the figures. Never waits for encoding.
    ///
    /// # Errors
    /// The channel is there and can't be used.
    pub(crate) fn fetch(&mut self) -> Result<(Option<Encoded>, Figures), Failure> {
        clear(&self.shared.ready);
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end()?;
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((state.0.take(), state.1))
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        signal(&self.shared.wake);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err("the thread that encodes frames panicked".into()),
            None => Ok(()),
        }
    }
}

impl Drop for FrameThread {
    fn drop(&mut self) {
        // Whoever wants to know asks before.
        let _ = self.end();
    }
}

fn signal(descriptor: &OwnedFd) {
    // Full means that it was told often enough.
    let _ = rustix::io::write(descriptor, &1_u64.to_ne_bytes());
}

fn clear(descriptor: &OwnedFd) {
    // Empty is what it shall be.
    let _ = rustix::io::read(descriptor, &mut [0; 8]);
}

fn run(camera: ChannelName, mut encoder: JpegEncoder, period: Duration, shared: &Shared) -> Result<(), Failure> {
    let mut frames = Inlet::new(camera, |name, open| ImageChannel::open(name, open.place(BROKERS_PLACE)));
    let mut rate = Rate::default();
    let mut due = Instant::now();
    let mut figures = Figures { encoder: encoder.name(), ..Figures::default() };
    while !shared.is_over.load(Ordering::Relaxed) {
        frames.prepare()?;
        wait(&[Some(shared.wake.as_fd()), frames.descriptor()], frames.due());
        let mut encoded = None;
        if let Some(image) = frames.take() {
            figures.taken += 1;
            rate.count(image.sequence());
            let now = Instant::now();
            // Somewhat early is in time: frames come when they come.
            let is_wanted = shared.is_watched.load(Ordering::Relaxed) && now + period / 8 >= due;
            match image.view().filter(|_| is_wanted && image.is_whole()) {
                Some(view) => {
                    let shape = view.shape();
                    // An image's sides fit: the largest is 16384.
                    let (width, height) = (shape.width() as u16, shape.height() as u16);
                    let mut jpeg = Vec::new();
                    encoder.encode(view.pixels(), width, height, shape.format().into(), &mut jpeg)?;
                    due = (due + period).max(now);
                    figures.encoded += 1;
                    figures.took = now.elapsed();
                    encoded = Some(Encoded {
                        jpeg,
                        frame_id: image.frame_id(),
                        timestamp: image.timestamp(),
                        width: width.into(),
                        height: height.into(),
                    });
                }
                None => figures.torn += u64::from(is_wanted),
            }
        }
        (figures.missed, figures.fps, figures.encoder) = (frames.missed(), rate.get(), encoder.name());
        let is_new = encoded.is_some();
        {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            // One that was not fetched is older than this one.
            state.0 = encoded.or(state.0.take());
            state.1 = figures;
        }
        if is_new {
            signal(&shared.ready);
        }
    }
    Ok(())
}

/// Waits until one of the descriptors can be read, at most until `due`, or until a signal comes.
fn wait(descriptors: &[Option<BorrowedFd<'_>>], due: Instant) {
    let mut polled: Vec<_> = descriptors.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let left = due.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    // Whatever it was that ended the wait, everything is looked at.
    let _ = poll(&mut polled, Some(&left));
}

/// Frames a second, from the sequence numbers of the last second or so.
#[derive(Default)]
struct Rate {
    since: Option<(Instant, u64)>,
    rate: Option<f64>,
}

impl Rate {
    fn count(&mut self, sequence: u64) {
        let now = Instant::now();
        match self.since {
            Some((start, _)) if now - start < Duration::from_secs(1) => {}
            Some((start, first)) => {
                self.rate = Some(sequence.saturating_sub(first) as f64 / (now - start).as_secs_f64());
                self.since = Some((now, sequence));
            }
            None => self.since = Some((now, sequence)),
        }
    }

    /// The rate; `None` where nothing came for two seconds: nobody knows then.
    fn get(&self) -> Option<f64> {
        self.since.filter(|(start, _)| start.elapsed() < Duration::from_secs(2)).and(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lkas_messages::{Image, ImageShape, PixelFormat};
    use lkas_shm::{Options, Writer, unlink};

    /// A channel that goes when this does, which is after its writer.
    struct Passing(ChannelName);

    impl Drop for Passing {
        fn drop(&mut self) {
            let _ = unlink(&self.0);
        }
    }

    struct Camera {
        writer: Writer<Image>,
        shape: ImageShape,
        frame_id: u64,
        name: Passing,
    }

    impl Camera {
        fn create(test: &str) -> Self {
            let name: ChannelName = format!("test-{}-encoder.{test}", std::process::id()).parse().unwrap();
            let shape = ImageShape::new(32, 16, PixelFormat::Rgb8).unwrap();
            let writer = ImageChannel::create(&name, shape, Options::new()).unwrap();
            Self { writer, shape, frame_id: 0, name: Passing(name) }
        }

        fn show(&mut self) {
            self.frame_id += 1;
            let mut loan = self.writer.loan();
            loan.start(self.shape, self.frame_id, 1.0).unwrap().fill(100);
            loan.seal();
            loan.publish();
        }

        /// Shows frames until `done`.
        fn until(&mut self, frames: &mut FrameThread, mut done: impl FnMut(Option<Encoded>, Figures) -> bool) {
            let start = Instant::now();
            loop {
                self.show();
                std::thread::sleep(Duration::from_millis(2));
                let (encoded, figures) = frames.fetch().unwrap();
                if done(encoded, figures) {
                    return;
                }
                assert!(start.elapsed() < Duration::from_secs(20), "in vain: {figures:?}");
            }
        }
    }

    fn options(viewer_fps: Option<f64>) -> EncodingOptions {
        EncodingOptions { jpeg_quality: 80, viewer_fps }
    }

    #[test]
    fn frames_are_encoded_only_while_somebody_watches() {
        let mut camera = Camera::create("watched");
        let mut frames = FrameThread::start(camera.name.0.clone(), options(None)).unwrap();
        camera.until(&mut frames, |encoded, figures| {
            assert!(encoded.is_none() && figures.encoded == 0, "nobody watches");
            figures.taken > 20
        });
        frames.set_watched(true);
        let mut last = 0;
        camera.until(&mut frames, |encoded, figures| {
            let Some(encoded) = encoded else { return false };
            assert!(encoded.frame_id > last && encoded.jpeg.starts_with(&[0xff, 0xd8]));
            assert_eq!((encoded.width, encoded.height), (32, 16));
            last = encoded.frame_id;
            figures.encoded > 20
        });
        frames.set_watched(false);
        // The one that is being encoded now is the last one.
        let before = frames.fetch().unwrap().1;
        camera.until(&mut frames, |_, figures| {
            assert!(figures.encoded <= before.encoded + 1);
            figures.taken > before.taken + 20
        });
    }

    #[test]
    fn the_rate_for_viewers_is_bounded() {
        let mut camera = Camera::create("rate");
        let mut frames = FrameThread::start(camera.name.0.clone(), options(Some(10.0))).unwrap();
        frames.set_watched(true);
        let start = Instant::now();
        camera.until(&mut frames, |_, figures| figures.encoded >= 5);
        // The first one at once, and each of the others a tenth of a second after the one before, less an eighth.
        assert!(start.elapsed() >= Duration::from_millis(340), "{:?}", start.elapsed());
    }

    #[test]
    fn a_channel_that_is_no_camera_is_an_error() {
        let name: ChannelName = format!("test-{}-encoder.odd", std::process::id()).parse().unwrap();
        let writer = lkas_shm::ControlChannel::create(&name, Options::new()).unwrap();
        let mut frames = FrameThread::start(name.clone(), options(None)).unwrap();
        let start = Instant::now();
        let error = loop {
            match frames.fetch() {
                Err(error) => break error.to_string(),
                Ok(_) => assert!(start.elapsed() < Duration::from_secs(20), "in vain"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(error.contains("lkas.Control"), "{error}");
        drop((frames, writer));
        unlink(&name).unwrap();
    }
}
