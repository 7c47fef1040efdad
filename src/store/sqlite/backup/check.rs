//! Checks a copy, and counts its rows.

use std::collections::BTreeMap;
use std::path::Path;

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use super::error::BackupError;
use crate::domain::job::Status;
use crate::store::StatusCounts;
use crate::store::sqlite::connection;
use crate::store::sqlite::counts::CountRow;
use crate::store::sqlite::open_error::OpenError;
use crate::store::sqlite::rows;
use crate::store::sqlite::schema::{attempts, jobs, status_counts, webhooks};
use crate::store::statement::statement;
use crate::store::transfer::row_counts::RowCounts;

/// Jobs by queue and status.
type Counts = BTreeMap<(i64, i64), i64>;

/// Puts the log of the copy into its file, checks the file, and counts its rows. `of` is the file that was copied.
/// Errors name that one: the copy has the faults that it has.
pub(super) fn check(copy: &Path, of: &Path) -> Result<RowCounts, BackupError> {
    let refused = |error| match error {
        OpenError::Newer { migration, .. } => BackupError::Newer { path: of.to_owned(), migration },
        OpenError::Setup { source, .. } => fault(copy, of, &source),
        OpenError::Migrate { source, .. } => {
            BackupError::Damaged { path: of.to_owned(), what: source.to_string() }
        }
        error => BackupError::Open(error),
    };
    let damaged = |what: String| BackupError::Damaged { path: of.to_owned(), what };
    let mut connection = connection::open_copy(copy).map_err(refused)?;
    let unread = |error: diesel::result::Error| fault(copy, of, &error);
    let mode = SelectJournalMode {}.get_result::<String>(&mut connection).map_err(unread)?;
    if mode != "delete" {
        return Err(damaged(format!("its write-ahead log cannot be put into the file ({mode})")));
    }
    connection::check_versions(copy, &mut connection).map_err(refused)?;
    // The quick check takes the end of a page that is cut off for zeros.
    let page_bytes = SelectPageSize {}.get_result::<i64>(&mut connection).map_err(unread)?;
    let bytes = std::fs::metadata(copy).map_err(|source| BackupError::reading(copy, source))?.len();
    if !bytes.is_multiple_of(page_bytes.cast_unsigned()) {
        return Err(damaged(format!("its {bytes} bytes are no whole number of pages of {page_bytes}")));
    }
    let found = QuickCheck {}.get_result::<String>(&mut connection).map_err(unread)?;
    if found != "ok" {
        return Err(damaged(found));
    }
    let counted = count_jobs(&mut connection).map_err(unread)?;
    let kept = kept_counts(&mut connection).map_err(unread)?;
    match difference(&counted, &kept) {
        Some(difference) => Err(damaged(difference)),
        None => row_counts(&mut connection, &counted).map_err(unread),
    }
}

fn fault(copy: &Path, of: &Path, error: &diesel::result::Error) -> BackupError {
    let what = error.to_string();
    // The text of SQLITE_FULL. Diesel does not pass its code on.
    if what.contains("disk is full") {
        return BackupError::Full(copy.to_owned());
    }
    BackupError::Damaged { path: of.to_owned(), what }
}

/// Counts the jobs row by row, because SQLite would sort them in a temporary file.
fn count_jobs(connection: &mut SqliteConnection) -> QueryResult<Counts> {
    let mut counts = Counts::new();
    for row in jobs::table.select((jobs::queue, jobs::status)).load_iter::<(i64, i64), _>(connection)? {
        *counts.entry(row?).or_default() += 1;
    }
    Ok(counts)
}

/// The counts that the store keeps.
fn kept_counts(connection: &mut SqliteConnection) -> QueryResult<Counts> {
    let rows = status_counts::table.select(CountRow::as_select()).load::<CountRow>(connection)?;
    let counts = rows.into_iter().map(|row| ((row.queue, row.status), row.count));
    Ok(counts.filter(|(_, count)| *count != 0).collect())
}

/// The first count that is wrong.
fn difference(counted: &Counts, kept: &Counts) -> Option<String> {
    let of = |counts: &Counts, key: &(i64, i64)| counts.get(key).copied().unwrap_or(0);
    let key = counted.keys().chain(kept.keys()).find(|key| of(counted, key) != of(kept, key))?;
    let ((queue, status), counted, kept) = (key, of(counted, key), of(kept, key));
    let jobs = format!("{counted} jobs of queue {queue} with status {status}");
    Some(format!("it has {jobs}, and its status_counts say {kept}"))
}

fn row_counts(connection: &mut SqliteConnection, counted: &Counts) -> QueryResult<RowCounts> {
    let mut counts = [0; Status::ALL.len()];
    for ((_, status), count) in counted {
        counts[rows::job_status(*status)? as usize] += count.cast_unsigned();
    }
    Ok(RowCounts {
        counts: StatusCounts::new(counts),
        webhooks: webhooks::table.select(count_star()).get_result::<i64>(connection)?.cast_unsigned(),
        attempts: attempts::table.select(count_star()).get_result::<i64>(connection)?.cast_unsigned(),
    })
}

statement! { Sqlite;
    struct SelectJournalMode {}
    returns Text;
    "SELECT journal_mode FROM pragma_journal_mode"
}

statement! { Sqlite;
    struct SelectPageSize {}
    returns BigInt;
    "SELECT page_size FROM pragma_page_size"
}

statement! { Sqlite;
    /// Reads every page, and says what is wrong with the first that is not as it should be; `ok` if all are.
    struct QuickCheck {}
    returns Text;
    "PRAGMA quick_check(1)"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_wrong_count_is_told_with_both_numbers() {
        let counts = |rows: &[((i64, i64), i64)]| rows.iter().copied().collect::<Counts>();
        let counted = counts(&[((1, 0), 2), ((2, 3), 7)]);
        assert_eq!(difference(&counted, &counted), None);
        for (kept, expected) in [
            (&[((1, 0), 2), ((2, 3), 8)][..], "7 jobs of queue 2 with status 3, and its status_counts say 8"),
            (&[((2, 3), 7)], "2 jobs of queue 1 with status 0, and its status_counts say 0"),
            (
                &[((1, 0), 2), ((2, 3), 7), ((3, 4), 1)],
                "0 jobs of queue 3 with status 4, and its status_counts say 1",
            ),
        ] {
            let told = difference(&counted, &counts(kept)).expect("they differ");
            assert_eq!(told, format!("it has {expected}"));
        }
    }
}
