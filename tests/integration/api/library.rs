//! hookbox as a library: the handlers that a program adds, and the errors that it gets.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use hookbox::{Attempt, BuildError, Failure, Hookbox, ServeError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::harness::process::Place;

/// How long a start that fails may take.
const DEADLINE: Duration = Duration::from_secs(30);

const ROUTE: &str = "[[routes]]\nname = \"images\"\nhandler = \"resize\"\n";

fn resize(attempt: &Attempt<'_>) -> Result<Value, Failure> {
    Ok(json!({ "attempt": attempt.number() }))
}

/// Serves by a settings file, which must not work.
async fn refused(settings: &str) -> ServeError {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hookbox.toml");
    let mut text = String::new();
    if !settings.contains("database_url") {
        writeln!(text, "database_url = \"sqlite://{}\"", folder.path().join("hookbox.db").display()).unwrap();
    }
    std::fs::write(&file, text + settings).unwrap();
    let hookbox = Hookbox::builder().handler("resize", resize).build().unwrap().settings_file(file);
    let serving = tokio::time::timeout(DEADLINE, hookbox.serve(std::future::pending()));
    serving.await.expect("it ends at once").expect_err("it cannot serve")
}

#[test]
fn a_handler_with_a_name_that_is_not_allowed_is_refused() {
    let built = |name: &str| Hookbox::builder().handler(name, resize).build().map(drop);
    for name in ["", "Resize", "re size", "re_size", "größe", &"x".repeat(64)] {
        assert_eq!(built(name), Err(BuildError::InvalidName { name: name.into() }));
    }
    for name in ["simulate", "http", "exec"] {
        assert_eq!(built(name), Err(BuildError::BuiltIn { name: name.into() }));
    }
    for name in ["resize", "re-size-2", &"x".repeat(63)] {
        assert_eq!(built(name), Ok(()));
    }
    let twice =
        Hookbox::builder().handler("resize", resize).handler("crop", resize).handler("resize", resize);
    assert_eq!(twice.build().map(drop), Err(BuildError::Duplicate { name: "resize".into() }));
}

#[test]
fn a_program_with_such_a_name_ends_with_64() {
    let ended = Hookbox::builder().handler("Resize", resize).run();
    assert_eq!(format!("{ended:?}"), format!("{:?}", ExitCode::from(64)));
}

#[test]
fn a_closure_is_a_handler() {
    let prefix = String::from("attempt ");
    let label = move |attempt: &Attempt<'_>| -> Result<Value, Failure> {
        Ok(Value::from(format!("{prefix}{}", attempt.number())))
    };
    assert!(Hookbox::builder().handler("label", label).build().is_ok());
}

#[test]
fn errors_become_failures_that_are_retried_with_their_causes() {
    let read = || -> Result<u64, Failure> { Ok("seven".parse::<u64>()?) };
    assert_eq!(read(), Err(Failure::retry("invalid digit found in string")));
    let error = ServeError::Store("disk full".into());
    assert_eq!(Failure::from(error), Failure::retry("cannot open the store: disk full"));
}

#[tokio::test]
async fn a_route_with_an_unknown_handler_is_told_the_known_ones() {
    let error = refused(&ROUTE.replace("resize", "resise")).await;
    assert!(matches!(error, ServeError::Settings(_)), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("hookbox.toml:4:11: "), "{told}");
    assert!(told.contains("it must be one of simulate, http, exec"), "{told}");
    assert!(told.contains(", resize; did you mean `resize`?"), "{told}");
}

#[test]
fn the_program_without_the_handler_refuses_the_route() {
    let place = Place::new(&[]);
    std::fs::write(place.path("hookbox.toml"), ROUTE).unwrap();
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(64), "{told}");
    assert!(told.contains("hookbox.toml:3:11: "), "{told}");
    assert!(told.contains("it must be one of simulate, http, exec"), "{told}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_in_the_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = (taken.local_addr().unwrap(), taken);
    let error = refused(&format!("http_addr = \"{}\"\n{ROUTE}", taken.0)).await;
    assert!(matches!(error, ServeError::Listen { address, .. } if address == taken.0), "{error:?}");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_an_error_with_its_cause() {
    let free = "http_addr = \"127.0.0.1:0\"\ngrpc_addr = \"127.0.0.1:0\"";
    let error =
        refused(&format!("database_url = \"sqlite:///no/such/folder/box.db\"\n{free}\n{ROUTE}")).await;
    assert!(matches!(error, ServeError::Store(_)), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn a_settings_file_that_is_named_has_to_exist() {
    let hookbox = Hookbox::builder().build().unwrap().settings_file("/no/such/hookbox.toml");
    let error = hookbox.serve(std::future::pending()).await.expect_err("there is none");
    assert!(error.to_string().contains("/no/such/hookbox.toml"), "{error}");
}
