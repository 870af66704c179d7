//! A channel of another machine, on this one: the same name, type, shape, fields and promise, and one writer, which is
//! here.

use crate::Failure;
use crate::content::Content;
use crate::figures::Figures;
use crate::network::{Keys, Sessions, last_part};
use crate::offset::Clocks;
use crate::wire::{Described, Header, Place, Refusal, Request};
use lkas_shm::{AnyChannel, ChannelName, Options, Text, Writer, clock};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};
use zenoh::Wait;
use zenoh::query::{ConsolidationMode, QueryTarget, Reply};
use zenoh::sample::SampleKind;

/// How often is looked what there is to do where nothing arrives.
const TURN: Duration = Duration::from_millis(10);

/// Round trips that measure the clocks: at first, and when some are known.
const CLOCK_FIRST: Duration = Duration::from_millis(20);
const CLOCK_LATER: Duration = Duration::from_millis(200);
const CLOCK_ENOUGH: u32 = 10;

/// How long an answer may take before it is asked for again.
const PATIENCE: Duration = Duration::from_millis(500);

/// After this time a value is asked for again: the channel may be slow.
const VALUE_PATIENCE: Duration = Duration::from_secs(10);

/// How often something that did not work is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// How often it is looked whether the channel still has its name.
const LOOK_FOR_NAME: Duration = Duration::from_secs(1);

/// Small values that may be on their way at a time; of large ones it is one.
const SMALL_ON_THEIR_WAY: u32 = 4;

/// Something that arrived. What belongs to an exporter that is no more has another number.
enum Event {
    /// A token came or went.
    Exporter(String, bool),
    /// An answer.
    Answer(u64, Question, Reply),
    /// Nothing more will come to this question.
    Done(u64, Question),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Description,
    /// And when it was asked, by this machine's clock.
    Clock(u64),
    Value,
}

/// Says that a question is over when it is dropped.
struct Asked(Sender<(u64, Event)>, u64, Question);

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.0.send((clock::now(), Event::Done(self.1, self.2)));
    }
}

/// What is known of the exporter, and what was asked of it.
struct Link {
    number: u64,
    exporter: String,
    described: Option<(Described, Content)>,
    clocks: Clocks,
    round_trips: u32,
    writer: Option<Writer<[u8]>>,
    /// The last value that arrived.
    last: Place,
    /// When the newest value was published here.
    published: u64,
    /// Requests for values that are open, and whether one was answered since.
    open: u32,
    answered: bool,
    describe_due: Instant,
    clock_due: Instant,
    create_due: Instant,
    value_due: Instant,
    name_due: Instant,
}

impl Link {
    fn new(number: u64, exporter: String) -> Self {
        let now = Instant::now();
        Self {
            number,
            exporter,
            described: None,
            clocks: Clocks::default(),
            round_trips: 0,
            writer: None,
            last: Place::default(),
            published: 0,
            open: 0,
            answered: false,
            describe_due: now,
            clock_due: now,
            create_due: now,
            value_due: now,
            name_due: now + LOOK_FOR_NAME,
        }
    }
}

/// One imported channel.
#[derive(Debug)]
pub(crate) struct Importer<'a> {
    pub(crate) name: ChannelName,
    pub(crate) keys: Keys,
    pub(crate) sessions: &'a Sessions,
    pub(crate) figures: &'a Figures,
    pub(crate) stop: &'a AtomicBool,
}

