//! Commands as postcard in COBS frames over the board's first serial port.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use lkas_messages::codec;
use lkas_firmware::{command, end};

const MESSAGES: u32 = 100;
/// Data register of UART0 of the LM3S6965; the emulator's is always ready.
const UART0: *mut u32 = 0x4000_C000 as *mut u32;

#[entry]
fn main() -> ! {
    let mut space = [0; 128];
    for number in 1..=MESSAGES {
        let Ok(frame) = codec::encode_framed(&command(number), &mut space) else { end(false) };
        for byte in frame {
            // SAFETY: the register of the data sheet; writing to it sends a byte.
            unsafe { UART0.write_volatile(u32::from(*byte)) };
        }
    }
    end(true)
}
