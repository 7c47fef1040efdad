//! Hand-written SQL that diesel prepares once per connection, with typed binds.
//!
//! Diesel caches statements of its query builder only for selects, and for inserts of a fixed shape. The hot
//! statements here are updates, and inserts with nullable columns.

use diesel::result::DatabaseErrorKind;

/// Declares an SQL statement as a type. Its fields are the binds, in the order of the `?` in the text.
/// `returns` names the SQL types of the result columns. The text must contain `?` only as a placeholder.
macro_rules! statement {
    (
        $backend:ty;
        $(#[$doc:meta])*
        struct $name:ident $(<$life:lifetime>)? { $($field:ident: $rust:ty as $sql:ty,)* }
        returns $columns:ty;
        $text:expr
    ) => {
        $(#[$doc])*
        pub(super) struct $name $(<$life>)? { $(pub(super) $field: $rust,)* }

        const _: () = {
            use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

            pub(in crate::store) struct Cached;

            impl $(<$life>)? QueryId for $name $(<$life>)? {
                type QueryId = Cached;
                const HAS_STATIC_QUERY_ID: bool = true;
            }

            impl $(<$life>)? Query for $name $(<$life>)? {
                type SqlType = $columns;
            }

            impl<$($life,)? Connection> diesel::RunQueryDsl<Connection> for $name $(<$life>)? {}

            impl $(<$life>)? QueryFragment<$backend> for $name $(<$life>)? {
                fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> diesel::QueryResult<()> {
                    let mut texts = $text.split('?');
                    out.push_sql(texts.next().unwrap_or_default());
                    $(
                        out.push_bind_param::<$sql, $rust>(&self.$field)?;
                        out.push_sql(texts.next().unwrap_or_default());
                    )*
                    debug_assert!(texts.next().is_none(), "more `?` than fields");
                    Ok(())
                }
            }
        };
    };
}

pub(super) use statement;

/// Whether a statement breaks a constraint of a table, so that the command is at fault, and not the database. These are
/// the errors of class 23 of SQLSTATE.
pub(super) fn is_constraint(kind: &DatabaseErrorKind) -> bool {
    matches!(
        kind,
        DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation
    )
}
