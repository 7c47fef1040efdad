//! Every form of the page, sent by those who must not. The paths are those of the router, so that
//! none is forgotten.

use std::collections::BTreeSet;

use hookbox::internals::access::{Role, role_of_form};
use hookbox::internals::page;
use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN};
use serde_json::json;

use super::{Browser, form_token, refused};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite};

/// A webhook that does not exist; also where a path wants another name.
const ID: &str = "01934c3e-7b00-7000-8000-000000000000";

/// All forms but that of the login, whose field is the token itself: the path of each, and the role that it needs.
fn forms_with_roles() -> Vec<(String, Role)> {
    let posts = page::paths().into_iter().filter(|(method, _)| *method == "POST").map(|(_, path)| path);
    let named = posts.filter(|path| *path != "/login").map(|path| {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { ID } else { segment });
        (segments.collect::<Vec<_>>().join("/"), role_of_form(path))
    });
    named.collect()
}

/// The paths of all forms but that of the login.
fn forms() -> Vec<String> {
    forms_with_roles().into_iter().map(|(path, _)| path).collect()
}

fn hookbox() -> Hookbox {
    let tokens =
        [token("operator", EVERY_ROLE), token("other", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    Hookbox::with_routes(Sqlite, &tokens.concat())
}

#[tokio::test]
async fn no_form_is_accepted_without_the_token_of_a_permitted_caller() {
    let hookbox = hookbox();
    let of_readers = forms_with_roles().into_iter().filter(|(_, role)| *role == Role::Read);
    let of_readers = of_readers.map(|(path, _)| path.replace(ID, "{id}")).collect::<BTreeSet<_>>();
    let expected = ["/logout", "/webhooks/{id}", "/webhooks/{id}/body"].map(ToOwned::to_owned);
    assert_eq!(of_readers, BTreeSet::from(expected));
    let reader = Browser::logged_in(&hookbox, "reader").await;
    let of_reader = form_token(&reader.get("/").await);
    for (path, role) in forms_with_roles() {
        let stranger = Browser::of(&hookbox).post(&path, &[("form_token", &of_reader)]).await;
        assert_eq!((stranger.status, stranger.header("location")), (303, "/login"), "{path}");
        if role != Role::Read {
            refused(&reader.post(&path, &[("form_token", &of_reader)]).await, 403, "FORBIDDEN");
        }
        let reason = if role == Role::Read { "FORM_TOKEN" } else { "FORBIDDEN" };
        refused(&reader.post(&path, &[]).await, 403, reason);
    }
    nothing_has_changed(&hookbox).await;
}

#[tokio::test]
async fn no_form_is_taken_without_its_own_token() {
    let hookbox = hookbox();
    let (operator, other) =
        (Browser::logged_in(&hookbox, "operator").await, Browser::logged_in(&hookbox, "other").await);
    let own = form_token(&operator.get("/").await);
    let of_other = form_token(&other.get("/").await);
    assert_ne!(own, of_other);
    for path in forms() {
        refused(&operator.post(&path, &[]).await, 403, "FORM_TOKEN");
        for wrong in ["", "x", &own[1..], &of_other] {
            refused(&operator.post(&path, &[("form_token", wrong)]).await, 403, "FORM_TOKEN");
        }
        let twice = [("form_token", own.as_str()), ("form_token", own.as_str())];
        refused(&operator.post(&path, &twice).await, 403, "FORM_TOKEN");
        // With the cookie of another operator.
        refused(&other.post(&path, &[("form_token", &own)]).await, 403, "FORM_TOKEN");
        let in_query = operator.post(&format!("{path}?form_token={own}"), &[]).await;
        refused(&in_query, 403, "FORM_TOKEN");
    }
    nothing_has_changed(&hookbox).await;
}

#[tokio::test]
async fn no_form_is_taken_from_another_site_or_as_another_type() {
    let hookbox = hookbox();
    let operator = Browser::logged_in(&hookbox, "operator").await;
    let own = form_token(&operator.get("/").await);
    let fields = [("form_token", own.as_str())];
    for path in forms() {
        for origin in ["http://evil.example", "null"] {
            let request = operator.rest.request(reqwest::Method::POST, &path).header(ORIGIN, origin);
            let request = request.header(COOKIE, operator.cookie.as_deref().unwrap());
            let body = format!("form_token={own}");
            let answer = Answer::of(request.header(CONTENT_TYPE, super::FORM).body(body)).await;
            answer.problem(403, "ORIGIN_NOT_ALLOWED");
        }
        let as_text = operator.request(reqwest::Method::POST, &path).header(CONTENT_TYPE, "text/plain");
        let as_text = Answer::of(as_text.body(format!("form_token={own}"))).await;
        refused(&as_text, 400, "INVALID_FIELD");
        // Of the forms with a body.
        let is_large = path.ends_with("/send") || path.ends_with("/test");
        let long = "x".repeat(if is_large { 1024 * 1024 } else { 16 * 1024 });
        refused(&operator.post(&path, &[fields[0], ("reason", &long)]).await, 413, "BODY_TOO_LARGE");
    }
    nothing_has_changed(&hookbox).await;
}

#[tokio::test]
async fn every_form_is_taken_with_its_token() {
    let hookbox = hookbox();
    for path in forms() {
        let operator = Browser::logged_in(&hookbox, "operator").await;
        let own = form_token(&operator.get("/").await);
        let answer = operator.post(&path, &[("form_token", &own)]).await;
        assert!(!answer.text.contains("FORM_TOKEN") && answer.status != 403, "{path}: {}", answer.text);
        assert!(path == "/logout" || answer.header("location") != "/login", "{path}");
    }
}

#[tokio::test]
async fn where_no_token_is_needed_forms_need_that_of_the_process() {
    let hookbox = Hookbox::start(Sqlite);
    for path in forms() {
        for fields in [&[][..], &[("form_token", "")], &[("form_token", "AAAA")]] {
            refused(&Browser::of(&hookbox).post(&path, fields).await, 403, "FORM_TOKEN");
        }
    }
}

async fn nothing_has_changed(hookbox: &Hookbox) {
    let operator = rest(hookbox, "operator");
    assert_eq!(operator.get("/v1/pauses").await.json()["pauses"], json!([]));
    assert_eq!(operator.get("/v1/webhooks").await.json()["webhooks"], json!([]));
    assert_eq!(operator.get("/v1/actions").await.json()["actions"], json!([]));
}
