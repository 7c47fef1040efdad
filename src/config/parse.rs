//! Reads the values of settings, and says what is allowed where one cannot be read.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use tracing_subscriber::EnvFilter;

use super::layers::{Layers, without_password};
use super::settings::SETTINGS;
use super::{ConfigError, Database, RateLimit};
use crate::store::postgres::InvalidTarget;
use crate::telemetry::LogFormat;

pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const ANY_DURATION: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;

/// Where webhooks are stored. The error is what is wrong with the URL of a PostgreSQL database.
pub(super) fn database(url: &str) -> Result<Database, Option<InvalidTarget>> {
    match url.strip_prefix("sqlite://") {
        // Each connection to a database in memory would have one of its own.
        Some(path) if path.is_empty() || path.contains(":memory:") => Err(None),
        Some(path) => Ok(Database::Sqlite(PathBuf::from(path))),
        None if url.starts_with("postgres") => url.parse().map(Database::Postgres).map_err(Some),
        None => Err(None),
    }
}

/// Reads one setting after the other.
pub(super) struct Reader<'a>(pub(super) &'a Layers);

impl Reader<'_> {
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<T, ConfigError> {
        self.read(name, |value| value.parse().ok())
    }

    pub(super) fn number<T: FromStr + PartialOrd>(
        &self,
        name: &str,
        allowed: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        self.read(name, |value| value.parse().ok().filter(|number| allowed.contains(number)))
    }

    pub(super) fn share(&self, name: &str) -> Result<f64, ConfigError> {
        self.number(name, 0.0..=1.0)
    }

    pub(super) fn duration(
        &self,
        name: &str,
        allowed: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        self.read(name, |value| {
            humantime::parse_duration(value).ok().filter(|duration| allowed.contains(duration))
        })
    }

    pub(super) fn bytes(&self, name: &str, allowed: RangeInclusive<usize>) -> Result<usize, ConfigError> {
        self.read(name, |value| {
            let size = value.parse::<ByteSize>().ok()?;
            usize::try_from(size.as_u64()).ok().filter(|bytes| allowed.contains(bytes))
        })
    }

    pub(super) fn database(&self, name: &str) -> Result<Database, ConfigError> {
        let mut problem = None;
        let read = self.read(name, |value| database(value).map_err(|invalid| problem = invalid).ok());
        read.map_err(|mut error| {
            // A URL has many parts: what is wrong with this one?
            if let (ConfigError::Value { allowed, .. }, Some(problem)) = (&mut error, problem) {
                allowed.push_str(&format!("; {problem}"));
            }
            error
        })
    }

    pub(super) fn rate_limit(&self, name: &str) -> Result<Option<RateLimit>, ConfigError> {
        self.read(name, |value| {
            if value.is_empty() || value == "none" {
                return Some(None);
            }
            let (quota, unit) = value.split_once('/')?;
            let seconds = match unit.trim() {
                "s" => 1,
                "m" => 60,
                "h" => 60 * 60,
                _ => return None,
            };
            let quota = quota.trim().parse::<NonZeroU32>().ok()?;
            Some(Some(RateLimit { quota, window: Duration::from_secs(seconds) }))
        })
    }

    pub(super) fn log_filter(&self, name: &str) -> Result<String, ConfigError> {
        self.read(name, |value| {
            // A bare word that is no level would be read as the name of a module.
            let levels = ["error", "warn", "info", "debug", "trace", "off"];
            let good = value.split(',').all(|directive| {
                directive.contains('=') || levels.contains(&directive.trim().to_ascii_lowercase().as_str())
            });
            (good && EnvFilter::try_new(value).is_ok()).then(|| value.to_owned())
        })
    }

    pub(super) fn log_format(&self, name: &str) -> Result<Option<LogFormat>, ConfigError> {
        self.read(name, |value| match value {
            "" => Some(None),
            "pretty" => Some(Some(LogFormat::Pretty)),
            "json" => Some(Some(LogFormat::Json)),
            _ => None,
        })
    }

    fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ConfigError> {
        let (value, origin) = self.0.get(name);
        parse(value).ok_or_else(|| ConfigError::Value {
            setting: name.to_owned(),
            value: without_password(value),
            origin: origin.clone(),
            allowed: SETTINGS
                .iter()
                .find(|setting| setting.name == name)
                .map_or("another value", |setting| setting.allowed)
                .to_owned(),
        })
    }
}
