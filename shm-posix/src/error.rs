//! What can go wrong, in words that say what to do about it.

use crate::limits::Limit;
use crate::name::ChannelName;
use core::fmt;
use lkas_core::{LayoutError, MAX_DESCRIPTION, MAX_TYPE_NAME};
use rustix::io::Errno;

/// A type that is only known at run time can't be that of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TypeError {
    /// The type's name is empty, too long, or has a space, a comma or a control character in it.
    Name {
        /// The name given.
        found: String,
    },
    /// A field can't be described, or is not inside of the value.
    Field {
        /// The line that would describe it.
        line: String,
    },
    /// The description of all fields is too long.
    TooLong {
        /// Its bytes.
        found: usize,
    },
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { found } => write!(
                f,
                "\"{}\" is no name of a type; expected 1 to {MAX_TYPE_NAME} bytes without spaces and commas",
                found.escape_debug()
            ),
            Self::Field { line } => write!(
                f,
                "the field \"{}\" can't be described; expected a name without spaces and commas, and a place inside of the \
                 value",
                line.escape_debug()
            ),
            Self::TooLong { found } => write!(
                f,
                "the description of the fields has {found} bytes, expected at most {MAX_DESCRIPTION}; use shorter names, or \
                 arrays of numbers"
            ),
        }
    }
}

impl core::error::Error for TypeError {}

/// A segment's header is not what this reader or writer expects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// The file does not start with a channel's magic number: something else made it.
    NotAChannel,
    /// Made by a version of this library with another layout.
    Version {
        /// The version found.
        found: u32,
        /// The version that this library reads.
        expected: u32,
    },
    /// The file is shorter or longer than its header says.
    Size {
        /// Bytes in the file.
        found: u64,
        /// Bytes that the header, or a header as such, needs.
        expected: u64,
    },
    /// Parts of the file have no memory: it was cut off and stretched again, or copied without its zeroes.
    Holes {
        /// Bytes that have memory.
        found: u64,
        /// Bytes in the file.
        expected: u64,
    },
    /// Numbers in the header contradict each other.
    Damaged {
        /// Which.
        field: &'static str,
        /// The number found.
        found: u64,
    },
    /// A line of the description of fields can't be read, or its field is not inside of the payload.
    Field {
        /// The line found.
        line: String,
    },
    /// The channel carries another type.
    Type {
        /// The name of the type found.
        found: String,
        /// The name of the type expected; the same name means that the type's fields, or its check values, differ.
        expected: String,
    },
    /// The channel's shape, payload size or number of readers is another.
    Shape {
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAChannel => {
                write!(f, "it is not a channel; choose another name, or remove the file from /dev/shm")
            }
            Self::Version { found, expected } => {
                write!(f, "its layout has version {found}, expected {expected}; use the same release on both sides")
            }
            Self::Size { found, expected } => {
                write!(
                    f,
                    "it has {found} bytes, expected {expected}; remove it from /dev/shm and start its writer again"
                )
            }
            Self::Holes { found, expected } => write!(
                f,
                "only {found} of its {expected} bytes have memory; remove it from /dev/shm and start its writer again"
            ),
            Self::Damaged { field, found } => write!(
                f,
                "its header is damaged ({field} is {found}); remove it from /dev/shm and start its writer again"
            ),
            Self::Field { line } => write!(
                f,
                "its description of fields is damaged (\"{line}\"); remove it from /dev/shm and start its writer again"
            ),
            Self::Type { found, expected } if found == expected => {
                write!(
                    f,
                    "it carries {found} with other fields or check values than expected; use the same release on both sides"
                )
            }
            Self::Type { found, expected } => write!(f, "it carries {found}, expected {expected}; check the names"),
            Self::Shape { found, expected } => write!(f, "it carries {found}, expected {expected}"),
        }
    }
}

impl core::error::Error for HeaderError {}

