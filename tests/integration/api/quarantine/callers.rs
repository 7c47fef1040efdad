//! Tokens that may release and discard, and what the log says of them.

use rstest::rstest;
use serde_json::Value;

use super::{SHOP, discard, quarantine, quarantined, release};
use crate::api::access::{EVERY_ROLE, rest, secret, token};
use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn a_token_releases_and_discards_only_what_it_sees(#[values(Sqlite, Postgres)] store: Store) {
    let tokens = [
        token("all", EVERY_ROLE),
        token("reader", "roles = [\"read\"]"),
        token("shop", "roles = [\"operate\"]\nsources = \"shop\""),
        token("mail", "roles = [\"operate\"]\nsources = \"mail\""),
        token("orders", "roles = [\"operate\"]\nroutes = \"default\""),
    ];
    let hookbox = Hookbox::with_routes(store, &[SHOP, tokens.concat().as_str()].concat());
    let all = rest(&hookbox, "all");
    let one = quarantine(&all, "evt-001", "{}").await;
    let two = quarantine(&all, "evt-002", "{}").await;
    for (name, status, reason) in [
        ("reader", 403, "FORBIDDEN"),
        ("mail", 404, "WEBHOOK_NOT_FOUND"),
        ("orders", 404, "WEBHOOK_NOT_FOUND"),
    ] {
        let limited = rest(&hookbox, name);
        release(&limited, &one).await.problem(status, reason);
        discard(&limited, &one).await.problem(status, reason);
    }
    for (name, listed) in [("reader", 2), ("shop", 2), ("mail", 0), ("orders", 0)] {
        assert_eq!(quarantined(&rest(&hookbox, name)).await.len(), listed, "{name}");
    }
    let shop = rest(&hookbox, "shop");
    assert_eq!(release(&shop, &one).await.text_of("id"), one);
    assert_eq!(discard(&shop, &two).await.text_of("id"), two);
}

#[tokio::test]
async fn the_log_names_the_token_that_released_or_discarded_a_webhook() {
    let place = Place::new(&[]);
    let settings = [SHOP, token("anna", EVERY_ROLE).as_str()].concat();
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
    let process = place.serve().await;
    let anna = process.rest.with_token(&secret("anna"));
    let one = quarantine(&anna, "evt-001", "{}").await;
    let two = quarantine(&anna, "evt-002", "{}").await;
    assert_eq!(release(&anna, &one).await.status, 200);
    assert_eq!(discard(&anna, &two).await.status, 200);
    let log = process.log();
    for (message, id) in
        [("a quarantined webhook is released", one), ("a quarantined webhook is discarded", two)]
    {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["message"] == message).collect::<Vec<_>>();
        let [line] = &lines[..] else { panic!("one line {message:?}: {log}") };
        assert_eq!((&line["level"], &line["actor"]), (&"INFO".into(), &"anna".into()), "{line}");
        assert_eq!((&line["webhook_id"], &line["source"]), (&id.into(), &"shop".into()), "{line}");
        assert!(line.get("duplicate_of").is_none(), "{line}");
    }
}
