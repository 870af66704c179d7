//! The package for Python: built, installed into an empty environment, and everything that is said of it.

use crate::tools::{cargo, root, run, target};
use crate::{How, Outcome};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a machine needs beside Rust.
const NEEDS: &str = "apt-get install python3 python3-venv (3.11 or newer), and a way to PyPI";

/// What the environment that builds and checks the wheel has. OpenCV from 5 on breaks old programs.
const TOOLS: [&str; 7] =
    ["maturin>=1.9,<2", "numpy<3", "pyzmq", "opencv-python-headless<5", "pytest>=8,<10", "mypy>=1.15,<3", "packaging"];

/// The original simulator's package, for the names that the bridge to it uses.
const CARLA: &str = "carla==0.9.16";

pub(crate) fn python(how: &How) -> Outcome {
    let folder = target("python");
    let source = root().join("python");
    lints(&source, &folder)?;

    let empty = installed(&source, &folder)?;
    let starts =
        "import lkas_channels, lkas.integration.shared_memory, lkas.integration.zmq; print(lkas_channels.now())";
    run(python_in(&empty, &folder).args(["-c", starts]), "")?;
    install(&empty, &TOOLS[1..])?;
    // Its newest release has no wheel for every interpreter. Whether the test of its names ran, it says itself.
    let carla = install(&empty, &[CARLA]).is_ok();
    println!("{CARLA}: {}", if carla { "installed" } else { "LEFT OUT: it does not install here" });

    println!("-- types");
    let packages = ["lkas_channels", "lkas"];
    run(python_in(&empty, &folder).args(["-m", "mypy", "--strict", "-p", packages[0], "-p", packages[1]]), "")?;
    let mut stubs = python_in(&empty, &folder);
    stubs.args(["-m", "mypy.stubtest"]).args(packages).arg("--ignore-unused-allowlist");
    run(stubs.arg("--allowlist").arg(source.join("tests/stubtest-allowed.txt")), "")?;

    println!("-- tests");
    run(&mut cargo(None, "", &["build", "-p", "lkas"]), "")?;
    let mut tests = python_in(&empty, &folder);
    tests.args(["-m", "pytest", "-p", "no:cacheprovider", "-c"]).arg(source.join("pyproject.toml"));
    tests.arg("--rootdir").arg(&source).arg(source.join("tests"));
    run(tests.env("LKAS_PROGRAMS", target("debug")).env("LKAS_REQUIRE_PROGRAMS", "1"), "")?;

    println!("-- costs, beside the implementation that was replaced");
    let mut costs = python_in(&empty, &folder);
    costs.arg(source.join("benches/costs.py"));
    if how.short {
        costs.arg("--short");
    }
    run(&mut costs, "")
}

/// The Python of an environment with the package, and with these and what tests need.
pub(crate) fn with_package(packages: &[&str]) -> Result<PathBuf, String> {
    let folder = target("python");
    let programs = installed(&root().join("python"), &folder)?;
    install(&programs, &TOOLS[1..])?;
    install(&programs, packages)?;
    Ok(programs.join("python"))
}

/// Builds the wheel and installs it into an environment that has nothing else.
fn installed(source: &Path, folder: &Path) -> Result<PathBuf, String> {
    println!("-- the wheel");
    let tools = environment(&folder.join("tools"))?;
    install(&tools, &TOOLS)?;
    let wheels = folder.join("wheels");
    // Nothing of an earlier build may stand in for this one.
    let _ = fs::remove_dir_all(&wheels);
    let mut build = Command::new(tools.join("maturin"));
    build.current_dir(source).args(["build", "--release", "--out"]).arg(&wheels);
    // Its own folder, and its own flags: a library that Python loads is built apart.
    build.env("CARGO_TARGET_DIR", folder.join("target")).env_remove("RUSTFLAGS");
    run(&mut build, NEEDS)?;
    let wheel = only_file(&wheels)?;

    println!("-- an empty environment");
    let empty = folder.join("empty");
    let _ = fs::remove_dir_all(&empty);
    let empty = environment(&empty)?;
    install(&empty, &[&wheel])?;
    Ok(empty)
}

fn lints(source: &Path, folder: &Path) -> Outcome {
    let mut format = Command::new("cargo");
    format.current_dir(source).args(["fmt", "--check"]);
    run(&mut format, "rustup component add rustfmt")?;
    // For the same profile and with the same flags as the wheel, which so finds its C++ built. Only the package's own
    // warnings are errors here: the workspace's are checked where they belong.
    let mut lints = cargo(None, "", &["clippy", "--release", "--locked", "--", "-D", "warnings"]);
    lints.current_dir(source).env("CARGO_TARGET_DIR", folder.join("target")).env_remove("RUSTFLAGS");
    run(&mut lints, "rustup component add clippy")
}

/// The programs of a virtual environment, which is made where it is not there.
fn environment(folder: &Path) -> Result<PathBuf, String> {
    let programs = folder.join("bin");
    if !programs.join("python").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder), NEEDS)?;
        install(&programs, &["pip>=23"])?;
    }
    Ok(programs)
}

fn install(programs: &Path, packages: &[impl AsRef<OsStr>]) -> Outcome {
    let mut pip = Command::new(programs.join("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]);
    run(pip.args(packages), NEEDS)
}

/// Python in an environment, in a folder where nothing of the source is found by accident.
fn python_in(programs: &Path, folder: &Path) -> Command {
    let mut python = Command::new(programs.join("python"));
    python.current_dir(folder).env_remove("PYTHONPATH").env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|why| format!("{}: {why}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    match &files[..] {
        [one] => Ok(one.clone()),
        _ => Err(format!("{} files in {}, expected one wheel", files.len(), folder.display())),
    }
}
