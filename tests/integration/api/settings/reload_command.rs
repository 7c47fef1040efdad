//! The commands that ask a running hookbox about its settings: `reload` and `health`.

use nix::sys::signal::Signal;
use rstest::rstest;

use super::{MISTAKES, ONE, TWO, WRONG, routes, write};
use crate::api::harness::eventually;
use crate::api::harness::process::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reload_command_and_sighup_apply_the_routes_in_the_file() {
    let place = Place::new(&[]);
    write(&place, ONE);
    let process = place.serve().await;
    assert_eq!(routes(&process).await, ["orders"]);

    write(&place, TWO);
    let ended = place.run(&["reload"]);
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(routes(&process).await, ["orders", "invoices"]);

    write(&place, WRONG);
    let ended = place.run(&["reload"]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    assert!(MISTAKES.iter().all(|mistake| told.contains(mistake)), "{told}");
    assert_eq!(routes(&process).await, ["orders", "invoices"], "nothing has changed");

    write(&place, ONE);
    process.signal(Signal::SIGHUP);
    eventually("one route", || async { (routes(&process).await == ["orders"]).then_some(()) }).await;
}

#[rstest]
#[case::no_toml(b"nonsense")]
#[case::a_wrong_value_and_an_unknown_name(b"lease = \"soon\"\nlaese = 1\n")]
#[case::no_text(b"\xff")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_does_not_depend_on_mistakes_in_the_file(#[case] written: &[u8]) {
    let place = Place::new(&[]);
    let process = place.serve().await;
    std::fs::write(place.path("hookbox.toml"), written).unwrap();
    for command in [&["health"][..], &["health", "--live"]] {
        let ended = place.run(command);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{command:?}: {told}");
    }
    assert_eq!(place.run(&["reload"]).status.code(), Some(64));
    drop(process);
    assert_eq!(place.run(&["health", "--live"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reload_command_needs_no_secret_of_the_server() {
    let mut place = Place::new(&[("SHOP_SECRET", "s3cret")]);
    write(&place, "[sources.shop]\npreset = \"shopify\"\nsecrets = [\"env:SHOP_SECRET\"]\n");
    let _process = place.serve().await;
    // As if it were not set.
    place.set("SHOP_SECRET", "");
    assert_eq!(place.run(&["config", "check"]).status.code(), Some(64));
    let ended = place.run(&["reload"]);
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_names_the_changed_settings_that_need_a_restart() {
    let place = Place::new(&[]);
    write(&place, ONE);
    let process = place.serve().await;
    write(&place, &format!("lease = \"40s\"\nmax_attempts = 3\n{ONE}"));
    let ended = place.run(&["reload"]);
    let told = String::from_utf8(ended.stdout).unwrap();
    let changed = told.lines().skip(1).collect::<Vec<_>>();
    assert_eq!(changed, ["lease has changed too; the change takes effect at the next start"], "{told}");
    let note = "# Not in force before a restart: lease";
    let shown = process.rest.get("/settings").await.text;
    assert!(shown.contains(note) && shown.contains("40s"), "{shown}");

    write(&place, WRONG);
    assert_eq!(place.run(&["reload"]).status.code(), Some(64));
    assert!(process.rest.get("/settings").await.text.contains(note), "the settings in force are shown");
}
