//! An interrupt publishes controls, then stops: the main loop goes into a safe stop by itself, stands, and drives on when
//! controls come back.
#![no_std]
#![no_main]

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use cortex_m::interrupt::{Mutex, free};
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::hprintln;
use lkas_core::{Channel, Writer};
use lkas_firmware::{command, end};
use lkas_messages::{Control, Mode};
use lkas_safety::{LastControl, SafetyEvent, SafetyMonitor, SafetyOptions};

/// Seconds of one tick of the timer.
const TICK_S: f64 = 0.01;
/// Ticks in which nothing is published.
const SILENCE: core::ops::Range<u32> = 100..600;
const END: u32 = 800;
/// A control may be that many ticks old: 0.25 s.
const LIMIT: u32 = 25;

type Commands = Writer<'static, Control>;

static WRITER: Mutex<RefCell<Option<Commands>>> = Mutex::new(RefCell::new(None));
/// The vehicle's clock.
static TICKS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    static mut MINE: Option<Commands> = None;
    if MINE.is_none() {
        *MINE = free(|token| WRITER.borrow(token).take());
    }
    let now = TICKS.load(Ordering::Relaxed) + 1;
    if let Some(writer) = MINE
        && !SILENCE.contains(&now)
    {
        writer.publish(command(now), now.into());
    }
    TICKS.store(now, Ordering::Relaxed);
}

#[entry]
fn main() -> ! {
    let Some(channel) = cortex_m::singleton!(CHANNEL: Channel<Control, 1> = Channel::new()) else { end(false) };
    let (writer, [mut reader]) = channel.split();
    free(|token| WRITER.borrow(token).replace(Some(writer)));
    let Some(mut board) = cortex_m::Peripherals::take() else { end(false) };
    board.SYST.set_clock_source(SystClkSource::Core);
    board.SYST.set_reload(40_001);
    board.SYST.clear_current();
    board.SYST.enable_counter();
    board.SYST.enable_interrupt();

    let mut monitor = SafetyMonitor::new(SafetyOptions::default());
    let (mut seen, mut speed, mut wrong) = (0, 10.0_f64, 0_u32);
    let (mut stopped_at, mut stood, mut resumed) = (0, false, false);
    while seen < END {
        let now = TICKS.load(Ordering::Relaxed);
        if now == seen {
            cortex_m::asm::wfi();
            continue;
        }
        let dt = f64::from(now - seen) * TICK_S;
        seen = now;
        let last = reader.latest().map(|sample| LastControl {
            control: *sample,
            age_s: (f64::from(now) - sample.time() as f64) * TICK_S,
            contract: Ok(None),
        });
        let (execute, events) = monitor.decide(dt, f64::from(now) * TICK_S, last, speed == 0.0, || None);
        for event in events {
            hprintln!("{:4}: {}", now, event);
            match event {
                SafetyEvent::SafeStop { .. } => stopped_at = now,
                SafetyEvent::StandingStill => stood = true,
                SafetyEvent::Resumed { .. } => resumed = stood,
                _ => {}
            }
        }
        // Nothing that is older than the limit moves the vehicle.
        let too_old = SILENCE.contains(&now) && now > SILENCE.start + LIMIT;
        let brakes = execute.mode() == Mode::EmergencyStop && execute.throttle() == 0.0 && execute.brake() >= 0.6;
        wrong += u32::from(too_old && !brakes);
        let acceleration = 3.0 * f64::from(execute.throttle()) - 8.0 * f64::from(execute.brake());
        speed = (speed + acceleration * dt).max(0.0);
    }
    board.SYST.disable_interrupt();
    let in_time = SILENCE.contains(&stopped_at) && stopped_at <= SILENCE.start + LIMIT + 1;
    hprintln!("stopped at {} stood {} resumed {} wrong {}", stopped_at, stood, resumed, wrong);
    end(in_time && stood && resumed && wrong == 0 && monitor.safe_stops() == 1)
}
