//! A pseudo-terminal, for a program that looks whether a person reads what it says.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::Termios;

/// A terminal, as the person in front of it has it.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    written: Arc<Mutex<Vec<u8>>>,
    keys: Arc<File>,
}

impl Terminal {
    /// A terminal of this width, and the end of it that a program gets.
    pub(crate) fn open(columns: u16) -> (Self, OwnedFd) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None::<&Termios>).unwrap();
        let mut master = File::from(master);
        let keys = Arc::new(master.try_clone().unwrap());
        let terminal = Self { written: Arc::default(), keys };
        let written = Arc::clone(&terminal.written);
        // Reading fails once no program has the terminal open.
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = master.read(&mut piece) {
                written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..length]);
            }
        });
        (terminal, slave)
    }

    /// All that was written so far, with `\r\n` at the end of a line.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Types a line. The terminal shows it, too.
    pub(crate) fn type_line(&self, line: &str) {
        (&*self.keys).write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
