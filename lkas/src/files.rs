//! Files that a person wrote.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// No such file is larger, in bytes.
const MOST: u64 = 1 << 20;

/// The text of a file, a pipe or whatever else ends; an error where it has more than 1 MiB.
pub(crate) fn text(path: &Path) -> Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("more than {MOST} bytes, which no such file has")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_refused() {
        let why = text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::FileTooLarge);
        assert_eq!(text(Path::new("/dev/null")).unwrap(), "");
    }
}
