//! Many failed tokens from one address.

use hookbox::internals::grpc::proto;
use jiff::SignedDuration;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{EVERY_ROLE, grpc, rest, token};
use crate::api::harness::{Hookbox, Sqlite};

#[tokio::test]
async fn failed_tokens_are_slowed_over_both_apis_and_a_valid_one_is_not() {
    let hookbox = Hookbox::with_routes(Sqlite, &token("ci", EVERY_ROLE));
    let wrong = hookbox.rest.with_token("hbx_wrong");
    for _ in 0..10 {
        wrong.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
    }
    let slowed = wrong.get("/v1/stats").await;
    slowed.problem(429, "TOO_MANY_FAILED_TOKENS");
    assert_eq!(slowed.header("retry-after"), "6");
    // Both ports share the count, because the address is the same.
    let slowed = grpc(&hookbox, "unknown").get_stats(proto::GetStatsRequest {}).await;
    let slowed = slowed.unwrap_err();
    assert_eq!(slowed.code(), Code::ResourceExhausted);
    assert_eq!(slowed.get_details_error_info().unwrap().reason, "TOO_MANY_FAILED_TOKENS");
    assert!(slowed.get_details_retry_info().is_some());

    assert_eq!(rest(&hookbox, "ci").get("/v1/stats").await.status, 200);
    hookbox.rest.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
    hookbox.advance(SignedDuration::from_secs(6));
    wrong.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
    wrong.get("/v1/stats").await.problem(429, "TOO_MANY_FAILED_TOKENS");
}

#[tokio::test]
async fn no_answer_shows_a_token() {
    let hookbox = Hookbox::with_routes(Sqlite, &token("ci", EVERY_ROLE));
    for wrong in ["hbx_wrong-and-secret", "wrong and secret"] {
        let answer = hookbox.rest.with_token(wrong).get("/v1/stats").await;
        assert!(
            !answer.text.contains("and-secret") && !answer.text.contains("and secret"),
            "{}",
            answer.text
        );
    }
}
