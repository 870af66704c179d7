//! Real processes of real channels, killed and suspended by the thousand.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

pub(crate) fn torture(how: &How) -> Outcome {
    let kills = if how.deep { "100000" } else { "2000" };
    let test = ["test", "--release", "-p", "lkas-shm", "--test", "torture"];
    run(cargo(None, "", &test).env("LKAS_TORTURE_KILLS", kills), "")?;
    // The plain tests try some points of each operation; this is every one of a publish, and thousands of the others.
    let mut points = cargo(None, "", &["test", "--release", "-p", "lkas-shm", "--test", "crash_points"]);
    if how.deep { run(points.env("LKAS_CRASH_POINTS", "many"), "") } else { run(&mut points, "") }
}
