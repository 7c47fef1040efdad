//! The ends of a transfer: flags of one command, and no settings.

use std::path::PathBuf;

use super::layers::{Layers, Origin, without_password};
use super::parse::database;
use super::{Config, ConfigError, Database};
use crate::store::postgres::Target;

const FROM: &str = "sqlite://<path of a file>";

const TO: &str =
    "postgres://<user>:<password>@<host>:<port>/<database>, with the parameters of libpq behind a ?";

/// The file that the flag `--from` names.
pub fn transfer_from(url: &str) -> Result<PathBuf, ConfigError> {
    match database(url) {
        Ok(Database::Sqlite(path)) => Ok(path),
        _ => Err(not_allowed("from", url, Origin::Flag("from".to_owned()), FROM)),
    }
}

/// The database that the flag `--to` names.
pub fn transfer_to(url: &str) -> Result<Target, ConfigError> {
    match database(url) {
        Ok(Database::Postgres(target)) => Ok(target),
        _ => Err(not_allowed("to", url, Origin::Flag("to".to_owned()), TO)),
    }
}

/// The database where the flag is left out: that of the settings, where a password can be kept from
/// who lists the processes of the machine.
pub fn transfer_to_setting(layers: &Layers) -> Result<Target, ConfigError> {
    match Config::new(layers)?.database {
        Database::Postgres(target) => Ok(target),
        Database::Sqlite(_) => {
            let (url, origin) = layers.get("database_url");
            let allowed = format!("{TO}; or give --to");
            Err(not_allowed("database_url", url, origin.clone(), &allowed))
        }
    }
}

fn not_allowed(name: &str, value: &str, origin: Origin, allowed: &str) -> ConfigError {
    ConfigError::Value {
        setting: name.to_owned(),
        value: without_password(value),
        origin,
        allowed: allowed.to_owned(),
    }
}
