//! Torture: a writer and three readers of one channel are killed, suspended and continued at random instants, for
//! commands of 64 bytes and pictures of 1.44 MB. Whoever is killed gets a successor, and everybody must go on with whole
//! values in order.
//!
//! Without arguments this program is the driver; with a role it is one of the tortured. A hundred kills are made unless
//! `LKAS_TORTURE_KILLS` says how many; `cargo verify torture` makes a thousand, and with `--deep` a hundred thousand.
//! `LKAS_TORTURE_SEED` repeats a schedule of faults; the instants at which they hit are the kernel's all the same.
#![allow(missing_docs)]
#![forbid(unsafe_code)]

mod children;
mod driver;
mod figures;
mod ledger;
mod payload;
mod process;
mod random;
mod report;

use lkas_shm::{ChannelName, clock};
use payload::{Controls, Images, Payloads};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [_, role @ ("writer" | "reader"), payload, name, driver, life, seed, leaves] => {
            children::die_with(driver.parse().expect("a process"));
            let name = name.parse().expect("a channel");
            let [life, seed, leaves] = [life, seed, leaves].map(|number| number.parse().expect("a number"));
            match (payload == Images::NAME, role) {
                (true, "writer") => children::write::<Images>(&name, life, seed, leaves != 0),
                (false, "writer") => children::write::<Controls>(&name, life, seed, leaves != 0),
                (true, _) => children::read::<Images>(&name, seed),
                (false, _) => children::read::<Controls>(&name, seed),
            }
            ExitCode::SUCCESS
        }
        _ => drive(),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

fn drive() -> ExitCode {
    let kills = number("LKAS_TORTURE_KILLS").unwrap_or(100);
    let seed = number("LKAS_TORTURE_SEED").unwrap_or_else(clock::now);
    println!("torture: {kills} kills, LKAS_TORTURE_SEED={seed}");
    let failed = [torture::<Controls>(kills / 2, seed), torture::<Images>(kills - kills / 2, seed)].contains(&false);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Whether everything was survived.
fn torture<P: Payloads>(kills: u64, seed: u64) -> bool {
    let name = ChannelName::new(&format!("torture-{}", std::process::id()), P::NAME).expect("it is short and plain");
    match driver::torture::<P>(&name, kills, seed) {
        Ok(faults) => {
            println!("  {}: ok, {faults} faults survived, all values whole and in order", P::NAME);
            true
        }
        Err(why) => {
            println!("  {}: FAILED: {why}", P::NAME);
            println!("  repeat it with LKAS_TORTURE_SEED={seed}, and as many kills");
            false
        }
    }
}
