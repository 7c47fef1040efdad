//! What the settings say about the scheme of a sender, and how that is compiled.

use std::sync::Arc;

use jiff::SignedDuration;
use ring::hmac;
use serde::Deserialize;

use super::adyen::Adyen;
use super::aws_sns::AwsSns;
use super::google_pubsub::GooglePubsub;
use super::hook0::Hook0;
use super::paypal::PayPal;
use super::plaid::Plaid;
use super::{SenderScheme, plaid};
use crate::domain::secret::Secret;
use crate::sources::accepted::Accepted;
use crate::sources::keys::{self, KeyEncoding, Keys};
use crate::sources::rules::Mistake;

/// The name of a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::sources) enum SenderName {
    Adyen,
    AwsSns,
    GooglePubsub,
    Hook0,
    Paypal,
    Plaid,
}

/// A member that belongs to schemes of senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sources) enum Member {
    Topics,
    WebhookId,
    Audience,
    Email,
    ClientId,
    Environment,
    Basic,
}

/// A topic of Amazon SNS, or `*` for every topic.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(in crate::sources) struct Topic(Box<str>);

/// An environment of Plaid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::sources) enum Environment {
    #[default]
    Production,
    Sandbox,
}

/// The members that belong to schemes of senders, as far as they are set.
#[derive(Clone, Debug, Default)]
pub(in crate::sources) struct SenderMembers {
    pub(in crate::sources) topics: Vec<Topic>,
    pub(in crate::sources) webhook_id: Vec<String>,
    pub(in crate::sources) audience: Vec<String>,
    pub(in crate::sources) email: Vec<String>,
    pub(in crate::sources) client_id: Option<String>,
    pub(in crate::sources) environment: Option<Environment>,
    /// Whether `Authorization: Basic` is required, too.
    pub(in crate::sources) basic: bool,
}

impl TryFrom<String> for Topic {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // arn:PARTITION:sns:REGION:ACCOUNT:NAME
        let is_arn = matches!(
            *text.split(':').collect::<Vec<_>>(),
            ["arn", partition, "sns", region, account, name]
                if [partition, region, account, name].iter().all(|part| !part.is_empty())
        );
        if text == "*" || is_arn {
            return Ok(Self(text.into()));
        }
        Err(format!(
            "{text:?} is no topic; write its ARN, such as \"arn:aws:sns:eu-central-1:123456789012:orders\""
        ))
    }
}

impl Topic {
    /// Whether this is the topic with this ARN.
    pub(super) fn is(&self, arn: &str) -> bool {
        &*self.0 == "*" || &*self.0 == arn
    }
}

impl Member {
    pub(in crate::sources) const ALL: [Self; 7] = [
        Self::Topics,
        Self::WebhookId,
        Self::Audience,
        Self::Email,
        Self::ClientId,
        Self::Environment,
        Self::Basic,
    ];

