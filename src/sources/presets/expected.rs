//! What each sender expects: how it is answered, how long it waits, and how old its requests may be.
//!
//! The table is written from the pages of the senders and not from `presets.toml`, so that each checks the other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Presets;
use crate::domain::content_type::ContentType;
use crate::domain::verdict::{Cause, Verdict};
use crate::sources::vectors::{Vector, of_each_scheme, vectors};

/// A line for each preset: the status for what is accepted, 202 if any 2xx will do; the body, `api` if any will do; the
/// status for an overload, 429 only for senders that retry it; how long the sender waits for an answer; how far the time
/// of a request may be from the clock. A `-` is for senders that name no such time. `# ours` marks times that the sender
/// does not name.
const TABLE: &str = "
github                        202  api         503  10s  -
stripe                        202  api         503  -    300s
shopify                       202  api         503  5s   -
slack                         202  api         503  3s   300s
slack-interactivity           200  empty       503  3s   300s
gitlab                        202  api         503  10s  300s
standard-webhooks             202  api         503  -    300s
svix                          202  api         503  -    300s
clerk                         202  api         503  -    300s
resend                        202  api         503  -    300s
openai                        202  api         503  -    300s
replicate                     202  api         503  -    300s
render                        202  api         503  -    300s
supabase                      200  {}          503  -    300s
polar                         202  api         503  -    300s
twilio                        204  empty       503  15s  -
square                        202  api         503  10s  -
paypal                        202  api         503  -    73h   # ours: retries for three days
paddle                        202  api         503  5s   300s  # ours: the SDK takes 5 s, by which clocks can differ
lemonsqueezy                  200  api         503  -    -
zoom                          200  api         503  3s   300s
discord                       204  empty       503  3s   1h    # ours
meta                          200  api         503  -    -
whatsapp                      200  api         503  -    -
mailgun                       200  api         503  -    8h    # ours: retries for almost eight hours
sendgrid                      202  api         503  -    24h   # ours: retries for a day
linear                        200  api         503  5s   60s
intercom                      202  api         429  -    -
hubspot                       202  api         429  -    300s
aws-sns                       202  api         503  15s  24h   # ours, both
microsoft-graph               202  empty       503  3s   -
microsoft-graph-rich          202  empty       503  3s   300s  # ours
google-pubsub                 204  empty       503  10s  60s   # ours, both
azure-event-grid              200  api         503  30s  -
azure-event-grid-cloudevents  200  api         503  30s  -
azure-event-grid-entra        200  api         503  30s  300s  # ours
cloudevents                   202  api         503  -    -
okta                          200  empty       503  3s   -
docusign                      200  api         503  -    -
adyen                         200  [accepted]  503  10s  -     # ours: ten seconds
jira                          202  api         429  20s  -
jira-app                      202  api         429  20s  300s  # ours
bitbucket                     202  api         503  10s  -
pagerduty                     202  api         503  -    -
notion                        202  api         503  -    -
figma                         200  api         503  -    -
typeform                      202  api         429  30s  -
calendly                      202  api         503  -    180s
plaid                         200  api         503  10s  300s
xero                          200  empty       503  5s   -
quickbooks                    200  api         503  3s   -
woocommerce                   202  api         503  -    -
coinbase-commerce             200  api         503  -    -
coinbase-cdp                  202  api         503  -    300s
sentry                        202  api         503  -    -
vercel                        202  api         503  -    -
workos                        202  api         503  -    180s
zendesk                       202  api         503  -    300s  # ours
twitch                        202  api         503  -    600s
telegram                      202  api         503  -    -
asana                         202  api         503  -    -
dropbox                       202  api         503  -    -
monday                        202  api         503  -    -
monday-app                    202  api         503  -    300s  # ours
x                             200  api         503  -    -
telnyx                        202  api         503  -    300s
";

/// When the tokens of the vectors begin and end, in seconds after their requests.
const TOKENS: [(&str, i64, i64); 5] = [
    ("google-pubsub", -600, 3000),
    ("azure-event-grid-entra", -60, 3600),
    ("microsoft-graph-rich", -60, 3600),
    ("jira-app", 0, 180),
    ("monday-app", 0, 300),
];

/// Presets of senders that want no body, also where they are refused.
const WITHOUT_REFUSED_BODY: [&str; 1] = ["xero"];

/// How much time is left for the answer that says that the deadline is over.
const FOR_ANSWER: Duration = Duration::from_millis(500);

/// A line of the table.
struct Expected {
    accepted: u16,
    body: Option<&'static str>,
    overload: u16,
    waits: Option<Duration>,
    tolerance: Option<Duration>,
}

