//! A command that sends a webhook to hookbox again.
//!
//! People paste it into a shell, and its parts come from a stranger. So it has no character between quotes
//! that any usual shell or terminal treats specially: what has one is sent in base64, or left out.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{Markup, html};
use serde_json::Value;

use super::body::file_name;
use crate::domain::headers::{HIDDEN, OF_CONNECTION};
use crate::domain::hidden::is_hidden;
use crate::domain::webhook::Source;
use crate::page::context::Context;
use crate::page::parts::{self, Shown, code};
use crate::service::view::WebhookView;

/// The longest body that is written into the command.
const MAX_INLINE_BYTES: usize = 16 * 1024;

/// The server if its URL is not known, or cannot be written: as `hookbox send` and the other commands find it.
const SERVER: &str = "${HOOKBOX_URL:-http://127.0.0.1:8080}";

/// What to do before a command that reads the body from its file.
const DOWNLOAD_FIRST: &str = "Download the body into the folder first.";

/// Why there is no command for a large body.
const TOO_LONG: &str = "There is no command: the body is too long to be written into one, and the key or the event type has \
    characters that a shell may treat specially. Download the body, and send it with “hookbox send”.";

/// Headers besides [`OF_CONNECTION`] that `curl` makes itself, or that belong to one request or one trace.
const OWN_HEADERS: [&str; 8] = [
    "accept",
    "accept-encoding",
    "content-type",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "user-agent",
    "via",
];

/// A command, and what to know before it is run.
#[derive(Debug, PartialEq, Eq)]
struct Command {
    text: String,
    hints: Vec<&'static str>,
}

/// The command, with a button that copies it, or why there is none.
pub(super) fn section(context: &Context, webhook: &WebhookView) -> Markup {
    let needs_token = context.service.access().needs_tokens();
    let is_sent = !webhook.status.source.is_own();
    let Some(body) = webhook.payload.as_deref().filter(|_| is_sent) else { return parts::nothing() };
    let command = command(webhook, body, needs_token, context.server().as_deref());
    html! {
        section.card {
            div.spread {
                h2 { "Send it again" }
                @if let Ok(Command { text, .. }) = &command {
                    div.actions { (parts::copy("command", text)) }
                }
            }
            @match &command {
                Ok(Command { text, hints }) => {
                    (code(text, &Shown::All))
                    ul.small.muted { @for hint in hints { li { (hint) } } }
                },
                Err(why) => { p.small.muted { (why) } },
            }
        }
    }
}

/// The command that sends a body again to this server. Errors: why there is none.
fn command(
    webhook: &WebhookView,
    body: &[u8],
    needs_token: bool,
    server: Option<&str>,
) -> Result<Command, &'static str> {
    let source = &webhook.status.source;
    let mut hints = Vec::new();
    let (path, body, lines) = if *source == Source::default() {
        hints.push(
            "If hookbox already has this key, it answers with that webhook. Change the key to send a new one.",
        );
        let token = needs_token.then(|| "-H \"Authorization: Bearer $HOOKBOX_TOKEN\"".to_owned());
        let lines = header("content-type", "application/json").into_iter().chain(token).collect::<Vec<_>>();
        ("/v1/webhooks".to_owned(), Body::of_envelope(webhook, body, &mut hints)?, lines)
    } else {
        hints.push("If hookbox already has this key, it answers with that webhook and runs nothing again.");
        let lines = headers(webhook, &mut hints);
        (format!("/v1/sources/{source}/webhooks"), Body::of(webhook, body, &mut hints), lines)
    };
    let url = server.and_then(|server| quoted(&format!("{server}{path}")));
    let url = url.unwrap_or_else(|| format!("\"{SERVER}{path}\""));
    let mut text = format!("{}curl -sS -X POST {url}", body.piped);
    for line in lines.iter().chain([&body.option]) {
        text.push_str(" \\\n  ");
        text.push_str(line);
    }
    Ok(Command { text, hints })
}

/// How a body gets into a command.
struct Body {
    /// What comes before `curl`.
    piped: String,
    option: String,
}

