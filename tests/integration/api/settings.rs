//! The file of settings, as the program checks it and reads it again.

mod in_force;
mod reload_command;
mod without_file;

use std::time::Duration;

use hookbox::internals::config::{Config, HANDLERS, Layers, SETTINGS};
use serde_json::Value;

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
fn config_check_tells_with_all_other_mistakes_that_others_could_use_hookbox() {
    let place = Place::new(&[]);
    write(&place, WRONG);
    let check = |flags: &[&str]| {
        let ended = place.run(&[&["config", "check"][..], flags].concat());
        assert_eq!(ended.status.code(), Some(64));
        String::from_utf8(ended.stderr).unwrap()
    };
    let open = "grpc_addr = \"0.0.0.0:50051\" (from the flag --grpc-addr) is not allowed: it must be a loopback address";
    let told = check(&["--grpc-addr", "0.0.0.0:50051"]);
    for mistake in MISTAKES.iter().chain([&open]) {
        assert!(told.contains(mistake), "{mistake}: {told}");
    }
    // What is meant to close it is told by its own mistake alone.
    let told = check(&["--grpc-addr", "0.0.0.0:50051", "--admin-token", "env:NO_SUCH_VARIABLE"]);
    assert!(told.contains("NO_SUCH_VARIABLE is not set") && !told.contains("loopback"), "{told}");
}

#[test]
fn both_apis_at_one_port_are_a_mistake_in_the_settings() {
    let place = Place::new(&[]);
    let address = format!("127.0.0.1:{}", place.http_port());
    let told_by = format!(
        "grpc_addr = \"{address}\" (from the flag --grpc-addr) is not allowed: it must be an address"
    );
    for command in [&["config", "check"][..], &["serve"]] {
        let ended = place.run(&[command, &["--grpc-addr", &address]].concat());
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{command:?}: {told}");
        assert!(told.contains(&told_by), "{command:?}: {told}");
    }
}

