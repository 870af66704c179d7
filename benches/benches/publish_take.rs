//! What does it cost to publish a value and to take it, on one thread, without contention?
//!
//! The first line of each block is the rival or limit that the ratios refer to. What this does not show: the cost of
//! moving cache lines between cores.

use lkas_benches::{Rival, compare};
use lkas_core::Channel;
use std::hint::black_box;
use std::sync::Mutex;

const ROUNDS: usize = 200;

fn publish_and_take<const BYTES: usize>() {
    let (mut triple_in, mut triple_out) = triple_buffer::triple_buffer(&[0_u8; BYTES]);
    let mutex = Mutex::new([0_u8; BYTES]);
    let mut one = Channel::<[u8; BYTES], 1>::new();
    let mut four = Channel::<[u8; BYTES], 4>::new();
    let (mut one_writer, [mut one_reader]) = one.split();
    let (mut four_writer, [mut four_reader, ..]) = four.split();
    compare(
        &format!("publish and take {BYTES} bytes, filled in place"),
        ROUNDS,
        &mut [
            Rival::new("triple_buffer, 1 reader (reference)", move |n| {
                triple_in.input_buffer_mut().fill(n as u8);
                triple_in.publish();
                black_box(triple_out.read());
            }),
            Rival::new("this channel, 1 reader", move |n| {
                let mut loan = one_writer.loan();
                loan.fill(n as u8);
                loan.publish(n);
                black_box(one_reader.take().map(|sample| sample[0]));
            }),
            Rival::new("this channel, 1 of 4 reader places in use", move |n| {
                let mut loan = four_writer.loan();
                loan.fill(n as u8);
                loan.publish(n);
                black_box(four_reader.take().map(|sample| sample[0]));
            }),
            Rival::new("a mutex", |n| {
                if let Ok(mut value) = mutex.lock() {
                    value.fill(n as u8);
                }
                black_box(mutex.lock().map(|value| value[0]).ok());
            }),
        ],
    );
}

fn take_nothing_new() {
    let (_triple_in, mut triple_out) = triple_buffer::triple_buffer(&0_u64);
    let mut channel = Channel::<u64, 1>::new();
    let (mut writer, [mut reader]) = channel.split();
    writer.publish(1, 0);
    black_box(reader.take().map(|sample| *sample));
    compare(
        "take where nothing is new",
        ROUNDS,
        &mut [
            Rival::new("triple_buffer (reference)", move |_| {
                black_box(triple_out.update());
            }),
            Rival::new("this channel", move |_| {
                black_box(reader.take().is_some());
            }),
        ],
    );
}

fn main() {
    publish_and_take::<32>();
    publish_and_take::<128>();
    publish_and_take::<4096>();
    take_nothing_new();
}