impl Body {
    /// The body of `POST /v1/webhooks`. Errors: why it cannot be written.
    fn of_envelope(
        webhook: &WebhookView,
        payload: &[u8],
        hints: &mut Vec<&'static str>,
    ) -> Result<Self, &'static str> {
        let status = &webhook.status;
        let [key, event_type] = [status.idempotency_key.as_str(), status.event_type.as_str()]
            .map(|text| Value::from(text).to_string());
        let before = format!(r#"{{"idempotency_key":{key},"event_type":{event_type},"payload":"#);
        if payload.len() <= MAX_INLINE_BYTES {
            return Ok(Self::written(&[before.as_bytes(), payload, b"}"].concat()));
        }
        // `curl` joins these parts as they are.
        let parts =
            [quoted(&before).ok_or(TOO_LONG)?, format!("@{}", file_name(status.id)), "'}'".to_owned()];
        hints.extend([DOWNLOAD_FIRST, "It needs curl 7.82 or newer."]);
        let option = parts.map(|part| format!("--json {part}")).join(" \\\n  ");
        Ok(Self { piped: String::new(), option })
    }

    /// The body of a request to the URL of a source.
    fn of(webhook: &WebhookView, body: &[u8], hints: &mut Vec<&'static str>) -> Self {
        if body.len() <= MAX_INLINE_BYTES {
            return Self::written(body);
        }
        hints.push(DOWNLOAD_FIRST);
        Self { piped: String::new(), option: format!("--data-binary @{}", file_name(webhook.status.id)) }
    }

    fn written(body: &[u8]) -> Self {
        match std::str::from_utf8(body).ok().and_then(quoted) {
            Some(text) => Self { piped: String::new(), option: format!("--data-raw {text}") },
            None => Self {
                piped: format!("printf %s '{}' | base64 -d | ", BASE64_STANDARD.encode(body)),
                option: "--data-binary @-".to_owned(),
            },
        }
    }
}

/// The headers of the request that are worth sending.
fn headers(webhook: &WebhookView, hints: &mut Vec<&'static str>) -> Vec<String> {
    let kept = || webhook.headers.iter().filter(|(name, _)| !is_own(name));
    let content_type = header("content-type", webhook.content_type.as_str());
    let lines = content_type.into_iter().chain(kept().filter_map(|(name, value)| header(name, value)));
    let lines = lines.collect();
    if kept().any(|(_, value)| value == HIDDEN) {
        hints.push("hookbox does not keep the values that are ***. Write them in, or sign again with “hookbox send”.");
    }
    if kept().any(|(name, value)| header(name, value).is_none()) {
        hints.push("Headers that cannot be written into a command are left out.");
    }
    lines
}

/// Whether a header is made anew.
fn is_own(name: &str) -> bool {
    OF_CONNECTION.contains(&name) || OWN_HEADERS.contains(&name) || name.starts_with("x-forwarded-")
}

/// A header as an option; none if it cannot be written safely.
fn header(name: &str, value: &str) -> Option<String> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // Without a value, `curl` wants a semicolon.
    let text = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
    quoted(&text).filter(|_| is_name && !value.contains('\n')).map(|text| format!("-H {text}"))
}

