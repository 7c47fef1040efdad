//! Tests of the members of handlers, through a settings file.

mod mistakes;

use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::config::{Config, HANDLERS, Layers};
use crate::domain::breaker::BreakerPolicy;
use crate::domain::handler::{Exec, HandlerSettings, Http};
use crate::domain::policy::Policy;

const ENVIRONMENT: [(&str, &str); 6] = [
    ("TEAM", "blue"),
    ("KEY", "a key of the environment"),
    ("HOME", "/root"),
    ("BROKEN", "two\nlines"),
    ("HOOK", "https://me:s3cret@hooks.example:8443/T0/s3cret?a=b"),
    ("PRIVATE", "http://10.0.0.1/s3cret"),
];

/// Reads a settings file in which one route, `a`, has these members. The error lists the mistakes.
fn read(folder: &TempDir, members: &str) -> Result<Config, String> {
    let file = folder.path().join("hookbox.toml");
    std::fs::write(&file, format!("[[routes]]\nname = \"a\"\n{members}\n")).expect("writes");
    config(&file)
}

fn config(file: &Path) -> Result<Config, String> {
    config_of_program(file, HANDLERS)
}

/// The settings of a program with these handlers.
fn config_of_program(file: &Path, handlers: &[&str]) -> Result<Config, String> {
    let environment = ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let layers = Layers::read(Some(file), environment, []).map_err(|mistakes| mistakes.to_string())?;
    Config::new(&layers, handlers).map_err(|mistakes| mistakes.to_string())
}

fn policy(config: &Config) -> Policy {
    Policy::clone(config.routes.policies().iter().next().expect("a route"))
}

fn http(config: &Config) -> Http {
    match policy(config).handler {
        HandlerSettings::Http(http) => Http::clone(&http),
        other => panic!("{other:?}"),
    }
}

fn exec(config: &Config) -> Exec {
    match policy(config).handler {
        HandlerSettings::Exec(exec) => Exec::clone(&exec),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_members_of_http_are_read_and_shown_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("key"), "a key in a file\n").expect("writes");
    let certificate = CertificateParams::new(["hooks.example".to_owned()]).expect("a name");
    let certificate = certificate.self_signed(&KeyPair::generate().expect("a key")).expect("is made");
    std::fs::write(path("ca.pem"), certificate.pem()).expect("writes");
    let members = [
        "handler = \"http\"".to_owned(),
        "url = \"https://me:s3cret@hooks.example/orders?a=b\"".to_owned(),
        "headers = { \"X-Team\" = \"env:TEAM\", \"X-Plain\" = \"s3cret\" }".to_owned(),
        format!(
            "secrets = [\"file:{}\", \"env:KEY\", \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\", \"k\"]",
            path("key")
        ),
        "allow = [\"10.0.0.0/8\", \"192.168.7.1\", \"fd00::/8\"]".to_owned(),
        format!("ca = \"{}\"", path("ca.pem")),
        "retry_after_cap = \"2h\"".to_owned(),
        "breaker = { failures = 5, base = \"1m\" }".to_owned(),
    ];
    let config = read(&folder, &members.join("\n")).expect("no mistakes");
    let read = http(&config);
    assert_eq!(read.url.as_str(), "https://me:s3cret@hooks.example/orders?a=b");
    let headers = read.headers.iter().map(|(name, value)| (name.as_str(), value.expose()));
    assert_eq!(headers.collect::<Vec<_>>(), [("x-plain", "s3cret"), ("x-team", "blue")]);
    let secrets = read.secrets.iter().map(|key| key.expose().len()).collect::<Vec<_>>();
    assert_eq!(secrets, ["a key in a file".len(), "a key of the environment".len(), 24, 1]);
    let allow = read.allow.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(allow, ["10.0.0.0/8", "192.168.7.1/32", "fd00::/8"]);
    assert_eq!(read.ca.as_deref(), Some(certificate.pem().as_str()));
    assert_eq!(read.retry_after_cap, Some(Duration::from_secs(7200)));
    let breaker = BreakerPolicy { failures: 5, base: Duration::from_secs(60), cap: Duration::from_secs(300) };
    assert_eq!((read.breaker, policy(&config).breaker()), (breaker, Some(&breaker)));

    let text = config.routes_text();
    for line in [
        "url = \"https://me:***@hooks.example/orders?a=b\"",
        &format!("{:<44} # the default", "timeout = \"30s\""),
        "headers = { \"X-Plain\" = \"***\", \"X-Team\" = \"env:TEAM\" }",
        &format!("secrets = [\"file:{}\", \"env:KEY\", \"***\", \"***\"]", path("key")),
        "allow = [\"10.0.0.0/8\", \"192.168.7.1/32\", \"fd00::/8\"]",
        &format!("ca = \"{}\"", path("ca.pem")),
        "retry_after_cap = \"2h\"",
        "breaker.failures = 5",
        "breaker.base = \"1m\"",
        &format!("{:<44} # the default", "breaker.cap = \"5m\""),
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line} in {text}");
    }
    let shown = format!("{text}{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("whsec_"), "{shown}");
}

