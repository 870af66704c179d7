//! Parameters that change while a server runs.

use crate::Failure;
use crate::options::SystemOptions;
use crate::say;
use lkas_messages::NameError;
use lkas_messages::names::{Category, Parameter};
use lkas_zmq::ParameterClient;
use std::sync::mpsc::{Receiver, channel};

/// The parameters of one server as they come from the broker.
#[derive(Debug)]
pub struct Tuning {
    client: ParameterClient,
    values: Receiver<(&'static Parameter, f64)>,
}

impl Tuning {
    /// Connects to the broker, which need not be there yet.
    ///
    /// # Errors
    /// The broker's address is not usable.
    pub fn connect(options: &SystemOptions, category: Category) -> Result<Self, Failure> {
        let (sender, values) = channel();
        let client = ParameterClient::connect(&options.endpoint(), category, move |parameter, value| {
            // The receiver lives as long as the client.
            let _ = sender.send((parameter, value));
        })?;
        Ok(Self { client, values })
    }

    /// Hands what has come to `set`, and says what is in force now. Never waits.
    ///
    /// # Errors
    /// The socket failed.
    pub fn apply(&mut self, mut set: impl FnMut(&str, f64) -> Result<f64, NameError>) -> Result<(), Failure> {
        self.client.poll()?;
        for (parameter, value) in self.values.try_iter() {
            match set(parameter.name, value) {
                // As short as it is exact enough for: parameters are kept in 32 bits.
                Ok(value) => say!("{} is {}", parameter.name, value as f32),
                Err(error) => say!("{error}"),
            }
        }
        Ok(())
    }
}
