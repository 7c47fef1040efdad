//! Requests and keys for the tests of this folder.

use jiff::Timestamp;

use super::keys::Keys;
use super::request::Request;
use super::rules::Rules;
use super::settings::Settings;
use crate::domain::secret::Secret;

/// When the requests of the tests come, in seconds since 1970.
pub(super) const NOW: i64 = 1_614_265_330;

/// A key made for these tests by `openssl genrsa`; its private half was not kept.
pub(super) const RSA_PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuoQixXyZlrWE7+auAYoY\n\
cQeE+7FbSs1RB0RkMVchbSmeN+adRa2LWMolECWgfNubJodYbzOBD1z0rBlB6rkx\n\
mG7JdQA23t1uGUnSgN72DN7cED7XaJG78yx6Qdec3KQa8NtuzwpkmKIbmoedNGXE\n\
w1C68JqlG/Zuxj3nalUvGjqF/Q2TB9ha6TuOM8kieprSqhTm0fEqXRZue4pNLWKe\n\
4dPl1aliYYdsVH1ydNF1UB38MAB8P8R5B129hakn+hsw2LVDt5J+30D2avjHgwz6\n\
XSjldoVioHSjtdKiv+ANRcKhCJKWWmqGkqW6NLU9NVyLBVO2yp0m3dYq5xMVDW8H\n\
YwIDAQAB\n\
-----END PUBLIC KEY-----";

/// The signature of `Hello, World!` by this key and SHA-1, made by `openssl dgst -sha1 -sign`.
pub(super) const RSA_SHA1_SIGNATURE: &str = "\
    jWjtTjCsrAu5Lgw+ypdXB16Gs3geXkVFyUgdpwofVdSgJI31Fl+TyAhEDG7k6+n1XlpNDYzFjKFaUuo8Pv7OoR8Y\
    C+gMF+4/R7QaUGONze1gGIuqbVMYiiuK+zwtMhL9Ykg6wZ5x9TGoWKVvP4H2cM1rMLYBFwbZ8k4yFBcLXc0nwGM2\
    Z0QSHLS05z4/4ZSuRXwCUSm6b9YOEtX2HtZLViCtNy1Aj7SoWbecOrXivdIYHVgn9Iws5dzLe3aXn/ktr30cOVvZ\
    dTaJANUOnWNtrjC1TTl8GVSR8zR24BBIuCCi/ACH5hdVa9oZCX4Mz2MR1ImykeH848QmwUDkt/HfEQ==";

/// The same with SHA-256.
pub(super) const RSA_SHA256_SIGNATURE: &str = "\
    m1nUdE0FK5IyrfaSS/2CPvLREuqlMvImsU7f7Otfcy3S+MfyrstKYlvd/U+DYtyp7eCX6qHbA28Z1S9bWHUqpeVr\
    ZgnFoNDIcBhY7zqF94kTp/qtJwOCl4q0BJu7P0T1ZOPoSijvf04sCN1q1u4IRjt81wR2CN3GPZS251tFQ5W/cbyD\
    K9wMetTvjnW4572muCNL8D5n8TC/NWFSW764rrRjCH5N5NAaAaeKow7Jggqmx5thUJI0KBN8UUabPbZndTyhBg7R\
    R0R42bmuSqbp0lb5YbuT74nz1Enj4TJRtt9+nfTmVgnQjygaUS7EH3f5jLeaEhEoxAbBXh5A+oqWdQ==";

/// A request by POST.
pub(super) fn request<'a>(headers: &'a [(&'a str, &'a [u8])], body: &'a [u8]) -> Request<'a> {
    Request {
        id: "r1",
        method: "POST",
        url: Some("https://hooks.example.com/v1/sources/a/webhooks"),
        query: "",
        headers,
        body,
        received_at: Timestamp::from_second(NOW).expect("in range"),
    }
}

/// The rules that a TOML text describes, with these secrets.
pub(super) fn rules(settings: &str, secrets: &[&str]) -> Rules {
    let secrets = secrets.iter().map(|secret| Secret::from((*secret).to_owned())).collect();
    with_keys(settings, Keys { secrets, ..Keys::default() })
}

/// The rules that a TOML text describes, with these keys.
pub(super) fn with_keys(settings: &str, keys: Keys) -> Rules {
    Rules::new(self::settings(settings), keys, true)
        .unwrap_or_else(|mistakes| panic!("{settings}: {mistakes:?}"))
}

/// The settings that a TOML text describes.
pub(super) fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    for (member, value) in toml::from_str::<toml::Table>(text).expect(text) {
        settings.set(&member, value).expect(text);
    }
    settings
}

/// Settings with the members of `verify` that they need.
pub(super) fn completed(settings: &Settings) -> Settings {
    let members = settings.needs().into_iter().filter_map(|member| match member {
        "verify.topics" => Some("topics = \"arn:aws:sns:eu-central-1:123456789012:orders\""),
        "verify.webhook_id" => Some("webhook_id = \"id\""),
        "verify.issuer" => Some("issuer = \"https://login.example.com/\""),
        "verify.audience" => Some("audience = \"https://hooks.example.com/\""),
        "verify.email" => Some("email = \"push@project.iam.gserviceaccount.com\""),
        "verify.client_id" => Some("client_id = \"id\""),
        _ => None,
    });
    let members = members.collect::<Vec<_>>();
    if members.is_empty() {
        return settings.clone();
    }
    self::settings(&format!("verify = {{ {} }}", members.join(", "))).over(settings)
}
