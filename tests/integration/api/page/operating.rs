//! What operators do over the page: with routes, sources and replays, and what is recorded of it.

mod actions;
mod callers;
mod new_sources;
mod replays;
mod routes;
mod sources;
mod test_requests;

use super::{Browser, form_token, refused, values_of};
use crate::api::harness::client::Answer;

/// Two routes.
const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    match = { event_type = "order.*" }
    handler = "simulate"

    [[routes]]
    name = "invoices"
    match = { event_type = "invoice.*" }
    handler = "simulate"
"#;

/// The classes of pieces of a line that stand apart.
const DIVIDING: [&str; 3] = ["class=\"value\"", "class=\"hint\"", "class=\"badge "];

/// Sends a form of a view, as it is there.
async fn sent(browser: &Browser, view: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
    let page = browser.get(view).await;
    assert!(page.text.contains(&format!("method=\"post\" action=\"{action}\"")), "{action}: {}", page.text);
    let token = form_token(&page);
    let fields = [&[("form_token", token.as_str())], fields].concat();
    browser.post(action, &fields).await
}

/// Sends a form of a view, and follows it. Returns the view after it.
async fn act(browser: &Browser, view: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
    let sent = sent(browser, view, action, fields).await;
    assert_eq!(sent.status, 303, "{action}: {}", sent.text);
    let page = browser.get(sent.header("location")).await;
    assert_eq!(page.status, 200, "{}: {}", sent.header("location"), page.text);
    page
}

/// What a reader sees of a page: its text without tags.
fn words(page: &str) -> String {
    let mut text = String::new();
    let main = page.split("<main").nth(1).unwrap_or(page).split("</main>").next().unwrap_or_default();
    for piece in main.split('<').skip(1) {
        let (tag, after) = piece.split_once('>').unwrap_or((piece, ""));
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
        // These stand within a line, but for the pieces of a tile and badges.
        let is_inline = ["a", "code", "span", "time"].contains(&name);
        if !is_inline || DIVIDING.iter().any(|class| tag.contains(class)) {
            text.push(' ');
        }
        text.push_str(&unescaped(after));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of escaped text.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// The row of a table that begins with a link to this path.
#[track_caller]
fn row<'p>(page: &'p Answer, path: &str) -> &'p str {
    let link = format!("<th class=\"main\" scope=\"row\"><a href=\"{path}\">");
    let mut rows = page.text.split("<tr ").map(|row| row.split("</tr>").next().unwrap_or_default());
    rows.find(|row| row.contains(&link)).unwrap_or_else(|| panic!("no row of {path}: {}", page.text))
}
