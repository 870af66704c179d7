//! Mirrors in threads, and the names of a test.
#![allow(dead_code)] // not every test needs all of it

use lkas_messages::{Control, ControlFields, Mode};
use lkas_mirror::{Export, Failure, Mirror, MirrorStatus, Mirrored, Network};
use lkas_shm::{Channel, ChannelName, clock};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A machine as busy as can be gets its time.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A mirror in a thread, until it is dropped.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

impl Running {
    pub(crate) fn start(mirror: Mirror) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        Self { stop, thread: Some(std::thread::spawn(move || mirror.run(&flag))) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Ok(ended) = thread.join()
        {
            ended.unwrap();
        }
    }
}

/// The names of one test, whose channels are removed at its end.
pub(crate) struct Test {
    name: &'static str,
    pub(crate) port: u16,
}

impl Test {
    pub(crate) fn new(name: &'static str) -> Self {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let test = Self { name, port };
        // Once, before any mirror reads it.
        std::fs::write(test.patient(), "{ transport: { link: { tx: { lease: 20000 } } } }").unwrap();
        test
    }

    pub(crate) fn namespace(&self, side: &str) -> String {
        format!("mirror-{}-{}-{side}", std::process::id(), self.name)
    }

    pub(crate) fn channel(&self, side: &str, name: &str) -> ChannelName {
        ChannelName::new(&self.namespace(side), name).unwrap()
    }

    pub(crate) fn endpoint(&self) -> Vec<String> {
        vec![format!("tcp/127.0.0.1:{}", self.port)]
    }

    /// On a machine as busy as can be nobody is gone because of a second's silence.
    fn patient(&self) -> PathBuf {
        std::env::temp_dir().join(self.namespace("patient.json5"))
    }

    /// The mirror in the middle.
    pub(crate) fn listens(&self, side: &str) -> Mirror {
        let network = Network { listen: self.endpoint(), zenoh: Some(self.patient()), ..Network::default() };
        Mirror { network, namespace: self.namespace(side), ..Mirror::default() }
    }

    pub(crate) fn connects(&self, side: &str) -> Mirror {
        let network = Network { connect: self.endpoint(), zenoh: Some(self.patient()), ..Network::default() };
        Mirror { network, namespace: self.namespace(side), ..Mirror::default() }
    }

    pub(crate) fn figures(&self, side: &str, channel: &str) -> Option<Mirrored> {
        let status = self.channel(side, "mirror_status");
        let mut reader = Channel::<MirrorStatus>::open(&status, Duration::ZERO).ok()?;
        let status = *reader.latest()?;
        status.channels.into_iter().find(|one| one.name.as_str() == channel)
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.patient());
        for name in lkas_shm::channels().unwrap_or_default() {
            if name.as_str().starts_with(&self.namespace("")) {
                let _ = lkas_shm::unlink(&name);
            }
        }
    }
}

pub(crate) fn exports(names: &[&str]) -> Vec<Export> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < LONG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn control(frame_id: u64) -> Control {
    let timestamp = clock::now_seconds();
    let fields = ControlFields { mode: Mode::LaneKeeping, steering: 0.25, frame_id, timestamp, ..Default::default() };
    Control::try_from(fields).unwrap()
}
