//! JSON Web Tokens, as signed texts (RFC 7515, RFC 7519). The algorithm is that of the sender, whatever the token says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::domain::verdict::Cause;

/// The most characters of a token.
const MAX_TOKEN_CHARS: usize = 8 * 1024;

/// The most characters of the id of a key.
const MAX_KEY_ID_CHARS: usize = 128;

/// A token. Nothing of it is proved yet.
pub(in crate::sources) struct Jws<'t> {
    /// What is signed.
    pub(in crate::sources) signed: &'t [u8],
    pub(in crate::sources) signature: Vec<u8>,
    key_id: Option<String>,
    claims: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a reader has to understand.
    crit: Option<IgnoredAny>,
}

impl<'t> Jws<'t> {
    /// Reads a token. Errors: it is not one of this algorithm, or needs something that is not known here.
    pub(in crate::sources) fn read(token: &'t str, algorithm: &str) -> Result<Self, Cause> {
        Self::parts(token, algorithm).ok_or(Cause::SignatureMalformed)
    }

    fn parts(token: &'t str, algorithm: &str) -> Option<Self> {
        if token.len() > MAX_TOKEN_CHARS {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header = serde_json::from_slice::<Header>(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header.alg != algorithm || header.crit.is_some() {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { key_id: header.kid, signed: signed.as_bytes(), signature, claims })
    }

    /// The id of the key: letters, digits, `-` and `_`. Errors: the token names none, or another text.
    pub(in crate::sources) fn key_id(&self) -> Result<&str, Cause> {
        let is_id_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_id = |id: &&str| (1..=MAX_KEY_ID_CHARS).contains(&id.len()) && id.bytes().all(is_id_char);
        self.key_id.as_deref().filter(is_id).ok_or(Cause::SignatureMalformed)
    }

    /// The claims. To be read after the signature is verified. Errors: one that has to be there is not.
    pub(in crate::sources) fn claims<T: DeserializeOwned>(&self) -> Result<T, Cause> {
        serde_json::from_slice(&self.claims).map_err(|_| Cause::SignatureMalformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let parts = [header, claims, "signature"];
        let [header, claims, signature] = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.{signature}")
    }

    #[test]
    fn a_token_of_the_algorithm_is_taken_apart() {
        let token = token(r#"{"alg":"ES256","kid":"key-1","typ":"JWT"}"#, r#"{"iat":1}"#);
        let jws = Jws::read(&token, "ES256").expect("reads");
        assert_eq!((jws.key_id(), jws.signature.as_slice()), (Ok("key-1"), &b"signature"[..]));
        assert_eq!(Some(jws.signed), token.rsplit_once('.').map(|(signed, _)| signed.as_bytes()));
        assert_eq!(jws.claims::<serde_json::Value>().expect("claims")["iat"], 1);
    }

    #[test]
    fn other_tokens_are_refused() {
        let good = token(r#"{"alg":"ES256","kid":"key-1"}"#, "{}");
        assert!(Jws::read(&good, "ES256").is_ok());
        let large = token(r#"{"alg":"ES256","kid":"key-1"}"#, &"a".repeat(MAX_TOKEN_CHARS));
        for token in [
            String::new(),
            "..".to_owned(),
            good.replace('.', "-"),
            format!("{good}.e30"),
            format!("{good}="),
            format!("{good}+"),
            good.rsplit_once('.').expect("three parts").0.to_owned(),
            token(r#"{"alg":"none","kid":"key-1"}"#, "{}"),
            token(r#"{"alg":"HS256","kid":"key-1"}"#, "{}"),
            token(r#"{"alg":"es256","kid":"key-1"}"#, "{}"),
            token(r#"{"kid":"key-1"}"#, "{}"),
            token(r#"{"alg":"ES256","kid":1}"#, "{}"),
            token(r#"{"alg":"ES256","kid":"key-1","crit":["exp"]}"#, "{}"),
            token(r#"{"alg":"none","alg":"ES256","kid":"key-1"}"#, "{}"),
            token("[]", "{}"),
            large,
        ] {
            assert!(Jws::read(&token, "ES256").is_err(), "{token}");
        }
    }

    #[test]
    fn the_id_of_a_key_is_short_and_made_of_letters_digits_and_two_signs() {
        let long = format!(r#""{}""#, "a".repeat(MAX_KEY_ID_CHARS + 1));
        for (id, is_id) in [
            (r#""Key_1-""#, true),
            ("null", false),
            (r#""""#, false),
            (r#""../a""#, false),
            (r#""a b""#, false),
            (long.as_str(), false),
        ] {
            let token = token(&format!(r#"{{"alg":"ES256","kid":{id}}}"#), "{}");
            assert_eq!(Jws::read(&token, "ES256").expect("reads").key_id().is_ok(), is_id, "{id}");
        }
        let without = token(r#"{"alg":"ES256"}"#, "{}");
        assert!(Jws::read(&without, "ES256").expect("reads").key_id().is_err());
    }
}
