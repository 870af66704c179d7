//! What compiler and formatter say.

use crate::checks::refusals;
use crate::tools::{cargo, root, run};
use crate::{How, Outcome};

/// Packages that are workspaces of their own, because other compilers or targets build them.
const APART: [&str; 2] = ["verify/firmware", "verify/fuzz"];

pub(crate) fn format(_: &How) -> Outcome {
    let folders = [""].into_iter().chain(APART).map(|folder| root().join(folder));
    for folder in folders {
        let mut command = cargo(None, "", &["fmt", "--all", "--check"]);
        run(command.current_dir(folder), "rustup component add rustfmt")?;
    }
    Ok(())
}

pub(crate) fn lints(_: &How) -> Outcome {
    const NEEDS: &str = "rustup component add clippy; rustup target add thumbv7m-none-eabi";
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(&mut cargo(None, "lints", &clippy), NEEDS)?;
    let models = ["clippy", "-p", "lkas-core", "-p", "lkas-verify", "--all-targets", "--", "-D", "warnings"];
    run(cargo(None, "lints/loom", &models).env("RUSTFLAGS", "--cfg lkas_loom"), NEEDS)?;
    let mut firmware = cargo(None, "lints/firmware", &["clippy", "--locked", "--", "-D", "warnings"]);
    run(firmware.current_dir(root().join("verify/firmware")).env_remove("RUSTFLAGS"), NEEDS)?;
    let mut docs = cargo(None, "lints", &["doc", "--workspace", "--no-deps", "--document-private-items"]);
    run(docs.env("RUSTDOCFLAGS", "-D warnings"), "")
}

/// Doc tests with the nightly compiler, which also compares why an example that must not compile does not.
pub(crate) fn promises(_: &How) -> Outcome {
    let mut command = cargo(Some("+nightly"), "promises", &["test", "--doc", "-p", "lkas-core", "--features", "alloc"]);
    run(command.env_remove("RUSTFLAGS"), "rustup toolchain install nightly")?;
    refusals::refusals()
}
