//! Random operations and random bytes.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

/// The tests of a package that are made of random cases.
const TESTS: [(&str, &[&str]); 3] = [
    ("lkas-verify", &["--test", "histories", "--test", "foreign_memory", "--test", "messages"]),
    ("lkas-shm", &["--test", "header"]),
    ("lkas-zmq", &["--test", "decoders"]),
];

pub(crate) fn random(_: &How) -> Outcome {
    for (package, tests) in TESTS {
        run(cargo(None, "", &["test", "-p", package]).args(tests), "")?;
    }
    Ok(())
}
