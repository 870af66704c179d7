//! Segments: created whole, opened checked, removed only when nobody uses them.

use crate::channel_type::ChannelType;
use crate::claim::{self, Role};
use crate::clock;
use crate::description::Description;
use crate::error::{CreateError, HeaderError, OpenError, UnlinkError, Warning};
use crate::fork::{File, Generation};
use crate::header::{Header, LIVE, MAGIC, total_size};
use crate::limits;
use crate::mapping::{Mapping, read_header};
use crate::name::ChannelName;
use crate::options::{Memory, OpenOptions, Options};
use crate::page::Page;
use core::ops::{Range, RangeInclusive};
use core::time::Duration;
use lkas_core::{Layout, MAX_READERS, Plain};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::Gid;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Where POSIX shared memory lies on Linux: what `shm_open("/name")` opens is this folder's `name`.
pub(crate) const FOLDER: &str = "/dev/shm";

/// Memory of which only a little is touched.
const NO_HURRY: Memory = Memory::new().prefault(false);

/// How often a reader that waits for its channel looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A segment in which this process has a role, until it is dropped.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) mapping: Mapping,
    pub(crate) shape: [u32; 4],
    pub(crate) warnings: Vec<Warning>,
    name: ChannelName,
    born: Generation,
    // Closed last: the role ends when nothing of the segment is mapped any more.
    file: File,
}

impl Segment {
    /// Creates the channel, or takes it over from a writer that is gone. Over a segment of another shape, that one is
    /// retired, its readers are woken, and a new one takes its name.
    pub(crate) fn create(name: &ChannelName, of: &ChannelType, options: &Options) -> Result<Self, CreateError> {
        let layout = Layout::new(options.readers, of.payload_size, of.payload_align).map_err(CreateError::Layout)?;
        check_mode(options.mode)?;
        let mut grace = Patience::new(options.grace);
        loop {
            match Self::try_create(name, of, layout, options) {
                // Somebody else was faster, or the name was removed meanwhile.
                Ok(None) => (),
                Ok(Some(segment)) => return Ok(segment),
                Err(taken @ CreateError::HasWriter { .. }) => {
                    if !grace.rest() {
                        return Err(taken);
                    }
                }
                Err(why) => return Err(why),
            }
        }
    }

    fn try_create(
        name: &ChannelName,
        of: &ChannelType,
        layout: Layout,
        options: &Options,
    ) -> Result<Option<Self>, CreateError> {
        let system = |what| move |why| CreateError::System { name: name.clone(), what, why };
        let file = open_file(name, OFlags::RDWR, options.foreign_owner).map_err(|why| why.create(name))?;
        let Some(file) = file else { return Self::create_new(name, of, layout, options) };
        let (header, found) = match read_checked(&file) {
            Err(Refusal::Header(HeaderError::Version { found: 1, .. })) => {
                return replace_version(name, &file).map(|()| None);
            }
            read => read.map_err(|why| why.create(name))?,
        };
        if !claim::claim(file.as_fd(), Role::Writer).map_err(system("lock segment"))? {
            let mapping = Mapping::to_look(file.as_fd(), found).map_err(system("map segment"))?;
            return Err(taken_by(name, &mapping));
        }
        if !is_linked(name, &file).map_err(system("look at segment"))? {
            // Removed or replaced between opening and locking.
            return Ok(None);
        }
        let mapping = Mapping::new(file.as_fd(), found, true, options.memory).map_err(system("map segment"))?;
        // One that was retired has lost its readers; whoever was about to remove it died. And readers who compare
        // their time with that of another clock must not go on: they compared the clocks when they came.
        let live = mapping.live();
        if header.check(of, &layout).is_ok() && !live.is_retired() && clock::is_shared_with(live.writer()) {
            set_permissions(&file, options).map_err(|(what, why)| system(what)(why))?;
            live.set_writer(clock::identity());
            live.set_contract(options.contract);
            let warnings = mapping.hold(options.memory);
            return Ok(Some(Self::with(name, mapping, of.shape, warnings, file)));
        }
        remove(name, &file).map_err(|why| why.replace(name))?;
        // SAFETY: this file holds the lock on the writer's byte, and there is no writer yet.
        unsafe { mapping.retire() };
        Ok(None)
    }

