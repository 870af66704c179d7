//! Every ordering of core, weakened in turn: a named model must fail. That is also what shows that models can fail.

use crate::checks::models::{build, fails, models};
use crate::tools::{code, root};
use crate::{How, Outcome};
use std::collections::BTreeSet;
use std::fs;

/// Which model catches which weakening.
const CAUGHT_BY: &[(&str, &str, &str)] = &[
    ("put exchange", "Acquire", "publish_and_take::no_torn_value_one_reader"),
    ("put exchange", "Release", "publish_and_take::slots_are_not_reused_early"),
    ("put by force", "Acquire", "publish_and_take::a_rogue_reader_costs_only_attempts"),
    ("put by force", "Release", "publish_and_take::a_rogue_reader_costs_only_attempts"),
    ("take exchange", "Acquire", "publish_and_take::slots_are_not_reused_early"),
    ("take exchange", "Release", "publish_and_take::no_torn_value_one_reader"),
    ("look", "Relaxed", "death::a_succeeding_writer_goes_on"),
    ("set sequence", "Relaxed", "observer::an_observer_sees_one_publish"),
    ("observe sequence", "Relaxed", "observer::an_observer_sees_one_publish"),
    ("observe mailbox", "Relaxed", "observer::an_observer_sees_one_publish"),
    ("publish fence", "Relaxed", "observer::an_observer_sees_one_publish"),
    ("observe fence", "Relaxed", "observer::an_observer_sees_one_publish"),
    ("retire", "Relaxed", "live::whoever_finds_it_retired_finds_the_successor"),
    ("is retired", "Relaxed", "live::whoever_finds_it_retired_finds_the_successor"),
];

/// What each ordering can be weakened to, one step at a time.
fn weaker(order: &str) -> Result<&'static [&'static str], String> {
    match order {
        "Relaxed" => Ok(&[]),
        "Acquire" | "Release" => Ok(&["Relaxed"]),
        "AcqRel" => Ok(&["Acquire", "Release"]),
        other => Err(format!("{other} is not used in core without a design note")),
    }
}

/// Every `order!("what", Ordering)` and `fence!("what", Ordering)` of a source, comments and tests left out.
fn orders(source: &str) -> Vec<(String, String)> {
    code(source)
        .replace("fence!(\"", "order!(\"")
        .split("order!(\"")
        .skip(1)
        .filter_map(|rest| {
            let (what, rest) = rest.split_once("\", ")?;
            let (order, _) = rest.split_once(')')?;
            Some((what.to_owned(), order.to_owned()))
        })
        .collect()
}

/// How many orderings the atomic operations and fences of a source take.
fn orderings_needed(source: &str) -> usize {
    let code = code(source);
    let count = |call: &str| code.matches(call).count();
    count(".load(")
        + count(".store(")
        + count(".swap(")
        + count(".fetch_")
        + count("fence!(")
        + 2 * count(".compare_exchange")
}

pub(crate) fn weakened(_: &How) -> Outcome {
    let operations = operations()?;
    let executable = build()?;
    let named: BTreeSet<&str> = CAUGHT_BY.iter().map(|row| row.2).collect();
    for model in named {
        if fails(&mut models(&executable, Some(model)), model)? {
            return Err(format!("{model} fails without any weakening"));
        }
    }
    let mut missing = Vec::new();
    println!("  {:<26} {:<8} {:<12} caught by", "operation", "ordering", "weakened to");
    for (what, order) in &operations {
        let weaker = weaker(order)?;
        if weaker.is_empty() {
            println!("  {what:<26} {order:<8} {:<12} (as weak as can be)", "-");
        }
        for weak in weaker {
            let Some((.., model)) = CAUGHT_BY.iter().find(|row| (row.0, row.1) == (what.as_str(), *weak)) else {
                println!("  {what:<26} {order:<8} {weak:<12} NO MODEL IS NAMED");
                missing.push(format!("{what} as {weak}"));
                continue;
            };
            let mut run = models(&executable, Some(model));
            let caught = fails(run.env("LKAS_WEAKEN", format!("{what}={weak}")), model)?;
            println!("  {what:<26} {order:<8} {weak:<12} {}{model}", if caught { "" } else { "NOT CAUGHT BY " });
            if !caught {
                missing.push(format!("{what} as {weak}"));
            }
        }
    }
    for (what, weak, _) in CAUGHT_BY {
        if !operations.iter().any(|(name, order)| name == what && weaker(order).is_ok_and(|all| all.contains(weak))) {
            missing.push(format!("{what} as {weak} (there is no such ordering in core any more)"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("too strong or without a model: {}", missing.join(", "))) }
}

/// All atomic operations of core and their orderings; an error where one goes without a name.
fn operations() -> Result<Vec<(String, String)>, String> {
    let mut operations = Vec::new();
    for entry in fs::read_dir(root().join("core/src")).map_err(|why| why.to_string())? {
        let path = entry.map_err(|why| why.to_string())?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // These two define what the others use.
        if !name.ends_with(".rs") || ["sync.rs", "fault.rs"].contains(&name.as_str()) {
            continue;
        }
        let source = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        let named = orders(&source);
        if code(&source).contains("Ordering::") {
            return Err(format!("{name} names an ordering without order!(...), where it can't be weakened"));
        }
        if named.len() != orderings_needed(&source) {
            return Err(format!(
                "{name} has atomic operations with {} orderings, and {} of them are named by order!(...)",
                orderings_needed(&source),
                named.len()
            ));
        }
        operations.extend(named);
    }
    // What stands twice is one operation in two forms: with loom and without.
    operations.sort();
    operations.dedup();
    let names: BTreeSet<_> = operations.iter().map(|(what, _)| what).collect();
    if operations.is_empty() || names.len() != operations.len() {
        return Err("operations must have names, each its own".into());
    }
    Ok(operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orderings_are_found_and_comments_are_not() {
        let source = "x.load(order!(\"a\", Relaxed)); // x.load(order!(\"b\", Acquire))\nmod tests { x.swap( }";
        assert_eq!(orders(source), [("a".to_owned(), "Relaxed".to_owned())]);
        assert_eq!(orderings_needed(source), 1);
        assert_eq!(orderings_needed("x.compare_exchange(0, 1, a, b)"), 2);
    }

    #[test]
    fn every_atomic_operation_of_core_has_a_name() {
        assert!(operations().unwrap().len() >= 10);
    }
}
