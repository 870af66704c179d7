//! What the programs have in common on their command lines.

use crate::encoding::EncodingOptions;
use crate::log::LogOptions;
use crate::network::NetworkOptions;
use crate::priority::Priority;
use crate::signals::{LANE, MOTION, TRUTH};
use crate::status::StatusWatch;
use clap::Args;
use core::time::Duration;
use lkas_shm::{ChannelName, ChannelNameError, Contract, Observer, Options};
use lkas_zmq::Endpoint;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Where the parts of one system find each other.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every program")]
pub struct SystemOptions {
    /// Number of this system, where several run on one machine: moves its names in shared memory and its ports
    #[arg(long, default_value_t = 1, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=INSTANCES.into()))]
    pub instance: u16,
    /// Prefix of all shared-memory names, so that two systems on one machine don't meet
    #[arg(long, default_value = "", global = true, value_name = "NAME", value_parser = namespace)]
    pub namespace: String,
    /// Shared-memory name of the camera's frames
    #[arg(long, alias = "image-shm-name", default_value = "camera_feed", global = true, value_name = "NAME", value_parser = channel)]
    pub camera: String,
    /// Shared-memory name of the detections
    #[arg(long, alias = "detection-shm-name", default_value = "lane_detection", global = true, value_name = "NAME", value_parser = channel)]
    pub detections: String,
    /// Shared-memory name of the controls
    #[arg(long, alias = "control-shm-name", default_value = "vehicle_control", global = true, value_name = "NAME", value_parser = channel)]
    pub controls: String,
    /// First of the broker's six ports
    #[arg(long, default_value_t = 5557, global = true, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65530))]
    pub broker_port: u16,
    /// Where the broker is, and who may reach it
    #[command(flatten)]
    pub network: NetworkOptions,
    /// How frames are encoded for viewers
    #[command(flatten)]
    pub encoding: EncodingOptions,
    /// How the camera is mounted: a file from `lkas calibrate`
    #[arg(long, global = true, value_name = "FILE")]
    pub mounting: Option<PathBuf>,
    /// Reader places of each channel that programs read; one or two of them are for this system's own
    #[arg(long, default_value_t = 4, global = true, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=29))]
    pub readers: u8,
    /// How detection, decision and vehicle get the processor: nice:-10, or fifo:20 (real time), where the system allows it
    #[arg(long, global = true, value_name = "PRIORITY")]
    pub priority: Option<Priority>,
    /// File of options, by the names that they have here; lkas.toml in the current folder if it is there
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How much is said, and in which form
    #[command(flatten)]
    pub log: LogOptions,
    /// End when the process that started this one ends
    #[arg(long, hide = true, global = true)]
    pub supervised: bool,
}

fn namespace(text: &str) -> Result<String, ChannelNameError> {
    ChannelName::new(text, "status_simulation").map(|_| text.to_owned())
}

fn channel(text: &str) -> Result<String, ChannelNameError> {
    ChannelName::new("", text).map(|_| text.to_owned())
}

/// What the servers promise of their channels: they keep up with a camera of 20 frames a second or more. The vehicle
/// stops when controls grow older than that.
pub const SERVERS: Contract = match Contract::new(Duration::from_millis(100), Duration::from_millis(250)) {
    Ok(contract) => contract,
    Err(_) => panic!("times that are no contract"),
};

/// The reader place of the program that a channel is for: detection, decision and vehicle.
pub const OWN_PLACE: usize = 0;

/// The reader place of the broker.
pub const BROKERS_PLACE: usize = 1;

/// The processes of a system that publish a status.
pub const PROCESSES: [&str; 5] = ["simulation", "detection", "decision", "broker", "viewer"];

/// Systems on one machine.
const INSTANCES: u16 = 100;

/// Ports from one instance to the next: six of the broker, and room.
const PORTS_OF_INSTANCE: u16 = 10;

/// How the viewer runs.
#[derive(Args, Clone, Debug)]
pub struct ViewerArguments {
    /// Port of the web page; the second instance takes the next one, and so on
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub port: u16,
    /// Address to serve the page on; 0.0.0.0 lets everybody on the network watch and steer
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    pub bind: IpAddr,
}

impl SystemOptions {
    /// Moves names and ports to where those of this instance are. The first one's stay, and so do those that the process
    /// that started this one has moved.
    #[must_use]
    pub fn settled(mut self) -> Self {
        if self.instance > 1 && !self.supervised {
            let base = if self.namespace.is_empty() { "instance" } else { &self.namespace };
            self.namespace = format!("{base}-{}", self.instance);
            self.broker_port = self.moved(self.broker_port, PORTS_OF_INSTANCE);
        }
        self
    }

    /// The port of this instance's page, where the first one's is `port`.
    #[must_use]
    pub fn page_port(&self, port: u16) -> u16 {
        self.moved(port, 1)
    }

    fn moved(&self, port: u16, by: u16) -> u16 {
        port.saturating_add(if self.supervised { 0 } else { (self.instance - 1) * by })
    }