/// A writer could not create its channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// The channel has a writer that is alive.
    HasWriter {
        /// The channel.
        name: ChannelName,
        /// The process that says it is the writer, by its number in its own PID namespace; 0 where unknown.
        pid: u32,
        /// Whether that is this process's namespace. Otherwise the number means nothing here.
        same_namespace: bool,
    },
    /// A class of users could read the segment and not write to it, or has bits that mean nothing. Whoever can open a
    /// segment takes part in it, and a part without write permission could only be in the way of others.
    Mode {
        /// The mode asked for.
        mode: u32,
    },
    /// The channel lost its name, and another writer has it: this one is retired.
    Retired {
        /// The channel.
        name: ChannelName,
    },
    /// A limit of the system is below what the channel needs.
    Limit {
        /// The channel.
        name: ChannelName,
        /// Bytes needed.
        needs: u64,
        /// Which limit.
        limit: Limit,
        /// Bytes that it allows.
        allows: u64,
    },
    /// The memory file system is too full.
    NoSpace {
        /// The channel.
        name: ChannelName,
        /// Bytes needed.
        needs: u64,
        /// Bytes free.
        free: u64,
    },
    /// There is such a segment, and it can't be taken over.
    Unusable {
        /// The channel.
        name: ChannelName,
        /// Why.
        why: HeaderError,
    },
    /// The segment belongs to another user.
    Owner {
        /// The channel.
        name: ChannelName,
        /// The owner's user id.
        found: u32,
        /// This process's user id.
        expected: u32,
    },
    /// The segment has to be replaced (it has another shape, was retired, or another clock stamped its times), and belongs
    /// to another user, whose files the system does not let this one remove. It is left as it is.
    Irreplaceable {
        /// The channel.
        name: ChannelName,
        /// The owner's user id.
        found: u32,
        /// This process's user id.
        expected: u32,
    },
    /// No such layout is possible.
    Layout(LayoutError),
    /// The operating system refused.
    System {
        /// The channel.
        name: ChannelName,
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        why: Errno,
    },
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HasWriter { name, pid, same_namespace: true } => {
                write!(f, "channel {name} already has a writer, process {pid}; stop it, or choose another name")
            }
            Self::HasWriter { name, .. } => write!(
                f,
                "channel {name} already has a writer, in another PID namespace (a container) or of another release; stop it \
                 there, or choose another name"
            ),
            Self::Retired { name } => {
                write!(f, "this writer of channel {name} is retired: another writer has its name; create it anew")
            }
            Self::Mode { mode } => write!(
                f,
                "a mode of {mode:o}, expected one that lets each class of users read and write, or neither: 600, 660 or \
                 666; readers write to their mailbox"
            ),
            Self::Limit { name, needs, limit, allows } => {
                write!(f, "channel {name} needs {needs} bytes of shared memory, {allows} is {limit}")
            }
            Self::NoSpace { name, needs, free } => write!(
                f,
                "channel {name} needs {needs} bytes of shared memory, {free} are free; remove what is not used from \
                 /dev/shm, or enlarge it"
            ),
            Self::Unusable { name, why } => write!(f, "segment {name} exists and can't be used: {why}"),
            Self::Owner { name, found, expected } => owner(f, name, *found, *expected),
            Self::Irreplaceable { name, found, expected } => write!(
                f,
                "segment {name} has to be replaced and belongs to user {found}, expected {expected}, whom the system does \
                 not let remove it; run as that user, or choose another name"
            ),
            Self::Layout(why) => why.fmt(f),
            Self::System { name, what, why } => system(f, name, what, *why),
        }
    }
}

impl core::error::Error for CreateError {}