#[test]
fn a_secret_url_is_read_from_a_variable_or_file_and_never_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    std::fs::write(&file, "https://me:s3cret@hooks.example:8443/T0/s3cret?a=b\n").expect("writes");
    for place in ["env:HOOK".to_owned(), format!("file:{}", file.display())] {
        let config = read(&folder, &format!("handler = \"http\"\nurl = \"{place}\"")).expect("no mistakes");
        let read = http(&config);
        assert_eq!(read.url.as_str(), "https://me:s3cret@hooks.example:8443/T0/s3cret?a=b");
        assert_eq!(read.public_url().as_str(), "https://hooks.example:8443/");
        let text = config.routes_text();
        assert!(text.contains(&format!("\nurl = \"{place}\"")), "{text}");
        let shown = format!("{text}{config:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn exec_settings_can_be_read_again_from_what_config_prints() {
    let folder = tempfile::tempdir().expect("a folder");
    let members = [
        "handler = \"exec\"",
        "command = [\"/bin/deploy\", \"--type\", \"{event_type}\", \"{print}\", \"{\\\"a\\\": 1}\", \"${id}\", \"\"]",
        "cwd = \"/srv\"",
        "env = [\"HOME\", \"KEY\"]",
    ];
    let config = read(&folder, &members.join("\n")).expect("no mistakes");
    let check = |config: &Config| {
        let read = exec(config);
        let command = ["/bin/deploy", "--type", "{event_type}", "{print}", "{\"a\": 1}", "${id}", ""];
        assert_eq!(read.command, command);
        assert_eq!(read.cwd.as_deref(), Some(Path::new("/srv")));
        let env = read.env.iter().map(|(name, value)| (name.as_str(), value.expose()));
        assert_eq!(env.collect::<Vec<_>>(), [("HOME", "/root"), ("KEY", "a key of the environment")]);
        assert_eq!(read.path, "/usr/local/bin:/usr/bin:/bin", "PATH is not set");
        assert_eq!(policy(config).timeout, Some(Duration::from_secs(300)));
    };
    check(&config);
    let text = config.routes_text();
    assert!(!text.contains("a key of"), "{text}");
    let file = folder.path().join("again.toml");
    std::fs::write(&file, &text).expect("writes");
    check(&self::config(&file).expect("no mistakes"));
}

#[test]
fn a_breaker_is_there_unless_it_is_turned_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let breaker = |members: &str| policy(&read(&folder, members).expect("no mistakes")).breaker().copied();
    let http = "handler = \"http\"\nurl = \"https://hooks.example\"\n";
    assert_eq!(breaker(http), Some(BreakerPolicy::default()));
    assert_eq!(breaker(&format!("{http}breaker = {{ failures = 0 }}")), None);
    let late = breaker(&format!("{http}breaker = {{ base = \"10m\" }}")).expect("a breaker");
    assert_eq!((late.failures, late.cap), (10, Duration::from_secs(600)), "the cap is not below the base");
    assert_eq!(breaker("handler = \"simulate\""), None);
}

#[test]
fn a_timeout_of_the_route_wins_over_that_of_the_handler() {
    let folder = tempfile::tempdir().expect("a folder");
    let timeout = |members: &str| policy(&read(&folder, members).expect("no mistakes")).timeout;
    let http = "handler = \"http\"\nurl = \"https://hooks.example\"\n";
    assert_eq!(timeout(http), Some(Duration::from_secs(30)));
    assert_eq!(timeout(&format!("{http}timeout = \"5s\"")), Some(Duration::from_secs(5)));
    assert_eq!(timeout("handler = \"simulate\""), None);
}

#[test]
fn a_handler_of_the_programs_own_has_a_timeout() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hookbox.toml");
    let handlers = HANDLERS.iter().copied().chain(["resize"]).collect::<Vec<_>>();
    for (members, expected) in [("", 300), ("timeout = \"1h\"\n", 3_600)] {
        let text = format!("[[routes]]\nname = \"a\"\nhandler = \"resize\"\n{members}");
        std::fs::write(&file, text).expect("writes");
        let config = config_of_program(&file, &handlers).expect("no mistakes");
        assert_eq!(policy(&config).timeout, Some(Duration::from_secs(expected)));
    }
}
