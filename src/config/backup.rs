//! Reads which SQLite file `hookbox backup` and `hookbox restore` mean.

use std::path::PathBuf;

use super::Database;
use super::layers::Layers;
use super::mistake::{Mistake, Mistakes};
use super::parse::Reader;

const FILE: &str = "sqlite://<path of a file>. A PostgreSQL database is backed up with its own tools: \
    pg_dump and pg_restore, or pg_basebackup with an archive of the WAL; docs/OPERATIONS.md says how";

/// The SQLite file in the setting `database_url`. Errors: the setting is not valid, or names a PostgreSQL database.
pub fn sqlite_file(layers: &Layers) -> Result<PathBuf, Mistakes> {
    let read = Reader::new(layers);
    let Some(database) = read.database("database_url") else { return Err(Mistakes::new(read.mistakes())) };
    match database {
        Database::Sqlite(path) => Ok(path),
        Database::Postgres(_) => {
            let (url, origin) = layers.get("database_url");
            Err(Mistake::value(origin, "database_url", url, FILE).into())
        }
    }
}
