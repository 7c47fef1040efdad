//! What is where at the end of a transfer, counted row by row.

use std::fmt;

use crate::domain::job::Status;
use crate::store::StatusCounts;

/// How much one side holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Jobs by status.
    pub counts: StatusCounts,
    /// Webhooks.
    pub webhooks: u64,
    /// Attempts that have ended.
    pub attempts: u64,
}

/// What the database holds.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct DatabaseCensus {
    pub(in crate::store) census: Census,
    /// Jobs by status, as it has counted them transaction by transaction.
    pub(in crate::store) kept: StatusCounts,
}

/// Numbers that should be equal and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences(Vec<(String, u64, u64)>);

impl Differences {
    /// Compares both sides; none if they are equal.
    pub(super) fn between(file: &Census, database: &DatabaseCensus) -> Option<Self> {
        let DatabaseCensus { census, kept } = database;
        let by_status = Status::ALL
            .map(|status| (status.as_str().to_owned(), file.counts.of(status), census.counts.of(status)));
        let counted = Status::ALL.map(|status| {
            (format!("{status}, as status_counts has it"), file.counts.of(status), kept.of(status))
        });
        let all = [
            ("webhooks".to_owned(), file.webhooks, census.webhooks),
            ("attempts".to_owned(), file.attempts, census.attempts),
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
        let counts = StatusCounts::new([1, 0, 2, 3, 0, 0]);
        let file = Census { counts, webhooks: 6, attempts: 5 };
        let equal = DatabaseCensus { census: file, kept: counts };
        assert_eq!(Differences::between(&file, &equal), None);

        let other = StatusCounts::new([1, 0, 2, 4, 0, 0]);
        let census = Census { counts: other, webhooks: 7, attempts: 5 };
        let differences = Differences::between(&file, &DatabaseCensus { census, kept: counts });
        assert_eq!(
            differences.expect("they differ").to_string(),
            "webhooks: 6 in the file, 7 in the database, completed: 3 in the file, 4 in the database"
        );
        let differences = Differences::between(&file, &DatabaseCensus { census: file, kept: other });
        assert_eq!(
            differences.expect("they differ").to_string(),
            "completed, as status_counts has it: 3 in the file, 4 in the database"
        );
    }
}
