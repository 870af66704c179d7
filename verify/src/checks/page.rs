//! The viewer's page in a real Chromium, with processes killed and suspended under it; and what Foxglove sees of the viewer.

use crate::tools::{cargo, copy, executable, root, run, target};
use crate::{How, Outcome};
use std::fs;
use std::process::Command;

pub(crate) fn page(_: &How) -> Outcome {
    drive("page.test.mjs", "apt-get install chromium nodejs npm (Node 18 or newer), and a way to the npm registry")
}

pub(crate) fn foxglove(_: &How) -> Outcome {
    drive("foxglove.test.mjs", "apt-get install nodejs npm (Node 18 or newer), and a way to the npm registry")
}

/// Runs that file of tests on the program; `needs` is what a machine needs beside Rust.
fn drive(tests: &str, needs: &str) -> Outcome {
    // Node looks for packages beside the programs that use them, and nothing is installed into the source.
    let folder = target("page");
    let source = root().join("verify/page");
    for entry in fs::read_dir(&source).map_err(|why| format!("{}: {why}", source.display()))? {
        let file = entry.map_err(|why| why.to_string())?.file_name();
        copy(&source.join(&file), &folder.join(&file))?;
    }
    let mut install = Command::new("npm");
    install.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run(&mut install, needs)?;
    let program = executable(&mut cargo(None, "", &["build", "-p", "lkas", "--bin", "lkas"]), "lkas")?;
    let mut node = Command::new("node");
    node.current_dir(&folder).args(["--test", "--test-reporter=spec", tests]).env("LKAS", program);
    run(&mut node, needs)
}
