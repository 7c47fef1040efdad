//! `[tls]` of the settings file, and the commands that ask a running hookbox.

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::api::harness::eventually;
use crate::api::harness::process::Place;
use crate::support::tls::{Authority, SETTINGS};

/// Encrypted keys, without the rest of their content.
const PKCS_1: &str = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\nMAA=\n\
    -----END RSA PRIVATE KEY-----\n";
const PKCS_8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";

/// A place with two certificates: `server.pem` and `server.key`, and a key that fits another one in `other.key`.
fn place(settings: &str) -> Place {
    let place = Place::new(&[]);
    let authority = Authority::new();
    let issued = authority.issue();
    issued.write(&place.path(""));
    let other = authority.issue();
    for (name, text) in [
        ("other.key", other.key.as_str()),
        ("authority.pem", &authority.pem()),
        ("reversed.pem", &format!("{}{}", authority.pem(), issued.cert)),
        ("cut.pem", issued.cert.split_once("-----END").expect("an end").0),
        ("marked.pem", &format!("\u{feff}{}", issued.cert)),
        ("pkcs1.key", PKCS_1),
        ("pkcs8.key", PKCS_8),
        ("unknown.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"),
        ("empty.pem", ""),
        ("hookbox.toml", settings),
    ] {
        std::fs::write(place.path(name), text).expect("is written");
    }
    std::fs::write(place.path("server.der"), issued.der()).expect("is written");
    place
}

#[rstest]
#[case::no_table("tls = 1", "hookbox.toml:1:7: tls = 1 is not allowed: it must be a table")]
#[case::key_missing("[tls]\ncert = \"server.pem\"", "hookbox.toml:2:8: tls.key is missing")]
#[case::cert_missing("[tls]\nkey = \"server.key\"", "hookbox.toml:2:7: tls.cert is missing")]
#[case::no_path("[tls]\ncert = 7\nkey = \"\"", "hookbox.toml:3:7: tls.key = \"\" is not allowed")]
#[case::no_file(
    "[tls]\ncert = \"none.pem\"\nkey = \"server.key\"",
    "hookbox.toml:2:8: tls.cert = \"none.pem\" is not allowed: it must be the path of a PEM file with a certificate, \
     but it cannot be read"
)]
#[case::no_certificate(
    "[tls]\ncert = \"empty.pem\"\nkey = \"server.key\"",
    "hookbox.toml:2:8: tls.cert = \"empty.pem\" is not allowed: it must be the path of a PEM file with a certificate, \
     but there is no certificate in it"
)]
#[case::no_key(
    "[tls]\ncert = \"server.pem\"\nkey = \"server.pem\"",
    "but there is no private key in it; it should have the line `-----BEGIN PRIVATE KEY-----`"
)]
#[case::encrypted_key(
    "[tls]\ncert = \"server.pem\"\nkey = \"pkcs8.key\"",
    "hookbox.toml:3:7: tls.key = \"pkcs8.key\" is not allowed: it must be the path of a PEM file with the private key \
     of the certificate, but its private key is encrypted, and hookbox has no passphrase for it; write it without one: \
     `openssl pkey -in pkcs8.key -out NEW_FILE`"
)]
#[case::encrypted_key_of_pkcs_1(
    "[tls]\ncert = \"server.pem\"\nkey = \"pkcs1.key\"",
    "but its private key is encrypted"
)]
#[case::key_of_another_kind(
    "[tls]\ncert = \"server.pem\"\nkey = \"unknown.key\"",
    "but its key cannot be used: it must be RSA with 2048 to 4096 bits, ECDSA with the curve P-256 or P-384, or Ed25519"
)]
#[case::cut_off(
    "[tls]\ncert = \"cut.pem\"\nkey = \"server.key\"",
    "but it is cut off: the line `-----END CERTIFICATE-----` is missing"
)]
#[case::der(
    "[tls]\ncert = \"server.der\"\nkey = \"server.key\"",
    "but it is DER, not PEM; convert it: `openssl x509 -inform DER -in server.der -out NEW_FILE`"
)]
#[case::wrong_order(
    "[tls]\ncert = \"reversed.pem\"\nkey = \"server.key\"",
    "hookbox.toml:2:8: tls.cert = \"reversed.pem\" is not allowed: it must be the path of a PEM file with a \
     certificate, but its certificates are in the wrong order: the one of the key in server.key has to be the first"
)]
#[case::another_key(
    "[tls]\ncert = \"server.pem\"\nkey = \"other.key\"",
    "hookbox.toml:3:7: tls.key = \"other.key\" is not allowed: it must be the path of a PEM file with the private key \
     of the certificate, but its key does not fit the first certificate in server.pem"
)]
#[case::no_authority(
    "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"empty.pem\"",
    "hookbox.toml:4:13: tls.client_ca = \"empty.pem\" is not allowed"
)]
#[case::unknown(
    "[tls]\ncert = \"server.pem\"\nkey = \"server.key\"\nclient-ca = \"authority.pem\"",
    "hookbox.toml:4:1: tls.client-ca is not known; did you mean `client_ca`?"
)]
fn a_mistake_is_reported_at_its_place(#[case] settings: &str, #[case] mistake: &str) {
    let ended = place(settings).run(&["config", "check"]);
    let told = String::from_utf8(ended.stderr).expect("text");
    assert_eq!(ended.status.code(), Some(64), "{told}");
    assert!(told.contains(mistake), "{told}");
}

