//! Messages as bytes for a wire: postcard, optionally framed with COBS for a serial line.
//!
//! Decoding checks what [building](crate) checks, so what comes out is a message like any other.
//!
//! A message's check value does not go over the wire: decoding makes it anew, so `is_whole` says nothing of the way there.
//! Framing finds where messages begin and end. It does not find bits that were flipped on the way: such a frame may decode
//! to another message. Use a link that checks (CAN, UDP), or put a CRC of your own over each frame, as a plain serial line
//! needs; [`checksum`](crate::checksum()) makes one.

use crate::error::CodecError;
use serde::{Serialize, de::DeserializeOwned};

/// Encodes `message` at the start of `into` and returns the bytes used.
///
/// # Errors
/// [`CodecError::NoSpace`] where it does not fit.
pub fn encode<'a>(message: &impl Serialize, into: &'a mut [u8]) -> Result<&'a mut [u8], CodecError> {
    let size = into.len();
    postcard::to_slice(message, into).map_err(|_| CodecError::NoSpace { size })
}

/// Decodes one message from all of `bytes`.
///
/// # Errors
/// [`CodecError::Truncated`], [`CodecError::Trailing`] or [`CodecError::Malformed`].
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, CodecError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(CodecError::Trailing { extra: rest.len() }),
        Err(postcard::Error::DeserializeUnexpectedEnd) => Err(CodecError::Truncated { length: bytes.len() }),
        Err(_) => Err(CodecError::Malformed),
    }
}

/// As [`encode`], framed with COBS: no byte of the frame is zero but the last.
///
/// The frame has no check in it: bits that are flipped on the way are [not found](self).
///
/// # Errors
/// [`CodecError::NoSpace`] where it does not fit.
pub fn encode_framed<'a>(message: &impl Serialize, into: &'a mut [u8]) -> Result<&'a mut [u8], CodecError> {
    let size = into.len();
    postcard::to_slice_cobs(message, into).map_err(|_| CodecError::NoSpace { size })
}

/// Decodes one message from all of a COBS frame, with or without its closing zero. The frame is unframed in place.
///
/// Bits that were flipped on the way are [not found](self), and `is_whole` holds for whatever comes out.
///
/// # Errors
/// As [`decode`]; [`CodecError::Trailing`] also where there are bytes behind the closing zero, and
/// [`CodecError::Malformed`] where it is no frame.
pub fn decode_framed<M: DeserializeOwned>(frame: &mut [u8]) -> Result<M, CodecError> {
    let found = cobs::decode_in_place_report(frame).map_err(|_| CodecError::Malformed)?;
    // But for the closing zero.
    match frame.len().saturating_sub(found.src_used + 1) {
        0 => decode(frame.get(..found.dst_used).ok_or(CodecError::Malformed)?),
        extra => Err(CodecError::Trailing { extra }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Control, ControlFields, Detection, DetectionFields, Mode, VehicleState, VehicleStateFields};

    #[test]
    fn messages_survive_both_ways() {
        let fields = ControlFields { mode: Mode::LaneKeeping, steering: -0.5, frame_id: 300, ..Default::default() };
        let control = Control::try_from(fields).unwrap();
        let mut bytes = [0; 128];
        let encoded = encode(&control, &mut bytes).unwrap();
        assert_eq!(ControlFields::from(decode::<Control>(encoded).unwrap()), fields);
        let framed = encode_framed(&control, &mut bytes).unwrap();
        assert_eq!(framed.iter().position(|&byte| byte == 0), Some(framed.len() - 1));
        assert_eq!(ControlFields::from(decode_framed::<Control>(framed).unwrap()), fields);

        let fields = DetectionFields { left: Some(Default::default()), frame_id: 1, ..Default::default() };
        let encoded = encode(&Detection::try_from(fields).unwrap(), &mut bytes).unwrap();
        assert_eq!(DetectionFields::from(decode::<Detection>(encoded).unwrap()), fields);

        let fields = VehicleStateFields { paused: Some(false), ..Default::default() };
        let encoded = encode(&VehicleState::try_from(fields).unwrap(), &mut bytes).unwrap();
        assert_eq!(VehicleStateFields::from(decode::<VehicleState>(encoded).unwrap()), fields);
    }

    #[test]
    fn damaged_bytes_are_errors() {
        let mut bytes = [0; 128];
        let encoded = encode(&Control::try_from(ControlFields::default()).unwrap(), &mut bytes).unwrap();
        let length = encoded.len();
        assert_eq!(
            decode::<Control>(&encoded[..length - 1]).unwrap_err(),
            CodecError::Truncated { length: length - 1 }
        );
        assert_eq!(decode::<Control>(&bytes[..length + 2]).unwrap_err(), CodecError::Trailing { extra: 2 });
        bytes[0] = 0x7f;
        assert_eq!(decode::<Control>(&bytes[..length]).unwrap_err(), CodecError::Malformed, "no such mode");
        assert_eq!(encode(&7_u64, &mut []).unwrap_err(), CodecError::NoSpace { size: 0 });
        assert!(decode_framed::<Control>(&mut [9, 1, 0]).is_err());
    }

    #[test]
    fn what_follows_the_message_in_its_frame_is_an_error() {
        let control = Control::try_from(ControlFields::default()).unwrap();
        let mut bytes = [0; 128];
        let length = encode_framed(&(&control, 7_u8, 0_u8), &mut bytes).unwrap().len();
        assert_eq!(decode_framed::<Control>(&mut bytes[..length]).unwrap_err(), CodecError::Trailing { extra: 2 });
        let length = encode_framed(&control, &mut bytes).unwrap().len();
        bytes[length..].fill(9);
        assert_eq!(decode_framed::<Control>(&mut bytes[..length + 3]).unwrap_err(), CodecError::Trailing { extra: 3 });
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for frame in [&mut [2][..], &mut [3, 1], &mut [3, 1, 0], &mut [1, 3, 1, 0], &mut [255, 1, 1, 0]] {
            assert_eq!(decode_framed::<Control>(frame).unwrap_err(), CodecError::Malformed, "{frame:?}");
        }
        assert_eq!(decode_framed::<Control>(&mut []).unwrap_err(), CodecError::Malformed);
        for frame in [&mut [0][..], &mut [1], &mut [1, 0]] {
            assert_eq!(decode_framed::<Control>(frame).unwrap_err(), CodecError::Truncated { length: 0 });
        }
    }

    #[test]
    fn numbers_that_are_not_finite_do_not_come_in() {
        let mut fields = ControlFields { mode: Mode::LaneKeeping, ..Default::default() };
        let mut bytes = [0; 128];
        assert!(decode::<Control>(encode(&fields, &mut bytes).unwrap()).is_ok());
        fields.steering = f32::NAN;
        assert_eq!(decode::<Control>(encode(&fields, &mut bytes).unwrap()).unwrap_err(), CodecError::Malformed);
    }
}
