//! Keys that are fetched, from a server of the test that takes the place of those of the senders. The requests are
//! those of `src/sources/vectors.json`.

mod limits;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::secret::Secret;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use hookbox::internals::domain::webhook::Source;
use hookbox::internals::keys::{FetchError, KeyFetcher, Network};
use hookbox::internals::sources::{Handshake, Keys, Presets, Request, Rules, Settings, Visit, handshake};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use self::server::{Does, KeyServer};
use crate::support::tls::Authority;

/// How long a verification may take in the time of the system.
const SOON: Duration = Duration::from_secs(20);

const UNAVAILABLE: Verdict = Verdict::Unverified(Cause::KeyUnavailable);

/// A fetcher whose servers are all the same one, and its clock.
struct Fetching {
    fetcher: KeyFetcher,
    clock: Arc<ManualClock>,
}

impl Fetching {
    fn from(server: &KeyServer) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let network = Network::new(server.resolver(), server.authority());
        Self { fetcher: KeyFetcher::new(clock.clone(), network, 1), clock }
    }

    fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    async fn verify(&self, sent: &Sent) -> Verdict {
        self.verify_for(&Source::default(), sent).await
    }

    async fn verify_for(&self, source: &Source, sent: &Sent) -> Verdict {
        let headers = sent.headers();
        let verifying = async { self.fetcher.verify(source, &sent.request(&headers), &sent.rules).await };
        tokio::time::timeout(SOON, verifying).await.expect("in time")
    }

    async fn confirm(&self, visit: &Visit) -> Result<(), FetchError> {
        tokio::time::timeout(SOON, self.fetcher.confirm(visit)).await.expect("in time")
    }
}

/// A request of a sender, and the rules of its source.
struct Sent {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: i64,
    rules: Rules,
    /// What the server of the sender answers.
    answer: String,
    /// What it is asked, of senders that post.
    question: Value,
    url: String,
}

impl Sent {
    /// The first request of a preset that is verified.
    fn by(preset: &str) -> Self {
        Self::of("vectors", preset)
    }

