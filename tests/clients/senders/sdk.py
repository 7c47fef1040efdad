"""Signs and verifies with the SDKs of the senders; `signing` has those that sign. Each function returns the SDK and its
version first."""

import base64
import datetime
import json
import unittest.mock

import Adyen.util
import discord_interactions
import google.auth.jwt
import jwt
import nacl.signing
import openai
import replicate.webhook
import resend
import signing
import standardwebhooks.webhooks
import stripe
from hubspot.utils.signature import Signature
from moto.moto_api._internal import mock_random as moto_random
from moto.sns.models import Subscription, sns_backends
from paddle_billing.Notifications import Secret, Verifier
from polar import webhooks as polar_webhooks
from sendgrid.helpers.eventwebhook import EventWebhook
from signing import cloud_event, named, node, sign_github, sign_slack, sign_standard_webhooks, sign_twilio  # noqa: F401
from square.utils.webhooks_helper import verify_signature
from telnyx.lib.webhook_verification import verify_webhook_signature
from workos.webhooks._verification import verify_header


def at(seconds):
    """Makes the time this one, for SDKs that ask for it."""
    return unittest.mock.patch("time.time", return_value=float(seconds))


def verify_linear(secret, body, signature, seconds):
    program = """
        import { LinearWebhookClient } from "@linear/sdk/webhooks";
        const [secret, body, signature, seconds] = process.argv.slice(1);
        Date.now = () => Number(seconds) * 1000;
        console.log(new LinearWebhookClient(secret).verify(Buffer.from(body), signature));"""
    by, output = node("@linear/sdk", program, secret, body, signature, str(seconds))
    assert output == "true"
    return by


def verify_standard_webhooks(preset, secret, headers, body):
    """Verifies with the SDK of the sender itself. Returns None if it has none."""
    prefix = "svix" if preset == "resend" else "webhook"
    with at(headers[f"{prefix}-timestamp"]) if preset in ("openai", "resend") else unittest.mock.MagicMock():
        if preset == "openai":
            openai.OpenAI(api_key="none").webhooks.verify_signature(body, headers, secret=secret)
        elif preset == "resend":
            parts = {part: headers[f"svix-{part}"] for part in ("id", "timestamp", "signature")}
            resend.Webhooks.verify({"payload": body, "headers": parts, "webhook_secret": secret})
        elif preset == "replicate":
            key = replicate.webhook.WebhookSigningSecret(key=secret)
            replicate.webhook.Webhooks.validate(headers=headers, body=body, secret=key)
        else:
            return None
    return named(preset)


def sign_polar(secret, name, seconds):
    """Signs as Polar does, and verifies by its SDK. Returns the SDK, the signature and the body."""
    body = '{"type":"order.paid","timestamp":"2026-01-01T00:00:00Z","data":{"id":"1"}}'
    # The package of Standard Webhooks takes the bytes of a key as they are.
    signer = standardwebhooks.webhooks.Webhook(secret.encode())
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    signature = signer.sign(name, moment, body)
    headers = {"webhook-id": name, "webhook-timestamp": str(seconds), "webhook-signature": signature}
    with at(seconds):
        polar_webhooks.validate_event(body, headers, secret, frozenset(["order.paid"]), lambda data: data)
    return named("polar-sdk"), signature, body


def verify_ed25519(public_key, text, signature):
    key = nacl.signing.VerifyKey(base64.b64decode(public_key))
    key.verify(text.encode(), base64.b64decode(signature))


def sign_stripe(body, secret, seconds):
    by, header = signing.sign_stripe(body, secret, seconds)
    with at(seconds):
        stripe.WebhookSignature.verify_header(body, header, secret, tolerance=300)
    return by, header


def verify_square(body, signature, secret, url):
    is_genuine = verify_signature(
        request_body=body, signature_header=signature, signature_key=secret, notification_url=url
    )
    assert is_genuine
    return named("squareup")


