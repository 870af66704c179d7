//! What the programs have in common on their command lines.

use crate::log::LogOptions;
use crate::network::NetworkOptions;
use crate::signals::{LANE, MOTION, TRUTH};
use clap::Args;
use core::time::Duration;
use lkas_shm::{ChannelName, ChannelNameError, Contract};
use lkas_zmq::Endpoint;

/// Where the parts of one system find each other.
#[derive(Args, Clone, Debug)]
pub struct SystemOptions {
    /// Prefix of all shared-memory names, so that two systems on one machine don't meet
    #[arg(long, default_value = "", global = true, value_name = "NAME")]
    pub namespace: String,
    /// Shared-memory name of the camera's frames
    #[arg(long, default_value = "camera_feed", global = true, value_name = "NAME")]
    pub camera: String,
    /// Shared-memory name of the detections
    #[arg(long, default_value = "lane_detection", global = true, value_name = "NAME")]
    pub detections: String,
    /// Shared-memory name of the controls
    #[arg(long, default_value = "vehicle_control", global = true, value_name = "NAME")]
    pub controls: String,
    /// First of the broker's six ports
    #[arg(long, default_value_t = 5557, global = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65530))]
    pub broker_port: u16,
    /// Where the broker is, and who may reach it
    #[command(flatten)]
    pub network: NetworkOptions,
    /// How the camera is mounted: a file from `lkas calibrate`
    #[arg(long, global = true, value_name = "FILE")]
    pub mounting: Option<std::path::PathBuf>,
    /// How much is said, and in which form
    #[command(flatten)]
    pub log: LogOptions,
    /// End when the process that started this one ends
    #[arg(long, hide = true, global = true)]
    pub supervised: bool,
}

/// What the servers promise of their channels: they keep up with a camera of 20 frames a second or more. The vehicle
/// stops when controls grow older than that.
pub const SERVERS: Contract = match Contract::new(Duration::from_millis(100), Duration::from_millis(250)) {
    Ok(contract) => contract,
    Err(_) => panic!("times that are no contract"),
};

/// The processes of a system that publish a status.
pub const PROCESSES: [&str; 4] = ["simulation", "detection", "decision", "broker"];

impl SystemOptions {
    fn name(&self, name: &str) -> Result<ChannelName, ChannelNameError> {
        ChannelName::new(&self.namespace, name)
    }

    /// The channel of the camera's frames.
    ///
    /// # Errors
    /// The name is not usable.
    pub fn camera_channel(&self) -> Result<ChannelName, ChannelNameError> {
        self.name(&self.camera)
    }

    /// The channel of the detections.
    ///
    /// # Errors
    /// The name is not usable.
    pub fn detection_channel(&self) -> Result<ChannelName, ChannelNameError> {
        self.name(&self.detections)
    }

    /// The channel of the controls.
    ///
    /// # Errors
    /// The name is not usable.
    pub fn control_channel(&self) -> Result<ChannelName, ChannelNameError> {
        self.name(&self.controls)
    }

    /// The channel on which `process` publishes its status.
    ///
    /// # Errors
    /// The name is not usable.
    pub fn status_channel(&self, process: &str) -> Result<ChannelName, ChannelNameError> {
        self.name(&format!("status_{process}"))
    }

    /// The channel of one of the system's own [`signals`](crate::signals).
    ///
    /// # Errors
    /// The name is not usable.
    pub fn signal_channel(&self, signal: &str) -> Result<ChannelName, ChannelNameError> {
        self.name(signal)
    }

    /// Every channel of the system.
    ///
    /// # Errors
    /// A name is not usable.
    pub fn all_channels(&self) -> Result<Vec<ChannelName>, ChannelNameError> {
        let three = [self.camera_channel(), self.detection_channel(), self.control_channel()];
        let signals = [LANE, MOTION, TRUTH].map(|signal| self.signal_channel(signal));
        three.into_iter().chain(PROCESSES.map(|process| self.status_channel(process))).chain(signals).collect()
    }

    /// Where the broker is.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.network.endpoint(self.broker_port)
    }

    /// These options as arguments for a child process.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--namespace", self.namespace.clone()),
            ("--camera", self.camera.clone()),
            ("--detections", self.detections.clone()),
            ("--controls", self.controls.clone()),
            ("--broker-port", self.broker_port.to_string()),
        ];
        let pairs = pairs.into_iter().map(|(option, value)| format!("{option}={value}"));
        // A path that is not UTF-8 can't be an argument here; the detection says that it does not find it.
        let mounting = self.mounting.as_ref().map(|path| format!("--mounting={}", path.to_string_lossy()));
        let network = self.network.arguments();
        pairs.chain(network).chain(mounting).chain(self.log.arguments()).chain(["--supervised".into()]).collect()
    }
}

/// Removes the channels of a system that nobody uses any more; those in use stay.
pub fn remove_channels(options: &SystemOptions) {
    // What is in use belongs to somebody who will remove it.
    for name in options.all_channels().unwrap_or_default() {
        let _ = lkas_shm::unlink(&name);
    }
}