    fn with(name: &ChannelName, mapping: Mapping, shape: [u32; 4], warnings: Vec<Warning>, file: File) -> Self {
        Self { born: file.born(), mapping, shape, warnings, name: name.clone(), file }
    }

    /// A new segment under a new name; `None` if the name is taken by now. The file has no name until all of it is
    /// there, so nobody sees half a segment, and a creator that dies leaves nothing.
    fn create_new(
        name: &ChannelName,
        of: &ChannelType,
        layout: Layout,
        options: &Options,
    ) -> Result<Option<Self>, CreateError> {
        let system = |what| move |why| CreateError::System { name: name.clone(), what, why };
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let open = || rustix::fs::open(FOLDER, flags, Mode::RUSR | Mode::WUSR);
        let file = File::open(open).map_err(system("create segment"))?;
        let size = total_size(&layout) as u64;
        let no_space = |free| CreateError::NoSpace { name: name.clone(), needs: size, free };
        let space = rustix::fs::fstatvfs(&file).map_err(system("look at the space for segment"))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        // A file system without a limit has no number of blocks: what is there, fallocate finds out.
        if space.f_blocks > 0 && size > free {
            return Err(no_space(free));
        }
        if let Some((limit, allows)) = limits::exceeded(size) {
            return Err(CreateError::Limit { name: name.clone(), needs: size, limit, allows });
        }
        // Reserves every page, so that a full file system is an error here and not a fault later. Looking first keeps
        // what can never fit from filling the memory on its way to the error.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size).map_err(|why| match why {
            Errno::NOSPC | Errno::FBIG => no_space(free),
            why => system("reserve memory for segment")(why),
        })?;
        set_permissions(&file, options).map_err(|(what, why)| system(what)(why))?;
        if !claim::claim(file.as_fd(), Role::Writer).map_err(system("lock segment"))? {
            unreachable_for_others(name)?;
        }
        let mut mapping = Mapping::new(file.as_fd(), layout, true, options.memory).map_err(system("map segment"))?;
        mapping.write_header(&Header::new(of, &layout).reserving(options.reserved));
        mapping.live().set_writer(clock::identity());
        mapping.live().set_contract(options.contract);
        let warnings = mapping.hold(options.memory);
        // An unnamed file gets its name through the descriptor's entry in /proc, as open(2) describes for O_TMPFILE.
        let unnamed = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        match rustix::fs::linkat(CWD, unnamed, CWD, path(name), AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(Some(Self::with(name, mapping, of.shape, warnings, file))),
            Err(Errno::EXIST) => Ok(None),
            Err(why) => Err(system("name segment")(why)),
        }
    }

    /// Opens the channel, which must be `wanted` (a type and the sizes of its payloads) where that is given, and takes the
    /// first free reader place, which is returned. Waits up to `patience` for its writer to create it, and up to `grace`
    /// for a place.
    pub(crate) fn open(
        name: &ChannelName,
        wanted: Option<(ChannelType, RangeInclusive<usize>)>,
        options: &OpenOptions,
    ) -> Result<(Self, usize), OpenError> {
        let mut patience = Patience::new(options.patience);
        let mut grace = Patience::new(options.grace);
        loop {
            match Self::try_open(name, wanted.as_ref(), options) {
                Ok(Some(opened)) => return Ok(opened),
                // Removed or replaced between opening and claiming.
                Ok(None) => (),
                Err(missing @ OpenError::NoSuchChannel { .. }) => {
                    if !patience.rest() {
                        return Err(missing);
                    }
                }
                Err(taken @ OpenError::NoPlace { .. }) => {
                    if !grace.rest() {
                        return Err(taken);
                    }
                }
                Err(why) => return Err(why),
            }
        }
    }

    fn try_open(
        name: &ChannelName,
        wanted: Option<&(ChannelType, RangeInclusive<usize>)>,
        options: &OpenOptions,
    ) -> Result<Option<(Self, usize)>, OpenError> {
        let system = |what| move |why| OpenError::System { name: name.clone(), what, why };
        let file = open_file(name, OFlags::RDWR, options.foreign_owner).map_err(|why| why.open(name))?;
        let file = file.ok_or_else(|| OpenError::NoSuchChannel { name: name.clone() })?;
        let (header, layout) = read_checked(&file).map_err(|why| why.open(name))?;
        if let Some((of, sizes)) = wanted {
            header.check_type(of, sizes).map_err(|why| OpenError::Unusable { name: name.clone(), why })?;
        }
        let places = header.reserved_places()..layout.readers();
        let place = claim_place(&file, options.place, places).map_err(system("lock segment"))?;
        if !is_linked(name, &file).map_err(system("look at segment"))? {
            return Ok(None);
        }
        let Some(place) = place else {
            let reserved = header.reserved_places();
            return Err(OpenError::NoPlace { name: name.clone(), places: layout.readers(), reserved });
        };
        let mapping = Mapping::new(file.as_fd(), layout, false, options.memory).map_err(system("map segment"))?;
        if mapping.live().is_retired() {
            // One that is being replaced is as good as none.
            return Err(OpenError::NoSuchChannel { name: name.clone() });
        }
        if !clock::is_shared_with(mapping.live().writer()) {
            return Err(OpenError::Clock { name: name.clone() });
        }
        let mut warnings = mapping.hold(options.memory);
        warnings.extend(mode_warning(&file));
        Ok(Some((Self::with(name, mapping, header.shape(), warnings, file), place)))
    }

    /// Panics where this process was forked since the segment was opened.
    #[inline]
    pub(crate) fn check_fork(&self) {
        self.born.check();
    }

    /// Whether this process was forked since the segment was opened.
    pub(crate) fn is_forked(&self) -> bool {
        self.born.is_over()
    }

    /// What the segment says of itself.
    pub(crate) fn describe(&self) -> Result<Description, HeaderError> {
        let (header, _) = read_checked(&self.file).map_err(|why| match why {
            Refusal::Header(why) => why,
            // It was read before; a file that can't be read any more is as good as a short one.
            Refusal::Owner { .. } | Refusal::System(..) => {
                HeaderError::Size { found: 0, expected: size_of::<Header>() as u64 }
            }
        })?;
        Description::parse(header.as_bytes(), total_size(self.mapping.layout()) as u64)
    }

    /// Whether some process has the writer's role now, running or suspended.
    pub(crate) fn has_writer(&self) -> bool {
        has_writer(self.fd())
    }

    pub(crate) fn name(&self) -> &ChannelName {
        &self.name
    }

    /// The segment's file.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Whether the segment still has its name. Two system calls.
    pub(crate) fn is_linked(&self) -> bool {
        keeps_name(&self.name, self.fd())
    }
}

