//! What can happen to a store.

use std::time::Duration;

use hookbox::domain::job::Status;
use proptest::prelude::*;
use proptest::sample::Index;

/// Keys that webhooks are sent under: few, so that they meet.
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Payloads: two, so that a key is reused now and then.
const PAYLOADS: [&str; 2] = [r#"{"n":1}"#, r#"{"n":2}"#];

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A webhook is sent.
    Accept { key: &'static str, payload: &'static str },
    /// Jobs are claimed.
    Claim { limit: usize, lease: Duration },
    /// An attempt ends under one of the leases ever given.
    Finish { claim: Index, next: Status, delay: Duration },
    /// Some of the leases ever given are renewed.
    Renew { claims: Vec<Index>, lease: Duration },
    /// Expired leases are looked for.
    TakeOver,
    /// Somebody asks for another run.
    Retry { key: &'static str, attempts: u32 },
    /// Somebody asks that it does not start.
    Cancel { key: &'static str },
    /// Time passes.
    Advance { by: Duration },
    /// What is past its retention is removed.
    Purge,
    /// The process dies, and the next one starts.
    Crash,
    /// The process stops, and starts again.
    Restart,
}

/// Any step; those that move jobs on come more often.
pub(crate) fn operations() -> impl Strategy<Value = Operation> {
    let key = || prop::sample::select(&KEYS[..]);
    let times = [0_u64, 1, 10, 1_000, 30_000, 100_000];
    let time = move || prop::sample::select(times.to_vec()).prop_map(Duration::from_millis);
    let next = prop::sample::select(vec![
        Status::Completed,
        Status::Retrying,
        Status::Retrying,
        Status::DeadLettered,
        Status::Pending,
    ]);
    let payload = prop_oneof![4 => Just(PAYLOADS[0]), 1 => Just(PAYLOADS[1])];
    prop_oneof![
        6 => (key(), payload).prop_map(|(key, payload)| Operation::Accept { key, payload }),
        6 => (0_usize..4, time()).prop_map(|(limit, lease)| Operation::Claim { limit, lease }),
        6 => (any::<Index>(), next, time())
            .prop_map(|(claim, next, delay)| Operation::Finish { claim, next, delay }),
        2 => (prop::collection::vec(any::<Index>(), 0..4), time())
            .prop_map(|(claims, lease)| Operation::Renew { claims, lease }),
        3 => Just(Operation::TakeOver),
        2 => (key(), 1_u32..3).prop_map(|(key, attempts)| Operation::Retry { key, attempts }),
        2 => key().prop_map(|key| Operation::Cancel { key }),
        4 => time().prop_map(|by| Operation::Advance { by }),
        2 => Just(Operation::Purge),
        1 => Just(Operation::Crash),
        1 => Just(Operation::Restart),
    ]
}
