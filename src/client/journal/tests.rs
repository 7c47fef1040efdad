use super::*;

fn id(number: u32) -> String {
    format!("0193811c-2b7b-7000-8000-{number:012}")
}

fn handled(journal: &Journal) -> Vec<String> {
    journal.place().handled().map(str::to_owned).collect()
}

/// The position at which the last journal has ended.
fn last(journal: &Journal) -> String {
    let place = journal.last().expect("is whole").expect("has a position");
    place.resume_after().to_owned()
}

#[test]
fn the_next_journal_goes_on_where_the_last_one_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("state/listen");
    let open = || Journal::open(&folder, "what").expect("opens");
    let mut journal = open();
    assert_eq!(journal.last().expect("is whole"), None);
    drop(journal);
    journal = open();
    assert_eq!(journal.last().expect("is whole"), None, "no position has come");
    journal.advance(&id(1)).expect("writes");
    journal.handle(&id(3), &id(1)).expect("writes");
    journal.handle(&id(2), &id(1)).expect("writes");
    assert!(matches!(Journal::open(&folder, "what"), Err(JournalError::InUse)));
    assert_eq!(Journal::open(&folder, "other").expect("opens").last().expect("is whole"), None);
    drop(journal);

    let mut journal = open();
    assert_eq!(last(&journal), id(1));
    assert_eq!(handled(&journal), [id(2), id(3)]);
    journal.begin(Place::after(&id(7)).expect("an id")).expect("writes");
    drop(journal);
    let journal = open();
    assert_eq!((journal.place().resume_after(), handled(&journal).len()), (id(7).as_str(), 0));
}

#[test]
fn a_line_that_was_cut_is_ignored() {
    let text = format!("{}\n{} {}\n{} {}", id(1), id(1), id(2), id(1), id(3));
    let (place, found) = read(text.as_bytes());
    assert_eq!((place.handled().collect::<Vec<_>>(), found), (vec![id(2).as_str()], Found::Place));
    let cut = text.get(..text.len() - 40).expect("is longer");
    assert_eq!(read(cut.as_bytes()).0.resume_after(), id(1));
    let with_damage = [text.as_bytes(), b"\n\0\0\xff\n"].concat();
    assert_eq!(read(&with_damage).0.resume_after(), id(1));
}

#[test]
fn a_damaged_file_is_kept_until_another_place_is_chosen() {
    for damage in [&b""[..], b"\0\0\0\0", b"\xff\n", b"nonsense\n\n a\n", id(1).as_bytes()] {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Journal::open(folder.path(), "what").expect("opens");
        let path = open().path.clone();
        fs::write(&path, damage).expect("writes");
        for _ in 0..2 {
            let refused = open().last().map(|_| ()).expect_err("is damaged").to_string();
            assert!(refused.contains("--from") && refused.contains(&path.display().to_string()), "{refused}");
        }
        let mut journal = open();
        journal.begin(Place::after(&id(7)).expect("an id")).expect("writes");
        drop(journal);
        assert_eq!(last(&open()), id(7));
    }
}

#[test]
fn the_first_position_replaces_the_file_that_had_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "what").expect("opens");
    assert_eq!(fs::read_to_string(&journal.path).expect("reads"), "now\n");
    journal.handle(&id(2), &id(1)).expect("writes");
    let lines = format!("{}\n{} {}\n", id(1), id(1), id(2));
    assert_eq!(fs::read_to_string(&journal.path).expect("reads"), lines);
}

#[test]
fn the_file_does_not_grow_without_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "what").expect("opens");
    for number in 0..20_000 {
        journal.handle(&id(number), &id(number)).expect("writes");
    }
    let size = fs::metadata(&journal.path).expect("is there").len();
    assert!(size <= MAX_BYTES + 100, "{size}");
    assert_eq!(read(&fs::read(&journal.path).expect("reads")).0.resume_after(), id(19_999));
}

#[test]
fn a_large_file_is_rewritten_only_after_it_has_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut journal = Journal::open(folder.path(), "what").expect("opens");
    journal.advance(&id(0)).expect("writes");
    let mut times = 0;
    for number in 1..=20_000 {
        let before = journal.needed_bytes;
        journal.handle(&id(number), &id(0)).expect("writes");
        times += usize::from(journal.needed_bytes != before);
    }
    assert!(journal.needed_bytes > MAX_BYTES, "every webhook is needed");
    assert_eq!((times, handled(&journal).len()), (1, 20_000));
}
