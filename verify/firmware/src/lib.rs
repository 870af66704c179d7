//! What both programs share: the commands that the interrupt publishes, and how a program ends.
#![no_std]
#![warn(missing_docs)]

use core::panic::PanicInfo;
use cortex_m_semihosting::{debug, hprintln};
use lkas_messages::{Control, ControlFields, Mode};

/// The command number `frame_id`. Receivers work it out from the number alone, and so see whether it is the right one.
#[must_use]
pub fn command(frame_id: u32) -> Control {
    let fields = ControlFields {
        mode: Mode::LaneKeeping,
        steering: (frame_id % 200) as f32 / 100.0 - 1.0,
        throttle: 0.2,
        brake: 0.0,
        frame_id: frame_id.into(),
        timestamp: f64::from(frame_id) / 1000.0,
        ..ControlFields::default()
    };
    // Finite numbers make a message.
    Control::try_from(fields).unwrap_or_else(|_| unreachable!())
}

/// Ends the emulator with a status that its caller sees.
pub fn end(success: bool) -> ! {
    debug::exit(if success { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    end(false)
}