/// A reader could not open a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such channel.
    NoSuchChannel {
        /// The channel.
        name: ChannelName,
    },
    /// All reader places that are not reserved are taken.
    NoPlace {
        /// The channel.
        name: ChannelName,
        /// How many there are.
        places: usize,
        /// How many of them are reserved for those who ask by number.
        reserved: usize,
    },
    /// The segment can't be used.
    Unusable {
        /// The channel.
        name: ChannelName,
        /// Why.
        why: HeaderError,
    },
    /// The segment belongs to another user.
    Owner {
        /// The channel.
        name: ChannelName,
        /// The owner's user id.
        found: u32,
        /// This process's user id.
        expected: u32,
    },
    /// The handle was made before this process was forked: it belongs to the process that made it.
    Forked {
        /// The channel.
        name: ChannelName,
    },
    /// The writer runs in another time namespace: its times mean nothing to this process.
    Clock {
        /// The channel.
        name: ChannelName,
    },
    /// The operating system refused.
    System {
        /// The channel.
        name: ChannelName,
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        why: Errno,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchChannel { name } => {
                write!(f, "there is no channel {name}: its writer was not started; start it, or wait longer")
            }
            Self::NoPlace { name, places, reserved } => {
                write!(f, "all {places} reader places of channel {name} are taken")?;
                if *reserved > 0 {
                    write!(f, " ({reserved} of them reserved for who asks by number)")?;
                }
                f.write_str("; stop a reader, or create it with more places")
            }
            Self::Unusable { name, why } => write!(f, "channel {name} can't be used: {why}"),
            Self::Owner { name, found, expected } => owner(f, name, *found, *expected),
            Self::Forked { name } => write!(
                f,
                "the handle of channel {name} belongs to the process that this one was forked from; open it again here"
            ),
            Self::Clock { name } => write!(
                f,
                "the writer of channel {name} is in another time namespace, so that its clock differs; run both in one"
            ),
            Self::System { name, what, why } => system(f, name, what, *why),
        }
    }
}

impl core::error::Error for OpenError {}

/// Something about a channel that its user should know. The channel works all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The system refused an option.
    Refused {
        /// The option.
        option: &'static str,
        /// The system's reason.
        why: Errno,
    },
    /// Some users may read the segment and not write to it: they can't take part, but can lock roles.
    Mode {
        /// The segment's mode.
        mode: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { option, why } => {
                let remedy = match *option {
                    "locked memory" => "raise the limit (ulimit -l), or do without",
                    _ => "set /sys/kernel/mm/transparent_hugepage/shmem_enabled to advise, or do without",
                };
                write!(f, "the system refuses {option}: {why}; {remedy}")
            }
            Self::Mode { mode } => write!(
                f,
                "its mode is {mode:o}: who may read it and not write to it can still lock its roles; chmod it to 600, 660 \
                 or 666"
            ),
        }
    }
}

/// A segment could not be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnlinkError {
    /// A writer or a reader is alive. What is in use is never removed.
    InUse {
        /// The channel.
        name: ChannelName,
    },
    /// The segment belongs to another user, and is left alone.
    Owner {
        /// The channel.
        name: ChannelName,
        /// The owner's user id.
        found: u32,
        /// This process's user id.
        expected: u32,
    },
    /// The file is no channel, so this library did not make it and does not remove it.
    NotAChannel {
        /// The channel.
        name: ChannelName,
    },
    /// The operating system refused.
    System {
        /// The channel.
        name: ChannelName,
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        why: Errno,
    },
}

impl fmt::Display for UnlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { name } => write!(f, "channel {name} is in use; stop its writer and its readers first"),
            Self::Owner { name, found, expected } => {
                write!(f, "segment {name} belongs to user {found}, expected {expected}; run as that user to remove it")
            }
            Self::NotAChannel { name } => write!(f, "{name} in /dev/shm is not a channel; it is left alone"),
            Self::System { name, what, why } => system(f, name, what, *why),
        }
    }
}

impl core::error::Error for UnlinkError {}

fn owner(f: &mut fmt::Formatter<'_>, name: &ChannelName, found: u32, expected: u32) -> fmt::Result {
    write!(f, "segment {name} belongs to user {found}, expected {expected}; run as that user, or choose another name")
}

fn system(f: &mut fmt::Formatter<'_>, name: &ChannelName, what: &str, why: Errno) -> fmt::Result {
    let remedy = match why {
        Errno::ACCESS => "; ask its owner for permission to read and write it, or choose another name",
        Errno::PERM => "; leave it to its owner or to root, or choose another name",
        Errno::ROFS => "; mount /dev/shm writable",
        _ => "",
    };
    write!(f, "can't {what} {name}: {why}{remedy}")
}