/// A text between quotes, as shells take it; none if it has a character that some shell or terminal treats specially
/// even there: a backslash, control characters but line breaks, and what is invisible.
fn quoted(text: &str) -> Option<String> {
    let is_plain =
        |c: char| c == '\n' || c == ' ' || (c.is_ascii_graphic() && c != '\\') || c.is_alphanumeric();
    let is_seen = |c: char| c == '\n' || !is_hidden(c);
    text.chars().all(|c| is_plain(c) && is_seen(c)).then(|| format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::content_type::ContentType;
    use crate::domain::id::WebhookId;
    use crate::domain::trace::Traceparent;
    use crate::domain::verdict::Verdict;
    use crate::domain::webhook::{EventType, IdempotencyKey, WebhookStatus};

    fn webhook(source: &str, key: &str, body: &[u8], headers: &[(&str, &str)]) -> WebhookView {
        WebhookView {
            status: WebhookStatus {
                id: WebhookId::from_bytes([1; 16]),
                source: Source::new(source).expect(source),
                idempotency_key: IdempotencyKey::new(key).expect(key),
                event_type: EventType::new("order.paid").expect("valid"),
                accepted_at: jiff::Timestamp::UNIX_EPOCH,
                is_quarantined: false,
                jobs: Vec::new(),
            },
            payload: Some(body.to_vec()),
            content_type: ContentType::JSON,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            verdict: Verdict::None,
            traceparent: Traceparent::new(1, 1, true),
            jobs: Vec::new(),
        }
    }

    fn of(webhook: &WebhookView, needs_token: bool) -> Result<Command, &'static str> {
        command(webhook, webhook.payload.as_deref().expect("a body"), needs_token, None)
    }

    fn text(webhook: &WebhookView) -> String {
        of(webhook, false).expect("a command").text
    }

    #[test]
    fn a_webhook_of_the_source_default_is_sent_in_its_envelope() {
        let webhook = webhook("default", "it's", b"{\"a\" : 1.50}", &[("x-shop", "7")]);
        let expected = [
            "curl -sS -X POST \"${HOOKBOX_URL:-http://127.0.0.1:8080}/v1/webhooks\" \\",
            "  -H 'content-type: application/json' \\",
            r#"  --data-raw '{"idempotency_key":"it'\''s","event_type":"order.paid","payload":{"a" : 1.50}}'"#,
        ];
        assert_eq!(text(&webhook), expected.join("\n"));
        let with_token = of(&webhook, true).expect("a command").text;
        assert!(with_token.contains("-H \"Authorization: Bearer $HOOKBOX_TOKEN\""), "{with_token}");
    }

    #[test]
    fn a_request_of_a_source_is_sent_with_its_headers() {
        let headers = [
            ("host", "hooks.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-shop-topic", "orders/paid"),
            ("x-empty", ""),
            ("x-shop-hmac", "***"),
            ("x-path", "C:\\"),
        ];
        let Command { text, hints } =
            of(&webhook("shop", "k", b"a=1&b=2", &headers), true).expect("a command");
        let expected = [
            "curl -sS -X POST \"${HOOKBOX_URL:-http://127.0.0.1:8080}/v1/sources/shop/webhooks\" \\",
            "  -H 'content-type: application/json' \\",
            "  -H 'x-shop-topic: orders/paid' \\",
            "  -H 'x-empty;' \\",
            "  -H 'x-shop-hmac: ***' \\",
            "  --data-raw 'a=1&b=2'",
        ];
        assert_eq!(text, expected.join("\n"));
        assert_eq!(hints.len(), 3, "{hints:?}");
    }

    #[test]
    fn what_a_shell_or_a_terminal_would_act_on_is_encoded() {
        for body in ["\\'; rm -rf / #", "a\u{1b}[201~", "a\rb", "\u{202e}", "a\u{3164}b", "\0"] {
            let text = text(&webhook("shop", "k", body.as_bytes(), &[]));
            let encoded = format!("printf %s '{}' | base64 -d | curl ", BASE64_STANDARD.encode(body));
            assert!(text.starts_with(&encoded) && text.ends_with("--data-binary @-"), "{text}");
            assert!(!text.contains(body), "{text}");
        }
        for body in ["'; rm -rf / #", "$(id) `id` !!", "@/etc/passwd", "é\n世"] {
            let text = text(&webhook("shop", "k", body.as_bytes(), &[]));
            assert!(text.ends_with(&format!("--data-raw '{}'", body.replace('\'', "'\\''"))), "{text}");
        }
        assert!(text(&webhook("shop", "k", b"\xff", &[])).starts_with("printf %s '/w==' | "));
    }

    #[test]
    fn a_webhook_is_sent_to_the_server_that_shows_it() {
        let webhook = webhook("shop", "k", b"{}", &[]);
        for (server, url) in [
            ("https://hooks.example/a", "'https://hooks.example/a/v1/sources/shop/webhooks'"),
            ("http://[::1]:9000", "'http://[::1]:9000/v1/sources/shop/webhooks'"),
            ("https://a.example/$(id)'", r"'https://a.example/$(id)'\''/v1/sources/shop/webhooks'"),
            (r"https://a.example/\", "\"${HOOKBOX_URL:-http://127.0.0.1:8080}/v1/sources/shop/webhooks\""),
        ] {
            let command = command(&webhook, b"{}", false, Some(server)).expect("a command");
            assert!(command.text.starts_with(&format!("curl -sS -X POST {url} \\\n")), "{}", command.text);
        }
    }

    #[test]
    fn a_large_body_is_taken_from_its_file() {
        let large = vec![b'1'; MAX_INLINE_BYTES + 1];
        assert!(
            text(&webhook("shop", "k", &large, &[]))
                .ends_with("--data-binary @webhook-01010101-0101-0101-0101-010101010101.bin")
        );
        let expected = [
            r#"  --json '{"idempotency_key":"k","event_type":"order.paid","payload":' \"#,
            r"  --json @webhook-01010101-0101-0101-0101-010101010101.bin \",
            "  --json '}'",
        ];
        let Command { text, hints } = of(&webhook("default", "k", &large, &[]), false).expect("a command");
        assert!(text.ends_with(&expected.join("\n")), "{text}");
        assert!(hints.contains(&DOWNLOAD_FIRST), "{hints:?}");
        assert_eq!(of(&webhook("default", "a\"b", &large, &[]), false), Err(TOO_LONG));
    }
}
