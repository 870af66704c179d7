//! Channels over memory that a stranger filled, and goes on changing: nobody panics, nobody looks outside of the memory.
#![cfg(not(lkas_loom))]
#![allow(missing_docs)]

use core::ptr::NonNull;
use lkas_core::{Layout, MAX_READERS, Reader, View, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::ops::Range;

/// A payload that does not fill its slot.
type Value = [u64; 3];

#[derive(Clone, Debug)]
enum Step {
    Publish,
    DropLoan,
    ReplaceWriter,
    ReplaceReader(usize),
    Take(usize),
    Latest(usize),
    Sleep(usize),
    Close,
    /// The stranger writes to a mailbox.
    Scribble(usize, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = 0..MAX_READERS;
    let step = prop_oneof![
        4 => Just(Step::Publish),
        1 => Just(Step::DropLoan),
        1 => Just(Step::ReplaceWriter),
        1 => place.clone().prop_map(Step::ReplaceReader),
        4 => place.clone().prop_map(Step::Take),
        2 => place.clone().prop_map(Step::Latest),
        1 => place.clone().prop_map(Step::Sleep),
        1 => Just(Step::Close),
        6 => (place, word()).prop_map(|(place, word)| Step::Scribble(place, word)),
    ];
    vec(step, 1..if cfg!(miri) { 10 } else { 60 })
}

/// Any word, and words that nearly make sense: small slot numbers, with and without flags.
fn word() -> impl Strategy<Value = u32> {
    let nearly = (0..2_u32, 0..4_u32, 0..40_u32, 0..40_u32);
    prop_oneof![
        any::<u32>(),
        nearly.prop_map(|(fresh, flags, held, current)| fresh << 31 | flags << 16 | held << 8 | current),
    ]
}

/// Memory for one channel, aligned as `View::from_raw` asks, with nothing behind its end.
struct Memory {
    // Cache line pairs.
    pairs: Vec<Pair>,
    mailboxes: usize,
    layout: Layout,
}

#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Pair([u32; 32]);

impl Memory {
    fn new(readers: usize, words: &[u32]) -> Self {
        let layout = Layout::new(readers, size_of::<Value>(), align_of::<Value>()).unwrap();
        let (mailboxes, slots) = (layout.mailbox_bytes() / 128, layout.slot_bytes() / 128);
        let mut words = words.iter().copied().cycle();
        let pairs = (0..mailboxes + slots).map(|_| Pair(core::array::from_fn(|_| words.next().unwrap()))).collect();
        Self { pairs, mailboxes, layout }
    }

    fn run(&mut self, steps: &[Step]) {
        let start = NonNull::new(self.pairs.as_mut_ptr()).unwrap();
        // SAFETY: both parts lie in the vector, which is borrowed for as long as the view is used.
        let slots = unsafe { start.add(self.mailboxes) };
        // SAFETY: the parts have the sizes and the alignment of the layout, and only this view touches them, but for
        // the stranger, whose atomic writes are what this is about.
        let view: View<'_, Value> = unsafe { View::from_raw(start.cast(), slots.cast(), self.layout) };
        let end = slots.addr().get() + self.layout.slot_bytes();
        Case::new(view, slots.addr().get()..end).run(steps, |place, word| {
            // SAFETY: the mailbox lies inside of the memory.
            let mailbox = unsafe { start.add(place % self.layout.readers()) };
            // SAFETY: a mailbox starts with its word, which is only accessed atomically.
            let mailbox = unsafe { core::sync::atomic::AtomicU32::from_ptr(mailbox.as_ptr().cast()) };
            mailbox.store(word, core::sync::atomic::Ordering::Relaxed);
        });
    }
}

struct Case<'a> {
    view: View<'a, Value>,
    slots: Range<usize>,
    writer: Option<Writer<'a, Value>>,
    readers: Vec<Reader<'a, Value>>,
}

impl<'a> Case<'a> {
    fn new(view: View<'a, Value>, slots: Range<usize>) -> Self {
        // SAFETY: the only reader at each place, in one thread.
        let readers = (0..view.layout().readers()).map(|place| unsafe { view.reader(place) }.unwrap()).collect();
        Self { view, slots, writer: None, readers }
    }

    fn run(&mut self, steps: &[Step], scribble: impl Fn(usize, u32)) {
        for step in steps {
            let count = self.readers.len();
            match *step {
                Step::Publish => {
                    let mut loan = self.writer().loan();
                    *loan = [1, 2, 3];
                    let place = core::ptr::from_ref(&*loan);
                    let sleepers = loan.publish(7);
                    self.assert_inside(place);
                    assert!(sleepers.words(self.view).count() <= count);
                }
                Step::DropLoan => self.writer().loan()[0] = 9,
                Step::ReplaceWriter => self.writer = None,
                Step::ReplaceReader(place) => {
                    // SAFETY: it replaces the only reader at this place, in one thread.
                    self.readers[place % count] = unsafe { self.view.reader(place % count) }.unwrap();
                }
                Step::Take(place) => {
                    let seen = self.readers[place % count].take().map(|sample| core::ptr::from_ref(&*sample));
                    seen.into_iter().for_each(|place| self.assert_inside(place));
                }
                Step::Latest(place) => {
                    let seen = self.readers[place % count].latest().map(|sample| core::ptr::from_ref(&*sample));
                    seen.into_iter().for_each(|place| self.assert_inside(place));
                }
                Step::Sleep(place) => {
                    let reader = &mut self.readers[place % count];
                    let _ = (reader.announce_sleep(), reader.is_closed(), reader.has_fresh(), reader.missed());
                }
                Step::Close => {
                    let _ = self.writer.take().map(Writer::close);
                }
                Step::Scribble(place, word) => scribble(place, word),
            }
        }
    }

    fn writer(&mut self) -> &mut Writer<'a, Value> {
        // SAFETY: there is no other, and everything happens in one thread.
        self.writer.get_or_insert_with(|| unsafe { self.view.writer() })
    }

    fn assert_inside(&self, value: *const Value) {
        let (start, end) = (value.addr(), value.addr() + size_of::<Value>());
        assert!(self.slots.contains(&start) && end <= self.slots.end, "{start:#x} is not inside of {:x?}", self.slots);
        let in_slot = (start - self.slots.start) % self.view.layout().stride();
        assert_eq!(in_slot, self.view.layout().payload_offset(), "{start:#x} is not where a payload starts");
    }
}

