//! What a caller needs for each operation: one table for both APIs, and one for the forms of the page.

use super::Role;

/// What is needed for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No token.
    Nothing,
    /// A token with this role.
    Role(Role),
    /// A token with the role `Read` that is not limited, unless the metrics are open.
    Metrics,
}

/// An operation: its name in either API, and what is needed for it.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The call of gRPC, as `<service>/<method>`; empty if there is none.
    pub call: &'static str,
    /// The methods and paths of REST, as they are documented.
    pub paths: &'static [(&'static str, &'static str)],
    /// What is needed.
    pub need: Need,
}

impl Operation {
    /// The method of the call, without its service.
    pub fn method(&self) -> &'static str {
        self.call.rsplit('/').next().unwrap_or(self.call)
    }
}

const SUBMIT: Need = Need::Role(Role::Submit);
const READ: Need = Need::Role(Role::Read);
const WORK: Need = Need::Role(Role::Work);
const OPERATE: Need = Need::Role(Role::Operate);

/// The services of hookbox have names that begin with this.
const OWN_SERVICES: &str = "hookbox.";

/// The forms of the page that need less than the role `Operate`: the path of each, and what it needs.
const FORMS: &[(&str, Role)] = &[
    ("/logout", Role::Read),
    // They ask for a payload that the page hides. Both APIs answer payloads to callers with this role.
    ("/webhooks/{id}", Role::Read),
    ("/webhooks/{id}/body", Role::Read),
];

/// Every operation of both APIs.
pub const OPERATIONS: &[Operation] = &[
    operation("hookbox.v1.WebhookService/SubmitWebhook", &[("POST", "/v1/webhooks")], SUBMIT),
    operation("hookbox.v1.WebhookService/SubmitWebhooks", &[], SUBMIT),
    // The signature is the proof; of a source that verifies nothing, `service/receive.rs` asks for a token.
    operation(
        "",
        &[
            ("POST", "/v1/sources/{source}/webhooks"),
            ("GET", "/v1/sources/{source}/webhooks"),
            ("OPTIONS", "/v1/sources/{source}/webhooks"),
        ],
        Need::Nothing,
    ),
    operation(
        "hookbox.v1.WebhookService/GetStatus",
        &[("GET", "/v1/webhooks/{id}/status"), ("GET", "/v1/status")],
        READ,
    ),
    operation(
        "hookbox.v1.WebhookService/GetWebhook",
        &[("GET", "/v1/webhooks/{id}"), ("GET", "/v1/webhook"), ("GET", "/v1/webhooks/{id}/body")],
        READ,
    ),
    operation("hookbox.v1.WebhookService/ListWebhooks", &[("GET", "/v1/webhooks")], READ),
    operation(
        "hookbox.v1.WebhookService/WatchStatus",
        &[("GET", "/v1/webhooks/{id}/watch"), ("GET", "/v1/watch")],
        READ,
    ),
    operation("hookbox.v1.WebhookService/WatchWebhooks", &[("GET", "/v1/webhooks/watch")], READ),
    operation(
        "hookbox.v1.WebhookService/RetryWebhook",
        &[("POST", "/v1/webhooks/{id}/retry"), ("POST", "/v1/retry")],
        OPERATE,
    ),
    operation(
        "hookbox.v1.WebhookService/CancelWebhook",
        &[("POST", "/v1/webhooks/{id}/cancel"), ("POST", "/v1/cancel")],
        OPERATE,
    ),
    operation(
        "hookbox.v1.WebhookService/ReplayWebhook",
        &[("POST", "/v1/webhooks/{id}/replay"), ("POST", "/v1/replay")],
        OPERATE,
    ),
    operation("hookbox.v1.WebhookService/ReleaseWebhook", &[("POST", "/v1/webhooks/{id}/release")], OPERATE),
    operation("hookbox.v1.WebhookService/DiscardWebhook", &[("POST", "/v1/webhooks/{id}/discard")], OPERATE),
    operation("hookbox.v1.WebhookService/GetStats", &[("GET", "/v1/stats")], READ),
    operation("hookbox.v1.WorkService/LeaseJobs", &[("POST", "/v1/work/lease")], WORK),
    operation("hookbox.v1.WorkService/ExtendLeases", &[("POST", "/v1/work/extend")], WORK),
    operation("hookbox.v1.WorkService/FinishJobs", &[("POST", "/v1/work/finish")], WORK),
    operation("hookbox.v1.OperationService/ListRoutes", &[("GET", "/v1/routes")], READ),
    operation("hookbox.v1.OperationService/ListSources", &[("GET", "/v1/sources")], READ),
    // Of the tokens of handshakes, `service/source_view.rs` shows none without the role `operate`.
    operation("hookbox.v1.OperationService/GetSource", &[("GET", "/v1/sources/{source}")], READ),
    operation(
        "hookbox.v1.OperationService/ListRejections",
        &[("GET", "/v1/sources/{source}/rejections")],
        READ,
    ),
    operation("hookbox.v1.OperationService/Pause", &[("POST", "/v1/pause")], OPERATE),
    operation("hookbox.v1.OperationService/Resume", &[("POST", "/v1/resume")], OPERATE),
    operation("hookbox.v1.OperationService/ListPauses", &[("GET", "/v1/pauses")], READ),
    operation("hookbox.v1.OperationService/MoveJobs", &[("POST", "/v1/routes/{from}/move")], OPERATE),
    operation("hookbox.v1.OperationService/CancelJobs", &[("POST", "/v1/routes/{route}/cancel")], OPERATE),
    operation("hookbox.v1.OperationService/StartReplay", &[("POST", "/v1/replays")], OPERATE),
    operation("hookbox.v1.OperationService/GetReplay", &[("GET", "/v1/replays/{number}")], READ),
    operation("hookbox.v1.OperationService/ListReplays", &[("GET", "/v1/replays")], READ),
    operation(
        "hookbox.v1.OperationService/CancelReplay",
        &[("POST", "/v1/replays/{number}/cancel")],
        OPERATE,
    ),
    operation("hookbox.v1.OperationService/ListActions", &[("GET", "/v1/actions")], READ),
    operation("hookbox.v1.OperationService/ReloadSettings", &[("POST", "/v1/settings/reload")], OPERATE),
    operation("", &[("GET", "/")], Need::Nothing),
    operation("", &[("GET", "/healthz")], Need::Nothing),
    operation("", &[("GET", "/readyz")], Need::Nothing),
    operation("", &[("GET", "/metrics")], Need::Metrics),
];

