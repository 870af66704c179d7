//! Text of a bounded length as a field of a message.

use crate::message::kind::Kind;
use crate::payload::Plain;
use core::fmt;

/// Text of up to `N` bytes as a field of a message: UTF-8, the rest zero. Foreign memory may contain any bytes; then it reads
/// as the text before the first byte that is none.
///
/// ```
/// use lkas_core::Text;
///
/// let name = Text::<8>::from("kp");
/// assert_eq!(name.as_str(), "kp");
/// assert_eq!(Text::<3>::from("größer").as_str(), "gr", "cut at a whole character");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Text<const N: usize>([u8; N]);

// SAFETY: bytes, and nothing else.
unsafe impl<const N: usize> Plain for Text<N> {
    const KIND: Kind = Kind::Text(N);
}

impl<const N: usize> Text<N> {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.0.split(|byte| *byte == 0).next().unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(why) => {
                bytes.get(..why.valid_up_to()).and_then(|good| core::str::from_utf8(good).ok()).unwrap_or_default()
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

/// Cut at a whole character where it is too long.
impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        let mut end = text.len().min(N);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; N];
        for (place, byte) in bytes.iter_mut().zip(text.bytes().take(end)) {
            *place = byte;
        }
        Self(bytes)
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_whole_character_and_foreign_bytes_are_read() {
        assert_eq!(Text::<8>::from("gauche").as_str(), "gauche");
        assert_eq!(Text::<5>::from("a€€").as_str(), "a€");
        assert_eq!(Text([b'a', 0xff, 0, b'b']).as_str(), "a");
        assert_eq!(Text([b'a'; 2]).as_str(), "aa");
        assert!(Text([0, b'a']).is_empty());
    }
}
