//! The login of the page, and the cookie of the browser.

use jiff::SignedDuration;
use reqwest::Method;

use super::{Browser, cookie_of, form_token};
use crate::api::access::{EVERY_ROLE, secret, token};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite};

fn hookbox() -> Hookbox {
    let tokens = [
        token("operator", EVERY_ROLE),
        token("reader", "roles = [\"read\"]"),
        token("sender", "roles = [\"submit\"]"),
    ];
    Hookbox::with_routes(Sqlite, &tokens.concat())
}

#[tokio::test]
async fn a_browser_without_a_token_is_sent_to_the_login_and_then_where_it_wanted_to_go() {
    let hookbox = hookbox();
    let browser = Browser::of(&hookbox);
    for (path, location) in [
        ("/", "/login"),
        ("/settings", "/login?next=%2Fsettings"),
        ("/settings?a=b", "/login?next=%2Fsettings%3Fa%3Db"),
    ] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (303, location), "{path}");
    }
    let login = browser.get("/login?next=%2Fsettings%3Fa%3Db").await;
    assert_eq!(login.status, 200);
    assert!(login.text.contains("name=\"next\" value=\"/settings?a=b\""), "{}", login.text);
    let fields = [("token", secret("reader")), ("next", "/settings?a=b".to_owned())];
    let answer =
        browser.post("/login", &fields.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/settings?a=b"));
    let page = browser.with_cookie(&cookie_of(&answer)).get("/settings?a=b").await;
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains("read-only") && page.text.contains("reader"), "{}", page.text);
}

/// A larger answer takes memory from those that need a token.
#[tokio::test]
async fn the_login_is_small_whatever_it_goes_on_with() {
    let hookbox = hookbox();
    for (characters, is_kept) in [(2_000, true), (2_001, false)] {
        let next = format!("/{}", "&".repeat(characters - 1));
        let login = Browser::of(&hookbox).get(&format!("/login?next={}", next.replace('&', "%26"))).await;
        assert_eq!((login.status, login.text.contains("&amp;&amp;")), (200, is_kept));
        assert!(login.text.len() < 16 * 1024, "{} bytes", login.text.len());
    }
}

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_and_from_other_sites() {
    let hookbox = hookbox();
    let answer = Browser::of(&hookbox).post("/login", &[("token", &secret("reader"))]).await;
    let (pair, attributes) = answer.header("set-cookie").split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    assert!(pair.starts_with("hookbox=") && !pair.contains("hbx_"), "{pair}");

    let settings = [("admin_token", "hbx_0123456789abcdef"), ("public_url", "https://hooks.example")];
    let hookbox = Hookbox::with(Sqlite, &settings);
    let answer = Browser::of(&hookbox).post("/login", &[("token", "hbx_0123456789abcdef")]).await;
    assert!(
        answer.header("set-cookie").ends_with("; HttpOnly; SameSite=Strict; Secure"),
        "{:?}",
        answer.headers
    );
}

#[tokio::test]
async fn any_token_of_the_settings_fits_into_a_cookie() {
    let strange = "a;b\"c,d=e%f\\g-0123456789";
    let hookbox = Hookbox::with(Sqlite, &[("admin_token", strange)]);
    let answer = Browser::of(&hookbox).post("/login", &[("token", strange)]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    assert_eq!(Browser::of(&hookbox).with_cookie(&cookie_of(&answer)).get("/").await.status, 200);
}

#[tokio::test]
async fn a_wrong_token_is_told_and_many_of_them_are_slowed() {
    let hookbox = hookbox();
    let browser = Browser::of(&hookbox);
    for _ in 0..10 {
        let answer =
            browser.post("/login", &[("token", "hbx_wrong-and-secret"), ("next", "/settings")]).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (401, ""));
        assert!(answer.text.contains("This is not a token of this hookbox"), "{}", answer.text);
        assert!(answer.text.contains("value=\"/settings\"") && !answer.text.contains("wrong-and-secret"));
    }
    let slowed = browser.post("/login", &[("token", "hbx_wrong")]).await;
    assert_eq!((slowed.status, slowed.header("retry-after")), (429, "6"));
    // The API and the page share the count.
    hookbox.rest.with_token("hbx_wrong").get("/v1/stats").await.problem(429, "TOO_MANY_FAILED_TOKENS");
    let wrong = browser.with_cookie("hookbox=aGJ4X3dyb25n").get("/settings").await;
    assert_eq!(wrong.status, 429, "a wrong token in a cookie counts, too");
    assert_eq!(Browser::logged_in(&hookbox, "reader").await.get("/").await.status, 200);
    hookbox.advance(SignedDuration::from_secs(6));
    assert_eq!(browser.post("/login", &[("token", "hbx_wrong")]).await.status, 401);
    assert_eq!(browser.post("/login", &[("token", "")]).await.status, 401, "no token is not a wrong one");
}