    fn of(kind: &str, preset: &str) -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sources/vectors.json");
        let vectors = serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap();
        let is_it = |vector: &&Value| vector["preset"] == preset;
        let vector = vectors[kind].as_array().unwrap().iter().find(is_it).expect(preset);
        let decoded = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        let mut settings = Settings::default();
        settings.set("verify", vector["verify"].clone()).unwrap();
        let settings = settings.over(&Presets::built_in().get(preset).expect(preset).settings);
        let secrets = vector["secrets"].as_array().unwrap().iter();
        let secrets = secrets.map(|secret| Secret::from(secret.as_str().unwrap().to_owned()));
        let keys = Keys { secrets: secrets.collect(), ..Keys::default() };
        let fetched = &vector["fetched"][0];
        Self {
            headers: serde_json::from_value(vector["headers"].clone()).unwrap(),
            body: decoded(&vector["body_base64"]),
            at: vector["at"].as_i64().unwrap(),
            rules: Rules::new(settings, keys, true).expect("rules"),
            answer: String::from_utf8(decoded(&fetched["answer_base64"])).unwrap(),
            question: fetched["question"].clone(),
            url: fetched["url"].as_str().unwrap().to_owned(),
        }
    }

    fn headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }

    fn request<'a>(&'a self, headers: &'a [(&'a str, &'a [u8])]) -> Request<'a> {
        Request {
            id: "r1",
            method: "POST",
            url: None,
            query: "",
            headers,
            body: &self.body,
            received_at: Timestamp::from_second(self.at).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_key_is_fetched_once_from_the_server_of_the_sender() {
    for preset in
        ["aws-sns", "paypal", "google-pubsub", "plaid", "azure-event-grid-entra", "microsoft-graph-rich"]
    {
        let sent = Sent::by(preset);
        let server = KeyServer::start(Does::answer(&sent.answer)).await;
        let fetching = Fetching::from(&server);
        for _ in 0..3 {
            assert_eq!(fetching.verify(&sent).await, Verdict::Verified, "{preset}");
        }
        let requests = server.requests();
        let [request] = requests.as_slice() else { panic!("{preset}: {requests:?}") };
        let (method, question) = match &sent.question {
            Value::Null => ("GET", Value::Null),
            question => ("POST", question.clone()),
        };
        let (host, path) = sent.url.strip_prefix("https://").unwrap().split_once('/').unwrap();
        assert_eq!(request.line, format!("{method} /{path} HTTP/1.1"));
        assert_eq!(request.headers["host"], host);
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap_or_default(), question);
    }
}

#[tokio::test]
async fn requests_that_come_together_share_one_fetch() {
    let sent = Sent::by("google-pubsub");
    let server = KeyServer::start(Does::answer(&sent.answer)).await;
    let fetching = Fetching::from(&server);
    let verdicts = futures::future::join_all((0..50).map(|_| fetching.verify(&sent))).await;
    assert_eq!(verdicts, [Verdict::Verified; 50]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_if_its_caller_gives_up() {
    let sent = Sent::by("google-pubsub");
    let server = KeyServer::start(Does::answer(&sent.answer)).await;
    let fetching = Fetching::from(&server);
    tokio::select! {
        biased;
        _ = fetching.verify(&sent) => panic!("the key is not there yet"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_key_is_fetched_again_when_it_is_as_old_as_the_server_says() {
    let sent = Sent::by("google-pubsub");
    let answer = Does::Answer(format!(
        "HTTP/1.1 200 OK\r\ncache-control: public, max-age=600\r\ncontent-length: {}\r\n\r\n{}",
        sent.answer.len(),
        sent.answer
    ));
    let server = KeyServer::start(answer).await;
    let fetching = Fetching::from(&server);
    for (seconds, requests) in [(0, 1), (599, 1), (1, 2), (599, 2), (1, 3)] {
        fetching.advance(seconds);
        assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
        assert_eq!(server.requests().len(), requests);
    }
    // An outage later, the last keys are still used.
    server.does(Does::answer_status("503 Service Unavailable"));
    fetching.advance(600);
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_key_that_google_has_just_begun_to_use_is_told_as_temporary_until_the_set_is_fetched_again() {
    let sent = Sent::by("google-pubsub");
    let mut set = serde_json::from_str::<Value>(&sent.answer).unwrap();
    for key in set["keys"].as_array_mut().unwrap() {
        key["kid"] = "of-yesterday".into();
    }
    let server = KeyServer::start(Does::answer(&set.to_string())).await;
    let fetching = Fetching::from(&server);
    assert_eq!(fetching.verify(&sent).await, UNAVAILABLE);
    server.does(Does::answer(&sent.answer));
    fetching.advance(59);
    assert_eq!(fetching.verify(&sent).await, UNAVAILABLE);
    assert_eq!(server.requests().len(), 1);
    fetching.advance(1);
    assert_eq!(fetching.verify(&sent).await, Verdict::Verified);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_subscription_is_confirmed_by_a_visit() {
    let sent = Sent::of("handshakes", "aws-sns");
    let headers = sent.headers();
    let Some(Handshake::Answered(answer)) =
        handshake(&sent.request(&headers), Verdict::Verified, &sent.rules)
    else {
        panic!("it is no handshake")
    };
    let visit = answer.visit.expect("a visit");
    let server = KeyServer::start(Does::answer("<ConfirmSubscriptionResponse/>")).await;
    let fetching = Fetching::from(&server);
    fetching.confirm(&visit).await.expect("is confirmed");
    let request = server.requests().remove(0);
    assert_eq!(request.headers["host"], "sns.eu-central-1.amazonaws.com");
    assert!(request.line.starts_with("GET /?Action=ConfirmSubscription&TopicArn=arn:aws:"), "{request:?}");
    for does in [
        Does::answer_status("403 Forbidden"),
        Does::answer_status("302 Found"),
        Does::answer_status("500 Internal Server Error"),
        Does::Endless,
    ] {
        server.does(does.clone());
        let error = fetching.confirm(&visit).await.expect_err("is not confirmed");
        assert!(matches!(error, FetchError::Status(_) | FetchError::TooLong), "{does:?}: {error}");
        assert!(!format!("{error:?}").contains("Token="), "{error:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_host_is_told_when_a_subscription_is_confirmed() {
    let sent = Sent::of("handshakes", "aws-sns");
    let headers = sent.headers();
    let Some(Handshake::Answered(answer)) =
        handshake(&sent.request(&headers), Verdict::Verified, &sent.rules)
    else {
        panic!("it is no handshake")
    };
    let visit = answer.visit.expect("a visit");
    let authority = Authority::new();
    let issued = authority.issue_for(&["www.evil.example"]);
    let server = KeyServer::start_with(Does::answer(""), &authority.pem(), &issued).await;
    let error = Fetching::from(&server).confirm(&visit).await.expect_err("is not confirmed");
    assert_eq!(
        error.to_string(),
        "the certificate of the server is not accepted: it is not for `sns.eu-central-1.amazonaws.com`; it is for \
         `www.evil.example`"
    );
}
