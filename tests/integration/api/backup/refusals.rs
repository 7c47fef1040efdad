//! What is not copied, and what is not overwritten. Afterwards every file is as it was.

use std::path::Path;

use super::{COPY, names, said, told};
use crate::api::harness::process::Place;

const FROM: &str = "sqlite://hookbox.db";

/// A place with a file that no process serves, and a backup of it.
fn with_backup() -> Place {
    let place = Place::new(&[]);
    assert_eq!(place.run(&["migrate"]).status.code(), Some(0));
    let ended = place.run(&["backup", "--to", COPY]);
    assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));
    place
}

/// Runs SQL in a file.
fn execute(file: &Path, sql: &str) {
    use diesel::Connection as _;
    use diesel::connection::SimpleConnection as _;
    let mut shell = diesel::SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    shell.batch_execute(sql).unwrap();
}

/// The command fails with this, and changes no file.
fn is_refused(place: &Place, arguments: &[&str], expected: &str) {
    let before = contents(place);
    let ended = place.run(arguments);
    assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {} {}", said(&ended), told(&ended));
    assert!(told(&ended).contains(expected), "{arguments:?}: {}", told(&ended));
    assert!(contents(place) == before, "{arguments:?}: {:?}", names(place));
}

/// The name of each file, and what it has.
fn contents(place: &Place) -> Vec<(String, Vec<u8>)> {
    let contents = names(place).into_iter().map(|name| {
        let content = std::fs::read(place.path(&name)).unwrap();
        (name, content)
    });
    contents.collect()
}

#[test]
fn no_file_is_overwritten_and_no_log_is_taken_as_a_part_of_a_new_file() {
    for suffix in ["", "-wal", "-journal"] {
        let place = with_backup();
        let there = format!("new.db{suffix}");
        std::fs::write(place.path(&there), "mine").unwrap();
        let expected = format!("{there} is there already; nothing was changed");
        is_refused(&place, &["backup", "--to", "new.db"], &expected);
        is_refused(&place, &["restore", "--from", COPY, "--to", "new.db"], &expected);
    }
    let place = with_backup();
    is_refused(&place, &["restore", "--from", COPY], "hookbox.db is there already");
    std::os::unix::fs::symlink("nothing", place.path("link.db")).unwrap();
    let ended = place.run(&["backup", "--to", "link.db"]);
    assert!(told(&ended).contains("link.db is there already"), "{}", told(&ended));
    std::fs::remove_file(place.path("link.db")).unwrap();
    std::fs::write(place.path("new.db.partial"), "of another").unwrap();
    let expected = "another backup or restore writes it, or one was killed";
    is_refused(&place, &["backup", "--to", "new.db"], expected);
}

#[test]
fn a_folder_is_told_apart_from_a_file_that_may_be_removed() {
    let place = with_backup();
    let folder = tempfile::tempdir().unwrap();
    let slash = format!("{}/", folder.path().display());
    for to in [slash.as_str(), "."] {
        let expected = format!("{to} is a folder; nothing was changed: name a new file in it");
        is_refused(&place, &["backup", "--to", to], &expected);
        is_refused(&place, &["restore", "--from", COPY, "--to", to], &expected);
    }
}

#[test]
fn a_file_that_is_missing_or_of_another_program_is_refused() {
    let place = with_backup();
    std::fs::write(place.path("notes.txt"), "not a database ".repeat(1_000)).unwrap();
    std::fs::write(place.path("empty.db"), "").unwrap();
    execute(&place.path("other.db"), "CREATE TABLE notes (text TEXT)");
    let restore = |from: &'static str| ["restore", "--from", from, "--to", "new.db"];
    is_refused(&place, &restore("missing.db"), "there is no file missing.db");
    for other in ["notes.txt", "empty.db", "other.db"] {
        is_refused(&place, &restore(other), &format!("{other} is not a database of hookbox"));
        let url = format!("sqlite://{other}");
        let backup = ["backup", "--database-url", &url, "--to", "new.db"];
        is_refused(&place, &backup, &format!("{other} is not a database of hookbox"));
    }
    let missing = ["backup", "--database-url", "sqlite://missing.db", "--to", "new.db"];
    is_refused(&place, &missing, "there is no file missing.db");
    let expected = "cannot write missing/new.db; check that its folder exists";
    is_refused(&place, &["backup", "--to", "missing/new.db"], expected);
}

