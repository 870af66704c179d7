//! The checks, one file for each kind.

pub(crate) mod code;
pub(crate) mod examples;
pub(crate) mod fuzz;
pub(crate) mod machines;
pub(crate) mod mirror;
pub(crate) mod models;
pub(crate) mod mutations;
pub(crate) mod network;
pub(crate) mod packages;
pub(crate) mod page;
pub(crate) mod python;
pub(crate) mod random;
pub(crate) mod record;
pub(crate) mod refusals;
pub(crate) mod sanitizers;
pub(crate) mod scenarios;
pub(crate) mod system;
pub(crate) mod targets;
pub(crate) mod torture;
pub(crate) mod weakened;
