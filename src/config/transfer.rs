//! Reads the source and the target of a transfer, which are flags of `hookbox transfer` and not settings.

use std::path::PathBuf;

use super::Database;
use super::layers::{Layers, Origin};
use super::mistake::{Mistake, Mistakes};
use super::parse::Reader;
use super::parse::database;
use crate::store::postgres::Target;

const FROM: &str = "sqlite://<path of a file>";

const TO: &str = "postgres://<user>:<password>@<host>:<port>/<database> with libpq parameters after a ?";

/// The SQLite file that the flag `--from` names. Errors: the URL is not that of a file.
pub fn transfer_from(url: &str) -> Result<PathBuf, Mistakes> {
    match database(url) {
        Ok(Database::Sqlite(path)) => Ok(path),
        _ => Err(not_allowed("from", url, Origin::Flag("from".to_owned()), FROM)),
    }
}

/// The PostgreSQL database that the flag `--to` names. Errors: the URL is not valid.
pub fn transfer_to(url: &str) -> Result<Target, Mistakes> {
    match database(url) {
        Ok(Database::Postgres(target)) => Ok(target),
        _ => Err(not_allowed("to", url, Origin::Flag("to".to_owned()), TO)),
    }
}

/// The PostgreSQL database in the setting `database_url`, for a transfer without `--to`. Other users of the
/// machine can see flags in the list of processes; a password in a file or variable stays hidden.
/// Errors: the setting is not valid, or names a SQLite file.
pub fn transfer_to_setting(layers: &Layers) -> Result<Target, Mistakes> {
    let read = Reader::new(layers);
    let Some(database) = read.database("database_url") else { return Err(Mistakes::new(read.mistakes())) };
    match database {
        Database::Postgres(target) => Ok(target),
        Database::Sqlite(_) => {
            let (url, origin) = layers.get("database_url");
            let allowed = format!("{TO}; or give --to");
            Err(not_allowed("database_url", url, origin.clone(), &allowed))
        }
    }
}

fn not_allowed(name: &str, value: &str, origin: Origin, allowed: &str) -> Mistakes {
    Mistake::value(&origin, name, value, allowed).into()
}
