//! What every view has: the policy for browsers, the assets, and nothing that is written into the page.

use hookbox::internals::page;
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING};

use super::{Browser, refused, values_of};
use crate::api::access::{EVERY_ROLE, token};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite};

/// The most bytes of all that the first view needs.
const FIRST_VIEW_BYTES: usize = 120 * 1024;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[tokio::test]
async fn the_root_is_the_page_for_browsers_and_json_for_programs() {
    let hookbox = Hookbox::start(Sqlite);
    let page = Browser::of(&hookbox).get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.contains("<h1>Overview</h1>"), "{}", page.text);
    assert!(page.text.contains("<a href=\"/\" aria-current=\"page\">Overview</a>"), "{}", page.text);
    let data = hookbox.rest.get("/").await;
    assert_eq!((data.status, data.header("content-type")), (200, "application/json"));
    for answer in [&page, &data] {
        assert_eq!(answer.header("vary"), "Accept");
    }
    let head = Answer::of(Browser::of(&hookbox).request(Method::HEAD, "/")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn every_view_has_the_policy_and_nothing_that_it_forbids() {
    let hookbox = Hookbox::start(Sqlite);
    let views = page::paths().into_iter().filter(|(method, path)| *method == "GET" && !path.contains('{'));
    for path in views.map(|(_, path)| path).filter(|path| !["/login", "/live"].contains(path)) {
        let view = Browser::of(&hookbox).get(path).await;
        assert_eq!(
            (view.status, view.header("content-security-policy")),
            (200, POLICY),
            "{path}: {}",
            view.text
        );
        assert_eq!(
            (view.header("cache-control"), view.header("x-content-type-options")),
            ("no-store", "nosniff")
        );
        for tag in view.text.split('<').skip(1).filter(|tag| !tag.starts_with('/')) {
            let tag = tag.split('>').next().unwrap();
            assert!(!tag.starts_with("style") && !tag.contains(" style="), "{path}: {tag}");
            let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
            assert!(!tag.split(' ').any(is_handler) && !tag.contains("javascript:"), "{path}: {tag}");
        }
        for script in view.text.split("<script").skip(1) {
            let (attributes, text) = script.split_once('>').unwrap();
            assert!(attributes.contains("src=\"/assets/page-") && text.starts_with("</script>"), "{script}");
        }
        assert_eq!(view.text.matches("<h1").count(), 1, "{path}");
    }
}

#[tokio::test]
async fn every_view_says_which_parameters_of_the_address_it_does_not_have() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let id = hookbox.rest.accept("evt-001").await;
    let views = page::paths().into_iter().filter(|(method, path)| *method == "GET" && !path.contains('{'));
    let views = views.map(|(_, path)| path).filter(|path| !["/login", "/live"].contains(path));
    let of_one = [format!("/webhooks/{id}"), "/routes/default".to_owned()];
    for path in views.map(ToOwned::to_owned).chain(of_one) {
        let view = browser.get(&format!("{path}?rote=orders&%3Cb%3E=1")).await;
        let told = "so they are ignored: <code>rote</code>, <code>&lt;b&gt;</code>.";
        assert!(view.status == 200 && view.text.contains(told), "{path}: {}", view.text);
    }
    for known in [
        "/dead-letters?route=default&source=default".to_owned(),
        "/sources?preset=stripe&name=shop".to_owned(),
        "/replays?route=default&error_contains=x&page_token=2".to_owned(),
        format!("/actions?webhook_id={id}&page_token=2"),
        format!("/webhooks/{id}?body=text&all_body=1&all_results=1&skip_attempts=0"),
    ] {
        let view = browser.get(&known).await;
        assert!(view.status == 200 && !view.text.contains("are ignored"), "{known}: {}", view.text);
    }
    let old = browser.get(&format!("/actions?webhook={id}")).await;
    assert!(old.text.contains("so they are ignored: <code>webhook</code>."), "{}", old.text);
}

