//! Tests of what is remembered and of the limits: sets as Google could have answered them, and single keys of Plaid.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::turns::{AT_ONCE, INTERVAL};
use super::*;
use crate::domain::secret::Secret;
use crate::sources::{Keys, KnownKeys, Presets, Request, Rules, Settings, Verification, verify_with};

const SECOND: Duration = Duration::from_secs(1);

/// The rules of a preset with these settings.
fn rules(preset: &str, verify: Value, secrets: &[&str]) -> Rules {
    let mut settings = Settings::default();
    settings.set("verify", verify).expect("settings");
    let preset = &Presets::built_in().get(preset).expect("is there").settings;
    let secrets = secrets.iter().map(|secret| Secret::from((*secret).to_owned())).collect();
    Rules::new(settings.over(preset), Keys { secrets, ..Keys::default() }, true).expect("rules")
}

/// The address of the key with this id, which a token in a header names.
fn needed(rules: &Rules, header: &str, algorithm: &str, key_id: &str) -> KeyAddress {
    struct Nothing;
    impl KnownKeys for Nothing {
        fn look(&self, _: &KeyAddress) -> Known {
            Known::Nothing
        }
    }
    let token = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm, "kid": key_id }).to_string());
    let scheme = if header == "Authorization" { "Bearer " } else { "" };
    let value = format!("{scheme}{token}.e30.c2ln");
    let request = Request {
        id: "r1",
        method: "POST",
        url: None,
        query: "",
        headers: &[(header, value.as_bytes())],
        body: b"{}",
        received_at: Timestamp::UNIX_EPOCH,
    };
    match verify_with(&request, rules, &Nothing) {
        Verification::Needs(address) => *address,
        Verification::Verdict(verdict) => panic!("{verdict:?}"),
    }
}

/// The address of the key with this id in the set of Google.
fn address(key_id: &str) -> KeyAddress {
    let rules = rules("google-pubsub", json!({ "audience": "a", "email": "e" }), &[]);
    needed(&rules, "Authorization", "RS256", key_id)
}

/// The addresses of this many keys, each with an answer of its own.
fn single(count: usize) -> Vec<KeyAddress> {
    let rules = rules("plaid", json!({ "client_id": "c" }), &["s3cret"]);
    (0..count).map(|id| needed(&rules, "Plaid-Verification", "ES256", &id.to_string())).collect()
}

/// The set with this key.
fn set(key_id: &str) -> Arc<FetchedKeys> {
    let json = json!({ "keys": [{ "kty": "RSA", "kid": key_id, "n": "AQAB", "e": "AQAB" }] });
    Arc::new(address(key_id).read(json.to_string().as_bytes()).expect("a set"))
}

/// A cache that has fetched the set with this key at this time.
fn cache(key: &KeyAddress, now: Duration, max_age: Option<Duration>) -> Cache {
    let mut cache = Cache::new(1);
    assert_eq!(begun(&mut cache, key, now), [key.name()]);
    cache.end(key, now, Some((set("k"), max_age)));
    cache
}

/// The names of the keys that are fetched because a request of the source `default` needs this one. The fetches are over
/// at once, without an answer.
fn begun(cache: &mut Cache, key: &KeyAddress, now: Duration) -> Vec<String> {
    let begin = cache.begin(&Source::default(), key, now);
    begin.fetches.into_iter().map(|(address, _)| address.name().to_owned()).collect()
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
    let (mut cache, key) = (Cache::new(1), address("k"));
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
    let soon = cache.look(&new, REFRESH_AFTER - SECOND);
    assert!(matches!(soon, Known::Unavailable), "the set is not fetched again so soon");
    assert!(is_wanted(&cache, &new, REFRESH_AFTER));
    assert!(is_known(&cache, &key, REFRESH_AFTER));
    assert_eq!(begun(&mut cache, &new, REFRESH_AFTER), [new.name()]);
    cache.end(&new, REFRESH_AFTER, Some((set("new"), None)));
    assert!(is_known(&cache, &new, REFRESH_AFTER));
    let gone = cache.look(&key, REFRESH_AFTER);
    assert!(matches!(gone, Known::Unavailable), "the new set may be an old copy");
}

