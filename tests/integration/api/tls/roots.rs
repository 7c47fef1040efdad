//! The certificates of the authorities that the system trusts cannot be read.

use serde_json::Value;

use super::Secured;
use crate::api::harness::process::Place;
use crate::support::tls::Authority;

/// Where the system has these certificates, and there are none.
const NO_CERTIFICATES: [(&str, &str); 1] = [("SSL_CERT_FILE", "missing.pem")];

/// Two routes, each with a client of its own.
const ROUTES: &str = r#"
    [[routes]]
    name = "a"
    handler = "http"
    url = "https://127.0.0.1:9/"
    allow = ["127.0.0.1/32"]
    retry = { attempts = 1 }

    [[routes]]
    name = "b"
    handler = "http"
    url = "https://127.0.0.1:9/b"
    allow = ["127.0.0.0/8"]
    retry = { attempts = 1 }
"#;

#[tokio::test]
async fn a_process_logs_it_once() {
    let place = Place::new(&NO_CERTIFICATES);
    std::fs::write(place.path("hookbox.toml"), ROUTES).expect("is written");
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "dead_lettered").await;
    let log = process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = "certificates of authorities cannot be read";
    let is_it = |line: &Value| line["message"].as_str().is_some_and(|message| message.starts_with(text));
    let told = lines.filter(is_it).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{log}");
    assert_eq!(told[0]["level"], "WARN");
    assert!(told[0]["error"].as_str().is_some_and(|error| error.contains("missing.pem")), "{}", told[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_finds_no_connection_says_so() {
    let secured = Secured::start();
    let url = secured.url("");
    let list = |place: Place| {
        let ended = place.run(&["list", "--url", &url]);
        (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
    };
    let (code, told) = list(Place::new(&NO_CERTIFICATES));
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("cannot all be read") && told.contains("missing.pem"), "{told}");
    // The system may have certificates, or none; here it has that of another authority.
    let place = Place::new(&[("SSL_CERT_FILE", "other.pem")]);
    std::fs::write(place.path("other.pem"), Authority::new().pem()).expect("is written");
    let (code, told) = list(place);
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("no answer from") && !told.contains("the system"), "{told}");
}
