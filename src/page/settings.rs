//! The settings as `hookbox config` prints them: without anything secret.

use axum::response::Response;
use maud::html;

use super::Paths;
use super::context::{Context, Nav};
use super::parts::{self, Shown};

pub(super) fn routes() -> Paths {
    Paths::default().get("/settings", show)
}

async fn show(context: Context) -> Response {
    if context.caller.is_limited() {
        return context.failed(&context.caller.too_limited("the settings name all of them"));
    }
    let text = context.service.settings_text();
    let body = html! {
        (parts::head("Settings", parts::copy("settings", &text)))
        p.muted {
            "The settings as they were read at the start or by the last reload, each with where it comes "
            "from. Secrets are hidden. Change them in "
            code { "hookbox.toml" } " or in the environment; " code { "hookbox reload" }
            " puts routes, sources, tokens and certificates in force without a restart."
        }
        (parts::code(&text, &Shown::All))
    };
    context.page("Settings", Nav::Settings, body)
}
