//! How many requests one core verifies a second, by each kind of signature, with real rules (`docs/BENCHMARKS.md`).
//!
//! ```sh
//! cargo run --release --example verify_speed
//! ```
//!
//! Bodies have 1 KiB, but that of RSA has 13 bytes: its signature was made elsewhere. The exit code is 1 if a goal is
//! missed.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox::internals::domain::secret::Secret;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::sources::{Keys, Presets, Request, Rules, Settings, verify};
use hookbox::internals::telemetry::metrics::Stopwatch;
use jiff::Timestamp;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Requests a second.
const GOAL: f64 = 8_000.0;

/// How long each kind is measured, after a tenth of it to warm up.
const TIME: Duration = Duration::from_secs(2);

/// Requests between two looks at the time.
const BATCH: u32 = 50;

/// When requests are signed and come, in seconds since 1970.
const AT: i64 = 1_767_225_600;

/// A public key and its signature of `Hello, World!` by SHA-256, as in `src/sources/fixture.rs`.
const RSA_PUBLIC_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuoQixXyZlrWE7+auAYoY\
    cQeE+7FbSs1RB0RkMVchbSmeN+adRa2LWMolECWgfNubJodYbzOBD1z0rBlB6rkx\
    mG7JdQA23t1uGUnSgN72DN7cED7XaJG78yx6Qdec3KQa8NtuzwpkmKIbmoedNGXE\
    w1C68JqlG/Zuxj3nalUvGjqF/Q2TB9ha6TuOM8kieprSqhTm0fEqXRZue4pNLWKe\
    4dPl1aliYYdsVH1ydNF1UB38MAB8P8R5B129hakn+hsw2LVDt5J+30D2avjHgwz6\
    XSjldoVioHSjtdKiv+ANRcKhCJKWWmqGkqW6NLU9NVyLBVO2yp0m3dYq5xMVDW8H\
    YwIDAQAB";
const RSA_SIGNATURE: &str = "m1nUdE0FK5IyrfaSS/2CPvLREuqlMvImsU7f7Otfcy3S+MfyrstKYlvd/U+DYtyp7eCX6qHbA28Z1S9bWHUqpeVr\
    ZgnFoNDIcBhY7zqF94kTp/qtJwOCl4q0BJu7P0T1ZOPoSijvf04sCN1q1u4IRjt81wR2CN3GPZS251tFQ5W/cbyD\
    K9wMetTvjnW4572muCNL8D5n8TC/NWFSW764rrRjCH5N5NAaAaeKow7Jggqmx5thUJI0KBN8UUabPbZndTyhBg7R\
    R0R42bmuSqbp0lb5YbuT74nz1Enj4TJRtt9+nfTmVgnQjygaUS7EH3f5jLeaEhEoxAbBXh5A+oqWdQ==";

/// A signed request, and the rules that verify it.
struct Subject {
    name: &'static str,
    rules: Rules,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn main() -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for subject in [hmac_sha256()?, ed25519()?, ecdsa_p256()?, rsa_2048()?] {
        let rate = measure(&subject)?;
        let missed = if rate < GOAL { ", missed" } else { "" };
        println!("{:24} {rate:>9.0} a second (goal {GOAL:.0}{missed})", subject.name);
        if rate < GOAL {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// Requests that are verified a second, one after the other.
fn measure(subject: &Subject) -> Result<f64> {
    let headers = subject.headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>();
    let request = Request {
        id: "r1",
        method: "POST",
        url: Some("https://hooks.example.com/v1/sources/a/webhooks"),
        query: "",
        headers: &headers,
        body: &subject.body,
        received_at: Timestamp::from_second(AT)?,
    };
    let run = |time: Duration| -> Result<f64> {
        let (began, mut count) = (Stopwatch::start(), 0_u32);
        while began.elapsed() < time {
            for _ in 0..BATCH {
                if verify(std::hint::black_box(&request), &subject.rules) != Verdict::Verified {
                    return Err(format!("{} does not verify", subject.name).into());
                }
            }
            count += BATCH;
        }
        Ok(f64::from(count) / began.seconds())
    };
    run(TIME / 10)?;
    run(TIME)
}

fn hmac_sha256() -> Result<Subject> {
    let (secret, body) = ("whsec_of_this_example", body());
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[format!("{AT}.").as_bytes(), &body].concat());
    let hex = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = Keys { secrets: vec![Secret::from(secret.to_owned())], ..Keys::default() };
    let headers = vec![("stripe-signature", format!("t={AT},v1={hex}"))];
    Ok(Subject { name: "HMAC-SHA256 (stripe)", rules: preset("stripe", keys)?, headers, body })
}

fn ed25519() -> Result<Subject> {
    let body = body();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|_| "the seed is no key")?;
    let signature = pair.sign(&[format!("{AT}|").as_bytes(), &body].concat());
    let headers =
        vec![("telnyx-signature-ed25519", STANDARD.encode(signature)), ("telnyx-timestamp", AT.to_string())];
    let rules = preset("telnyx", public_key(pair.public_key().as_ref()))?;
    Ok(Subject { name: "Ed25519 (telnyx)", rules, headers, body })
}

fn ecdsa_p256() -> Result<Subject> {
    let (body, random) = (body(), SystemRandom::new());
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| "no key could be made")?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
        .map_err(|_| "the key cannot be read")?;
    let signed = [AT.to_string().as_bytes(), &body].concat();
    let signature = pair.sign(&random, &signed).map_err(|_| "nothing could be signed")?;
    let headers = vec![
        ("x-twilio-email-event-webhook-signature", STANDARD.encode(signature)),
        ("x-twilio-email-event-webhook-timestamp", AT.to_string()),
    ];
    let rules = preset("sendgrid", public_key(pair.public_key().as_ref()))?;
    Ok(Subject { name: "ECDSA P-256 (sendgrid)", rules, headers, body })
}

fn rsa_2048() -> Result<Subject> {
    let text = "verify = { signature = \"rsa-sha256\", header = \"x-signature\", encoding = \"base64\" }\nkey = \"body\"";
    let mut settings = Settings::default();
    for (member, value) in toml::from_str::<toml::Table>(text)? {
        settings.set(&member, value)?;
    }
    let keys = Keys { public_keys: vec![RSA_PUBLIC_KEY.to_owned()], ..Keys::default() };
    let headers = vec![("x-signature", RSA_SIGNATURE.to_owned())];
    Ok(Subject {
        name: "RSA-2048 with SHA-256",
        rules: compiled(settings, keys)?,
        headers,
        body: b"Hello, World!".to_vec(),
    })
}

/// A body of 1 KiB.
fn body() -> Vec<u8> {
    format!("{{\"id\":\"evt_1\",\"note\":\"{}\"}}", "x".repeat(1_000)).into_bytes()
}

fn public_key(key: &[u8]) -> Keys {
    Keys { public_keys: vec![STANDARD.encode(key)], ..Keys::default() }
}

fn preset(name: &str, keys: Keys) -> Result<Rules> {
    let preset = Presets::built_in().get(name).ok_or_else(|| format!("there is no preset {name}"))?;
    compiled(preset.settings.clone(), keys)
}

fn compiled(settings: Settings, keys: Keys) -> Result<Rules> {
    Rules::new(settings, keys, true).map_err(|mistakes| format!("{mistakes:?}").into())
}
