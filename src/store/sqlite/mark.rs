//! The mark of a transfer: the webhooks of the file are being moved, or were moved, to a database.

use std::path::Path;

use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use uuid::Uuid;

use super::open_error::OpenError;
use super::rows;
use super::schema::transfer;
use crate::store::transfer::mark::Mark;

/// The row of a marked file.
#[derive(Queryable, Selectable)]
#[diesel(table_name = transfer, check_for_backend(Sqlite))]
struct MarkRow {
    id: Vec<u8>,
    moved_to: String,
    started_at: i64,
    finished_at: Option<i64>,
}

/// The mark of the file, if it has one.
pub(super) fn read(connection: &mut SqliteConnection) -> QueryResult<Option<Mark>> {
    let row = transfer::table.select(MarkRow::as_select()).first::<MarkRow>(connection).optional()?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Mark {
        id: Uuid::from_slice(&row.id).map_err(rows::unreadable)?,
        moved_to: row.moved_to,
        started_at: rows::time(row.started_at)?,
        finished_at: row.finished_at.map(rows::time).transpose()?,
    }))
}

/// Marks the file, or replaces its mark.
pub(super) fn write(connection: &mut SqliteConnection, mark: &Mark) -> QueryResult<()> {
    diesel::replace_into(transfer::table)
        .values((
            transfer::number.eq(1),
            transfer::id.eq(mark.id.as_bytes().as_slice()),
            transfer::moved_to.eq(&mark.moved_to),
            transfer::started_at.eq(mark.started_at.as_millisecond()),
            transfer::finished_at.eq(mark.finished_at.map(|time| time.as_millisecond())),
        ))
        .execute(connection)
        .map(|_| ())
}

/// Removes the mark of the file.
pub(super) fn remove(connection: &mut SqliteConnection) -> QueryResult<()> {
    diesel::delete(transfer::table).execute(connection).map(|_| ())
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
