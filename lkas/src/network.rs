//! Where the broker is, who may reach it, and with which keys.

use crate::number::within;
use clap::Args;
use lkas_zmq::keys::{BrokerKeys, ClientKeys};
use lkas_zmq::{BrokerOptions, Endpoint};
use std::path::PathBuf;
use std::time::Duration;

/// Where the broker is, and who may reach it.
#[derive(Args, Clone, Debug)]
pub struct NetworkOptions {
    /// Where the broker is, for programs that run on another machine
    #[arg(long, default_value = "127.0.0.1", global = true, value_name = "HOST")]
    pub broker: String,
    /// Address on which the broker can be watched, besides this machine itself
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub watch_on: Option<String>,
    /// Address on which the broker takes commands, and servers and a vehicle, besides this machine itself
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub command_on: Option<String>,
    /// Open commands to a network without keys: whoever reaches the ports can stop and steer the vehicle
    #[arg(long, global = true)]
    pub insecure: bool,
    /// The broker's keys: a folder with broker.key_secret, and the keys of those who may in watch/ and command/
    #[arg(long, global = true, value_name = "DIR")]
    pub keys: Option<PathBuf>,
    /// The key with which this program asks a broker on another machine: its .key_secret file
    #[arg(long, global = true, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The public key of that broker: its .key file
    #[arg(long, global = true, value_name = "FILE")]
    pub broker_key: Option<PathBuf>,
    /// How old a command may be, in seconds, until it is refused; an emergency stop never is
    #[arg(long, default_value_t = 2.0, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub command_age: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    within(0.1..=60.0, text, "expected seconds, 0.1 to 60")
}

impl NetworkOptions {
    /// Where the broker is, and with which keys to ask it.
    #[must_use]
    pub fn endpoint(&self, base_port: u16) -> Endpoint {
        let endpoint = Endpoint { host: self.broker.clone(), ..Endpoint::local(base_port) };
        match self.key.clone().zip(self.broker_key.clone()) {
            Some((own, broker)) => endpoint.with_keys(ClientKeys { own, broker }),
            None => endpoint,
        }
    }

    /// What is missing where there is the one key or the other, whether on the command line or in the file of options.
    #[must_use]
    pub fn lacks(own: bool, brokers: bool) -> Option<&'static str> {
        match (own, brokers) {
            (true, false) => Some("key needs broker-key: a broker is asked with this program's key and its own"),
            (false, true) => Some("broker-key needs key: a broker is asked with its own key and this program's"),
            _ => None,
        }
    }

    /// Whether that is the broker of this machine. Of a system elsewhere only its broker knows; what this machine's memory
    /// says is of another system.
    #[must_use]
    pub fn is_here(&self) -> bool {
        ["127.0.0.1", "::1", "localhost"].contains(&self.broker.as_str())
    }

    /// How the broker of this system is set up.
    #[must_use]
    pub fn broker_options(&self, base_port: u16) -> BrokerOptions {
        BrokerOptions::new(Endpoint::local(base_port))
            .watch_on(self.watch_on.clone())
            .command_on(self.command_on.clone())
            .keys(self.keys.as_ref().map(BrokerKeys::in_folder))
            .insecure(self.insecure)
            .command_age(Duration::from_secs_f64(self.command_age))
    }

    /// What a person must know of who may reach this system; `None` where only this machine can.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        let open = self.insecure && self.keys.is_none() && self.command_on.is_some();
        open.then_some("commands are open to the network without keys: whoever reaches it can steer the vehicle")
    }

    /// These options as arguments for a child process.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let pairs = [
            ("--broker", Some(self.broker.clone())),
            ("--watch-on", self.watch_on.clone()),
            ("--command-on", self.command_on.clone()),
            ("--keys", path(&self.keys)),
            ("--key", path(&self.key)),
            ("--broker-key", path(&self.broker_key)),
            ("--command-age", Some(self.command_age.to_string())),
        ];
        let pairs = pairs.into_iter().filter_map(|(option, value)| Some(format!("{option}={}", value?)));
        pairs.chain(self.insecure.then(|| "--insecure".to_owned())).collect()
    }
}
