//! The reader places of an image reader: at least two, so that one frame may be looked at while the next is taken.

use lkas_messages::{Image, ImageShape, ImageView, UncheckedImage};
use lkas_shm::{ChannelName, ImageChannel, OpenError, OpenOptions, Reader, UncheckedImageChannel, Wait, clock};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often to look whether the channel was replaced, while nothing comes, in nanoseconds.
const LOOK_EVERY: u64 = 100_000_000;

/// How often to look for a channel that has gone, in nanoseconds.
const RETRY_EVERY: u64 = 10_000_000;

/// A reader of frames with a check value, or without: which, the channel says.
enum Source {
    Checked(Reader<Image>),
    Unchecked(Reader<UncheckedImage>),
}

/// Calls what both kinds have.
macro_rules! of_either {
    ($which:ident, $either:expr, $it:ident => $call:expr) => {
        match $either {
            $which::Checked($it) => $call,
            $which::Unchecked($it) => $call,
        }
    };
}

impl Source {
    fn open(name: &ChannelName, options: OpenOptions) -> Result<Self, OpenError> {
        match ImageChannel::open(name, options) {
            Ok(reader) => Ok(Self::Checked(reader)),
            Err(why @ OpenError::Unusable { .. }) => match UncheckedImageChannel::open(name, options) {
                Ok(reader) => Ok(Self::Unchecked(reader)),
                // It carries no images, or was replaced just now.
                Err(OpenError::Unusable { .. }) => Err(why),
                Err(other) => Err(other),
            },
            Err(why) => Err(why),
        }
    }

    fn has_fresh(&self) -> bool {
        of_either!(Source, self, reader => reader.has_fresh())
    }

    fn has_writer(&self) -> bool {
        of_either!(Source, self, reader => reader.has_writer())
    }

    fn is_retired(&self) -> bool {
        of_either!(Source, self, reader => reader.is_retired())
    }

    fn shape(&self) -> Option<ImageShape> {
        of_either!(Source, self, reader => reader.shape())
    }

    fn wait(&mut self, timeout: Duration) -> Wait {
        of_either!(Source, self, reader => reader.wait(timeout))
    }

    fn latest(&mut self) -> Option<Shown> {
        let (sequence, published, image) = match self {
            Self::Checked(reader) => {
                let sample = reader.latest()?;
                (sample.sequence(), sample.time(), Slot::Checked(NonNull::from(&*sample)))
            }
            Self::Unchecked(reader) => {
                let sample = reader.latest()?;
                (sample.sequence(), sample.time(), Slot::Unchecked(NonNull::from(&*sample)))
            }
        };
        Some(Shown { image, sequence, published })
    }
}

/// A reader of its own, which looks at one slot.
struct Place {
    reader: Mutex<Source>,
}

impl Place {
    fn reader(&self) -> MutexGuard<'_, Source> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_fresh(&self) -> bool {
        self.reader().has_fresh()
    }
}

/// An image where it lies.
#[derive(Clone, Copy)]
enum Slot {
    Checked(NonNull<Image>),
    Unchecked(NonNull<UncheckedImage>),
}

/// Where a frame lies, and which it is.
#[derive(Clone, Copy)]
struct Shown {
    image: Slot,
    sequence: u64,
    published: u64,
}

// SAFETY: the image lies in memory that belongs to no thread, and is only read.
unsafe impl Send for Shown {}
// SAFETY: as for Send.
unsafe impl Sync for Shown {}

/// A frame whose slot stays as it is for as long as this lives.
pub(crate) struct Pin {
    // Keeps the memory mapped and the place taken. While there is a second reference to it, `Places` takes nothing there.
    _place: Arc<Place>,
    shown: Shown,
}

/// Calls what both kinds of images have.
macro_rules! of_image {
    ($pin:expr, $image:ident => $call:expr) => {
        // SAFETY: the slot is the place's until its reader's next take (I2 of the design), for which `Places` needs the
        // place for itself, and the pin has a reference to it. The memory is mapped as long as the place is there.
        unsafe {
            of_either!(Slot, $pin.shown.image, it => {
                let $image = it.as_ref();
                $call
            })
        }
    };
}

impl Pin {
    /// The number that its source gave it.
    pub(crate) fn frame_id(&self) -> u64 {
        of_image!(self, image => image.frame_id())
    }

    /// The instant that it shows.
    pub(crate) fn timestamp(&self) -> f64 {
        of_image!(self, image => image.timestamp())
    }

    /// Its pixels; `None` where the slot describes no image.
    pub(crate) fn view(&self) -> Option<ImageView<'_>> {
        of_image!(self, image => image.view())
    }

    /// Whether its check value fits, where it has one.
    pub(crate) fn is_whole(&self) -> bool {
        of_image!(self, image => image.is_whole())
    }

    /// The number of its publish.
    pub(crate) fn sequence(&self) -> u64 {
        self.shown.sequence
    }

    /// When it was published, in nanoseconds of the clock.
    pub(crate) fn published(&self) -> u64 {
        self.shown.published
    }
}

/// What a take found.
pub(crate) enum Taken {
    Frame(Pin),
    Nothing,
    /// There is something new, and every place has a frame that is still in use.
    AllPinned,
}

/// Several readers of one channel that count as one: a value that one of them has had is not new to the others.
pub(crate) struct Places {
    name: ChannelName,
    options: OpenOptions,
    places: Vec<Arc<Place>>,
    /// The place that had the last frame. It has something fresh exactly when there is a newer one.
    last: usize,
    /// The last frame, in the slot of the last place.
    shown: Option<Shown>,
    shape: Option<ImageShape>,
    sequence: u64,
    missed: u64,
    damaged: u64,
    looked: u64,
}

