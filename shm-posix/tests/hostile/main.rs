//! Hostile bytes and hostile places: header, mailboxes and slots overwritten at random while a writer and readers are at
//! work; files that are no channels; other users; memory that is full or read-only; other clocks. Whatever is found is a
//! typed error or a whole value, never a crash and never a hang.
//!
//! Without arguments this program runs the tests, with one those that have it in their name; with a role it is a child of
//! one. `LKAS_HOSTILE_SEED` repeats a schedule of faults, `LKAS_HOSTILE_FAULTS` says how many (10000 by default). Some tests
//! need root; without it they are left out and say so, or fail where `LKAS_REQUIRE_ROOT` is set.
#![allow(missing_docs)]

mod child;
mod containers;
mod corruption;
mod files;
#[path = "../torture/random.rs"]
#[allow(dead_code)] // not everything is used here
mod random;
mod roles;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod values;
mod worlds;

use child::{Outcome, Skipped};
use lkas_shm::ChannelName;
use std::process::ExitCode;

/// Removes what stands under a test's name.
struct Clean<'a>(&'a ChannelName);

impl Drop for Clean<'_> {
    fn drop(&mut self) {
        for end in ["", ".target", ".theirs", ".other"] {
            let path = format!("/dev/shm/{}{end}", self.0);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
    }
}

type Test = fn(&ChannelName) -> Outcome;

const TESTS: [(&str, Test); 19] = [
    ("random_bytes_under_controls", corruption::controls),
    ("random_bytes_under_pictures", corruption::pictures),
    ("waits_on_a_strangers_word_end_in_time", corruption::waits),
    ("a_segment_of_another_size_is_refused", files::sizes),
    ("a_segment_of_another_version_or_kind_is_refused", files::versions),
    ("what_is_no_file_is_refused", files::no_files),
    ("two_writers_and_too_many_readers", files::roles),
    ("segments_of_other_users", worlds::other_users),
    ("no_permission", worlds::no_permission),
    ("a_shared_group", containers::a_shared_group),
    ("another_pid_namespace", containers::another_pid_namespace),
    ("a_control_group_with_less_memory", containers::a_control_group),
    ("full_memory", worlds::full_memory),
    ("memory_without_a_limit", worlds::memory_without_a_limit),
    ("a_segment_with_holes_in_full_memory", worlds::holes),
    ("a_limit_on_the_size_of_files", worlds::file_size_limit),
    ("read_only_memory", worlds::read_only),
    ("another_clock", worlds::another_clock),
    ("a_successor_with_another_clock", worlds::a_successor_with_another_clock),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [_, role, name, seed] => child::exit_code(play(role, &name.parse().unwrap(), seed.parse().unwrap())),
        [_, filter] => tests(filter),
        _ => tests(""),
    }
}

/// What a child does: a test, or a role in one.
fn play(role: &str, name: &ChannelName, seed: u64) -> Outcome {
    let Some((_, run)) = TESTS.iter().find(|(test, _)| *test == role) else { return roles::play(role, name, seed) };
    child::watch();
    run(name)?;
    println!("{}", tally::total().to_line());
    Ok(())
}

fn tests(filter: &str) -> ExitCode {
    let required = std::env::var_os("LKAS_REQUIRE_ROOT").is_some();
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for (test, _) in TESTS.iter().filter(|(test, _)| test.contains(filter)) {
        println!("test {test} ...");
        let name = ChannelName::new(&format!("test-{}", std::process::id()), test).unwrap();
        // Also of a test that fails, and whatever it made of the name.
        let _clean = Clean(&name);
        // In a process of its own: what may crash are the tests themselves.
        match std::panic::catch_unwind(|| child::in_child(test, &name)) {
            Ok(Ok(())) => {
                println!("test {test} ... ok");
                passed += 1;
            }
            Ok(Err(Skipped(why))) if !required => {
                eprintln!("test {test} ... SKIPPED: {why}. Run it as root; LKAS_REQUIRE_ROOT=1 makes this a failure.");
                skipped += 1;
            }
            Ok(Err(Skipped(why))) => {
                println!("test {test} ... FAILED: {why}, and LKAS_REQUIRE_ROOT is set");
                failed += 1;
            }
            Err(_) => {
                println!("test {test} ... FAILED");
                failed += 1;
            }
        }
    }
    println!("hostile: {}", tally::total());
    println!("{passed} passed, {skipped} skipped, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
