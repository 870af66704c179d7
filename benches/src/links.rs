//! Round trips between two processes.

use crate::figures::{Figures, Row};
use crate::{Ticks, median, ticks};
use lkas_core::{Field, Kind, Message, Plain, Scalar};

/// A payload of `N` bytes.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Block<const N: usize>(pub [u8; N]);

// The derive is for structs of one layout.
#[allow(unsafe_code)]
// SAFETY: bytes, and nothing else.
unsafe impl<const N: usize> Plain for Block<N> {
    const KIND: Kind = Kind::Message(Self::FIELDS);
}

impl<const N: usize> Message for Block<N> {
    const NAME: &'static str = "bench.Block";
    const FIELDS: &'static [Field] = &[Field {
        name: "bytes",
        kind: Kind::Array(&Kind::Number(Scalar::U8), N),
        offset: 0,
        unit: "",
        present_bit: None,
    }];
}

/// Which of the two processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that measures.
    Ping,
    /// The one that answers.
    Pong,
}

impl Side {
    /// Names of what this side sends on and of what it receives on.
    #[must_use]
    pub fn names(self, name: &str) -> (String, String) {
        let (ping, pong) = (format!("{name}-ping"), format!("{name}-pong"));
        if self == Self::Ping { (ping, pong) } else { (pong, ping) }
    }
}

/// A way to send a number, with whatever else it carries, to the other process and to get one back.
pub trait Link {
    /// Sends it.
    fn send(&mut self, number: u64);
    /// Waits for one, and returns it unless the link carries none, only that something was sent.
    fn receive(&mut self) -> Option<u64>;
}

/// A link without its type, so that the loops are compiled for each link all the same.
trait Play {
    fn ping(&mut self, first: u64, trips: u64) -> Vec<f64>;
    fn pong(&mut self, first: u64, trips: u64);
}

fn check(found: Option<u64>, expected: u64) {
    assert!(found.is_none_or(|found| found == expected), "received {found:?}, expected {expected}");
}

impl Link for Box<dyn Link> {
    fn send(&mut self, number: u64) {
        (**self).send(number);
    }

    fn receive(&mut self) -> Option<u64> {
        (**self).receive()
    }
}

impl<L: Link> Play for L {
    fn ping(&mut self, first: u64, trips: u64) -> Vec<f64> {
        let clock = Ticks::get();
        let mut samples = Vec::with_capacity(trips as usize);
        for number in first..first + trips {
            let from = ticks();
            self.send(number);
            check(self.receive(), number);
            samples.push(clock.between(from, ticks()) / 2.0);
        }
        samples
    }

    fn pong(&mut self, first: u64, trips: u64) {
        for number in first..first + trips {
            check(self.receive(), number);
            self.send(number);
        }
    }
}

/// A link that takes part, and for how many round trips in each round.
pub struct Match {
    name: String,
    trips: u64,
    link: Box<dyn Play>,
}

impl Match {
    /// `link` under `name`.
    pub fn new(name: &str, trips: u64, link: impl Link + 'static) -> Self {
        Self { name: name.to_owned(), trips, link: Box::new(link) }
    }
}

impl core::fmt::Debug for Match {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Match").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Links that take turns, and one before each that tells how near the two processors are to each other just then.
#[derive(Debug)]
pub struct Duel {
    gauge: Option<Match>,
    matches: Vec<Match>,
    rounds: usize,
}

/// A duel's middle of near and far: processors are far apart where the gauge takes that much longer than at its best.
const FAR: f64 = 2.0;

impl Duel {
    /// `matches` for `rounds`, each time after a short run of `gauge`. The other side must say the same.
    #[must_use]
    pub fn new(gauge: Option<Match>, matches: Vec<Match>, rounds: usize) -> Self {
        Self { gauge, matches, rounds }
    }

    /// Answers until all rounds are over.
    pub fn pong(mut self) {
        let mut number = 1;
        // One round more than is counted: the first warms up.
        for _ in 0..=self.rounds {
            for one in &mut self.matches {
                for part in self.gauge.iter_mut().chain([one]) {
                    part.link.pong(number, part.trips);
                    number += part.trips;
                }
            }
        }
    }

    /// Asks, and returns a row for each link: the time one way, half of a round trip. Ratios, to the first link, are of
    /// the medians of a round.
    pub fn ping(mut self) -> Vec<Row> {
        let mut number = 1;
        let count = self.matches.len();
        let (mut samples, mut medians) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        let mut gauges = vec![Vec::new(); count];
        for round in 0..=self.rounds {
            for (index, one) in self.matches.iter_mut().enumerate() {
                let mut play = |part: &mut Match| {
                    let found = part.link.ping(number, part.trips);
                    number += part.trips;
                    found
                };
                let gauge = self.gauge.as_mut().map(&mut play);
                let mut found = play(one);
                if round > 0 {
                    gauges[index].extend(gauge.map(median));
                    medians[index].push(median(found.clone()));
                    samples[index].append(&mut found);
                }
            }
        }
        let best = gauges.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let is_far = |index: usize, round: usize| gauges[index].get(round).map(|gauge| *gauge > FAR * best);
        let ratios = |index: usize, far: Option<bool>| {
            let both = |round| [is_far(0, round), is_far(index, round)];
            let rounds = (0..self.rounds).filter(|round| far.is_none() || both(*round) == [far, far]);
            let ratios: Vec<f64> = rounds.map(|round| medians[index][round] / medians[0][round]).collect();
            // Some rounds make no median.
            (ratios.len() >= 5 || far.is_none()).then(|| median(ratios))
        };
        let row = |index: usize| Row {
            figures: Some(Figures::of(&samples[index])),
            ratio: ratios(index, None),
            near: self.gauge.as_ref().and_then(|_| ratios(index, Some(false))),
            far: self.gauge.as_ref().and_then(|_| ratios(index, Some(true))),
            ..Row::named(&self.matches[index].name)
        };
        (0..count).map(row).collect()
    }
}
