//! Commands as postcard in COBS frames over the board's first serial port.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use lkas_firmware::{command, end};
use lkas_messages::codec;

const MESSAGES: u32 = 100;

/// Data and flag registers of UART0 of the LM3S6965, and the flag that says that nothing more fits its queue (data sheet,
/// chapter 12). The emulator's UART is enabled from the start.
const DATA: *mut u32 = 0x4000_C000 as *mut u32;
const FLAGS: *const u32 = 0x4000_C018 as *const u32;
const FULL: u32 = 1 << 5;

fn send(byte: u8) {
    // SAFETY: a register of the data sheet; reading it changes nothing.
    while unsafe { FLAGS.read_volatile() } & FULL != 0 {}
    // SAFETY: a register of the data sheet; writing to it sends a byte.
    unsafe { DATA.write_volatile(u32::from(byte)) };
}

#[entry]
fn main() -> ! {
    let mut space = [0; 128];
    for number in 1..=MESSAGES {
        let Ok(frame) = codec::encode_framed(&command(number), &mut space) else { end(false) };
        frame.iter().copied().for_each(send);
    }
    end(true)
}
