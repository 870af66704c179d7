//! Single keys from a terminal, without waiting for a line.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::io::IsTerminal;

/// The keys of the terminal that this program was started on; none where it is no terminal. Dropping it gives the terminal
/// back as it was.
#[derive(Debug)]
pub(super) struct Keys {
    before: Option<Termios>,
}

impl Keys {
    pub(super) fn start() -> Self {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Self { before: None };
        }
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(before) = &before {
            let mut now = before.clone();
            now.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            // A read returns at once, with a key or without one.
            now.special_codes[SpecialCodeIndex::VMIN] = 0;
            now.special_codes[SpecialCodeIndex::VTIME] = 0;
            // A terminal that does not take it has no single keys.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &now);
        }
        Self { before }
    }

    /// The next key, if one was pressed.
    pub(super) fn next(&self) -> Option<u8> {
        self.before.as_ref()?;
        let mut key = [0];
        let read = rustix::io::read(std::io::stdin(), &mut key);
        read.is_ok_and(|count| count == 1).then_some(key[0])
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
