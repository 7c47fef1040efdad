//! What is told of a delivery.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::client::dates::clock_time;
use crate::cli::client::safe::{json_line, safe};
use crate::cli::client::tell::Format;
use crate::cli::client::terminal::{Terminal, Tint};
use crate::cli::note;
use crate::client::{Content, Delivered, Webhook};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// Of how many headers it is told that they are left out. Strangers can choose their names.
const MOST_TOLD: usize = 100;

/// The result of a delivery.
pub(super) enum Delivery {
    /// The server has answered. The headers of these names were left out, because hookbox does not keep their values.
    Answered(Delivered, Vec<String>),
    /// The webhook must not be delivered; the text says why.
    NotDelivered(Cow<'static, str>),
    /// Ctrl-C was pressed before it was delivered.
    Stopped,
}

/// The names of the headers whose values hookbox does not keep, and that `delivered` does not have anew.
pub(super) fn left_out(content: &Content, delivered: &Content) -> Vec<String> {
    let is_delivered =
        |name: &str| delivered.kept_headers().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let names = content.hidden_names().filter(|name| !is_delivered(name)).collect::<BTreeSet<_>>();
    names.into_iter().map(ToOwned::to_owned).collect()
}

/// Tells of each header once that it is left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeSet<String>);

impl LeftOut {
    /// Tells of those that were not told before.
    pub(super) fn tell(&mut self, names: &[String]) {
        for name in names {
            if self.0.len() < MOST_TOLD && self.0.insert(name.clone()) {
                note(&format!("the header {} is left out: hookbox does not keep its value", safe(name)));
            }
        }
    }
}

/// The line about a webhook.
pub(super) fn line(webhook: &Webhook, delivery: &Delivery, format: Format) -> String {
    let (status, milliseconds, why, left_out) = match delivery {
        Delivery::Answered(Delivered { status, took }, left_out) => {
            // In whole microseconds, which a double has without noise.
            (Some(*status), Some(took.as_micros() as f64 / 1_000.0), None, left_out.as_slice())
        }
        Delivery::NotDelivered(why) => (None, None, Some(&**why), &[][..]),
        Delivery::Stopped => (None, None, None, &[][..]),
    };
    if format.json {
        let line = json!({
            "id": webhook.id, "source": webhook.source, "event_type": webhook.event_type,
            "idempotency_key": webhook.idempotency_key, "accepted_at": webhook.accepted_at,
            "status": status, "took_ms": milliseconds, "not_delivered": why, "left_out": left_out,
        });
        return json_line(&line.to_string()) + "\n";
    }
    let terminal = Terminal::stdout();
    let result = match (status, milliseconds) {
        (Some(status), Some(milliseconds)) => {
            let tint = if (200..300).contains(&status) { Tint::Good } else { Tint::Bad };
            format!("{}  {milliseconds:7.1} ms", terminal.tinted(&status.to_string(), tint))
        }
        _ => terminal.tinted(&format!("not delivered: it {}", why.unwrap_or_default()), Tint::Late),
    };
    format!(
        "{}  {result}  {}  {}  {}  {}\n",
        terminal.tinted(&clock_time(SystemClock.now()), Tint::Dim),
        safe(&webhook.id),
        safe(&webhook.source),
        safe(&webhook.event_type),
        safe(&webhook.idempotency_key)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn content(headers: &[(&str, &str)]) -> Content {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Content { content_type: "text/plain".to_owned(), headers: headers.collect(), body: Vec::new() }
    }

    #[test]
    fn a_duration_has_at_most_three_decimals() {
        let webhook = Webhook {
            id: "01934c3e-7b00-7000-8000-000000000000".to_owned(),
            source: "default".to_owned(),
            idempotency_key: "k".to_owned(),
            event_type: "order.created".to_owned(),
            status: "pending".to_owned(),
            attempt_count: None,
            accepted_at: "2026-03-01T12:00:00.000Z".to_owned(),
            last_error: None,
        };
        for (took, expected) in [(3_761_082, "3.761"), (1_000_000, "1.0"), (900, "0.0")] {
            let delivered = Delivered { status: 200, took: Duration::from_nanos(took) };
            let line = line(&webhook, &Delivery::Answered(delivered, Vec::new()), Format { json: true });
            let line = serde_json::from_str::<serde_json::Value>(&line).expect("JSON");
            assert_eq!(line["took_ms"].to_string(), expected);
        }
    }

    #[test]
    fn a_header_is_left_out_unless_it_is_kept_or_made_anew() {
        let came = content(&[("x-shop", "7"), ("cookie", "***"), ("x-signature", "***"), ("cookie", "***")]);
        assert_eq!(left_out(&came, &came), ["cookie", "x-signature"]);
        let signed = content(&[("x-shop", "7"), ("X-Signature", "v1=0")]);
        assert_eq!(left_out(&came, &signed), ["cookie"]);
    }
}
