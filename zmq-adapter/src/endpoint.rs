//! Where a broker is.

use crate::error::AddressError;
use crate::keys::ClientKeys;
use core::fmt;

/// The host that brokers bind and clients connect to unless told otherwise: this machine only.
pub const DEFAULT_HOST: &str = "127.0.0.1";
/// The first of the six ports unless told otherwise.
pub const DEFAULT_BASE_PORT: u16 = 5557;

/// Where a broker is: a host and six ports in a row. Two systems on one machine take different base ports.
///
/// ```
/// use lkas_zmq::wire::Endpoint;
/// let endpoint = Endpoint::default();
/// assert_eq!((endpoint.broadcast_port(), endpoint.vehicle_status_port()), (5557, 5562));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A name or an address; brokers also take `*` or `0.0.0.0` for every interface of the machine.
    ///
    /// Without keys, whoever reaches these ports can pause the simulation and change parameters.
    pub host: String,
    /// The first of the six ports, 1 to 65530.
    pub base_port: u16,
    /// The keys with which a client asks a broker that wants some. A broker does not look at this.
    pub keys: Option<ClientKeys>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self { host: DEFAULT_HOST.to_owned(), base_port: DEFAULT_BASE_PORT, keys: None }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ports {} to {}", self.host, self.broadcast_port(), self.vehicle_status_port())
    }
}

impl Endpoint {
    /// This machine, at another base port.
    #[must_use]
    pub fn local(base_port: u16) -> Self {
        Self { base_port, ..Self::default() }
    }

    /// The same place, asked with these keys.
    #[must_use]
    pub fn with_keys(self, keys: ClientKeys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Broadcasts to viewers; 5557 unless told otherwise.
    #[must_use]
    pub fn broadcast_port(&self) -> u16 {
        self.base_port
    }

    /// Action requests from viewers; 5558 unless told otherwise.
    #[must_use]
    pub fn action_request_port(&self) -> u16 {
        self.base_port.saturating_add(1)
    }

    /// Parameter requests from viewers; 5559 unless told otherwise.
    #[must_use]
    pub fn parameter_request_port(&self) -> u16 {
        self.base_port.saturating_add(2)
    }

    /// Parameters forwarded to servers; 5560 unless told otherwise.
    #[must_use]
    pub fn parameter_port(&self) -> u16 {
        self.base_port.saturating_add(3)
    }

    /// Actions forwarded to the simulation; 5561 unless told otherwise.
    #[must_use]
    pub fn action_port(&self) -> u16 {
        self.base_port.saturating_add(4)
    }

    /// Vehicle status from the simulation; 5562 unless told otherwise.
    #[must_use]
    pub fn vehicle_status_port(&self) -> u16 {
        self.base_port.saturating_add(5)
    }

    /// Whether only this machine is there: all clocks are one then.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<core::net::IpAddr>().is_ok_and(|host| host.is_loopback())
    }

    /// Whether every interface of this machine is meant.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.host == "*" || self.host.parse::<core::net::IpAddr>().is_ok_and(|host| host.is_unspecified())
    }

    /// Whether the host and all six ports can be addresses.
    ///
    /// # Errors
    /// A host with characters that no host has, or a base port of 0 or above 65530.
    pub fn check(&self) -> Result<(), AddressError> {
        let plausible = |c: char| c.is_ascii_alphanumeric() || "._-:*%".contains(c);
        if self.host.is_empty() || self.host.len() > 255 || !self.host.chars().all(plausible) {
            return Err(AddressError::Host { found: self.host.chars().take(64).collect() });
        }
        if self.base_port == 0 || self.base_port.checked_add(5).is_none() {
            return Err(AddressError::Ports { base_port: self.base_port });
        }
        Ok(())
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }

    pub(crate) fn address(&self, port: u16) -> String {
        if self.is_ipv6() { format!("tcp://[{}]:{port}", self.host) } else { format!("tcp://{}:{port}", self.host) }
    }
}
