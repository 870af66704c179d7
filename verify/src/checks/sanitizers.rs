//! What runs the real code under an eye.

use crate::tools::{cargo, run};
use crate::{How, Outcome};

const COMPONENTS: &str = "rustup component add --toolchain nightly miri rust-src";

pub(crate) fn miri(how: &How) -> Outcome {
    let seeds = if how.deep { "0..64" } else { "0..4" };
    for model in ["", "-Zmiri-tree-borrows"] {
        let mut command = cargo(Some("+nightly"), "miri", &["miri", "test", "-p", "lkas-core", "--lib"]);
        command.env("MIRIFLAGS", format!("{model} -Zmiri-many-seeds={seeds}")).env_remove("RUSTFLAGS");
        run(&mut command, COMPONENTS)?;
    }
    Ok(())
}
