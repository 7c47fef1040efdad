//! Where values come from, and which of them wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::settings::{ENVIRONMENT_PREFIX, SETTINGS, Setting};

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "hookbox.toml";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing set it.
    Default,
    /// The file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "the environment, {name}"),
            Self::Flag(name) => write!(f, "the flag --{name}"),
        }
    }
}

/// The values in force, each with its origin.
#[derive(Clone, Debug)]
pub struct Layers {
    values: BTreeMap<&'static str, (String, Origin)>,
    unknown: Vec<String>,
    exports_traces: bool,
    host: String,
}

impl Layers {
    /// Lays defaults, a file, the environment and flags over one another.
    /// Without `file`, `hookbox.toml` in the working folder is read if it is there.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self {
            values: SETTINGS
                .iter()
                .map(|setting| (setting.name, (setting.default.to_owned(), Origin::Default)))
                .collect(),
            unknown: Vec::new(),
            exports_traces: false,
            host: String::new(),
        };
        match file {
            Some(file) => layers.add_file(file)?,
            None if Path::new(DEFAULT_FILE).exists() => layers.add_file(Path::new(DEFAULT_FILE))?,
            None => {}
        }
        layers.add_environment(environment);
        for (name, value) in flags {
            if let Some(setting) = find(name) {
                layers.set(setting, value, Origin::Flag(setting.flag_name()));
            }
        }
        Ok(layers)
    }

    /// The value of a setting and where it came from.
    pub fn get(&self, name: &str) -> (&str, &Origin) {
        match self.values.get(name) {
            Some((value, origin)) => (value, origin),
            None => ("", &Origin::Default),
        }
    }

    /// Variables of the environment that look like settings and are none. They may be misspelt,
    /// or an orchestrator's, so they are worth a warning and no more.
    pub fn unknown_variables(&self) -> &[String] {
        &self.unknown
    }

    /// Whether the standard `OTEL_*` variables ask for traces to be exported.
    pub fn exports_traces(&self) -> bool {
        self.exports_traces
    }

    /// The name of this process: its host, as far as the system tells it, and its id.
    pub fn worker(&self) -> String {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| self.host.clone());
        let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
        format!("{host}-{}", std::process::id())
    }

    fn add_file(&mut self, file: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { file: file.to_owned(), source })?;
        let table = text
            .parse::<toml::Table>()
            .map_err(|source| ConfigError::Syntax { file: file.to_owned(), source: Box::new(source) })?;
        for (name, value) in table {
            let setting = find(&name)
                .ok_or_else(|| ConfigError::Unknown { file: file.to_owned(), name: name.clone() })?;
            let value = match value {
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            self.set(setting, value, Origin::File(file.to_owned()));
        }
        Ok(())
    }

    fn add_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let mut disabled = false;
        for (variable, value) in environment {
            match variable.as_str() {
                "OTEL_EXPORTER_OTLP_ENDPOINT" | "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" if !value.is_empty() => {
                    self.exports_traces = true;
                }
                "HOSTNAME" => self.host.clone_from(&value),
                "OTEL_SDK_DISABLED" => disabled |= value.eq_ignore_ascii_case("true"),
                "OTEL_TRACES_EXPORTER" => disabled |= value == "none",
                _ => {}
            }
            if !variable.starts_with(ENVIRONMENT_PREFIX) {
                continue;
            }
            match SETTINGS.iter().find(|setting| setting.environment_name() == variable) {
                Some(setting) => self.set(setting, value, Origin::Environment(variable)),
                None => self.unknown.push(variable),
            }
        }
        self.exports_traces &= !disabled;
        self.unknown.sort();
    }

    fn set(&mut self, setting: &'static Setting, value: String, origin: Origin) {
        self.values.insert(setting.name, (value, origin));
    }
}

impl fmt::Display for Layers {
    /// As a `hookbox.toml` that says where each value came from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for setting in SETTINGS {
            let (value, origin) = self.get(setting.name);
            let line = format!("{} = {}", setting.name, toml::Value::String(without_password(value)));
            writeln!(f, "{line:<44} # {origin}")?;
        }
        Ok(())
    }
}

/// A URL with its password hidden; anything else as it is. Of what is no valid URL rather too much is
/// hidden than too little: a password may have a `/` or a `?` that should have been escaped.
pub fn without_password(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if value.contains('@') => (String::new(), value),
        None => return value.to_owned(),
    };
    let shown = match rest.rsplit_once('@').map(|(info, host)| (info.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{user}:***@{host}"),
        _ => rest.to_owned(),
    };
    let Some((address, parameters)) = shown.split_once('?') else {
        return format!("{scheme}{shown}");
    };
    let shown = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{scheme}{address}?{}", shown.collect::<Vec<_>>().join("&"))
}

fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_hidden() {
        for (value, shown) in [
            ("postgres://me:s3cret@db:5432/box", "postgres://me:***@db:5432/box"),
            ("postgres://me:s3:c@ret@db", "postgres://me:***@db"),
            ("postgres://me:s3/c?r@et@db/box?a=b", "postgres://me:***@db/box?a=b"),
            ("postgres://me@db/box", "postgres://me@db/box"),
            ("postgres://db/box?PassWord=s3cret", "postgres://db/box?PassWord=***"),
            ("postgres://me:s3cret@db?sslmode=require", "postgres://me:***@db?sslmode=require"),
            ("postgres://db/box?user=me&password=s3cret&a=b", "postgres://db/box?user=me&password=***&a=b"),
            ("postgres://me:s3/cr?et@db/box", "postgres://me:***@db/box"),
            ("postgres//me:s3cret@db/box", "postgres//me:***@db/box"),
            ("sqlite://a:b@c.db", "sqlite://a:***@c.db"),
            ("30s", "30s"),
        ] {
            assert_eq!(without_password(value), shown);
        }
    }
}
