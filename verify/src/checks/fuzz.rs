//! Fuzz targets, for 20 seconds each; 10 among all checks, and an hour with `--deep`.

use crate::tools::{cargo, output, root, target};
use crate::{How, Outcome};

/// The targets in `verify/fuzz`, and the dictionary that helps to find what a decoder looks for.
const TARGETS: [(&str, Option<&str>); 5] = [
    ("messages", None),
    ("header", None),
    ("wire", Some("wire.dict")),
    ("mirror", None),
    ("foxglove", Some("foxglove.dict")),
];

const NEEDS: &str = "cargo install --locked cargo-fuzz; rustup toolchain install nightly --component rust-src";

pub(crate) fn fuzz(how: &How) -> Outcome {
    let seconds = match how {
        How { deep: true, .. } => 3600,
        How { short: true, .. } => 10,
        How { .. } => 20,
    };
    let folder = root().join("verify/fuzz");
    for (name, dictionary) in TARGETS {
        let corpus = target("fuzz/corpus").join(name);
        std::fs::create_dir_all(&corpus).map_err(|why| format!("{}: {why}", corpus.display()))?;
        let mut command = cargo(Some("+nightly"), "fuzz", &["fuzz", "run", "--fuzz-dir"]);
        command.arg(&folder).arg(name).arg(corpus).arg("--");
        command.args([&format!("-max_total_time={seconds}"), "-max_len=5000", "-verbosity=0", "-print_final_stats=1"]);
        command.args(dictionary.map(|file| format!("-dict={}", folder.join(file).display())));
        let (passed, printed) = output(command.env_remove("RUSTFLAGS"), NEEDS)?;
        let count = printed.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let (true, Some(count)) = (passed, count) else { return Err(format!("{name} failed:\n{printed}\n{NEEDS}")) };
        println!("{name}: {} inputs", count.trim());
    }
    Ok(())
}