    /// Where the member is, in a source.
    pub(in crate::sources) fn path(self) -> &'static str {
        match self {
            Self::Topics => "verify.topics",
            Self::WebhookId => "verify.webhook_id",
            Self::Audience => "verify.audience",
            Self::Email => "verify.email",
            Self::ClientId => "verify.client_id",
            Self::Environment => "verify.environment",
            Self::Basic => "verify.basic",
        }
    }

    /// What to write if the member is missing.
    fn missing(self) -> &'static str {
        match self {
            Self::Topics => {
                "`topics` is missing in `verify`; add the topics to take messages of, such as verify = { topics = [\"arn:aws:sns:eu-central-1:123456789012:orders\"] }; [\"*\"] takes those of every topic of every account"
            }
            Self::WebhookId => {
                "`webhook_id` is missing in `verify`; add the id that the sender shows for the webhook, such as verify = { webhook_id = \"8PT597110X687430LKGECATA\" }"
            }
            Self::Audience => {
                "`audience` is missing in `verify`; add that of the push subscription, which is its URL if you set none, such as verify = { audience = \"https://hooks.example.com/v1/sources/NAME/webhooks\" }"
            }
            Self::Email => {
                "`email` is missing in `verify`; add the address of the service account of the push subscription, such as verify = { email = \"push@my-project.iam.gserviceaccount.com\" }"
            }
            Self::ClientId => {
                "`client_id` is missing in `verify`; add the client_id that the sender shows, such as verify = { client_id = \"5f3a8b1c2d4e6f0012345678\" }"
            }
            Self::Environment => "`environment` is missing in `verify`",
            Self::Basic => "`basic` is missing in `verify`",
        }
    }

    /// What to do if the scheme does not take the member.
    fn foreign(self) -> &'static str {
        match self {
            Self::Topics => "`topics` belongs to scheme = \"aws-sns\"; remove it",
            Self::WebhookId => "`webhook_id` belongs to scheme = \"paypal\"; remove it",
            Self::Audience => "`audience` belongs to scheme = \"google-pubsub\" and to `jwt`; remove it",
            Self::Email => "`email` belongs to scheme = \"google-pubsub\"; remove it",
            Self::ClientId => "`client_id` belongs to scheme = \"plaid\"; remove it",
            Self::Environment => "`environment` belongs to scheme = \"plaid\"; remove it",
            Self::Basic => "`basic` belongs to scheme = \"adyen\"; remove it",
        }
    }
}

impl SenderMembers {
    fn has(&self, member: Member) -> bool {
        let is_there = |texts: &[String]| !texts.is_empty() && texts.iter().all(|text| !text.is_empty());
        match member {
            Member::Topics => !self.topics.is_empty(),
            Member::WebhookId => is_there(&self.webhook_id),
            Member::Audience => is_there(&self.audience),
            Member::Email => is_there(&self.email),
            Member::ClientId => self.client_id.as_ref().is_some_and(|id| !id.is_empty()),
            Member::Environment => self.environment.is_some(),
            Member::Basic => self.basic,
        }
    }

    /// The members that the scheme needs and that are not set.
    pub(in crate::sources) fn lacking(&self, scheme: SenderName) -> Vec<Member> {
        scheme.needs().iter().copied().filter(|member| !self.has(*member)).collect()
    }

    /// What to do about each member, of which no described scheme takes any.
    pub(in crate::sources) fn foreign(&self) -> Vec<&'static str> {
        Member::ALL.into_iter().filter(|member| self.has(*member)).map(Member::foreign).collect()
    }
}

impl SenderName {
    /// Whether the scheme takes its keys from `secrets`. The keys of the others are fetched.
    pub(in crate::sources) fn takes_secrets(self) -> bool {
        matches!(self, Self::Adyen | Self::Hook0 | Self::Plaid)
    }

