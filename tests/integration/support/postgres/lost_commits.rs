//! Commits that are on disk, but whose responses are lost.

use std::time::Duration;

use super::session::Session;
use crate::support::wait::wait_until;

/// How long the server may take to read its settings anew.
const RELOAD_TIME: Duration = Duration::from_secs(30);

/// Has every commit wait from now on for a standby that does not exist. For a server of a test's own.
pub(crate) fn hold_commits(session: &Session, url: &str) {
    session.ask("ALTER SYSTEM SET synchronous_standby_names = 'missing'").expect("asks");
    session.ask("SELECT pg_reload_conf()").expect("asks");
    let probe = Session::open(url).expect("connects");
    let commit = "COMMENT ON SCHEMA public IS 'a commit'";
    let probing = std::thread::spawn(move || while probe.ask(commit).is_ok() {});
    let are_held = wait_until(RELOAD_TIME, || close_waiting(session, "COMMENT%").is_some());
    assert!(are_held, "commits do not wait");
    probing.join().expect("ends");
}

/// Closes the connection of a query whose commit waits: it is committed, and its response is lost.
pub(crate) fn close_waiting(session: &Session, query: &str) -> Option<()> {
    let closing = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '{query}'"
    );
    (!session.ask(&closing).expect("asks").is_empty()).then_some(())
}

/// Has commits be answered again.
pub(crate) fn release_commits(session: &Session) {
    session.ask("ALTER SYSTEM RESET synchronous_standby_names").expect("asks");
    session.ask("SELECT pg_reload_conf()").expect("asks");
}
