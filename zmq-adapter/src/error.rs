//! What can go wrong, by operation, and why a message was refused.

use crate::keys::KeyError;
use core::{error::Error, fmt};
use lkas_messages::{MessageError, NameError};

/// The largest JSON object, in bytes.
pub const MAX_JSON: usize = 64 * 1024;
/// The largest JPEG, in bytes.
pub const MAX_JPEG: usize = 16 * 1024 * 1024;

/// An [`Endpoint`](crate::wire::Endpoint) is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// The host is empty, overlong or has a character that no host name or address has.
    Host {
        /// The host found.
        found: String,
    },
    /// The six ports from this one on do not all exist.
    Ports {
        /// The base port found.
        base_port: u16,
    },
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { found } => {
                write!(f, "{found:?} is no host, expected a name or an address such as localhost or 127.0.0.1")
            }
            Self::Ports { base_port } => {
                write!(f, "base port {base_port}: six ports are needed from there on; choose one from 1 to 65530")
            }
        }
    }
}

impl Error for AddressError {}

/// A broker could not be set up. Every port that it had bound before is free again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// The endpoint is no address.
    Address(AddressError),
    /// Another program, or another broker, has the port.
    InUse {
        /// The address of the port.
        address: String,
    },
    /// The operating system or ZeroMQ refused it.
    Socket {
        /// The address of the port, empty while preparing sockets.
        address: String,
        /// The reason it gave.
        source: zmq::Error,
    },
    /// Whoever reaches that host could command, and nobody said that this is meant.
    Open {
        /// The host.
        host: String,
    },
    /// The broker's keys can't be used.
    Keys(KeyError),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Open { host } => write!(
                f,
                "commands on {host} would be open to everybody in that network; give keys (--keys), or say that it is \
                 meant to be insecure (--insecure)"
            ),
            Self::Keys(error) => error.fmt(f),
            Self::InUse { address } => write!(
                f,
                "{address}: address in use; end the other broker or choose another base port (six ports in a row)"
            ),
            Self::Socket { address, source } => {
                write!(f, "{address}: {source}; choose a host that this machine has, and ports above 1023")
            }
        }
    }
}

impl Error for BindError {}

impl From<KeyError> for BindError {
    fn from(error: KeyError) -> Self {
        Self::Keys(error)
    }
}

impl From<KeyError> for ConnectError {
    fn from(error: KeyError) -> Self {
        Self::Keys(error)
    }
}

impl From<AddressError> for BindError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// A client could not be set up. That nobody answers is no error: clients connect as soon as there is a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint is no address.
    Address(AddressError),
    /// The operating system or ZeroMQ refused it.
    Socket {
        /// The address to which it should connect, empty while preparing sockets.
        address: String,
        /// The reason it gave.
        source: zmq::Error,
    },
    /// The keys can't be used.
    Keys(KeyError),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Keys(error) => error.fmt(f),
            Self::Socket { address, source } => {
                write!(f, "{address}: {source}; give the host on which the broker runs, not a wildcard")
            }
        }
    }
}

impl Error for ConnectError {}

impl From<AddressError> for ConnectError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// Nothing can be received any more: the socket itself failed. Malformed messages are counted instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveError {
    /// The reason that ZeroMQ gave.
    pub source: zmq::Error,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "receiving failed: {}; build the client anew", self.source)
    }
}

impl Error for ReceiveError {}

/// A command was neither sent nor kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The name or the number is not one that the broker would accept.
    Refused(Refusal),
    /// The broker was there and is not now: what is asked for in an outage is not done after it.
    Outage,
    /// The broker does not listen, and as many actions as are kept are waiting for it.
    Full {
        /// How many there are.
        kept: usize,
    },
    /// The socket itself failed.
    Socket(zmq::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Outage => write!(f, "the link to the broker is down: not sent, and not done later; ask again"),
            Self::Full { kept } => {
                write!(f, "the broker does not listen and {kept} actions wait for it already; start the broker")
            }
            Self::Socket(error) => write!(f, "sending failed: {error}; build the client anew"),
        }
    }
}

impl Error for SendError {}