/// Whether the segment has neither name nor writer: whoever replaced or removed it died before it said so.
pub(crate) fn is_orphaned(name: &ChannelName, fd: BorrowedFd<'_>) -> bool {
    !keeps_name(name, fd) && !has_writer(fd)
}

fn keeps_name(name: &ChannelName, fd: BorrowedFd<'_>) -> bool {
    // A system that can't tell has not removed it.
    rustix::fs::fstat(fd).and_then(|own| has_name(name, &own)).unwrap_or(true)
}

fn has_writer(fd: BorrowedFd<'_>) -> bool {
    // A system that can't tell is treated as one without a writer: the safe side for a reader.
    claim::is_taken(fd, Role::Writer).unwrap_or(false)
}

/// Removes the channel's name, unless somebody uses it. Nothing happens where there is no such channel.
///
/// # Errors
/// [`UnlinkError::InUse`] where a writer or reader is alive; [`UnlinkError::Owner`] where it belongs to another user;
/// [`UnlinkError::NotAChannel`] where something else made the file; [`UnlinkError::System`] where the system refuses.
pub fn unlink(name: &ChannelName) -> Result<(), UnlinkError> {
    unlink_of(name, false)
}

/// As [`unlink`], also where the segment belongs to another user.
///
/// # Errors
/// As [`unlink`]; [`UnlinkError::Owner`] only where the system lets nobody but that user remove it.
pub fn unlink_foreign(name: &ChannelName) -> Result<(), UnlinkError> {
    unlink_of(name, true)
}

