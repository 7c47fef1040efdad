//! Bodies of any kind come out byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox::internals::grpc::proto;
use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use super::{PULLED, SHOP, answer_of, begin, header, request, sign, stored};
use crate::api::handlers::http::target::{OK, Target};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::api::work;

/// The member by which `SHOP` says that its bodies are JSON.
const JSON: &str = "content_type = \"application/json\"\n";

async fn send(rest: &Rest, key: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
    let request = request(rest, Method::POST, "shop").header("X-Id", key).body(body.to_vec());
    let request = request.header("X-Signature", sign("s3cret", body));
    Answer::of(match content_type {
        Some(content_type) => request.header("content-type", content_type),
        None => request,
    })
    .await
}

#[rstest]
#[tokio::test]
async fn every_body_comes_out_as_it_came_whatever_its_content_type(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, SHOP].concat());
    let all_bytes = (0..=255).collect::<Vec<u8>>();
    let bytes = "application/octet-stream";
    for (number, (content_type, body)) in [
        (Some("application/x-www-form-urlencoded"), &b"payload=%7B%22a%22%3A1%7D&b=c+d"[..]),
        (Some("text/plain; charset=utf-8"), "Za\u{17c}\u{f3}\u{142}\u{107}\n".as_bytes()),
        (Some("application/xml"), b"<a b=\"c\">\r\n</a>"),
        (Some("application/vnd.shop+json"), b"{ \"a\" : 1.50,\"a2\":[ ] }\n"),
        // Not what their content type says; they are verified, so they must not be lost.
        (Some("application/json"), b"{\"a\":1,"),
        (Some("application/json"), b"{\"a\":1,\"a\":2}"),
        (Some("application/json"), b"\xff"),
        (Some("application/json"), b""),
        (Some("image/png"), &all_bytes),
        (None, b"anything"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = send(&hookbox.rest, &format!("evt-{number}"), content_type, body).await;
        assert_eq!(answer.status, 202, "{content_type:?}: {}", answer.text);
        let id = answer.text_of("id");
        let text = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.text;
        let webhook = serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert_eq!(webhook["content_type"], content_type.unwrap_or(bytes), "{number}");
        let json = content_type.is_some_and(|kind| kind.contains("json"))
            && serde_json::from_slice::<serde_json::Value>(body).is_ok();
        match std::str::from_utf8(body) {
            Ok(body) if json => {
                assert!(text.contains(&format!(r#""payload":{}"#, body.trim_end())), "{number}: {text}");
            }
            Ok(body) => assert_eq!(webhook["payload_text"], body, "{number}"),
            Err(_) => assert_eq!(webhook["payload_base64"], STANDARD.encode(body), "{number}"),
        }
        let again = send(&hookbox.rest, &format!("evt-{number}"), content_type, body).await;
        assert_eq!((again.status, again.text_of("id")), (200, id), "{number}");
    }
    assert_eq!(stored(&hookbox.rest, "shop").await.len(), 10);
}

#[rstest]
#[tokio::test]
async fn json_that_many_clients_cannot_read_does_not_spoil_the_answer_that_it_is_in(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[PULLED, SHOP].concat());
    let deep = ["[".repeat(30_000), "]".repeat(30_000)].concat();
    let bodies = [r#"{"a":1}"#, r#"{"t":"cut \ud83d"}"#, &deep];
    for (number, body) in bodies.into_iter().enumerate() {
        let (key, content_type) = (format!("evt-{number}"), Some("application/json"));
        assert_eq!(send(&hookbox.rest, &key, content_type, body.as_bytes()).await.status, 202);
    }
    let request = json!({ "routes": ["pulled"], "worker": "w" });
    let jobs = work::call(&hookbox.rest, "lease", &request).await.json()["jobs"].clone();
    let shown = |number: usize| {
        let key = format!("evt-{number}");
        let mut jobs = jobs.as_array().unwrap().iter();
        jobs.find(|job| job["idempotency_key"] == key.as_str())
            .unwrap_or_else(|| panic!("no {key}: {jobs:?}"))
    };
    assert_eq!(shown(0)["payload"], json!({ "a": 1 }));
    for number in [1, 2] {
        let id = shown(number)["webhook_id"].as_str().unwrap();
        for answer in [shown(number), &hookbox.rest.webhook(id).await] {
            assert_eq!((&answer["payload_text"], answer.get("payload")), (&json!(bodies[number]), None));
        }
        assert_eq!(hookbox.rest.get(&format!("/v1/webhooks/{id}/body")).await.text, bodies[number]);
        let request = proto::GetWebhookRequest { id: id.to_owned(), ..Default::default() };
        let webhook = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
        assert_eq!(
            (webhook.payload_bytes.as_deref(), webhook.payload_json),
            (Some(bodies[number].as_bytes()), None)
        );
    }
}

#[rstest]
#[tokio::test]
async fn half_a_character_in_a_body_keeps_it_from_no_route_and_from_no_order(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let routes = r#"
        [[routes]]
        name = "deploy"
        handler = "pull"
        where = 'has(body.ref) && body.ref == "main"'

        [[routes]]
        name = "all"
        handler = "pull"
        order_by = "/ref"
    "#;
    let source = format!("{SHOP}event_type = {{ json = \"/type\" }}\n");
    let hookbox = Hookbox::with_routes(store, &[routes, &source].concat());
    let cut = br#"{"ref":"main","message":"cut \ud83d","type":"push"}"#;
    for (key, body) in [("evt-001", &br#"{"ref":"main","type":"push"}"#[..]), ("evt-002", cut)] {
        assert_eq!(send(&hookbox.rest, key, Some("application/json"), body).await.status, 202);
    }
    let leased = async |route: &str| {
        let request = json!({ "routes": [route], "worker": "w" });
        let jobs = work::call(&hookbox.rest, "lease", &request).await.json()["jobs"].clone();
        let mut names = Vec::new();
        for job in jobs.as_array().unwrap() {
            names.push(format!("{} {}", job["idempotency_key"], job["event_type"]));
        }
        names.sort();
        names
    };
    assert_eq!(leased("deploy").await, [r#""evt-001" "push""#, r#""evt-002" "push""#]);
    assert_eq!(leased("all").await, [r#""evt-001" "push""#], "the other one waits for it");
    let found =
        hookbox.rest.get("/v1/webhooks?body_pointer=/message&body_equals=cut%20%EF%BF%BD").await.json();
    assert_eq!(found["webhooks"][0]["idempotency_key"], "evt-002", "{found}");
    let deploy = hookbox.rest.get("/v1/routes").await.json()["routes"][0].clone();
    assert_eq!((&deploy["route"], &deploy["match_failures"]), (&json!("deploy"), &json!(0)), "{deploy}");
}

/// Unlike what is submitted to the source `default`.
#[rstest]
#[tokio::test]
async fn bodies_are_compared_byte_for_byte(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let json = Some("application/json");
    assert_eq!(send(&hookbox.rest, "evt-001", json, br#"{"a":1}"#).await.status, 202);
    let text = send(&hookbox.rest, "evt-001", Some("text/plain"), br#"{"a":1}"#).await;
    assert_eq!(text.status, 200, "{}", text.text);
    let other = send(&hookbox.rest, "evt-001", json, br#"{ "a":1 }"#).await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn routes_look_into_forms_and_texts() {
    let routes = r#"
        [[routes]]
        name = "form"
        where = 'has(body.team) && body.team == "T1"'
        handler = "pull"
        [[routes]]
        name = "text"
        where = 'body.contains("urgent")'
        handler = "pull"
    "#;
    let hookbox = Hookbox::with_routes(Sqlite, &[routes, SHOP].concat());
    for (key, content_type, body, route) in [
        ("evt-001", "application/x-www-form-urlencoded", &b"team=T1&text=a%20b"[..], "form"),
        ("evt-002", "text/plain", b"this is urgent", "text"),
    ] {
        let id = send(&hookbox.rest, key, Some(content_type), body).await.text_of("id");
        let jobs = hookbox.rest.webhook(&id).await["jobs"].clone();
        assert_eq!(jobs.as_array().map(Vec::len), Some(1), "{jobs}");
        assert_eq!(jobs[0]["route"], route);
    }
}

#[rstest]
#[tokio::test]
async fn the_content_type_that_a_source_sets_wins_over_that_of_the_request(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let routes = r#"
        [[routes]]
        name = "paid"
        where = 'body.type == "paid"'
        order_by = "/order"
        handler = "pull"
    "#;
    let hookbox = Hookbox::with_routes(store, &[routes, SHOP, JSON].concat());
    let mut ids = Vec::new();
    for (key, content_type) in [("evt-001", Some("text/plain; charset=UTF-8")), ("evt-002", None)] {
        let answer = send(&hookbox.rest, key, content_type, br#"{"type":"paid","order":"A-1"}"#).await;
        ids.push(answer.text_of("id"));
    }
    let request = json!({ "routes": ["paid"], "worker": "w" });
    let jobs = work::call(&hookbox.rest, "lease", &request).await.json()["jobs"].clone();
    let [job] = &jobs.as_array().unwrap()[..] else { panic!("the other one waits for the first: {jobs}") };
    let shown = (&job["content_type"], &job["payload"]["order"]);
    assert_eq!(shown, (&json!("application/json"), &json!("A-1")));
    let webhook = hookbox.rest.webhook(&ids[0]).await;
    assert_eq!(webhook["content_type"], "application/json");
    assert_eq!(header(&webhook, "content-type"), ["text/plain; charset=UTF-8"], "is kept as it came");
    let found = hookbox.rest.get("/v1/webhooks?body_pointer=/order&body_equals=A-1").await.json();
    assert_eq!(found["webhooks"].as_array().map(Vec::len), Some(2), "{found}");

    // As with any body that is not what its content type says.
    let invalid = send(&hookbox.rest, "evt-003", Some("text/plain"), b"{\"type\":").await;
    assert_eq!(invalid.status, 202, "{}", invalid.text);
    let webhook = hookbox.rest.webhook(&invalid.text_of("id")).await;
    let shown = (&webhook["content_type"], &webhook["payload_text"], &webhook["status"]);
    assert_eq!(shown, (&json!("application/json"), &json!("{\"type\":"), &json!("filtered")));
    let route = hookbox.rest.get("/v1/routes").await.json()["routes"][0].clone();
    let failure = route["last_match_failure"].as_str().unwrap_or_default();
    assert!(failure.contains("it is not valid JSON"), "{route}");
}

#[tokio::test]
async fn a_delivery_has_the_content_type_that_its_source_sets() {
    let target = Target::start([OK]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &[target.route("").as_str(), SHOP, JSON].concat());
    let id = send(&hookbox.rest, "evt-001", Some("text/plain"), b"{}").await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    let [request] = &target.received()[..] else { panic!("one request") };
    assert_eq!((&*request.body, request.header("content-type")), (&b"{}"[..], "application/json"));
}

#[tokio::test]
async fn a_compressed_body_is_refused_because_the_signature_is_over_what_was_sent() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    for encodings in [&["gzip"][..], &["identity", "br"]] {
        let request = super::signed_with(&hookbox.rest, "s3cret", "evt-001", "{}");
        let add =
            |request: reqwest::RequestBuilder, encoding: &&str| request.header("content-encoding", *encoding);
        let answer = Answer::of(encodings.iter().fold(request, add)).await;
        answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let identity = super::signed_with(&hookbox.rest, "s3cret", "evt-001", "{}");
    assert_eq!(Answer::of(identity.header("content-encoding", "identity")).await.status, 202);
}

#[tokio::test]
async fn little_of_a_long_header_is_kept_of_a_request_that_is_refused() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let request = super::signed_with(&hookbox.rest, "s3cret", "evt-001", "{}");
    let answer = Answer::of(request.header("content-encoding", "x".repeat(32 * 1024))).await;
    let told = answer.problem(415, "UNSUPPORTED_MEDIA_TYPE")["detail"].clone();
    let list = hookbox.rest.get("/v1/sources/shop/rejections").await.json();
    assert_eq!(list["rejections"][0]["detail"], told);
    assert!(told.as_str().is_some_and(|detail| detail.len() < 1_000), "{told}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_one_just_small_enough_is_not() {
    let hookbox = Hookbox::with_routes(Sqlite, &[PULLED, SHOP].concat());
    let body = |bytes: usize| vec![b'a'; bytes];
    let largest = send(&hookbox.rest, "evt-001", Some("text/plain"), &body(1024 * 1024)).await;
    assert_eq!(largest.status, 202, "{}", largest.text);
    let larger = send(&hookbox.rest, "evt-002", Some("text/plain"), &body(1024 * 1024 + 1)).await;
    larger.problem(413, "BODY_TOO_LARGE");
    let webhooks = stored(&hookbox.rest, "shop").await;
    assert_eq!(webhooks.len(), 1);
    let webhook = hookbox.rest.webhook(&largest.text_of("id")).await;
    assert_eq!(webhook["payload_text"], json!("a".repeat(1024 * 1024)));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_as_an_overload_of_its_source() {
    let with_429 = SHOP.replace("sources.shop", "sources.calm") + "answer = { overload = 429 }\n";
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{SHOP}{with_429}"));
    let slow = async |source: &str| {
        let begun = begin(&hookbox.rest, &format!("/v1/sources/{source}/webhooks"), 2, "").await;
        answer_of(begun).await
    };
    let (shop, calm) = tokio::join!(slow("shop"), slow("calm"));
    for (answer, status) in [(shop, "HTTP/1.1 503"), (calm, "HTTP/1.1 429")] {
        assert!(answer.starts_with(status) && answer.contains("BODY_TIMEOUT"), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"), "{answer}");
    }
}
