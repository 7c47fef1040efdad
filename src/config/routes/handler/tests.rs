//! Tests of the members of handlers, through a settings file.

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

/// Checks what is told about each line, which is the fourth of the file, or the fifth.
fn check_told(handler: &str, cases: &[(&str, &str, &str)]) {
    let folder = tempfile::tempdir().expect("a folder");
    for (line, place, expected) in cases {
        let told = match read(&folder, &format!("{handler}\n{line}")) {
            Err(told) => told.replace(&folder.path().display().to_string(), "."),
            Ok(_) => panic!("{line} has no mistake"),
        };
        assert!(told.starts_with(&format!("./hookbox.toml:{place}: ")), "{place} of {line}: {told}");
        assert!(told.contains(expected), "{expected:?} of {line}: {told}");
        assert!(!told.contains("s3cret") && told.lines().count() == 1, "{line}: {told}");
    }
}

#[test]
fn each_mistake_in_a_url_is_told_with_what_to_write() {
    check_told(
        "handler = \"http\"",
        &[
            ("", "1:1", "the route has no `url`, which its handler needs; write `url = \"https://...\"`"),
            ("url = 7", "4:7", "it must be an http or https URL"),
            ("url = \"/orders\"", "4:7", "but relative URL without a base"),
            ("url = \"hooks.example:80/x\"", "4:7", "it must be an http or https URL"),
            ("url = \"ftp://hooks.example\"", "4:7", "it must be an http or https URL"),
            ("url = \"https://\"", "4:7", "but empty host"),
            ("url = \"https://hooks.example/#x\"", "4:7", "without a fragment"),
            ("url = \"https://me:s3cret@10.0.0.1/\"", "4:7", "10.0.0.1 is a private address"),
            ("url = \"http://127.0.0.1:9/\"", "4:7", "add allow = [\"127.0.0.0/8\"] to the route"),
            ("url = \"http://2130706433/\"", "4:7", "add allow = [\"127.0.0.0/8\"] to the route"),
            ("url = \"http://[::ffff:10.0.0.1]/\"", "4:7", "add allow = [\"10.0.0.0/8\"] to the route"),
            (
                "url = \"http://localhost:9/\"",
                "4:7",
                "add allow = [\"127.0.0.1/32\", \"::1/128\"] to the route",
            ),
            (
                "url = \"http://localhost:9/\"\nallow = [\"127.0.0.0/8\"]",
                "4:7",
                "add allow = [\"127.0.0.1/32\", \"::1/128\"] to the route",
            ),
            ("url = \"http://localhost:9/\"\nallow = [\"::1\"]", "4:7", "localhost is a loopback address"),
            ("url = \"env:NONE\"", "4:7", "a URL, but the environment variable NONE is not set"),
            ("url = \"file:/no/such/file\"", "4:7", "a URL, but the file /no/such/file cannot be read"),
            ("url = \"env:KEY\"", "4:7", "\"env:KEY\" is not allowed: it must be an http or https URL"),
            ("url = \"env:PRIVATE\"", "4:7", "10.0.0.1 is a private address"),
        ],
    );
}

#[test]
fn every_mistake_in_http_settings_is_reported_with_a_fix() {
    check_told(
        "handler = \"http\"\nurl = \"https://me:s3cret@hooks.example\"",
        &[
            ("allow = [\"10.0.0.0/8\", \"10.0.0.0/33\"]", "5:24", "a range of addresses"),
            ("headers = [\"X-Team\"]", "5:11", "a table, such as { \"X-Team\" = \"env:TEAM\" }"),
            ("headers = { \"X Team\" = \"s3cret\" }", "5:24", "`X Team` has a name that no header can have"),
            (
                "headers = { Content-Length = \"1\" }",
                "5:30",
                "`Content-Length` is set by hookbox, or belongs",
            ),
            ("headers = { Hookbox-Source = \"s3cret\" }", "5:30", "is set by hookbox"),
            ("headers = { Webhook-Id = \"s3cret\" }", "5:26", "is set by hookbox"),
            ("headers = { Authorization = \"s3cret\" }", "5:29", "`url` has a user or password"),
            ("headers = { A = \"1\", a = \"2\" }", "5:26", "`a` is set twice"),
            ("headers = { A = \"env:NONE\" }", "5:17", "\"env:NONE\" is not allowed: it must be a text, but"),
            (
                "headers = { A = \"s3cret\\u0000\" }",
                "5:17",
                "\"***\" is not allowed: it must be a text without line",
            ),
            ("headers = { A = \"env:BROKEN\" }", "5:17", "without line breaks"),
            ("headers = { A = 1 }", "5:17", "a string"),
            ("secrets = \"\"", "5:11", "a secret that is not empty; 24 to 64 bytes are recommended"),
            ("secrets = [\"env:KEY\", \"whsec_s3cret!!\"]", "5:23", "after whsec_ it must be base64"),
            ("secrets = [\"whsec_\"]", "5:12", "a secret that is not empty"),
            ("secrets = [\"file:/no/such/file\"]", "5:12", "but the file /no/such/file cannot be read"),
            ("secrets = [7]", "5:12", "a string"),
            ("ca = \"/no/such/file\"", "5:6", "a file with certificates in PEM, but it cannot be read"),
            ("ca = \"/dev/null\"", "5:6", "but it has no certificates"),
            ("retry_after_cap = \"0s\"", "5:19", "a duration from 1s to 30d"),
            ("breaker = false", "5:11", "a table, such as { failures = 10, base = \"10s\", cap = \"5m\" }"),
            ("breaker = { failures = 10001 }", "5:24", "a number from 0, which turns it off, to 10000"),
            ("breaker = { base = \"0s\" }", "5:20", "a duration from 1ms to 1d"),
            ("breaker = { base = \"2m\", cap = \"1m\" }", "5:32", "a duration from 2m to 1d"),
            ("breaker = { failure = 3 }", "5:13", "did you mean `failures`?"),
            ("command = [\"/bin/true\"]", "5:11", "`command` is a member of routes with the handler exec"),
            ("simulate = { min = \"1s\" }", "5:12", "but the handler of this route is http"),
            ("secret = \"s3cret\"", "5:1", "routes[0].secret is not known; did you mean `secrets`?"),
        ],
    );
}

