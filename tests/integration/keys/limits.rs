//! What is not asked, and what does not count as an answer.

use hookbox::internals::keys::FETCH_TIME;
use rstest::rstest;

use super::*;
use crate::support::client::eventually;

#[rstest]
#[case::an_error(Does::answer_status("500 Internal Server Error"))]
#[case::nothing_there(Does::answer_status("404 Not Found"))]
#[case::another_success(Does::answer_status("204 No Content"))]
#[case::no_key(Does::answer("<html></html>"))]
#[case::no_http(Does::Answer("nothing\r\n\r\n".to_owned()))]
#[case::endless(Does::Endless)]
#[case::closed(Does::Answer(String::new()))]
#[tokio::test]
async fn without_a_key_a_request_is_not_verified_and_the_server_is_not_asked_again_at_once(
    #[case] does: Does,
    #[values("aws-sns", "google-pubsub", "plaid")] preset: &str,
) {
    let sent = Sent::by(preset);
    let server = KeyServer::start(does).await;
    let fetching = Fetching::from(&server);
    for seconds in [0, 5, 4] {
        fetching.advance(seconds);
        assert_eq!(fetching.verify(&sent).await, UNAVAILABLE);
    }
    assert_eq!(server.requests().len(), 1);
    server.does(Does::answer(&sent.answer));
    fetching.advance(1);
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let sent = Sent::by("google-pubsub");
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let to = "https://www.googleapis.com/other";
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let server = KeyServer::start(Does::Answer(answer)).await;
        assert_eq!(Fetching::from(&server).verify(&sent).await, UNAVAILABLE, "{status}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[rstest]
#[case::without_an_answer(Does::Hang)]
#[case::with_an_answer_that_does_not_end(Does::Trickle)]
#[tokio::test]
async fn a_slow_answer_is_not_waited_for(#[case] does: Does) {
    let sent = Sent::by("google-pubsub");
    let server = KeyServer::start(does).await;
    let fetching = Fetching::from(&server);
    let passing = async {
        eventually("a request", async || (!server.requests().is_empty()).then_some(())).await;
        assert_eq!(fetching.clock.sleepers_for(FETCH_TIME), 1);
        fetching.clock.advance(SignedDuration::try_from(FETCH_TIME).unwrap());
    };
    let (verdict, ()) = tokio::join!(fetching.verify(&sent), passing);
    assert_eq!(verdict, UNAVAILABLE);
}

#[tokio::test]
async fn the_server_needs_a_certificate_for_the_host_from_a_trusted_authority() {
    let sent = Sent::by("google-pubsub");
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (issuer, names) in [(&theirs, &["www.googleapis.com"][..]), (&ours, &["www.evil.example"])] {
        let (does, issued) = (Does::answer(&sent.answer), issuer.issue_for(names));
        let server = KeyServer::start_with(does, &ours.pem(), &issued).await;
        assert_eq!(Fetching::from(&server).verify(&sent).await, UNAVAILABLE, "{names:?}");
        assert_eq!(server.requests().len(), 0, "{names:?}");
    }
}

/// A request as Plaid sends it, but with the id of a key that is made up.
fn forged(id: usize) -> Sent {
    let mut forged = Sent::by("plaid");
    let token = &mut forged.headers.iter_mut().find(|(name, _)| name == "Plaid-Verification").unwrap().1;
    let header = serde_json::json!({ "alg": "ES256", "kid": format!("forged-{id}") }).to_string();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header);
    *token = format!("{header}.{}", token.split_once('.').unwrap().1);
    forged
}

#[tokio::test]
async fn forged_ids_of_keys_are_asked_for_a_few_times_and_genuine_webhooks_are_still_verified() {
    let sent = Sent::by("plaid");
    let server = KeyServer::start(Does::answer(&sent.answer)).await;
    let fetching = Fetching::from(&server);
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    server.does(Does::answer_status("400 Bad Request"));
    for id in 0..100 {
        assert_eq!(fetching.verify(&forged(id)).await, UNAVAILABLE);
    }
    // One of these eight was the genuine one.
    assert_eq!(server.requests().len(), 8);
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    // Also when the genuine key has to be fetched again.
    server.does(Does::answer(&sent.answer));
    fetching.advance(60 * 60 - 1);
    for id in 0..100 {
        assert_eq!(fetching.verify(&forged(id)).await, UNAVAILABLE);
    }
    let before = server.requests().len();
    fetching.advance(1);
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    assert_eq!(server.requests().len(), before + 1);
}

/// As after a restart. The forged requests come at the moments at which a fetch becomes free, before the genuine one.
#[tokio::test]
async fn a_genuine_key_is_fetched_for_the_first_time_while_forged_requests_go_on() {
    let sent = Sent::by("plaid");
    let server = KeyServer::start(Does::answer(&sent.answer)).await;
    let fetching = Fetching::from(&server);
    for id in 0..50 {
        assert_eq!(fetching.verify(&forged(id)).await, UNAVAILABLE);
    }
    assert_eq!(fetching.verify(&sent).await, UNAVAILABLE, "the fetches are used up");
    let at_once = server.requests().len();
    for tick in 1..=240 {
        fetching.clock.advance(SignedDuration::from_millis(500));
        for id in [100 + 2 * tick, 101 + 2 * tick] {
            assert_eq!(fetching.verify(&forged(id)).await, UNAVAILABLE);
        }
        // Of any key that was named lately.
        let fetches = async || (server.requests().len() == at_once + tick).then_some(());
        eventually("one fetch", fetches).await;
        if tick % 4 == 0 && fetching.verify(&sent).await == Verdict::Verified {
            return;
        }
    }
    panic!("the genuine request is not verified within two minutes");
}

#[tokio::test]
async fn forged_requests_of_one_source_use_up_no_fetches_of_another() {
    let sent = Sent::by("plaid");
    let server = KeyServer::start(Does::answer(&sent.answer)).await;
    let fetching = Fetching::from(&server);
    for id in 0..50 {
        assert_eq!(fetching.verify(&forged(id)).await, UNAVAILABLE);
    }
    assert_eq!(fetching.verify(&sent).await, UNAVAILABLE);
    let other = Source::new("other").unwrap();
    assert_eq!(fetching.verify_for(&other, &sent).await, Verdict::Verified);
}

#[tokio::test]
async fn a_source_without_fetched_keys_makes_no_connection() {
    let sent = Sent::by("aws-sns");
    let server = KeyServer::start(Does::answer(&sent.answer)).await;
    let fetching = Fetching::from(&server);
    for (verify, verdict) in [
        (serde_json::json!("none"), Verdict::None),
        (
            serde_json::json!({ "hmac": "sha256", "header": "X-Signature" }),
            Verdict::Unverified(Cause::SignatureMissing),
        ),
    ] {
        let mut settings = Settings::default();
        settings.set("verify", verify).unwrap();
        settings.set("key", serde_json::json!("body")).unwrap();
        let secret = (verdict != Verdict::None).then(|| Secret::from("s3cret".to_owned()));
        let keys = Keys { secrets: secret.into_iter().collect(), ..Keys::default() };
        let sent = Sent { rules: Rules::new(settings, keys, true).expect("rules"), ..Sent::by("aws-sns") };
        assert_eq!(fetching.verify(&sent).await, verdict);
    }
    // The topic is not one of the source.
    let mut settings = Settings::default();
    let other = "arn:aws:sns:eu-central-1:123456789012:other";
    settings.set("verify", serde_json::json!({ "topics": other })).unwrap();
    let settings = settings.over(&Presets::built_in().get("aws-sns").unwrap().settings);
    let rules = Rules::new(settings, Keys::default(), true).expect("rules");
    let sent = Sent { rules, ..sent };
    assert_eq!(fetching.verify(&sent).await, Verdict::Unverified(Cause::CredentialsWrong));
    assert_eq!(server.requests().len(), 0);
}