fn unlink_of(name: &ChannelName, foreign_owner: bool) -> Result<(), UnlinkError> {
    let system = |what| move |why| UnlinkError::System { name: name.clone(), what, why };
    let in_use = || UnlinkError::InUse { name: name.clone() };
    loop {
        let file = open_file(name, OFlags::RDWR, foreign_owner).map_err(|why| why.unlink(name))?;
        let Some(file) = file else { return Ok(()) };
        let layout = match read_checked(&file) {
            Ok((_, layout)) => Some(layout),
            // A channel all the same, only that nobody can use it any more: it was cut off, damaged, or is of another version.
            Err(Refusal::Header(_)) if has_magic(&file) => None,
            Err(why) => return Err(why.unlink(name)),
        };
        let places = layout.map_or(MAX_READERS, |layout| layout.readers());
        // Looking disturbs nobody. Taking every lock does: a role that is asked for meanwhile would seem to be taken.
        for role in Role::all(places) {
            if claim::is_taken(file.as_fd(), role).map_err(system("look at the locks of segment"))? {
                return Err(in_use());
            }
        }
        for role in Role::all(places) {
            if !claim::claim(file.as_fd(), role).map_err(system("lock segment"))? {
                return Err(in_use());
            }
        }
        // With all roles in hand nobody can be about to use it; who has opened it already will see that it lost its name.
        if !is_linked(name, &file).map_err(system("look at segment"))? {
            // Another one may have the name by now.
            continue;
        }
        let mapping = layout.map(|layout| Mapping::new(file.as_fd(), layout, true, NO_HURRY)).transpose();
        let mapping = mapping.map_err(system("map segment"))?;
        remove(name, &file).map_err(|why| why.unlink(name))?;
        if let Some(mapping) = mapping {
            // SAFETY: this file holds the lock on the writer's byte, and there is no writer.
            unsafe { mapping.retire() };
        }
        return Ok(());
    }
}

/// The segment's file opened for reading only, its size and its first page, to look on without a role.
pub(crate) fn open_to_look(name: &ChannelName, foreign_owner: bool) -> Result<(File, u64, Page), OpenError> {
    let system = |what| move |why| OpenError::System { name: name.clone(), what, why };
    let file = open_file(name, OFlags::RDONLY, foreign_owner).map_err(|why| why.open(name))?;
    let file = file.ok_or_else(|| OpenError::NoSuchChannel { name: name.clone() })?;
    let (header, _) = read_checked(&file).map_err(|why| why.open(name))?;
    let size = rustix::fs::fstat(&file).map_err(system("look at segment"))?.st_size as u64;
    Ok((file, size, Page::of(header)))
}

fn path(name: &ChannelName) -> String {
    format!("{FOLDER}/{name}")
}

/// Opens the file of that name, if there is one, for `access`. Another user's is refused unless `foreign_owner`.
fn open_file(name: &ChannelName, access: OFlags, foreign_owner: bool) -> Result<Option<File>, Refusal> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match File::open(|| rustix::fs::open(path(name), flags, Mode::empty())) {
        Ok(file) if foreign_owner => Ok(Some(file)),
        Ok(file) => check_owner(&file).map(|()| Some(file)),
        Err(Errno::NOENT) => Ok(None),
        // A directory, a symbolic link, a socket or a device.
        Err(Errno::ISDIR | Errno::LOOP | Errno::NXIO) => Err(Refusal::Header(HeaderError::NotAChannel)),
        Err(why) => Err(Refusal::System("open segment", why)),
    }
}

/// Removes the name of a segment whose roles the caller has. Only then may it be retired: what can't be removed stays as
/// it is. A process that dies in between leaves a segment without name and writer, which readers take for retired.
///
/// What has the name by now in its place stays.
fn remove(name: &ChannelName, file: &File) -> Result<(), Refusal> {
    if !is_linked(name, file).map_err(|why| Refusal::System("look at segment", why))? {
        return Ok(());
    }
    match rustix::fs::unlink(path(name)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(why) => Err(match (why, check_owner(file)) {
            // The folder's sticky bit leaves it to the file's owner.
            (Errno::PERM, Err(owner)) => owner,
            (why, _) => Refusal::System("remove segment", why),
        }),
    }
}

