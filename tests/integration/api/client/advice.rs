//! What commands say if something is wrong: in the words of the command line, and with what to do next.

use super::{failed, lines, place, printed};
use crate::api::access::{EVERY_ROLE, secret, token};

#[tokio::test]
async fn refusals_name_commands_and_flags_instead_of_calls_of_rest() {
    let place = place(&[]);
    let _process = place.serve().await;
    let behind_another_path = format!("http://127.0.0.1:{}/hooks", place.http_port());
    for (arguments, advice) in [
        (&["pause", "--route", "none"][..], "; `hookbox routes` lists them"),
        (&["sources", "rejections", "none"], "; `hookbox sources` lists them"),
        (&["replays", "show", "7"], "; `hookbox replays` lists them"),
        (&["list", "--page-token", "x"], "--page-token must be the token that the list has named"),
        (&["actions", "--page-token", "x"], "--page-token must be the token that the list has named"),
        (&["actions", "--webhook", "7"], "--webhook must be the id of a webhook"),
        (&["routes", "--url", &behind_another_path], "check the path of the URL in --url or HOOKBOX_URL"),
    ] {
        let (_, told) = failed(&place, arguments);
        assert!(told.contains(advice) && !told.contains("GET /"), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn refusals_because_of_a_token_name_variables_and_flags() {
    let mut place = place(&[]);
    let routes = ["a", "b", "c"].map(|name| format!("[[routes]]\nname = \"{name}\"\nhandler = \"pull\"\n"));
    let limited = token("limited", "roles = [\"operate\"]\nroutes = [\"a\", \"b\"]");
    let settings = [routes.concat(), token("every", EVERY_ROLE), limited].concat();
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
    let process = place.serve().await;
    let (_, told) = failed(&place, &["list"]);
    assert!(told.contains("needs a token") && told.contains("HOOKBOX_TOKEN"), "{told}");
    assert!(!told.contains("Authorization"), "{told}");

    let id = process.rest.with_token(&secret("every")).accept("evt-001").await;
    place.set("HOOKBOX_TOKEN", &secret("limited"));
    for (arguments, advice) in [
        (&["cancel", &id][..], "name one that it sees with --route"),
        (&["replay", "--since", "1h", "--yes"], "without --route, all of them are meant"),
    ] {
        let (code, told) = failed(&place, arguments);
        assert_eq!(code, Some(77), "{arguments:?}: {told}");
        assert!(told.contains(advice), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn a_command_that_asks_the_wrong_port_says_which_one_to_ask() {
    let place = place(&[]);
    for command in ["health", "reload"] {
        let (code, told) = failed(&place, &[command]);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("is hookbox running there") && told.contains("--config"), "{told}");
    }
    let _process = place.serve().await;
    let grpc = format!("http://127.0.0.1:{}", place.grpc_port());
    let (code, told) = failed(&place, &["list", "--url", &grpc]);
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("its port for gRPC (grpc_addr)"), "{told}");
}

#[tokio::test]
async fn a_request_with_too_many_headers_says_how_many_there_can_be() {
    let place = place(&[]);
    let _process = place.serve().await;
    let headers = ["--header", "X-Erp-Id: 7"].repeat(101);
    let (code, told) = failed(&place, &[&["send"][..], &headers].concat());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("431") && told.contains("too many headers"), "{told}");
    assert!(told.contains("at most 100"), "{told}");
}

#[tokio::test]
async fn the_key_of_a_list_has_the_flag_of_all_commands() {
    let place = place(&[]);
    let process = place.serve().await;
    for key in ["evt-001", "evt-002"] {
        process.rest.accept(key).await;
    }
    for flag in ["--key", "--idempotency-key"] {
        let listed = lines(&place, &["list", flag, "evt-001", "--json"]);
        assert_eq!(listed.len(), 1, "{flag}");
        assert_eq!(listed[0]["idempotency_key"], "evt-001", "{flag}");
    }
    assert!(printed(&place, &["list", "--help"]).contains("--key <KEY>"));
}

#[test]
fn values_that_mean_something_else_than_they_seem_to_are_refused() {
    let place = place(&[]);
    for (arguments, told) in [
        (&["list", "--page-token", ""][..], "--page-token"),
        (&["backup", "--to", "-"], "neither standard input nor standard output"),
        (&["restore", "--from", "-"], "neither standard input nor standard output"),
        (&["restore", "--from", "copy.db", "--to", "-"], "neither standard input nor standard output"),
        (&["token", "--roles", "submit read"], "several are separated by commas"),
        (&["presets", "show", "nope"], "`hookbox presets` lists all of them"),
    ] {
        let (code, said) = failed(&place, arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    assert!(!place.path("-").exists());
    let help = printed(&place, &["token", "--help"]);
    assert!(help.contains("[default: submit,read,work,operate]"), "{help}");
}

#[test]
fn a_variable_is_similar_to_no_setting_because_of_its_prefix() {
    let place = place(&[("HOOKBOX_CONFIG", "other.toml"), ("HOOKBOX_FOLDER", "/data")]);
    let (code, told) = failed(&place, &["config"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("HOOKBOX_CONFIG is set") && told.contains("; name the settings file with --config")
    );
    assert!(told.contains("HOOKBOX_FOLDER is set") && !told.contains("did you mean"), "{told}");
}
