//! A channel of this machine, for others: whoever asks for a value gets the next one that is younger than what it has.

use crate::Failure;
use crate::content::Content;
use crate::figures::Figures;
use crate::network::{Keys, Sessions, last_part};
use crate::wire::{ATTACHMENT, Described, Encoding, Header, Place, Request};
use lkas_shm::{AnyChannel, ChannelName, Observer, OpenError, OpenOptions, Page, Reader, Wait as Waited, clock};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::query::Query;

/// How long to wait for a value before looking whether the writer is there.
const LOOK: Duration = Duration::from_millis(20);

/// How often a channel that can't be opened is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// An importer that has not asked for so long is forgotten.
const IDLE: Duration = Duration::from_secs(12);

/// Requests of one importer that are kept; of more, the oldest go.
const REQUESTS: usize = 8;

/// Importers of one channel; more are not answered.
const IMPORTERS: usize = 64;

/// A channel to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The channel, without its namespace.
    pub name: String,
    /// Images go as JPEG of this quality, 1 to 100; `None`: as they are.
    pub jpeg: Option<u8>,
}

impl core::str::FromStr for Export {
    type Err = String;

    /// `NAME`, or `NAME:jpeg` or `NAME:jpeg=QUALITY`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, option) = text.split_once(':').map_or((text, None), |(name, option)| (name, Some(option)));
        let jpeg = match option {
            None => None,
            Some("jpeg") => Some(85),
            Some(option) => {
                let quality = option.strip_prefix("jpeg=").and_then(|quality| quality.parse().ok());
                let quality = quality.filter(|quality| (1..=100).contains(quality));
                Some(quality.ok_or_else(|| format!("{option:?}, expected jpeg or jpeg=1 to jpeg=100"))?)
            }
        };
        Ok(Self { name: name.to_owned(), jpeg })
    }
}

/// A value as it is sent, made once however many ask for it.
#[derive(Debug)]
struct Newest {
    content: Content,
    jpeg: Option<u8>,
    header: Header,
    /// The value's bytes, as many as `size`, aligned as an image is looked at.
    words: Vec<u64>,
    size: usize,
    sent: OnceLock<Option<(ZBytes, [u8; ATTACHMENT])>>,
}

impl Newest {
    /// Payload and attachment; `None` for an image that is not whole.
    fn encoded(&self) -> Option<&(ZBytes, [u8; ATTACHMENT])> {
        let encode = || {
            let Some(quality) = self.jpeg else {
                let value = bytemuck::cast_slice(&self.words).get(..self.size)?;
                return Some((ZBytes::from(value), self.header.encode(value)));
            };
            let jpeg = self.content.to_jpeg(&self.words, quality)?;
            let attachment = Header { encoding: Encoding::Jpeg, ..self.header }.encode(&jpeg);
            Some((ZBytes::from(jpeg), attachment))
        };
        self.sent.get_or_init(encode).as_ref()
    }
}

/// What one importer has asked for, and what it was sent.
#[derive(Debug)]
struct Importer {
    requests: VecDeque<(Query, Place)>,
    sent: Place,
    asked: Instant,
}

/// What the threads of one channel share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Arc<Newest>>,
    importers: HashMap<String, Importer>,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Ends the threads that serve importers, whatever ends the channel.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        // What is still asked for is not answered, which the importers are told by that.
        state.importers.clear();
        drop(state);
        self.0.changed.notify_all();
    }
}

/// One exported channel.
#[derive(Debug)]
pub(crate) struct Exporter<'a> {
    pub(crate) name: ChannelName,
    pub(crate) keys: Keys,
    pub(crate) jpeg: Option<u8>,
    pub(crate) sessions: &'a Sessions,
    pub(crate) figures: &'a Figures,
    pub(crate) stop: &'a AtomicBool,
}

