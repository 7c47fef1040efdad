//! Tests of what is remembered and of the limits, with keys of a set that Google could have answered.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::sources::{Keys, KnownKeys, Presets, Request, Rules, Settings, Verification, verify_with};

const SECOND: Duration = Duration::from_secs(1);

/// The address of the key with this id.
fn address(key_id: &str) -> KeyAddress {
    struct Nothing;
    impl KnownKeys for Nothing {
        fn look(&self, _: &KeyAddress) -> Known {
            Known::Nothing
        }
    }
    let mut settings = Settings::default();
    settings.set("verify", json!({ "audience": "a", "email": "e" })).expect("settings");
    let preset = &Presets::built_in().get("google-pubsub").expect("is there").settings;
    let rules = Rules::new(settings.over(preset), Keys::default(), true).expect("rules");
    let header = json!({ "alg": "RS256", "kid": key_id }).to_string();
    let credentials = format!("Bearer {}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
    let request = Request {
        id: "r1",
        method: "POST",
        url: None,
        query: "",
        headers: &[("Authorization", credentials.as_bytes())],
        body: b"{}",
        received_at: Timestamp::UNIX_EPOCH,
    };
    match verify_with(&request, &rules, &Nothing) {
        Verification::Needs(address) => *address,
        Verification::Verdict(verdict) => panic!("{verdict:?}"),
    }
}

/// The set with this key.
fn set(key_id: &str) -> Arc<FetchedKeys> {
    let json = json!({ "keys": [{ "kty": "RSA", "kid": key_id, "n": "AQAB", "e": "AQAB" }] });
    Arc::new(address(key_id).read(json.to_string().as_bytes()).expect("a set"))
}

/// A cache that has fetched the set with this key at this time.
fn cache(key: &KeyAddress, now: Duration, max_age: Option<Duration>) -> Cache {
    let mut cache = Cache::default();
    assert!(matches!(cache.begin(key, now), Begin::Fetch(..)));
    cache.end(key, now, Some((set("k"), max_age)));
    cache
}

fn is_known(cache: &Cache, key: &KeyAddress, now: Duration) -> bool {
    matches!(cache.look(key, now), Known::Keys(_))
}

fn is_wanted(cache: &Cache, key: &KeyAddress, now: Duration) -> bool {
    matches!(cache.look(key, now), Known::Nothing)
}

#[test]
fn a_key_is_used_as_long_as_the_server_says_within_the_limits() {
    let key = address("k");
    for (max_age, used) in [
        (None, LONGEST),
        (Some(Duration::ZERO), SHORTEST),
        (Some(600 * SECOND), 600 * SECOND),
        (Some(Duration::MAX), LONGEST),
    ] {
        let cache = cache(&key, SECOND, max_age);
        assert!(is_known(&cache, &key, SECOND + used - Duration::from_nanos(1)), "{max_age:?}");
        assert!(is_wanted(&cache, &key, SECOND + used), "{max_age:?}");
    }
}

#[test]
fn a_failure_is_remembered_for_a_short_time() {
    let (mut cache, key) = (Cache::default(), address("k"));
    assert!(is_wanted(&cache, &key, Duration::ZERO));
    cache.end(&key, Duration::ZERO, None);
    assert!(matches!(cache.look(&key, FAILED_FOR - SECOND), Known::Unavailable));
    assert!(is_wanted(&cache, &key, FAILED_FOR));
}

#[test]
fn a_key_that_cannot_be_fetched_again_is_used_for_a_day() {
    let (key, other) = (address("k"), address("other"));
    let mut cache = cache(&key, Duration::ZERO, None);
    let mut now = LONGEST;
    while now < STALE {
        assert!(is_wanted(&cache, &key, now), "{now:?}");
        cache.end(&key, now, None);
        assert!(is_known(&cache, &key, now), "{now:?}");
        let other = cache.look(&other, now);
        assert!(matches!(other, Known::Unavailable), "it may be in the set that was not answered");
        now += LONGEST;
    }
    cache.end(&key, now, None);
    assert!(matches!(cache.look(&key, now), Known::Unavailable));
}

#[test]
fn a_key_that_is_not_in_the_set_has_the_set_fetched_again_once_a_minute() {
    let (key, new) = (address("k"), address("new"));
    let mut cache = cache(&key, Duration::ZERO, None);
    assert!(is_known(&cache, &new, REFRESH_AFTER - SECOND), "the set is not asked for again so soon");
    assert!(is_wanted(&cache, &new, REFRESH_AFTER));
    assert!(is_known(&cache, &key, REFRESH_AFTER));
    assert!(matches!(cache.begin(&new, REFRESH_AFTER), Begin::Fetch(..)));
    cache.end(&new, REFRESH_AFTER, Some((set("new"), None)));
    assert!(is_known(&cache, &new, REFRESH_AFTER));
}

#[test]
fn a_fetch_that_runs_is_joined_until_it_is_over() {
    let (mut cache, key) = (Cache::default(), address("k"));
    let Begin::Fetch(ended, _running) = cache.begin(&key, SECOND) else { panic!("does not begin") };
    assert!(matches!(cache.begin(&key, SECOND), Begin::Join(_)));
    // As if its task had panicked.
    drop(ended);
    assert!(matches!(cache.begin(&key, SECOND), Begin::Fetch(..)));
}

#[test]
fn new_keys_are_limited_and_known_ones_are_still_fetched_again() {
    let key = address("k");
    let mut cache = cache(&key, Duration::ZERO, None);
    let google = KeyServer::Google;
    assert!((1..NEW_KEYS_PER_MINUTE).all(|_| cache.may_be_new(google, SECOND)));
    assert!(!cache.may_be_new(google, MINUTE - SECOND));
    assert!(cache.may_be_new(KeyServer::Plaid, SECOND), "each sender has a limit of its own");
    assert!(matches!(cache.begin(&key, SECOND), Begin::Fetch(..)), "it was there before");
    assert!(cache.may_be_new(google, MINUTE));
}

#[test]
fn visits_are_limited() {
    let mut cache = Cache::default();
    assert!((0..VISITS_PER_MINUTE).all(|_| cache.may_visit(SECOND)));
    assert!(!cache.may_visit(SECOND));
    assert!(cache.may_visit(SECOND + MINUTE));
}

#[test]
fn the_memory_is_bounded() {
    let (mut cache, keys) = (Cache::default(), set("k"));
    for at in 0..MAX_ENTRIES + 10 {
        cache.make_room(Duration::ZERO);
        let entry = Entry {
            keys: Some(Arc::clone(&keys)),
            fetched_at: Duration::from_millis(at as u64),
            asked_at: Duration::ZERO,
            until: LONGEST,
            has_failed: false,
        };
        cache.entries.insert(at.to_string(), entry);
    }
    assert_eq!(cache.entries.len(), MAX_ENTRIES);
    assert!(!cache.entries.contains_key("9") && cache.entries.contains_key("10"));
    cache.make_room(STALE + LONGEST);
    assert!(cache.entries.is_empty());
}
