//! The first inputs of the targets: the requests of `src/sources/vectors.json`, and parts of them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;

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
    pub(crate) verify: Option<serde_json::Value>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body_base64: String,
    /// When it comes, in seconds since 1970.
    pub(crate) at: i64,
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

/// The first inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let of_each = |make: fn(&Vector) -> Vec<u8>| VECTORS.iter().map(make).collect::<Vec<_>>();
    match target {
        "source" => of_each(Vector::message),
        "envelope" => of_each(Vector::envelope),
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
        _ => panic!("{target} has no inputs: add them here"),
    }
}
