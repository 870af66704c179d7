//! A queue that is bounded by bytes: who fills it never waits, and what does not fit is left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The end that is filled.
#[derive(Debug)]
pub(super) struct Filling<T> {
    sender: Sender<(usize, T)>,
    queued: Arc<AtomicUsize>,
    limit: usize,
}

/// The end that is emptied.
#[derive(Debug)]
pub(super) struct Emptying<T> {
    receiver: Receiver<(usize, T)>,
    queued: Arc<AtomicUsize>,
}

/// What became of something for the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Yes,
    /// It would not fit.
    Full,
    /// Nobody empties the queue any more.
    Over,
}

/// A queue for `limit` bytes.
pub(super) fn queue<T>(limit: usize) -> (Filling<T>, Emptying<T>) {
    let (sender, receiver) = channel();
    let queued = Arc::new(AtomicUsize::new(0));
    (Filling { sender, queued: queued.clone(), limit }, Emptying { receiver, queued })
}

impl<T> Filling<T> {
    /// Whether something of that size fits now. It does so at the next [`put`](Self::put), too: nobody else fills the queue.
    pub(super) fn fits(&self, size: usize) -> bool {
        self.queued.load(Ordering::Relaxed).saturating_add(size) <= self.limit
    }

    /// Puts `item` of `size` bytes at the end, where it fits.
    pub(super) fn put(&self, size: usize, item: T) -> Queued {
        if !self.fits(size) {
            return Queued::Full;
        }
        self.queued.fetch_add(size, Ordering::Relaxed);
        if self.sender.send((size, item)).is_ok() { Queued::Yes } else { Queued::Over }
    }
}

impl<T> Emptying<T> {
    /// The first item, waited for; `Ok(None)` where none came in time, an error where none will come any more.
    pub(super) fn next(&self, timeout: Duration) -> Result<Option<T>, RecvTimeoutError> {
        match self.receiver.recv_timeout(timeout) {
            Ok((size, item)) => {
                self.queued.fetch_sub(size, Ordering::Relaxed);
                Ok(Some(item))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(over) => Err(over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_and_nobody_waits() {
        let (filling, emptying) = queue(10);
        assert_eq!(
            (filling.put(6, 'a'), filling.put(6, 'b'), filling.put(4, 'c')),
            (Queued::Yes, Queued::Full, Queued::Yes)
        );
        assert_eq!(emptying.next(Duration::ZERO), Ok(Some('a')));
        assert_eq!(filling.put(6, 'd'), Queued::Yes, "there is room again");
        assert_eq!(filling.put(11, 'e'), Queued::Full, "what never fits");
        let left: Vec<_> = std::iter::from_fn(|| emptying.next(Duration::ZERO).unwrap()).collect();
        assert_eq!(left, ['c', 'd']);
        drop(emptying);
        assert_eq!(filling.put(1, 'f'), Queued::Over);
    }
}
