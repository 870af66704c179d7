//! What was done to channels and what came of it, counted over all tests.

use std::error::Error;
use std::fmt;
use std::sync::Mutex;

/// Numbers of one process, or of all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Faults that were made, and those after which everybody went on.
    pub(crate) injected: u64,
    pub(crate) survived: u64,
    /// Values whose check value says that they are what was published, and the others.
    pub(crate) whole: u64,
    pub(crate) damaged: u64,
    /// Calls that ended in an error of this library.
    pub(crate) errors: u64,
}

static TOTAL: Mutex<Tally> = Mutex::new(Tally { injected: 0, survived: 0, whole: 0, damaged: 0, errors: 0 });

impl Tally {
    /// Notes an error. Whatever a stranger wrote into a segment, its text is fit for a terminal.
    pub(crate) fn error(&mut self, why: &dyn Error) {
        let text = why.to_string();
        assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
        self.errors += 1;
    }

    pub(crate) fn value(&mut self, is_whole: bool) {
        *(if is_whole { &mut self.whole } else { &mut self.damaged }) += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.injected += other.injected;
        self.survived += other.survived;
        self.whole += other.whole;
        self.damaged += other.damaged;
        self.errors += other.errors;
    }

    /// What a child prints at its end.
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {} {} {}", self.injected, self.survived, self.whole, self.damaged, self.errors)
    }

    pub(crate) fn from_line(line: &str) -> Self {
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        let &[injected, survived, whole, damaged, errors] = numbers.as_slice() else {
            panic!("a child's last line is {line:?}")
        };
        Self { injected, survived, whole, damaged, errors }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { injected, survived, whole, damaged, errors } = self;
        write!(f, "{injected} faults injected, {survived} survived; ")?;
        write!(f, "{whole} whole values, {damaged} damaged, {errors} typed errors")
    }
}

/// Adds to the numbers of all tests.
pub(crate) fn count(tally: Tally) {
    TOTAL.lock().expect("nobody panics in between").add(tally);
}

/// One fault that ended in `why`: its text says each of `words`.
pub(crate) fn refused(why: &dyn Error, words: &[&str]) {
    let text = why.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    let mut tally = Tally { injected: 1, survived: 1, ..Tally::default() };
    tally.error(why);
    count(tally);
}

pub(crate) fn total() -> Tally {
    *TOTAL.lock().expect("nobody panics in between")
}
