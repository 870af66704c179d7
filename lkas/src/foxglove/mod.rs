//! Foxglove and Lichtblick: what they see of the system, live and in files.
//!
//! | file | question |
//! |---|---|
//! | `schemas.rs` | what is in a message, and how is it described? |

pub mod schemas;
