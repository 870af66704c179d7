//! Random histories of a writer and its readers, with death and take-over at random points, against a plain model of
//! what a channel is: the newest value, and who has had it.
#![cfg(not(lkas_loom))]
#![allow(missing_docs)]
// Dying is to stop without a word, whether or not the type has something to say when it is dropped.
#![allow(clippy::forget_non_drop)]

use lkas_core::inspect::{free_slot, held_slot};
use lkas_core::{Channel, Latest, Reader, View, Writer};
use proptest::collection::vec;
use proptest::prelude::*;

type Value = [u64; 2];

#[derive(Clone, Debug)]
enum Step {
    /// Publish a copy.
    Publish,
    /// Fill the free slot in place, and publish it.
    LoanAndPublish,
    /// Fill half of the free slot, and drop it.
    LoanAndDrop,
    /// The writer's process dies; `in_loan`: while it fills the free slot.
    KillWriter {
        in_loan: bool,
    },
    /// The writer leaves in good order.
    Close,
    Take(usize),
    Latest(usize),
    LatestWithin(usize, u64),
    Sleep(usize),
    /// A reader's process dies, and nobody comes until the next `Attach`.
    KillReader(usize),
    /// A reader comes, if its place is free.
    Attach(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = 0..4_usize;
    let step = prop_oneof![
        6 => Just(Step::Publish),
        3 => Just(Step::LoanAndPublish),
        1 => Just(Step::LoanAndDrop),
        1 => any::<bool>().prop_map(|in_loan| Step::KillWriter { in_loan }),
        1 => Just(Step::Close),
        6 => place.clone().prop_map(Step::Take),
        3 => place.clone().prop_map(Step::Latest),
        1 => (place.clone(), 0..6_u64).prop_map(|(place, age)| Step::LatestWithin(place, age)),
        2 => place.clone().prop_map(Step::Sleep),
        1 => place.clone().prop_map(Step::KillReader),
        2 => place.prop_map(Step::Attach),
    ];
    vec(step, 1..if cfg!(miri) { 15 } else { 120 })
}

/// What the model knows of one reader.
#[derive(Default)]
struct Expected {
    /// The sequence that it had last, since it attached.
    had: u64,
    missed: u64,
    /// It announced sleep since the last publish.
    asleep: bool,
}

/// The channel, and beside it what a plain variable would say.
struct Case<'a, const R: usize> {
    view: View<'a, Value>,
    /// Where the mailboxes start.
    start: usize,
    writer: Option<Writer<'a, Value>>,
    readers: [Option<Reader<'a, Value>>; R],
    newest: u64,
    closed: bool,
    /// A successor's first publish wakes everybody.
    wakes_all: bool,
    expected: [Expected; R],
}

impl<'a, const R: usize> Case<'a, R> {
    fn new(channel: &'a Channel<Value, R>) -> Self {
        let expected = core::array::from_fn(|_| Expected::default());
        let readers = core::array::from_fn(|_| None);
        let start = core::ptr::from_ref(channel).addr();
        Self {
            view: channel.view(),
            start,
            writer: None,
            readers,
            newest: 0,
            closed: false,
            wakes_all: false,
            expected,
        }
    }

    /// Bytes from one mailbox to the next.
    fn stride(&self) -> usize {
        self.view.layout().mailbox_bytes() / R
    }

    /// The writer that there is, or a successor.
    fn writer(&mut self) -> &mut Writer<'a, Value> {
        if self.writer.is_none() {
            // SAFETY: the one before was dropped or forgotten, and everything happens in one thread.
            let writer = unsafe { self.view.writer() };
            assert_eq!(writer.sequence(), self.newest, "the sequence goes on");
            self.wakes_all = self.newest > 0;
            self.closed = false;
            self.writer = Some(writer);
        }
        self.writer.as_mut().unwrap()
    }

    fn published(&mut self, sleepers: lkas_core::Sleepers) {
        self.newest += 1;
        // SAFETY: only the address is of interest.
        let words = sleepers.words(self.view).map(|word| core::ptr::from_ref(unsafe { word.atomic() }).addr());
        let woken: Vec<usize> = words.map(|word| (word - self.start) / self.stride()).collect();
        let asleep: Vec<usize> = (0..R).filter(|place| self.wakes_all || self.expected[*place].asleep).collect();
        assert_eq!(woken, asleep, "who sleeps is reported, and nobody else");
        self.wakes_all = false;
        self.expected.iter_mut().for_each(|reader| reader.asleep = false);
    }

    /// What `place` should get now, and whether as new.
    fn look(&mut self, place: usize, only_fresh: bool) {
        let (newest, had) = (self.newest, self.expected[place].had);
        let Some(reader) = &mut self.readers[place] else { return };
        let fresh = newest > had;
        assert_eq!(reader.has_fresh(), fresh);
        let sample = if only_fresh { reader.take() } else { reader.latest() };
        assert_eq!(sample.is_some(), if only_fresh { fresh } else { newest > 0 });
        if let Some(sample) = sample {
            assert_eq!((sample.sequence(), sample.time(), *sample), (newest, newest, [newest; 2]));
            assert_eq!(sample.is_fresh(), fresh);
        }
        self.has_had_the_newest(place);
    }

