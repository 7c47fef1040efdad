//! What is signed here is verified as a request of the sender.

use serde_json::Value;

use super::*;
use crate::sources::fixture::{NOW, rules};
use crate::sources::{Keys, Presets, read};

fn draft(content_type: &str, body: &str) -> Draft {
    Draft {
        id: "evt-001".to_owned(),
        key: None,
        event_type: None,
        url: "https://hooks.example.com/v1/sources/a/webhooks".to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        body: body.as_bytes().to_vec(),
        at: Timestamp::from_second(NOW).expect("in range"),
    }
}

fn json(body: &str) -> Draft {
    draft("application/json", body)
}

/// A body that no handshake signs.
const FORM: &str = "a=1&b=2";

/// Presets whose scheme is code.
const OWN_SCHEMES: [&str; 3] = ["adyen", "coinbase-cdp", "plaid"];

/// The rules of a preset with one of these secrets; none if it takes none of them.
fn rules_of(preset: &str) -> Option<Rules> {
    let settings = &Presets::built_in().get(preset).expect(preset).settings;
    let secrets = ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "0123456789abcdef", "user:password"];
    secrets.into_iter().find_map(|secret| {
        let keys = Keys {
            secrets: vec![Secret::from(secret.to_owned())],
            public_keys: Vec::new(),
            verify_token: Some(Secret::from("token".to_owned())),
        };
        Rules::new(settings.clone(), keys, true).ok()
    })
}

#[test]
fn requests_of_every_preset_with_a_secret_are_signed_and_verified() {
    let mut signed_presets = 0;
    for (name, preset) in Presets::built_in().iter() {
        let settings = &preset.settings;
        if !settings.needs().contains(&"secrets") || OWN_SCHEMES.contains(&name) {
            continue;
        }
        let rules = rules_of(name).unwrap_or_else(|| panic!("{name} takes a secret"));
        for draft in [json("{}"), json(""), draft("application/x-www-form-urlencoded", FORM)] {
            let is_form = draft.body == FORM.as_bytes();
            let signed = match sign(&draft, &rules) {
                Ok(signed) => signed,
                // Its signature, or its key, is in JSON.
                Err(SignError::NoObject) if is_form => continue,
                Err(SignError::NoForm) if !is_form => continue,
                Err(error) => panic!("{name}: {error}"),
            };
            let verdict = signed.with_request(|request| verify(request, &rules));
            assert_eq!(verdict, Verdict::Verified, "{name}");
            if rules.split.is_none() {
                let read = signed.with_request(|request| read(request, &rules).map(|items| items.len()));
                assert_eq!(read, Ok(1), "{name}");
            }
            signed_presets += usize::from(!is_form);
        }
    }
    assert!(signed_presets > 80, "{signed_presets}");
}

