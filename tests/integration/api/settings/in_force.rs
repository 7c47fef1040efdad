//! The settings in force while they are replaced: whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hookbox::internals::access::{Access, Caller, Digest, Tokens};
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::handler::HandlerSettings;
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::route::RouteName;
use hookbox::internals::domain::webhook::Source;
use hookbox::internals::routes::{RouteSettings, Routes};
use hookbox::internals::service::reload::{Reloaded, SettingsInForce, Snapshot};
use hookbox::internals::sources::{Keys, Rules, Settings, SourceMap, SourceRules};
use hookbox::internals::store::Store as _;
use hookbox::internals::store::sqlite::{Options, SqliteStore};

fn compiled(name: &str) -> Arc<Routes> {
    let retry = RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1);
    let mut settings = RouteSettings::everything(HandlerSettings::default(), retry);
    settings.policy.route = RouteName::new(name).unwrap();
    Arc::new(Routes::new(vec![settings]).unwrap())
}

fn one_source() -> Arc<SourceMap> {
    let name = Source::new("shop").unwrap();
    let mut settings = Settings::default();
    settings.set("verify", toml::Value::from("none")).unwrap();
    settings.set("key", toml::Value::from("body")).unwrap();
    let rules = Rules::new(settings, Keys::default(), false).unwrap();
    let source = SourceRules { name: name.clone(), preset: None, rules, public_url: None };
    Arc::new(SourceMap::from([(name, Arc::new(source))]))
}

#[tokio::test]
async fn a_reload_that_the_store_refuses_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let before = compiled("before");
    let path = folder.path().join("inbox.db");
    let options = Options { path, max_backlog: 1, policies: before.policies(), seed: 1 };
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let access = Access::new(Arc::default(), Arc::clone(&clock) as _);
    let store = SqliteStore::open(options, clock, Arc::default()).await.unwrap();
    store.close().await;
    let caller = Caller::unlimited("after", Some(Digest::of(b"token")));
    let tokens = Arc::new(Tokens::new([caller], false));
    let read = move || {
        let (routes, sources, tokens) = (compiled("after"), one_source(), Arc::clone(&tokens));
        let text = "after".into();
        Ok(Reloaded { routes, sources, tokens, tls: None, text, needs_restart: Vec::new() })
    };
    let in_force = SettingsInForce::new(before, Arc::new(read)).with_text("before".into());
    in_force.reload(&store, &access).await.expect_err("the store is closed");
    assert!(!access.needs_tokens());
    assert!(in_force.sources().is_empty());
    assert_eq!(&*in_force.text(), "before", "the page shows what is in force");
    for policies in [in_force.policies().get(), in_force.routes().policies()] {
        let names = policies.iter().map(|policy| policy.route.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names, ["before"]);
    }
}

/// Versions with a source and a token take turns with versions without them.
#[tokio::test]
async fn a_snapshot_has_the_routes_sources_and_tokens_of_one_version() {
    const RELOADS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let before = compiled("before");
    let path = folder.path().join("inbox.db");
    let options = Options { path, max_backlog: 1, policies: before.policies(), seed: 1 };
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let access = Arc::new(Access::new(Arc::default(), Arc::clone(&clock) as _));
    let store = SqliteStore::open(options, clock, Arc::default()).await.unwrap();
    let reads = AtomicUsize::new(0);
    let read = move || {
        let (routes, sources, tokens) = if reads.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            let caller = Caller::unlimited("after", Some(Digest::of(b"token")));
            (compiled("after"), one_source(), Arc::new(Tokens::new([caller], false)))
        } else {
            (compiled("before"), Arc::default(), Arc::default())
        };
        let text = Arc::default();
        Ok(Reloaded { routes, sources, tokens, tls: None, text, needs_restart: Vec::new() })
    };
    let in_force = Arc::new(SettingsInForce::new(before, Arc::new(read)));
    let running = Arc::new(());
    let looker = {
        let (in_force, access, running) = (Arc::clone(&in_force), Arc::clone(&access), Arc::clone(&running));
        std::thread::spawn(move || {
            // It ends with the test, however that ends.
            while Arc::strong_count(&running) > 1 {
                let Snapshot { routes, sources, tokens } = in_force.snapshot(&access);
                let is_after = routes.policies().iter().any(|policy| policy.route.as_str() == "after");
                assert_eq!((!sources.is_empty(), tokens.are_needed()), (is_after, is_after));
            }
        })
    };
    for _ in 0..RELOADS {
        in_force.reload(&store, &access).await.unwrap();
    }
    drop(running);
    looker.join().unwrap();
    store.close().await;
}
