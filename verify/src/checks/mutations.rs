//! Mutations of the algorithm: core is copied, changed in one place, and a named model must fail.

use crate::checks::models::{building, fails, models};
use crate::tools::{copy, executable, root, target, write};
use crate::{How, Outcome};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A change of core's source, and the models that see it.
struct Mutation {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    models: &'static [&'static str],
}

const fn mutation(
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    models: &'static [&'static str],
) -> Mutation {
    Mutation { what, file, from, to, models }
}

const MUTATIONS: &[Mutation] = &[
    mutation(
        "one slot less: R + 1",
        "layout.rs",
        "const SPARE_SLOTS: usize = 2;",
        "const SPARE_SLOTS: usize = 1;",
        &["publish_and_take::no_torn_value_one_reader"],
    ),
    mutation(
        "publish ignores held slots",
        "writer.rs",
        "            used.add(put.held);\n",
        "",
        &[
            "publish_and_take::a_slot_never_has_two_owners_one_reader",
            "publish_and_take::a_slot_never_has_two_owners_two_readers",
            "publish_and_take::a_slot_never_has_two_owners_three_readers",
        ],
    ),
    mutation(
        "publish reuses the newest slot",
        "writer.rs",
        "let mut used = Used::new(self.free);",
        "let mut used = Used::new(NO_SLOT);",
        &["publish_and_take::no_torn_value_one_reader", "publish_and_take::no_torn_value_three_readers"],
    ),
    mutation(
        "a fresh mailbox forgets what its reader holds",
        "mailbox.rs",
        "if self.is_fresh() { self.0 } else { self.0 << HELD_SHIFT }",
        "self.0 << HELD_SHIFT",
        &["publish_and_take::slots_are_not_reused_early"],
    ),
    mutation(
        "the slot is shown before its header is written",
        "writer.rs",
        "        self.slot.finish(Stamp { sequence, time });\n        self.writer.put_everywhere()",
        "        let sleepers = self.writer.put_everywhere();\n        self.slot.finish(Stamp { sequence, time });\n        sleepers",
        &["publish_and_take::no_torn_value_two_readers"],
    ),
    mutation(
        "the slot fetched ahead of the next publish is not the free one",
        "writer.rs",
        "self.view.fetch(self.free)",
        "self.view.fetch(self.free % 3 + 1)",
        &["publish_and_take::no_torn_value_one_reader"],
    ),
    mutation(
        "take leaves FRESH set",
        "mailbox.rs",
        "self.word.fetch_sub(FRESH, ",
        "self.word.fetch_sub(0, ",
        &["publish_and_take::no_torn_value_one_reader"],
    ),
    mutation(
        "sleep is announced without WAITING",
        "mailbox.rs",
        "let next = word.0 | WAITING;",
        "let next = word.0;",
        &["sleep::no_wake_up_is_lost"],
    ),
    mutation(
        "sleep is announced over something new",
        "mailbox.rs",
        "if word.is_fresh() || word.is_closed() && closed == Closed::EndsWaiting {\n            return None;",
        "if word.is_closed() && closed == Closed::EndsWaiting {\n            return None;",
        &["sleep::no_wake_up_is_lost"],
    ),
    mutation(
        "publish does not report who waits",
        "mailbox.rs",
        "waiting: word.is_waiting() }",
        "waiting: false }",
        &[
            "sleep::no_wake_up_is_lost",
            "sleep::no_wake_up_is_lost_two_places",
            "sleep::no_wake_up_is_lost_three_places",
        ],
    ),
    mutation(
        "close does not report who waits",
        "writer.rs",
        "u32::from(mailbox.close()) << place",
        "u32::from(mailbox.close() && false) << place",
        &["sleep::closing_wakes_and_loses_nothing"],
    ),
    mutation(
        "two attempts are enough",
        "mailbox.rs",
        "const PUT_ATTEMPTS: u32 = 3;",
        "const PUT_ATTEMPTS: u32 = 2;",
        &["publish_and_take::a_publish_needs_at_most_three_attempts"],
    ),
    mutation(
        "a successor does not finish the publish",
        "writer.rs",
        "            if word.current() != newest {\n                used.add(mailbox.put(newest).held);\n            } else if word.is_fresh() {",
        "            used.add(word.current());\n            if word.is_fresh() {",
        &["death::no_value_is_lost_at_take_over"],
    ),
    mutation(
        "a successor goes on from the oldest value",
        "writer.rs",
        "slot.stamp.sequence > sequence",
        "slot.stamp.sequence < sequence",
        &["death::no_value_is_lost_at_take_over"],
    ),
    mutation(
        "a successor counts from 0",
        "writer.rs",
        "free: used.any_free(), sequence, owed,",
        "free: used.any_free(), sequence: 0, owed,",
        &[
            "death::a_succeeding_writer_goes_on",
            "death::a_writer_may_die_anywhere_one_reader",
            "death::a_writer_may_die_anywhere_two_readers",
            "death::a_writer_may_die_anywhere_three_readers",
        ],
    ),
    mutation(
        "a successor ignores held slots",
        "writer.rs",
        "used.add(word.held());",
        "",
        &["death::a_succeeding_writer_finds_a_free_slot"],
    ),
    mutation(
        "a successor ignores what lagging readers hold",
        "writer.rs",
        "used.add(mailbox.put(newest).held);",
        "mailbox.put(newest);",
        &["death::a_succeeding_writer_finds_a_free_slot"],
    ),
    mutation(
        "a successor wakes nobody for its predecessor",
        "writer.rs",
        "if newest == NO_SLOT { 0 } else { everybody }",
        "if newest == NO_SLOT { 0 } else { everybody & 0 }",
        &[
            "sleep::a_succeeding_writer_wakes_whom_its_predecessor_left_asleep",
            "sleep::a_succeeding_writer_wakes_whom_a_close_left_asleep",
        ],
    ),
    mutation(
        "a successor leaves CLOSED set",
        "writer.rs",
        "                mailbox.reopen();\n",
        "",
        &["sleep::closing_wakes_and_loses_nothing"],
    ),
    mutation(
        "take shows the slot that it had before",
        "reader.rs",
        "Some(taken) => self.slot = taken,",
        "Some(_) if self.slot != NO_SLOT => (),\n            Some(taken) => self.slot = taken,",
        &["publish_and_take::no_torn_value_one_reader"],
    ),
    mutation(
        "a succeeding reader sees nothing until the next publish",
        "reader.rs",
        "inherited: slot != NO_SLOT,",
        "inherited: false,",
        &["death::a_succeeding_reader_sees_the_newest"],
    ),
    mutation(
        "a succeeding reader looks at what was held before",
        "reader.rs",
        "if word.is_fresh() { NO_SLOT } else { word.current() }",
        "if word.is_fresh() { NO_SLOT } else { word.held() }",
        &[
            "death::a_reader_may_die_anywhere_one_reader",
            "death::a_reader_may_die_anywhere_two_readers",
            "death::a_reader_may_die_anywhere_three_readers",
        ],
    ),
    mutation(
        "publish leaves a value that was not taken where it is",
        "mailbox.rs",
        "        Self(FRESH | held & HELD | slot as u32)",
        "        let slot = if self.is_fresh() { self.current() } else { slot };\n        Self(FRESH | held & HELD | slot as u32)",
        &[
            "publish_and_take::a_late_joiner_sees_the_newest_one_reader",
            "publish_and_take::a_late_joiner_sees_the_newest_two_readers",
            "publish_and_take::a_late_joiner_sees_the_newest_three_readers",
            "publish_and_take::a_take_is_never_older_than_a_finished_publish_one_reader",
            "publish_and_take::a_take_is_never_older_than_a_finished_publish_three_readers",
        ],
    ),
];

