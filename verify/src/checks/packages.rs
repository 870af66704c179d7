//! The libraries as others get them: packaged, with the oldest dependencies and compiler that they name, with any features.

use crate::tools::{cargo, copy, output, root, run, target};
use crate::{How, Outcome};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages for the registry, and their folders.
pub(crate) const LIBRARIES: [(&str, &str); 6] = [
    ("lkas-derive", "core/derive"),
    ("lkas-core", "core"),
    ("lkas-messages", "core/messages"),
    ("lkas-safety", "core/safety"),
    ("lkas-shm", "shm-posix"),
    ("lkas-zmq", "zmq-adapter"),
];

/// The oldest compiler: `rust-version` in the workspace's manifest.
const OLDEST: &str = "+1.90.0";

/// The most packages that a program with `lkas-shm` alone depends on, besides those of the derive macros.
const MOST_PACKAGES: usize = 15;

/// What stands in the place of a package of the registry.
const PATCH: &str = "zmq-adapter/zmq-sys";

fn each(command: &mut Command) -> &mut Command {
    command.args(LIBRARIES.iter().flat_map(|(name, _)| ["-p", name]))
}

/// Packages every library, and builds it from its package.
pub(crate) fn package(_: &How) -> Outcome {
    forget_packages()?;
    // What is not committed yet is packaged as well.
    let mut command = cargo(None, "package", &["package", "--allow-dirty"]);
    run(each(&mut command).env_remove("RUSTFLAGS"), "")?;
    for (name, folder) in LIBRARIES {
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            if !root().join(folder).join(file).exists() {
                return Err(format!("{name} has no {file}"));
            }
        }
    }
    let tree = ["tree", "-p", "lkas-shm", "--no-default-features", "-e", "normal", "--prefix", "none", "--no-dedupe"];
    let packages = |more: &[&str]| -> Result<Vec<String>, String> {
        let (good, printed) = output(cargo(None, "", &tree).args(more), "")?;
        let mut names: Vec<String> =
            printed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        if good && !names.is_empty() { Ok(names) } else { Err(printed) }
    };
    // Packages that a program only has because of the macros come with them alone.
    let (all, without) = (packages(&[])?, packages(&["--prune", "lkas-derive"])?);
    println!(
        "lkas-shm without its default features: {} packages, {} without those of the derive macros",
        all.len(),
        without.len()
    );
    if without.len() > MOST_PACKAGES {
        return Err(format!("{} packages, expected at most {MOST_PACKAGES}: {}", without.len(), without.join(" ")));
    }
    Ok(())
}

/// Removes what was unpacked and built of these packages when they were last packaged at this path: cargo takes a package
/// of the same name and version for the same package, and would build the next against sources of before.
fn forget_packages() -> Outcome {
    let _ = fs::remove_dir_all(target("package"));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo"))).ok_or("no home of cargo")?;
    let Ok(registries) = fs::read_dir(home.join("registry/src")) else { return Ok(()) };
    // A registry in a folder, as `cargo package` makes one, has no host before its hyphen.
    let in_folders = registries.flatten().filter(|found| found.file_name().as_encoded_bytes().starts_with(b"-"));
    for unpacked in in_folders.flat_map(|registry| fs::read_dir(registry.path())).flatten().flatten() {
        let name = unpacked.file_name().to_string_lossy().into_owned();
        if LIBRARIES.iter().any(|(library, _)| name.starts_with(&format!("{library}-"))) {
            fs::remove_dir_all(unpacked.path()).map_err(|why| format!("{}: {why}", unpacked.path().display()))?;
        }
    }
    Ok(())
}

/// Builds the libraries with the oldest versions that they allow of what they depend on, by the oldest compiler.
pub(crate) fn minimal(_: &How) -> Outcome {
    let copy = target("minimal/workspace");
    copy_libraries(&copy)?;
    let mut resolve = cargo(Some("+nightly"), "minimal", &["generate-lockfile", "-Zdirect-minimal-versions"]);
    run(resolve.current_dir(&copy).env_remove("RUSTFLAGS"), "rustup toolchain install nightly")?;
    let needs = "rustup toolchain install 1.90.0 --profile minimal";
    println!("lkas-core to lkas-zmq with their oldest dependencies, Rust 1.90");
    let mut build = cargo(Some(OLDEST), "minimal", &["check", "--workspace", "--all-features", "--lib", "--examples"]);
    run(build.current_dir(&copy).env_remove("RUSTFLAGS"), needs)?;
    println!("the whole workspace, Rust 1.90");
    let all = ["check", "--workspace", "--locked"];
    run(cargo(Some(OLDEST), "minimal/all", &all).env_remove("RUSTFLAGS"), needs)
}

