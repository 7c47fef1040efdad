//! Counts, pauses, breakers, policies and whether due times are moved, as of the last commit, for readers that do not
//! query the file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::Memory;
use super::queries::NO_ROUTE_QUEUE;
use crate::domain::job::QueueId;
use crate::domain::policy::Policies;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::{Pause, StatusCounts, TrippedBreaker};

/// What is published of the last commit. The writer updates it after each commit.
#[derive(Debug, Default)]
pub(super) struct Committed(Mutex<Published>);

/// A copy of what the writer knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    pub(super) queues: BTreeMap<QueueId, QueueCounts>,
    pub(super) unrouted: StatusCounts,
    pub(super) pauses: Vec<Pause>,
    pub(super) breakers: Vec<TrippedBreaker>,
    pub(super) policies: Arc<Policies>,
    /// Whether waiting jobs may still go by a time before the clock was set back.
    is_moving: bool,
}

/// A queue and its counts.
#[derive(Clone, Debug)]
pub(super) struct QueueCounts {
    pub(super) route: RouteName,
    pub(super) source: Source,
    pub(super) counts: StatusCounts,
}

impl Committed {
    pub(super) fn get(&self) -> Published {
        self.lock().clone()
    }

    pub(super) fn pauses(&self) -> Vec<Pause> {
        self.lock().pauses.clone()
    }

    pub(super) fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.lock().policies)
    }

    /// Whether waiting jobs may still go by a time before the clock was set back.
    pub(super) fn is_moving(&self) -> bool {
        self.lock().is_moving
    }

    /// Publishes everything that the writer knows.
    pub(super) fn publish_all(&self, memory: &Memory) {
        let mut published = self.lock();
        *published = Published::default();
        let queues = memory.queues.iter().map(|(id, _)| id).chain([NO_ROUTE_QUEUE]);
        queues.for_each(|queue| published.set_counts(memory, queue));
        published.pauses = memory.pauses().to_vec();
        published.breakers = memory.breakers.tripped();
        published.policies = Arc::clone(memory.policies());
        published.is_moving = memory.time_of_day.is_moving();
    }

    /// Publishes the counts of the queues that a commit changed, and everything else.
    pub(super) fn publish(&self, memory: &Memory, changed: impl Iterator<Item = QueueId>) {
        let mut published = self.lock();
        changed.for_each(|queue| published.set_counts(memory, queue));
        if published.pauses != memory.pauses() {
            published.pauses = memory.pauses().to_vec();
        }
        published.breakers = memory.breakers.tripped();
        published.policies = Arc::clone(memory.policies());
        published.is_moving = memory.time_of_day.is_moving();
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    fn set_counts(&mut self, memory: &Memory, queue: QueueId) {
        let counts = memory.counts.of(queue);
        if queue == NO_ROUTE_QUEUE {
            self.unrouted = counts;
        } else if let Some(known) = self.queues.get_mut(&queue) {
            known.counts = counts;
        } else if let Some((route, source)) = memory.queues.name(queue) {
            let (route, source) = (route.clone(), source.clone());
            self.queues.insert(queue, QueueCounts { route, source, counts });
        }
    }
}
