//! Keys for networks: who may watch, who may command, and how a broker is known to be the right one.
//!
//! They are CURVE keys in certificate files as pyzmq's `zmq.auth` reads and writes them: `NAME.key` with the public key, to
//! be given to others, and `NAME.key_secret` with both, for its owner alone. A broker has a folder with its own
//! `broker.key_secret`, and the public keys of those who may in `watch/` and `command/`; who may command may watch. The
//! folders are read again once a second: a key that is put there or taken away counts from then on.
//!
//! libzmq must be built with CURVE. The one that the crate `zmq` builds is not; see [`KeyError::NoCurve`].

use core::{error::Error, fmt};
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No certificate is larger, in bytes.
const MOST: u64 = 1 << 16;

/// The text of a certificate. What is no file is refused: a pipe would be waited for.
fn text_of(path: &Path) -> io::Result<(String, u32)> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok((text, metadata.mode() & 0o777))
}

/// Why keys can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// libzmq was built without CURVE.
    NoCurve,
    /// The file can't be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        kind: io::ErrorKind,
    },
    /// The file is no certificate, or has not the key that is needed.
    Missing {
        /// The file.
        path: PathBuf,
        /// The key that is not there.
        key: &'static str,
    },
    /// A secret that others can read.
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCurve => f.write_str(
                "libzmq is built without CURVE; add to the workspace: [patch.crates-io] zmq-sys = { path = \
                 \"zmq-adapter/zmq-sys\" }, a folder of this project",
            ),
            Self::File { path, kind } => write!(f, "{}: {kind}", path.display()),
            Self::Missing { path, key } => {
                write!(f, "{} has no {key} of 40 characters; make one with `lkas keygen`", path.display())
            }
            Self::Readable { path, mode } => {
                write!(f, "{} has mode {mode:o}, so that others can read the secret; chmod 600", path.display())
            }
        }
    }
}

impl Error for KeyError {}

/// Whether libzmq is built with CURVE.
///
/// # Errors
/// [`KeyError::NoCurve`] where it is not.
pub fn check_curve() -> Result<(), KeyError> {
    if zmq::has("curve") == Some(true) { Ok(()) } else { Err(KeyError::NoCurve) }
}

/// A public key, and the secret one where its owner has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    public: String,
    secret: Option<String>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret is nobody's business.
        f.debug_struct("Certificate").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Certificate {
    /// A new pair of keys.
    ///
    /// # Errors
    /// [`KeyError::NoCurve`].
    pub fn generate() -> Result<Self, KeyError> {
        check_curve()?;
        let pair = zmq::CurveKeyPair::new().map_err(|_| KeyError::NoCurve)?;
        // 32 bytes can always be written so.
        let text = |key: &[u8]| zmq::z85_encode(key).map_err(|_| KeyError::NoCurve);
        Ok(Self { public: text(&pair.public_key)?, secret: Some(text(&pair.secret_key)?) })
    }

    /// The keys in a file; one with a secret may be read by its owner alone.
    ///
    /// # Errors
    /// The file can't be read, is no certificate, or has a secret that others can read.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let file = |error: io::Error| KeyError::File { path: path.to_owned(), kind: error.kind() };
        let (text, mode) = text_of(path).map_err(file)?;
        let key = |name: &str| {
            let values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.split_once('='));
            let mut keys = values.map(|(_, value)| value.trim_matches([' ', '\t', '\'', '"']).to_owned());
            keys.find(|key| zmq::z85_decode(key).is_ok_and(|key| key.len() == 32))
        };
        let missing = KeyError::Missing { path: path.to_owned(), key: "public-key" };
        let certificate = Self { public: key("public-key").ok_or(missing)?, secret: key("secret-key") };
        if certificate.secret.is_some() && mode & 0o077 != 0 {
            return Err(KeyError::Readable { path: path.to_owned(), mode });
        }
        Ok(certificate)
    }

    /// Writes `NAME.key` and `NAME.key_secret` into a folder, the latter for its owner alone. What is there is not
    /// replaced. Returns both paths.
    ///
    /// # Errors
    /// A file is there already or can't be written, or there is no secret.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(PathBuf, PathBuf), KeyError> {
        let (public, secret) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.key_secret")));
        let own = self.secret.as_ref();
        let own = own.ok_or_else(|| KeyError::Missing { path: secret.clone(), key: "secret-key" })?;
        let write = |path: &Path, mode, words: &str, keys: String| {
            let text = format!("#   {words}\n\nmetadata\ncurve\n{keys}");
            let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            let written = open.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|error| KeyError::File { path: path.to_owned(), kind: error.kind() })
        };
        let keys = format!("    public-key = \"{}\"\n", self.public);
        let both = format!("{keys}    secret-key = \"{own}\"\n");
        write(&secret, 0o600, "ZeroMQ CURVE **Secret** Certificate: for its owner alone", both)?;
        write(&public, 0o644, "ZeroMQ CURVE Public Certificate: to be given to others", keys)?;
        Ok((public, secret))
    }

    /// The public key, in the 40 characters of Z85.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    fn apply(&self, socket: &zmq::Socket, path: &Path) -> Result<(), KeyError> {
        let secret = self.secret.as_ref();
        let secret = secret.ok_or_else(|| KeyError::Missing { path: path.to_owned(), key: "secret-key" })?;
        socket.set_curve_publickey(self.public.as_bytes()).map_err(|_| KeyError::NoCurve)?;
        socket.set_curve_secretkey(secret.as_bytes()).map_err(|_| KeyError::NoCurve)
    }
}

