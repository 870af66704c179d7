//! Torture: a writer and three readers of one channel are killed, suspended and continued at random instants, for
//! values of 8 bytes to 1.44 MB and one reader up to 29. Whoever is killed gets a successor, and everybody must go on with whole
//! values in order.
//!
//! Without arguments this program is the driver; with a role it is one of the tortured. A hundred kills are made unless
//! `LKAS_TORTURE_KILLS` says how many; `cargo verify torture` makes a thousand, and with `--deep` a hundred thousand.
//! `LKAS_TORTURE_SEED` repeats a schedule of faults; the instants at which they hit are the kernel's all the same.
#![allow(missing_docs)]
#![deny(unsafe_code)]

#[allow(unsafe_code)] // forks
mod children;
mod driver;
mod figures;
mod ledger;
mod payload;
mod process;
mod random;
mod report;

use lkas_shm::{ChannelName, clock};
use payload::{Controls, Images, Pages, Payloads, Words};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [_, role @ ("writer" | "reader"), payload, name, driver, life, seed, leaves] => {
            children::die_with(driver.parse().expect("a process"));
            let name = name.parse().expect("a channel");
            let [life, seed, leaves] = [life, seed, leaves].map(|number| number.parse().expect("a number"));
            let play = match payload {
                Controls::NAME => play::<Controls>,
                Images::NAME => play::<Images>,
                Pages::NAME => play::<Pages>,
                Words::<1>::NAME => play::<Words<1>>,
                Words::<29>::NAME => play::<Words<29>>,
                other => panic!("there is no payload {other}"),
            };
            play(role == "writer", &name, life, seed, leaves != 0);
            ExitCode::SUCCESS
        }
        _ => drive(),
    }
}

fn play<P: Payloads>(writes: bool, name: &ChannelName, life: u64, seed: u64, leaves: bool) {
    if writes { children::write::<P>(name, life, seed, leaves) } else { children::read::<P>(name, seed) }
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
    // Most of them where a system has most of its channels.
    let few = kills / 10;
    let passed = [
        torture::<Controls>(kills - 7 * few, seed),
        torture::<Images>(4 * few, seed),
        torture::<Words<1>>(few, seed),
        torture::<Words<29>>(few, seed),
        torture::<Pages>(few, seed),
    ];
    let failed = passed.contains(&false);
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
