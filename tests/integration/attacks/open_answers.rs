//! Clients that ask for what needs no token, and do not take the answers.

use rstest::rstest;

use super::closed_window::ClosedWindow;
use super::{CONNECTIONS, OPEN_FILES, serves};
use crate::support::server::Place;

const SETTINGS: &[&str] = &["--simulate-min=0s", "--simulate-max=0s"];

/// Reads of webhooks that a connection makes at once. Further ones wait.
const READS: usize = 16;

#[rstest]
#[case::an_answer("/healthz", 1)]
#[case::a_refusal("/v1/nothing", 1)]
#[case::a_read_that_waits_for_others("/v1/webhooks/01934c3e-7b00-7000-8000-000000000000", READS + 1)]
#[tokio::test]
async fn answers_that_are_not_taken_keep_no_sender_out(#[case] path: &str, #[case] requests: usize) {
    let place = Place::new(SETTINGS).with_open_files(OPEN_FILES);
    let server = place.start();
    serves(&server, "before").await;
    let mut left = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stranger = ClosedWindow::connect(server.http_address()).await;
        for _ in 0..requests {
            stranger.get(path).await;
        }
        stranger.answered(requests.min(READS)).await;
        left.push(stranger);
        if number % 50 == 0 {
            serves(&server, &format!("beside {number}")).await;
        }
    }
    serves(&server, "beside all of them").await;
    assert!(server.has_logged("the connection limit is reached"));
    drop(left);
    serves(&server, "after").await;
    assert!(server.terminate().await.success());
}
