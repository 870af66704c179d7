//! Targets without an operating system.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

/// Targets that have compare-and-swap, and one that needs the feature `critical-section`.
const TARGETS: [(&str, &[&str]); 4] = [
    ("thumbv7m-none-eabi", &[]),
    ("thumbv7em-none-eabihf", &[]),
    ("riscv32imac-unknown-none-elf", &[]),
    ("thumbv6m-none-eabi", &["--features", "critical-section"]),
];

pub(crate) fn no_std(_: &How) -> Outcome {
    for (target, features) in TARGETS {
        println!("{target}");
        let mut command = cargo(None, "no-std", &["build", "-p", "lkas-core", "--target", target]);
        run(command.args(features), &format!("rustup target add {target}"))?;
    }
    Ok(())
}
