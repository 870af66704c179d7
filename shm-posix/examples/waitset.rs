//! One loop that sleeps until either of two channels has something new.
//!
//! `cargo run -p lkas-shm --example waitset`

use lkas_shm::{Channel, ChannelName, Message, Options, Wait, WaitSet};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Message)]
#[repr(C)]
struct Distance {
    #[message(unit = "m")]
    ahead: f32,
}

#[derive(Clone, Copy, Message)]
#[repr(C)]
struct Button {
    presses: u32,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = |what| ChannelName::new(&format!("example-{}", std::process::id()), what);
    let (distance, button) = (name("distance")?, name("button")?);
    let mut radar = Channel::<Distance>::create(&distance, Options::new())?;
    let mut panel = Channel::<Button>::create(&button, Options::new())?;
    let mut distances = Channel::<Distance>::open(&distance, Duration::ZERO)?;
    let mut buttons = Channel::<Button>::open(&button, Duration::ZERO)?;

    // Each in a process of its own, elsewhere.
    let writers = thread::spawn(move || {
        for step in 1..=100 {
            radar.publish(Distance { ahead: 60.0 - step as f32 / 2.0 });
            if step % 25 == 0 {
                panel.publish(Button { presses: step / 25 });
            }
            thread::sleep(Duration::from_millis(2));
        }
    });

    let mut set = WaitSet::new();
    let (mut nearest, mut presses) = (f32::INFINITY, 0);
    while presses < 4 || nearest > 10.0 {
        let woken = set.wait(&mut [&mut distances, &mut buttons], Duration::from_secs(10));
        assert_ne!(woken, Wait::TimedOut);
        if let Some(distance) = distances.take() {
            nearest = nearest.min(distance.ahead);
        }
        if let Some(button) = buttons.take() {
            presses = button.presses;
            println!("pressed {presses} times, {nearest} m ahead");
        }
    }
    assert!(writers.join().is_ok());
    drop((distances, buttons));
    lkas_shm::unlink(&distance)?;
    lkas_shm::unlink(&button)?;
    Ok(())
}
