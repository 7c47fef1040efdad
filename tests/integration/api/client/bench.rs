//! `hookbox bench`: which hookbox it asks, and what it says.

use super::{failed, lines, place};

#[tokio::test]
async fn bench_asks_the_hookbox_in_the_environment() {
    let place = place(&[]);
    let _process = place.serve().await;
    let measured = lines(&place, &["bench", "--duration", "100ms", "--connections", "1", "--json"]);
    assert!(measured[0]["accepted"].is_u64(), "{measured:?}");
}

#[test]
fn bench_sends_its_token_nowhere_if_it_cannot_speak_to_the_hookbox_in_the_environment() {
    let mut place = place(&[("HOOKBOX_TOKEN", "hbx_the-token-of-staging")]);
    for (url, why) in [
        ("https://staging.example.com", "speaks no TLS"),
        ("http://staging.example.com/hooks", "without a path"),
        ("staging.example.com:80", "must be http://"),
    ] {
        let (code, told) = failed(&place, &["bench", "--url", url]);
        assert_eq!(code, Some(64), "{url}: {told}");
        assert!(told.contains(why) && told.contains("--url"), "{url}: {told}");
        place.set("HOOKBOX_URL", url);
        let (code, told) = failed(&place, &["bench"]);
        assert_eq!(code, Some(64), "{url}: {told}");
        assert!(told.contains(why) && told.contains("HOOKBOX_URL"), "{url}: {told}");
    }
}
