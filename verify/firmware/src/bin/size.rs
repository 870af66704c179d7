//! Nothing but a publish and a take of 32 bytes, each a function whose size can be read from the symbol table.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use lkas_core::{Channel, Reader, Writer};
use lkas_firmware::end;

type Value = [u32; 8];

#[unsafe(no_mangle)]
#[inline(never)]
fn publish_32_bytes(writer: &mut Writer<'static, Value>, value: &Value) {
    writer.publish(*value, 0);
}

#[unsafe(no_mangle)]
#[inline(never)]
fn take_32_bytes(reader: &mut Reader<'static, Value>, into: &mut Value) -> bool {
    reader.take().map(|sample| *into = *sample).is_some()
}

/// So that its size can be read from the symbol table as well.
#[unsafe(no_mangle)]
static mut CHANNEL_32_BYTES: Channel<Value, 1> = Channel::new();

#[entry]
fn main() -> ! {
    // SAFETY: the only reference to it, made once.
    let Some(channel) = (unsafe { (&raw mut CHANNEL_32_BYTES).as_mut() }) else { end(false) };
    let (mut writer, [mut reader]) = channel.split();
    let (sent, mut received) = ([7; 8], [0; 8]);
    publish_32_bytes(&mut writer, &sent);
    end(take_32_bytes(&mut reader, &mut received) && sent == received)
}