def verify_paddle(body, signature, secret, seconds):
    request = unittest.mock.Mock(headers={"Paddle-Signature": signature}, body=body.encode())
    with at(seconds), unittest.mock.patch("paddle_billing.Notifications.Verifier.time", return_value=float(seconds)):
        assert Verifier().verify(request, Secret(secret))
    return named("paddle-python-sdk")


def verify_sendgrid(public_key, body, signature, timestamp):
    assert EventWebhook(public_key).verify_signature(body, signature, timestamp)
    return named("sendgrid")


def verify_telnyx(body, headers, public_key, seconds):
    with at(seconds):
        verify_webhook_signature(body, headers, public_key)
    return named("telnyx")


def verify_discord(body, signature, timestamp, public_key):
    assert discord_interactions.verify_key(body.encode(), signature, timestamp, public_key)
    return named("discord-interactions")


def sign_hubspot(secret, body, url, timestamp):
    return named("hubspot-api-client"), Signature.get_signature(secret, body, "v3", url, "POST", timestamp)


def verify_workos(body, signature, secret, seconds):
    with at(seconds):
        verify_header(event_body=body.encode(), event_signature=signature, secret=secret)
    return named("workos")


def sign_adyen(fields, secret):
    """Signs the fields of an item. The SDK cannot sign fields that are not there."""
    signature = Adyen.util.generate_notification_sig(fields, secret).decode()
    whole = {**fields, "additionalData": {"hmacSignature": signature}}
    assert Adyen.util.is_valid_hmac_notification(whole, secret)
    return named("Adyen"), signature


def publish_sns(pair, topic, text, seconds):
    """Publishes to a topic of moto, which stands in for Amazon SNS. Returns moto; the headers and the body that it
    sends to a subscriber; the id of the message; and the URL of the certificate, and the certificate.

    moto 5.2.5 leaves the subject out of the text that it signs. Amazon SNS signs the subject, so the message has none.
    """
    _, _, _, region, account, name = topic.split(":")
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).replace(tzinfo=None)
    moto_random.seed(topic)
    with (
        unittest.mock.patch.object(Subscription, "private_key", return_value=pair),
        unittest.mock.patch("cryptography.x509.random_serial_number", return_value=1),
        unittest.mock.patch("moto.core.utils.utcnow", return_value=moment),
        unittest.mock.patch("moto.sns.models.utcnow", return_value=moment),
        unittest.mock.patch("requests.Session.send") as send,
    ):
        backend = sns_backends[account][region]
        assert backend.create_topic(name).arn == topic
        backend.subscribe(topic, "https://hooks.example.com/", "https")
        id = backend.publish(text, arn=topic)
    [posted] = send.call_args.args
    url = json.loads(posted.body)["SigningCertURL"]
    # moto keeps the certificates of all accounts in that of its default account.
    certificate = sns_backends["123456789012"][region]._message_public_keys[url.rpartition("/")[2]]
    headers = {"Content-Type": posted.headers["Content-Type"]}
    return named("moto"), headers, posted.body.decode(), id, url, certificate.decode()


def verify_google(token, certificates, audience, seconds):
    with at(seconds), unittest.mock.patch("google.auth._helpers.utcnow") as now:
        now.return_value = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).replace(tzinfo=None)
        google.auth.jwt.decode(token, certificates, audience=audience)
    return named("google-auth")


def verify_plaid(token, public_key, body_sha256):
    options = {"verify_iat": False}
    claims = jwt.decode(token, public_key, algorithms=["ES256"], options=options)
    assert claims["request_body_sha256"] == body_sha256
    return named("PyJWT")


def verify_jwt(token, key, algorithm, audience=None, issuer=None):
    """Verifies a token but for its times, which are those of the vectors."""
    options = {name: False for name in ("verify_exp", "verify_iat", "verify_nbf")}
    jwt.decode(token, key, algorithms=[algorithm], audience=audience, issuer=issuer, options=options)
    return named("PyJWT")
