"""Requests that the SDKs of senders have signed, and the handshakes of senders, over HTTP."""

import datetime
import json
import pathlib
import sys
import time
import urllib.parse

import harness
import presets
from signer import FORM, PUBLIC_URL, changed

sys.path.append(str(pathlib.Path(__file__).parent / "senders"))
import signing  # noqa: E402

TOKEN = "a-token-of-the-operator"
SECRET = "a secret of the tests"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# The source of each preset that an SDK signs for, and its secret.
SECRETS = {
    "github": SECRET,
    "slack": SECRET,
    "standard-webhooks": WHSEC,
    "stripe": "whsec_of_stripe",
    "svix": WHSEC,
    "twilio": SECRET,
}


class Signed(harness.TestCase):
    """Where the SDK signs, another body with the same signature is refused."""

    def setUp(self):
        signing.NODE_FOLDER = harness.INSTALLED
        sources = "".join(
            f'[sources.{preset}]\npreset = "{preset}"\nsecrets = [{json.dumps(secret)}]\n\n'
            for preset, secret in SECRETS.items()
        )
        sources += '[sources.cloudevents]\npreset = "cloudevents"\n'
        self.hookbox = harness.Hookbox(self, f'public_url = "{PUBLIC_URL}"\n\n{sources}').serve()
        self.now = int(time.time())

    def check(self, source, headers, body, key, event_type, query="", verdict="verified"):
        path, headers = f"/v1/sources/{source}/webhooks{query}", list(headers.items())
        if verdict == "verified":
            refused = self.hookbox.send("POST", path, headers, changed(body, len(body) // 2).encode())
            self.assertEqual(refused.status, 401, refused)
            self.assertEqual(self.hookbox.stored(source), [])
        answer = self.hookbox.send("POST", path, headers, body.encode())
        self.assertIn(answer.status, (200, 202, 204), answer)
        [webhook] = self.hookbox.stored(source)
        self.assertEqual((webhook["idempotency_key"], webhook["event_type"]), (key, event_type))
        shown = self.hookbox.webhook(webhook["id"])
        self.assertEqual((shown["verdict"], shown["cause"]), (verdict, None))
        return shown

    def test_stripe(self):
        body = '{"id": "evt_1", "object": "event", "type": "invoice.paid", "amount": 1.50}'
        _, signature = signing.sign_stripe(body, SECRETS["stripe"], self.now)
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
        shown = self.check("stripe", headers, body, "evt_1", "invoice.paid")
        self.assertEqual(shown["payload"], json.loads(body))

    def test_svix_and_standard_webhooks(self):
        body = '{"type":"user.created","name":"żółw"}'
        moment = datetime.datetime.fromtimestamp(self.now, datetime.timezone.utc)
        for source, prefix in [("svix", "svix"), ("standard-webhooks", "webhook")]:
            with self.subTest(source):
                _, signature = signing.sign_standard_webhooks(prefix, WHSEC, "msg_1", moment, body)
                parts = {"id": "msg_1", "timestamp": str(self.now), "signature": signature}
                headers = {f"{prefix}-{part}": value for part, value in parts.items()}
                self.check(source, {"Content-Type": "application/json", **headers}, body, "msg_1", "user.created")

    def test_slack(self):
        body = '{"type":"event_callback","event_id":"Ev1","event":{"type":"message"}}'
        _, signature = signing.sign_slack(SECRET, self.now, body)
        headers = {"X-Slack-Request-Timestamp": str(self.now), "X-Slack-Signature": signature}
        self.check("slack", {"Content-Type": "application/json", **headers}, body, "Ev1", "message")

    def test_github(self):
        body = '{"action":"opened","number":1,"title":"żółw"}'
        _, signature = signing.sign_github(SECRET, body)
        headers = {"X-GitHub-Event": "pull_request", "X-GitHub-Delivery": "72d3", "X-Hub-Signature-256": signature}
        headers |= {"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/1"}
        self.check("github", headers, body, "72d3", "pull_request.opened")

    def test_twilio_with_a_form(self):
        fields = {"From": "+14158675309", "CallSid": "CA12", "Body": "a b&c", "Empty": ""}
        url = f"{PUBLIC_URL}/v1/sources/twilio/webhooks?foo=1&bar=2"
        _, signature = signing.sign_twilio(SECRET, url, fields)
        headers = {"Content-Type": FORM, "X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": "token-1"}
        body = urllib.parse.urlencode(fields)
        shown = self.check("twilio", headers, body, "token-1", "twilio", query="?foo=1&bar=2")
        self.assertEqual((shown["payload_text"], shown["content_type"]), (body, FORM))

    def test_twilio_with_json(self):
        body = '{"property": "value"}'
        query = f"?bodySHA256={presets.digest(body)}"
        _, signature = signing.sign_twilio(SECRET, f"{PUBLIC_URL}/v1/sources/twilio/webhooks{query}", body)
        headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": "token-2"}
        self.check("twilio", {"Content-Type": "application/json", **headers}, body, "token-2", "twilio", query)

    def test_cloudevents(self):
        attributes = {"specversion": "1.0", "source": "/a:b", "type": "com.example.event"}
        for mode in ["structured", "binary"]:
            with self.subTest(mode):
                _, headers, body = signing.cloud_event(mode, {**attributes, "id": mode}, {"message": "Hello"})
                answer = self.hookbox.send("POST", "/v1/sources/cloudevents/webhooks", headers.items(), body.encode())
                self.assertIn(answer.status, (200, 202), answer)
                newest = self.hookbox.stored("cloudevents")[0]
                self.assertEqual(newest["idempotency_key"], rf"/a\:b:{mode}")
                self.assertEqual(newest["event_type"], "com.example.event")
                self.assertEqual(self.hookbox.webhook(newest["id"])["verdict"], "none")


class Handshakes(harness.TestCase):
    """Each as its sender does it. Requests need a token here, but handshakes have none."""

    def setUp(self):
        self.senders = [
            presets.Sender(handshake, f"{handshake['preset']}-{at}", own_secrets=True)
            for at, handshake in enumerate(presets.RECORDED["handshakes"])
            if handshake["preset"] not in presets.FETCHED
        ]
        sources = "".join(sender.settings() for sender in self.senders)
        settings = f'public_url = "{PUBLIC_URL}"\n\n{sources}'
        self.hookbox = harness.Hookbox(self, settings, token=TOKEN).serve()

    def test_the_answer_is_the_one_that_the_sender_expects(self):
        for sender in self.senders:
            with self.subTest(sender.source):
                expected, answer = sender.vector["answer"], sender.request().send(self.hookbox)
                self.assertEqual((answer.status, answer.body.decode()), (expected["status"], expected["body"]))
                self.assertEqual(answer.header("Content-Type"), expected["content_type"])
                for name, value in expected["headers"]:
                    self.assertEqual(answer.header(name), value)
                self.assertEqual(self.hookbox.stored(sender.source), [])

    def test_a_handshake_that_has_to_be_signed_is_refused_without_its_signature(self):
        signed = [sender for sender in self.senders if sender.scheme]
        self.assertGreater(len(signed), 5)
        for sender in signed:
            with self.subTest(sender.source):
                request, scheme = sender.request(), sender.scheme
                value = scheme.value(request)
                for forged in (scheme.unsigned(request), scheme.with_value(request, changed(value, len(value) - 1))):
                    answer = forged.send(self.hookbox)
                    # To OPTIONS and GET, other answers than 401 are possible.
                    self.assertIn(answer.status, (401,) if forged.method == "POST" else range(400, 500), answer)

    def test_what_no_sender_would_have_echoed_or_signed_is_not(self):
        def of(preset):
            return next(sender for sender in self.senders if sender.preset == preset)

        zoom, graph = of("zoom").request(), of("microsoft-graph").request()
        text = "<script>alert(1)</script>"
        requests = [
            # What a body of Zoom is signed with begins with `v0:`.
            zoom.with_json("/payload/plainToken", f"v0:{int(time.time())}:{{}}"),
            zoom.with_json("/payload/plainToken", "x" * 5000),
            of("x").request().replaced(query=urllib.parse.urlencode({"crc_token": '{"a":1}'})),
            graph.replaced(query=urllib.parse.urlencode({"validationToken": text})),
            of("dropbox").request().replaced(query=urllib.parse.urlencode({"challenge": text})),
            of("okta").request().with_header("X-Okta-Verification-Challenge", '"}'),
            of("asana").request().with_header("X-Hook-Secret", "a b"),
        ]
        for preset in ("meta", "whatsapp"):
            request = of(preset).request()
            requests.append(request.with_parameter("hub.verify_token", "wrong"))
            requests.append(request.replaced(query=f"{request.query}&hub.verify_token=t0ken"))
        for request in requests:
            with self.subTest(request.path, query=request.query, body=request.body[:100]):
                answer = request.send(self.hookbox)
                self.assertIn(answer.status, range(400, 500), answer)
                self.assertNotIn(text.encode(), answer.body)
                self.assertNotIn(b"1158201444", answer.body)

    def test_a_source_that_verifies_nothing_needs_a_token_for_its_webhooks(self):
        event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t"}
        source = next(sender.source for sender in self.senders if sender.preset == "cloudevents")
        headers = [("Content-Type", "application/cloudevents+json")]
        for bearer, status in [({}, 401), ({"Authorization": "Bearer wrong"}, 401), (self.hookbox.bearer, 202)]:
            path, given = f"/v1/sources/{source}/webhooks", [*headers, *bearer.items()]
            answer = self.hookbox.send("POST", path, given, json.dumps(event).encode())
            self.assertEqual(answer.status, status, answer)
