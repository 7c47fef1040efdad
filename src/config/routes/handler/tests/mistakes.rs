//! Each mistake is told where it is, with what to write instead.

use super::*;

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
            ("", "1:1", "the route `a` has no `url`, which its handler needs; write `url = \"https://...\"`"),
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
            (
                "url = \"https://me:***@hooks.example/\"",
                "4:7",
                "its password `***` stands for one that was hidden",
            ),
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
                "headers = { A = \"s3cret\\u0000s3cret\" }",
                "5:17",
                "\"***\" is not allowed: it must be a text without line",
            ),
            ("headers = { A = \"env:BROKEN\" }", "5:17", "without line breaks"),
            ("headers = { A = \"***\" }", "5:17", "stands for a secret that was hidden"),
            ("headers = { A = 1 }", "5:17", "a string"),
            ("secrets = \"\"", "5:11", "a secret that is not empty; 24 to 64 bytes are recommended"),
            ("secrets = [\"env:KEY\", \"whsec_s3cret!!\"]", "5:23", "after whsec_ it must be base64"),
            ("secrets = [\"whsec_\"]", "5:12", "a secret that is not empty"),
            ("secrets = [\"file:/no/such/file\"]", "5:12", "but the file /no/such/file cannot be read"),
            ("secrets = [7]", "5:12", "a string"),
            ("secrets = [\"***\"]", "5:12", "stands for a secret that was hidden"),
            ("secrets = [\"s3cret \"]", "5:12", "but the text ends with a space (U+0020); remove it"),
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
            ("", "1:1", "the route `a` has no `command`, which its handler needs"),
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
            ("command = [\"sh\", \"-ce\", \"{key}\"]", "4:25", "a script without {key}: senders"),
            ("command = [\"bash\", \"-c\", \"--\", \"{key}\"]", "4:32", "a script without {key}: senders"),
            ("command = [\"perl\", \"-e\", \"{key}\"]", "4:26", "a script without {key}: senders"),
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
