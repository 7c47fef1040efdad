//! What `hookbox serve` says on a terminal: where everything is, and what to try first.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cli::ask::reachable;
use crate::config::{Config, Database, TOKEN_VARIABLE};

/// What is known before the ports are bound.
#[derive(Debug)]
pub(super) struct Welcome {
    has_tls: bool,
    needs_token: bool,
    needs_certificate: bool,
    /// The path of the page, without a slash at its end.
    base_path: Arc<str>,
    /// The file, or the URL of the database without user and password.
    data: String,
}

impl Welcome {
    pub(super) fn new(config: &Config) -> Self {
        let data = match &config.database {
            Database::Sqlite(path) => {
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
            }
            Database::Postgres(target) => target.to_string(),
        };
        Self {
            has_tls: config.tls.is_some(),
            needs_token: config.tokens.are_needed(),
            needs_certificate: config.needs_certificates(),
            base_path: Arc::clone(&config.base_path),
            data,
        }
    }

    /// Five lines. The addresses are those of the ports.
    pub(super) fn text(&self, http: SocketAddr, grpc: SocketAddr) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", reachable(http));
        let lines = [
            ("page", format!("{url}{}/", self.base_path)),
            ("REST", format!("{url}/v1/webhooks (described at {url}/docs)")),
            ("gRPC", reachable(grpc).to_string()),
            ("data", self.data.clone()),
            ("try", self.command(&url)),
        ];
        lines.map(|(what, value)| format!("  {what:<4}  {value}\n")).concat()
    }

    /// A command that submits a webhook.
    fn command(&self, url: &str) -> String {
        let certificate = if self.needs_certificate { " --cert client.crt --key client.key" } else { "" };
        let token = format!(" -H \"Authorization: Bearer ${TOKEN_VARIABLE}\"");
        let token = if self.needs_token { token.as_str() } else { "" };
        format!(
            "curl {url}/v1/webhooks{certificate}{token} -H 'Content-Type: application/json' -d '{WEBHOOK}'"
        )
    }
}

/// The webhook of that command.
const WEBHOOK: &str =
    r#"{"idempotency_key":"evt-001","event_type":"order.created","payload":{"order_id":7}}"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome() -> Welcome {
        let data = "/srv/hookbox.db".to_owned();
        Welcome {
            has_tls: false,
            needs_token: false,
            needs_certificate: false,
            base_path: Arc::from(""),
            data,
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn five_lines_say_where_everything_is_and_what_to_try() {
        let text = welcome().text(address("127.0.0.1:8080"), address("127.0.0.1:50051"));
        let tried = "  try   curl http://127.0.0.1:8080/v1/webhooks -H 'Content-Type: application/json' \
            -d '{\"idempotency_key\":\"evt-001\",\"event_type\":\"order.created\",\"payload\":{\"order_id\":7}}'";
        let expected = [
            "  page  http://127.0.0.1:8080/",
            "  REST  http://127.0.0.1:8080/v1/webhooks (described at http://127.0.0.1:8080/docs)",
            "  gRPC  127.0.0.1:50051",
            "  data  /srv/hookbox.db",
            tried,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_page_has_its_prefix_and_the_apis_have_none() {
        let text = Welcome { base_path: Arc::from("/hooks"), ..welcome() }
            .text(address("127.0.0.1:8080"), address("127.0.0.1:50051"));
        assert!(text.starts_with("  page  http://127.0.0.1:8080/hooks/\n"), "{text}");
        assert_eq!(text.matches("/hooks").count(), 1, "{text}");
    }

    #[test]
    fn what_to_try_has_what_the_server_asks_for() {
        let welcome = Welcome { has_tls: true, needs_token: true, needs_certificate: true, ..welcome() };
        let text = welcome.text(address("0.0.0.0:8080"), address("[::]:50051"));
        let tried = text.lines().last().unwrap_or_default();
        assert!(
            tried.starts_with(
                "  try   curl https://127.0.0.1:8080/v1/webhooks --cert client.crt --key client.key \
                 -H \"Authorization: Bearer $HOOKBOX_TOKEN\" -H 'Content-Type"
            ),
            "{tried}"
        );
        assert!(text.contains("\n  gRPC  [::1]:50051\n"), "{text}");
    }
}
