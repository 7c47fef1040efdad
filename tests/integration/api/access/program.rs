//! Tokens as the program has them: protected mode, `hookbox token`, and the commands that talk to a running hookbox.

use std::io::{Read as _, Write as _};

use hookbox::internals::access::Digest;
use nix::sys::signal::Signal;
use rstest::rstest;

use super::{EVERY_ROLE, secret, token};
use crate::api::harness::process::Place;
use crate::support::ports::listen_on;

const ADMIN: &str = "hbx_admin-token-of-the-test";

/// A place whose REST can be reached by other machines.
fn public(environment: &[(&str, &str)]) -> Place {
    let mut place = Place::new(environment);
    let address = format!("0.0.0.0:{}", place.http_port());
    place.set("HOOKBOX_HTTP_ADDR", &address);
    place
}

fn write(place: &Place, settings: &str) {
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
}

#[test]
fn without_a_token_only_loopback_is_listened_on() {
    let place = public(&[]);
    for command in [&["serve"][..], &["config", "check"]] {
        let ended = place.run(command);
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{told}");
        for text in
            ["http_addr = \"0.0.0.0:", "HOOKBOX_ADMIN_TOKEN", "hookbox token", "allow_anonymous = true"]
        {
            assert!(told.contains(text), "{text}: {told}");
        }
    }
    assert!(!place.path("hookbox.db").exists(), "nothing was begun");
    assert_eq!(place.run(&["migrate"]).status.code(), Some(0), "it does not listen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_or_for_everybody_other_addresses_are_listened_on() {
    let place = public(&[("HOOKBOX_ALLOW_ANONYMOUS", "true")]);
    let process = place.serve().await;
    assert_eq!(process.rest.get("/v1/stats").await.status, 200);
    drop(process);
    let place = public(&[("HOOKBOX_ADMIN_TOKEN", ADMIN)]);
    let process = place.serve().await;
    process.rest.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
    assert_eq!(process.rest.with_token(ADMIN).get("/v1/stats").await.status, 200);
}

#[test]
fn health_sends_no_token_because_it_does_not_check_the_server() {
    let mut place = Place::new(&[("HOOKBOX_ADMIN_TOKEN", ADMIN)]);
    place.set("HOOKBOX_TOKEN", ADMIN);
    let listener = listen_on(place.http_port());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 1024];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        String::from_utf8(head[..read].to_vec()).unwrap()
    });
    assert_eq!(place.run(&["health"]).status.code(), Some(0));
    let head = server.join().unwrap();
    assert!(head.starts_with("GET /") && !head.to_ascii_lowercase().contains("authorization"), "{head}");
}

#[test]
fn reload_sends_no_token_while_a_name_in_the_file_is_unknown() {
    let place = Place::new(&[("HOOKBOX_ADMIN_TOKEN", ADMIN)]);
    // Where REST would be with the defaults, or without TLS.
    let listener = listen_on(place.http_port());
    listener.set_nonblocking(true).unwrap();
    for (settings, mistake) in [
        ("htp_addr = \"127.0.0.1:1\"", "did you mean `http_addr`?"),
        ("[tsl]\ncert = \"server.pem\"\nkey = \"server.key\"", "the setting `tsl` is not known"),
    ] {
        write(&place, settings);
        let ended = place.run(&["reload"]);
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{told}");
        assert!(told.contains(mistake), "{told}");
        assert!(listener.accept().is_err(), "nothing is asked");
    }
}

