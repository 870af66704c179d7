//! Segments: created whole, opened checked, removed only when nobody uses them.

use crate::claim::{self, Role};
use crate::clock;
use crate::contract::Contract;
use crate::description::Description;
use crate::error::{CreateError, HeaderError, OpenError, UnlinkError, Warning};
use crate::header::{Header, Spec, total_size};
use crate::mapping::{Mapping, read_header};
use crate::name::ChannelName;
use crate::wait;
use core::ops::RangeInclusive;
use core::time::Duration;
use lkas_core::Layout;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::Gid;
use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use zerocopy::IntoBytes;

/// Where POSIX shared memory lies on Linux: what `shm_open("/name")` opens is this folder's `name`.
pub(crate) const FOLDER: &str = "/dev/shm";

/// Memory of which only a little is touched.
const NO_HURRY: Memory = Memory { prefault: false, lock: false, huge_pages: false };

/// How often a reader that waits for its channel looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a channel is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many readers there can be at a time, 1 to [`MAX_READERS`](lkas_core::MAX_READERS). Each costs one slot.
    pub readers: usize,
    /// Who may open the channel: permission bits of the segment, whatever the umask. A reader has to be able to write to
    /// its mailbox, so it needs permission to read and to write.
    pub mode: u32,
    /// The group of the segment's file, by its number; `None` for this process's own. Useful with a mode like `0o660`.
    pub group: Option<u32>,
    /// What is promised to readers.
    pub contract: Option<Contract>,
    /// How the memory is held.
    pub memory: Memory,
    /// Whether a segment that belongs to another user is taken over. Otherwise it is an error.
    pub foreign_owner: bool,
}

/// How a process holds a channel's memory. What the system refuses is left out and noted in the warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Every page is made present at once, so that nothing faults later.
    pub prefault: bool,
    /// No page is ever moved out of memory (mlock).
    pub lock: bool,
    /// Asks for huge pages: fewer entries of the address translation for pictures. The system has to allow it for shared
    /// memory.
    pub huge_pages: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self { prefault: true, lock: false, huge_pages: false }
    }
}

/// How a channel is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// How long to wait for the channel's writer to create it.
    pub patience: Duration,
    /// How the memory is held.
    pub memory: Memory,
    /// Whether a segment that belongs to another user is opened. Otherwise it is an error.
    pub foreign_owner: bool,
}

impl From<Duration> for OpenOptions {
    fn from(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }
}

impl Default for Options {
    /// Four readers, nobody but the owner, no promise.
    fn default() -> Self {
        Self { readers: 4, mode: 0o600, group: None, contract: None, memory: Memory::default(), foreign_owner: false }
    }
}

/// A segment in which this process has a role, until it is dropped.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) mapping: Mapping,
    pub(crate) shape: [u32; 4],
    pub(crate) payload_size: u64,
    pub(crate) warnings: Vec<Warning>,
    // Closed last: the role ends when nothing of the segment is mapped any more.
    file: OwnedFd,
}

impl Segment {
    /// Creates the channel, or takes it over from a writer that is gone. Over a segment of another shape, that one is
    /// retired, its readers are woken, and a new one takes its name.
    pub(crate) fn create(name: &ChannelName, spec: &Spec, options: Options) -> Result<Self, CreateError> {
        let layout =
            Layout::new(options.readers, spec.payload_size, spec.payload_align).map_err(CreateError::Layout)?;
        let system = |what| move |why| CreateError::System { name: name.clone(), what, why };
        loop {
            let file = open_file(name, OFlags::RDWR, options.foreign_owner).map_err(|why| why.create(name))?;
            let Some(file) = file else {
                match Self::create_new(name, spec, layout, options)? {
                    Some(segment) => return Ok(segment),
                    // Somebody else was faster.
                    None => continue,
                }
            };
            let (header, found) = read_checked(&file).map_err(|why| why.create(name))?;
            if !claim::claim(file.as_fd(), Role::Writer).map_err(system("lock segment"))? {
                let mapping = Mapping::to_look(file.as_fd(), found).map_err(system("map segment"))?;
                return Err(CreateError::HasWriter { name: name.clone(), pid: mapping.live().writer_pid() });
            }
            if !is_linked(&file).map_err(system("look at segment"))? {
                // Removed or replaced between opening and locking.
                continue;
            }
            let mapping = Mapping::new(file.as_fd(), found, true, options.memory).map_err(system("map segment"))?;
            // One that was retired has lost its readers; whoever was about to remove it died. And readers who compare
            // their time with that of another clock must not go on: they compared the clocks when they came.
            let live = mapping.live();
            if header.check(spec, &layout).is_ok() && !live.is_retired() && live.same_clock() {
                mapping.live().set_writer();
                mapping.live().set_contract(options.contract);
                let warnings = mapping.hold(options.memory);
                return Ok(Self { mapping, shape: spec.shape, payload_size: header.payload_size(), warnings, file });
            }
            retire_and_remove(name, &file, &mapping).map_err(|why| match why {
                Refusal::Owner { found, expected } => {
                    CreateError::Irreplaceable { name: name.clone(), found, expected }
                }
                why => why.create(name),
            })?;
        }
    }