    fn has_had_the_newest(&mut self, place: usize) {
        let (newest, expected) = (self.newest, &mut self.expected[place]);
        if expected.had != 0 && newest > expected.had {
            expected.missed += newest - expected.had - 1;
        }
        expected.had = newest;
        assert_eq!(self.readers[place].as_ref().unwrap().missed(), expected.missed);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish => {
                let value = self.newest + 1;
                let sleepers = self.writer().publish([value; 2], value);
                self.published(sleepers);
            }
            Step::LoanAndPublish => {
                let value = self.newest + 1;
                let mut loan = self.writer().loan();
                *loan = [value; 2];
                let sleepers = loan.publish(value);
                self.published(sleepers);
            }
            Step::LoanAndDrop => self.writer().loan()[0] = u64::MAX,
            Step::KillWriter { in_loan } => {
                let mut writer = self.writer.take();
                if let Some(writer) = writer.as_mut().filter(|_| in_loan) {
                    let mut loan = writer.loan();
                    *loan = [u64::MAX, 0];
                    core::mem::forget(loan);
                }
                core::mem::forget(writer);
            }
            Step::Close => {
                if let Some(writer) = self.writer.take() {
                    let woken = writer.close().words(self.view).count();
                    let asleep = self.expected.iter().filter(|reader| reader.asleep).count();
                    assert_eq!(woken, if self.wakes_all { R } else { asleep });
                    self.closed = true;
                }
            }
            Step::Take(place) => self.look(place % R, true),
            Step::Latest(place) => self.look(place % R, false),
            Step::LatestWithin(place, max_age) => {
                let newest = self.newest;
                let now = newest + 3;
                if let Some(reader) = &mut self.readers[place % R] {
                    match reader.latest_within(max_age, now) {
                        Latest::Empty => assert_eq!(newest, 0),
                        Latest::Fresh(sample) => assert!(max_age >= 3 && sample.time() == newest),
                        Latest::Stale { age, sample } => {
                            assert_eq!((age, sample.sequence()), (Some(3), newest));
                            assert!(max_age < 3);
                        }
                    }
                    self.has_had_the_newest(place % R);
                }
            }
            Step::Sleep(place) => {
                let (newest, closed) = (self.newest, self.closed);
                let Some(reader) = &mut self.readers[place % R] else { return };
                assert_eq!(reader.is_closed(), closed);
                let announced = reader.announce_sleep().is_some();
                let fresh = newest > self.expected[place % R].had;
                assert_eq!(announced, !fresh && !closed, "nobody sleeps over something new or a farewell");
                self.expected[place % R].asleep |= announced;
            }
            Step::KillReader(place) => {
                core::mem::forget(self.readers[place % R].take());
                self.expected[place % R] = Expected { asleep: self.expected[place % R].asleep, ..Expected::default() };
            }
            Step::Attach(place) => {
                if self.readers[place % R].is_none() {
                    // SAFETY: the one before is gone, and everything happens in one thread.
                    self.readers[place % R] = unsafe { self.view.reader(place % R) };
                }
            }
        }
    }

    /// I1 to I3 as the design document states them, and what the mailboxes must say.
    fn assert_invariants(&self) {
        let slots = R as u8 + 2;
        let words: Vec<_> = (0..R).map(|place| self.view.mailbox(place).unwrap()).collect();
        let mut in_use = vec![];
        for (place, word) in words.iter().enumerate() {
            assert!(word.current <= slots && word.held <= slots, "{word:?} names no slot");
            assert_eq!(word.current == 0, self.newest == 0, "a slot is named from the first publish on");
            assert_eq!(word.current, words[0].current, "all mailboxes name the newest slot");
            assert_eq!(word.waiting, self.expected[place].asleep);
            assert_eq!(word.closed, self.closed);
            let may_be_looked_at = if word.fresh { word.held } else { word.current };
            in_use.extend([word.current, may_be_looked_at]);
            if let Some(reader) = &self.readers[place] {
                // Until it takes something, its predecessor's figure stands there.
                let said = self.expected[place].had == 0 || u64::from(word.missed) == reader.missed();
                assert!(said, "{} missed, and the mailbox says {word:?}", reader.missed());
                let looks_at = held_slot(reader);
                assert!(looks_at == 0 || looks_at == may_be_looked_at, "I2: {looks_at} is not protected by {word:?}");
            }
        }
        in_use.retain(|slot| *slot != 0);
        in_use.sort_unstable();
        in_use.dedup();
        assert!(in_use.len() <= R + 1, "I3: {in_use:?}");
        if let Some(writer) = &self.writer {
            let free = free_slot(writer);
            assert!((1..=slots).contains(&free), "{free} is no slot");
            assert!(!in_use.contains(&free), "I1: {free} is in use: {in_use:?}");
        }
    }
}

fn history<const R: usize>(steps: &[Step]) {
    let channel = Channel::<Value, R>::new();
    let mut case = Case::new(&channel);
    case.assert_invariants();
    for step in steps {
        case.step(step);
        case.assert_invariants();
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 512 },
        failure_persistence: if cfg!(miri) {
            None
        } else {
            Some(Box::new(proptest::test_runner::FileFailurePersistence::WithSource("regressions")))
        },
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn one_reader(steps in steps()) {
        history::<1>(&steps);
    }

    #[test]
    fn two_readers(steps in steps()) {
        history::<2>(&steps);
    }

    #[test]
    fn three_readers(steps in steps()) {
        history::<3>(&steps);
    }

    #[test]
    fn four_readers(steps in steps()) {
        history::<4>(&steps);
    }
}
