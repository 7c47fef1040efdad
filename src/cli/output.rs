//! Writes the output of commands to standard output. No other file of the command line writes there.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Failure;
use crate::domain::job::Status;
use crate::store::transfer::RowCounts;

/// Prints a text. If its reader has closed the pipe, as `head` does, the rest is dropped without an error.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    Ok(write_to(io::stdout().lock(), text)?)
}

/// Row counts, each on a line; without those that are 0.
pub(super) fn row_counts(counted: &RowCounts) -> String {
    let by_status = Status::ALL.map(|status| (status.as_str(), counted.counts.of(status)));
    let all = [("webhooks", counted.webhooks), ("attempts", counted.attempts)].into_iter().chain(by_status);
    all.filter(|(_, count)| *count > 0).map(|(what, count)| format!("  {what:<14}{count:>12}\n")).collect()
}

fn write_to(mut out: impl Write, text: impl Display) -> io::Result<()> {
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
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
        assert!(write_to(Failing(ErrorKind::BrokenPipe), "text").is_ok());
        let error = write_to(Failing(ErrorKind::StorageFull), "text").expect_err("fails");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
