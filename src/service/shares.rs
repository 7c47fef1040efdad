//! Limits on what there is at once in this process, with a share for each holder: one alone cannot keep the others out.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::error::{Error, Reason, Result};

/// The `Retry-After` when there is no place.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The places for things of one kind.
#[derive(Debug)]
pub struct Shares {
    /// What has a place, in the plural, for errors.
    what: &'static str,
    most: usize,
    most_of_one: usize,
    free: Arc<Semaphore>,
    /// The free places of each holder that has some.
    free_of_one: Mutex<HashMap<Box<str>, Arc<Semaphore>>>,
}

/// A place, free again when it is dropped.
#[derive(Debug)]
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_one: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// At most `most` at once, of which one holder has at most `most_of_one`. `what` names them in the plural.
    pub fn new(most: usize, most_of_one: usize, what: &'static str) -> Self {
        let free = Arc::new(Semaphore::new(most));
        Self { what, most, most_of_one, free, free_of_one: Mutex::default() }
    }

    /// Takes a place. Without a holder, only the limit for all counts. Errors: `StoreUnavailable` if all places are
    /// taken, or the holder has its share.
    pub fn take(&self, holder: Option<&str>) -> Result<Place> {
        let of_one =
            |holder| self.of_one(holder).try_acquire_owned().map_err(|_| self.share_is_taken(holder));
        let of_one = holder.map(of_one).transpose()?;
        let of_all = Arc::clone(&self.free).try_acquire_owned().map_err(|_| self.all_are_taken())?;
        Ok(Place { _of_all: of_all, _of_one: of_one })
    }

    /// The same, but waits for a place until `time_is_up`.
    pub async fn take_in_time(
        &self,
        holder: Option<&str>,
        time_is_up: impl Future<Output = ()>,
    ) -> Result<Place> {
        let mut time_is_up = pin!(time_is_up);
        let of_one = match holder {
            Some(holder) => Some(tokio::select! {
                biased;
                of_one = self.of_one(holder).acquire_owned() => of_one.map_err(Error::internal)?,
                () = &mut time_is_up => return Err(self.share_is_taken(holder)),
            }),
            None => None,
        };
        let of_all = tokio::select! {
            biased;
            of_all = Arc::clone(&self.free).acquire_owned() => of_all.map_err(Error::internal)?,
            () = &mut time_is_up => return Err(self.all_are_taken()),
        };
        Ok(Place { _of_all: of_all, _of_one: of_one })
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.most - self.free.available_permits()
    }

    /// The free places of a holder.
    fn of_one(&self, holder: &str) -> Arc<Semaphore> {
        let mut free_of_one = self.free_of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(free) = free_of_one.get(holder) {
            return Arc::clone(free);
        }
        // A place, and the wait for one, have the semaphore, too.
        free_of_one.retain(|_, free| Arc::strong_count(free) > 1);
        let free = Arc::new(Semaphore::new(self.most_of_one));
        free_of_one.insert(holder.into(), Arc::clone(&free));
        free
    }

    fn all_are_taken(&self) -> Error {
        let Self { what, most, .. } = self;
        refused(format!("there are {most} {what}, which is the most at once; try again in a moment"))
    }

    fn share_is_taken(&self, holder: &str) -> Error {
        let Self { what, most, most_of_one, .. } = self;
        refused(format!(
            "`{holder}` has {most_of_one} of at most {most} {what}, which is its share; try again when one of them has \
             ended"
        ))
    }
}

fn refused(detail: String) -> Error {
    Error::new(Reason::StoreUnavailable, detail).retry_after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt as _;

    use super::*;

    /// Two of three places are the share of a holder.
    fn shares() -> Shares {
        Shares::new(3, 2, "streams")
    }

    #[test]
    fn places_are_limited_and_free_again_when_they_are_dropped() {
        let shares = shares();
        let [first, _second, _third] = [None; 3].map(|holder| shares.take(holder).expect("is free"));
        let error = shares.take(None).expect_err("none is free");
        assert_eq!((error.reason(), error.retry_delay()), (Reason::StoreUnavailable, Some(RETRY_AFTER)));
        assert_eq!(error.detail(), "there are 3 streams, which is the most at once; try again in a moment");
        drop(first);
        assert_eq!(shares.taken(), 2);
        assert!(shares.take(Some("one")).is_ok());
    }

    #[test]
    fn a_holder_has_its_share_and_leaves_the_rest_to_others() {
        let shares = shares();
        let [first, _second] = ["one"; 2].map(|holder| shares.take(Some(holder)).expect("is free"));
        let error = shares.take(Some("one")).expect_err("has its share");
        assert!(error.detail().starts_with("`one` has 2 of at most 3 streams"), "{error}");
        let other = shares.take(Some("other")).expect("is free");
        let error = shares.take(Some("other")).expect_err("all are taken");
        assert!(error.detail().starts_with("there are 3 streams"), "{error}");
        drop((first, other));
        assert!(shares.take(Some("one")).is_ok());
    }

    #[test]
    fn holders_without_a_place_are_forgotten() {
        let shares = shares();
        for holder in ["one", "two", "three"] {
            drop(shares.take(Some(holder)).expect("is free"));
        }
        let of_one = shares.free_of_one.lock().expect("is not poisoned");
        assert_eq!(of_one.keys().map(|holder| &**holder).collect::<Vec<_>>(), ["three"]);
    }

    #[tokio::test]
    async fn a_wait_ends_with_a_place_or_when_the_time_is_up() {
        let shares = shares();
        let [first, _second] = ["one"; 2].map(|holder| shares.take(Some(holder)).expect("is free"));
        let mut waiting = pin!(shares.take_in_time(Some("one"), pending()));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        let _first = waiting.await.expect("is free");
        let refused =
            async |holder| shares.take_in_time(holder, ready(())).await.expect_err("no time is left");
        assert!(refused(Some("one")).await.detail().starts_with("`one` has 2"));
        let _third = shares.take_in_time(None, ready(())).await.expect("is free");
        for holder in [None, Some("other")] {
            assert!(refused(holder).await.detail().starts_with("there are 3"));
        }
    }
}
