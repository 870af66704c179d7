//! What any bytes in place of a segment's header must be good for. Shared by the property tests and the fuzz target.

use lkas_messages::{Control, ControlFields};
use lkas_shm::{ChannelName, ControlChannel, Description, HeaderError, Options};

/// Parses `bytes` as the header of a segment of `size` bytes. What is accepted fits the segment.
pub(crate) fn look_at(bytes: &[u8], size: u64) -> Result<Description, HeaderError> {
    let description = Description::parse(bytes, size).inspect_err(|why| assert!(!why.to_string().is_empty()))?;
    let layout = description.layout();
    assert!((1..=29).contains(&layout.readers()) && layout.slots() == layout.readers() + 2);
    assert!(layout.payload_offset() + layout.payload_size() <= layout.stride(), "a payload lies inside of its slot");
    let parts = 4096 + layout.mailbox_bytes() as u64 + layout.slot_bytes() as u64;
    assert!(parts <= size, "{parts} bytes of parts in a segment of {size}");
    for field in description.fields() {
        assert!(field.offset + field.size() <= layout.payload_size(), "{field:?}");
    }
    let printed = format!("{} {:?}", description.type_name(), description.shape());
    assert!(!printed.chars().any(char::is_control), "nothing that a terminal obeys: {printed:?}");
    Ok(description)
}

/// The bytes of a segment as this library makes it.
pub(crate) fn segment() -> Vec<u8> {
    let name: ChannelName = format!("foreign-{}", std::process::id()).parse().expect("a good name");
    let mut writer = ControlChannel::create(&name, Options::default()).expect("a channel can be created");
    writer.publish(Control::try_from(ControlFields::default()).expect("a good message"));
    let bytes = std::fs::read(format!("/dev/shm/{name}")).expect("a segment is a file");
    drop(writer);
    lkas_shm::unlink(&name).expect("nobody uses it");
    bytes
}

/// `segment` with numbers written over it: each patch is where (two bytes), how many bytes (one) and which (eight).
pub(crate) fn patched(segment: &[u8], patches: &[u8]) -> Vec<u8> {
    let mut bytes = segment.to_vec();
    for patch in patches.as_chunks::<11>().0 {
        let &[low, high, count, ref value @ ..] = patch;
        // Most of the page is text; what matters is at its start.
        let at = usize::from(u16::from_le_bytes([low, high])) % if count & 0x80 == 0 { 128 } else { 4096 };
        let count = usize::from(count % 9).min(4096 - at);
        bytes[at..at + count].copy_from_slice(&value[..count]);
    }
    bytes
}
