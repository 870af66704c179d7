//! Examples and the README's snippets: all of them run.

use crate::checks::packages::LIBRARIES;
use crate::tools::{cargo, root, run, target};
use crate::{How, Outcome};
use std::fs;
use std::process::Stdio;

/// An example is read at a glance.
const MOST_LINES: usize = 60;

pub(crate) fn examples(_: &How) -> Outcome {
    let mut count = 0;
    for (name, folder) in LIBRARIES {
        let Ok(files) = fs::read_dir(root().join(folder).join("examples")) else { continue };
        for file in files {
            let path = file.map_err(|why| why.to_string())?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let lines = fs::read_to_string(&path).map_err(|why| why.to_string())?.lines().count();
            if lines > MOST_LINES {
                return Err(format!("the example {stem} of {name} has {lines} lines, expected at most {MOST_LINES}"));
            }
            println!("\n{name}, {stem}:");
            let mut command = cargo(None, "", &["run", "--quiet", "-p", name, "--all-features", "--example", &stem]);
            // What would need another processor, or other memory.
            if name == "lkas-core" {
                command = cargo(None, "", &["run", "--quiet", "-p", name, "--features", "alloc", "--example", &stem]);
            }
            // Who reads what a person types hears that there is none.
            run(command.stdin(Stdio::null()), "")?;
            count += 1;
        }
    }
    println!("\n{count} examples");
    if count < LIBRARIES.len() { Err("expected an example for each library".into()) } else { readme() }
}

/// Runs the README's snippets in a program of their own, with the dependencies that the README names.
fn readme() -> Outcome {
    let text = fs::read_to_string(root().join("README.md")).map_err(|why| why.to_string())?;
    let block = |language: &str| {
        let start = format!("\n```{language}\n");
        let from = text.find(&start).map(|at| at + start.len())?;
        text[from..].find("\n```").map(|end| &text[from..from + end])
    };
    let dependencies = block("toml").filter(|block| block.starts_with("[dependencies]"));
    let dependencies = dependencies.ok_or("the README names no [dependencies]")?;
    block("rust").ok_or("the README has no snippet in Rust")?;
    let folder = target("examples/readme");
    fs::create_dir_all(folder.join("src")).map_err(|why| why.to_string())?;
    let root = fs::canonicalize(root()).map_err(|why| why.to_string())?;
    let patches = LIBRARIES.map(|(name, path)| format!("{name} = {{ path = {:?} }}\n", root.join(path))).concat();
    let manifest = format!(
        "[package]\nname = \"readme\"\nedition = \"2024\"\n\n{dependencies}\n\n[patch.crates-io]\n{patches}\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).map_err(|why| why.to_string())?;
    // The snippets use `?`, as a program does.
    let mut tested = String::new();
    let mut is_rust = false;
    for line in text.lines() {
        if is_rust && line == "```" {
            tested += "# Ok::<(), Box<dyn std::error::Error>>(())\n";
        }
        is_rust = if line.starts_with("```") { line == "```rust" } else { is_rust };
        tested += &format!("{line}\n");
    }
    fs::write(folder.join("README.md"), &tested).map_err(|why| why.to_string())?;
    fs::write(folder.join("src/lib.rs"), "#![doc = include_str!(\"../README.md\")]\n")
        .map_err(|why| why.to_string())?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).map_err(|why| why.to_string())?;
    println!("\nREADME.md:");
    run(cargo(None, "examples", &["test", "--doc"]).current_dir(folder).env_remove("RUSTFLAGS"), "")
}
