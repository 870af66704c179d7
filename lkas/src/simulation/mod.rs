//! A world to drive in: road, vehicle and camera.
//!
//! Nothing in here knows channels, sockets, threads or clocks: the program around it passes time and commands in and
//! takes pictures and states out. The same calls always give the same pictures and states. [`Replay`] stands in for
//! road and camera where recorded pictures are to be shown; it alone reads files.
//!
//! Lengths are metres, times seconds. Everything sideways is positive to the right: steering, lateral offset, curvature,
//! yaw. See [`road`] for the coordinates.

mod camera;
mod ground;
mod outline;
mod palette;
mod pinhole;
mod replay;
pub mod road;
mod scenery;
mod sky;
mod texture;
mod traffic;
mod vehicle;
mod weather;
mod world;

pub use camera::{Camera, CameraError, CameraOptions};
pub use replay::{Replay, ReplayError};
pub use road::{Part, Pose, Road};
pub use traffic::Car;
pub use vehicle::{Command, MAX_WHEEL_ANGLE_DEG, SAFETY, Vehicle, WHEELBASE_M};
pub use weather::{Lens, Weather};
pub use world::{Statistics, World, WorldOptions};