/// Removes a segment of version 1, where nobody uses it, and tells its readers.
fn replace_version(name: &ChannelName, file: &File) -> Result<(), CreateError> {
    let system = |what| move |why| CreateError::System { name: name.clone(), what, why };
    if !claim::claim(file.as_fd(), Role::Writer).map_err(system("lock segment"))? {
        return Err(CreateError::HasWriter { name: name.clone(), pid: 0, same_namespace: false });
    }
    if is_linked(name, file).map_err(system("look at segment"))? {
        remove(name, file).map_err(|why| why.replace(name))?;
        // In version 1 the word that says so lies at the same place. Readers look at it each 100 ms.
        rustix::io::pwrite(file, &1_u32.to_le_bytes(), LIVE as u64).map_err(system("retire segment"))?;
    }
    Ok(())
}

/// Each class of users may read and write, or neither: whoever can open a segment can take part in it, and be in its way.
fn check_mode(mode: u32) -> Result<(), CreateError> {
    if mode & !0o666 == 0 && is_even(mode) { Ok(()) } else { Err(CreateError::Mode { mode }) }
}

fn is_even(mode: u32) -> bool {
    (mode >> 1 ^ mode >> 2) & 0o111 == 0
}

pub(crate) fn mode_warning(file: &File) -> Option<Warning> {
    let mode = rustix::fs::fstat(file).ok()?.st_mode & 0o777;
    (!is_even(mode)).then_some(Warning::Mode { mode })
}

/// Gives the segment the mode and the group that the options ask for, where it has others.
fn set_permissions(file: &File, options: &Options) -> Result<(), (&'static str, Errno)> {
    let stat = rustix::fs::fstat(file).map_err(|why| ("look at segment", why))?;
    if let Some(group) = options.group.filter(|group| *group != stat.st_gid) {
        rustix::fs::fchown(file, None, Some(Gid::from_raw(group))).map_err(|why| ("set the group of segment", why))?;
    }
    if stat.st_mode & 0o777 != options.mode {
        let mode = Mode::from_raw_mode(options.mode);
        rustix::fs::fchmod(file, mode).map_err(|why| ("set the mode of segment", why))?;
    }
    Ok(())
}

fn taken_by(name: &ChannelName, mapping: &Mapping) -> CreateError {
    let (writer, own) = (mapping.live().writer(), clock::identity());
    let same_namespace = writer.pid_namespace == own.pid_namespace;
    CreateError::HasWriter { name: name.clone(), pid: writer.process, same_namespace }
}

/// How long to go on asking.
struct Patience {
    start: u64,
    whole: Duration,
}

impl Patience {
    fn new(whole: Duration) -> Self {
        Self { start: clock::now(), whole }
    }

    /// Rests for a moment; `false` where the time is over.
    fn rest(&mut self) -> bool {
        let waited = Duration::from_nanos(clock::now().saturating_sub(self.start));
        let Some(left) = self.whole.checked_sub(waited).filter(|left| !left.is_zero()) else { return false };
        std::thread::sleep(left.min(LOOK_EVERY));
        true
    }
}

