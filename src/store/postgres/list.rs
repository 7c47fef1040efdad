//! Lists of webhooks, newest first. Each statement reads a bounded number of rows.
//!
//! Each window first finds places to look at: those that an index has, or all of a range. Then one statement selects the
//! webhooks at these places that match.

mod conditions;
mod names;
mod oldest;
mod places;

use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use self::conditions::{AmongPlaces, Conditions, InRange, SelectMatching, Within};
pub(super) use self::oldest::oldest;
use self::places::Places;
use super::pool::{answer, refused};
use super::queries;
use super::rows::{self, NamesRow};
use super::schema::webhooks;
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::domain::id::Position;
use crate::domain::webhook::WebhookStatus;
use crate::store::list::{self, Candidates, Lister, Look, Names, Window};
use crate::store::{ListQuery, Page};

/// One page of the matching webhooks.
pub(super) async fn list(shared: &Shared, query: ListQuery) -> Result<Page> {
    let names = if query.needs_sources() || query.needs_routes() {
        let mut connection = shared.asking.get().await.map_err(refused)?;
        let names = answer(names::look_up(&mut connection, &query)).await;
        connection.release(names).map_err(refused)?
    } else {
        Names { sources: None, queues: None }
    };
    let names = names.narrowed(&query)?;
    if names.is_nothing() {
        return Ok(Page::default());
    }
    let query = Arc::new(query);
    let lister = PostgresLister { shared, query: Arc::clone(&query), names };
    list::page(&lister, shared.clock.as_ref(), &query).await
}

/// Reads one list. A webhook is named by its id.
struct PostgresLister<'a> {
    shared: &'a Shared,
    query: Arc<ListQuery>,
    names: Names<i32>,
}

#[async_trait]
impl Lister for PostgresLister<'_> {
    type Place = Uuid;

    fn before(place: Uuid) -> Position {
        Position::before(rows::id(place))
    }

    async fn window(&self, look: Look) -> Result<Window> {
        let mut connection = self.shared.asking.get().await.map_err(refused)?;
        let looking = async {
            let found = self.find(&mut connection, look, look.wanted).await?;
            let places = found.places.into_iter().map(|(place, _)| place).collect::<Vec<_>>();
            let webhooks = statuses(self.shared, &mut connection, places).await?;
            QueryResult::Ok(Window { webhooks, rows: found.rows, next: found.next })
        };
        let looking = answer(looking).await;
        connection.release(looking).map_err(refused)
    }

    async fn candidates(&self, look: Look) -> Result<Candidates<Uuid>> {
        let mut connection = self.shared.asking.get().await.map_err(refused)?;
        let looking = answer(self.find(&mut connection, look, usize::MAX)).await;
        connection.release(looking).map_err(refused)
    }

    async fn matching(&self, places: Vec<Uuid>) -> Result<Vec<Uuid>> {
        let mut connection = self.shared.asking.get().await.map_err(refused)?;
        let reading = answer(payloads(&mut connection, places)).await;
        let payloads = connection.release(reading).map_err(refused)?;
        let query = Arc::clone(&self.query);
        // Comparing takes as long as the payloads are large.
        let matching = tokio::task::spawn_blocking(move || matching(&query, &payloads));
        matching.await.map_err(Error::internal)
    }

    async fn statuses(&self, places: Vec<Uuid>) -> Result<Vec<WebhookStatus>> {
        let mut connection = self.shared.asking.get().await.map_err(refused)?;
        let reading = answer(statuses(self.shared, &mut connection, places)).await;
        connection.release(reading).map_err(refused)
    }
}

impl PostgresLister<'_> {
    /// The next webhooks that match all filters but that of the body, `limit` at most.
    async fn find(
        &self,
        connection: &mut AsyncPgConnection,
        look: Look,
        limit: usize,
    ) -> QueryResult<Candidates<Uuid>> {
        let area = places::next(connection, &self.query, &self.names, look).await?;
        let within = match area.places {
            Places::From(from) => Within::Range(InRange { before: place(look.before), from }),
            Places::Among(places) => Within::Among(AmongPlaces { places }),
        };
        let conditions = Conditions::of(&self.query, &self.names);
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = SelectMatching { within, conditions: &conditions, limit: most };
        let found = found.load::<(Uuid, i32)>(connection).await?;
        // The next window begins after the last webhook that was found, also if that has been removed when its status is
        // read.
        let last = found.last().map(|(place, _)| *place).filter(|_| found.len() >= limit);
        let bytes = |bytes: i32| usize::try_from(bytes).unwrap_or_default();
        Ok(Candidates {
            next: last.or(area.next).map(PostgresLister::before),
            places: found.into_iter().map(|(place, length)| (place, bytes(length))).collect(),
            rows: area.rows,
        })
    }
}

/// A webhook with its payload and the content type of that.
#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks)]
struct PayloadRow {
    id: Uuid,
    content_type: String,
    payload: Option<Vec<u8>>,
}

async fn payloads(connection: &mut AsyncPgConnection, places: Vec<Uuid>) -> QueryResult<Vec<PayloadRow>> {
    let payloads = webhooks::table.filter(webhooks::id.eq_any(places)).select(PayloadRow::as_select());
    payloads.load(connection).await
}

/// Those of these webhooks whose body matches, newest first.
fn matching(query: &ListQuery, payloads: &[PayloadRow]) -> Vec<Uuid> {
    let matches = |row: &&PayloadRow| {
        query.body.as_ref().is_none_or(|filter| {
            let content_type = rows::content_type(&row.content_type);
            row.payload.as_ref().is_some_and(|payload| filter.matches(payload, &content_type))
        })
    };
    let mut found = payloads.iter().filter(matches).map(|row| row.id).collect::<Vec<_>>();
    found.sort_unstable_by(|one, other| other.cmp(one));
    found
}

/// The status of these webhooks, newest first. Leaves out webhooks that were removed since they were found.
async fn statuses(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    places: Vec<Uuid>,
) -> QueryResult<Vec<WebhookStatus>> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let names = webhooks::table.filter(webhooks::id.eq_any(places)).select(NamesRow::as_select());
    let mut names = names.load::<NamesRow>(connection).await?;
    names.sort_unstable_by_key(|names| std::cmp::Reverse(names.id));
    queries::with_jobs(&shared.schedule, connection, names).await
}

pub(super) fn place(position: Position) -> Uuid {
    Uuid::from_bytes(*position.as_bytes())
}
