//! Reads the standard `OTEL_*` variables for traces.

use std::collections::BTreeMap;

use super::layers::Origin;
use super::mistake::Mistake;
use super::secret::without_password;
use crate::domain::secret::Secret;
use crate::telemetry::{Protocol, Traces};

/// Where the environment says that traces are exported to; none if they are not.
pub(super) fn read(environment: &BTreeMap<String, Secret>) -> Result<Option<Traces>, Mistake> {
    let variable = |name: &str| environment.get(name).map_or("", Secret::expose);
    // The variables for traces win over those for everything.
    let first = |names: [&'static str; 2]| {
        names.into_iter().map(|name| (name, variable(name))).find(|(_, value)| !value.is_empty())
    };
    let endpoint = first(["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
    let protocol = first(["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]);
    let is_off = variable("OTEL_SDK_DISABLED").eq_ignore_ascii_case("true")
        || variable("OTEL_TRACES_EXPORTER") == "none";
    let Some((_, endpoint)) = endpoint.filter(|_| !is_off) else { return Ok(None) };
    let endpoint = without_password(endpoint);
    let (name, value) = protocol.unwrap_or(("", "grpc"));
    let protocol = Protocol::named(value).ok_or_else(|| Mistake {
        origin: Origin::Environment(name.to_owned()),
        text: format!("{name} = {value:?} is not supported: it must be grpc or http/protobuf"),
    })?;
    Ok(Some(Traces { endpoint, protocol }))
}
