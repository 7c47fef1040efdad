//! What limited tokens are not told of sources and routes that they do not see.

use rstest::rstest;
use serde_json::{Value, json};

use super::{EVERY_ROLE, rest, token};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[tokio::test]
async fn a_route_names_no_sources_that_a_token_does_not_see() {
    let route = |name: &str, sources: &str| {
        let matched = format!("{{ source = {sources}, event_type = \"order.*\" }}");
        format!("[[routes]]\nname = \"{name}\"\nhandler = \"pull\"\nmatch = {matched}\n")
    };
    let routes = [
        route("shared", r#"["crm", "shop", "erp-?"]"#),
        route("theirs", r#"["crm"]"#),
        route("ours", r#"["shop"]"#),
        "[[routes]]\nname = \"rest\"\nhandler = \"pull\"\nfallback = true\n".to_owned(),
    ];
    let tokens = [token("all", EVERY_ROLE), token("shop", "roles = [\"read\"]\nsources = \"shop\"")];
    let hookbox = Hookbox::with_routes(Sqlite, &[routes.concat(), tokens.concat()].concat());
    let sources = async |name: &str| {
        let listed = rest(&hookbox, name).get("/v1/routes").await.json();
        let listed = listed["routes"].as_array().unwrap().iter();
        listed.map(|route| route["match"]["source"].clone()).collect::<Vec<_>>()
    };
    let null = Value::Null;
    let all = [json!(["crm", "shop", "erp-?"]), json!(["crm"]), json!(["shop"]), null.clone()];
    assert_eq!(sources("all").await, all);
    assert_eq!(sources("shop").await, [json!(["shop", "erp-?"]), json!(["***"]), json!(["shop"]), null]);
}

#[rstest]
#[tokio::test]
async fn a_sender_limited_to_a_route_is_told_the_status_of_its_jobs(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let sender = |name: &str| token(name, &format!("roles = [\"submit\"]\nroutes = [\"{name}\"]"));
    let routes =
        ["orders", "audit"].map(|name| format!("[[routes]]\nname = \"{name}\"\nhandler = \"pull\"\n"));
    let tokens = [token("all", EVERY_ROLE), sender("orders"), sender("elsewhere")];
    let hookbox = Hookbox::with_routes(store, &[routes.concat(), tokens.concat()].concat());
    let all = rest(&hookbox, "all");
    let id = all.accept("evt-001").await;
    let submitted_again = async |name: &str| {
        let answer = rest(&hookbox, name).submit("evt-001", "order.created", "{}").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    };
    assert_eq!(all.post(&format!("/v1/webhooks/{id}/cancel?route=audit")).await.status, 200);
    for (name, status) in [("all", "pending"), ("orders", "pending"), ("elsewhere", "filtered")] {
        let again = submitted_again(name).await;
        assert_eq!((again.text_of("id"), again.text_of("status")), (id.clone(), status.to_owned()), "{name}");
    }
    assert_eq!(all.post(&format!("/v1/webhooks/{id}/cancel?route=orders")).await.status, 200);
    let retried = all.post(&format!("/v1/webhooks/{id}/retry?route=audit")).await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    for (name, status) in [("all", "pending"), ("orders", "cancelled"), ("elsewhere", "filtered")] {
        assert_eq!(submitted_again(name).await.text_of("status"), status, "{name}");
    }
}
