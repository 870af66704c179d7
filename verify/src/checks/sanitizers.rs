//! Miri and ThreadSanitizer: what the machine model says about one process.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

const NIGHTLY: &str = "rustup toolchain install nightly --component miri,rust-src";

/// What Miri runs, and under how many schedules: a few, and with `--deep`.
const UNDER_MIRI: [(&[&str], u32, u32); 4] = [
    (&["-p", "lkas-core", "--lib"], 1, 16),
    (MESSAGES, 1, 16),
    (&["-p", "lkas-verify", "--test", "histories", "--test", "foreign_memory"], 1, 16),
    (&["-p", "lkas-verify", "--test", "threads"], 4, 256),
];

/// Check values over frames take minutes under the second model, which is the more lenient one: only with `--deep`.
const MESSAGES: &[&str] = &["-p", "lkas-messages", "--lib"];

pub(crate) fn miri(how: &How) -> Outcome {
    for (model, flag) in [("stacked", ""), ("tree", "-Zmiri-tree-borrows")] {
        for (what, few, many) in UNDER_MIRI {
            if what == MESSAGES && !flag.is_empty() && !how.deep {
                continue;
            }
            let seeds = if how.deep { many } else { few };
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
