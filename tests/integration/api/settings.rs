//! The file of settings, as the program checks it and reads it again.

use std::sync::Arc;
use std::time::Duration;

use hookbox::domain::clock::ManualClock;
use hookbox::domain::retry::RetryPolicy;
use hookbox::domain::route::RouteName;
use hookbox::routes::{RouteSettings, Routes};
use hookbox::service::reload::{Reloaded, RoutesInForce};
use hookbox::store::Store as _;
use hookbox::store::sqlite::{Options, SqliteStore};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::api::harness::eventually;
use crate::api::harness::process::{Place, Process};

const ONE: &str = "[[routes]]\nname = \"orders\"\n";
const TWO: &str = "[[routes]]\nname = \"orders\"\n[[routes]]\nname = \"invoices\"\n";
const WRONG: &str =
    "lease = \"soon\"\n[[routes]]\nname = \"orders\"\nconcurrency = 0\n[[routes]]\nnam = \"x\"\n";

/// Where the mistakes of `WRONG` are.
const MISTAKES: [&str; 3] = ["hookbox.toml:1:9", "hookbox.toml:4:15", "hookbox.toml:6:1"];

fn write(place: &Place, settings: &str) {
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
}

/// The names of the routes in force, in order.
async fn routes(process: &Process) -> Vec<String> {
    let answer = process.rest.get("/v1/routes").await.json();
    let routes = answer["routes"].as_array().unwrap().iter();
    routes
        .filter(|route| route["in_settings"] == Value::Bool(true))
        .map(|route| route["route"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn config_check_finds_every_mistake_and_its_place() {
    let place = Place::new(&[]);
    write(&place, WRONG);
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    for mistake in MISTAKES {
        assert!(told.contains(mistake), "{mistake}: {told}");
    }
    write(&place, TWO);
    let ended = place.run(&["config", "check"]);
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn numbers_may_be_written_in_every_way_of_toml() {
    let place = Place::new(&[]);
    write(&place, "max_backlog = 1_000\nmax_attempts = 0x10\n[[routes]]\nname = \"a\"\nconcurrency = 1_6\n");
    let ended = place.run(&["config"]);
    let settings = String::from_utf8(ended.stdout).unwrap();
    for line in ["max_backlog = \"1000\"", "max_attempts = \"16\"", "concurrency = 16"] {
        assert!(settings.contains(line), "{line} in {settings}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reload_command_and_sighup_both_apply_the_routes_of_the_file() {
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

fn compiled(name: &str) -> Arc<Routes> {
    let retry = RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1);
    let mut settings = RouteSettings::everything("simulate", retry);
    settings.policy.route = RouteName::new(name).unwrap();
    Arc::new(Routes::new(vec![settings]).unwrap())
}

#[tokio::test]
async fn a_reload_that_the_store_refuses_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = compiled("before");
    let path = folder.path().join("inbox.db");
    let options = Options { path, max_backlog: 1, policies: before.policies(), seed: 1 };
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let store = SqliteStore::open(options, clock, Arc::default()).await.unwrap();
    store.close().await;
    let read = || Ok(Reloaded { routes: compiled("after"), needs_restart: Vec::new() });
    let in_force = RoutesInForce::new(before, Arc::new(read));
    in_force.reload(&store).await.expect_err("the store is closed");
    for policies in [in_force.policies().get(), in_force.get().policies()] {
        let names = policies.iter().map(|policy| policy.route.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names, ["before"]);
    }
}
