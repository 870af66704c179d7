//! Miri and ThreadSanitizer: what the machine model says about one process.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

const NIGHTLY: &str = "rustup toolchain install nightly --component miri,rust-src";

pub(crate) fn miri(how: &How) -> Outcome {
    let (core_seeds, seeds) = if how.deep { (16, 64) } else { (1, 4) };
    for model in ["", "-Zmiri-tree-borrows"] {
        let core = ["miri", "test", "-p", "lkas-core", "--lib"];
        run(&mut miri_with(&core, model, core_seeds), NIGHTLY)?;
        let tests = ["miri", "test", "-p", "lkas-verify", "--test", "histories", "--test", "threads"];
        // Random histories read the clock.
        run(&mut miri_with(&tests, &format!("{model} -Zmiri-disable-isolation"), seeds), NIGHTLY)?;
    }
    Ok(())
}

fn miri_with(arguments: &[&str], flags: &str, seeds: u32) -> std::process::Command {
    let mut command = cargo(Some("+nightly"), "miri", arguments);
    command.env("MIRIFLAGS", format!("{flags} -Zmiri-many-seeds=0..{seeds}")).env_remove("RUSTFLAGS");
    command
}

pub(crate) fn tsan(_: &How) -> Outcome {
    // The standard library is instrumented as well, or its locks would look like races.
    let tests =
        ["test", "-Zbuild-std", "--target", "x86_64-unknown-linux-gnu", "-p", "lkas-verify", "--test", "threads"];
    let mut command = cargo(Some("+nightly"), "tsan", &tests);
    command.env("RUSTFLAGS", "-Zsanitizer=thread").env("TSAN_OPTIONS", "halt_on_error=1");
    run(&mut command, NIGHTLY)
}
