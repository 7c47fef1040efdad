//! The names of targets, looked up by a resolver of the test.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::FutureExt as _;
use hookbox::internals::handlers::http::Resolver;
use jiff::SignedDuration;

use super::error_of;
use super::target::{OK, Target, route};
use crate::api::harness::{HOUR, Hookbox, Sqlite, eventually};

/// Looks up names, and counts the look-ups.
#[derive(Default)]
struct Names(Arc<AtomicUsize>);

impl Names {
    /// How many look-ups have begun.
    fn begun(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Answers every look-up with one of these addresses after the other, and those after the last one never.
    fn resolver(&self, addresses: &[&str]) -> Arc<Resolver> {
        let addresses = addresses.iter().map(|text| text.parse::<IpAddr>().unwrap()).collect::<Vec<_>>();
        let begun = Arc::clone(&self.0);
        Arc::new(move |_: String| match addresses.get(begun.fetch_add(1, Ordering::SeqCst)) {
            Some(address) => std::future::ready(Ok(vec![SocketAddr::new(*address, 0)])).boxed(),
            None => std::future::pending().boxed(),
        })
    }
}

#[tokio::test]
async fn an_attempt_that_gets_no_connection_in_time_says_what_it_waited_for() {
    // Waits for the end of a head, which the handshake of TLS does not have.
    let target = Target::start([OK]).await;
    let tls = format!("https://{}/", target.address());
    for (url, expected) in [
        ("http://hooks.example/", "the name of the target was not resolved within the timeout of 5s"),
        (&tls, "no connection with TLS to the target within the timeout of 5s"),
    ] {
        let names = Names::default();
        let routes = route(url, "timeout = \"5s\"\nretry = { attempts = 1 }");
        let hookbox = Hookbox::with_resolver(Sqlite, &routes, names.resolver(&[]));
        let id = hookbox.rest.accept("evt-001").await;
        eventually("the begin of the attempt", || async {
            (names.begun() > 0 || target.connections() > 0).then_some(())
        })
        .await;
        hookbox.advance(SignedDuration::from_secs(5));
        let webhook = hookbox.wait_for(&id, "dead_lettered").await;
        assert_eq!(error_of(&webhook), expected);
    }
}

#[tokio::test]
async fn attempts_of_all_routes_share_the_look_up_of_a_name() {
    let names = Names::default();
    let one = route("http://hooks.example/", "timeout = \"5s\"\nretry = { attempts = 1 }");
    let routes = format!("{one}{}", one.replace("\"out\"", "\"two\""));
    let hookbox = Hookbox::with_resolver(Sqlite, &routes, names.resolver(&[]));
    let id = hookbox.rest.accept("evt-001").await;
    eventually("a look-up", || async { (names.begun() > 0).then_some(()) }).await;
    eventually("the end of both attempts", || async {
        hookbox.advance(SignedDuration::from_secs(5));
        (hookbox.rest.webhook(&id).await["status"] == "dead_lettered").then_some(())
    })
    .await;
    assert_eq!(names.begun(), 1);
}

/// DNS rebinding: the address of a name is allowed at first, and refused later.
#[tokio::test]
async fn each_connection_goes_to_an_address_that_was_checked_or_to_none() {
    let target = Target::start([OK]).await;
    let url = format!("http://hooks.example:{}/", target.address().port());
    let more = "allow = [\"::1\"]\nretry = { attempts = 2 }\nbreaker = { failures = 2, base = \"1h\" }";
    let names = Names::default();
    // The target listens at the second address alone.
    let resolver = names.resolver(&["::1", "127.0.0.1"]);
    let hookbox = Hookbox::with_resolver(Sqlite, &route(&url, more), resolver);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    assert_eq!(names.begun(), 1, "the address that was checked is the one that is connected to");
    hookbox.advance(HOUR);
    let webhook = hookbox.wait_for(&id, "dead_lettered").await;
    let expected =
        "hooks.example resolves to 127.0.0.1, a loopback address, which hookbox does not connect to";
    assert!(error_of(&webhook).starts_with(expected), "{webhook}");
    assert_eq!((names.begun(), target.connections()), (2, 0));
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(routes["routes"][0]["breaker"]["state"], "closed", "only the first attempt counts");
}
