//! The connections: what is said to Zenoh, and the names that everything has there.

use crate::Failure;
use core::fmt;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use zenoh::{Config, Session, Wait};

/// Values up to this size, in bytes, go over the connection of small values; larger ones have another.
pub(crate) const SMALL: usize = 16 << 10;

/// Where to find the others.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Where this mirror listens, as Zenoh writes endpoints: `tcp/192.168.1.5:7447`. It is then in the middle: others
    /// connect, and what they mirror among each other passes through it.
    pub listen: Vec<String>,
    /// Where this mirror connects: another mirror that listens, or a Zenoh router.
    pub connect: Vec<String>,
    /// Zenoh's own configuration, for everything else: certificates, access control, and so on.
    pub zenoh: Option<PathBuf>,
}

/// What cannot be configured away, or is different from Zenoh's own defaults, where a file says nothing of it.
fn defaults() -> Value {
    json!({
        "scouting": { "delay": 0, "multicast": { "enabled": false }, "gossip": { "enabled": false } },
        "listen": { "endpoints": [] },
        "connect": {
            "timeout_ms": -1,
            "exit_on_failure": false,
            // A link that was away is found again within half a second.
            "retry": { "period_init_ms": 100, "period_max_ms": 200, "period_increase_factor": 1.5 },
        },
        "transport": {
            "unicast": { "open_timeout": 400, "accept_timeout": 2000 },
            "link": {
                "tx": {
                    // Who says nothing for a second is gone.
                    "lease": 1000,
                    "keep_alive": 4,
                    // A frame of 1 MB finds room, and whoever passes it on waits for nobody.
                    "queue": { "size": { "data": 16 } },
                },
            },
        },
    })
}

/// `over`, and what `under` has beyond it.
fn merge(over: &mut Map<String, Value>, under: Map<String, Value>) {
    for (key, value) in under {
        match (over.get_mut(&key), value) {
            (Some(Value::Object(over)), Value::Object(under)) => merge(over, under),
            (Some(_), _) => {}
            (None, value) => drop(over.insert(key, value)),
        }
    }
}

impl Network {
    /// Zenoh's configuration.
    fn config(&self) -> Result<Config, Failure> {
        let mut all = match &self.zenoh {
            None => Value::Object(Map::new()),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
                json5::from_str(&text).map_err(|why| format!("{}: {why}", path.display()))?
            }
        };
        let file = self.zenoh.as_ref().map_or_else(String::new, |path| format!("{}: ", path.display()));
        let Some(all_of_it) = all.as_object_mut() else { return Err(format!("{file}expected an object").into()) };
        let mut told = json!({});
        match (&self.listen[..], &self.connect[..]) {
            ([], []) if all_of_it.contains_key("listen") || all_of_it.contains_key("connect") => {}
            ([], []) => {
                return Err("nowhere to listen and nowhere to connect; use --listen or --connect, for example \
                    --listen tcp/127.0.0.1:7447"
                    .into());
            }
            (_, []) => told = json!({ "mode": "router", "listen": { "endpoints": self.listen } }),
            ([], _) => told = json!({ "mode": "client", "connect": { "endpoints": self.connect } }),
            // Between routers, as they are then, there is one connection for everything.
            _ => {
                told = json!({
                    "mode": "router",
                    "listen": { "endpoints": self.listen },
                    "connect": { "endpoints": self.connect },
                });
            }
        }
        // The command line counts more than the file, and the file more than the defaults.
        let Value::Object(mut result) = told else { return Err("no object".into()) };
        merge(&mut result, core::mem::take(all_of_it));
        if let Value::Object(defaults) = defaults() {
            merge(&mut result, defaults);
        }
        Config::from_json5(&Value::Object(result).to_string()).map_err(|why| format!("{file}{why}").into())
    }
}

/// The sessions of a mirror.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    /// For small values, descriptions and clocks.
    pub(crate) small: Session,
    /// For large values: a connection of their own, where this mirror connects. The same one where it listens, as those
    /// that connect bring two.
    pub(crate) large: Session,
}

impl Sessions {
    /// Connects; waits as long as there is nobody to connect to.
    pub(crate) fn open(network: &Network) -> Result<Self, Failure> {
        let config = network.config()?;
        let is_client = config.get_json("mode")?.contains("client");
        let small = zenoh::open(config).wait()?;
        let large = if is_client { zenoh::open(network.config()?).wait()? } else { small.clone() };
        Ok(Self { small, large })
    }

    /// The session for values of `size` bytes.
    pub(crate) fn of_size(&self, size: usize) -> &Session {
        if size <= SMALL { &self.small } else { &self.large }
    }

    /// What this mirror is called in keys.
    pub(crate) fn id(&self) -> String {
        self.small.zid().to_string()
    }
}

/// The keys of one channel.
#[derive(Clone, Debug)]
pub(crate) struct Keys(String);

impl Keys {
    /// The channel `name`, without its namespace on this machine, of the system that is called `system` on the network.
    pub(crate) fn new(system: &str, name: &str) -> Self {
        Self(format!("lkas/mirror/1/{system}/{name}"))
    }

    /// The tokens of all that export it.
    pub(crate) fn exporters(&self) -> String {
        format!("{}/*", self.0)
    }

    /// The token of one that exports it.
    pub(crate) fn exporter(&self, id: &str) -> String {
        format!("{}/{id}", self.0)
    }

    /// A question to an exporter.
    pub(crate) fn ask(&self, exporter: &str, what: impl fmt::Display) -> String {
        format!("{}/{exporter}/{what}", self.0)
    }
}

/// The last part of a key.
pub(crate) fn last_part(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(config: &Config, key: &str) -> String {
        config.get_json(key).unwrap()
    }

    #[test]
    fn nothing_listens_unless_told() {
        let connect = Network { connect: vec!["tcp/127.0.0.1:7447".into()], ..Network::default() };
        let config = connect.config().unwrap();
        assert_eq!(json(&config, "mode"), "\"client\"");
        assert_eq!(json(&config, "listen/endpoints"), "[]");
        assert_eq!(json(&config, "scouting/multicast/enabled"), "false");
        let error = Network::default().config().unwrap_err().to_string();
        assert!(error.contains("use --listen or --connect"), "{error}");
    }

    #[test]
    fn a_file_says_what_the_command_line_does_not() {
        let path = std::env::temp_dir().join(format!("lkas-mirror-{}.json5", std::process::id()));
        std::fs::write(&path, "{ transport: { link: { tx: { lease: 3000 } } }, mode: 'peer' /* no */ }").unwrap();
        let network =
            Network { listen: vec!["tcp/127.0.0.1:0".into()], zenoh: Some(path.clone()), ..Network::default() };
        let config = network.config().unwrap();
        assert_eq!(json(&config, "mode"), "\"router\"");
        assert_eq!(json(&config, "transport/link/tx/lease"), "3000");
        assert_eq!(json(&config, "transport/unicast/open_timeout"), "400", "a default of ours");
        std::fs::write(&path, "{ nonsense: 1 }").unwrap();
        let error = network.config().unwrap_err().to_string();
        assert!(error.contains("nonsense") && error.contains("lkas-mirror-"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}
