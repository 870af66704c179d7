//! Values that must not be acted on when they are too old: a heater that is switched off when its controller dies.
//!
//! `cargo run -p lkas-shm --example deadline`

use lkas_shm::{Channel, ChannelName, Contract, Deadline, DeadlineReader, Message, Options};
use std::time::Duration;

#[derive(Clone, Copy, Debug, Message)]
#[repr(C)]
struct Heating {
    #[message(unit = "W")]
    power: f32,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name: ChannelName = format!("example-heating-{}", std::process::id()).parse()?;
    // What the controller promises: a value each 100 ms, and none that is older than 300 ms.
    let options = Options::new().contract(Contract::new(ms(100), ms(300))?);
    let mut controller = Channel::<Heating>::create(&name, options)?;
    let mut heater = DeadlineReader::new(name.clone(), Channel::<Heating>::open, ms(500));

    let mut switched_off = false;
    for step in 0..200 {
        if step < 20 {
            controller.publish(Heating { power: 1500.0 });
        }
        // It stays alive, and says nothing any more.
        let _new = heater.next(ms(20))?;
        let power = match heater.deadline() {
            Deadline::Fresh | Deadline::Late { .. } => heater.last().map_or(0.0, |heating| heating.value.power),
            why => {
                println!("step {step}: off, because {why:?}");
                switched_off = true;
                0.0
            }
        };
        assert!(power <= 1500.0);
        if switched_off && step > 20 {
            break;
        }
    }
    assert!(switched_off, "nobody heats by a command of long ago");
    drop((controller, heater));
    lkas_shm::unlink(&name)?;
    Ok(())
}
