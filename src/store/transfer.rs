//! Moves a whole inbox from a SQLite file into a PostgreSQL database.
//!
//! The transfer marks the file before it moves the first webhook; from then on no process serves the file.
//! Webhooks move in batches, in the order of acceptance. The transaction of each batch also stores the
//! position of the transfer in the database. So a transfer can be interrupted at any moment, and the next
//! process continues: no webhook is left out or moved twice. No process serves from the database until all
//! webhooks are there and the counts of both sides are equal.

mod error;
pub(super) mod limits;
pub(super) mod mark;
pub(super) mod row_counts;
pub(super) mod stored;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

pub use self::error::TransferError;
use self::error::refused;
pub use self::limits::{BATCH_BYTES, BATCH_WEBHOOKS, Limits};
pub use self::mark::Mark;
pub use self::row_counts::{Differences, RowCounts};
use self::stored::StoredWebhook;
use super::postgres::{Import, Standing, Target};
use super::sqlite::{self, Export};
use crate::domain::clock::Clock;

/// What to move, and where to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The SQLite file.
    pub from: PathBuf,
    /// The PostgreSQL database.
    pub to: Target,
    /// A random id, used if the file has no transfer yet.
    pub id: Uuid,
    /// How much is moved at once.
    pub limits: Limits,
}

/// How a transfer begins.
#[derive(Debug)]
pub enum Begun {
    /// There are webhooks to move, or only the final counting is left.
    Ready(Box<Transfer>),
    /// The transfer of this file was finished before. Nothing is left to do.
    Finished(Mark),
}

/// A transfer under way.
#[derive(Debug)]
pub struct Transfer {
    file: Export,
    database: Box<Import>,
    to: Target,
    mark: Mark,
    limits: Limits,
    clock: Arc<dyn Clock>,
    /// The sequence of the last moved webhook.
    position: i64,
    moved: u64,
    total: u64,
    /// The next batch, if it was already read.
    ahead: Option<Vec<StoredWebhook>>,
}

impl Transfer {
    /// Opens both sides, checks that webhooks may be moved, and marks the file. Continues the transfer of the
    /// file if one was begun before.
    pub async fn begin(plan: Plan, clock: Arc<dyn Clock>) -> Result<Begun, TransferError> {
        exists(&plan.from)?;
        let file = Export::open(&plan.from, Arc::clone(&clock)).await?;
        match agree(&file, &plan, clock.now()).await {
            Ok(Agreed::Finished(mark)) => {
                file.close().await;
                Ok(Begun::Finished(mark))
            }
            Ok(Agreed::Begin { database, mark, position, moved, total }) => {
                let (to, limits) = (plan.to, plan.limits);
                let transfer =
                    Self { file, database, to, mark, limits, clock, position, moved, total, ahead: None };
                Ok(Begun::Ready(Box::new(transfer)))
            }
            Err(error) => {
                file.close().await;
                Err(error)
            }
        }
    }

    /// The number of moved webhooks, including those that earlier processes moved.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// The number of webhooks in the file, moved or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The mark of the file.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Moves the next batch. Returns false if all webhooks have been moved.
    pub async fn step(&mut self) -> Result<bool, TransferError> {
        let batch = match self.ahead.take() {
            Some(batch) => batch,
            None => self.file.batch(self.position, self.limits).await.map_err(self.unread())?,
        };
        let Some(last) = batch.last().map(|webhook| webhook.sequence) else { return Ok(false) };
        // Reads the next batch while this one is written.
        let (stored, ahead) = tokio::join!(
            self.database.store(self.mark.id, self.position, &batch),
            self.file.batch(last, self.limits),
        );
        stored.map_err(|error| refused(&self.to, error))?;
        self.position = last;
        self.moved += batch.len() as u64;
        self.ahead = Some(ahead.map_err(self.unread())?);
        Ok(true)
    }

    /// Counts the rows of both sides, and finishes the transfer if the counts are equal. Call it once all
    /// webhooks have been moved.
    pub async fn finish(&mut self) -> Result<RowCounts, TransferError> {
        let (in_file, in_database) = tokio::join!(self.file.count_rows(), self.database.count_rows());
        let in_file = in_file.map_err(self.unread())?;
        let in_database = in_database.map_err(|error| refused(&self.to, error))?;
        if let Some(differences) = Differences::between(&in_file, &in_database) {
            let path = self.file.path().to_owned();
            return Err(TransferError::Different { path, to: self.to.clone(), differences });
        }
        let now = self.clock.now();
        // The database first: if the process dies in between, the file is still marked, so no process serves
        // it, and the next transfer sees that this one was finished.
        self.move_actions().await?;
        let limits = self.file.limits().await.map_err(self.unread())?;
        let replays = self.file.replays().await.map_err(self.unread())?;
        let finishing = self.database.finish(self.mark.id, now, &limits, &replays);
        finishing.await.map_err(|error| refused(&self.to, error))?;
        self.mark.finished_at = Some(now);
        self.file.set_mark(&self.mark).await.map_err(self.unread())?;
        Ok(in_file)
    }