/// The place that is asked for, where it is there and free, else the first free one of those that anybody gets.
fn claim_place(file: &File, wanted: Option<usize>, places: Range<usize>) -> Result<Option<usize>, Errno> {
    for place in wanted.filter(|place| *place < places.end).into_iter().chain(places) {
        if claim::claim(file.as_fd(), Role::Reader(place))? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Whether `file` is what has the name.
fn is_linked(name: &ChannelName, file: &File) -> Result<bool, Errno> {
    has_name(name, &rustix::fs::fstat(file)?)
}

/// Whether the file that `own` tells of is what has the name. Who opens the channel gets what is there: a file that was
/// renamed has links as before, and nobody finds it.
pub(crate) fn has_name(name: &ChannelName, own: &Stat) -> Result<bool, Errno> {
    match rustix::fs::lstat(path(name)) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(why) => Err(why),
    }
}

/// A fresh file that nobody else can have opened is locked by somebody else: the system does not keep its promises.
fn unreachable_for_others(name: &ChannelName) -> Result<(), CreateError> {
    Err(CreateError::System { name: name.clone(), what: "lock new segment", why: Errno::AGAIN })
}

/// Why a file is not used.
#[derive(Debug)]
enum Refusal {
    Header(HeaderError),
    /// It is not this process's user's.
    Owner {
        found: u32,
        expected: u32,
    },
    System(&'static str, Errno),
}

impl Refusal {
    fn create(self, name: &ChannelName) -> CreateError {
        let name = name.clone();
        match self {
            Self::Header(why) => CreateError::Unusable { name, why },
            Self::Owner { found, expected } => CreateError::Owner { name, found, expected },
            Self::System(what, why) => CreateError::System { name, what, why },
        }
    }

    fn replace(self, name: &ChannelName) -> CreateError {
        match self {
            Self::Owner { found, expected } => CreateError::Irreplaceable { name: name.clone(), found, expected },
            why => why.create(name),
        }
    }

    fn open(self, name: &ChannelName) -> OpenError {
        let name = name.clone();
        match self {
            Self::Header(why) => OpenError::Unusable { name, why },
            Self::Owner { found, expected } => OpenError::Owner { name, found, expected },
            Self::System(what, why) => OpenError::System { name, what, why },
        }
    }

    fn unlink(self, name: &ChannelName) -> UnlinkError {
        let name = name.clone();
        match self {
            Self::Header(_) => UnlinkError::NotAChannel { name },
            Self::Owner { found, expected } => UnlinkError::Owner { name, found, expected },
            Self::System(what, why) => UnlinkError::System { name, what, why },
        }
    }
}

/// Reads and checks the header.
fn read_checked(file: &File) -> Result<(Header, Layout), Refusal> {
    let stat = rustix::fs::fstat(file).map_err(|why| Refusal::System("look at segment", why))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refusal::Header(HeaderError::NotAChannel));
    }
    let size = stat.st_size as u64;
    let header = read_header(file.as_fd()).map_err(|why| Refusal::System("read segment", why))?;
    let short = HeaderError::Size { found: size, expected: size_of::<Header>() as u64 };
    let header = header.ok_or(Refusal::Header(short))?;
    let layout = header.layout(size).map_err(Refusal::Header)?;
    // Whoever touches a part that has no memory gets some, or is killed where there is none left. A creator reserves all.
    let found = stat.st_blocks as u64 * 512;
    if found < size {
        return Err(Refusal::Header(HeaderError::Holes { found, expected: size }));
    }
    Ok((header, layout))
}

/// Whether the file begins as every segment does, whatever is wrong with the rest of it.
fn has_magic(file: &File) -> bool {
    let mut start = [0; MAGIC.len()];
    rustix::io::pread(file, &mut start, 0) == Ok(start.len()) && start == MAGIC
}

fn check_owner(file: &File) -> Result<(), Refusal> {
    let found = rustix::fs::fstat(file).map_err(|why| Refusal::System("look at segment", why))?.st_uid;
    let expected = rustix::process::geteuid().as_raw();
    if found == expected { Ok(()) } else { Err(Refusal::Owner { found, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_an_error_with_both_numbers() {
        let name = ChannelName::new(&format!("test-{}", std::process::id()), "space").unwrap();
        // A pebibyte.
        let of = ChannelType { payload_size: 1 << 50, ..ChannelType::new("test", &[], "", 8, 8).unwrap() };
        let error = Segment::create(&name, &of, &Options::new()).unwrap_err();
        let CreateError::NoSpace { needs, free, .. } = error else { panic!("{error}") };
        assert!(needs > 6 << 50 && free < 1 << 50, "needs {needs}, free {free}");
        assert!(open_file(&name, OFlags::RDWR, false).unwrap().is_none(), "nothing is left");
    }
}
