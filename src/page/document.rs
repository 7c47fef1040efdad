//! The document around each view: head, navigation, and what every view has.

use maud::{DOCTYPE, Markup, html};

use super::context::{Context, Nav};
use super::{Shared, assets, parts};

/// The views in the navigation, with their names and paths.
const VIEWS: [(Nav, &str, &str); 8] = [
    (Nav::Overview, "Overview", "/"),
    (Nav::Webhooks, "Webhooks", "/webhooks"),
    (Nav::DeadLetters, "Dead letters", "/dead-letters"),
    (Nav::Routes, "Routes", "/routes"),
    (Nav::Sources, "Sources", "/sources"),
    (Nav::Replays, "Replays", "/replays"),
    (Nav::Actions, "Actions", "/actions"),
    (Nav::Settings, "Settings", "/settings"),
];

/// The keys, with what they do.
const KEYS: [(&str, &str); 7] = [
    ("/", "Search or filter"),
    ("j", "Next row"),
    ("k", "Previous row"),
    ("Enter", "Open the row"),
    ("r", "Retry the row, or this webhook"),
    ("Esc", "Close what is open, or stop a search"),
    ("?", "Show these keys"),
];

/// The document of a view, for a caller who was let in.
pub(super) fn document(
    context: &Context,
    title: &str,
    at: Option<Nav>,
    notice: Option<&str>,
    body: &Markup,
) -> Markup {
    let content = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            (brand(&context.path("/")))
            nav.views aria-label="Views" {
                @for (view, name, path) in VIEWS.into_iter().filter(|(view, ..)| sees(context, *view)) {
                    a href=(context.path(path)) aria-current=[(at == Some(view)).then_some("page")] { (name) }
                }
            }
            (session(context))
        }
        main id="main" tabindex="-1" {
            @if let Some(notice) = notice {
                div.notice.good role="status" data-once { p { (parts::text(notice)) } }
            }
            (body)
        }
        (footer(context))
        dialog id="keys" aria-labelledby="keys-title" {
            h2 id="keys-title" { "Keys" }
            dl.keys { @for (key, does) in KEYS { div { dt { kbd { (key) } } dd { (does) } } } }
            form method="dialog" { button type="submit" { "Close" } }
        }
    };
    whole(&context.shared, title, Some(&context.path("/live")), &content)
}

/// Whether the caller may open a view.
fn sees(context: &Context, view: Nav) -> bool {
    view != Nav::Settings || !context.caller.is_limited()
}

/// A document without navigation, for a client that was not let in.
pub(super) fn bare(shared: &Shared, title: &str, body: &Markup) -> Markup {
    let root = format!("{}/", shared.pages.base_path);
    let content = html! {
        header.top { (brand(&root)) }
        main id="main" { (body) }
    };
    whole(shared, title, None, &content)
}

/// A document. `live` is the path of the stream that tells of changes.
fn whole(shared: &Shared, title: &str, live: Option<&str>, content: &Markup) -> Markup {
    let asset = |asset: &assets::Asset| format!("{}/assets/{}", shared.pages.base_path, asset.name());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · hookbox" }
                link rel="stylesheet" href=(asset(assets::css()));
                link rel="icon" type="image/svg+xml" href=(asset(assets::icon()));
                script type="module" src=(asset(assets::script())) {}
            }
            body data-stream=[live] { (content) }
        }
    }
}

fn brand(root: &str) -> Markup {
    html! {
        a.brand href=(root) {
            svg viewBox="0 0 16 16" width="18" height="18" aria-hidden="true" {
                path d="M2 6.5 8 9.5l6-3M2 6.5V12l6 2.5 6-2.5V6.5M5 4.5l3 1.5 3-1.5M8 1v5" {}
            }
            "hookbox"
        }
    }
}

/// The name of the token that is logged in, with the logout.
fn session(context: &Context) -> Markup {
    let is_read_only = !context.may_operate();
    html! {
        div.session {
            button.quiet.live type="button" hidden id="live" aria-pressed="true" { "Live" }
            @if context.service.access().needs_tokens() {
                span.who {
                    (context.caller.name())
                    @if is_read_only { " " (parts::badge(parts::Tone::Plain, "read-only")) }
                }
                form.inline method="post" action=(context.path("/logout")) {
                    (context.form_token())
                    button.quiet type="submit" { "Log out" }
                }
            }
        }
    }
}

fn footer(context: &Context) -> Markup {
    html! {
        footer {
            span { "hookbox " (env!("CARGO_PKG_VERSION")) }
            span { (parts::moment(context.now, context.now)) }
            // The documentation is not served under a prefix.
            @if context.shared.pages.base_path.is_empty() { a href="/docs/" { "REST API" } }
        }
    }
}