#[test]
fn config_check_reports_wrong_values_in_the_file_even_if_they_are_overridden() {
    // The environment of a place sets `workers` and `http_addr`.
    let place = Place::new(&[]);
    let database = "database_url = \"postgres://me:s3cret@db/box?sslmode=allow\"";
    write(&place, &format!("workers = -1\nhttp_addr = \"x\"\nlease = \"soon\"\n{database}\n"));
    let ended = place.run(&["config", "check", "--lease", "30s", "--database-url", "sqlite://hookbox.db"]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    for mistake in [
        "hookbox.toml:1:11: workers = \"-1\" is not allowed: it must be a number from 1 to 4096\n",
        "hookbox.toml:2:13: http_addr = \"x\" is not allowed: it must be <IP address>:<port>\n",
        "hookbox.toml:3:9: lease = \"soon\" is not allowed: it must be a duration from 1s to 24h, such as 30s\n",
        "hookbox.toml:4:16: database_url = \"postgres://me:***@db/box?sslmode=allow\" is not allowed: it must be ",
    ] {
        assert!(told.contains(mistake), "{mistake}: {told}");
    }
    assert_eq!(told.lines().count(), 4, "{told}");
}

#[test]
fn an_unknown_variable_is_warned_about_with_the_nearest_name() {
    let place = Place::new(&[("HOOKBOX_WORKRS", "3")]);
    for command in [&["config"][..], &["config", "check"]] {
        let ended = place.run(command);
        assert_eq!(ended.status.code(), Some(0), "{command:?}");
        assert_eq!(
            String::from_utf8(ended.stderr).unwrap(),
            "warning: HOOKBOX_WORKRS is set in the environment, but is not a setting of hookbox; \
             did you mean `HOOKBOX_WORKERS`?\n",
            "{command:?}"
        );
    }
}

#[test]
fn a_shortest_run_above_the_longest_names_both_settings_with_their_origins() {
    let place = Place::new(&[]);
    let ended = place.run(&["serve", "--simulate-min", "10s"]);
    assert_eq!(ended.status.code(), Some(64));
    assert_eq!(
        String::from_utf8(ended.stderr).unwrap(),
        "hookbox: simulate_max = \"0s\" (from the environment, HOOKBOX_SIMULATE_MAX) is not allowed: it must be at \
         least simulate_min, which is \"10s\" (from the flag --simulate-min); change one of the two\n"
    );
}

#[test]
fn the_help_says_what_happens_without_each_setting() {
    let ended = Place::new(&[]).run(&["serve", "--help"]);
    let help = String::from_utf8(ended.stdout).unwrap();
    for setting in SETTINGS {
        let variable = format!("[env: {}]", setting.environment_name());
        let line = help.lines().find(|line| line.contains(&variable)).unwrap_or_default();
        let default = line.split_once("[default: ").and_then(|(_, rest)| rest.split(']').next());
        let default = default.unwrap_or_default();
        assert!(!["", "none"].contains(&default), "{}: {line}", setting.name);
        assert_eq!(line.matches("[default: ").count(), 1, "{}: {line}", setting.name);
    }
}

#[test]
fn a_missing_secret_is_reported_unless_its_setting_is_overridden() {
    let place = Place::new(&[]);
    for missing in ["env:NO_SUCH_VARIABLE", "file:/no/such/file"] {
        write(&place, &format!("database_url = \"{missing}\"\n"));
        let overridden = place.run(&["config", "check", "--database-url", "sqlite://hookbox.db"]);
        assert_eq!(overridden.status.code(), Some(0), "{}", String::from_utf8_lossy(&overridden.stderr));
        let in_force = place.run(&["config", "check"]);
        assert_eq!(in_force.status.code(), Some(64), "{missing}");
    }
}

#[test]
fn config_prints_the_origin_of_each_member_of_an_inner_table() {
    // The environment of a place sets `simulate_max` to 0s.
    let place = Place::new(&[]);
    let route = [
        "[[routes]]",
        "name = \"orders\"",
        "match = { source = \"shop\" }",
        "retry = { attempts = 12 }",
        "simulate = { min = \"9s\" }",
    ];
    write(&place, &format!("retry_base = \"3s\"\n{}\n", route.join("\n")));
    let ended = place.run(&["config", "--retry-cap", "2h"]);
    let printed = String::from_utf8(ended.stdout).unwrap();
    for (member, origin) in [
        ("match.source = [\"shop\"]", "hookbox.toml:4:20"),
        ("retry.attempts = 12", "hookbox.toml:5:22"),
        ("retry.base = \"3s\"", "hookbox.toml:1:14"),
        ("retry.cap = \"2h\"", "the flag --retry-cap"),
        ("simulate.min = \"9s\"", "hookbox.toml:6:20"),
        // At least `min`, which is longer than the setting `simulate_max`.
        ("simulate.max = \"9s\"", "hookbox.toml:6:20"),
        ("simulate.failure_rate = 0", "the default"),
    ] {
        let line = format!("\n{member:<44} # {origin}\n");
        assert!(printed.contains(&line), "{line} in {printed}");
    }

    write(&place, &printed);
    let ended = place.run(&["config", "check"]);
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn settings_formatted_with_debug_show_no_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hookbox.toml");
    let url = "postgres://me:s3cret@db/box".to_owned();
    std::fs::write(&file, format!("database_url = \"{url}\"\n")).unwrap();
    let environment = [("HOOKBOX_DATABASE_URL".to_owned(), url.clone())];
    let layers = Layers::read(Some(&file), environment, [("database_url", url)]).unwrap();
    let config = Config::new(&layers, HANDLERS).unwrap();
    let shown = format!("{layers:?} {config:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn shutdown_waits_only_where_other_machines_can_send_requests() {
    for (address, delay) in [
        ("127.0.0.1:8080", Duration::ZERO),
        ("[::1]:8080", Duration::ZERO),
        ("[::ffff:127.0.0.1]:8080", Duration::ZERO),
        ("0.0.0.0:8080", Duration::from_secs(5)),
        ("[::ffff:10.0.0.7]:8080", Duration::from_secs(5)),
    ] {
        let layers = Layers::read(None, [], [("http_addr", address.to_owned())]).unwrap();
        assert_eq!(Config::new(&layers, HANDLERS).unwrap().shutdown_delay, delay, "{address}");
    }
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

#[test]
fn hosts_may_be_written_as_a_list_or_as_one_string() {
    let place = Place::new(&[]);
    for hosts in [r#"["hookbox", "10.0.0.7"]"#, r#""hookbox,10.0.0.7""#, r#"["hookbox,10.0.0.7"]"#] {
        write(&place, &format!("hosts = {hosts}\nallow_anonymous = true\n"));
        let ended = place.run(&["config"]);
        let settings = String::from_utf8(ended.stdout).unwrap();
        for line in ["hosts = \"hookbox,10.0.0.7\"", "allow_anonymous = \"true\""] {
            assert!(settings.contains(line), "{line} in {settings}");
        }
    }
}
