//! Finds what is missing in the settings of a source, and what cannot do what it says.

use super::handshake::WITHOUT_BODY;
use super::keys::Keys;
use super::part::Part;
use super::place::List;
use super::rules::Mistake;
use super::settings::{OnUnverified, Settings, Verify};
use super::split::Split;

/// The members that are missing. Nothing is missing that one of the members `unread` may be meant to be, or that the
/// preset may have if it is one of them.
pub(super) fn missing(
    settings: &Settings,
    keys: &Keys,
    has_public_url: bool,
    unread: &[&str],
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let is_unread = |member| unread.contains(&member);
    let may_have = |member| is_unread(member) || is_unread("preset");
    if settings.verify.is_none() && !may_have("verify") {
        let text = "it is missing; write how requests are verified, name a `preset` that says it, or write verify = \"none\"";
        mistakes.push(Mistake::new("verify", text));
    }
    if settings.key.is_none() && !may_have("key") {
        let text = "it is missing; write where the unique name of a webhook is, such as key = { json = \"/id\" }, or key = \"body\"";
        mistakes.push(Mistake::new("key", text));
    }
    let needs = settings.needs();
    let takes = |member| needs.contains(&member);
    // The secret may come by a handshake later.
    let has_secrets = is_unread("secrets") || !keys.secrets.is_empty() || settings.shows_token();
    let has_keys = (takes("secrets") && has_secrets)
        || (takes("public_keys") && (is_unread("public_keys") || !keys.public_keys.is_empty()))
        || settings.schemes().is_empty()
        || settings.schemes().iter().any(|scheme| scheme.takes().is_none());
    if !has_keys && takes("secrets") {
        let text = "it is missing; write the secret that the sender shows, such as secrets = [\"env:NAME\"]";
        mistakes.push(Mistake::new("secrets", text));
    } else if !has_keys {
        let text = "it is missing; write the public key that the sender shows, such as public_keys = [\"file:key.pem\"]";
        mistakes.push(Mistake::new("public_keys", text));
    }
    if settings.signs_handshakes() && keys.secrets.is_empty() && has_keys && !is_unread("secrets") {
        let text = "it is missing; a handshake is answered with an HMAC, which needs it";
        mistakes.push(Mistake::new("secrets", text));
    }
    if takes("verify_token") && keys.verify_token.is_none() && !is_unread("verify_token") {
        let text = "it is missing; write the text that you entered at the sender, such as verify_token = \"env:NAME\"";
        mistakes.push(Mistake::new("verify_token", text));
    }
    if takes("public_url") && !has_public_url {
        let text = "the sender signs the URL to which it sends; set `public_url` at the top of the file to the URL that senders see";
        mistakes.push(Mistake::new("verify", text));
    }
    mistakes
}

/// Members that cannot do what they say.
pub(super) fn useless(settings: &Settings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let key = settings.key.as_ref().map_or(&[][..], |List(parts)| parts.as_slice());
    if !key.is_empty() && key.iter().all(Part::is_constant) {
        let text = "every webhook would have the same key, and all but the first would count as duplicates; add a part that differs, such as { json = \"/id\" } or \"body\"";
        mistakes.push(Mistake::new("key", text));
    } else if let Some(split) = &settings.split
        && !key.is_empty()
        && !key.iter().any(|part| part.is_of_item(split))
    {
        let text = "items of a batch could have the same key, and all but one would count as duplicates; add a part that is always of the item, such as { json = \"/id\" } or \"body\"; of a `first`, every part has to be of the item, or to have the `unless_content_type` of batches";
        mistakes.push(Mistake::new("key", text));
    }
    if settings.split.as_ref().is_some_and(Split::takes_all)
        && settings.content_type.as_ref().is_some_and(|content_type| !content_type.0.is_json())
    {
        let text = "every request is a batch, and its items are JSON; remove this";
        mistakes.push(Mistake::new("content_type", text));
    }
    if settings.unverified == Some(OnUnverified::Quarantine)
        && matches!(settings.verify, Some(Verify::Nothing))
    {
        let text =
            "the source verifies nothing, so nothing would be quarantined; add a `verify`, or remove this";
        mistakes.push(Mistake::new("unverified", text));
    }
    if settings.unverified == Some(OnUnverified::Quarantine) && settings.probes == Some(true) {
        let text = "the sender sends wrong signatures to test that they are answered 401, so nothing can be quarantined; remove this";
        mistakes.push(Mistake::new("unverified", text));
    }
    if let Some(answer) = &settings.answer {
        let has_no_body = answer.accepted.is_some_and(|status| WITHOUT_BODY.contains(&status.0));
        if has_no_body && answer.body.as_ref().is_some_and(|body| !body.is_empty()) {
            let text = "an answer with this status has no body; write body = \"\", or another status";
            mistakes.push(Mistake::new("answer", text));
        }
        let is_wrong = |text: &String| text.is_empty() || text.contains(char::is_control);
        if answer.content_type.as_ref().is_some_and(is_wrong) {
            let text = "`content_type` must be a media type, such as \"application/json\"";
            mistakes.push(Mistake::new("answer", text));
        }
    }
    mistakes
}