fn config(cases: u32) -> ProptestConfig {
    let kept = FileFailurePersistence::WithSource("regressions");
    let failure_persistence = if cfg!(miri) { None } else { Some(Box::new(kept) as _) };
    ProptestConfig { cases: if cfg!(miri) { 2 } else { cases }, failure_persistence, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn any_words_are_survived(readers in 1..=MAX_READERS, words in vec(word(), 1..100), steps in steps()) {
        Memory::new(readers, &words).run(&steps);
    }

    /// Parts follow one another without overlap, aligned, and are as large as they have to be.
    #[test]
    fn any_layout_is_refused_or_sound(
        readers in 0..40_usize,
        size in prop_oneof![0..10_000_usize, any::<usize>()],
        align in prop_oneof![(0..16_u32).prop_map(|bit| 1 << bit), any::<usize>()],
    ) {
        let Ok(layout) = Layout::new(readers, size, align) else {
            prop_assert!(
                readers == 0 || readers > MAX_READERS || !align.is_power_of_two() || align > 4096 || size > usize::MAX / 128
            );
            return Ok(());
        };
        prop_assert_eq!(layout.slots(), readers + 2);
        prop_assert!(layout.payload_offset() >= 16 && layout.payload_offset() % align == 0);
        prop_assert!(layout.stride() >= layout.payload_offset() + size);
        prop_assert!(layout.stride() % align == 0 && layout.stride() % 128 == 0);
        prop_assert_eq!(layout.slot_bytes(), (readers + 2) * layout.stride());
        prop_assert_eq!(layout.mailbox_bytes(), readers * 128);
    }
}
