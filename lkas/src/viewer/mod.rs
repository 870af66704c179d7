//! The viewer: a web page that shows the video with the lanes of that very frame, telemetry, and a slider for each
//! parameter.
//!
//! It is a viewer like any other to the broker, and a small web server to browsers. A browser that is slow, gone or
//! hostile costs the system nothing: frames it can't take are dropped here, and what it sends is checked here.
//!
//! ```no_run
//! use core::sync::atomic::AtomicBool;
//! use lkas::viewer::{ViewerOptions, run};
//!
//! static STOP: AtomicBool = AtomicBool::new(false);
//! run(&ViewerOptions::default(), &STOP)?; // until somebody sets STOP
//! # Ok::<(), lkas::viewer::ViewerError>(())
//! ```
//!
//! | file | question |
//! |---|---|
//! | `server.rs` | what is served, to whom, and in which form? |
//! | `session.rs` | what does one browser get, and when? |
//! | `requests.rs` | what may a browser ask for? |
//! | `link.rs` | how does it get to the broker and back? |
//! | `hub.rs` | where do the two sides meet? |
//! | `events.rs` | what happened lately? |
//! | `itself.rs` | what does it say of itself? |
//! | `page/` | what does a person see? |

mod events;
pub(crate) mod hub;
mod itself;
mod link;
pub(crate) mod requests;
mod server;
mod session;

use crate::notify::Notify;
use core::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use hub::Hub;
use itself::Itself;
use lkas_shm::ChannelName;
use lkas_zmq::{ConnectError, Endpoint, Topic, ViewerClient};
use std::{
    fs::File,
    io::{self, Read},
    net::TcpListener,
    sync::{Arc, mpsc},
    thread,
};

/// How often the stop flag is looked at.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// Commands that may wait for the link's next look, which is some milliseconds away.
const COMMANDS: usize = 64;

/// Where the viewer listens and where it finds the broker.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// The address for browsers. Anything but loopback lets everybody in that network steer the vehicle.
    pub address: IpAddr,
    /// The port for browsers; 0 for any that is free.
    pub port: u16,
    /// The broker.
    pub broker: Endpoint,
    /// The channel for its status on this machine; none for a viewer that publishes none.
    pub status: Option<ChannelName>,
    /// Whether systemd is told how the viewer is, where that started this process (sd_notify(3)).
    pub notify: bool,
}

impl Default for ViewerOptions {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 8080,
            broker: Endpoint::default(),
            status: None,
            notify: false,
        }
    }
}

/// Why the viewer can't run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ViewerError {
    /// The address and port for browsers can't be had.
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The broker's address is not usable.
    Connect(ConnectError),
    /// The server could not start or failed.
    Serve(io::Error),
}

impl fmt::Display for ViewerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, source } => {
                write!(f, "port {} on {} can't be opened: {source}; ", address.port(), address.ip())?;
                f.write_str(match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program has it, perhaps another viewer: stop that or choose another port"
                    }
                    io::ErrorKind::PermissionDenied => "choose a port from 1024 on",
                    io::ErrorKind::AddrNotAvailable => "choose an address that this computer has, such as 127.0.0.1",
                    _ => "choose another address or port",
                })
            }
            Self::Connect(source) => source.fmt(f),
            Self::Serve(source) => write!(f, "the web server failed: {source}"),
        }
    }
}

impl Error for ViewerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Bind { source, .. } | Self::Serve(source) => Some(source),
            Self::Connect(source) => Some(source),
        }
    }
}

/// A viewer whose port is open and which serves nobody yet.
#[derive(Debug)]
#[must_use = "browsers wait until `run` is called"]
pub struct Viewer {
    listener: TcpListener,
    address: SocketAddr,
    broker: Endpoint,
    status: Option<ChannelName>,
    notify: bool,
    token: String,
}

impl Viewer {
    /// Opens the port for browsers.
    ///
    /// # Errors
    /// The port is in use or may not be used; the error says which port it was and what to do.
    pub fn bind(options: &ViewerOptions) -> Result<Self, ViewerError> {
        let address = SocketAddr::new(options.address, options.port);
        let open = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = open().map_err(|source| ViewerError::Bind { address, source })?;
        let token = token().map_err(ViewerError::Serve)?;
        let ViewerOptions { broker, status, notify, .. } = options.clone();
        Ok(Self { listener, address, broker, status, notify, token })
    }

    /// What a program that is no browser shows in order to command: `Authorization: Bearer TOKEN` in its request for the
    /// WebSocket, or `?token=TOKEN` at the end of the address of Foxglove's. Another one for each viewer.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The address for browsers, with the port that was found where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves browsers until `stop` is true; takes half a second at most to say goodbye to them.
    ///
    /// A broker that is not there, or leaves, is no error: the page says so, and the link waits for it.
    ///
    /// # Errors
    /// The web server can't start, or fails.
    pub fn run(self, stop: &AtomicBool) -> Result<(), ViewerError> {
        let (page, token) = (self.address, &self.token);
        tracing::info!(target: crate::log::NEEDED, "the page is on http://{page}; the token for programs is {token}");
        let (sender, commands) = mpsc::sync_channel(COMMANDS);
        let hub = Arc::new(Hub::new(self.broker.to_string(), sender));
        let topics: Vec<Topic> =
            Topic::ALL.into_iter().filter(|topic| *topic != Topic::Frame && !topic.is_typed()).collect();
        let client = ViewerClient::connect_to(&self.broker, &topics).map_err(ViewerError::Connect)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(ViewerError::Serve)?;
        let notify = if self.notify { Notify::from_environment(false) } else { Notify::default() };
        let itself = Itself::new(self.status, notify, &self.broker.to_string());
        thread::scope(|scope| {
            let for_link = Arc::clone(&hub);
            scope.spawn(move || link::run(client, &for_link, &commands));
            let result = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                tokio::select! {
                    result = server::serve(listener, Arc::clone(&hub), &self.token) => result,
                    never = watch(stop, &hub, itself) => match never {},
                }
            });
            // However the server ended, the link must end too, or the scope would wait for it for ever.
            hub.stop();
            result.map_err(ViewerError::Serve)
        })
    }
}

/// 128 random bits in hexadecimal.
fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Stops the hub when `stop` is true, and says until then how the viewer is.
async fn watch(stop: &AtomicBool, hub: &Hub, mut itself: Itself) -> core::convert::Infallible {
    let mut interval = tokio::time::interval(STOP_INTERVAL);
    loop {
        interval.tick().await;
        // ORDERING: Relaxed, a flag that carries no data; that it is seen some milliseconds later does no harm.
        if stop.load(Ordering::Relaxed) {
            hub.stop();
        }
        itself.say(hub);
    }
}

/// [`Viewer::bind`] and [`Viewer::run`] in one.
///
/// # Errors
/// As those two.
pub fn run(options: &ViewerOptions, stop: &AtomicBool) -> Result<(), ViewerError> {
    Viewer::bind(options)?.run(stop)
}
