//! Lists and counts.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

#[rstest]
#[tokio::test]
async fn all_pages_together_have_every_webhook_once_newest_first(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut ids = Vec::new();
    for number in 0..23 {
        ids.push(hookbox.rest.accept(&format!("evt-{number}")).await);
        hookbox.advance(SignedDuration::from_millis(number % 3));
    }
    ids.reverse();
    for page_size in [1, 7, 23, 500] {
        let mut seen: Vec<String> = Vec::new();
        let mut token = String::new();
        loop {
            let query = format!("/v1/webhooks?page_size={page_size}&page_token={token}");
            let page = hookbox.rest.get(&query).await.json();
            let webhooks = page["webhooks"].as_array().unwrap();
            assert!(webhooks.len() <= page_size);
            seen.extend(ids_of(&page));
            token = page["next_page_token"].as_str().unwrap().to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, ids, "in pages of {page_size}");
    }
    let page = hookbox.rest.get("/v1/webhooks").await.json();
    assert_eq!(ids_of(&page), ids, "up to 50 by default");
}

#[rstest]
#[tokio::test]
async fn new_webhooks_do_not_shift_the_pages_of_a_list(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(hookbox.rest.accept(&format!("evt-{number}")).await);
    }
    ids.reverse();
    let first = hookbox.rest.get("/v1/webhooks?page_size=2").await.json();
    hookbox.rest.accept("late").await;
    let token = first["next_page_token"].as_str().unwrap();
    let second = hookbox.rest.get(&format!("/v1/webhooks?page_size=2&page_token={token}")).await.json();
    assert_eq!([ids_of(&first), ids_of(&second)].concat(), ids);
}

#[rstest]
#[tokio::test]
async fn every_filter_and_all_of_them_together_narrow_the_list(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no")]);
    let dead = hookbox.rest.submit("dead", "order.created", "1").await.text_of("id");
    hookbox.wait_for(&dead, "dead_lettered").await;
    hookbox.advance(SignedDuration::from_secs(1));
    let created = hookbox.rest.submit("created", "order.created", "1").await.text_of("id");
    hookbox.advance(SignedDuration::from_secs(1));
    let paid = hookbox.rest.submit("paid", "order.paid", "1").await.text_of("id");
    hookbox.wait_for(&created, "completed").await;
    hookbox.wait_for(&paid, "completed").await;

    for (filter, expected) in [
        ("status=completed", vec![&paid, &created]),
        ("status=dead_lettered", vec![&dead]),
        ("status=cancelled", vec![]),
        ("status=completed,dead_lettered", vec![&paid, &created, &dead]),
        ("status=completed&status=dead_lettered", vec![&paid, &created, &dead]),
        ("status=cancelled&event_type=order.created&status=dead_lettered%2Cretrying", vec![&dead]),
        ("status=", vec![&paid, &created, &dead]),
        ("status=&status=dead_lettered,", vec![&dead]),
        ("status=filtered", vec![]),
        ("route=default", vec![&paid, &created, &dead]),
        ("route=default&status=dead_lettered", vec![&dead]),
        ("route=default&status=dead_lettered,filtered", vec![&dead]),
        ("route=other", vec![]),
        ("source=default", vec![&paid, &created, &dead]),
        ("source=other", vec![]),
        ("event_type=order.created", vec![&created, &dead]),
        ("event_type=order.create", vec![]),
        ("accepted_after=2026-03-01T12:00:01Z", vec![&paid, &created]),
        ("accepted_after=2026-03-01T12:00:01.001Z", vec![&paid]),
        ("accepted_after=2026-03-01T12:00:01.0001Z", vec![&paid]),
        ("accepted_before=2026-03-01T12:00:01Z", vec![&dead]),
        ("accepted_before=2026-03-01T12:00:01.0001Z", vec![&created, &dead]),
        ("accepted_before=2026-03-01T13:00:02%2B01:00", vec![&created, &dead]),
        ("accepted_after=2026-03-01T12:00:01Z&accepted_before=2026-03-01T12:00:02Z", vec![&created]),
        (
            "status=completed&source=default&event_type=order.created&accepted_after=2026-01-01T00:00:00Z",
            vec![&created],
        ),
        ("status=dead_lettered&event_type=order.paid", vec![]),
    ] {
        let page = hookbox.rest.get(&format!("/v1/webhooks?{filter}")).await.json();
        assert_eq!(ids_of(&page).iter().collect::<Vec<_>>(), expected, "{filter}");
    }
}