/// With which keys a client asks a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKeys {
    /// The client's own certificate, with its secret.
    pub own: PathBuf,
    /// The broker's public certificate.
    pub broker: PathBuf,
}

impl ClientKeys {
    pub(crate) fn apply(&self, socket: &zmq::Socket) -> Result<(), KeyError> {
        check_curve()?;
        Certificate::read(&self.own)?.apply(socket, &self.own)?;
        let broker = Certificate::read(&self.broker)?;
        socket.set_curve_serverkey(broker.public.as_bytes()).map_err(|_| KeyError::NoCurve)
    }
}

/// Where a broker's keys are: a folder with `broker.key_secret`, `watch/` and `command/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerKeys {
    folder: PathBuf,
}

impl BrokerKeys {
    /// The keys in that folder, which need not be there yet.
    #[must_use]
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The broker's own.
    pub(crate) fn own(&self) -> Result<Certificate, KeyError> {
        check_curve()?;
        let path = self.folder.join("broker.key_secret");
        let own = Certificate::read(&path)?;
        if own.secret.is_some() { Ok(own) } else { Err(KeyError::Missing { path, key: "secret-key" }) }
    }

    /// What is wrong with the files: each that is no key and so lets nobody in.
    ///
    /// # Errors
    /// The broker can't use its own keys, and so can't start.
    pub fn check(&self) -> Result<Vec<KeyError>, KeyError> {
        self.own()?;
        let of_role = |role| self.read_all(role).filter_map(Result::err);
        Ok(["watch", "command"].into_iter().flat_map(of_role).collect())
    }

    /// The keys of those who may `role`.
    fn read_all(&self, role: &str) -> impl Iterator<Item = Result<Certificate, KeyError>> + use<> {
        let files = fs::read_dir(self.folder.join(role)).into_iter().flatten().flatten().map(|file| file.path());
        files.filter(|path| path.extension().is_some_and(|kind| kind == "key")).map(|path| Certificate::read(&path))
    }

    /// Makes a socket one that asks for keys, for those of `domain`.
    pub(crate) fn apply(&self, socket: &zmq::Socket, domain: &str) -> Result<(), KeyError> {
        self.own()?.apply(socket, &self.folder.join("broker.key_secret"))?;
        socket.set_curve_server(true).map_err(|_| KeyError::NoCurve)?;
        socket.set_zap_domain(domain).map_err(|_| KeyError::NoCurve)
    }

    /// Who may what now. A file that is no certificate lets nobody in.
    pub(crate) fn allowed(&self) -> Allowed {
        let keys = |role| self.read_all(role).flatten().map(|certificate| certificate.public).collect();
        Allowed { watch: keys("watch"), command: keys("command") }
    }
}

/// The public keys of those who may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    watch: BTreeSet<String>,
    command: BTreeSet<String>,
}

impl Allowed {
    pub(crate) fn may_watch(&self, key: &str) -> bool {
        self.watch.contains(key) || self.may_command(key)
    }

    pub(crate) fn may_command(&self, key: &str) -> bool {
        self.command.contains(key)
    }

    /// Whether somebody who could watch now can't, and whether somebody who could command can't.
    pub(crate) fn lost(&self, now: &Self) -> (bool, bool) {
        let watchers = self.watch.iter().chain(&self.command).any(|key| !now.may_watch(key));
        (watchers, self.command.iter().any(|key| !now.may_command(key)))
    }
}
