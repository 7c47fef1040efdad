//! Writes the lines of the log, and drops those that nobody reads in time: a log reader that stalls must not stall
//! hookbox.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::LogFormat;
use super::stopwatch::Stopwatch;

/// How long lines wait for their reader in `REGAINED_AFTER`, all together. After a line that is lost, further lines do
/// not wait, until one is written.
const PATIENCE: Duration = Duration::from_millis(250);

/// After this time lines may wait for `PATIENCE` again. Otherwise a reader that is merely slow would stall hookbox.
const REGAINED_AFTER: Duration = Duration::from_secs(10);

/// The most bytes that are written at once. A pipe that is ready takes as many without blocking (`PIPE_BUF` of Linux).
const CHUNK_BYTES: usize = 4096;

/// The message of the line that counts those before it that are lost.
const LOST: &str = "lines of the log are lost, because standard error was not read in time";

/// The lines of the log on their way to an output.
#[derive(Debug)]
pub(super) struct LogLines<W> {
    output: W,
    format: LogFormat,
    /// How many lines are lost since the last one that was written.
    lost: u64,
    /// Whether the output ends with a part of a line.
    is_cut: bool,
    /// What is left of `PATIENCE`.
    left: Duration,
    /// Since `PATIENCE` was whole.
    since: Stopwatch,
}

impl<W: Write + AsFd> LogLines<W> {
    pub(super) fn new(output: W, format: LogFormat) -> Self {
        Self { output, format, lost: 0, is_cut: false, left: PATIENCE, since: Stopwatch::start() }
    }

    /// Writes a line. False if it is lost, or cut.
    fn put(&mut self, line: &[u8]) -> bool {
        if self.is_cut {
            if !self.put_chunk(b"\n") {
                return false;
            }
            self.is_cut = false;
        }
        for (at, chunk) in line.chunks(CHUNK_BYTES).enumerate() {
            if !self.put_chunk(chunk) {
                self.is_cut = at > 0;
                return false;
            }
        }
        true
    }

    /// Writes a part of a line, if there is room for it in time.
    fn put_chunk(&mut self, chunk: &[u8]) -> bool {
        let has_room = self.has_room(Duration::ZERO) || self.waits_for_room();
        if has_room {
            // There is no other place to report an error.
            let _ = self.output.write_all(chunk);
        }
        has_room
    }

    /// Waits until the output has room, if it has room in time.
    fn waits_for_room(&mut self) -> bool {
        loop {
            let patience = self.patience();
            if patience.is_zero() {
                return false;
            }
            let waited = Stopwatch::start();
            let has_room = self.has_room(patience);
            self.left = self.left.saturating_sub(waited.elapsed());
            if has_room {
                return true;
            }
        }
    }

    /// Whether the output gets room within this time. False also if a signal comes first.
    fn has_room(&self, within: Duration) -> bool {
        let within = Timespec::try_from(within).unwrap_or_default();
        // If the system does not say, the write does.
        !matches!(
            poll(&mut [PollFd::new(&self.output, PollFlags::OUT)], Some(&within)),
            Ok(0) | Err(Errno::INTR)
        )
    }

    /// How long the next part of a line waits.
    fn patience(&mut self) -> Duration {
        if self.since.elapsed() >= REGAINED_AFTER {
            (self.since, self.left) = (Stopwatch::start(), PATIENCE);
        }
        if self.lost == 0 { self.left } else { Duration::ZERO }
    }

    /// The line that counts those that are lost.
    fn notice(&self) -> String {
        let mut time = String::new();
        // Cannot fail: a time is written to memory.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let (lines, target) = (self.lost, module_path!());
        match self.format {
            LogFormat::Pretty => format!("{time}  WARN {target}: {LOST} lines={lines}\n"),
            LogFormat::Json => {
                format!(
                    r#"{{"timestamp":"{time}","level":"WARN","message":"{LOST}","lines":{lines},"target":"{target}"}}"#
                ) + "\n"
            }
        }
    }
}

impl<W: Write + AsFd> Write for LogLines<W> {
    /// Takes a whole line, also if it is lost.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lost > 0 && self.put(self.notice().as_bytes()) {
            self.lost = 0;
        }
        if self.lost > 0 || !self.put(line) {
            self.lost += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};
    use std::sync::mpsc::{self, RecvTimeoutError};

    use serde_json::Value;

    use super::*;

    const LINE: &str = "{\"message\":\"a line\"}\n";

    /// Reads what is in a pipe.
    fn read(reader: &mut PipeReader) -> usize {
        reader.read(&mut vec![0; 4 * 1024 * 1024]).expect("reads")
    }

    /// The lines that are still in a pipe, and no more come.
    fn last_lines(mut reader: PipeReader) -> Vec<String> {
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("reads");
        rest.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn lines_that_nobody_reads_are_lost_and_the_next_line_counts_them() {
        // Much more than a pipe holds.
        const LINES: usize = 100_000;
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut log = LogLines::new(writer, LogFormat::Json);
        for _ in 0..LINES {
            log.write_all(LINE.as_bytes()).expect("never fails");
        }
        let written = read(&mut reader);
        assert_eq!(written % LINE.len(), 0, "no line is cut");
        log.write_all(LINE.as_bytes()).expect("never fails");
        drop(log);
        let last = last_lines(reader);
        assert_eq!(last.len(), 2, "{last:?}");
        let notice: Value = serde_json::from_str(&last[0]).expect("JSON");
        assert_eq!(notice["level"], "WARN");
        assert_eq!(notice["message"], LOST);
        assert_eq!(notice["lines"], LINES - written / LINE.len());
        assert!(notice["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{notice}");
        assert_eq!(last[1], LINE.trim_end());
    }

    #[test]
    fn a_slow_reader_does_not_slow_down_what_logs() {
        // At its pace they would take more than 40 s.
        const LINES: usize = 100_000;
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let (end, ended) = mpsc::channel::<()>();
        let slow = std::thread::spawn(move || {
            while ended.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                let _ = reader.read_exact(&mut [0; 4096]);
            }
        });
        let mut log = LogLines::new(writer, LogFormat::Json);
        let took = Stopwatch::start();
        for _ in 0..LINES {
            log.write_all(LINE.as_bytes()).expect("never fails");
        }
        let took = took.elapsed();
        drop((log, end));
        slow.join().expect("ends");
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn a_line_that_is_cut_does_not_swallow_the_next_one() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let mut log = LogLines::new(writer, LogFormat::Pretty);
        let long = "x".repeat(2 * 1024 * 1024);
        log.write_all(long.as_bytes()).expect("never fails");
        assert!(read(&mut reader) < long.len());
        log.write_all(b"after\n").expect("never fails");
        drop(log);
        let last = last_lines(reader);
        assert_eq!(last.len(), 3, "{last:?}");
        assert_eq!(last[0], "", "the line that was cut has an end");
        assert!(last[1].ends_with(&format!("{LOST} lines=1")), "{last:?}");
        assert_eq!(last[2], "after");
    }
}
