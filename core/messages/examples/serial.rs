//! A command over a serial line that checks what it carries: framed and decoded; and one that can't be built.
//!
//! `cargo run -p lkas-messages --example serial`

use lkas_messages::{Control, ControlFields, Mode, codec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fields = ControlFields { mode: Mode::LaneKeeping, steering: -0.25, brake: 0.0, ..ControlFields::default() };
    let control = Control::try_from(fields)?;
    let mut space = [0; 128];
    let sent = codec::encode_framed(&control, &mut space)?;
    println!("{} bytes on the line, the last of them a 0 and no other", sent.len());
    assert_eq!(sent.iter().position(|byte| *byte == 0), Some(sent.len() - 1));

    let mut received = sent.to_vec();
    let control: Control = codec::decode_framed(&mut received)?;
    println!("{control:?}");
    assert_eq!((control.mode(), control.steering()), (Mode::LaneKeeping, -0.25));

    let refused = ControlFields { steering: f32::NAN, ..fields };
    match Control::try_from(refused) {
        Err(why) => println!("refused: {why}"),
        Ok(_) => unreachable!("NaN is no steering"),
    }
    Ok(())
}
