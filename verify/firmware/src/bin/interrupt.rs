//! A timer interrupt publishes commands to a static channel, the main loop takes and checks them.
#![no_std]
#![no_main]

use core::cell::RefCell;
use cortex_m::interrupt::{Mutex, free};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::hprintln;
use lkas_core::{Channel, Writer};
use lkas_firmware::{command, end};
use lkas_messages::Control;

const PUBLISHES: u32 = 2_000;

type Commands = Writer<'static, Control>;

/// The way of the writer from the main program into the interrupt. Once there, it stays.
static WRITER: Mutex<RefCell<Option<Commands>>> = Mutex::new(RefCell::new(None));

#[exception]
fn SysTick() {
    static mut MINE: Option<Commands> = None;
    if MINE.is_none() {
        *MINE = free(|token| WRITER.borrow(token).take());
    }
    let Some(writer) = MINE else { return };
    let next = writer.sequence() as u32 + 1;
    if next <= PUBLISHES {
        writer.publish(command(next), u64::from(next));
    }
}

#[entry]
fn main() -> ! {
    // Any bit pattern is a message, zeroed memory an empty channel: it costs no initialised data.
    let Some(channel) = cortex_m::singleton!(CHANNEL: Channel<Control, 1> = Channel::new()) else { end(false) };
    let (writer, [mut reader]) = channel.split();
    free(|token| WRITER.borrow(token).replace(Some(writer)));

    let Some(mut board) = cortex_m::Peripherals::take() else { end(false) };
    board.SYST.set_clock_source(SystClkSource::Core);
    // Fast enough that it often interrupts a take, which is the point.
    board.SYST.set_reload(4_001);
    board.SYST.clear_current();
    board.SYST.enable_counter();
    board.SYST.enable_interrupt();

    let (mut taken, mut wrong, mut last) = (0_u32, 0_u32, 0_u64);
    while last < u64::from(PUBLISHES) {
        let Some(sample) = reader.take() else { continue };
        let expected = command(sample.sequence() as u32);
        let right = sample.is_whole()
            && sample.sequence() > last
            && sample.time() == sample.sequence()
            && sample.frame_id() == expected.frame_id()
            && sample.steering() == expected.steering();
        wrong += u32::from(!right);
        taken += 1;
        last = sample.sequence();
    }
    board.SYST.disable_interrupt();
    let missed = reader.missed() as u32;
    hprintln!("published {} taken {} missed {} wrong {}", PUBLISHES, taken, missed, wrong);
    end(wrong == 0 && taken > 0 && taken + missed <= PUBLISHES)
}
