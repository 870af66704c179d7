//! Miri and ThreadSanitizer: what the machine model says about one process.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

const NIGHTLY: &str = "rustup toolchain install nightly --component miri,rust-src";

/// What Miri runs, and under how many schedules: a few in each model, and with `--deep`. Check values over frames take minutes in
/// the second model, which is the more lenient one.
const UNDER_MIRI: [(&[&str], [u32; 2], u32); 4] = [
    (&["-p", "lkas-core", "--lib"], [1, 1], 16),
    (&["-p", "lkas-messages", "--lib"], [1, 0], 16),
    (&["-p", "lkas-verify", "--test", "histories", "--test", "foreign_memory"], [1, 1], 16),
    (&["-p", "lkas-verify", "--test", "threads"], [4, 4], 256),
];

pub(crate) fn miri(how: &How) -> Outcome {
    for (index, (model, flag)) in [("stacked", ""), ("tree", "-Zmiri-tree-borrows")].into_iter().enumerate() {
        for (what, few, many) in UNDER_MIRI {
            let seeds = if how.deep { many } else { few[index] };
            if seeds == 0 {
                continue;
            }
            println!("{} with {model} borrows and {seeds} seeds", what.join(" "));
            let mut command = cargo(Some("+nightly"), "miri", &["miri", "test"]);
            // Random histories read the clock.
            let flags = format!("{flag} -Zmiri-disable-isolation -Zmiri-many-seeds=0..{seeds}");
            run(command.args(what).env("MIRIFLAGS", flags).env_remove("RUSTFLAGS"), NIGHTLY)?;
        }
    }
    Ok(())
}

pub(crate) fn tsan(_: &How) -> Outcome {
    // The standard library is instrumented as well, or its locks would look like races.
    let tests =
        ["test", "-Zbuild-std", "--target", "x86_64-unknown-linux-gnu", "-p", "lkas-verify", "--test", "threads"];
    let mut command = cargo(Some("+nightly"), "tsan", &tests);
    command.env("RUSTFLAGS", "-Zsanitizer=thread").env("TSAN_OPTIONS", "halt_on_error=1");
    run(&mut command, NIGHTLY)
}