const fn operation(
    call: &'static str,
    paths: &'static [(&'static str, &'static str)],
    need: Need,
) -> Operation {
    Operation { call, paths, need }
}

/// The operation of a call, whose path is `/<service>/<method>`.
pub fn operation_of_call(path: &str) -> Option<&'static Operation> {
    let call = path.strip_prefix('/').filter(|call| !call.is_empty())?;
    OPERATIONS.iter().find(|operation| operation.call == call)
}

/// What is needed for a call. Health and reflection need nothing. What the table lacks needs the highest role.
pub fn need_of_call(path: &str) -> Need {
    match operation_of_call(path) {
        Some(operation) => operation.need,
        None if path.trim_start_matches('/').starts_with(OWN_SERVICES) => OPERATE,
        None => Need::Nothing,
    }
}

/// What is needed for a request of REST. `path` is the documented one, such as `/v1/webhooks/{id}`. The documentation
/// needs nothing, and neither does a method that the path does not take. What the table lacks needs the highest role.
pub fn need_of_path(method: &str, path: &str) -> Need {
    if path == "/openapi.json" || path == "/docs" || path.starts_with("/docs/") {
        return Need::Nothing;
    }
    // A GET answers HEAD too.
    let method = if method == "HEAD" { "GET" } else { method };
    let mut is_known = false;
    for operation in OPERATIONS {
        for (of_operation, _) in operation.paths.iter().filter(|(_, documented)| *documented == path) {
            if *of_operation == method {
                return operation.need;
            }
            is_known = true;
        }
    }
    if is_known { Need::Nothing } else { OPERATE }
}

/// The role that a form of the page needs. `path` is the one that the page serves, such as `/webhooks/{id}`. What the
/// table lacks needs the highest role.
pub fn role_of_form(path: &str) -> Role {
    FORMS.iter().find(|(form, _)| *form == path).map_or(Role::Operate, |(_, role)| *role)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_lacks_needs_the_highest_role() {
        assert_eq!(need_of_call("/hookbox.v1.WebhookService/GetStatus"), READ);
        assert_eq!(need_of_call("/hookbox.v1.WebhookService/Nothing"), OPERATE);
        assert_eq!(need_of_call("/hookbox.v2.Service/GetStatus"), OPERATE);
        assert_eq!(need_of_call("/grpc.health.v1.Health/Check"), Need::Nothing);
        assert_eq!(need_of_call("/"), Need::Nothing);
        assert_eq!(need_of_path("POST", "/v1/new"), OPERATE);
        assert_eq!((role_of_form("/logout"), role_of_form("/new")), (Role::Read, Role::Operate));
    }

    #[test]
    fn a_method_that_a_path_does_not_take_needs_nothing() {
        for (method, path, need) in [
            ("GET", "/v1/webhooks", READ),
            ("HEAD", "/v1/webhooks", READ),
            ("POST", "/v1/webhooks", SUBMIT),
            ("DELETE", "/v1/webhooks", Need::Nothing),
            ("GET", "/v1/pause", Need::Nothing),
            ("GET", "/docs/{*rest}", Need::Nothing),
            ("GET", "/openapi.json", Need::Nothing),
        ] {
            assert_eq!(need_of_path(method, path), need, "{method} {path}");
        }
    }
}
