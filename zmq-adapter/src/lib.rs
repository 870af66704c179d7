//! Broker, broadcaster and clients of a lane keeping assist system over ZeroMQ: pictures and lane lines to viewers,
//! parameters and actions back.
//!
//! Use it between processes and machines, where a few milliseconds do not matter and peers come and go. Do not use it
//! between camera, detection and decision on one machine: that is what the channels of `lkas-core` in shared memory are
//! for. Programs in Python that speak the same protocol work with it unchanged.
//!
//! ```
//! use core::time::Duration;
//! use lkas_zmq::{Broker, BrokerOptions, Endpoint, Topic, ViewerClient, wire::FrameHeader};
//! # for base_port in (32_000..32_700).step_by(6) {
//! # let endpoint = Endpoint::local(base_port);
//! # let Ok(free) = Broker::bind(BrokerOptions::new(endpoint.clone())) else { continue };
//! # free.close();
//! let mut broker = Broker::bind(BrokerOptions::new(endpoint.clone()))?;
//! broker.register_action("pause".parse()?, |request| println!("{} was asked for", request.action));
//! let mut viewer = ViewerClient::connect(&endpoint)?; // usually in another process
//! while !broker.has_viewers(Topic::Frame) {
//!     broker.wait(Duration::from_millis(100));
//!     broker.poll();
//! }
//! let header = FrameHeader { frame_id: 1, width: 800, height: 600, ..Default::default() };
//! assert!(broker.broadcast_frame(&header, b"a JPEG").is_sent());
//! println!("{:?}", viewer.next(Duration::from_secs(1))?);
//! # break;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//! - No call waits for a peer, except those with a timeout. Closing does not either.
//! - Nothing that arrives makes it panic. What is malformed is refused by name, counted, and the next message handled;
//!   a part far beyond the bounds costs its sender the connection.
//! - A command is not lost because the broker does not listen yet: [`ViewerClient`] keeps it for two seconds until it does.
//! - Every request is answered, with its own `id` and its own reason, also one that is malformed: by the server that
//!   applies it, where it says so ([`Broker::report`]), else by the broker.
//! - No command is executed late: not by the broker, not by a server that slept ([`ParameterClient`]), and none that was
//!   given in an outage. Clocks of different machines do not have to agree. An emergency stop never expires; it is sent
//!   until the vehicle says that it stands.
//! - Which parameters there are, and what they may be, is the servers' to say. A server that subscribes gets the last
//!   values sent, unless it says itself which are in force; a viewer gets all values in force.
//! - The vehicle's status is accepted from one connection, until that one is silent for a second.
//! - A viewer that does not keep up hinders nobody, and what waits for it is bounded.
//! - A client finds its broker again after either side, or the network, was gone.
//!
//! # Costs
//! Each broker and each client has a ZeroMQ context of its own, which is two background threads. A broadcast frame is
//! copied once, and by the kernel for each viewer; a received one once more. Every object is parsed once where it
//! enters. libzmq is built from source: a C++ compiler is needed.
//!
//! # Limits
//! - Without [keys](BrokerOptions::keys) there is no authentication and no encryption: whoever reaches the ports can send
//!   commands, and a hostile peer can take others' subscriptions out of the count or fill the memory with a message of
//!   endless parts. It binds to this machine only, unless told otherwise, and opens commands to a network without keys only
//!   where that is said to be meant ([`BrokerOptions::insecure`]). A lease for commands is courtesy, not protection.
//! - Delivery is at most once. A broken connection loses what was under way; no answer on `action_status` or
//!   `parameter_status` within a moment means that.
//! - ZeroMQ drops the newest messages for a slow peer, and does not say so. How old the oldest one is that waits is
//!   bounded by [`BrokerOptions::viewer_mark`], about 128 KiB in the sender's kernel, and whatever the viewer allows at
//!   its own end. `ZMQ_CONFLATE` is no way out: it tears multipart messages apart. [`ViewerClient`] skips to the newest.
//! - Host names are looked up by ZeroMQ's thread; closing waits for a look-up under way. Addresses have no such wait.
#![forbid(unsafe_code)]

mod audience;
mod broadcaster;
mod broker;
pub mod clients;
mod decode;
mod endpoint;
mod error;
mod hang_up;
pub mod keys;
mod link;
mod ports;
mod socket;
mod ticks;
mod typed;
mod viewer;
pub mod wire;
mod zap;

pub use broadcaster::{Broadcast, Departures};
pub use broker::{Broker, BrokerOptions, LastState, Lease, ParameterReport, Polled, Statistics};
pub use clients::{ActionClient, ParameterClient, VehicleStatusClient, ViewerClient};
pub use error::{AddressError, BindError, ConnectError, ReceiveError, Refusal, SendError};
pub use socket::Arrivals;
pub use typed::LanePosition;
pub use wire::{Endpoint, Topic, ViewerMessage};
/// The ZeroMQ binding's error, which this crate's errors carry.
pub use zmq::Error as ZmqError;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
