//! The three pipes to a program, without ever blocking on one of them.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};

use super::output::{Head, Tail};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// The most that is read after the program has exited, in bytes of each pipe. All that it wrote is in the pipe by then,
/// and a pipe holds no more; a process that left the group may go on writing.
const LAST_BYTES: usize = 1024 * 1024;

/// The ends of the pipes that are still open, and what came out of them.
#[derive(Debug)]
pub(super) struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// What is left to write.
    body: &'a [u8],
    head: Head,
    tail: Tail,
    buffer: Vec<u8>,
}

impl<'a> Pipes<'a> {
    /// Takes the pipes of a program that is to read `body`.
    pub(super) fn new(child: &mut Child, body: &'a [u8]) -> io::Result<Self> {
        let stdin = child.stdin.take().filter(|_| !body.is_empty());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let open = [
            stdin.as_ref().map(|pipe| pipe.as_fd()),
            stdout.as_ref().map(|pipe| pipe.as_fd()),
            stderr.as_ref().map(|pipe| pipe.as_fd()),
        ];
        for pipe in open.into_iter().flatten() {
            ioctl_fionbio(pipe, true)?;
        }
        let (head, tail) = (Head::default(), Tail::default());
        Ok(Self { stdin, stdout, stderr, body, head, tail, buffer: vec![0; READ_BYTES] })
    }

    /// Waits until a pipe is ready, but no longer than `at_most`. Then writes and reads what there is. False if no pipe
    /// was ready.
    pub(super) fn pass(&mut self, at_most: Duration) -> io::Result<bool> {
        let is_ready = self.wait(at_most)?;
        if is_ready {
            self.write();
            self.read_stdout();
            self.read_stderr();
        }
        Ok(is_ready)
    }

    /// Reads what an exited program has left in its pipes.
    pub(super) fn finish(mut self) -> (Head, Tail) {
        for _ in 0..LAST_BYTES / READ_BYTES {
            let (out, err) = (self.read_stdout(), self.read_stderr());
            if !out && !err {
                break;
            }
        }
        (self.head, self.tail)
    }

    fn wait(&self, at_most: Duration) -> io::Result<bool> {
        let mut open = Vec::with_capacity(3);
        open.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        open.extend(self.stdout.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        open.extend(self.stderr.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        let at_most = Timespec::try_from(at_most).map_err(io::Error::other)?;
        match poll(&mut open, Some(&at_most)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(self.body) {
            Ok(bytes) => self.body = &self.body[bytes..],
            Err(error) if is_not_ready(&error) => {}
            // The program has closed its standard input: it does not need the rest.
            Err(_) => self.body = &[],
        }
        if self.body.is_empty() {
            self.stdin = None;
        }
    }

    /// True if bytes came.
    fn read_stdout(&mut self) -> bool {
        read(&mut self.stdout, &mut self.buffer, |bytes| self.head.add(bytes))
    }

    /// True if bytes came.
    fn read_stderr(&mut self) -> bool {
        read(&mut self.stderr, &mut self.buffer, |bytes| self.tail.add(bytes))
    }
}

/// Reads once; true if bytes came. Closes a pipe that has ended.
fn read(pipe: &mut Option<impl Read>, buffer: &mut [u8], keep: impl FnOnce(&[u8])) -> bool {
    let Some(open) = pipe else { return false };
    match open.read(buffer) {
        Ok(bytes) if bytes > 0 => {
            keep(&buffer[..bytes]);
            true
        }
        Err(error) if is_not_ready(&error) => false,
        Ok(_) | Err(_) => {
            *pipe = None;
            false
        }
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
