//! Contracts as text, reviewed like code: a change of one shows in its snapshot.

use hookbox::config::{Config, ConfigError, Layers};
use hookbox::domain::error::Reason;
use hookbox::grpc::code_of;
use hookbox::http::status_of;
use tempfile::TempDir;

#[test]
fn the_openapi_document() {
    insta::assert_json_snapshot!(hookbox::http::openapi());
}

#[test]
fn the_table_of_errors() {
    let rows = Reason::ALL.iter().map(|reason| {
        let (http, grpc) = (status_of(*reason).as_u16(), format!("{:?}", code_of(*reason)));
        format!("{:<23} {http}  {grpc:<19} {}", reason.as_str(), reason.title())
    });
    insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"));
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
    assert_eq!(layers.unknown_variables(), ["HOOKBOX_WORKER"]);
    insta::assert_snapshot!(without_folder(&folder, &layers.to_string()));
}

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
        ("", None, Some(("max_body", "1GiB"))),
        ("", None, Some(("rate_limit", "0/m"))),
        ("", None, Some(("rate_limit", "10/d"))),
        ("", None, Some(("log", "loud"))),
        ("", None, Some(("log_format", "xml"))),
        ("worker = 1", None, None),
        ("[retry]\nbase = \"1s\"", None, None),
        ("workers = \n", None, None),
    ] {
        let error = refused(&folder, file, environment.as_slice(), flag.as_slice());
        told.push(without_folder(&folder, &with_causes(&error)));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_file_that_is_named_but_not_there_is_an_error() {
    let folder = TempDir::new().unwrap();
    let error = Layers::read(Some(&folder.path().join("other.toml")), [], []).unwrap_err();
    insta::assert_snapshot!(without_folder(&folder, &with_causes(&error)), @"cannot read the settings in ./other.toml: No such file or directory (os error 2)");
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
) -> ConfigError {
    match read(folder, file, environment, flags) {
        Ok(layers) => Config::new(&layers).unwrap_err(),
        Err(error) => error,
    }
}

fn read(
    folder: &TempDir,
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Layers, ConfigError> {
    let path = folder.path().join("hookbox.toml");
    std::fs::write(&path, file).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned()));
    Layers::read(Some(&path), environment.iter().map(owned), flags)
}

/// An error and its causes, as the command line prints them.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn without_folder(folder: &TempDir, text: &str) -> String {
    text.replace(folder.path().to_str().unwrap(), ".")
}