#[tokio::test]
async fn a_token_that_may_not_read_sees_nothing() {
    let hookbox = hookbox();
    let browser = Browser::of(&hookbox);
    let answer = browser.post("/login", &[("token", &secret("sender"))]).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (403, ""));
    assert!(answer.text.contains("does not have the role `read`"), "{}", answer.text);
}

#[tokio::test]
async fn a_token_that_was_taken_away_leads_to_the_login_and_is_forgotten() {
    let hookbox = hookbox();
    let (reader, operator) =
        (Browser::logged_in(&hookbox, "reader").await, Browser::logged_in(&hookbox, "operator").await);
    hookbox.set_routes(&token("operator", EVERY_ROLE));
    let reload = hookbox.rest.with_token(&secret("operator")).post("/v1/settings/reload").await;
    assert_eq!(reload.status, 200, "{}", reload.text);
    let answer = reader.get("/settings").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login?next=%2Fsettings"));
    assert_eq!(answer.header("set-cookie"), "hookbox=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    assert_eq!(operator.get("/settings").await.status, 200);
}

#[tokio::test]
async fn the_login_leads_to_no_other_server_and_to_no_form() {
    let hookbox = hookbox();
    let browser = Browser::of(&hookbox);
    for next in
        ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/logout"]
    {
        let answer = browser.post("/login", &[("token", &secret("reader")), ("next", next)]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/"), "{next}");
    }
}

#[tokio::test]
async fn the_logout_has_the_browser_forget_the_token() {
    let hookbox = hookbox();
    let browser = Browser::logged_in(&hookbox, "reader").await;
    let token = form_token(&browser.get("/").await);
    let answer = browser.post("/logout", &[("form_token", &token)]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/login"));
    assert!(answer.header("set-cookie").starts_with("hookbox=; "), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_browser_that_is_logged_in_is_not_asked_again() {
    let hookbox = hookbox();
    let browser = Browser::logged_in(&hookbox, "reader").await;
    for (path, location) in
        [("/login", "/"), ("/login?next=%2Froutes", "/routes"), ("/login?next=%2F%2Fevil.example", "/")]
    {
        let answer = browser.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (303, location), "{path}");
    }
    let wrong = browser.with_cookie("hookbox=aGJ4X3dyb25n").get("/login?next=%2Froutes").await;
    assert!(wrong.status == 200 && wrong.text.contains("value=\"/routes\""), "{}", wrong.text);
}

/// The browser sends the cookie only in a request that a page of hookbox leads to.
#[tokio::test]
async fn a_link_of_another_site_leads_to_the_login_once_more_to_find_the_cookie() {
    let hookbox = hookbox();
    let browser = Browser::of(&hookbox);
    let led_by = async |site: &str, path: &str| {
        Answer::of(browser.request(Method::GET, path).header("sec-fetch-site", site)).await
    };
    let login = led_by("cross-site", "/login?next=%2Froutes").await;
    assert_eq!((login.status, login.header("refresh")), (200, "0; url=/login?again=1&next=%2Froutes"));
    for (site, path) in [
        ("cross-site", "/login?again=1&next=%2Froutes"),
        ("same-origin", "/login?next=%2Froutes"),
        ("none", "/login"),
    ] {
        assert_eq!(led_by(site, path).await.header("refresh"), "", "{site} {path}");
    }
    let logged_in = Browser::logged_in(&hookbox, "reader").await;
    assert_eq!(logged_in.get("/login?again=1&next=%2Froutes").await.header("location"), "/routes");
}

#[tokio::test]
async fn where_no_token_is_needed_there_is_no_login() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let overview = browser.get("/").await;
    assert_eq!(overview.status, 200);
    assert!(!overview.text.contains("Log out"), "{}", overview.text);
    let login = browser.get("/login").await;
    assert_eq!((login.status, login.header("location")), (303, "/"));
}
