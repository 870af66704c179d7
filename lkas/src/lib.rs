//! x
pub mod decision;
pub mod detection;