/// Why a message was not accepted, or not sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// Not the number of parts that its topic has.
    Parts {
        /// How many there are; more than four count as four.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A topic that does not belong on this port.
    Topic {
        /// The topic, shortened and with odd bytes replaced.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A JSON object larger than [`MAX_JSON`].
    LargeObject {
        /// Its size in bytes.
        size: usize,
    },
    /// A picture larger than [`MAX_JPEG`].
    LargePicture {
        /// Its size in bytes.
        size: usize,
    },
    /// The picture has not the size that its header states.
    PictureSize {
        /// The size in bytes that the header states.
        stated: u64,
        /// The size in bytes that it has.
        found: usize,
    },
    /// NaN or an infinity, as bare words or in a field.
    NotFinite,
    /// No JSON at all.
    NotJson {
        /// What the parser says.
        why: String,
    },
    /// JSON, but no object.
    NotAnObject,
    /// A key is missing.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key has a value of the wrong kind.
    WrongKind {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A name is malformed or unknown.
    Name(NameError),
    /// A command that was given so long ago that whoever did may not mean it any more.
    Expired {
        /// The action or the parameter.
        action: String,
        /// How long ago, in seconds.
        age_s: f64,
    },
    /// An action that is well-formed, but was not registered.
    UnknownAction {
        /// Its name.
        action: String,
    },
    /// A parameter of a category that no server declares or is subscribed to.
    NoServer {
        /// The category.
        category: String,
    },
    /// A parameter that its server does not declare.
    NotDeclared {
        /// The parameter.
        parameter: String,
        /// Those that the server declares.
        declared: String,
    },
    /// A newer value of the same parameter came before this one was applied.
    Replaced,
    /// More parameters are remembered already than there should be.
    TooManyParameters,
    /// Somebody else has the lease for commands.
    Leased {
        /// Who has it.
        holder: String,
        /// For how long it lasts without being renewed, in seconds.
        for_s: f64,
    },
    /// The peer may watch, not command; or its key was taken from the list.
    NotAllowed,
    /// A vehicle status from a second connection less than a second after the first one spoke.
    SecondVehicle,
    /// A message could not be built from the numbers given.
    Message(MessageError),
    /// The socket did not take it.
    Socket(zmq::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts { found, expected } => write!(f, "a message of {found} parts, expected {expected}"),
            Self::Topic { found, expected } => write!(f, "topic {found:?}, expected {expected}"),
            Self::LargeObject { size } => write!(f, "an object of {size} bytes, expected at most {MAX_JSON}"),
            Self::LargePicture { size } => write!(f, "a picture of {size} bytes, expected at most {MAX_JPEG}"),
            Self::PictureSize { stated, found } => {
                write!(f, "a picture of {found} bytes, but its header states {stated}")
            }
            Self::NotFinite => write!(f, "NaN or an infinity, expected finite numbers"),
            Self::NotJson { why } => write!(f, "no JSON: {why}"),
            Self::NotAnObject => write!(f, "JSON, but no object"),
            Self::Missing { key } => write!(f, "\"{key}\" is missing"),
            Self::WrongKind { key, expected } => write!(f, "\"{key}\" is not {expected}"),
            Self::Name(error) => error.fmt(f),
            Self::Expired { action, age_s } => {
                write!(f, "{action} was asked for {age_s:.1} s ago, which is too long to do it now; ask again")
            }
            Self::NoServer { category } => {
                write!(f, "no server has parameters of \"{category}\"; start it, or look at the category's name")
            }
            Self::NotDeclared { parameter, declared } => {
                write!(f, "\"{parameter}\" is no parameter of this server; it has {declared}")
            }
            Self::Replaced => write!(f, "replaced by a newer value before it was applied"),
            Self::TooManyParameters => write!(f, "too many different parameters; restart the broker if they are right"),
            Self::Leased { holder, for_s } => {
                write!(f, "{holder} has the lease for commands for another {for_s:.1} s; take it over, or wait")
            }
            Self::NotAllowed => write!(f, "this key may not command; put it on the list of those that may"),
            Self::SecondVehicle => write!(
                f,
                "another connection sent the vehicle's status within the last second; if both are still there, end one"
            ),
            Self::UnknownAction { action } => write!(f, "nobody registered the action \"{action}\""),
            Self::Message(error) => error.fmt(f),
            Self::Socket(error) => write!(f, "the socket did not take it: {error}"),
        }
    }
}

impl Error for Refusal {}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<MessageError> for Refusal {
    fn from(error: MessageError) -> Self {
        Self::Message(error)
    }
}
