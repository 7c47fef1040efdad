//! The first inputs of the targets: the requests of `src/sources/vectors.json`, and parts of them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookbox::internals::grpc::proto::SubmitWebhookRequest;
use hookbox::internals::grpc::proto::submit_webhook_request::Content;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use serde::Deserialize;
use serde_json::Value;

/// The token that callers have.
pub(crate) const TOKEN: &str = "hbx_the-token-of-an-operator";

/// Requests as their senders sign them, handshakes among them.
pub(crate) static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(|| {
    let text = include_str!("../../../src/sources/vectors.json");
    let Vectors { mut vectors, handshakes } = serde_json::from_str(text).expect("the vectors are JSON");
    vectors.extend(handshakes);
    vectors
});

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
    handshakes: Vec<Vector>,
}

/// A request, with the keys of its source.
#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) preset: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) public_keys: Vec<String>,
    pub(crate) verify_token: Option<String>,
    /// Members of `verify` that the preset lacks.
    pub(crate) verify: Option<Value>,
    /// What servers answer that are asked for keys.
    #[serde(default)]
    pub(crate) fetched: Vec<Fetched>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body_base64: String,
    /// When it comes, in seconds since 1970.
    pub(crate) at: i64,
}

/// What is answered to a question for keys; to GET, if there is no question.
#[derive(Deserialize)]
pub(crate) struct Fetched {
    pub(crate) url: String,
    pub(crate) question: Option<Value>,
    answer_base64: String,
}

impl Fetched {
    pub(crate) fn answer(&self) -> Vec<u8> {
        STANDARD.decode(&self.answer_base64).expect("the answer is base64")
    }
}

impl Vector {
    pub(crate) fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body_base64).expect("the body is base64")
    }

    /// The headers, one on each line.
    fn headers(&self) -> Vec<u8> {
        self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>().into_bytes()
    }

    /// The preset, the time, the method and the URL on the first line, then headers, an empty line, and the body.
    fn message(&self) -> Vec<u8> {
        let first = format!("{} {} {} {}\n", self.preset, self.at, self.method, self.url);
        [first.as_bytes(), &self.headers(), b"\n", &self.body()].concat()
    }

    /// A body of `POST /v1/webhooks` with this payload, after a line for the key in the header.
    fn envelope(&self) -> Vec<u8> {
        let members = br#"{"idempotency_key":"k","event_type":"t","payload":"#;
        [&b"\n"[..], &members[..], &self.body(), b"}"].concat()
    }

    /// A message `SubmitWebhookRequest` with the body as a value, or as a text if it is not JSON.
    fn submission(&self) -> Vec<u8> {
        let body = self.body();
        let text = || Content::PayloadJson(String::from_utf8_lossy(&body).into_owned());
        let value = serde_json::from_slice(&body).map(|json| Content::Payload(value_of(json)));
        encoded(value.unwrap_or_else(|_| text()))
    }

    /// The content type on the first line, then the body.
    fn typed(&self) -> Vec<u8> {
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        let content_type =
            self.headers.iter().find(|(name, _)| is_type(name)).map(|(_, value)| value.as_str());
        [content_type.unwrap_or_default().as_bytes(), b"\n", &self.body()].concat()
    }

    /// The query on the first line, then the body.
    fn queried(&self) -> Vec<u8> {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        [query.as_bytes(), b"\n", &self.body()].concat()
    }
}

/// A message `SubmitWebhookRequest`.
fn encoded(content: Content) -> Vec<u8> {
    let (idempotency_key, event_type) = ("k".to_owned(), "t".to_owned());
    SubmitWebhookRequest { idempotency_key, event_type, content: Some(content) }.encode_to_vec()
}

/// A JSON value as a message.
fn value_of(json: Value) -> prost_types::Value {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.into_iter().map(value_of).collect() })
        }
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, value_of(value)));
            Kind::StructValue(Struct { fields: members.collect() })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

/// The first inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let of_each = |make: fn(&Vector) -> Vec<u8>| VECTORS.iter().map(make).collect::<Vec<_>>();
    match target {
        "source" => of_each(Vector::message),
        "envelope" => of_each(Vector::envelope),
        "message" => {
            let texts = ["{\"a\": 1.10}", "\"cut \\ud83d\"", "[1e999]"];
            let texts = texts.map(|json| encoded(Content::PayloadJson(json.to_owned())));
            [of_each(Vector::submission), texts.to_vec()].concat()
        }
        "payload" => of_each(Vector::body),
        "headers" => of_each(Vector::headers),
        "content_type" => of_each(Vector::typed),
        "form" => of_each(Vector::queried),
        "traceparent" => vec![
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec(),
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more".to_vec(),
        ],
        "hosts" => vec![
            b"GET /v1/webhooks\nHost: localhost:8080".to_vec(),
            b"POST /v1/pause\nHost: hookbox\nOrigin: http://hookbox\nSec-Fetch-Site: same-origin".to_vec(),
            b"POST /v1/pause\nHost: [::ffff:127.0.0.1]:80\nOrigin: https://hooks.example".to_vec(),
            b"POST /v1/webhooks\nHost: app.localhost.\nOrigin: http://evil.example".to_vec(),
            b"GET http://127.0.0.1:8080/readyz\nHost: evil.example".to_vec(),
        ],
        "credentials" => {
            let cookie = URL_SAFE_NO_PAD.encode(TOKEN);
            vec![
                format!("Authorization: Bearer {TOKEN}\nCookie: a=b; hookbox={cookie}").into_bytes(),
                format!("Cookie: hookbox={cookie}; hookbox=\nAuthorization: Basic dTpw").into_bytes(),
                format!("Authorization: bearer  {TOKEN}\nauthorization: Bearer another").into_bytes(),
            ]
        }
        "login" => vec![
            format!("token={TOKEN}&next=%2Fwebhooks%3Fstatus%3Dpending%23top").into_bytes(),
            format!("next=//evil.example&token=+{TOKEN}%0A").into_bytes(),
            b"token=hbx_another&next=/a/%252E%252e/b&next=/&token=".to_vec(),
            b"next=/%5Cevil.example&token=%00".to_vec(),
        ],
        "body" => {
            let others = [
                r#"{"id":"1","items":[{"total":1.50},{"id":"abc"}],"<b>":"<i>&\u202e\ud83d"}"#,
                r#"{"id":-10e-1,"data":{"object":{"id":"evt"}}}"#,
                r#"[{"id":true},"\"",null,18446744073709551615]"#,
            ];
            let others = others.map(|json| format!("application/json\n{json}").into_bytes());
            let form = b"application/x-www-form-urlencoded\nid=1&id=%ff&a=b+c".to_vec();
            [of_each(Vector::typed), others.to_vec(), vec![form]].concat()
        }
        _ => panic!("{target} has no inputs: add them here"),
    }
}
