//! Waits for the end of a replay, also over restarts of hookbox. The replay goes on without it.

use std::process::ExitCode;
use std::time::Duration;

use super::told::Replay;
use crate::cli::bar::Bar;
use crate::cli::client::interrupt::Interrupt;
use crate::cli::client::tail::lost;
use crate::cli::client::tell::Format;
use crate::cli::{EXIT_INTERRUPTED, Failure, note};
use crate::client::Client;

/// The pause before the first look at a replay, and the longest one. It doubles with each look.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The bar of a replay whose jobs were counted, and of any other.
const BAR_OF_JOBS: &str = "{bar} {percent:>3} %  {wide_msg}";
const BAR_OF_TIME: &str = "{bar} {percent:>3} % of the time  {wide_msg}";

/// Waits for the end of a replay of so many jobs, if they were counted, and prints it. The exit code is 1 if it was
/// cancelled, and that of a process that was interrupted if Ctrl-C came first.
pub(super) async fn to_the_end(
    client: &Client,
    replay: Replay,
    counted: Option<u64>,
    format: Format,
    interrupt: &mut Interrupt,
) -> Result<ExitCode, Failure> {
    let Some(ended) = wait(client, replay, counted, interrupt).await? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    ended.print_end(format)?;
    Ok(if ended.is_completed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Waits for the end of a replay, and shows on a terminal how far it is. None if Ctrl-C came first, which is said.
pub(super) async fn wait(
    client: &Client,
    mut replay: Replay,
    counted: Option<u64>,
    interrupt: &mut Interrupt,
) -> Result<Option<Replay>, Failure> {
    let template = if counted.is_some() { BAR_OF_JOBS } else { BAR_OF_TIME };
    let (number, bar) = (replay.number, Bar::new(100, template));
    let (mut pause, mut is_lost) = (FIRST_PAUSE, false);
    while replay.is_running() {
        bar.set_position(replay.percent(counted));
        bar.set_message(replay.doing());
        let look = async move {
            tokio::time::sleep(pause).await;
            Replay::get(client, number).await
        };
        match interrupt.race(look).await {
            Some(Ok(found)) => {
                replay = found;
                if std::mem::take(&mut is_lost) {
                    bar.suspend(|| note(&format!("connected to {} again", client.url())));
                }
            }
            Some(Err(error)) if error.is_passing() => {
                if !std::mem::replace(&mut is_lost, true) {
                    bar.suspend(|| note(&lost(client.url(), &error.why())));
                }
            }
            Some(Err(error)) => return Err(error.into()),
            None => {
                drop(bar);
                note(&format!(
                    "replay {number} goes on; `hookbox replays watch {number}` shows how far it is, and \
                     `hookbox replays cancel {number}` ends it"
                ));
                return Ok(None);
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(Some(replay))
}
