//! How many instructions do publish and take have? By callgrind, so that the machine's mood does not matter.
//!
//! `--record` writes what is found down; otherwise a change of more than 5 % against what was written down is an error.
#![allow(missing_docs)]

use core::hint::black_box;
use lkas_benches::{Bench, Block, Group, Limit, Row, role};
use lkas_core::Channel;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// How many times an operation is run; then as many once more, so that all else cancels.
const COUNT: u64 = 1000;
/// A change by this share is an error.
const CHANGE: f64 = 0.05;

fn publish<const N: usize, const R: usize>(count: u64) {
    let mut channel = Channel::<Block<N>, R>::new();
    let (mut writer, _readers) = channel.split();
    for number in 0..count {
        black_box(writer.loan().publish(number));
    }
}

fn publish_and_take(count: u64) {
    let mut channel = Channel::<Block<32>, 1>::new();
    let (mut writer, [mut reader]) = channel.split();
    for number in 0..count {
        black_box(writer.loan().publish(number));
        black_box(reader.take().map(|sample| sample.0[0]));
    }
}

fn take_nothing(count: u64) {
    let mut channel = Channel::<Block<32>, 1>::new();
    let (mut writer, [mut reader]) = channel.split();
    writer.loan().publish(1);
    black_box(reader.take().is_some());
    for _ in 0..count {
        black_box(reader.take().is_some());
    }
}

type Operation = fn(u64);

const OPERATIONS: [(&str, Operation); 6] = [
    ("publish 32 bytes in place, 1 reader", publish::<32, 1>),
    ("publish 4 KiB in place, 1 reader", publish::<4096, 1>),
    ("publish 32 bytes in place, 4 readers", publish::<32, 4>),
    ("publish 32 bytes in place, 8 readers", publish::<32, 8>),
    ("publish and take 32 bytes in place", publish_and_take),
    ("take where nothing is new", take_nothing),
];

/// Instructions of the whole program in which an operation is run `count` times.
fn instructions(operation: usize, count: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|why| why.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.env("LKAS_BENCHES_ROLE", format!("{operation} {count}"));
    let out = command.output().map_err(|why| format!("can't run valgrind: {why}; apt-get install valgrind"))?;
    let text = String::from_utf8_lossy(&out.stderr);
    let count = text.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    count.filter(|_| out.status.success()).ok_or_else(|| format!("valgrind ended with {}:\n{text}", out.status))
}

fn recorded() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

fn main() {
    if let Some(role) = role() {
        let (operation, count) = role.split_once(' ').expect("an operation and a count");
        let [operation, count] = [operation, count].map(|number| number.parse::<u64>().expect("a number"));
        return OPERATIONS[operation as usize].1(count);
    }
    let mut bench = Bench::new(
        "instructions",
        "how many instructions do publish and take have?",
        "Callgrind counts all instructions of a program that runs an operation 1000 times and of one that runs it 2000 \
         times; the difference is the operation's. The figures belong to one compiler and one kind of processor.",
        "What an instruction costs: a compare-and-swap is one.",
    );
    let mut found = BTreeMap::new();
    for (index, (name, _)) in OPERATIONS.iter().enumerate() {
        let count = |count| instructions(index, count).unwrap_or_else(|why| panic!("{why}"));
        found.insert((*name).to_owned(), (count(2 * COUNT) - count(COUNT)) as f64 / COUNT as f64);
    }
    let rows = found.iter().map(|(name, value)| Row::value(name, *value)).collect();
    bench.add(Group::new("one operation", "instructions", rows));
    if std::env::args().any(|argument| argument == "--record") {
        let text = serde_json::to_string_pretty(&found).expect("plain data") + "\n";
        std::fs::write(recorded(), text).expect("a place for the figures");
        println!("  written to {}", recorded().display());
    }
    let text =
        std::fs::read_to_string(recorded()).expect("recorded figures; cargo bench --bench instructions -- --record");
    let before: BTreeMap<String, f64> = serde_json::from_str(&text).expect("recorded figures");
    let mut changed = Vec::new();
    for (name, now) in &found {
        let Some(before) = before.get(name) else { panic!("\"{name}\" was never recorded; run with --record") };
        bench.aim(&format!("{name}, recorded as {before:.1}"), *now, Limit::AtMost(before * (1.0 + CHANGE)));
        if (now - before).abs() > before * CHANGE {
            changed.push(format!("{name}: {now:.1} instructions, recorded were {before:.1}"));
        }
    }
    bench.save();
    if !changed.is_empty() {
        eprintln!(
            "more than 5 % changed (with intent or another compiler: run with --record):\n{}",
            changed.join("\n")
        );
        std::process::exit(1);
    }
}