#[test]
fn a_request_that_is_changed_or_signed_with_another_secret_is_not_verified() {
    const STRIPE: &str = "verify = { hmac = \"sha256\", header = \"Stripe-Signature\", separator = \",\", prefix = \"v1=\", signed = \"{timestamp}.{body}\", timestamp = { item = \"t=\" } }\nkey = { json = \"/id\" }";
    let (ours, other) = (rules(STRIPE, &["ours"]), rules(STRIPE, &["other"]));
    let mut signed = sign(&json(r#"{"id":"1"}"#), &ours).expect("signs");
    assert_eq!(signed.with_request(|request| verify(request, &ours)), Verdict::Verified);
    let mismatch = Verdict::Unverified(Cause::SignatureMismatch);
    assert_eq!(signed.with_request(|request| verify(request, &other)), mismatch);
    assert_eq!(signed.body, br#"{"id":"1"}"#, "a body that has everything is sent as it is");
    signed.body = br#"{"id":"2"}"#.to_vec();
    assert_eq!(signed.with_request(|request| verify(request, &ours)), mismatch);
}

#[test]
fn what_is_not_there_is_put_where_the_rules_look_for_it_and_nothing_is_replaced() {
    const OTHERS: &str = "verify = \"none\"\nkey = [{ header = \"X-Id\" }, { json = \"/meta/id\" }]\nevent_type = [{ query = \"type\" }, { json = \"/action\" }]";
    let rules = rules(OTHERS, &[]);
    let signed = sign(&json(""), &rules).expect("signs");
    assert_eq!(signed.body, br#"{"meta":{"id":"evt-001"}}"#);
    assert_eq!(signed.full_url(), "https://hooks.example.com/v1/sources/a/webhooks?type=test");
    assert!(signed.headers.contains(&("X-Id".to_owned(), "evt-001".to_owned())));

    let mut given = json(r#"{"meta": {"id": 7}}"#);
    given.query = "type=paid".to_owned();
    given.headers.push(("x-id".to_owned(), "mine".to_owned()));
    let signed = sign(&given, &rules).expect("signs");
    assert_eq!((&signed.body, &signed.query, &signed.headers), (&given.body, &given.query, &given.headers));
    for body in ["[1]", "1", "{"] {
        assert_eq!(sign(&json(body), &rules).err(), Some(SignError::NoObject), "{body}");
    }
}

/// The key and the event type of the only webhook of a request.
fn names(draft: &Draft, rules: &Rules) -> (String, Option<String>) {
    draft.with_request(|request| {
        let mut items = read(request, rules).expect("reads");
        let item = items.pop().filter(|_| items.is_empty()).expect("one webhook");
        (item.key.as_str().to_owned(), item.event_type.map(|event_type| event_type.as_str().to_owned()))
    })
}

#[test]
fn a_type_that_is_a_part_of_the_key_is_no_key() {
    for (preset, key) in [
        ("shopify", "evt-001:test:evt-001"),
        ("docusign", "evt-001:test:evt-001"),
        ("calendly", "evt-001:test:evt-001"),
        ("figma", "evt-001:evt-001:test:evt-001"),
        ("stripe", "evt-001"),
    ] {
        let rules = rules_of(preset).expect(preset);
        let signed = sign(&json("{}"), &rules).expect(preset);
        assert_eq!(names(&signed, &rules), (key.to_owned(), Some("test".to_owned())), "{preset}");
    }
    // What the request says of its type stays.
    let rules = rules_of("sentry").expect("it takes a secret");
    let signed = sign(&json(r#"{"action":"created"}"#), &rules).expect("signs");
    assert_eq!(names(&signed, &rules).1.as_deref(), Some("created"));
}

#[test]
fn a_key_and_a_type_that_are_given_are_those_of_the_webhook_or_the_request_is_refused() {
    let given =
        |body: &str| Draft { key: Some("k-1".to_owned()), event_type: Some("paid".to_owned()), ..json(body) };
    let rules = rules_of("stripe").expect("it takes a secret");
    let signed = sign(&given("{}"), &rules).expect("signs");
    assert_eq!(names(&signed, &rules), ("k-1".to_owned(), Some("paid".to_owned())));
    assert!(sign(&given(r#"{"id":"k-1","type":"paid"}"#), &rules).is_ok(), "the body says the same");
    for (preset, body, refused) in [
        ("stripe", r#"{"id":"another"}"#, SignError::KeyNotSet),
        ("stripe", r#"{"type":"another"}"#, SignError::TypeNotSet),
        ("dropbox", "{}", SignError::TypeNotSet),
        ("telegram", "{}", SignError::TypeNotSet),
        ("zoom", "{}", SignError::KeyNotSet),
        ("xero", r#"{"events":[{}]}"#, SignError::TypeNotSet),
        ("azure-event-grid", "[{}]", SignError::TypeNotSet),
    ] {
        let rules = rules_of(preset).expect(preset);
        assert_eq!(sign(&given(body), &rules).err(), Some(refused), "{preset}");
    }
    for preset in ["xero", "quickbooks", "azure-event-grid", "hubspot"] {
        let draft = Draft { event_type: None, ..given("[{}]") };
        let rules = rules_of(preset).expect(preset);
        assert_eq!(sign(&draft, &rules).err(), Some(SignError::KeyNotSet), "{preset}");
    }
}

#[test]
fn senders_with_private_keys_cannot_be_imitated() {
    for preset in ["discord", "sendgrid", "telnyx"] {
        let settings = &Presets::built_in().get(preset).expect(preset).settings;
        assert_eq!(settings.needs().first(), Some(&"public_keys"), "{preset}");
    }
    let scheme = "verify = { signature = \"ed25519\", header = \"X-Signature\" }\nkey = \"body\"";
    let keys = Keys {
        public_keys: vec!["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned()],
        ..Keys::default()
    };
    let rules = crate::sources::fixture::with_keys(scheme, keys);
    assert_eq!(sign(&json("{}"), &rules).err(), Some(SignError::PrivateKey));
}

#[test]
fn a_source_whose_secret_comes_later_has_nothing_to_sign_with() {
    let settings = Presets::built_in().get("notion").expect("is there").settings.clone();
    let rules = Rules::new(settings, Keys::default(), true).expect("it can begin without secrets");
    assert_eq!(sign(&json("{}"), &rules).err(), Some(SignError::NoKey));
    assert_eq!(check_signs_again(&rules), Err(SignError::NoKey));
}

#[test]
fn a_request_that_is_signed_again_keeps_its_body_and_gets_the_time_of_now() {
    const SLACK: &str = "verify = { hmac = \"sha256\", header = \"X-Signature\", prefix = \"v0=\", signed = \"v0:{timestamp}:{body}\", timestamp = { header = \"X-Time\" } }\nkey = { json = \"/id\" }";
    let rules = rules(SLACK, &["ours"]);
    // Signing for the first time would add the key.
    let mut sent = json(" {\"n\" : 1.10}\n");
    sent.headers.extend(
        [("x-time", "7"), ("x-signature", "v0=00"), ("x-shop", "7")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let signed = sign_again(&sent, &rules).expect("signs");
    assert_eq!((&signed.body, &signed.query), (&sent.body, &sent.query));
    assert_eq!(signed.with_request(|request| verify(request, &rules)), Verdict::Verified);
    let values = |name: &str| {
        let named = signed.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!((values("x-time"), values("x-shop")), (vec![NOW.to_string()], vec!["7".to_owned()]));
    assert_eq!(values("x-signature").len(), 1);
}

#[test]
fn a_body_that_has_its_token_already_stays_as_it_is() {
    let rules = rules("verify = { token = \"plain\", json = \"/passcode\" }\nkey = \"body\"", &["ours"]);
    let body = "{ \"passcode\" : \"ours\", \"n\" : 1.10 }\n";
    assert_eq!(sign_again(&json(body), &rules).expect("signs").body, body.as_bytes());
    let other = sign_again(&json(&body.replace("ours", "theirs")), &rules).expect("signs");
    let other = serde_json::from_slice::<Value>(&other.body).expect("JSON");
    assert_eq!(other["passcode"], "ours");
}

#[test]
fn it_is_known_before_whether_webhooks_can_be_signed_again() {
    let checked = |settings: &str| check_signs_again(&rules(settings, &["ours"]));
    assert_eq!(checked("verify = { hmac = \"sha256\", header = \"X-Signature\" }\nkey = \"body\""), Ok(()));
    let each = "verify = { token = \"plain\", json = \"/state\", each = \"/value\" }\nsplit = \"/value\"\nkey = \"body\"";
    assert_eq!(checked(each), Err(SignError::Batch));
    let adyen = rules_of("adyen").expect("it takes a secret");
    assert_eq!(check_signs_again(&adyen), Err(SignError::OwnScheme));
    let jwt = |place: &str| {
        checked(&format!("verify = {{ jwt = \"HS256\", covers_body = false, {place} }}\nkey = \"body\""))
    };
    assert_eq!(jwt("header = \"Authorization\", prefix = \"Bearer \""), Ok(()));
    assert_eq!(jwt("json = \"\", each = \"/tokens\""), Err(SignError::Batch));
}
