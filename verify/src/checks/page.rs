//! The viewer's page in a real Chromium, with processes killed and suspended under it.

use crate::tools::{cargo, copy, executable, root, run, target};
use crate::{How, Outcome};
use std::fs;
use std::process::Command;

/// What a machine needs beside Rust.
const NEEDS: &str = "apt-get install chromium nodejs npm (Node 18 or newer), and a way to the npm registry";

pub(crate) fn page(_: &How) -> Outcome {
    // Node looks for packages beside the programs that use them, and nothing is installed into the source.
    let folder = target("page");
    let source = root().join("verify/page");
    for entry in fs::read_dir(&source).map_err(|why| format!("{}: {why}", source.display()))? {
        let file = entry.map_err(|why| why.to_string())?.file_name();
        copy(&source.join(&file), &folder.join(&file))?;
    }
    let mut install = Command::new("npm");
    install.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run(&mut install, NEEDS)?;
    let program = executable(&mut cargo(None, "", &["build", "-p", "lkas", "--bin", "lkas"]), "lkas")?;
    let mut tests = Command::new("node");
    tests.current_dir(&folder).args(["--test", "--test-reporter=spec", "page.test.mjs"]).env("LKAS", program);
    run(&mut tests, NEEDS)
}