#[rstest]
#[tokio::test]
async fn a_list_of_several_statuses_is_complete_over_its_pages(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut expected = Vec::new();
    for (key, step, status) in [
        ("dead-1", Step::FailForGood("no"), "dead_lettered"),
        ("done-1", Step::Complete(json!(1)), "completed"),
        ("later-1", Step::Fail("later"), "retrying"),
        ("dead-2", Step::FailForGood("no"), "dead_lettered"),
        ("done-2", Step::Complete(json!(2)), "completed"),
    ] {
        hookbox.handler.will([step]);
        let id = hookbox.rest.accept(key).await;
        hookbox.wait_for(&id, status).await;
        if status != "completed" {
            expected.push(id);
        }
    }
    expected.reverse();
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let query = format!("/v1/webhooks?status=dead_lettered,retrying&page_size=1&page_token={token}");
        let page = hookbox.rest.get(&query).await.json();
        seen.extend(ids_of(&page));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected);
}

#[rstest]
#[tokio::test]
async fn an_entry_of_a_list_is_the_status_of_its_webhook(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let page = hookbox.rest.get("/v1/webhooks").await.json();
    assert_eq!(page["webhooks"][0], hookbox.rest.get(&format!("/v1/webhooks/{id}/status")).await.json());
    assert_eq!(page["next_page_token"], "");
}

#[rstest]
#[tokio::test]
async fn the_statistics_count_every_status_and_show_the_oldest_job(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "1"), ("max_attempts", "2")]);
    hookbox.handler.will([Step::FailForGood("no"), Step::Fail("later")]);
    for (key, status) in [("dead", "dead_lettered"), ("later", "retrying"), ("done", "completed")] {
        let id = hookbox.rest.accept(key).await;
        hookbox.wait_for(&id, status).await;
    }
    let gate = hookbox.handler.will_hold();
    hookbox.rest.accept("held").await;
    hookbox.wait_for_runs(4).await;
    let cancelled = hookbox.rest.accept("cancelled").await;
    hookbox.rest.post(&format!("/v1/webhooks/{cancelled}/cancel")).await;
    hookbox.rest.accept("waiting").await;
    hookbox.advance(SignedDuration::from_secs(30));

    let stats = hookbox.rest.get("/v1/stats").await.json();
    let counts = json!({
        "pending": 1, "processing": 1, "retrying": 1, "completed": 1, "dead_lettered": 1, "cancelled": 1,
        "filtered": 0, "quarantined": 0,
    });
    assert_eq!(stats["counts"], counts);
    assert_eq!(stats["oldest_due_seconds"], 30.0);
    assert_eq!(stats["pauses"], json!([]));
    let route = json!({
        "route": "default", "handler": "simulate", "in_settings": true, "counts": counts,
        "oldest_due_seconds": 30.0, "paused": false, "match_failures": 0, "last_match_failure": null,
    });
    assert_eq!(stats["routes"], json!([route]));
    assert_eq!(stats["workers"], json!({ "total": 1, "busy": 1 }));
    assert_eq!(stats["rates"]["accepted_per_second"], 6.0 / 60.0);
    assert_eq!(stats["rates"]["completed_per_second"], 1.0 / 60.0);
    drop(gate);
    eventually("an idle inbox", || async {
        let stats = hookbox.rest.get("/v1/stats").await.json();
        (stats["counts"]["completed"] == 4 && stats["workers"]["busy"] == 0).then_some(())
    })
    .await;
}

fn ids_of(page: &Value) -> Vec<String> {
    let webhooks = page["webhooks"].as_array().expect("webhooks");
    webhooks.iter().map(|webhook| webhook["id"].as_str().unwrap().to_owned()).collect()
}