pub(crate) fn mutations(_: &How) -> Outcome {
    let copy = target("mutations/workspace");
    copy_workspace(&copy)?;
    let mut survivors = Vec::new();
    let unchanged = build(&copy)?;
    let named: BTreeSet<&str> = MUTATIONS.iter().flat_map(|mutation| mutation.models).copied().collect();
    for model in named {
        if fails(&mut models(&unchanged, Some(model)), model)? {
            return Err(format!("{model} fails without any mutation"));
        }
    }
    println!("  {:<62} caught by", "mutation");
    for mutation in MUTATIONS {
        let place = copy.join("core/src").join(mutation.file);
        let source = fs::read_to_string(&place).map_err(|why| format!("{}: {why}", place.display()))?;
        if source.matches(mutation.from).count() != 1 {
            return Err(format!("\"{}\": its place in {} is not there once", mutation.what, mutation.file));
        }
        write(&place, &source.replace(mutation.from, mutation.to))?;
        let changed = build(&copy);
        write(&place, &source)?;
        let changed = changed.map_err(|why| format!("\"{}\": {why}", mutation.what))?;
        for model in mutation.models {
            let caught = fails(&mut models(&changed, Some(model)), model)?;
            println!("  {:<62} {}{model}", mutation.what, if caught { "" } else { "NOT CAUGHT BY " });
            if !caught {
                survivors.push(format!("{} by {model}", mutation.what));
            }
        }
    }
    if survivors.is_empty() { Ok(()) } else { Err(format!("not caught: {}", survivors.join(", "))) }
}