impl Exporter<'_> {
    /// Exports until the mirror ends, whenever the channel comes and goes.
    pub(crate) fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let options = OpenOptions::new().grace(Duration::ZERO);
            let opened = AnyChannel::open(&self.name, options).map_err(|why| match why {
                OpenError::NoSuchChannel { .. } => "there is no such channel yet; its writer was not started".into(),
                why => Failure::from(why),
            });
            let served = opened.and_then(|(description, reader)| {
                let page = Observer::open(&self.name)?.page();
                let described = Described::decode(page.as_bytes())?;
                if described.description.channel_type() != description.channel_type() {
                    return Err("the channel was replaced while it was opened".into());
                }
                self.serve(reader, page, &described)
            });
            if let Err(why) = served {
                self.figures.trouble(why);
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Exports one segment of the channel, until it is replaced.
    fn serve(&self, mut reader: Reader<[u8]>, page: Page, described: &Described) -> Result<(), Failure> {
        let (shared, incarnation) = (Arc::new(Shared::default()), clock::now());
        let content = Content::of(&described.description);
        let jpeg = self.jpeg.filter(|_| matches!(content, Content::Image(_)));
        let id = self.sessions.id();

        let key = self.keys.ask(&id, "description");
        let answer = move |query: Query| drop(query.reply(query.key_expr(), page.as_bytes()).wait());
        let _description = self.sessions.small.declare_queryable(key).callback(answer).wait()?;
        let key = self.keys.ask(&id, "clock");
        let answer = |query: Query| drop(query.reply(query.key_expr(), clock::now().to_le_bytes().as_slice()).wait());
        let _clock = self.sessions.small.declare_queryable(key).callback(answer).wait()?;
        let session = self.sessions.of_size(described.description.layout().payload_size());
        let asked = Asked { shared: shared.clone() };
        let key = self.keys.ask(&id, "value/*");

        std::thread::scope(|threads| {
            // Ended also where the scope is left early.
            let _over = Over(&shared);
            let (new_importers, importers) = std::sync::mpsc::channel();
            let answer = move |query: Query| asked.note(query, &new_importers);
            let _values = session.declare_queryable(key).callback(answer).wait()?;
            let (mut token, mut spare) = (None, Vec::new());
            loop {
                let has_writer = reader.has_writer();
                if self.stop.load(Ordering::Relaxed) || reader.is_retired() {
                    return Ok(());
                }
                if reader.contract().ok().flatten() != described.contract {
                    // A successor promises something else: it is described anew.
                    return Ok(());
                }
                if has_writer && token.is_none() {
                    // Also as long as it is there nobody is told twice.
                    token = Some(self.sessions.small.liveliness().declare_token(self.keys.exporter(&id)).wait()?);
                    self.figures.works("exported");
                } else if !has_writer && token.is_some() {
                    token = None;
                    self.figures.trouble(if reader.is_closed() { "the writer has ended" } else { "the writer died" });
                }
                for importer in importers.try_iter() {
                    let shared = &shared;
                    threads.spawn(move || self.send_to(shared, &importer));
                }
                let (mut state, mut missing) = (shared.lock(), false);
                self.figures.note(|shown| shown.importers = state.importers.len() as u32);
                if state.importers.is_empty() {
                    // Nobody asks: nothing is copied, and what was is old.
                    state.newest = None;
                    drop(shared.wait(state, LOOK));
                    continue;
                }
                missing |= state.newest.is_none();
                drop(state);
                let sample = match if missing { Waited::Fresh } else { reader.wait(LOOK) } {
                    Waited::Fresh if missing => reader.latest(),
                    Waited::Fresh => reader.take(),
                    _ => None,
                };
                let Some(sample) = sample else {
                    if missing {
                        drop(shared.wait(shared.lock(), LOOK / 20));
                    }
                    continue;
                };
                let header = Header {
                    encoding: Encoding::Raw,
                    description: described.hash,
                    incarnation,
                    sequence: sample.sequence(),
                    published: sample.time(),
                };
                let (size, mut words) = (sample.len(), core::mem::take(&mut spare));
                words.resize(size.div_ceil(size_of::<u64>()), 0);
                if let Some(place) = bytemuck::cast_slice_mut(&mut words).get_mut(..size) {
                    place.copy_from_slice(&sample);
                }
                let newest = Newest { content, jpeg, header, words, size, sent: OnceLock::new() };
                let before = shared.lock().newest.replace(Arc::new(newest));
                // Its memory is used again where nobody sends it any more.
                spare = before.and_then(Arc::into_inner).map(|before| before.words).unwrap_or_default();
                shared.changed.notify_all();
            }
        })
    }

    /// Sends to one importer what it asks for, until it has not asked for long.
    fn send_to(&self, shared: &Shared, name: &str) {
        let mut state = shared.lock();
        while !state.is_over {
            let newest = state.newest.clone();
            let Some(importer) = state.importers.get_mut(name) else { return };
            let place = newest.as_ref().map(|newest| newest.header.place()).unwrap_or_default();
            let wanted = importer.requests.front().is_some_and(|(_, after)| place > *after && place > importer.sent);
            let (true, Some(newest)) = (wanted, newest) else {
                if importer.asked.elapsed() > IDLE {
                    state.importers.remove(name);
                    return;
                }
                state = shared.wait(state, Duration::from_secs(1));
                continue;
            };
            let Some((query, after)) = importer.requests.pop_front() else { continue };
            let before = importer.sent.max(after);
            importer.sent = place;
            drop(state);
            // Outside of the lock: a slow link keeps only its own importer waiting.
            if let Some((payload, attachment)) = newest.encoded() {
                let reply = query.reply(query.key_expr(), payload.clone()).attachment(attachment.as_slice());
                if reply.express(true).wait().is_ok() {
                    self.figures.count(payload.len(), None);
                }
                if before.incarnation == place.incarnation {
                    let skipped = place.sequence.saturating_sub(before.sequence + 1);
                    self.figures.note(|shown| shown.dropped += skipped);
                }
            } else {
                self.figures.refuse("an image that is not whole is not sent");
            }
            drop(query);
            state = shared.lock();
        }
    }
}