fn open(name: &ChannelName, options: OpenOptions, count: usize) -> Result<Vec<Arc<Place>>, OpenError> {
    let place = |options| Source::open(name, options).map(|reader| Arc::new(Place { reader: Mutex::new(reader) }));
    let mut places = vec![place(options)?];
    // The others are places of the channel that is there now.
    while places.len() < count {
        places.push(place(options.patience(Duration::ZERO))?);
    }
    Ok(places)
}

impl Places {
    pub(crate) fn open(name: &ChannelName, options: OpenOptions, count: usize) -> Result<Self, OpenError> {
        let places = open(name, options, count)?;
        let shape = places[0].reader().shape();
        let name = name.clone();
        let looked = clock::now();
        Ok(Self { name, options, places, last: 0, shown: None, shape, sequence: 0, missed: 0, damaged: 0, looked })
    }

    pub(crate) fn shape(&self) -> Option<ImageShape> {
        self.shape
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// At how many places a frame is in use.
    pub(crate) fn pinned(&self) -> usize {
        self.places.iter().filter(|place| Arc::strong_count(place) > 1).count()
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.damaged
    }

    pub(crate) fn has_writer(&self) -> bool {
        self.places[self.last].reader().has_writer()
    }

    /// The newest frame, if it was not had before.
    ///
    /// # Errors
    /// The channel was replaced by one that can't be opened.
    pub(crate) fn take(&mut self) -> Result<Taken, OpenError> {
        if !self.places[self.last].has_fresh() && !self.follow()? {
            return Ok(Taken::Nothing);
        }
        Ok(self.advance())
    }

    /// The newest frame, whether or not it was had before.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn latest(&mut self) -> Result<Taken, OpenError> {
        match self.take()? {
            Taken::Nothing => {
                let pin = self.shown.map(|shown| Pin { _place: self.places[self.last].clone(), shown });
                Ok(pin.map_or(Taken::Nothing, Taken::Frame))
            }
            found => Ok(found),
        }
    }

    /// A place at which no frame is in use, the last one if possible.
    fn free_place(&mut self) -> Option<usize> {
        let order = [self.last].into_iter().chain((0..self.places.len()).filter(|place| *place != self.last));
        order.into_iter().find(|place| Arc::get_mut(&mut self.places[*place]).is_some())
    }

    /// Moves on to what is fresh at the last place.
    fn advance(&mut self) -> Taken {
        let Some(free) = self.free_place() else { return Taken::AllPinned };
        // Nobody else has a reference to the place, so nobody looks at its slot.
        let Some(place) = Arc::get_mut(&mut self.places[free]) else { return Taken::AllPinned };
        let reader = place.reader.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = reader.latest() else { return Taken::Nothing };
        if found.sequence <= self.sequence {
            // The writer is in the middle of its publish: the last place has it, this one has not.
            return Taken::Nothing;
        }
        let pin = Pin { _place: self.places[free].clone(), shown: found };
        let sane = pin.view().is_some();
        self.missed += if self.sequence == 0 { 0 } else { found.sequence - self.sequence - 1 };
        self.sequence = found.sequence;
        self.last = free;
        self.shown = sane.then_some(found);
        if !sane {
            self.damaged += 1;
            return Taken::Nothing;
        }
        Taken::Frame(pin)
    }

    /// Waits until a take would find something, at most `timeout`, or a while shorter.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<bool, OpenError> {
        if !self.places[self.last].has_fresh() && !self.follow()? {
            let last = &self.places[self.last];
            if last.reader().is_retired() {
                // Nobody wakes who sleeps there.
                std::thread::sleep(timeout.min(Duration::from_nanos(RETRY_EVERY)));
                return Ok(false);
            }
            if last.reader().wait(timeout) != Wait::Fresh {
                return Ok(false);
            }
        }
        let Some(free) = self.free_place().filter(|free| *free != self.last) else { return Ok(true) };
        // The place that the next frame will be taken at may be behind the last one in the middle of a publish.
        let Some(place) = Arc::get_mut(&mut self.places[free]) else { return Ok(true) };
        let reader = place.reader.get_mut().unwrap_or_else(PoisonError::into_inner);
        let newer = |reader: &mut Source| reader.latest().is_some_and(|found| found.sequence > self.sequence);
        Ok(newer(reader) || (reader.wait(timeout) == Wait::Fresh && newer(reader)))
    }

    /// Goes over to the channel that has this one's name now, where this one was replaced or removed. Whether there is
    /// something fresh.
    fn follow(&mut self) -> Result<bool, OpenError> {
        let now = clock::now();
        let since = now.saturating_sub(self.looked);
        let mut last = self.places[self.last].reader();
        if !last.is_retired() {
            if since < LOOK_EVERY {
                return Ok(false);
            }
            self.looked = now;
            // A wait that ends by its time looks whether the segment has lost both name and writer.
            let fresh = last.wait(Duration::from_micros(1)) == Wait::Fresh;
            if fresh || !last.is_retired() {
                return Ok(fresh);
            }
        } else if since < RETRY_EVERY {
            return Ok(false);
        }
        drop(last);
        self.looked = now;
        match open(&self.name, self.options.patience(Duration::ZERO).grace(Duration::ZERO), self.places.len()) {
            Ok(places) => {
                self.shape = places[0].reader().shape();
                // Frames that are in use keep their old places.
                (self.places, self.last, self.shown, self.sequence) = (places, 0, None, 0);
                Ok(self.places[0].has_fresh())
            }
            Err(OpenError::NoSuchChannel { .. }) => Ok(false),
            Err(why) => Err(why),
        }
    }
}
