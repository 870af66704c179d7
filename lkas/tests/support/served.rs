//! A viewer between a real broker and whoever connects to it, over real sockets.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use lkas::viewer::{Viewer, ViewerOptions};
use lkas_shm::ChannelName;
use lkas_zmq::{Broker, BrokerOptions, Endpoint};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// Longer than anything takes on a busy machine; a test that waits this long fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// One wait within a loop that has a deadline.
pub const MOMENT: Duration = Duration::from_millis(5);

/// A broker and a viewer of it, on ports of their own.
pub struct System {
    pub broker: Broker,
    pub address: SocketAddr,
    pub token: String,
    /// The channel of the viewer's status.
    pub status: ChannelName,
    stop: Arc<AtomicBool>,
    viewer: Option<JoinHandle<()>>,
}

impl System {
    pub fn start() -> Self {
        // Below the ports that the operating system hands out, and apart from those of other tests.
        let start = 20_000 + (std::process::id() % 1000) as u16 * 6;
        let broker = (start..32_000)
            .step_by(6)
            .find_map(|port| Broker::bind(BrokerOptions::new(Endpoint::local(port))).ok())
            .expect("six free ports in a row");
        let namespace = format!("test-{}-{}", std::process::id(), broker.endpoint().base_port);
        let status = ChannelName::new(&namespace, "status_viewer").unwrap();
        let broker_at = broker.endpoint().clone();
        let options =
            ViewerOptions { port: 0, broker: broker_at, status: Some(status.clone()), ..ViewerOptions::default() };
        let viewer = Viewer::bind(&options).expect("a free port");
        let (address, token) = (viewer.local_addr(), viewer.token().to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let viewer = std::thread::spawn(move || viewer.run(&flag).expect("the viewer runs"));
        Self { broker, address, token, status, stop, viewer: Some(viewer) }
    }

    /// Polls the broker, and `step`, until that returns something.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut step: impl FnMut(&mut Broker) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            self.broker.wait(MOMENT);
            self.broker.poll();
            if let Some(outcome) = step(&mut self.broker) {
                return outcome;
            }
            assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        }
    }

    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(viewer) = self.viewer.take() {
            viewer.join().expect("no panic");
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // Also after a failed assertion: the viewer's panic, if any, has been printed by then.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(viewer) = self.viewer.take() {
            let _ = viewer.join();
        }
        // The viewer as a program removes it with the system's other channels.
        let _ = lkas_shm::unlink(&self.status);
    }
}
