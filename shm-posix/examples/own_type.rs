//! A struct of your own between two processes: this program starts itself again as the one that reads.
//!
//! `cargo run -p lkas-shm --example own_type`, and meanwhile `lkas echo example-engine` in another terminal.

use lkas_shm::{Channel, ChannelName, Code, Enumeration, Message, Options, Wait};
use std::process::Command;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Enumeration)]
#[repr(u8)]
enum Gear {
    Reverse,
    Neutral,
    Drive,
}

#[derive(Clone, Copy, Message)]
#[message(name = "example.Engine")]
#[repr(C)]
struct Engine {
    #[message(unit = "1/min")]
    speed: f32,
    #[message(unit = "degC")]
    temperatures: [i16; 4],
    gear: Code<Gear>,
    reserved: [u8; 3],
}

const VALUES: u32 = 50;

fn read(name: &ChannelName) -> Result<(), Box<dyn std::error::Error>> {
    let mut reader = Channel::<Engine>::open(name, Duration::from_secs(10))?;
    let mut taken = 0;
    while reader.wait(Duration::from_secs(10)) == Wait::Fresh {
        let Some(engine) = reader.take() else { continue };
        println!("#{}: {} 1/min in {:?}", engine.sequence(), engine.speed, engine.gear);
        assert_eq!(engine.gear.get(), Ok(Gear::Drive));
        taken += 1;
    }
    println!("{taken} of {VALUES} taken, {} skipped; the writer has left", reader.missed());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name: ChannelName = "example-engine".parse()?;
    if std::env::args().nth(1).as_deref() == Some("read") {
        return read(&name);
    }
    let mut writer = Channel::<Engine>::create(&name, Options::new().readers(2))?;
    let mut reader = Command::new(std::env::current_exe()?).arg("read").spawn()?;
    for number in 1..=VALUES {
        let speed = 800.0 + number as f32;
        writer.publish(Engine { speed, temperatures: [90, 91, 89, -1], gear: Gear::Drive.into(), reserved: [0; 3] });
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(writer);
    assert!(reader.wait()?.success());
    lkas_shm::unlink(&name)?;
    Ok(())
}