    /// A new segment under a new name; `None` if the name is taken by now. The file has no name until all of it is
    /// there, so nobody sees half a segment, and a creator that dies leaves nothing.
    fn create_new(
        name: &ChannelName,
        spec: &Spec,
        layout: Layout,
        options: Options,
    ) -> Result<Option<Self>, CreateError> {
        let system = |what| move |why| CreateError::System { name: name.clone(), what, why };
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = rustix::fs::open(FOLDER, flags, Mode::RUSR | Mode::WUSR).map_err(system("create segment"))?;
        let size = total_size(&layout) as u64;
        let no_space = |free| CreateError::NoSpace { name: name.clone(), needs: size, free };
        let space = rustix::fs::fstatvfs(&file).map_err(system("look at the space for segment"))?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if size > free {
            return Err(no_space(free));
        }
        // Reserves every page, so that a full file system is an error here and not a fault later. Looking first keeps
        // what can never fit from filling the memory on its way to the error.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size).map_err(|why| match why {
            Errno::NOSPC | Errno::FBIG => no_space(free),
            why => system("reserve memory for segment")(why),
        })?;
        if let Some(group) = options.group {
            rustix::fs::fchown(&file, None, Some(Gid::from_raw(group))).map_err(system("set the group of segment"))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(options.mode)).map_err(system("set the mode of segment"))?;
        if !claim::claim(file.as_fd(), Role::Writer).map_err(system("lock segment"))? {
            unreachable_for_others(name)?;
        }
        let mut mapping = Mapping::new(file.as_fd(), layout, true, options.memory).map_err(system("map segment"))?;
        mapping.write_header(&Header::new(spec, &layout));
        mapping.live().set_writer();
        mapping.live().set_contract(options.contract);
        let warnings = mapping.hold(options.memory);
        // An unnamed file gets its name through the descriptor's entry in /proc, as open(2) describes for O_TMPFILE.
        let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, unnamed, CWD, path(name), AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => {
                Ok(Some(Self { mapping, shape: spec.shape, payload_size: spec.payload_size as u64, warnings, file }))
            }
            Err(Errno::EXIST) => Ok(None),
            Err(why) => Err(system("name segment")(why)),
        }
    }

    /// Opens the channel, which must be `wanted` (a type and the sizes of its payloads) where that is given, and takes the
    /// first free reader place, which is returned. Waits up to `patience` for its
    /// writer to create it.
    pub(crate) fn open(
        name: &ChannelName,
        wanted: Option<(Spec, RangeInclusive<usize>)>,
        options: OpenOptions,
    ) -> Result<(Self, usize), OpenError> {
        let start = clock::now();
        let system = |what| move |why| OpenError::System { name: name.clone(), what, why };
        let unusable = |why| OpenError::Unusable { name: name.clone(), why };
        loop {
            let file = open_file(name, OFlags::RDWR, options.foreign_owner).map_err(|why| why.open(name))?;
            if let Some(file) = file {
                let (header, layout) = read_checked(&file).map_err(|why| why.open(name))?;
                if let Some((spec, sizes)) = &wanted {
                    header.check_type(spec, sizes).map_err(unusable)?;
                }
                let place = claim_place(&file, layout.readers()).map_err(system("lock segment"))?;
                if !is_linked(&file).map_err(system("look at segment"))? {
                    // Removed or replaced between opening and claiming.
                    continue;
                }
                let Some(place) = place else {
                    return Err(OpenError::NoPlace { name: name.clone(), places: layout.readers() });
                };
                let mapping =
                    Mapping::new(file.as_fd(), layout, false, options.memory).map_err(system("map segment"))?;
                // One that is being replaced is as good as none.
                if !mapping.live().is_retired() {
                    if !mapping.live().same_clock() {
                        return Err(OpenError::Clock { name: name.clone() });
                    }
                    let warnings = mapping.hold(options.memory);
                    let (shape, payload_size) = (header.shape(), header.payload_size());
                    return Ok((Self { mapping, shape, payload_size, warnings, file }, place));
                }
            }
            let waited = Duration::from_nanos(clock::now().saturating_sub(start));
            let Some(left) = options.patience.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(OpenError::NoSuchChannel { name: name.clone() });
            };
            std::thread::sleep(left.min(LOOK_EVERY));
        }
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
        // A system that can't tell is treated as one without a writer: the safe side for a reader.
        claim::is_taken(self.file.as_fd(), Role::Writer).unwrap_or(false)
    }

    /// Whether the segment still has a name.
    pub(crate) fn is_linked(&self) -> bool {
        // A system that can't tell has not removed it.
        is_linked(&self.file).unwrap_or(true)
    }
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
    let file = open_file(name, OFlags::RDWR, foreign_owner).map_err(|why| why.unlink(name))?;
    let Some(file) = file else { return Ok(()) };
    let (_, layout) = read_checked(&file).map_err(|why| why.unlink(name))?;
    let roles = core::iter::once(Role::Writer).chain((0..layout.readers()).map(Role::Reader));
    for role in roles {
        if !claim::claim(file.as_fd(), role).map_err(system("lock segment"))? {
            return Err(UnlinkError::InUse { name: name.clone() });
        }
    }
    // With all roles in hand nobody can be about to use it; who has opened it already will see that it lost its name.
    if is_linked(&file).map_err(system("look at segment"))? {
        let mapping = Mapping::new(file.as_fd(), layout, true, NO_HURRY).map_err(system("map segment"))?;
        retire_and_remove(name, &file, &mapping).map_err(|why| why.unlink(name))?;
    }
    Ok(())
}

