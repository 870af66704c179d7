//! What the readers of a channel saw, all of them together.

use crate::report::Taken;
use std::collections::BTreeMap;

/// The values of one writer's life.
#[derive(Debug)]
struct Life {
    /// Where the channel stood when it took the role, if it came to say so.
    from: Option<u64>,
    /// The smallest and the greatest number seen.
    seen: Option<(u64, u64)>,
    /// When a reader had its first value.
    first_at: u64,
}

/// What was seen of each life, and what was taken lately.
#[derive(Debug)]
pub(crate) struct Ledger {
    lives: BTreeMap<u64, Life>,
    /// The first life of which something was seen since the last check.
    touched: u64,
    recent: Vec<Taken>,
    /// The greatest number of what is no longer in `recent`.
    settled: u64,
    pub(crate) values: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self { lives: BTreeMap::new(), touched: u64::MAX, recent: Vec::new(), settled: 0, values: 0 }
    }

    fn life(&mut self, life: u64) -> &mut Life {
        self.touched = self.touched.min(life);
        self.lives.entry(life).or_insert(Life { from: None, seen: None, first_at: u64::MAX })
    }

    pub(crate) fn took_over(&mut self, life: u64, sequence: u64) {
        self.life(life).from = Some(sequence);
    }

    pub(crate) fn taken(&mut self, taken: Taken) {
        self.values += taken.values;
        self.recent.push(taken);
        let life = self.life(taken.life);
        let (least, greatest) = life.seen.unwrap_or((taken.first, taken.last));
        life.seen = Some((least.min(taken.first), greatest.max(taken.last)));
        // The first report of each reader about a life is about one value.
        life.first_at = life.first_at.min(taken.after);
    }

    /// When a reader had the first value of `life` or of a later one.
    pub(crate) fn first_at(&self, life: u64) -> Option<u64> {
        self.lives.range(life..).map(|(_, life)| life.first_at).min().filter(|at| *at != u64::MAX)
    }

    /// Leaves out of the next check what was seen since the last one.
    pub(crate) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// Checks what was seen since the last time. `told_all` is an instant from which on all takes that are not reported
    /// yet began.
    pub(crate) fn check(&mut self, told_all: u64) -> Result<(), String> {
        self.check_lives()?;
        self.check_order()?;
        self.recent.retain(|taken| {
            let keep = taken.after >= told_all;
            if !keep {
                self.settled = self.settled.max(taken.last);
            }
            keep
        });
        Ok(())
    }

    /// Each writer goes on behind everything that anybody saw of its predecessors (I4).
    fn check_lives(&mut self) -> Result<(), String> {
        let touched = core::mem::replace(&mut self.touched, u64::MAX);
        let before = self.lives.range(..touched).rev().find_map(|(_, life)| life.seen);
        let mut greatest = before.map_or(0, |(_, greatest)| greatest);
        for (number, life) in self.lives.range(touched..) {
            if let Some(from) = life.from
                && from < greatest
            {
                return Err(format!("writer {number} went on from {from}, but {greatest} was seen before"));
            }
            let from = life.from.unwrap_or(greatest);
            greatest = from;
            let Some((least, last)) = life.seen else { continue };
            if least <= from {
                return Err(format!("number {least} of writer {number}, which went on from {from}"));
            }
            greatest = last;
        }
        Ok(())
    }

    /// Nobody is shown what is older than the publish before the one that somebody else had already: only one publish can
    /// be half done.
    fn check_order(&mut self) -> Result<(), String> {
        let mut by_end = self.recent.clone();
        by_end.sort_unstable_by_key(|taken| taken.after);
        self.recent.sort_unstable_by_key(|taken| taken.before);
        let mut ended = by_end.iter().peekable();
        let mut newest = self.settled;
        for taken in &self.recent {
            while let Some(earlier) = ended.next_if(|earlier| earlier.after < taken.before) {
                newest = newest.max(earlier.last);
            }
            if taken.last + 1 < newest {
                return Err(format!("a reader was shown number {} after another had {newest}", taken.last));
            }
        }
        Ok(())
    }
}
