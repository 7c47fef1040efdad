//! Contracts as text, reviewed like code: a change of one shows in its snapshot.

use hookbox::internals::config::{Config, HANDLERS, Layers, Mistakes};
use hookbox::internals::domain::error::Reason;
use hookbox::internals::grpc::{GrpcReason, code_of};
use hookbox::internals::http::{RestReason, status_of};
use tempfile::TempDir;

#[test]
fn the_openapi_document() {
    insta::assert_json_snapshot!(hookbox::internals::http::openapi());
}

#[test]
fn the_table_of_errors() {
    let row = |reason: &str, http: &str, grpc: &str, title: &str| {
        format!("{reason:<23} {http:<3}  {grpc:<19} {title}")
    };
    let both = Reason::ALL.iter().map(|reason| {
        let (http, grpc) = (status_of(*reason).as_str().to_owned(), format!("{:?}", code_of(*reason)));
        row(reason.as_str(), &http, &grpc, reason.title())
    });
    let rest = RestReason::ALL
        .iter()
        .map(|reason| row(reason.as_str(), reason.status().as_str(), "-", reason.title()));
    let grpc = GrpcReason::ALL
        .iter()
        .map(|reason| row(reason.as_str(), "-", &format!("{:?}", reason.code()), reason.title()));
    insta::assert_snapshot!(both.chain(rest).chain(grpc).collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_settings_in_force_and_where_each_came_from() {
    let folder = TempDir::new().unwrap();
    let layers = layers(
        &folder,
        "workers = 8\nlease = \"20s\"\nretry_base = \"1s\"\n",
        &[("HOOKBOX_LEASE", "40s"), ("HOOKBOX_RETRY_BASE", "3s"), ("HOOKBOX_WORKER", "1"), ("PATH", "/bin")],
        &[("retry_base", "4s"), ("database_url", "postgres://me:secret@db/box")],
    );
    assert_eq!(
        layers.warnings(),
        [
            "HOOKBOX_WORKER is set in the environment, but is not a setting of hookbox; did you mean `HOOKBOX_WORKERS`?"
        ]
    );
    insta::assert_snapshot!(without_folder(&folder, &layers.to_string()));
}

/// Two tokens of one name. Each has a half of the members.
const TWICE: &str = r#"
[tokens.ci]
sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
[ tokens.ci ]
roles = ["read"]
"#;

#[test]
fn what_a_wrong_setting_is_told() {
    let folder = TempDir::new().unwrap();
    let mut told = Vec::new();
    for (file, environment, flag) in [
        ("workers = 0", None, None),
        ("workers = \"many\"", None, None),
        ("workers = 1.5", None, None),
        ("", Some(("HOOKBOX_WORKERS", "5000")), None),
        ("", Some(("HOOKBOX_HTTP_ADDR", "localhost:8080")), None),
        ("", Some(("HOOKBOX_GRPC_ADDR", "")), None),
        ("", None, Some(("hosts", "hookbox,https://hooks.example"))),
        ("hosts = [\"hookbox\", \"*.example\", \"a b\"]", None, None),
        ("", Some(("HOOKBOX_PUBLIC_URL", "hooks.example")), None),
        ("", None, Some(("public_url", "https://me:secret@hooks.example"))),
        ("trace_url = \"https://jaeger.example/trace\"", None, None),
        ("", Some(("HOOKBOX_TRACE_URL", "jaeger.example/{trace_id}")), None),
        ("", None, Some(("trace_url", "https://me:secret@jaeger.example/{trace_id}"))),
        ("", Some(("HOOKBOX_ALLOW_ANONYMOUS", "yes")), None),
        ("", None, Some(("database_url", "postgres://me:secret@db/box?sslmode=allow"))),
        ("", None, Some(("database_url", "hookbox.db"))),
        ("", None, Some(("database_url", "sqlite://:memory:"))),
        ("", None, Some(("simulate_failure_rate", "1.1"))),
        ("simulate_min = \"6s\"", None, None),
        ("retry_base = \"2h\"", None, None),
        ("", None, Some(("max_attempts", "0"))),
        ("", None, Some(("lease", "30"))),
        ("", None, Some(("lease", "0s"))),
        ("", Some(("HOOKBOX_RETENTION_KEYS", "1d")), None),
        ("", None, Some(("retention_completed", "101y"))),
        ("", None, Some(("retention_dead_lettered", "101y"))),
        ("", None, Some(("retention_keys", "101y"))),
        ("", None, Some(("retention_quarantined", "101y"))),
        ("", None, Some(("retention_actions", "101y"))),
        ("", None, Some(("max_body", "1GiB"))),
        ("", None, Some(("rate_limit", "0/m"))),
        ("", None, Some(("rate_limit", "10/d"))),
        ("", None, Some(("log", "loud"))),
        ("", None, Some(("log_format", "xml"))),
        ("worker = 1", None, None),
        ("[retry]\nbase = \"1s\"", None, None),
        ("workers = \n", None, None),
        ("= 1", None, None),
        ("[]", None, None),
        ("workers = 1\nworkers = 2", None, None),
        ("[sources.a]\nverify = \"none\"\nkey = \"body\"\n[sources.a]\nkey = \"body\"", None, None),
        (TWICE, None, None),
    ] {
        let error = refused(&folder, file, environment.as_slice(), flag.as_slice());
        told.push(without_folder(&folder, &error.to_string()));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let folder = TempDir::new().unwrap();
    let file = r#"
workers = 0
lease = "soon"
retry_bas = "1s"
simulate_min = "9s"

[[routes]]
name = "Orders"
match = { source = "shop", event = "orders/*" }
where = "body.total >"
handler = "htp"
timeout = "0s"
concurrency = 0
rate = "50/x"
retry = { attempts = 0, base = "5s", cap = "1s" }
order_by = "order_id"
on_dead_letter = "ignore"
on_interupt = "retry"

[[routes]]
match = "orders/*"

[[routes]]
name = "audit"
where = "totals > 1"
[[routes]]
name = "audit"
fallback = true
match = { event_type = "a" }
[[routes]]
name = "lines"
where = """
body.total > 100
  && totals"""
[[routes]]
name = "lists"
match = { source = ["Shop", 7, "Erp"], event_type = ["a", true] }
[[routes]]
name = "patterns"
match = { source = ["shop", "Shop"], event_type = ["order.*", ""] }
where = 'body.name.matches("(paid")'
"#;
    let mistakes = refused(&folder, file, &[("HOOKBOX_MAX_BODY", "1TiB")], &[("workers", "many")]);
    insta::assert_snapshot!(without_folder(&folder, &mistakes.to_string()));
}

#[test]
fn routes_in_force_are_shown_with_the_origin_of_each_value() {
    let folder = TempDir::new().unwrap();
    let file = r#"
[[routes]]
name = "orders"
match = { source = "shop", event_type = ["orders/*", "refunds/*"] }
where = 'body.total > 100 && headers["x-region"] == "eu"'
timeout = "10s"
concurrency = 16
rate = "50/s"
retry = { attempts = 12 }
order_by = "/order_id"
on_dead_letter = "skip"
on_interrupt = "dead_letter"
simulate = { failure_rate = 0.5 }

[[routes]]
name = "rest"
fallback = true
"#;
    let layers = layers(&folder, file, &[], &[]);
    let config = Config::new(&layers, HANDLERS).unwrap();
    insta::assert_snapshot!(without_folder(&folder, &config.routes_text()));
}

#[test]
fn the_origin_of_a_value_of_several_lines_is_above_it() {
    let folder = TempDir::new().unwrap();
    let condition = "where = \"\"\"\nbody.total > 100\n  && body.paid\n\"\"\"\n";
    let layers = layers(&folder, &format!("[[routes]]\nname = \"large\"\n{condition}"), &[], &[]);
    let config = Config::new(&layers, HANDLERS).unwrap();
    let text = without_folder(&folder, &config.routes_text());
    assert!(text.contains(&format!("\n# ./hookbox.toml:3:9\n{condition}handler = ")), "{text}");
}

#[test]
fn a_file_that_is_named_but_not_there_is_an_error() {
    let folder = TempDir::new().unwrap();
    let error = Layers::read(Some(&folder.path().join("other.toml")), [], []).unwrap_err();
    insta::assert_snapshot!(without_folder(&folder, &error.to_string()), @"cannot read the settings in ./other.toml: No such file or directory (os error 2)");
}

#[test]
fn a_file_that_is_not_utf_8_is_told_with_the_place_of_its_first_wrong_byte() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("hookbox.toml");
    // The bytes of `ü` in UTF-8, and then that of Latin-1.
    std::fs::write(&file, b"workers = 4\n# \xc3\xbc \xfc\n# \xfc\n").unwrap();
    let error = Layers::read(Some(&file), [], []).unwrap_err();
    insta::assert_snapshot!(without_folder(&folder, &error.to_string()), @"./hookbox.toml:2:5: this byte is not UTF-8; save the file as UTF-8");
}

fn layers(
    folder: &TempDir,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Layers {
    read(folder, file, environment, flags).unwrap()
}

fn refused(
    folder: &TempDir,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Mistakes {
    match read(folder, file, environment, flags) {
        Ok(layers) => Config::new(&layers, HANDLERS).unwrap_err(),
        Err(error) => error,
    }
}

fn read(
    folder: &TempDir,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Layers, Mistakes> {
    let path = folder.path().join("hookbox.toml");
    std::fs::write(&path, file).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Layers::read(Some(&path), environment.iter().map(owned), flags)
}

fn without_folder(folder: &TempDir, text: &str) -> String {
    text.replace(folder.path().to_str().unwrap(), ".")
}