/// Builds the models of the copy: quickly, because that takes longer than to run one.
fn build(copy: &Path) -> Result<PathBuf, String> {
    let mut command = building("mutations/target");
    command.current_dir(copy).arg("--quiet").env("RUSTFLAGS", "--cfg lkas_loom --cap-lints allow");
    for (setting, value) in [("OPT_LEVEL", "1"), ("DEBUG", "0"), ("INCREMENTAL", "true"), ("CODEGEN_UNITS", "16")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    executable(&mut command, "models")
}

/// Copies what the models need: core, and this package.
fn copy_workspace(to: &Path) -> Outcome {
    let from = root();
    let _ = fs::remove_dir_all(to);
    let manifest = fs::read_to_string(from.join("Cargo.toml")).map_err(|why| why.to_string())?;
    let manifest: String = manifest
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some(("members", _)) => "members = [\"core\", \"verify\"]\n".to_owned(),
            Some(("default-members", _)) => String::new(),
            // Of what is not copied.
            Some(("zmq-sys", _)) => String::new(),
            _ if line == "[patch.crates-io]" => String::new(),
            // A part of the workspace that is not copied.
            _ if line == "[profile.dev.package.lkas]" => "[profile.dev.package.lkas-core]\n".to_owned(),
            _ if line == "[profile.dev.package.lkas-core]" => "[profile.dev.package.lkas-verify]\n".to_owned(),
            _ => format!("{line}\n"),
        })
        .collect();
    copy(&from.join("core"), &to.join("core"))?;
    copy(&from.join("verify/tests/models"), &to.join("verify/tests/models"))?;
    for file in ["Cargo.lock", "verify/Cargo.toml"] {
        fs::copy(from.join(file), to.join(file)).map_err(|why| format!("{file}: {why}"))?;
    }
    fs::create_dir_all(to.join("verify/src")).map_err(|why| why.to_string())?;
    write(&to.join("verify/src/main.rs"), "fn main() {}\n")?;
    write(&to.join("Cargo.toml"), &manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_has_its_one_place() {
        for mutation in MUTATIONS {
            let source = fs::read_to_string(root().join("core/src").join(mutation.file)).unwrap();
            assert_eq!(source.matches(mutation.from).count(), 1, "\"{}\" in {}", mutation.what, mutation.file);
        }
    }
}