#[rstest]
#[case::with_nothing_instead("")]
// It takes effect with a restart.
#[case::with_allow_anonymous_instead("allow_anonymous = true\n")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_cannot_leave_a_public_address_without_a_token(#[case] later: &str) {
    let place = public(&[]);
    write(&place, &token("one", EVERY_ROLE));
    let process = place.serve().await;
    write(&place, later);
    let one = process.rest.with_token(&secret("one"));
    one.post("/v1/settings/reload").await.problem(422, "SETTINGS_INVALID");
    assert_eq!(one.get("/v1/stats").await.status, 200);
    process.rest.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allow_anonymous_of_the_start_counts_until_a_restart() {
    let place = public(&[]);
    write(&place, "allow_anonymous = true\n");
    let process = place.serve().await;
    write(&place, "");
    let reloaded = process.rest.post("/v1/settings/reload").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text);
    assert_eq!(reloaded.json()["needs_restart"], serde_json::json!(["allow_anonymous"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hookbox_token_prints_a_token_and_its_settings() {
    let mut place = Place::new(&[]);
    let ended = place.run(&["token", "--name", "ci", "--roles", "submit,operate"]);
    assert_eq!(ended.status.code(), Some(0));
    let told = String::from_utf8(ended.stdout).unwrap();
    let (made, lines) = told.split_once('\n').unwrap();
    assert!(made.starts_with("hbx_") && made.len() == 4 + 43, "{made}");
    assert!(lines.contains(&Digest::of(made.as_bytes()).to_hex()) && !lines.contains(made), "{lines}");
    let other = place.run(&["token"]).stdout;
    assert!(!String::from_utf8(other).unwrap().contains(made), "each token is another one");

    write(&place, lines);
    let process = place.serve().await;
    assert_eq!(process.rest.with_token(made).get("/v1/stats").await.status, 200);
    let refused = place.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("needs a token"));
    place.set("HOOKBOX_TOKEN", made);
    let reloaded = place.run(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(0), "{}", String::from_utf8_lossy(&reloaded.stderr));
    let warned = String::from_utf8(place.run(&["config"]).stderr).unwrap();
    assert!(!warned.contains("HOOKBOX_TOKEN"), "{warned}");
    for wrong in [["token", "--roles", "admin"], ["token", "--name", "No Name"]] {
        assert_eq!(place.run(&wrong).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn hookbox_token_says_that_the_name_admin_is_taken_where_admin_token_is_set() {
    let place = Place::new(&[]);
    for (name, is_told) in [("admin", true), ("ci", false)] {
        let ended = place.run(&["token", "--name", name]);
        let told = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(told.contains("# Where admin_token is set"), is_told, "{told}");
        write(&place, told.split_once('\n').unwrap().1);
        assert_eq!(place.run(&["config", "check"]).status.code(), Some(0), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_shown_nowhere_and_the_log_names_the_actor() {
    let place = Place::new(&[
        ("HOOKBOX_ADMIN_TOKEN", ADMIN),
        ("HOOKBOX_LOG", "trace"),
        ("HOOKBOX_LOG_FORMAT", "json"),
    ]);
    write(&place, &token("ci", "roles = [\"operate\"]\nroutes = [\"default\"]"));
    let digests = [ADMIN.to_owned(), secret("ci")].map(|token| Digest::of(token.as_bytes()).to_hex());
    let process = place.serve().await;
    let (admin, ci) = (process.rest.with_token(ADMIN), process.rest.with_token(&secret("ci")));
    assert_eq!(ci.post("/v1/pause?route=default").await.status, 200);
    assert_eq!(admin.post("/v1/resume?route=default").await.status, 200);
    // The admin token is used where HOOKBOX_TOKEN is not set.
    assert_eq!(place.run(&["reload"]).status.code(), Some(0));
    process.signal(Signal::SIGHUP);
    process.wait_for_log("\"actor\":\"hookbox\"").await;
    let log = process.log();
    for actor in ["\"actor\":\"ci\"", "\"actor\":\"admin\""] {
        assert!(log.contains(actor), "{actor}");
    }
    let config = String::from_utf8(place.run(&["config"]).stdout).unwrap();
    for line in ["admin_token = \"***\"", "[tokens.ci]", "sha256 = \"***\"", "routes = [\"default\"]"] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let shown = [log, config, admin.get("/metrics").await.text].concat();
    for hidden in [ADMIN, &secret("ci"), &digests[0], &digests[1]] {
        assert!(!shown.contains(hidden), "{hidden} is shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_after_a_change_of_admin_token_says_which_token_it_needs() {
    let mut place = Place::new(&[("HOOKBOX_ADMIN_TOKEN", "file:token")]);
    std::fs::write(place.path("token"), ADMIN).unwrap();
    let process = place.serve().await;
    std::fs::write(place.path("token"), "hbx_another-token-of-the-test").unwrap();
    let refused = place.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    for text in ["if admin_token has changed", "HOOKBOX_TOKEN", "SIGHUP"] {
        assert!(told.contains(text), "{text}: {told}");
    }
    place.set("HOOKBOX_TOKEN", ADMIN);
    assert_eq!(place.run(&["reload"]).status.code(), Some(0));
    process.rest.with_token(ADMIN).get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
}

#[test]
fn no_token_has_the_name_of_an_actor_without_a_token() {
    let place = Place::new(&[]);
    for name in ["anonymous", "hookbox"] {
        let digest = Digest::of(name.as_bytes()).to_hex();
        write(&place, &format!("[tokens.{name}]\nsha256 = \"{digest}\"\nroles = [\"read\"]\n"));
        for command in [&["config", "check"][..], &["token", "--name", name]] {
            let ended = place.run(command);
            let told = String::from_utf8(ended.stderr).unwrap();
            assert_eq!(ended.status.code(), Some(64), "{command:?}: {told}");
            assert!(told.contains(name) && told.contains("logs and actions use this name for"), "{told}");
        }
    }
}

#[test]
fn config_check_finds_every_mistake_in_tokens() {
    let place = Place::new(&[("HOOKBOX_ADMIN_TOKEN", "short")]);
    let [hash, other] = ["a", "b"].map(|token| Digest::of(token.as_bytes()).to_hex());
    let settings = format!(
        "[tokens.none]\n[tokens.No]\nsha256 = \"{hash}\"\nroles = \"submit\"\n\
         [tokens.wrong]\nsha256 = \"hbx_a-token-itself\"\nroles = [\"sumbit\", \"read\"]\n\
         [tokens.same]\nsha256 = \"{hash}\"\nroles = []\nrole = \"read\"\n\
         [tokens.worker]\nsha256 = \"{other}\"\nroles = [\"work\"]\nsources = [\"shop\"]\nroutes = [\"No\", 1]\n"
    );
    write(&place, &settings);
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    for text in [
        "admin_token = \"***\" (from the environment, HOOKBOX_ADMIN_TOKEN)",
        "tokens.none has no `sha256`",
        "tokens.none has no `roles`",
        "a token cannot have the name \"No\"",
        "hookbox.toml:6:10: tokens.wrong.sha256 = \"***\"",
        "it must be submit, read, work or operate; did you mean `submit`?",
        "tokens.same is the same token as tokens.No",
        "tokens.same.roles = []",
        "tokens.same.role is not known; did you mean `roles`?",
        "tokens.worker.sources = [\"shop\"]",
        "tokens.worker.routes[0] = \"No\"",
        "tokens.worker.routes[1] = 1",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    assert!(!told.contains("hbx_a-token-itself") && !told.contains("short"), "{told}");
}