/// Notes what importers ask for.
struct Asked {
    shared: Arc<Shared>,
}

impl Asked {
    fn note(&self, query: Query, new_importers: &std::sync::mpsc::Sender<String>) {
        let payload = query.payload().map(|payload| payload.to_bytes()).unwrap_or_default();
        let request = match Request::decode(&payload) {
            Ok(request) => request,
            Err(why) => {
                let _ = query.reply_err(why.to_string()).wait();
                return;
            }
        };
        let name = last_part(query.key_expr()).to_owned();
        let mut state = self.shared.lock();
        if state.is_over || state.importers.len() >= IMPORTERS && !state.importers.contains_key(&name) {
            return;
        }
        let now = Instant::now();
        let importer = state.importers.entry(name.clone()).or_insert_with(|| {
            // The thread that reads the channel starts another one for it; where it has ended, nobody is to be served.
            let _ = new_importers.send(name);
            Importer { requests: VecDeque::new(), sent: request.after, asked: now }
        });
        importer.asked = now;
        if request.first {
            importer.requests.clear();
            importer.sent = request.after;
        }
        importer.requests.push_back((query, request.after));
        if importer.requests.len() > REQUESTS {
            importer.requests.pop_front();
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_read() {
        let export = |name: &str, jpeg| Ok(Export { name: name.to_owned(), jpeg });
        assert_eq!("camera_feed".parse(), export("camera_feed", None));
        assert_eq!("camera_feed:jpeg".parse(), export("camera_feed", Some(85)));
        assert_eq!("camera_feed:jpeg=40".parse(), export("camera_feed", Some(40)));
        for wrong in ["a:jpeg=0", "a:jpeg=101", "a:png", "a:"] {
            assert!(wrong.parse::<Export>().unwrap_err().contains("expected jpeg or jpeg=1"), "{wrong}");
        }
    }
}
