//! What models share: a channel whose roles are taken by hand, values that show damage, and the exploration itself.

use lkas_core::{Channel, Reader, Sample, Sleepers, View, Writer};
use loom::sync::atomic::AtomicU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

pub(crate) type Pair = [u64; 2];

/// A channel that threads of a model share.
pub(crate) struct Shared<const R: usize>(Arc<Channel<Pair, R>>);

impl<const R: usize> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const R: usize> Shared<R> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Channel::new()))
    }

    pub(crate) fn view(&self) -> View<'_, Pair> {
        self.0.view()
    }

    /// The writer's role. The model sees to it that the one before is dead.
    pub(crate) fn writer(&self) -> Writer<'_, Pair> {
        unsafe { self.view().writer() }
    }

    /// A reader's role. The model sees to it that the one before is dead.
    pub(crate) fn reader(&self, place: usize) -> Reader<'_, Pair> {
        unsafe { self.view().reader(place) }.expect("the channel has this place")
    }
}

/// Explores `model` with at most that many preemptions, more with `--deep`, and prints how many executions it took.
///
/// loom spends preemptions faster than a person would count them: a bound must be well above what a property needs.
pub(crate) fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    let preemptions =
        preemptions + std::env::var("LKAS_DEEP").map_or(0, |more| more.parse().expect("a number of preemptions"));
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    builder.check(move || {
        count.fetch_add(1, Relaxed);
        model();
    });
    println!("{name}: {} executions, at most {preemptions} preemptions", executions.load(Relaxed));
}

/// Looks at a sample: both words alike, its number above the one before.
pub(crate) fn check(sample: Option<Sample<'_, Pair>>, last: &mut u64) {
    if let Some(sample) = sample {
        // That nobody writes to it until the sample is dropped, loom sees by the guard that the sample keeps.
        let [a, b] = *sample;
        assert_eq!(a, b, "torn");
        assert!(sample.sequence() > *last, "the sequence went from {last} to {}", sample.sequence());
        *last = sample.sequence();
    }
}

pub(crate) fn publish(writer: &mut Writer<'_, Pair>) -> Sleepers {
    let value = writer.sequence() + 1;
    writer.publish([value; 2], value)
}

/// Who looks at which slot at this moment, kept outside of what loom explores.
#[derive(Clone, Default)]
pub(crate) struct Owners {
    slots: Arc<Mutex<Vec<(usize, bool)>>>,
    /// Changed by everybody who has a slot, so that loom explores every order of these moments. It orders nothing.
    moment: Arc<AtomicU32>,
}

impl Owners {
    /// Notes that somebody has the slot of `value` for a while, and fails if that is one too many.
    fn during(&self, value: &Pair, writing: bool) {
        let slot = core::ptr::from_ref(value).addr();
        {
            let mut owners = self.slots.lock().unwrap();
            let taken = owners.iter().any(|(other, other_writes)| *other == slot && (writing || *other_writes));
            assert!(!taken, "a slot with two owners");
            owners.push((slot, writing));
        }
        self.moment.fetch_add(1, Relaxed);
        let mut owners = self.slots.lock().unwrap();
        let mine = owners.iter().position(|owner| *owner == (slot, writing)).expect("noted above");
        owners.swap_remove(mine);
    }

    /// Publishes, and holds the loan for a while before.
    pub(crate) fn publish(&self, writer: &mut Writer<'_, Pair>) {
        let value = writer.sequence() + 1;
        let mut loan = writer.loan();
        self.during(&loan, true);
        *loan = [value; 2];
        loan.publish(value);
    }

    /// Looks at the newest value for a while.
    pub(crate) fn look(&self, reader: &mut Reader<'_, Pair>) {
        if let Some(sample) = reader.latest() {
            self.during(&sample, false);
            assert_eq!(sample[0], sample[1], "torn");
        }
    }
}
