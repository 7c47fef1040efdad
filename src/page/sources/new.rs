//! The lines of the settings for a new source of a preset.

use maud::{Markup, html};
use serde::Deserialize;

use crate::domain::error::{Error, Result};
use crate::domain::webhook::{MAX_SOURCE_CHARS, Source};
use crate::page::context::Context;
use crate::page::parts::{self, Shown};
use crate::service::Presets;

/// The parameters that the form sends.
pub(super) const PARAMETERS: [&str; 2] = ["preset", "name"];

/// The values of the parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    preset: String,
    name: String,
}

/// The form, and the lines once a preset is chosen. Errors: `InvalidField`.
pub(super) fn section(context: &Context) -> Result<Markup> {
    let Wanted { preset, name } = context.query::<Wanted>()?;
    let lines = if preset.is_empty() { parts::nothing() } else { lines(context, &preset, &name)? };
    Ok(html! {
        section.card id="new" {
            h2 { "New source" }
            p.muted {
                "A source says how the requests of a sender are verified and read. Choose the sender to get the lines for "
                code { "hookbox.toml" } "."
            }
            form.inline method="get" action=(context.path("/sources#new")) {
                label.field {
                    span { "Sender" }
                    select name="preset" required {
                        option value="" { "Choose a preset" }
                        @for (known, of) in Presets::built_in().iter() {
                            option value=(known) selected[known == preset] { (known) ": " (of.settings.description()) }
                        }
                    }
                }
                label.field {
                    span { "Name of the source" }
                    input name="name" value=(name) maxlength=(MAX_SOURCE_CHARS) placeholder="that of the preset"
                        autocomplete="off" spellcheck="false";
                }
                button.primary type="submit" { "Show the lines" }
            }
            (lines)
        }
    })
}

/// The lines, and what to do with them.
fn lines(context: &Context, preset: &str, name: &str) -> Result<Markup> {
    let found = Presets::built_in()
        .get(preset)
        .ok_or_else(|| Error::invalid("preset", "is none that hookbox has; choose one of the list"))?;
    let source = Source::new(if name.is_empty() { preset } else { name })?;
    let is_taken =
        context.service.seen_source(&source).is_ok() || source.is_own() || source == Source::default();
    let lines = found.lines(preset, source.as_str());
    Ok(html! {
        @if is_taken {
            (parts::notice(parts::Tone::Warning, html! {
                p { "There is a source with the name " code { (source.as_str()) } " already. Write another name above." }
            }))
        }
        div.spread { h3 { "Lines to paste" } (parts::copy("lines", &lines)) }
        (parts::code(&lines, &Shown::All))
        ol {
            li {
                "Paste the lines into " code { "hookbox.toml" }
                ", and set the variables that they name, if any, to what the sender shows."
            }
            li {
                "Check them with " code { "hookbox config check" } ", and put them in force with " code { "hookbox reload" }
                ". New variables need a restart; a secret in a file, written as " code { "file:PATH" } ", does not."
            }
            li {
                "Give the sender the URL of hookbox with the path "
                code { "/v1/sources/" (source.as_str()) "/webhooks" } "."
            }
            li { "Send a test from the page of the source, and let the sender send one." }
        }
        p.muted.small {
            code { "hookbox presets show " (preset) }
            " prints all that the preset sets. Whatever you write beside it replaces that of the preset."
        }
    })
}
