//! One thread measures, two others use what it measured last, each at its own pace.
//!
//! `cargo run -p lkas-core --features alloc --example threads`

use lkas_core::{Message, OwnedReader, channel};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Message)]
#[repr(C)]
struct Position {
    #[message(unit = "m")]
    x: f64,
    #[message(unit = "m")]
    y: f64,
}

/// Follows until the writer has left, and returns what it saw last.
fn follow(name: &str, mut positions: OwnedReader<Position>, pause: Duration) -> (f64, f64) {
    let mut last = (0.0, 0.0);
    let mut taken = 0;
    loop {
        let closed = positions.is_closed();
        if let Some(position) = positions.take() {
            last = (position.x, position.y);
            taken += 1;
        } else if closed {
            break;
        }
        thread::sleep(pause);
    }
    println!("{name}: {taken} of 100 taken, {} skipped, the last at {last:?}", positions.missed());
    last
}

fn main() {
    let (mut writer, [map, pilot]) = channel::<Position, 2>();
    let map = thread::spawn(move || follow("map", map, Duration::from_millis(20)));
    let pilot = thread::spawn(move || follow("pilot", pilot, Duration::from_micros(100)));
    for step in 1..=100 {
        writer.publish(Position { x: f64::from(step), y: -0.5 }, 0);
        thread::sleep(Duration::from_millis(1));
    }
    writer.close();
    for follower in [map, pilot] {
        assert_eq!(follower.join().ok(), Some((100.0, -0.5)), "nobody misses the last value");
    }
}