#[test]
fn config_prints_the_paths_with_their_origins_and_the_output_is_read_back() {
    let settings = format!("{SETTINGS}client_ca = \"authority.pem\"\n");
    let place = place(&settings);
    let ended = place.run(&["config"]);
    let shown = String::from_utf8(ended.stdout).expect("text");
    for line in ["\n[tls]\ncert = \"server.pem\" ", "# hookbox.toml:3:7\n", "client_ca = \"authority.pem\" "]
    {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains("PRIVATE"), "{shown}");
    std::fs::write(place.path("hookbox.toml"), shown).expect("is written");
    assert_eq!(place.run(&["config", "check"]).status.code(), Some(0));
}

#[test]
fn a_byte_order_mark_before_the_certificate_does_no_harm() {
    let place = place("[tls]\ncert = \"marked.pem\"\nkey = \"server.key\"");
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), &*told), (Some(0), ""));
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_warned_of_at_the_check_at_the_start_and_at_a_change() {
    const LINE: &str = "the certificate of TLS in force is not valid now";
    let (place, authority) = (place(SETTINGS), Authority::new());
    authority.issue_expired().write(&place.path(""));
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{told}");
    let warning =
        "warning: the certificate in server.pem has expired: it was valid until 2021-01-01T00:00:00Z";
    assert!(told.contains(warning), "{told}");

    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    assert!(process.log().contains(LINE), "{}", process.log());
    authority.issue().write(&place.path(""));
    let has_changed = |times: usize| {
        let changes = process.log().matches("the certificate of TLS has changed").count();
        (changes == times).then_some(())
    };
    process.signal(Signal::SIGHUP);
    eventually("the certificate that is valid", || async { has_changed(1) }).await;
    authority.issue_expired().write(&place.path(""));
    process.signal(Signal::SIGHUP);
    eventually("the certificate that has expired", || async { has_changed(2) }).await;
    let warned = || async { (process.log().matches(LINE).count() == 2).then_some(()) };
    eventually("the second warning", warned).await;
    assert_eq!(process.terminate().await, Some(0));
}

#[rstest]
#[case::for_every_client("")]
#[case::for_clients_with_a_certificate("client_ca = \"authority.pem\"\n")]
#[tokio::test]
async fn health_and_reload_ask_over_tls(#[case] members: &str) {
    let place = place(&format!("{SETTINGS}{members}"));
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    for command in [&["health"][..], &["health", "--live"], &["reload"]] {
        let ended = place.run(command);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{command:?}: {told}");
    }
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn the_level_debug_shows_nothing_of_the_machine_of_the_build() {
    let mut place = place(SETTINGS);
    place.set("HOOKBOX_LOG", "debug");
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    assert_eq!(place.run(&["health"]).status.code(), Some(0));
    let log = process.log();
    assert!(!log.contains("rustls::"), "{log}");
    assert_eq!(process.terminate().await, Some(0));
}

#[rstest]
#[case::only_the_server_has_it(SETTINGS, "", "no HTTP answer from http://127.0.0.1:")]
#[case::only_the_settings_have_it("", SETTINGS, "no TLS at https://127.0.0.1:")]
#[tokio::test]
async fn health_and_reload_say_that_the_server_and_the_settings_differ_in_tls(
    #[case] served: &str,
    #[case] asked: &str,
    #[case] problem: &str,
) {
    let place = place(served);
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    std::fs::write(place.path("hookbox.toml"), asked).expect("is written");
    for command in ["health", "reload"] {
        let ended = place.run(&[command]);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), ended.stdout.len()), (Some(1), 0), "{command}: {told}");
        assert!(told.contains(problem) && told.contains("--config"), "{command}: {told}");
    }
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn health_does_not_fail_while_the_files_are_broken_but_hookbox_still_serves() {
    let place = place(SETTINGS);
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    std::fs::write(place.path("server.pem"), "nonsense").expect("is written");
    assert_eq!(place.run(&["health", "--live"]).status.code(), Some(0));
    assert_eq!(place.run(&["reload"]).status.code(), Some(64));
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn health_asks_over_tls_while_the_file_has_mistakes() {
    let settings = format!("{SETTINGS}client_ca = \"authority.pem\"\n");
    let place = place(&settings);
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    for mistake in ["nonsense", "certs = 1", "[[routes]]\nnam = \"orders\""] {
        std::fs::write(place.path("hookbox.toml"), format!("{settings}{mistake}\n")).expect("is written");
        let ended = place.run(&["health", "--live"]);
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{mistake}: {told}");
    }
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn health_says_why_it_has_no_certificate_for_a_hookbox_that_asks_for_one() {
    let place = place(&format!("{SETTINGS}client_ca = \"authority.pem\"\n"));
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    // As in a folder from which the path leads nowhere.
    std::fs::remove_file(place.path("server.pem")).expect("was there");
    let ended = place.run(&["health", "--live"]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("showed no certificate") && told.contains("working directory"), "{told}");
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn reload_waits_until_the_server_shows_a_new_certificate() {
    let place = place(SETTINGS);
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    Authority::new().issue().write(&place.path(""));
    let mut reload = place.start_command(&["reload"]);
    let has_asked = || async {
        let told = reload.log();
        // The server may have read the files already.
        (told.contains("tries again") || told.contains("are reloaded")).then_some(())
    };
    eventually("the first try", has_asked).await;
    // Reads them at once.
    process.signal(Signal::SIGHUP);
    assert_eq!(reload.ended().await.code(), Some(0), "{}", reload.log());
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn reload_does_not_trust_a_server_with_another_certificate() {
    let place = place(SETTINGS);
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    Authority::new().issue().write(&place.path(""));
    let ended = place.run(&["reload", "--further-tries", "0"]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("certificate"), "{told}");
    assert_eq!(process.terminate().await, Some(0));
}