    /// Moves the actions that are not moved yet.
    async fn move_actions(&mut self) -> Result<(), TransferError> {
        let id = self.mark.id;
        let mut after = self.database.moved_actions(id).await.map_err(|error| refused(&self.to, error))?;
        loop {
            let actions = self.file.actions(after).await.map_err(self.unread())?;
            let Some(last) = actions.last().map(|action| action.number) else { return Ok(()) };
            let storing = self.database.store_actions(id, after, &actions);
            storing.await.map_err(|error| refused(&self.to, error))?;
            after = last;
        }
    }

    /// Closes the file, whether or not the transfer is finished.
    pub async fn close(self) {
        self.file.close().await;
    }

    fn unread(&self) -> impl Fn(crate::domain::error::Error) -> TransferError + use<> {
        let path = self.file.path().to_owned();
        move |source| TransferError::Read { path: path.clone(), source }
    }
}

/// Removes the mark of a file, so that the file can be served again. Returns the mark, or `None` if the file
/// had none.
pub fn abandon(path: &Path) -> Result<Option<Mark>, TransferError> {
    exists(path)?;
    Ok(sqlite::take_mark(path)?)
}

/// Checks that the file exists. Opening a missing file would create an empty one.
fn exists(path: &Path) -> Result<(), TransferError> {
    if path.exists() { Ok(()) } else { Err(TransferError::Missing(path.to_owned())) }
}

/// The agreement of both sides on how to continue.
enum Agreed {
    Begin { database: Box<Import>, mark: Mark, position: i64, moved: u64, total: u64 },
    Finished(Mark),
}

/// Checks on both sides that webhooks may be moved, marks the file, and adds the transfer to the database.
async fn agree(file: &Export, plan: &Plan, now: Timestamp) -> Result<Agreed, TransferError> {
    let unread = |source| TransferError::Read { path: file.path().to_owned(), source };
    let refused = |error| refused(&plan.to, error);
    let marked = file.mark().await.map_err(unread)?;
    let total = file.webhooks().await.map_err(unread)?;
    let to = plan.to.clone();
    let mut database = Import::open(&to).await.map_err(|error| TransferError::Database(Box::new(error)))?;
    let moved_to = to.to_string();
    let id = marked.as_ref().map_or(plan.id, |mark| mark.id);
    let standing = database.standing(id).await.map_err(refused)?;

    let (path, finished_at) = (file.path().to_owned(), marked.as_ref().and_then(|mark| mark.finished_at));
    let mut mark = Mark { id, moved_to, started_at: now, finished_at };
    if let Some(before) = marked {
        mark.started_at = before.started_at;
        match (standing, finished_at) {
            (Standing::Finished(at), _) => {
                mark.finished_at = finished_at.or(Some(at));
                if mark != before {
                    file.set_mark(&mark).await.map_err(unread)?;
                }
                return Ok(Agreed::Finished(mark));
            }
            (_, Some(finished_at)) => {
                return Err(TransferError::Moved { path, moved_to: before.moved_to, finished_at, to });
            }
            (Standing::Empty | Standing::Occupied(_), None) if before.moved_to != mark.moved_to => {
                return Err(TransferError::Elsewhere { path, moved_to: before.moved_to, to });
            }
            _ => {}
        }
    }
    if let Standing::Occupied(webhooks) = standing {
        return Err(TransferError::Occupied { to, webhooks });
    }
    let processes = database.others().await.map_err(refused)?;
    if !processes.is_empty() {
        return Err(TransferError::InUse { to, processes });
    }
    let queues = file.queues().await.map_err(unread)?;
    // The file first: once the database holds any webhook, no process serves the file.
    file.set_mark(&mark).await.map_err(unread)?;
    match database.begin(id, now, &queues).await.map_err(refused)? {
        Standing::UnderWay { position, moved } => {
            Ok(Agreed::Begin { database: Box::new(database), mark, position, moved, total })
        }
        Standing::Occupied(webhooks) => Err(TransferError::Occupied { to, webhooks }),
        Standing::Empty | Standing::Finished(_) => Err(TransferError::Overtaken { to }),
    }
}
