//! What another mirror sends: descriptions, attachments and requests of any bytes, and values with any bytes in them.
#![no_main]

#[allow(dead_code)]
#[path = "../../../zenoh-bridge/src/content.rs"]
mod content;
#[allow(dead_code)]
#[path = "../../../zenoh-bridge/src/offset.rs"]
mod offset;
#[allow(dead_code)]
#[path = "../../../zenoh-bridge/src/wire.rs"]
mod wire;

use content::Content;
use lkas_messages::{ImageShape, PixelFormat};
use wire::{Described, Encoding, Header, Request};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Described::decode(bytes);
    let _ = Request::decode(bytes);
    let (attachment, payload) = bytes.split_at(bytes.len().min(wire::ATTACHMENT));
    let _ = Header::decode(attachment, payload);

    let mut clocks = offset::Clocks::default();
    clocks.add(7, 11, 13);
    let Some(offset) = clocks.offset(13) else { return };
    let [choice, payload @ ..] = bytes else { return };
    let format = [PixelFormat::Rgb8, PixelFormat::Bgr8, PixelFormat::Gray8][usize::from(choice >> 1) % 3];
    let Ok(shape) = ImageShape::new(8, 8, format) else { return };
    let mut frame = vec![0_u64; shape.image_bytes() / 8];
    let _ = Content::Image(shape).write(Encoding::Jpeg, payload, offset, bytemuck::cast_slice_mut(&mut frame));
    for content in [
        Content::Image(shape),
        Content::Control,
        Content::Detection,
        Content::Vehicle,
        Content::Other { timestamp: Some(usize::from(*choice)) },
    ] {
        let mut slot = vec![0_u64; payload.len().div_ceil(8)];
        let slot: &mut [u8] = bytemuck::cast_slice_mut(&mut slot);
        let _ = content.write(Encoding::Raw, payload, offset, &mut slot[..payload.len()]);
    }
});