#[test]
fn a_fetch_that_runs_is_joined_until_it_is_over() {
    let (mut cache, key) = (Cache::new(1), address("k"));
    let [first, second] = [(); 2].map(|()| cache.begin(&Source::default(), &key, SECOND));
    assert_eq!((first.fetches.len(), second.fetches.len()), (1, 0));
    assert!(first.running.is_some() && second.running.is_some());
    // As if its task had panicked.
    drop(first);
    assert_eq!(begun(&mut cache, &key, SECOND), [key.name()]);
}

#[test]
fn new_keys_of_a_source_are_limited_and_known_ones_are_still_fetched_again() {
    let keys = single(50);
    let (mut cache, known) = (Cache::new(1), &keys[0]);
    assert_eq!(begun(&mut cache, known, Duration::ZERO), [known.name()]);
    cache.end(known, Duration::ZERO, Some((set("k"), None)));
    let now = LONGEST;
    let forged = keys[1..40].iter().map(|key| begun(&mut cache, key, now).len()).sum::<usize>();
    assert_eq!(forged, AT_ONCE as usize);
    assert_eq!(begun(&mut cache, known, now), [known.name()]);
    let other = Source::new("other").expect("a source");
    assert_eq!(cache.begin(&other, &keys[40], now).fetches.len(), 1, "each source has a limit of its own");
    assert!(cache.begin(&Source::default(), &keys[41], now).running.is_none());
    assert_eq!(begun(&mut cache, &keys[42], now + INTERVAL).len(), 1, "any of those that were named");
}

#[test]
fn few_fetches_run_at_a_time() {
    let keys = single(2 * MAX_RUNNING);
    let (mut cache, mut running) = (Cache::new(1), Vec::new());
    for (number, key) in keys.iter().enumerate() {
        let source = Source::new(format!("source{number}")).expect("a source");
        running.extend(cache.begin(&source, key, SECOND).fetches);
    }
    assert_eq!(running.len(), MAX_RUNNING);
    running.clear();
    assert_eq!(begun(&mut cache, &keys[MAX_RUNNING], SECOND).len(), 1);
}

/// Forged requests name four new keys a second, at the moments at which a fetch becomes free. A genuine request comes
/// after them every ten seconds, for five minutes.
#[test]
fn a_genuine_key_is_fetched_while_forged_requests_name_new_ones() {
    const TICKS: u32 = 600;
    let keys = single(2 * TICKS as usize + 100);
    let (genuine, forged) = keys.split_last().expect("keys");
    for seed in 0..20 {
        let (mut cache, mut forged) = (Cache::new(seed), forged.iter());
        let first = forged.by_ref().take(90).map(|key| begun(&mut cache, key, SECOND).len()).sum::<usize>();
        assert_eq!(first, AT_ONCE as usize);
        let is_fetched = (1..=TICKS).any(|tick| {
            let now = SECOND + INTERVAL * tick;
            let mut named = forged.by_ref().take(2).collect::<Vec<_>>();
            if tick % 20 == 1 {
                named.push(genuine);
            }
            let mut fetched = named.into_iter().flat_map(|key| begun(&mut cache, key, now));
            fetched.any(|name| name == genuine.name())
        });
        assert!(is_fetched, "with the seed {seed}");
    }
}

#[test]
fn visits_are_limited() {
    let mut cache = Cache::new(1);
    assert!((0..VISITS_AT_ONCE).all(|_| cache.may_visit(SECOND)));
    assert!(!cache.may_visit(SECOND));
    assert!(cache.may_visit(SECOND + VISIT_INTERVAL));
}

#[test]
fn the_memory_is_bounded() {
    let (mut cache, keys) = (Cache::new(1), set("k"));
    for at in 0..MAX_ENTRIES + 10 {
        cache.make_room(Duration::ZERO);
        let entry = Entry {
            keys: Some(Arc::clone(&keys)),
            fetched_at: Duration::from_millis(at as u64),
            asked_at: Duration::ZERO,
            until: LONGEST,
        };
        cache.entries.insert(at.to_string(), entry);
    }
    assert_eq!(cache.entries.len(), MAX_ENTRIES);
    assert!(!cache.entries.contains_key("9") && cache.entries.contains_key("10"));
    cache.make_room(STALE + LONGEST);
    assert!(cache.entries.is_empty());
}
