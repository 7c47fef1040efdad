//! The mark of a transfer: the webhooks of the file are being moved, or were moved, to a database.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use uuid::Uuid;

use super::open_error::OpenError;
use super::rows;
use crate::store::statement::statement;
use crate::store::transfer::mark::Mark;

/// The mark of the file, if it has one.
pub(super) fn read(connection: &mut SqliteConnection) -> QueryResult<Option<Mark>> {
    let row = SelectMark {}.get_result::<(Vec<u8>, String, i64, Option<i64>)>(connection).optional()?;
    let Some((id, moved_to, started_at, finished_at)) = row else { return Ok(None) };
    Ok(Some(Mark {
        id: Uuid::from_slice(&id).map_err(rows::unreadable)?,
        moved_to,
        started_at: rows::time(started_at)?,
        finished_at: finished_at.map(rows::time).transpose()?,
    }))
}

/// Marks the file, or replaces its mark.
pub(super) fn write(connection: &mut SqliteConnection, mark: &Mark) -> QueryResult<()> {
    WriteMark {
        id: mark.id.as_bytes(),
        moved_to: &mark.moved_to,
        started_at: mark.started_at.as_millisecond(),
        finished_at: mark.finished_at.map(|time| time.as_millisecond()),
    }
    .execute(connection)
    .map(|_| ())
}

/// Removes the mark of the file.
pub(super) fn remove(connection: &mut SqliteConnection) -> QueryResult<()> {
    DeleteMark {}.execute(connection).map(|_| ())
}

/// Refuses a marked file with `Moving` or `Moved`.
pub(super) fn refuse(path: &Path, connection: &mut SqliteConnection) -> Result<(), OpenError> {
    let mark = read(connection).map_err(|source| OpenError::Setup { path: path.to_owned(), source })?;
    let Some(Mark { moved_to, finished_at, .. }) = mark else { return Ok(()) };
    let path = path.to_owned();
    Err(match finished_at {
        None => OpenError::Moving { path, moved_to },
        Some(finished_at) => OpenError::Moved { path, moved_to, finished_at },
    })
}

statement! { Sqlite;
    struct SelectMark {}
    returns (Binary, Text, BigInt, Nullable<BigInt>);
    "SELECT id, moved_to, started_at, finished_at FROM transfer"
}

statement! { Sqlite;
    struct WriteMark<'a> {
        id: &'a [u8] as Binary,
        moved_to: &'a str as Text,
        started_at: i64 as BigInt,
        finished_at: Option<i64> as Nullable<BigInt>,
    }
    returns ();
    "INSERT OR REPLACE INTO transfer (number, id, moved_to, started_at, finished_at) VALUES (1, ?, ?, ?, ?)"
}

statement! { Sqlite;
    struct DeleteMark {}
    returns ();
    "DELETE FROM transfer"
}