    fn needs(self) -> &'static [Member] {
        match self {
            Self::Adyen | Self::Hook0 => &[],
            Self::AwsSns => &[Member::Topics],
            Self::GooglePubsub => &[Member::Audience, Member::Email],
            Self::Paypal => &[Member::WebhookId],
            Self::Plaid => &[Member::ClientId],
        }
    }

    /// Whether the scheme needs the member, or can have it.
    pub(in crate::sources) fn takes(self, member: Member) -> bool {
        let is_optional = match member {
            Member::Environment => self == Self::Plaid,
            Member::Basic => self == Self::Adyen,
            _ => false,
        };
        is_optional || self.needs().contains(&member)
    }

    /// Compiles the scheme; none if there are no secrets for it. Errors: every mistake.
    pub(in crate::sources) fn compile(
        self,
        members: SenderMembers,
        tolerance: Option<SignedDuration>,
        keys: &Keys,
        accepted: &mut Accepted,
    ) -> Result<Option<Arc<dyn SenderScheme>>, Vec<Mistake>> {
        let missing = members.lacking(self).into_iter().map(Member::missing);
        let foreign = Member::ALL.into_iter().filter(|member| members.has(*member) && !self.takes(*member));
        let mut wrong = missing.chain(foreign.map(Member::foreign)).collect::<Vec<_>>();
        if self == Self::Adyen && tolerance.is_some() {
            wrong.push("the sender signs no time; remove `tolerance`");
        }
        if !wrong.is_empty() {
            return Err(wrong.into_iter().map(|text| Mistake::new("verify", text)).collect());
        }
        let tolerance = tolerance.unwrap_or(self.tolerance());
        let SenderMembers { topics, webhook_id, audience, email, client_id, environment, basic } = members;
        Ok(match self {
            Self::Adyen => adyen_scheme(keys, accepted, basic)?,
            Self::Hook0 => {
                let keys = hmac_keys(keys, accepted, KeyEncoding::Text);
                (!keys.is_empty()).then(|| Arc::new(Hook0 { keys, tolerance }) as Arc<dyn SenderScheme>)
            }
            Self::AwsSns => Some(Arc::new(AwsSns { topics, tolerance })),
            Self::GooglePubsub => {
                Some(Arc::new(GooglePubsub { audiences: audience, emails: email, tolerance }))
            }
            Self::Paypal => Some(Arc::new(PayPal { webhook_ids: webhook_id, tolerance })),
            Self::Plaid => {
                let secrets = accepted.secrets(keys, |secret| match secret.expose() {
                    "" => Err("a text that is not empty"),
                    _ => Ok(secret.clone()),
                });
                let (client, environment) =
                    (client_id.zip(secrets.into_iter().next()), environment.unwrap_or_default());
                client.map(|(id, secret)| plaid_scheme(id, secret, environment, tolerance))
            }
        })
    }

    /// How far a timestamp may be from the clock if the settings do not say it.
    fn tolerance(self) -> SignedDuration {
        match self {
            // PayPal retries for three days, and it is not confirmed that a retry has a new time.
            Self::Paypal => SignedDuration::from_hours(73),
            _ => SignedDuration::from_mins(5),
        }
    }
}

/// None if there is no secret at all. Errors: one of both secrets is missing.
fn adyen_scheme(
    keys: &Keys,
    accepted: &mut Accepted,
    basic: bool,
) -> Result<Option<Arc<dyn SenderScheme>>, Vec<Mistake>> {
    let passwords = basic.then(|| {
        accepted.secrets(keys, |secret| {
            let has_both = secret.expose().contains(':');
            has_both.then(|| secret.clone()).ok_or("a user and a password, separated by a colon")
        })
    });
    let keys = hmac_keys(keys, accepted, KeyEncoding::Hex);
    if passwords.as_ref().is_some_and(|passwords| passwords.is_empty() != keys.is_empty()) {
        let text = "with `basic`, both are needed: the HMAC key, and the user and the password, such as secrets = [\"env:HMAC_KEY\", \"env:USER_AND_PASSWORD\"]";
        return Err(vec![Mistake::new("secrets", text)]);
    }
    Ok((!keys.is_empty()).then(|| Arc::new(Adyen { keys, passwords }) as Arc<dyn SenderScheme>))
}

fn plaid_scheme(
    client_id: String,
    secret: Secret,
    environment: Environment,
    tolerance: SignedDuration,
) -> Arc<dyn SenderScheme> {
    let host = match environment {
        Environment::Production => plaid::PRODUCTION,
        Environment::Sandbox => plaid::SANDBOX,
    };
    Arc::new(Plaid { client_id, secret, host, tolerance })
}

fn hmac_keys(keys: &Keys, accepted: &mut Accepted, encoding: KeyEncoding) -> Vec<hmac::Key> {
    accepted.secrets(keys, |secret| {
        let key = keys::secret(secret.expose(), encoding)?;
        Ok(hmac::Key::new(hmac::HMAC_SHA256, &key))
    })
}
