//! Foxglove and Lichtblick: what they see of the system, live and in files.
//!
//! The viewer's port speaks version 1 of their WebSocket protocol, under both of its names (`foxglove.sdk.v1` and
//! `foxglove.websocket.v1`), at `/` and at `/foxglove`. All messages are JSON, each topic with its schema:
//!
//! | topic | schema | what |
//! |---|---|---|
//! | `/camera_feed` | `foxglove.CompressedImage` | the camera's frames, as JPEG |
//! | `/lanes` | `foxglove.ImageAnnotations` | the lanes in them, under the time of their frame; the fainter, the less sure |
//! | `/events` | `foxglove.Log` | what happened in each process, answers to actions, refusals; the last ones also for who comes later |
//! | `/lane_detection` | `lkas.broadcast.Detection` | the lanes as numbers |
//! | `/vehicle_state` | `lkas.broadcast.VehicleState` | what the vehicle does |
//! | `/vehicle_control` | `lkas.broadcast.Telemetry` | what it is commanded, and how long that took |
//! | `/status` | `lkas.broadcast.Status` | what the vehicle and each process say of themselves |
//!
//! Of a topic comes the newest message alone, and none that is older than half a second; only of events come several. To each
//! client one message of each subscription is under way, until its network has answered a ping; then come those that are
//! the newest at that time. A client that does not answer for ten seconds is gone.
//!
//! Parameters are named with their category, as `decision.kp`. Their values are those in force, as their servers say; setting
//! one is answered when its server has, or after three seconds. The services are the [actions](crate::actions::ACTIONS),
//! `/emergency_stop` and so on, without arguments. The answer says whether the system took the action on; what the vehicle
//! makes of it is in `/status`.
//!
//! Who shows the viewer's token at the end of the address, `?token=TOKEN`, may command. Without one, programs that are no
//! browsers may watch, and pages from elsewhere may not even that.
//!
//! | file | question |
//! |---|---|
//! | `schemas.rs` | what is in a message, and how is it described? |
//! | `live.rs` | what is the newest of each topic? |
//! | `protocol.rs` | in which form does it go over a WebSocket? |
//! | `session.rs` | what does one client get, and when? |

pub(crate) mod live;
pub(crate) mod protocol;
pub mod schemas;
pub(crate) mod session;
