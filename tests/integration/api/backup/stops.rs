//! A copy that does not come to its end leaves nothing behind.

use nix::sys::signal::Signal;

use super::{COPY, names, told};
use crate::api::harness::eventually;
use crate::api::harness::process::Place;

/// A place with a file that takes a while to copy, because it has 200 MB of free pages.
fn with_large_file() -> Place {
    let place = Place::new(&[("TERM", "xterm")]);
    assert_eq!(place.run(&["migrate"]).status.code(), Some(0));
    place.execute("CREATE TABLE filler (bytes BLOB); INSERT INTO filler VALUES (zeroblob(60000000))");
    place.execute("DROP TABLE filler");
    place
}

#[tokio::test]
async fn a_backup_that_is_interrupted_removes_what_it_has_made() {
    let place = with_large_file();
    let before = names(&place);
    let (partial, copy) = (place.path("copy.db.partial"), place.path(COPY));
    for _ in 0..20 {
        let mut process = place.start_command(&["backup", "--to", COPY]);
        eventually("the copy", || async { (partial.exists() || copy.exists()).then_some(()) }).await;
        process.signal(Signal::SIGINT);
        let code = process.ended().await.code();
        if code == Some(0) {
            // On a busy machine, the signal may come after the end of the copy.
            std::fs::remove_file(&copy).unwrap();
            continue;
        }
        assert_eq!(code, Some(130), "{}", process.log());
        assert_eq!(process.log(), "stopped; nothing is left of the copy\n");
        assert_eq!(names(&place), before);
        return;
    }
    panic!("every copy was made before it could be interrupted");
}

#[test]
fn a_backup_that_cannot_be_written_to_its_end_removes_what_it_has_made() {
    let place = with_large_file();
    let before = names(&place);
    let ended = place.run_with_small_files(10_000, &["backup", "--to", COPY]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(told(&ended).starts_with("hookbox: cannot write copy.db"), "{}", told(&ended));
    assert_eq!(names(&place), before);
}

#[tokio::test]
async fn a_terminal_shows_how_far_a_backup_is() {
    let place = with_large_file();
    let (mut process, terminal) = place.start_on_terminal(&["backup", "--to", COPY]);
    assert_eq!(process.ended().await.code(), Some(0), "{}", terminal.text());
    // On a fast disk, the copy is made before it is drawn.
    let shown = || async {
        let text = terminal.text();
        (text.contains(" MiB of 57") || text.contains("checking the copy")).then_some(())
    };
    eventually("a bar", shown).await;
}
