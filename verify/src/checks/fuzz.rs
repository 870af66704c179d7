//! Fuzz targets, for half a minute each.

use crate::tools::{cargo, root, run, target};
use crate::{How, Outcome};

/// The targets in `verify/fuzz`.
const TARGETS: [&str; 1] = ["core_decoders"];

pub(crate) fn fuzz(how: &How) -> Outcome {
    let seconds = if how.deep { 600 } else { 30 };
    for name in TARGETS {
        let corpus = target("fuzz").join("corpus").join(name);
        std::fs::create_dir_all(&corpus).map_err(|why| format!("{}: {why}", corpus.display()))?;
        let mut command = cargo(Some("+nightly"), "fuzz", &["fuzz", "run", name]);
        command.current_dir(root().join("verify/fuzz")).arg(corpus).arg("--");
        command.args([format!("-max_total_time={seconds}"), "-max_len=4096".into(), "-verbosity=0".into()]);
        command.arg("-print_final_stats=1").env_remove("RUSTFLAGS");
        run(&mut command, "cargo install cargo-fuzz --locked; rustup toolchain install nightly --component rust-src")?;
    }
    Ok(())
}
