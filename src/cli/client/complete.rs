//! Completions for shells. They know every command, every flag, and words such as statuses, and ask hookbox for the names
//! of sources and routes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use serde_json::Value;

use super::server::impatient_client;
use crate::cli::Failure;
use crate::domain::job::Status;
use crate::domain::verdict::Cause;

/// The variable by which the script of a shell asks for completions. Its value is the shell.
const VARIABLE: &str = "_HOOKBOX_COMPLETE";

/// How long a completion waits for hookbox.
const ANSWER_TIME: Duration = Duration::from_millis(700);

/// Answers the script of a shell, if it asks. Returns the exit code; none if this is a usual start of the program.
pub(in crate::cli) fn complete(command: fn() -> clap::Command) -> Option<ExitCode> {
    let folder = std::env::current_dir().ok();
    let answered =
        CompleteEnv::with_factory(command).var(VARIABLE).try_complete(std::env::args_os(), folder.as_deref());
    match answered {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        // A shell shows nothing of it.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// The script that has a shell ask this program.
pub(in crate::cli) fn registration(shell: clap_complete::Shell) -> Result<Vec<u8>, Failure> {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = Path::new(&program);
    let name = program.file_name().map_or("hookbox".into(), |name| name.to_string_lossy());
    // A program that is not on the path is named by its whole path.
    let completer = match std::path::absolute(program) {
        Ok(absolute) if program.components().count() > 1 => absolute,
        _ => program.to_owned(),
    };
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(&shell.to_string());
    let shell = shell.ok_or_else(|| super::server::usage("there are no completions for this shell"))?;
    shell.write_registration(VARIABLE, &name, &name, &completer.to_string_lossy(), &mut script)?;
    Ok(script)
}

/// The names of the sources.
pub(super) fn sources() -> Vec<CompletionCandidate> {
    let mut sources = sources_of_senders();
    sources.push(CompletionCandidate::new("default"));
    sources
}

/// The names of the sources that have a URL of their own, and so refused requests.
pub(super) fn sources_of_senders() -> Vec<CompletionCandidate> {
    names("sources", "source").into_iter().map(CompletionCandidate::new).collect()
}

/// The names of the routes.
pub(super) fn routes() -> Vec<CompletionCandidate> {
    names("routes", "route").into_iter().map(CompletionCandidate::new).collect()
}

/// The statuses.
pub(super) fn statuses() -> Vec<CompletionCandidate> {
    Status::ALL.map(|status| CompletionCandidate::new(status.as_str())).into()
}

/// The verdicts.
pub(super) fn verdicts() -> Vec<CompletionCandidate> {
    ["none", "verified", "unverified"].map(CompletionCandidate::new).into()
}

/// The causes of the verdict `unverified`.
pub(super) fn causes() -> Vec<CompletionCandidate> {
    Cause::ALL.map(|cause| CompletionCandidate::new(cause.as_str())).into()
}

/// The names in a list; none if hookbox does not answer in time.
fn names(list: &str, member: &str) -> Vec<String> {
    let asked = || {
        let client = impatient_client(ANSWER_TIME)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let answer = runtime.block_on(client.get(&["v1", list], &[])).ok()?;
        names_in(&answer, list, member)
    };
    asked().unwrap_or_default()
}

/// The names that an answer has. A shell must not be given any other text.
fn names_in(answer: &str, list: &str, member: &str) -> Option<Vec<String>> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_name = |name: &&str| name.bytes().all(is_allowed);
    let answer = serde_json::from_str::<Value>(answer).ok()?;
    let items = answer.get(list)?.as_array()?.iter();
    let names = items.filter_map(|item| item.get(member)?.as_str().filter(is_name));
    Some(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_completed() {
        let answer =
            r#"{"routes":[{"route":"orders"},{"route":"$(echo)"},{"route":7},{},{"route":"a-b_c"}]}"#;
        assert_eq!(names_in(answer, "routes", "route"), Some(vec!["orders".to_owned(), "a-b_c".to_owned()]));
        assert_eq!(names_in("{}", "routes", "route"), None);
        assert_eq!(names_in("no", "routes", "route"), None);
    }
}
