//! Parameters that change while a server runs.

use crate::Failure;
use crate::options::SystemOptions;
use crate::pace::Pace;
use crate::vitals::VitalSigns;
use lkas_messages::names::{Category, Parameter};
use lkas_zmq::ParameterClient;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The parameters of one server as they come from the broker.
#[derive(Debug)]
pub struct Tuning {
    client: ParameterClient,
    values: Receiver<(&'static Parameter, f64)>,
    words: Pace<&'static str, Result<f32, String>>,
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
        let client = client.max_age(Duration::from_secs_f64(options.network.command_age));
        Ok(Self { client, values, words: Pace::default() })
    }

    /// Hands the newest value of each parameter to `set`, and what came of it to `vitals`. Never waits, and takes 256 messages at most: however many come,
    /// a turn of a control loop stays short.
    ///
    /// # Errors
    /// The socket failed.
    pub fn apply<E: ToString>(
        &mut self,
        vitals: &mut VitalSigns,
        mut set: impl FnMut(&str, f64) -> Result<f64, E>,
    ) -> Result<(), Failure> {
        self.client.poll()?;
        let newest: BTreeMap<_, _> = self.values.try_iter().map(|(parameter, value)| (parameter.name, value)).collect();
        for (name, value) in newest {
            let outcome = set(name, value).map_err(|why| why.to_string());
            vitals.answer(name, value, outcome.clone().map(shortest));
            self.words.note(name, outcome.map(|value| value as f32));
        }
        Ok(())
    }

    /// Says what is in force since it was last called, at most twice a second. To be called after what matters is done.
    pub fn speak(&mut self) {
        for (name, (outcome, changes)) in self.words.due() {
            match outcome {
                Ok(value) if changes > 1 => tracing::info!("{name} is {value} ({changes} changes)"),
                Ok(value) => tracing::info!("{name} is {value}"),
                Err(error) => tracing::warn!("{error}"),
            }
        }
    }
}

/// The shortest number that is the same in 32 bits, in which parameters are kept: 0.3, not 0.30000001192092896.
#[must_use]
pub fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_were_written() {
        assert_eq!([0.3_f32, 150.0, 0.14].map(|value| shortest(value.into())), [0.3, 150.0, 0.14]);
    }
}
