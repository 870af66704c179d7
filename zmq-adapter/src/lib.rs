//! Broker, broadcaster and clients of a lane keeping assist system over ZeroMQ.
#![forbid(unsafe_code)]

mod broadcaster;
mod broker;
pub mod clients;
mod decode;
mod error;
mod link;
mod socket;
mod viewer;
pub mod wire;

pub use broadcaster::{Broadcast, Departures};
pub use broker::{Broker, BrokerOptions, LastState, Polled, Statistics};
pub use clients::{ActionClient, ParameterClient, VehicleStatusClient, ViewerClient};
pub use error::{AddressError, BindError, ConnectError, ReceiveError, Refusal, SendError};
pub use socket::Arrivals;
pub use wire::{Endpoint, Topic, ViewerMessage};
/// The ZeroMQ binding's error, which this crate's errors carry.
pub use zmq::Error as ZmqError;
