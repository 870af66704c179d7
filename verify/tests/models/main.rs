//! loom models of the channel protocol: every interleaving, within the bounds printed, of a writer and its readers.
//!
//! Run by `cargo verify loom`. Each model checks one named property of the public API. Payloads are two words, so that a
//! torn value shows, and loom itself reports any access to a slot that the protocol does not order.
#![cfg(lkas_loom)]
#![allow(missing_docs)]

mod death;
mod live;
mod observer;
mod publish_and_take;
mod sleep;
mod support;
