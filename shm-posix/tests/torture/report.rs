//! What children tell the driver, in records of fixed size over a pipe of each child's own.
//!
//! A record is one write of less than `PIPE_BUF` bytes, and what is left of one when the pipe ends is dropped: a child
//! killed in the middle of a report has not reported.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

const WORDS: usize = 8;
pub(crate) const BYTES: usize = WORDS * size_of::<u64>();

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A writer has the role; the channel stands at `sequence`. It had to try again `tries` times.
    Writing { sequence: u64, tries: u64 },
    /// A reader has its place. It had to try again `tries` times.
    Reading { tries: u64 },
    /// A reader took values.
    Taken(Taken),
}

/// Values of one writer's life that a reader took one after the other since it last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whose they are: the number of the writer's life, which is part of every value.
    pub(crate) life: u64,
    /// How many.
    pub(crate) values: u64,
    /// The sequence number of the first of them.
    pub(crate) first: u64,
    /// The same of the last. What follows is about the last one.
    pub(crate) last: u64,
    /// When it was published, in nanoseconds of the clock.
    pub(crate) published: u64,
    /// The clock before it was taken.
    pub(crate) before: u64,
    /// The clock after it was taken.
    pub(crate) after: u64,
}

impl Report {
    fn to_words(self) -> [u64; WORDS] {
        match self {
            Self::Writing { sequence, tries } => [1, sequence, tries, 0, 0, 0, 0, 0],
            Self::Reading { tries } => [2, tries, 0, 0, 0, 0, 0, 0],
            Self::Taken(taken) => {
                let Taken { life, values, first, last, published, before, after } = taken;
                [3, life, values, first, last, published, before, after]
            }
        }
    }

    /// The record in `bytes`; `None` where it is none.
    pub(crate) fn read(bytes: &[u8; BYTES]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        match words[..] {
            [1, sequence, tries, ..] => Some(Self::Writing { sequence, tries }),
            [2, tries, ..] => Some(Self::Reading { tries }),
            [3, life, values, first, last, published, before, after] => {
                Some(Self::Taken(Taken { life, values, first, last, published, before, after }))
            }
            _ => None,
        }
    }
}

/// The child's end of the pipe: its standard output without the standard library's buffer, which would tear records.
#[derive(Debug)]
pub(crate) struct Pipe(File);

impl Pipe {
    pub(crate) fn new() -> Self {
        let out = std::io::stdout();
        Self(File::from(out.as_fd().try_clone_to_owned().expect("standard output is a pipe")))
    }

    pub(crate) fn send(&mut self, report: Report) {
        let words = report.to_words();
        let mut bytes = [0; BYTES];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        self.0.write_all(&bytes).expect("the driver lives and listens");
    }
}