#[test]
fn every_mistake_in_exec_settings_is_reported_with_a_fix() {
    check_told(
        "handler = \"exec\"",
        &[
            ("", "1:1", "the route has no `command`, which its handler needs"),
            ("command = \"deploy --now\"", "4:11", "a list of the program and its arguments"),
            ("command = []", "4:11", "a list of the program and its arguments"),
            ("command = [\"\"]", "4:12", "a program"),
            ("command = [\"deploy\", 7]", "4:22", "a string"),
            ("command = [\"{event_type}\"]", "4:12", "a program without placeholders"),
            ("command = [\"/opt/{source}/run\"]", "4:12", "a program without placeholders"),
            ("command = [\"deploy\", \"--key={key}\"]", "4:22", "make {key} an argument of its own"),
            (
                "command = [\"deploy\", \"{id} {body}\"]",
                "4:22",
                "a text without {id}, which is replaced only",
            ),
            ("command = [\"sh\", \"-c\", \"deploy {key}\"]", "4:24", "a script without {key}: senders"),
            ("command = [\"sh\", \"-c\", \"{key}\"]", "4:24", "a script without {key}: senders"),
            (
                "command = [\"bash\", \"-lc\", \"{route}\"]",
                "4:27",
                "Make {route} an argument of its own after",
            ),
            ("command = [\"deploy\", \"\\u0000\"]", "4:22", "without NUL characters"),
        ],
    );
    check_told(
        "handler = \"exec\"\ncommand = [\"deploy\"]",
        &[
            ("cwd = \"srv\"", "5:7", "the absolute path of a folder"),
            ("env = [\"HOME\", \"A=B\"]", "5:16", "without ="),
            ("env = [\"PATH\"]", "5:8", "hookbox sets PATH, TRACEPARENT and those that begin with HOOKBOX_"),
            ("env = [\"HOOKBOX_DATABASE_URL\"]", "5:8", "hookbox sets PATH"),
            ("env = [\"NONE\"]", "5:8", "but it is not set there"),
            ("url = \"https://hooks.example\"", "5:7", "`url` is a member of routes with the handler http"),
        ],
    );
}

#[test]
fn a_route_that_workers_pull_has_no_members_of_other_handlers() {
    check_told(
        "handler = \"pull\"",
        &[
            ("url = \"https://hooks.example\"", "4:7", "but the handler of this route is pull"),
            ("command = [\"deploy\"]", "4:11", "`command` is a member of routes with the handler exec"),
            (
                "simulate = { min = \"1s\" }",
                "4:12",
                "`simulate` is a member of routes with the handler simulate",
            ),
        ],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let config = read(&folder, "handler = \"pull\"\nconcurrency = 4").expect("no mistakes");
    assert!(matches!(policy(&config).handler, HandlerSettings::Pull));
    assert_eq!(policy(&config).timeout, None);
    assert!(config.routes_text().contains("\nhandler = \"pull\""), "{}", config.routes_text());
}

#[test]
fn handler_settings_are_not_refused_if_the_handler_is_unknown() {
    check_told("url = \"https://hooks.example\"", &[("handler = \"htp\"", "4:11", "did you mean `http`?")]);
}
