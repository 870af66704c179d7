//! Names of channels.

use core::fmt;
use core::str::FromStr;

/// The longest name, namespace included, in bytes.
pub const MAX_NAME: usize = 100;

/// The name of a channel, which is also that of its segment in `/dev/shm`: 1 to [`MAX_NAME`] letters, digits, `_`, `-`
/// and `.`, not starting with a `.`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(String);

impl ChannelName {
    /// The channel `name` of the system `namespace`, so that two systems on one machine don't meet: `namespace.name`,
    /// or just `name` where the namespace is empty.
    ///
    /// # Errors
    /// [`ChannelNameError`] where either has no usable form.
    pub fn new(namespace: &str, name: &str) -> Result<Self, ChannelNameError> {
        if namespace.is_empty() { name.parse() } else { format!("{namespace}.{name}").parse() }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(name: &str) -> Result<Self, ChannelNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(ChannelNameError { found: name.into() });
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A channel can't have this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelNameError {
    found: String,
}

impl fmt::Display for ChannelNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found: String = self.found.chars().take(MAX_NAME + 1).collect();
        write!(
            f,
            "{found:?} is no name for a channel: expected 1 to {MAX_NAME} letters, digits, _, - and ., not starting with ."
        )
    }
}

impl core::error::Error for ChannelNameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_of_their_folder() {
        for bad in ["", ".", "..", "../x", "a/b", "a b", "ä", "a\0b", &"x".repeat(101)] {
            assert!(bad.parse::<ChannelName>().is_err(), "{bad:?}");
        }
        assert_eq!(ChannelName::new("", "camera_feed").unwrap().as_str(), "camera_feed");
        assert_eq!(ChannelName::new("car-1", "camera_feed").unwrap().as_str(), "car-1.camera_feed");
    }
}
