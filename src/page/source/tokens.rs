//! The tokens that came by handshakes, which an operator enters at the sender.

use std::net::IpAddr;

use maud::{Markup, html};

use crate::page::context::Context;
use crate::page::parts;
use crate::service::activity::HandshakeToken;

/// The tokens, the newest first. Nothing if there are none.
pub(super) fn section(context: &Context, tokens: &[HandshakeToken]) -> Markup {
    if tokens.is_empty() {
        return parts::nothing();
    }
    html! {
        section.card id="handshake-tokens" {
            h2 { "Tokens for the sender" }
            p {
                "These came in a request to the URL of this source, and are not among its " code { "secrets" }
                ". Every client that knows the URL can send one, so enter the newest one at the sender first. If the sender "
                "accepts it, write it into " code { "secrets" } ", and reload the settings."
            }
            @for shown in tokens {
                div.spread {
                    code { (parts::text(shown.token.expose())) }
                    (parts::copy("token", shown.token.expose()))
                }
                p.muted.small { "Came " (parts::moment(shown.at, context.now)) " from " (from(shown.client)) }
            }
        }
    }
}

fn from(client: Option<IpAddr>) -> Markup {
    html! { @if let Some(client) = client { (maud::display(client)) } @else { "an unknown address" } }
}