#[test]
fn a_file_that_is_damaged_is_refused() {
    let restore = ["restore", "--from", COPY, "--to", "new.db"];
    let place = with_backup();
    let whole = std::fs::read(place.path(COPY)).unwrap();
    assert!(whole.len() > 20 * 4096, "{} bytes", whole.len());
    for length in [whole.len() / 2, whole.len() - 4096, whole.len() - 1, 5000] {
        std::fs::write(place.path(COPY), &whole[..length]).unwrap();
        is_refused(&place, &restore, "copy.db is damaged, and was not copied");
    }
    let mut overwritten = whole.clone();
    overwritten[10 * 4096..12 * 4096].fill(0xff);
    std::fs::write(place.path(COPY), &overwritten).unwrap();
    is_refused(&place, &restore, "copy.db is damaged, and was not copied");

    std::fs::write(place.path(COPY), &whole).unwrap();
    execute(&place.path(COPY), "INSERT INTO status_counts VALUES (7, 3, 5)");
    is_refused(&place, &restore, "it has 0 jobs of queue 7 with status 3, and its status_counts say 5");

    // The same for a file that is backed up.
    let url = format!("sqlite://{COPY}");
    let backup = ["backup", "--database-url", &url, "--to", "new.db"];
    is_refused(&place, &backup, "copy.db is damaged, and was not copied: it has 0 jobs of queue 7");
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let place = with_backup();
    let later = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231235959')";
    execute(&place.path(COPY), later);
    let expected = "was written by a later hookbox (migration 20991231235959 is unknown here); use that";
    is_refused(&place, &["restore", "--from", COPY, "--to", "new.db"], expected);
    let url = format!("sqlite://{COPY}");
    is_refused(&place, &["backup", "--database-url", &url, "--to", "new.db"], expected);
}

#[tokio::test]
async fn a_file_that_is_served_is_not_restored_from() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    let ended = place.run(&["restore", "--from", "hookbox.db", "--to", "new.db"]);
    assert_eq!(ended.status.code(), Some(1));
    let expected = "hookbox.db; make a backup of it with `hookbox backup`";
    assert!(told(&ended).contains(expected), "{}", told(&ended));
    assert!(!names(&place).iter().any(|name| name.starts_with("new.db")), "{:?}", names(&place));
    assert_eq!(process.terminate().await, Some(0));
}

#[test]
fn a_file_whose_webhooks_were_moved_is_backed_up_with_its_mark() {
    let place = with_backup();
    let mark = "INSERT INTO transfer VALUES (1, zeroblob(16), 'postgres://db.example/box', 0, 0)";
    execute(&place.path("hookbox.db"), mark);
    assert_eq!(place.run(&["backup", "--to", "marked.db"]).status.code(), Some(0));
    let ended = place.run(&["serve", "--database-url", "sqlite://marked.db"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(told(&ended).contains("were moved to postgres://db.example/box"), "{}", told(&ended));
}

#[test]
fn with_postgresql_its_own_tools_are_named() {
    let place = Place::new(&[("HOOKBOX_DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/box")]);
    for command in [&["backup", "--to", COPY][..], &["restore", "--from", COPY]] {
        let ended = place.run(command);
        assert_eq!(ended.status.code(), Some(64), "{command:?}");
        let told = told(&ended);
        assert!(told.contains("pg_dump and pg_restore, or pg_basebackup"), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    // A file to write needs no setting.
    let ended = place.run(&["restore", "--from", COPY, "--to", "new.db"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(told(&ended).contains("there is no file copy.db"), "{}", told(&ended));
}

#[test]
fn options_that_are_missing_are_64() {
    let place = Place::new(&[]);
    for command in [&["backup"][..], &["restore"], &["restore", "--to", COPY], &["backup", FROM]] {
        assert_eq!(place.run(command).status.code(), Some(64), "{command:?}");
    }
    assert_eq!(names(&place), Vec::<String>::new());
}