/// A workspace of the libraries alone: what others depend on must not bound their dependencies.
fn copy_libraries(to: &Path) -> Outcome {
    let _ = fs::remove_dir_all(to);
    let from = root();
    let manifest = fs::read_to_string(from.join("Cargo.toml")).map_err(|why| why.to_string())?;
    let folders = LIBRARIES.map(|(_, folder)| format!("{folder:?}")).join(", ");
    let mut lines = String::new();
    for line in manifest.lines().take_while(|line| !line.starts_with("[profile")) {
        match line.split_once(" = ") {
            Some(("members", _)) => lines += &format!("members = [{folders}]\n"),
            Some(("exclude", _)) => lines += &format!("exclude = [{PATCH:?}]\n"),
            Some(("default-members", _)) => (),
            _ => lines += &format!("{line}\n"),
        }
    }
    for (_, folder) in LIBRARIES {
        for part in ["src", "examples", "README.md", "Cargo.toml"] {
            let part_from = from.join(folder).join(part);
            if part_from.exists() {
                copy(&part_from, &to.join(folder).join(part))?;
            }
        }
        // Tests with programs of their own are named in the manifest, and not copied.
        let file = to.join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&file).map_err(|why| why.to_string())?;
        let kept: String = text.split("\n# Real processes").next().unwrap_or_default().to_owned();
        fs::write(&file, kept + "\n").map_err(|why| why.to_string())?;
    }
    copy(&from.join(PATCH), &to.join(PATCH))?;
    fs::write(to.join("Cargo.toml"), lines).map_err(|why| why.to_string())
}

/// Builds the libraries with every combination of their features.
pub(crate) fn features(_: &How) -> Outcome {
    // `critical-section` wants an implementation of its own to link, but not to be checked.
    let mut command = cargo(None, "features", &["hack", "check", "--feature-powerset", "--lib"]);
    run(each(&mut command), "cargo install --locked cargo-hack")
}

/// Licences, sources and duplicates among all dependencies.
pub(crate) fn licences(_: &How) -> Outcome {
    let arguments =
        ["deny", "--all-features", "--offline", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"];
    run(&mut cargo(None, "", &["fetch", "--locked"]), "")?;
    run(&mut cargo(None, "", &arguments), "cargo install --locked cargo-deny")
}

/// Compares the public items of each library with the list in `docs/api`, which is written anew with
/// `LKAS_WRITE_API=1`: nothing public changes unseen.
pub(crate) fn api(_: &How) -> Outcome {
    const NEEDS: &str = "cargo install --locked cargo-public-api; rustup toolchain install nightly";
    let write = std::env::var_os("LKAS_WRITE_API").is_some();
    let mut changed = Vec::new();
    for (name, _) in LIBRARIES.into_iter().filter(|(name, _)| *name != "lkas-derive") {
        let arguments = ["public-api", "-p", name, "--all-features", "-sss", "--color", "never"];
        let mut command = cargo(None, "api", &arguments);
        let out = command.env_remove("RUSTFLAGS").output().map_err(|why| format!("{why}; {NEEDS}"))?;
        if !out.status.success() {
            return Err(format!("{name}: {}\n{NEEDS}", String::from_utf8_lossy(&out.stderr)));
        }
        let found = String::from_utf8_lossy(&out.stdout).into_owned();
        let file = root().join("docs/api").join(format!("{name}.txt"));
        if write {
            fs::create_dir_all(root().join("docs/api")).map_err(|why| why.to_string())?;
            fs::write(&file, &found).map_err(|why| format!("{}: {why}", file.display()))?;
        }
        let known = fs::read_to_string(&file).map_err(|why| format!("{}: {why}", file.display()))?;
        println!("{name}: {} public items", found.lines().count());
        for line in known.lines().filter(|line| !found.lines().any(|other| other == *line)) {
            changed.push(format!("{name}: gone: {line}"));
        }
        for line in found.lines().filter(|line| !known.lines().any(|other| other == *line)) {
            changed.push(format!("{name}: new: {line}"));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nwhere that is meant: LKAS_WRITE_API=1 cargo verify api, and a line in CHANGELOG.md",
        changed.join("\n")
    ))
}
