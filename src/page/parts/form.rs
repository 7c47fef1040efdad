//! Forms: buttons that change something, and filters. They work without JavaScript.

use maud::{Markup, html};

use super::{Tone, nothing};
use crate::page::context::Context;

/// The most characters of the reason for an action.
const MAX_REASON_CHARS: usize = 500;

/// A button that changes something: a form with one button. Shown only to callers who may operate.
#[derive(Debug)]
pub(crate) struct Button<'a> {
    /// The path to which it posts, without `base_path`.
    pub(crate) action: &'a str,
    /// What it does.
    pub(crate) label: &'a str,
    /// How it looks: `Bad` for what cannot be undone.
    pub(crate) tone: Tone,
    /// Further fields, most of them hidden.
    pub(crate) fields: Markup,
}

impl<'a> Button<'a> {
    /// A button without further fields.
    pub(crate) fn new(action: &'a str, label: &'a str) -> Self {
        Self { action, label, tone: Tone::Plain, fields: nothing() }
    }

    /// The same, with another look.
    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// The same, with fields.
    pub(crate) fn fields(self, fields: Markup) -> Self {
        Self { fields, ..self }
    }

    /// The form; nothing for a caller who may not operate.
    pub(crate) fn render(&self, context: &Context) -> Markup {
        html! {
            @if context.may_operate() {
                form.inline method="post" action=(context.path(self.action)) {
                    (context.form_token())
                    (self.fields)
                    button class=(self.tone.class()) type="submit" { (self.label) }
                }
            }
        }
    }
}

/// A button that asks before it changes something: `question` and the form are shown once it is opened. `button.label` is
/// what the opener says, too. Nothing for a caller who may not operate.
pub(crate) fn confirmed(context: &Context, button: &Button<'_>, question: &str) -> Markup {
    html! {
        @if context.may_operate() {
            details.confirm {
                summary class=(format_args!("button {}", button.tone.class())) { (button.label) "…" }
                div.popover { p { (question) } (button.render(context)) }
            }
        }
    }
}

/// A field for the reason of an action. Its name is `reason`.
pub(crate) fn reason() -> Markup {
    reason_of("")
}

/// The same, filled in.
pub(crate) fn reason_of(reason: &str) -> Markup {
    let value = Some(reason).filter(|reason| !reason.is_empty());
    html! {
        label.field {
            span { "Reason" }
            input name="reason" maxlength=(MAX_REASON_CHARS) value=[value] autocomplete="off";
        }
    }
}

/// A field for a text.
pub(crate) fn input(label: &str, name: &str, value: &str) -> Markup {
    html! {
        label.field {
            span { (label) }
            input name=(name) value=(value) autocomplete="off" spellcheck="false";
        }
    }
}

/// A field for one of several values: each with what is shown. The first is the one without a filter.
pub(crate) fn choice<'a>(
    label: &str,
    name: &str,
    value: &str,
    choices: impl IntoIterator<Item = (&'a str, String)>,
) -> Markup {
    html! {
        label.field {
            span { (label) }
            select name=(name) {
                @for (choice, shown) in choices {
                    option value=(choice) selected[choice == value] { (shown) }
                }
            }
        }
    }
}

/// A form of filters, sent by GET. `path` is that of the view, without `base_path`.
pub(crate) fn filters(context: &Context, path: &str, fields: Markup) -> Markup {
    html! {
        form.filters method="get" action=(context.path(path)) role="search" {
            (fields)
            div.actions {
                button.primary type="submit" { "Filter" }
                a.button.quiet href=(context.path(path)) { "Clear" }
            }
        }
    }
}