/// The segment's file opened for reading only, its size and its first page, to look on without a role.
pub(crate) fn open_to_look(name: &ChannelName, foreign_owner: bool) -> Result<(OwnedFd, u64, Vec<u8>), OpenError> {
    let system = |what| move |why| OpenError::System { name: name.clone(), what, why };
    let file = open_file(name, OFlags::RDONLY, foreign_owner).map_err(|why| why.open(name))?;
    let file = file.ok_or_else(|| OpenError::NoSuchChannel { name: name.clone() })?;
    let (header, _) = read_checked(&file).map_err(|why| why.open(name))?;
    let size = rustix::fs::fstat(&file).map_err(system("look at segment"))?.st_size as u64;
    Ok((file, size, header.as_bytes().to_vec()))
}

fn path(name: &ChannelName) -> String {
    format!("{FOLDER}/{name}")
}

/// Opens the file of that name, if there is one, for `access`. Another user's is refused unless `foreign_owner`.
fn open_file(name: &ChannelName, access: OFlags, foreign_owner: bool) -> Result<Option<OwnedFd>, Refusal> {
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match rustix::fs::open(path(name), flags, Mode::empty()) {
        Ok(file) if foreign_owner => Ok(Some(file)),
        Ok(file) => check_owner(&file).map(|()| Some(file)),
        Err(Errno::NOENT) => Ok(None),
        // A directory, a symbolic link, a socket or a device.
        Err(Errno::ISDIR | Errno::LOOP | Errno::NXIO) => Err(Refusal::Header(HeaderError::NotAChannel)),
        Err(why) => Err(Refusal::System("open segment", why)),
    }
}

/// Retires the segment and removes its name, or leaves it as it is where this process may not remove it.
fn retire_and_remove(name: &ChannelName, file: &OwnedFd, mapping: &Mapping) -> Result<(), Refusal> {
    let refused = |why| match (why, check_owner(file)) {
        // The folder's sticky bit leaves it to the file's owner.
        (Errno::PERM, Err(owner)) => owner,
        (why, _) => Refusal::System("remove segment", why),
    };
    may_remove(name).map_err(refused)?;
    retire(mapping);
    match rustix::fs::unlink(path(name)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(why) => Err(refused(why)),
    }
}

/// Asks the system whether this process may remove the file, by removing a folder of that name: whether it is one, Linux
/// looks at last, after all permissions.
fn may_remove(name: &ChannelName) -> Result<(), Errno> {
    match rustix::fs::rmdir(path(name)) {
        Ok(()) | Err(Errno::NOTDIR | Errno::NOENT) => Ok(()),
        Err(why) => Err(why),
    }
}

/// Says in the segment itself that it is replaced or removed, and wakes whoever sleeps on it.
fn retire(mapping: &Mapping) {
    mapping.live().retire();
    let writer = claim::retiring_writer(mapping);
    let view = writer.view();
    wait::wake(writer.close(), view);
}

fn claim_place(file: &OwnedFd, places: usize) -> Result<Option<usize>, Errno> {
    for place in 0..places {
        if claim::claim(file.as_fd(), Role::Reader(place))? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn is_linked(file: &OwnedFd) -> Result<bool, Errno> {
    rustix::fs::fstat(file).map(|stat| stat.st_nlink > 0)
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
fn read_checked(file: &OwnedFd) -> Result<(Header, Layout), Refusal> {
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

fn check_owner(file: &OwnedFd) -> Result<(), Refusal> {
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
        let payload_size = 1 << 50;
        let spec =
            Spec { type_name: "test", fields: &[], fingerprint: 1, payload_size, payload_align: 8, shape: [0; 4] };
        let error = Segment::create(&name, &spec, Options::default()).unwrap_err();
        let CreateError::NoSpace { needs, free, .. } = error else { panic!("{error}") };
        assert!(needs > 6 << 50 && free < 1 << 50, "needs {needs}, free {free}");
        assert!(open_file(&name, OFlags::RDWR, false).unwrap().is_none(), "nothing is left");
    }
}
