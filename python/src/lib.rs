//! What Python sees of the channels, the supervisor and the broker: `lkas_channels._native`.
//!
//! No logic of its own but what Python's habits ask for: objects that outlive one another, threads, signals and forks.

mod broker;
mod clients;
mod control;
mod detection;
mod errors;
mod frame;
mod image_reader;
mod image_writer;
mod numbers;
mod places;
mod record;
mod shared;
mod supervisor;
mod values;
mod writers;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::broker::Broker;
    #[pymodule_export]
    use super::clients::{ActionClient, ParameterClient, VehicleStatusClient};
    #[pymodule_export]
    use super::control::Control;
    #[pymodule_export]
    use super::detection::{Detection, Lane};
    #[pymodule_export]
    use super::frame::{Frame, Pixels};
    #[pymodule_export]
    use super::image_reader::ImageReader;
    #[pymodule_export]
    use super::image_writer::{ImageWriter, Loan};
    #[pymodule_export]
    use super::record::{RecordReader, RecordWriter};
    #[pymodule_export]
    use super::shared::{after_fork, channels, look, now, unlink};
    #[pymodule_export]
    use super::supervisor::{ControlSupervisor, SafetyEvent};
    #[pymodule_export]
    use super::values::{ControlReader, DetectionReader};
    #[pymodule_export]
    use super::writers::{ControlWriter, DetectionWriter};
}
