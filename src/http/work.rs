//! Paths for workers: they lease jobs of routes with the handler `pull`, extend leases, and report outcomes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::body::{check_media_type, read_body};
use super::dto::{
    ExtendLeasesBody, ExtendLeasesResponse, FinishJobsBody, FinishJobsResponse, LeaseJobsBody,
    LeaseJobsResponse,
};
use super::members::members;
use super::problem::{Problem, Refused};
use super::{Api, json};
use crate::connections::Arrival;
use crate::service::apart;
use crate::service::work::{MAX_WORK_BYTES, payload_bytes};

type Answer = std::result::Result<Response, Refused>;

/// Leases jobs that may start, those that are due longest first
///
/// If there are none, waits until there are some, for at most `wait`. Of the workers that wait at a process, the
/// one that has waited longest gets jobs first. The answer has no jobs if none could start within `wait`, or the
/// server stops: call again. If the caller goes away while it waits, nothing is leased for it.
///
/// A lease is a claim on a job until `lease_until`. If the worker has neither reported an outcome nor extended the
/// lease by then, the attempt is interrupted, and the job goes on as `on_interrupt` of its route says.
#[utoipa::path(
    post, path = "/v1/work/lease", tag = "work", operation_id = "LeaseJobs",
    request_body(content = LeaseJobsBody, content_type = "application/json"),
    responses(
        (status = 200, description = "The jobs that were leased; there may be none", body = LeaseJobsResponse),
        (status = 400, description = "The body is not valid JSON, or a member is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "A route is not in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly, or did not arrive within 30 seconds", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The handler of a route is not `pull`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 8 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The Content-Type is not application/json, or the body is compressed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available, or too many workers wait; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn lease_jobs(api: Api, headers: HeaderMap, body: Body) -> Answer {
    // The memory of the body is given back before the wait.
    let asked = read::<LeaseJobsBody>(&api, &headers, body).await.map(|(asked, _arrival)| asked)?;
    let (jobs, unsent) = api.service.lease_jobs(asked.into()).await?;
    let mut response = apart(payload_bytes(&jobs), || json(&LeaseJobsResponse::from(jobs))).await;
    response.extensions_mut().insert(Arc::new(unsent));
    Ok(response)
}

/// Has leases last longer
///
/// Each ends `lease` from now, but not later than `timeout` of its route after the job was leased.
#[utoipa::path(
    post, path = "/v1/work/extend", tag = "work", operation_id = "ExtendLeases",
    request_body(content = ExtendLeasesBody, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether each lease was extended", body = ExtendLeasesResponse),
        (status = 400, description = "The body is not valid JSON, or a member is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly, or did not arrive within 30 seconds", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 8 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The Content-Type is not application/json, or the body is compressed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn extend_leases(api: Api, headers: HeaderMap, body: Body) -> Answer {
    let (asked, _arrival) = read::<ExtendLeasesBody>(&api, &headers, body).await?;
    let leases = api.service.extend_leases(asked.into()).await?;
    Ok(json(&ExtendLeasesResponse::from(leases)))
}

/// Records how attempts ended
///
/// All outcomes that count are on disk before the answer. After a 503, any of the outcomes may be recorded: send them
/// again. One that was recorded counts as lost the second time: its `recorded` is false.
#[utoipa::path(
    post, path = "/v1/work/finish", tag = "work", operation_id = "FinishJobs",
    request_body(content = FinishJobsBody, content_type = "application/json"),
    responses(
        (status = 200, description = "Whether each outcome was recorded", body = FinishJobsResponse),
        (status = 400, description = "The body is not valid JSON, or a member is wrong; nothing was recorded", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly, or did not arrive within 30 seconds", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 8 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The Content-Type is not application/json, or the body is compressed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn finish_jobs(api: Api, headers: HeaderMap, body: Body) -> Answer {
    // The arrival is kept until the answer: the results stay in memory until they are stored.
    let (asked, _arrival) = read::<FinishJobsBody>(&api, &headers, body).await?;
    let jobs = api.service.finish_jobs(asked.try_into()?).await?;
    Ok(json(&FinishJobsResponse::from(jobs)))
}

async fn read<T: DeserializeOwned>(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> std::result::Result<(T, Arrival), Refused> {
    check_media_type(headers)?;
    let (body, arrival) = read_body(body, MAX_WORK_BYTES, &api.bodies).await?;
    let asked = apart(body.len(), || members(&body, "GET /docs lists the members")).await?;
    Ok((asked, arrival))
}
