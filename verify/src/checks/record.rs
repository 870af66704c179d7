//! Recordings of real processes.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

/// Records a system that drives, kills the recorder, cuts its file, plays recordings to real processes, twice in lockstep, and
/// compares what they answered; then reads recordings that were damaged at random.
pub(crate) fn record(_: &How) -> Outcome {
    let test = |arguments: &[&str]| run(cargo(None, "", &["test", "--release", "-p", "lkas"]).args(arguments), "");
    test(&["--test", "record"])?;
    test(&["--lib", "record::"])
}
