//! Compares the row counts of both sides at the end of a transfer.

use std::fmt;

use crate::domain::job::Status;
use crate::store::StatusCounts;

/// Row counts of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Jobs by status, and webhooks without jobs.
    pub counts: StatusCounts,
    /// The number of webhooks.
    pub webhooks: u64,
    /// The number of ended attempts.
    pub attempts: u64,
}

/// Counts of the database.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct DatabaseRowCounts {
    /// The counted rows.
    pub(in crate::store) rows: RowCounts,
    /// Jobs by status, as stored in `status_counts`.
    pub(in crate::store) kept: StatusCounts,
}

/// Counts that should be equal and are not: the name, the count of the file, the count of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences(Vec<(String, u64, u64)>);

impl Differences {
    /// Compares both sides. Returns `None` if they are equal.
    pub(super) fn between(file: &RowCounts, database: &DatabaseRowCounts) -> Option<Self> {
        let DatabaseRowCounts { rows, kept } = database;
        let by_status = Status::ALL
            .map(|status| (status.as_str().to_owned(), file.counts.of(status), rows.counts.of(status)));
        let counted = Status::ALL
            .map(|status| (format!("{status} in status_counts"), file.counts.of(status), kept.of(status)));
        let all = [
            ("webhooks".to_owned(), file.webhooks, rows.webhooks),
            ("attempts".to_owned(), file.attempts, rows.attempts),
        ];
        let differ = all.into_iter().chain(by_status).chain(counted);
        let differ = differ.filter(|(_, file, database)| file != database).collect::<Vec<_>>();
        (!differ.is_empty()).then_some(Self(differ))
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (what, file, database)) in self.0.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{what}: {file} in the file, {database} in the database")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sides_have_no_differences_and_others_are_told_with_both_numbers() {
        let counts = StatusCounts::new([1, 0, 2, 3, 0, 0, 0, 0]);
        let file = RowCounts { counts, webhooks: 6, attempts: 5 };
        let equal = DatabaseRowCounts { rows: file, kept: counts };
        assert_eq!(Differences::between(&file, &equal), None);

        let other = StatusCounts::new([1, 0, 2, 4, 0, 0, 0, 0]);
        let rows = RowCounts { counts: other, webhooks: 7, attempts: 5 };
        let differences = Differences::between(&file, &DatabaseRowCounts { rows, kept: counts });
        assert_eq!(
            differences.expect("they differ").to_string(),
            "webhooks: 6 in the file, 7 in the database, completed: 3 in the file, 4 in the database"
        );
        let differences = Differences::between(&file, &DatabaseRowCounts { rows: file, kept: other });
        assert_eq!(
            differences.expect("they differ").to_string(),
            "completed in status_counts: 3 in the file, 4 in the database"
        );
    }
}