impl Importer<'_> {
    /// Imports until the mirror ends, whoever exports the channel.
    pub(crate) fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(why) = self.import() {
                self.figures.trouble(why);
                std::thread::sleep(RETRY);
            }
        }
    }

    fn import(&self) -> Result<(), Failure> {
        let (sender, events) = mpsc::channel();
        let tokens = sender.clone();
        let told = move |token: zenoh::sample::Sample| {
            let (exporter, is_there) = (last_part(token.key_expr()).to_owned(), token.kind() == SampleKind::Put);
            let _ = tokens.send((clock::now(), Event::Exporter(exporter, is_there)));
        };
        let liveliness = self.sessions.small.liveliness();
        let _tokens = liveliness.declare_subscriber(self.keys.exporters()).history(true).callback(told).wait()?;
        let (mut exporters, mut link, mut number) = (Vec::<String>::new(), None::<Link>, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let mut next = events.recv_timeout(TURN).ok();
            while let Some((time, event)) = next {
                match event {
                    Event::Exporter(exporter, true) => {
                        if !exporters.contains(&exporter) {
                            if let Some(link) = &link {
                                self.figures.refuse(format_args!(
                                    "another exporter, {exporter}; {} was first, and a channel has one writer",
                                    link.exporter
                                ));
                            }
                            exporters.push(exporter);
                        }
                    }
                    Event::Exporter(exporter, false) => exporters.retain(|known| *known != exporter),
                    Event::Answer(of, question, reply) => {
                        if let Some(link) = link.as_mut().filter(|link| link.number == of) {
                            self.receive(link, time, question, &reply);
                        }
                    }
                    Event::Done(of, question) => {
                        if let Some(link) = link.as_mut().filter(|link| link.number == of) {
                            self.done(link, question);
                        }
                    }
                }
                next = events.try_recv().ok();
            }
            if link.as_ref().is_some_and(|link| !exporters.contains(&link.exporter)) {
                // Its writer or its machine is gone: readers are told by the end of the writer that is here.
                link = None;
            }
            if link.is_none() {
                let Some(exporter) = exporters.first() else {
                    self.figures.note(|shown| (shown.peer, shown.offset_s) = (Text::default(), f64::NAN));
                    self.figures.trouble("nobody exports it");
                    continue;
                };
                number += 1;
                link = Some(Link::new(number, exporter.clone()));
            }
            if let Some(link) = &mut link {
                self.go_on(link, &sender)?;
            }
        }
        Ok(())
    }

    /// Asks for whatever is due.
    fn go_on(&self, link: &mut Link, sender: &Sender<(u64, Event)>) -> Result<(), Failure> {
        let now = Instant::now();
        if now >= link.clock_due {
            link.clock_due = now + if link.round_trips < CLOCK_ENOUGH { CLOCK_FIRST } else { CLOCK_LATER };
            self.ask(link, sender, Question::Clock(clock::now()))?;
        }
        let offset = link.clocks.offset(clock::now());
        self.figures.note(|shown| {
            shown.peer = link.exporter.as_str().into();
            shown.offset_s = offset.map_or(f64::NAN, |offset| offset.seconds());
            shown.uncertainty_s = offset.map_or(f64::NAN, |offset| offset.uncertainty_s());
        });
        let Some((described, _)) = &link.described else {
            if now >= link.describe_due {
                link.describe_due = now + PATIENCE;
                self.ask(link, sender, Question::Description)?;
            }
            return Ok(());
        };
        if offset.is_none() {
            self.figures.trouble("it is not known how the clocks differ");
            return Ok(());
        }
        let Some(writer) = &mut link.writer else {
            if now >= link.create_due {
                link.create_due = now + RETRY;
                match self.create(described) {
                    Ok(writer) => {
                        self.figures.works(format_args!("imported from {}", link.exporter));
                        link.writer = Some(writer);
                    }
                    Err(why) => self.figures.trouble(why),
                }
            }
            return Ok(());
        };
        if now >= link.name_due {
            link.name_due = now + LOOK_FOR_NAME;
            if let Err(why) = writer.check_name() {
                self.figures.trouble(why);
                link.writer = None;
                return Ok(());
            }
        }
        let size = described.description.layout().payload_size();
        let at_a_time = if size <= crate::network::SMALL { SMALL_ON_THEIR_WAY } else { 1 };
        while link.open < at_a_time && now >= link.value_due {
            self.ask(link, sender, Question::Value)?;
            link.open += 1;
        }
        Ok(())
    }

    fn ask(&self, link: &Link, sender: &Sender<(u64, Event)>, question: Question) -> Result<(), Failure> {
        let (number, sender) = (link.number, sender.clone());
        let asked = Asked(sender.clone(), number, question);
        let answered = move |reply: Reply| {
            let _ = &asked;
            let _ = sender.send((clock::now(), Event::Answer(number, question, reply)));
        };
        let size = link.described.as_ref().map_or(0, |(described, _)| described.description.layout().payload_size());
        let (session, key, timeout) = match question {
            Question::Description => (&self.sessions.small, self.keys.ask(&link.exporter, "description"), PATIENCE),
            Question::Clock(_) => (&self.sessions.small, self.keys.ask(&link.exporter, "clock"), PATIENCE),
            Question::Value => {
                let key = self.keys.ask(&link.exporter, format_args!("value/{}", self.sessions.id()));
                (self.sessions.of_size(size), key, VALUE_PATIENCE)
            }
        };
        let request = Request { after: link.last, first: link.open == 0 }.encode();
        let query = session.get(key).target(QueryTarget::All).consolidation(ConsolidationMode::None);
        query.payload(request.as_slice()).timeout(timeout).callback(answered).wait()?;
        Ok(())
    }

    /// Works with an answer that was here at `time`.
    fn receive(&self, link: &mut Link, time: u64, question: Question, reply: &Reply) {
        let sample = match reply.result() {
            Ok(sample) => sample,
            Err(why) => {
                // A timeout, or words of the exporter.
                let words = why.payload().to_bytes();
                if question == Question::Value && words.as_ref() != b"Timeout" {
                    self.figures.refuse(String::from_utf8_lossy(&words).escape_debug());
                }
                return;
            }
        };
        let payload = sample.payload().to_bytes();
        let used = match question {
            Question::Clock(sent) => match <[u8; 8]>::try_from(payload.as_ref()) {
                Ok(theirs) => {
                    link.clocks.add(sent, u64::from_le_bytes(theirs), time);
                    link.round_trips += 1;
                    Ok(())
                }
                Err(_) => Err(Refusal::Length { what: "a clock", found: payload.len(), expected: 8 }),
            },
            Question::Description => Described::decode(&payload).map(|described| {
                let content = Content::of(&described.description);
                link.described = Some((described, content));
            }),
            Question::Value => {
                link.answered = true;
                let attachment = sample.attachment().map(|attachment| attachment.to_bytes()).unwrap_or_default();
                self.publish(link, &attachment, &payload)
            }
        };
        if let Err(why) = used {
            self.figures.refuse(&why);
            if why == Refusal::OtherDescription {
                // The channel is another one by now. Its readers find the new one by its name.
                (link.described, link.writer) = (None, None);
                link.describe_due = Instant::now();
            }
        }
    }

    fn publish(&self, link: &mut Link, attachment: &[u8], payload: &[u8]) -> Result<(), Refusal> {
        let header = Header::decode(attachment, payload)?;
        let (Some((described, content)), Some(writer)) = (&link.described, &mut link.writer) else {
            return Err(Refusal::OtherDescription);
        };
        if header.description != described.hash {
            return Err(Refusal::OtherDescription);
        }
        if header.place() <= link.last {
            return Err(Refusal::Old);
        }
        let now = clock::now();
        let offset = link.clocks.offset(now).ok_or(Refusal::Clock)?;
        let published = offset.earliest(header.published);
        if published > now {
            return Err(Refusal::Future);
        }
        let mut loan = writer.loan();
        content.write(header.encoding, payload, offset, &mut loan)?;
        // Both are at least as old as is said; so the order of publishes stays that of their times.
        let published = published.max(link.published);
        loan.publish_at(published);
        if header.incarnation == link.last.incarnation {
            let skipped = header.sequence.saturating_sub(link.last.sequence + 1);
            self.figures.note(|shown| shown.dropped += skipped);
        }
        (link.last, link.published) = (header.place(), published);
        self.figures.count(payload.len(), Some(clock::now().saturating_sub(published)));
        Ok(())
    }

    fn done(&self, link: &mut Link, question: Question) {
        if question == Question::Value {
            link.open = link.open.saturating_sub(1);
            // A question that comes back without an answer found nobody, or was lost with a connection.
            let pause = if core::mem::take(&mut link.answered) { Duration::ZERO } else { TURN };
            link.value_due = Instant::now() + pause;
        }
    }

    fn create(&self, described: &Described) -> Result<Writer<[u8]>, Failure> {
        let options = Options::new().readers(described.description.layout().readers()).grace(Duration::ZERO);
        let options = described.contract.map_or(options, |contract| options.contract(contract));
        Ok(AnyChannel::create(&self.name, described.description.channel_type().clone(), options)?)
    }
}
