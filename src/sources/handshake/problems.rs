//! What is wrong in the settings of a handshake.

use super::shape::Shape;
use super::{HandshakeSettings, Method, WITHOUT_BODY};
use crate::sources::request::HeaderName;

/// The headers by which HTTP delimits an answer.
const OF_HTTP: [&str; 4] = ["connection", "content-length", "content-type", "transfer-encoding"];

impl HandshakeSettings {
    /// Everything that is wrong in the settings.
    pub(in crate::sources) fn problems(&self) -> Vec<&'static str> {
        let mut problems = Vec::new();
        for condition in &self.when {
            let checks = [condition.equals.is_some(), condition.token, condition.present.is_some()];
            if checks.into_iter().filter(|check| *check).count() != 1 {
                problems.push("a condition has exactly one of `equals`, `token = true` and `present`");
            }
            match condition.place() {
                Ok(Some(_)) => {}
                Ok(None) => {
                    problems.push("a condition has exactly one of `header`, `query`, `form` and `json`");
                }
                Err(problem) => problems.push(problem),
            }
        }
        if self.hmac.is_some() && (self.value.is_none() || self.shape == Shape::Text) {
            problems.push("`hmac` needs a `value` with the shape \"token\" or \"digits\"");
        }
        if self.visit.is_some() && (self.verified == Some(false) || self.method != Method::Post) {
            problems.push("a handshake with `visit` is a POST, and has to be verified");
        }
        let has_other = self.value.is_some() || self.hmac.is_some() || self.visit.is_some();
        if self.show.is_some() && (self.verified != Some(false) || self.method != Method::Post || has_other) {
            problems.push(
                "a handshake with `show` is a POST with verified = false, without `value`, `hmac` and `visit`",
            );
        }
        if self.answer.headers.keys().any(|name| HeaderName::try_from(name.clone()).is_err()) {
            problems.push("a header of `answer` has a name that no header can have");
        }
        if self.answer.headers.keys().any(|name| OF_HTTP.iter().any(|own| own.eq_ignore_ascii_case(name))) {
            problems.push("`answer` has a header that hookbox sets; write the type as `answer.content_type`");
        }
        let has_no_body = self.answer.status.is_some_and(|status| WITHOUT_BODY.contains(&status.0));
        if has_no_body && !self.body_template().is_empty() {
            problems.push("an answer with this status has no body; write body = \"\", or another status");
        }
        let texts = self.answer.headers.values().chain(&self.answer.content_type);
        if texts.clone().any(|text| text.chars().any(char::is_control)) {
            problems.push("a header of `answer` has a control character");
        }
        let mut texts = texts.chain(&self.answer.body);
        let has_value = self.value.is_some();
        if texts.any(|text| {
            (text.contains("{value}") && !has_value) || (text.contains("{hmac}") && self.hmac.is_none())
        }) {
            problems.push("`answer` has {value} or {hmac}, but the handshake has no `value` or no `hmac`");
        }
        problems
    }
}
