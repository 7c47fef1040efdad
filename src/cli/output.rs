//! Writes the output of commands to standard output. No other file of the command line writes there.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Failure;
use crate::domain::job::Status;
use crate::store::transfer::RowCounts;

/// Prints a text. If its reader has closed the pipe, as `head` does, the rest is dropped without an error.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    print_on(text).map(drop)
}

/// Prints a text of a command that goes on until it is stopped. Returns false if its reader has closed the pipe: then
/// no more text needs to be printed.
pub(super) fn print_on(text: impl Display) -> Result<bool, Failure> {
    Ok(write_to(io::stdout().lock(), text)?)
}

/// Prints bytes as they are, and nothing else. If their reader has closed the pipe, the rest is dropped without an error.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    is_read(out.write_all(bytes).and_then(|()| out.flush()))?;
    Ok(())
}

/// Row counts, each on a line; without those that are 0.
pub(super) fn row_counts(counted: &RowCounts) -> String {
    let by_status = Status::ALL.map(|status| (status.as_str(), counted.counts.of(status)));
    let all = [("webhooks", counted.webhooks), ("attempts", counted.attempts)].into_iter().chain(by_status);
    all.filter(|(_, count)| *count > 0).map(|(what, count)| format!("  {what:<14}{count:>12}\n")).collect()
}

fn write_to(mut out: impl Write, text: impl Display) -> io::Result<bool> {
    is_read(write!(out, "{text}").and_then(|()| out.flush()))
}

/// Returns false if the reader has closed the pipe.
fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every write with an error of this kind.
    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
        assert!(matches!(write_to(Failing(ErrorKind::BrokenPipe), "text"), Ok(false)));
        assert!(matches!(write_to(Vec::new(), "text"), Ok(true)));
        let error = write_to(Failing(ErrorKind::StorageFull), "text").expect_err("fails");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
