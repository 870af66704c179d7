//! What systemd is told of a service: that it is ready, what it does, and that it is alive (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Between two times that the status is told.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// The manager that started this process, if it wants to know.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    ready: bool,
    /// How often to say that this process is alive.
    alive_every: Option<Duration>,
    alive_due: Option<Instant>,
    status: String,
    status_due: Option<Instant>,
}

impl Notify {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Nothing is told where the first is not
    /// there, nor by a process that another one of this system started.
    #[must_use]
    pub fn from_environment(is_child: bool) -> Self {
        let variable = |name| std::env::var(name).ok();
        let socket = variable("NOTIFY_SOCKET").filter(|_| !is_child).and_then(|path| match connect(&path) {
            Ok(socket) => Some(socket),
            Err(why) => {
                tracing::warn!("NOTIFY_SOCKET {path}: {why}; systemd is told nothing");
                None
            }
        });
        let is_mine = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let limit = variable("WATCHDOG_USEC").filter(|_| is_mine).and_then(|limit| limit.parse().ok());
        // Three times before the limit: one may come late.
        let alive_every = limit.map(|limit| Duration::from_micros(limit) / 3);
        let mut notify = Self::default();
        (notify.socket, notify.alive_every) = (socket, alive_every);
        notify
    }

    /// Tells what is due: READY once where `ready` says so, WATCHDOG, and STATUS where it is another one. To be called
    /// from the loop that has to be alive. Never waits.
    pub fn tell(&mut self, ready: bool, status: impl FnOnce() -> String) {
        if self.socket.is_none() {
            return;
        }
        let now = Instant::now();
        if ready && !self.ready {
            self.ready = true;
            self.send("READY=1");
        }
        if let Some(every) = self.alive_every
            && self.alive_due.is_none_or(|due| now >= due)
        {
            self.alive_due = Some(now + every);
            self.send("WATCHDOG=1");
        }
        if self.status_due.is_none_or(|due| now >= due) {
            self.status_due = Some(now + STATUS_EVERY);
            let status = status().replace('\n', " ");
            if status != self.status {
                self.send(&format!("STATUS={status}"));
                self.status = status;
            }
        }
    }

    fn send(&self, words: &str) {
        if let Some(socket) = &self.socket {
            // A manager that does not listen misses it.
            let _ = socket.send(words.as_bytes());
        }
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.send("STOPPING=1");
    }
}

fn connect(path: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match path.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(path)?,
    }
    Ok(socket)
}
