//! Microcontrollers: builds for them, and programs that run in an emulator.

use crate::tools::{cargo, output, root, run, target};
use crate::{How, Outcome};
use lkas_messages::Control;
use lkas_messages::codec;
use object::{Object, ObjectSymbol};
use std::path::Path;
use std::process::Command;

/// Targets without an operating system that have compare-and-swap.
const TARGETS: [&str; 3] = ["thumbv7m-none-eabi", "thumbv7em-none-eabihf", "riscv32imac-unknown-none-elf"];
/// One that has none.
const WITHOUT_SWAP: &str = "thumbv6m-none-eabi";

/// The most code that publishing and taking 32 bytes may need together.
const CODE_LIMIT: u64 = 1024;

pub(crate) fn no_std(_: &How) -> Outcome {
    let build = |target: &str, more: &[&str]| {
        let packages = ["build", "-p", "lkas-core", "-p", "lkas-messages", "-p", "lkas-safety", "--target", target];
        let mut command = cargo(None, "no-std", &packages);
        command.args(more);
        command
    };
    for target in TARGETS {
        println!("{target}");
        run(&mut build(target, &[]), &format!("rustup target add {target}"))?;
    }
    println!("{WITHOUT_SWAP}, with critical sections");
    let needs = format!("rustup target add {WITHOUT_SWAP}");
    run(&mut build(WITHOUT_SWAP, &["--features", "lkas-core/critical-section"]), &needs)?;
    println!("{WITHOUT_SWAP}, without: expected to be refused");
    let (built, said) = output(&mut build(WITHOUT_SWAP, &[]), &needs)?;
    if built || !said.contains("this processor has no compare-and-swap: enable lkas-core's feature") {
        return Err(format!("expected an error that names the feature, found:\n{said}"));
    }
    Ok(())
}

pub(crate) fn firmware(_: &How) -> Outcome {
    let mut build = cargo(None, "firmware", &["build", "--release", "--locked"]);
    // The board's flags stand in the folder's own configuration, and flags of the environment would replace them.
    build.current_dir(root().join("verify/firmware")).env_remove("RUSTFLAGS");
    run(&mut build, "rustup target add thumbv7m-none-eabi")?;
    let programs = target("firmware/thumbv7m-none-eabi/release");

    let printed = emulate(&programs.join("interrupt"))?;
    print!("{printed}");
    if !printed.contains(" wrong 0\n") {
        return Err("the interrupt's commands did not arrive as they were published".into());
    }
    let printed = emulate(&programs.join("stop"))?;
    print!("{printed}");
    if !printed.contains("safe stop: the last control is") || !printed.contains(" stood true resumed true wrong 0\n") {
        return Err(
            "the vehicle did not stop by itself when controls stopped coming, and drive on when they came back".into(),
        );
    }
    serial(&programs)?;
    emulate(&programs.join("size"))?;
    sizes(&programs.join("size"))
}

/// What a program prints until it ends; an error unless it ends well.
fn emulate(program: &Path) -> Result<String, String> {
    let (good, printed) = output(&mut emulator(program), "apt-get install qemu-system-arm")?;
    if good { Ok(printed) } else { Err(format!("{} failed:\n{printed}", program.display())) }
}

fn emulator(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", "qemu-system-arm", "-machine", "lm3s6965evb", "-cpu", "cortex-m3", "-nographic"]);
    command.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(program);
    command
}

/// Decodes what a program sends over its serial line.
fn serial(programs: &Path) -> Outcome {
    let out = emulator(&programs.join("serial")).output().map_err(|why| why.to_string())?;
    let mut bytes = out.stdout;
    let mut number = 0;
    for frame in bytes.split_mut(|byte| *byte == 0).filter(|frame| !frame.is_empty()) {
        number += 1;
        let control: Control = codec::decode_framed(frame).map_err(|why| format!("frame {number}: {why}"))?;
        let steering = (number % 200) as f32 / 100.0 - 1.0;
        if !control.is_whole() || control.frame_id() != number || control.steering() != steering {
            return Err(format!("frame {number} is {control:?}"));
        }
    }
    println!("serial line: {number} commands in {} bytes decoded", bytes.len());
    if number == 100 && out.status.success() { Ok(()) } else { Err(format!("{number} commands, expected 100")) }
}

/// Prints the sizes of code and RAM for a payload of 32 bytes, as the symbol table has them.
fn sizes(program: &Path) -> Outcome {
    let bytes = std::fs::read(program).map_err(|why| format!("{}: {why}", program.display()))?;
    let file = object::File::parse(&*bytes).map_err(|why| format!("{}: {why}", program.display()))?;
    let symbols: Vec<(&str, u64)> =
        file.symbols().filter_map(|symbol| Some((symbol.name().ok()?, symbol.size()))).collect();
    let size = |name: &str| {
        let symbol = symbols.iter().find(|symbol| symbol.0 == name);
        symbol.map(|symbol| symbol.1).ok_or_else(|| format!("there is no symbol {name}"))
    };
    let (publish, take, ram) = (size("publish_32_bytes")?, size("take_32_bytes")?, size("CHANNEL_32_BYTES")?);
    // What the compiler did not put into these two.
    let elsewhere: u64 = symbols.iter().filter(|symbol| symbol.0.contains("lkas_core")).map(|symbol| symbol.1).sum();
    println!(
        "32 bytes, one reader: publish {publish}, take {take}, parts of both {elsewhere} bytes of code; {ram} of RAM"
    );
    let code = publish + take + elsewhere;
    if code > CODE_LIMIT {
        return Err(format!("{code} bytes of code, expected at most {CODE_LIMIT}"));
    }
    // One mailbox of two words, and three slots of header and payload.
    let layout = 8 + 3 * (16 + 32);
    if ram == layout { Ok(()) } else { Err(format!("{ram} bytes of RAM, expected {layout}")) }
}
