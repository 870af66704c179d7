//! An exporter that speaks the protocol and lies: nothing of it reaches a reader, and all of it is counted.

mod support;

use lkas_core::Plain;
use lkas_messages::Control;
use lkas_mirror::Mirror;
use lkas_mirror::wire::{Encoding, Header};
use lkas_shm::{ControlChannel, Observer, Options, Page, clock};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Running, Test, control, until};
use xxhash_rust::xxh3::xxh3_64;
use zenoh::Wait;
use zenoh::query::Query;

/// An attachment and a payload.
type Said = (Vec<u8>, Vec<u8>);

/// What is said: lies between two values that are true.
fn said(page: &Page) -> Vec<Said> {
    let of = |incarnation, sequence, frame_id| -> (Header, Vec<u8>) {
        let (encoding, description) = (Encoding::Raw, xxh3_64(page.as_bytes()));
        let header = Header { encoding, description, incarnation, sequence, published: clock::now() };
        (header, control(frame_id).as_bytes().to_vec())
    };
    let whole = |(header, payload): (Header, Vec<u8>)| (header.encode(&payload).to_vec(), payload);
    let mut said = vec![whole(of(5, 10, 1))];
    // The same number again, an earlier one, and one of an earlier segment.
    said.extend([(5, 10), (5, 9), (4, 11)].map(|(incarnation, sequence)| whole(of(incarnation, sequence, 666))));
    // Published in ten seconds.
    let (header, payload) = of(5, 11, 666);
    said.push(whole((Header { published: clock::now() + 10_000_000_000, ..header }, payload)));
    // A control that was damaged before it was sent, a JPEG that is none, too little, and nothing.
    let (header, mut payload) = of(5, 12, 666);
    payload[20] ^= 1;
    said.push(whole((header, payload)));
    let (header, payload) = of(5, 13, 666);
    said.push(whole((Header { encoding: Encoding::Jpeg, ..header }, payload.clone())));
    said.push(whole((header, payload[1..].to_vec())));
    said.push((Vec::new(), payload));
    // Damaged on the way.
    let (attachment, mut payload) = whole(of(5, 14, 666));
    payload[3] ^= 4;
    said.push((attachment, payload));
    said.push(whole(of(5, 20, 2)));
    said
}

#[test]
fn lies_are_refused_and_counted() {
    let test = Test::new("liar");
    // A description that is true: the first page of such a channel.
    let name = test.channel("a", "control");
    let writer = ControlChannel::create(&name, Options::new()).unwrap();
    let page = Observer::open(&name).unwrap().page();
    drop(writer);

    let _b = Running::start(Mirror { imports: vec!["control".into()], ..test.listens("b") });
    let config = format!(
        "{{ mode: 'client', connect: {{ endpoints: ['{}'], timeout_ms: -1 }}, \
         scouting: {{ multicast: {{ enabled: false }} }} }}",
        test.endpoint()[0]
    );
    let session = zenoh::open(zenoh::Config::from_json5(&config).unwrap()).wait().unwrap();
    let key = format!("lkas/mirror/1/lkas/control/{}", session.zid());
    let description = page.clone();
    let describes = move |query: Query| query.reply(query.key_expr(), description.as_bytes()).wait().unwrap();
    let _description = session.declare_queryable(format!("{key}/description")).callback(describes).wait().unwrap();
    let tells = |query: Query| query.reply(query.key_expr(), clock::now().to_le_bytes().as_slice()).wait().unwrap();
    let _clock = session.declare_queryable(format!("{key}/clock")).callback(tells).wait().unwrap();
    let (said, next) = (said(&page), AtomicUsize::new(0));
    let lies = said.len() as u64 - 2;
    let says = move |query: Query| {
        // What comes after the last word is not answered.
        if let Some((attachment, payload)) = said.get(next.fetch_add(1, Ordering::Relaxed)) {
            query.reply(query.key_expr(), payload.as_slice()).attachment(attachment.as_slice()).wait().unwrap();
        }
    };
    let _values = session.declare_queryable(format!("{key}/value/*")).callback(says).wait().unwrap();
    let _token = session.liveliness().declare_token(&key).wait().unwrap();

    let there = test.channel("b", "control");
    let mut bytes = Vec::new();
    let mut newest = || {
        let channel = Observer::open(&there).ok()?;
        let value = channel.copy(&mut bytes).ok().flatten()?;
        Some((value.sequence, Control::from_bytes(&bytes)?.frame_id()))
    };
    until("the last true value", || {
        let newest = newest();
        assert!(newest.is_none_or(|(_, frame_id)| frame_id != 666), "a lie arrived");
        newest == Some((2, 2))
    });
    until("all lies are counted", || test.figures("b", "control").is_some_and(|figures| figures.refused == lies));
    std::thread::sleep(Duration::from_millis(10));
    assert_eq!(test.figures("b", "control").unwrap().values, 2);
}