/// The table, by presets.
fn expected() -> BTreeMap<&'static str, Expected> {
    let line = |line: &'static str| {
        let columns = line.split('#').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>();
        let [preset, accepted, body, overload, waits, tolerance] = columns[..] else { panic!("{line}") };
        let number = |text: &str| text.parse::<u16>().expect(line);
        let time = |text: &str| (text != "-").then(|| humantime::parse_duration(text).expect(line));
        let expected = Expected {
            accepted: number(accepted),
            body: match body {
                "api" => None,
                "empty" => Some(""),
                text => Some(text),
            },
            overload: number(overload),
            waits: time(waits),
            tolerance: time(tolerance),
        };
        (preset, expected)
    };
    TABLE.trim().lines().map(line).collect()
}

#[test]
fn the_table_has_every_preset() {
    let presets = Presets::built_in().iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(expected().into_keys().collect::<Vec<_>>(), presets);
}

#[test]
fn senders_are_answered_as_they_expect_and_in_the_time_that_they_wait() {
    let vectors = vectors().vectors;
    for (name, expected) in expected() {
        let vector = vectors.iter().find(|vector| vector.preset == name).expect(name);
        let rules = vector.rules();
        let answers = &rules.answers;
        let answer = (answers.accepted.unwrap_or(202), answers.body.as_deref(), answers.overload);
        assert_eq!(answer, (expected.accepted, expected.body, expected.overload), "{name}");
        let refused_body = WITHOUT_REFUSED_BODY.contains(&name).then_some("");
        assert_eq!(answers.refused_body.as_deref(), refused_body, "{name}");
        if let Some(body) = expected.body {
            assert_eq!(answers.content_type == "application/json", body.starts_with('{'), "{name}");
        }
        match (expected.waits, rules.deadline) {
            (None, None) => {}
            (Some(waits), Some(deadline)) => {
                let allowed = waits * 4 / 5..=waits - FOR_ANSWER;
                assert!(allowed.contains(&deadline), "{name}: {deadline:?} of {waits:?}");
            }
            (waits, deadline) => panic!("{name}: the sender waits {waits:?}, the deadline is {deadline:?}"),
        }
    }
}

#[test]
fn requests_are_verified_up_to_the_age_and_lead_that_their_senders_expect_and_no_further() {
    const MONTH: i64 = 30 * 24 * 60 * 60;
    let expected = expected();
    for vector in of_each_scheme(|_| true) {
        let (name, rules, body) = (vector.preset.as_str(), vector.rules(), vector.body());
        let later = |seconds: i64| {
            let mut later = vector.clone();
            later.at += seconds;
            later.verdict(&body, &rules)
        };
        let Some(tolerance) = expected[name].tolerance.filter(|_| signs_time(&vector)) else {
            assert_eq!([later(-MONTH), later(MONTH)], [Verdict::Verified; 2], "{name} has a time");
            continue;
        };
        let tolerance = i64::try_from(tolerance.as_secs()).expect("days at most");
        let of_token = TOKENS.into_iter().find(|(preset, ..)| *preset == name);
        let (begins, ends) = of_token.map_or((0, 0), |(_, begins, ends)| (begins, ends));
        // Some senders sign fractions of a second.
        let (first, last) = (begins - tolerance, ends + tolerance);
        assert_eq!([later(first + 1), later(last - 1)], [Verdict::Verified; 2], "{name}");
        assert_eq!(later(first - 1), Verdict::Unverified(Cause::TimestampInFuture), "{name}");
        assert_eq!(later(last + 1), Verdict::Unverified(Cause::TimestampTooOld), "{name}");
    }
}

#[test]
fn json_is_looked_into_as_json_whatever_the_request_says() {
    for vector in vectors().vectors {
        if serde_json::from_slice::<serde_json::Value>(&vector.body()).is_err() {
            continue;
        }
        let (preset, by, rules) = (&vector.preset, &vector.by, vector.rules());
        let header = vector.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let of_request = || ContentType::of_header(header.map(|(_, value)| value.as_bytes()));
        let content_type = rules.content_type.clone().unwrap_or_else(of_request);
        assert!(content_type.is_json(), "{preset} by {by}: {}", content_type.as_str());
    }
}

/// Whether the scheme of a request signs a time, if its preset has one that does: the secret token of GitLab does not.
fn signs_time(vector: &Vector) -> bool {
    !vector.headers.iter().any(|(name, _)| name == "X-Gitlab-Token")
}
