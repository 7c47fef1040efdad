//! Routes with the handler `pull`, as their workers and their operators see them.

mod leases;
mod outcomes;
mod polls;
mod refusals;
mod stops;
mod traces;

use std::time::Duration;

use hookbox::internals::grpc::proto::work_service_client::WorkServiceClient;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, eventually};

/// One route that workers pull.
const ORDERS: &str = r#"
    [[routes]]
    name = "orders"
    handler = "pull"
"#;

/// How long a poll that is answered at once may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A call of a worker over REST.
pub(crate) async fn call(rest: &Rest, call: &str, body: &Value) -> Answer {
    let request = rest.request(Method::POST, &format!("/v1/work/{call}"));
    Answer::of(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await
}

/// Leases jobs of the route `orders` without waiting.
async fn lease(rest: &Rest, worker: &str) -> Vec<Value> {
    let answer = call(rest, "lease", &json!({ "routes": ["orders"], "worker": worker })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["jobs"].as_array().unwrap().clone()
}

/// Leases the only job of the route `orders` that may start.
async fn lease_one(rest: &Rest, worker: &str) -> Value {
    let jobs = lease(rest, worker).await;
    let [job] = &jobs[..] else { panic!("one job: {jobs:?}") };
    job.clone()
}

/// Reports one outcome, and returns its result. `outcome` is `{"completed": …}` or `{"failed": …}`.
async fn finish(rest: &Rest, worker: &str, lease: &Value, mut outcome: Value) -> Value {
    outcome["lease"] = lease.clone();
    let answer = call(rest, "finish", &json!({ "worker": worker, "outcomes": [outcome] })).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let finished = answer.json()["jobs"][0].clone();
    assert_eq!(finished["lease"], *lease);
    finished
}

/// Extends one lease, and returns its result.
async fn extend(rest: &Rest, worker: &str, lease: &Value, by: &str) -> Value {
    let body = json!({ "worker": worker, "leases": [lease], "lease": by });
    let answer = call(rest, "extend", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let extended = answer.json()["leases"][0].clone();
    assert_eq!(extended["lease"], *lease);
    extended
}

/// What `finish` answers for an outcome that does not count.
fn not_recorded(lease: &Value) -> Value {
    json!({ "lease": lease, "recorded": false, "status": null })
}

/// Begins a poll for one job of the route `orders`. The result is its jobs.
fn poll(rest: &Rest, worker: &str, wait: &str) -> JoinHandle<Vec<Value>> {
    let rest = rest.clone();
    let body = json!({ "routes": ["orders"], "worker": worker, "max_jobs": 1, "wait": wait });
    tokio::spawn(async move {
        let answer = call(&rest, "lease", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["jobs"].as_array().unwrap().clone()
    })
}

/// The jobs of a poll that is answered now.
async fn answered(poll: JoinHandle<Vec<Value>>) -> Vec<Value> {
    tokio::time::timeout(DEADLINE, poll).await.expect("the poll is answered in time").unwrap()
}

/// Waits until as many polls wait.
pub(crate) async fn wait_for_polls(hookbox: &Hookbox, polls: usize) {
    let line = format!("hookbox_pull_polls {polls}");
    eventually(&line, || async {
        let metrics = hookbox.rest.get("/metrics").await.text;
        metrics.lines().any(|found| found == line).then_some(())
    })
    .await;
}

/// A gRPC client of the service.
fn grpc(hookbox: &Hookbox) -> WorkServiceClient<Channel> {
    WorkServiceClient::new(hookbox.channel())
}
