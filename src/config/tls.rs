//! Reads `[tls]` of the settings file, with the place of each value.

use std::fmt;
use std::path::PathBuf;

use super::file::{Table, Value};
use super::layers::Origin;
use super::mistake::Mistake;
use super::parse::Reader;
use crate::tls::{Files, Loaded, Member};

const CERT: &str = "cert";
const KEY: &str = "key";
const CLIENT_CA: &str = "client_ca";

/// The settings of TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The files.
    pub files: Files,
    /// What is in them.
    pub loaded: Loaded,
    /// The members as `hookbox config` prints them: name, path, origin.
    shown: Vec<(&'static str, String, Origin)>,
}

impl fmt::Display for Tls {
    /// The table in the form of the settings file. The origin of each value is a comment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n[tls]")?;
        self.shown.iter().try_for_each(|(member, path, origin)| {
            let line = format!("{member} = {}", toml::Value::String(path.clone()));
            writeln!(f, "{line:<44} # {origin}")
        })
    }
}

/// Reads the table and its files; the inner value is none if there is no table. None if TLS cannot be used. The mistakes are
/// in `read`.
pub(super) fn tls(read: &Reader<'_>, value: Option<Value<'_>>) -> Option<Option<Tls>> {
    let Some(value) = value else { return Some(None) };
    let Some(mut table) = value.table() else {
        read.wrong(value.wrong("a table with `cert` and `key`"));
        return None;
    };
    let [cert, key, client_ca] =
        [(CERT, "a certificate"), (KEY, "its private key"), (CLIENT_CA, "certificates of authorities")]
            .map(|(member, what)| path(read, &mut table, member, what));
    table.unknown().into_iter().for_each(|mistake| read.wrong(mistake));
    let (cert, key, client_ca) = (cert?, key?, client_ca?);
    let (cert, key) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (cert, key) => {
            let (there, missing) = if cert.is_some() { (cert, KEY) } else { (key, CERT) };
            let origin = there.map_or_else(|| value.origin(), |there| there.origin());
            let text = format!("tls.{missing} is missing: set the paths of both `{CERT}` and `{KEY}`");
            read.wrong(Mistake { origin, text });
            return None;
        }
    };
    let written = |value: &Value<'_>| value.text().unwrap_or_default().to_owned();
    let files = Files {
        cert: PathBuf::from(written(&cert)),
        key: PathBuf::from(written(&key)),
        client_ca: client_ca.as_ref().map(|value| PathBuf::from(written(value))),
    };
    let loaded = match Loaded::read(&files) {
        Ok(loaded) => loaded,
        Err(error) => {
            let (value, what) = match error.member {
                Member::Cert => (Some(&cert), "a certificate"),
                Member::Key => (Some(&key), "the private key of the certificate"),
                Member::ClientCa => (client_ca.as_ref(), "certificates of authorities"),
            };
            let value = value.unwrap_or(&cert);
            let problem = &error.problem;
            read.wrong(value.wrong(format_args!("the path of a PEM file with {what}, but {problem}")));
            return None;
        }
    };
    let members = [(CERT, Some(cert)), (KEY, Some(key)), (CLIENT_CA, client_ca)];
    let shown = members
        .into_iter()
        .filter_map(|(member, value)| value.map(|value| (member, written(&value), value.origin())))
        .collect();
    Some(Some(Tls { files, loaded, shown }))
}

/// The path of a file; the inner value is none if the member is absent. None if it is no path.
fn path<'a>(
    read: &Reader<'_>,
    table: &mut Table<'a>,
    member: &'static str,
    what: &str,
) -> Option<Option<Value<'a>>> {
    let Some(value) = table.get(member) else { return Some(None) };
    if value.text().is_none_or(str::is_empty) {
        read.wrong(value.wrong(format_args!("the path of a PEM file with {what}")));
        return None;
    }
    Some(Some(value))
}
