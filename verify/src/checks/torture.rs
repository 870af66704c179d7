//! Real processes of real channels, killed and suspended by the thousand.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

pub(crate) fn torture(how: &How) -> Outcome {
    let kills = if how.deep { "100000" } else { "2000" };
    let test = ["test", "--release", "-p", "lkas-shm", "--test", "torture"];
    run(cargo(None, "", &test).env("LKAS_TORTURE_KILLS", kills), "")
}
