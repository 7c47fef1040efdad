//! Asks the person at the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::sync::oneshot;

use crate::cli::Failure;
use crate::cli::client::interrupt::Interrupt;

/// What the person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Ctrl-C.
    Interrupted,
}

/// Whether a person can be asked.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks a question. Anything but `y` and `yes` means no.
pub(super) async fn ask(question: &str, interrupt: &mut Interrupt) -> Result<Answer, Failure> {
    write!(io::stderr(), "{question} [y/N] ")?;
    let (sender, answered) = oneshot::channel();
    // No task of the runtime, which would wait for its end.
    std::thread::Builder::new().name("answer".into()).spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map(|_| line);
        // After Ctrl-C, the answer is not wanted any more.
        let _ = sender.send(read);
    })?;
    let Some(answer) = interrupt.race(answered).await else {
        writeln!(io::stderr())?;
        return Ok(Answer::Interrupted);
    };
    // Without an answer, the thread has panicked.
    let line = answer.map_err(Box::new)??;
    let is_yes = ["y", "yes"].iter().any(|yes| line.trim().eq_ignore_ascii_case(yes));
    Ok(if is_yes { Answer::Yes } else { Answer::No })
}
