//! Reads the settings file, and the files that settings and flags name, within limits. Knows nothing else of the crate; every
//! layer may use it.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// The largest file with certificates or a key in PEM, in bytes.
pub(crate) const PEM_BYTES: u64 = 4 * 1024 * 1024;

/// The bytes of a file. Blocks. Errors: it cannot be read, has more than `most_bytes`, or is a pipe. A pipe can be read only
/// once: a reload would then read nothing, or wait for ever.
pub(crate) fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.file_type().is_fifo() {
        let problem = "it is a pipe, which can be read only once; write its content to a file";
        return Err(io::Error::other(problem));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        return Err(io::Error::other(format!("it has more than {most_bytes} bytes")));
    }
    Ok(bytes)
}

/// The place of the first byte of a file that is not UTF-8.
#[derive(Debug)]
pub(crate) struct NotUtf8 {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not valid UTF-8 in line {}, column {}", self.line, self.column)
    }
}

impl Error for NotUtf8 {}

/// As [`read`], for a text in UTF-8. The error of any other text is [`NotUtf8`].
pub(crate) fn read_text(path: &Path, most_bytes: u64) -> io::Result<String> {
    // The error of the standard library would keep the bytes, which may be a secret.
    String::from_utf8(read(path, most_bytes)?).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(start).chars().count() + 1;
        io::Error::new(io::ErrorKind::InvalidData, NotUtf8 { line, column })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_larger_than_the_limit_or_not_utf_8_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let read = |bytes: &[u8]| {
            fs::write(file.path(), bytes).expect("writes");
            read_text(file.path(), 4).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"four").as_deref(), Ok("four"));
        assert_eq!(read(b"five!"), Err("it has more than 4 bytes".to_owned()));
        // The fifth byte is a half of the last character.
        assert_eq!(read("fourü".as_bytes()), Err("it has more than 4 bytes".to_owned()));
        assert_eq!(read(b"\xff"), Err("it is not valid UTF-8 in line 1, column 1".to_owned()));
        assert_eq!(read(b"\n\xc3\xbc\xff"), Err("it is not valid UTF-8 in line 2, column 2".to_owned()));
    }

    #[test]
    fn a_device_without_an_end_is_read_up_to_the_limit() {
        let refused = read(Path::new("/dev/zero"), 4).expect_err("has no end");
        assert_eq!(refused.to_string(), "it has more than 4 bytes");
    }
}
