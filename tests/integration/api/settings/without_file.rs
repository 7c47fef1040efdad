//! A settings file that is gone, or that is a link to nowhere.

use std::os::unix::fs::symlink;

use rstest::rstest;

use super::{ONE, TWO, routes, write};
use crate::api::harness::process::Place;

#[rstest]
#[case::read_at_the_start(true)]
#[case::read_by_a_reload(false)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_without_the_settings_file_that_was_read_is_refused(#[case] is_there_at_start: bool) {
    let place = Place::new(&[]);
    if is_there_at_start {
        write(&place, ONE);
    }
    let process = place.serve().await;
    let reload = || {
        let ended = place.run(&["reload"]);
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    assert_eq!(reload().0, Some(0), "without a file, none has been read before");
    write(&place, ONE);
    assert_eq!(reload().0, Some(0));

    std::fs::remove_file(place.path("hookbox.toml")).unwrap();
    let (code, told) = reload();
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("the settings file hookbox.toml is not there any more"), "{told}");
    assert_eq!(routes(&process).await, ["orders"], "the routes in force stay");

    write(&place, TWO);
    assert_eq!(reload().0, Some(0));
    assert_eq!(routes(&process).await, ["orders", "invoices"]);
}

#[test]
fn a_settings_file_that_is_a_link_to_nowhere_is_a_mistake() {
    let place = Place::new(&[]);
    symlink("/no/such/file.toml", place.path("hookbox.toml")).unwrap();
    for command in [&["config", "check"][..], &["serve"]] {
        let ended = place.run(command);
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{command:?}: {told}");
        let expected = "cannot read the settings in hookbox.toml: it is a link to /no/such/file.toml, which does not exist";
        assert!(told.contains(expected), "{command:?}: {told}");
    }
}
