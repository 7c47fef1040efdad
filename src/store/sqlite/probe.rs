//! Updates a row, to check that the store can be written.

use diesel::prelude::*;

use super::schema::probe;
use super::transaction::{Refusal, Transaction};
use super::{connection, rows};
use crate::store::Probe;

pub(super) fn probe(transaction: &mut Transaction<'_>) -> Result<Probe, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    diesel::update(probe::table).set(probe::written_at.eq(now)).execute(transaction.connection)?;
    let migrations_current = connection::is_current(transaction.connection).map_err(rows::unreadable)?;
    Ok(Probe { migrations_current })
}