    /// What another system on this machine needs.
    #[must_use]
    pub fn another(&self) -> String {
        format!("--instance {}", self.instance % INSTANCES + 1)
    }

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

    /// How the channels of frames, detections and controls are made: the places of the next program and of the broker are
    /// theirs, whoever else reads.
    #[must_use]
    pub fn channel(&self, contract: Contract) -> Options {
        Options::new().contract(contract).readers(self.readers.into()).reserved(2)
    }

    /// How the channels of the system's own [`signals`](crate::signals) are made: one place is for the program that works with
    /// them.
    #[must_use]
    pub fn signal(&self) -> Options {
        Options::new().readers(self.readers.into()).reserved(1)
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
            ("--instance", self.instance.to_string()),
            ("--namespace", self.namespace.clone()),
            ("--camera", self.camera.clone()),
            ("--detections", self.detections.clone()),
            ("--controls", self.controls.clone()),
            ("--broker-port", self.broker_port.to_string()),
            ("--readers", self.readers.to_string()),
        ];
        let pairs = pairs.into_iter().map(|(option, value)| format!("{option}={value}"));
        // A path that is not UTF-8 can't be an argument here; the detection says that it does not find it.
        let mounting = self.mounting.as_ref().map(|path| format!("--mounting={}", path.to_string_lossy()));
        let config = self.config.as_ref().map(|path| format!("--config={}", path.to_string_lossy()));
        let priority = self.priority.map(|priority| format!("--priority={priority}"));
        pairs
            .chain(self.network.arguments())
            .chain(self.encoding.arguments())
            .chain(mounting)
            .chain(config)
            .chain(priority)
            .chain(self.log.arguments())
            .chain(["--supervised".into()])
            .collect()
    }
}

/// Removes the channels of a system that nobody of it uses any more: while one of its processes is there, what the others
/// left behind is for their successors. The status of a vehicle whose emergency stop is latched stays in any case: only a
/// person who releases it ends it.
pub fn remove_channels(options: &SystemOptions) {
    if is_running(|process| options.status_channel(process).ok()) {
        return;
    }
    for name in options.all_channels().unwrap_or_default() {
        if !is_latched(&name) {
            // What is in use belongs to somebody who will remove it.
            let _ = lkas_shm::unlink(&name);
        }
    }
}

/// Whether a process of the system whose statuses have these names is there.
fn is_running(status: impl Fn(&'static str) -> Option<ChannelName>) -> bool {
    let has_writer = |name| Observer::open(&name).is_ok_and(|channel| channel.look().has_writer);
    PROCESSES.into_iter().filter_map(status).any(has_writer)
}

/// Why a channel that nobody uses is kept all the same, where it is.
pub(crate) fn why_kept(name: &ChannelName) -> Option<&'static str> {
    let of_system = PROCESSES.iter().find_map(|process| name.as_str().strip_suffix(&format!("status_{process}")));
    if is_latched(name) {
        Some("an emergency stop is latched, which `lkas stop --release` ends once a vehicle is there")
    } else if is_running(|process| format!("{}status_{process}", of_system?).parse().ok()) {
        Some("its system runs, and a successor works with what it says")
    } else {
        None
    }
}

fn is_latched(name: &ChannelName) -> bool {
    StatusWatch::new(name.clone()).look().is_some_and(|seen| seen.status.latched != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        system: SystemOptions,
    }

    fn settled(line: &[&str]) -> SystemOptions {
        Line::parse_from([&["test"], line].concat()).system.settled()
    }

    #[test]
    fn an_instance_moves_names_and_ports() {
        let first = settled(&[]);
        assert_eq!((first.camera_channel().unwrap().as_str(), first.broker_port), ("camera_feed", 5557));
        assert_eq!(first.page_port(8080), 8080);
        let second = settled(&["--instance", "2"]);
        assert_eq!((second.camera_channel().unwrap().as_str(), second.broker_port), ("instance-2.camera_feed", 5567));
        assert_eq!(second.page_port(8080), 8081);
        let third = settled(&["--instance=3", "--namespace=car", "--broker-port=6000"]);
        assert_eq!((third.namespace.as_str(), third.broker_port), ("car-3", 6020));
        // A child is told where to go, and which one it is.
        let child = Line::parse_from(["test".to_owned()].into_iter().chain(third.arguments())).system.settled();
        assert_eq!((child.page_port(8082), child.another()), (8082, "--instance 4".to_owned()));
        assert_eq!((child.namespace, child.broker_port), (third.namespace, third.broker_port));
        assert_eq!(settled(&["--instance=100"]).another(), "--instance 1");
    }

    #[test]
    fn names_of_options_of_the_first_implementation_are_known() {
        let line = ["--image-shm-name=a", "--detection-shm-name=b", "--control-shm-name=c", "--verbose"];
        let options = settled(&line);
        assert_eq!([options.camera, options.detections, options.controls], ["a", "b", "c"]);
        assert!(options.log.verbose);
    }
}
