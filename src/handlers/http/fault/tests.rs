use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use reqwest::{Client, ClientBuilder};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::handlers::http::measure::Progress;

/// A client that speaks HTTP/2 without TLS.
fn over_http2() -> ClientBuilder {
    // The builder needs settings of TLS all the same.
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder().tls_backend_preconfigured(tls).no_proxy().http2_prior_knowledge()
}

#[test]
fn a_fault_says_that_the_target_is_down_unless_hookbox_did_not_send() {
    for kind in ["dns", "tls", "connect_timeout", "connection_refused", "connection_closed", "timeout"] {
        assert_eq!(Fault::new(kind, "").health(), Some(Health::Down), "{kind}");
    }
    let refused = TargetError::Refused {
        target: "10.0.0.1 is a private address".to_owned(),
        range: "10.0.0.0/8".parse().expect("a range"),
    };
    assert_eq!(Fault::from(&refused).health(), None);
    assert_eq!(Fault::new(PANIC, "").health(), None);
    let known = Known { waits_for: WaitsFor::Turn, ..Known::default() };
    assert_eq!(Fault::not_connected(&known, "10s").health(), None);
    let unknown = TargetError::NoAddress { name: "hooks.example".to_owned() };
    assert_eq!(Fault::from(&unknown).health(), Some(Health::Down));
}

#[test]
fn the_error_of_a_connection_that_is_not_there_in_time_names_tls_only_with_it() {
    for (url, expected) in [
        ("http://hooks.example/", "no connection to the target within 10s"),
        ("https://hooks.example/", "no connection with TLS to the target within 10s"),
    ] {
        let known = Progress::to(&url.parse().expect("a URL")).known();
        assert_eq!(Fault::not_connected(&known, "10s").error, expected, "{url}");
    }
}

#[tokio::test]
async fn the_error_names_a_ping_that_the_target_leaves_unanswered() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let soon = Duration::from_millis(20);
    let client = over_http2().http2_keep_alive_interval(soon).http2_keep_alive_timeout(soon);
    let sending = client.build().expect("is made").post(url).send();
    let sent = tokio::time::timeout(Duration::from_secs(30), sending).await.expect("ends");
    let fault = Fault::of_request(&sent.expect_err("is not answered"), &Known::default());
    assert_eq!(fault.error, "the target left an HTTP/2 ping unanswered before its answer began");
    assert_eq!(fault.kind, "ping_timeout");
}

/// How a target ends an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It resets the stream in place of an answer.
    ResetsStream,
    /// It closes the connection after the head of its answer.
    Closes,
    /// It resets the connection after the head of its answer.
    ResetsConnection,
}

/// Answers one request. Reads and writes until the connection ends.
async fn serve(stream: TcpStream, end: End) {
    let mut connection = h2::server::handshake(stream).await.expect("speaks HTTP/2");
    let (_, mut respond) = connection.accept().await.expect("a request").expect("is valid");
    // An answer whose stream is dropped would be reset.
    let _answer = if end == End::ResetsStream {
        respond.send_reset(Reason::INTERNAL_ERROR);
        None
    } else {
        Some(respond.send_response(Response::new(()), false).expect("is sent"))
    };
    while connection.accept().await.is_some() {}
}

/// The fault of an exchange with a target over HTTP/2 that ends like this.
async fn fault_of(end: End) -> Fault {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let client = over_http2().build().expect("is made");
    let sending = tokio::spawn(client.post(url).send());
    let (stream, _) = listener.accept().await.expect("is connected to");
    if end == End::ResetsConnection {
        stream.set_zero_linger().expect("is set");
    }
    let stream = stream.into_std().expect("is a socket");
    let other = stream.try_clone().expect("is cloned");
    let serving = tokio::spawn(serve(TcpStream::from_std(stream).expect("is a socket"), end));
    let answer = match sending.await.expect("does not panic") {
        Ok(answer) => answer,
        Err(error) => return Fault::of_request(&error, &Known::default()),
    };
    if end == End::Closes {
        other.shutdown(Shutdown::Write).expect("is open");
    } else {
        serving.abort();
        // The connection is reset when both sockets are closed.
        drop(other);
    }
    Fault::of_answer(&answer.bytes().await.expect_err("does not end"))
}

#[tokio::test]
async fn the_error_says_how_the_target_ended_an_exchange_over_http2() {
    for (end, kind, expected) in [
        (
            End::ResetsStream,
            "stream_reset",
            "the target reset the request before its answer began, with the code INTERNAL_ERROR",
        ),
        (End::Closes, "connection_closed", "the target closed the connection before the end of its answer"),
        (
            End::ResetsConnection,
            "connection_reset",
            "the target reset the connection before the end of its answer",
        ),
    ] {
        let fault = tokio::time::timeout(Duration::from_secs(30), fault_of(end)).await.expect("ends");
        assert_eq!(fault, Fault::new(kind, expected));
    }
}