#[tokio::test]
async fn assets_are_kept_for_good_and_need_no_token() {
    let hookbox = Hookbox::with_routes(Sqlite, &token("operator", EVERY_ROLE));
    let browser = Browser::of(&hookbox);
    let login = browser.get("/login").await.text;
    let assets: Vec<_> = [values_of(&login, "href"), values_of(&login, "src")].concat();
    let assets: Vec<_> = assets.into_iter().filter(|path| path.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{login}");
    for path in assets {
        let asset = browser.get(path).await;
        assert_eq!((asset.status, asset.header("content-encoding")), (200, ""), "{path}");
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(asset.header("vary"), "Accept-Encoding");
        let content_type = match path.rsplit('.').next().unwrap() {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(asset.header("content-type"), content_type);
        let gzipped =
            Answer::of(browser.request(Method::GET, path).header(ACCEPT_ENCODING, "br, gzip")).await;
        assert_eq!(gzipped.header("content-encoding"), "gzip", "{path}");
    }
    assert_eq!(browser.get("/assets/page-000000000000.css").await.status, 404);
}

#[tokio::test]
async fn the_first_view_is_light() {
    let hookbox = Hookbox::start(Sqlite);
    let bytes = async |path: &str| {
        let request = hookbox.rest.request(Method::GET, path).header(ACCEPT, super::HTML);
        request.header(ACCEPT_ENCODING, "gzip").send().await.unwrap().bytes().await.unwrap().len()
    };
    let page = Browser::of(&hookbox).get("/").await.text;
    let mut sum = page.len();
    for path in [values_of(&page, "href"), values_of(&page, "src")].concat() {
        if path.starts_with("/assets/") {
            sum += bytes(path).await;
        }
    }
    assert!(sum < FIRST_VIEW_BYTES, "{sum} bytes");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing comes from elsewhere");
}

#[tokio::test]
async fn the_settings_are_shown_without_secrets_to_callers_without_limits() {
    let tokens = [token("all", EVERY_ROLE), token("some", "roles = [\"operate\"]\nroutes = [\"orders\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let settings = Browser::logged_in(&hookbox, "all").await.get("/settings").await;
    assert_eq!(settings.status, 200);
    for text in ["max_attempts = &quot;3&quot;", "[tokens.all]", "# the default"] {
        assert!(settings.text.contains(text), "{text}: {}", settings.text);
    }
    let digest =
        hookbox::internals::access::Digest::of(crate::api::access::secret("all").as_bytes()).to_hex();
    assert!(!settings.text.contains(&digest), "{}", settings.text);
    let limited = Browser::logged_in(&hookbox, "some").await.get("/settings").await;
    super::refused(&limited, 403, "FORBIDDEN");
    assert!(settings.text.contains("href=\"/settings\""), "{}", settings.text);
    assert!(!limited.text.contains("href=\"/settings\""), "it leads nowhere: {}", limited.text);
}

#[tokio::test]
async fn a_link_cannot_show_a_text_as_one_of_hookbox() {
    let hookbox = Hookbox::start(Sqlite);
    for query in [
        "notice=Evil+text",
        "notice=Evil+text&seal=",
        "notice=Evil+text&seal=AAAA",
        "seal=AAAA&notice=Evil+text",
    ] {
        let page = Browser::of(&hookbox).get(&format!("/?{query}")).await;
        assert_eq!(page.status, 200);
        assert!(!page.text.contains("Evil text"), "{query}: {}", page.text);
    }
}

#[tokio::test]
async fn a_method_that_a_view_does_not_take_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    hookbox.rest.post("/settings").await.problem(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn a_link_to_the_path_of_a_form_is_answered_with_a_page() {
    let hookbox = Hookbox::start(Sqlite);
    let id = hookbox.rest.accept("evt-001").await;
    for path in ["/pause".to_owned(), "/logout".to_owned(), format!("/webhooks/{id}/retry")] {
        let page = Browser::of(&hookbox).get(&path).await;
        refused(&page, 405, "METHOD_NOT_ALLOWED");
        assert_eq!(page.header("allow"), "POST", "{path}");
        assert!(page.text.contains("href=\"/webhooks\""), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn a_query_that_is_not_utf_8_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    for query in ["event_type=%ff", "%ff=1"] {
        refused(&Browser::of(&hookbox).get(&format!("/webhooks?{query}")).await, 400, "INVALID_FIELD");
    }
}

#[tokio::test]
async fn a_mistyped_address_is_answered_with_a_page_for_browsers_and_data_for_programs() {
    let hookbox = Hookbox::start(Sqlite);
    let page = Browser::of(&hookbox).get("/webhoks?status=pending").await;
    refused(&page, 404, "PATH_NOT_FOUND");
    assert!(
        page.text.contains("There is no such page") && page.text.contains("href=\"/webhooks\""),
        "{}",
        page.text
    );
    assert_eq!(page.header("content-security-policy"), POLICY);
    let data = hookbox.rest.get("/webhoks").await;
    data.problem(404, "PATH_NOT_FOUND");
    for answer in [&page, &data] {
        assert_eq!(answer.header("vary"), "Accept");
    }
    Browser::of(&hookbox).post("/webhoks", &[]).await.problem(404, "PATH_NOT_FOUND");
}

#[tokio::test]
async fn a_browser_without_a_token_does_not_learn_which_addresses_there_are() {
    let hookbox = Hookbox::with_routes(Sqlite, &token("reader", EVERY_ROLE));
    let answer = Browser::of(&hookbox).get("/webhoks").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?next=%2Fwebhoks"));
}
