//! What compiler and formatter say.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

pub(crate) fn format(_: &How) -> Outcome {
    run(&mut cargo(None, "", &["fmt", "--all", "--check"]), "rustup component add rustfmt")
}

pub(crate) fn lints(_: &How) -> Outcome {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run(&mut cargo(None, "lints", &clippy), "rustup component add clippy")?;
    let models = ["clippy", "-p", "lkas-core", "-p", "lkas-verify", "--all-targets", "--", "-D", "warnings"];
    run(cargo(None, "lints/loom", &models).env("RUSTFLAGS", "--cfg lkas_loom"), "rustup component add clippy")?;
    let mut docs = cargo(None, "lints", &["doc", "--workspace", "--no-deps", "--document-private-items"]);
    run(docs.env("RUSTDOCFLAGS", "-D warnings"), "")
}
