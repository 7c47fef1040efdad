"""Every preset, with requests that are signed as its sender signs them, over HTTP."""

import collections
import json
import threading
import time
import urllib.parse

import harness
import presets
from signer import PUBLIC_URL, changed

# Presets of which every byte is changed; of the others, some are.
CHANGED_WHOLLY = {"github", "stripe"}
WRONG = {"signature_mismatch", "signature_malformed", "signature_missing", "credentials_wrong", "timestamp_missing"}
FORGED = {"signature_mismatch", "credentials_wrong"}
# Those that follow Standard Webhooks repeat the same bytes. Retries of all others may have other ones.
SAME_BYTES = {
    "clerk", "openai", "polar", "render", "replicate", "resend", "standard-webhooks", "supabase", "svix",
}  # fmt: skip
# Nothing takes the jobs.
ROUTES = '[[routes]]\nname = "kept"\nhandler = "pull"\n'


def places(text, sender):
    """The places of a text at which it is changed."""
    last = len(text) - 1
    return range(len(text)) if sender.preset in CHANGED_WHOLLY else sorted({0, last // 3, last // 2, last})


def stranger(sender):
    """A key of the same form, which the settings do not have."""
    return presets.Sender(sender.vector, f"{sender.source}-of-a-stranger").keys[0]


class Presets(harness.TestCase):
    def setUp(self):
        self.senders = presets.senders()
        # The first of each scheme: how a request is verified does not depend on what its body says.
        of_schemes = {}
        for sender in self.senders:
            if sender.scheme:
                of_schemes.setdefault(sender.kind, sender)
        self.verified = list(of_schemes.values())

    def serve(self, senders, **members):
        sources = "".join(sender.settings(**members) for sender in senders)
        self.hookbox = harness.Hookbox(self, f'public_url = "{PUBLIC_URL}"\n\n{sources}{ROUTES}').serve()

    def accept(self, sender, request):
        """Sends a request, which has to be accepted, and answered as the preset says."""
        answer = request.send(self.hookbox)
        self.assertIn(answer.status, sender.statuses(), answer)
        body = sender.rules.get("answer", {}).get("body")
        self.assertEqual(answer.body.decode(), answer.body.decode() if body is None else body)

    def refuse(self, request, causes):
        """Sends a request, which has to be refused for one of these causes."""
        answer = request.send(self.hookbox)
        self.assertEqual(answer.status, 401, answer)
        if request.path.startswith("/v1/sources/xero-"):
            # Xero wants no body. Operators are told the cause.
            self.assertEqual((answer.body, answer.header("Content-Type")), (b"", None))
            refused = self.hookbox.get(request.path.removesuffix("webhooks") + "rejections")["rejections"][0]
        else:
            refused = answer.json()
        self.assertIn(refused["cause"], causes)

    def stored(self, sender):
        """The webhooks of a sender, as they are shown one by one."""
        return [self.hookbox.webhook(webhook["id"]) for webhook in self.hookbox.stored(sender.source)]

    def check_stored(self, sender, expected):
        """Checks that exactly these webhooks are stored, whatever their order. A key that is none is any key."""
        stored = [(webhook["idempotency_key"], webhook["event_type"]) for webhook in self.hookbox.stored(sender.source)]
        names = {name for name, _ in expected}
        stored = [(name if name in names else None, event_type) for name, event_type in stored]
        self.assertEqual(collections.Counter(stored), collections.Counter(expected))

    def test_every_preset_has_a_sender(self):
        code, output = harness.Hookbox(self, "").run("presets")
        self.assertEqual(code, 0, output)
        names = {line.split()[0] for line in output.splitlines()}
        self.assertEqual(names - presets.FETCHED, {sender.preset for sender in self.senders})

    def test_these_tests_sign_as_the_senders_did(self):
        checked = 0
        for vector in presets.RECORDED["vectors"] + presets.RECORDED["examples"]:
            sender = presets.Sender(vector, vector["preset"], own_secrets=True) if vector["secrets"] else None
            if not sender or not sender.scheme:
                continue
            request, scheme = presets.recorded(vector), sender.scheme
            signed = [scheme.value(scheme.sign(request, key, vector["at"])) for key in sender.keys]
            values = [scheme.read(request, name) for name in scheme.names]
            recorded = {item.strip() for value in values if value for item in scheme.items(value)}
            with self.subTest(vector["preset"], by=vector["by"]):
                self.assertTrue(any(recorded >= set(scheme.items(value)) for value in signed), f"{signed}, {recorded}")
            checked += 1
        self.assertGreater(checked, 50)

    def test_a_genuine_request_is_stored_and_shown_as_verified(self):
        self.serve(self.senders)
        for sender in self.senders:
            with self.subTest(sender.source):
                request = sender.request()
                self.accept(sender, request)
                self.check_stored(sender, sender.webhooks(request))
                for shown in self.stored(sender):
                    self.check_shown(sender, request, shown)

    def check_shown(self, sender, request, shown):
        verdict = "verified" if sender.scheme else "none"
        self.assertEqual((shown["verdict"], shown["cause"]), (verdict, None))
        if "payload" not in shown:
            self.assertEqual(shown["payload_text"], request.body)
        elif sender.batch() is not None:
            self.assertIn(shown["payload"], request.json(sender.batch()))
        else:
            self.assertEqual(shown["payload"], json.loads(request.body))
        if sender.scheme and sender.scheme.kind == "header":
            headers = {header["name"]: header["value"] for header in shown["headers"]}
            name = next(name for name, _ in request.headers if name in sender.scheme.names)
            self.assertEqual(headers[name.lower()], "***")

    def test_a_request_with_a_changed_byte_is_refused(self):
        self.serve(self.verified)
        for sender in self.verified:
            with self.subTest(sender.source):
                request, scheme = sender.request(), sender.scheme
                value = scheme.value(request)
                for at in places(value, sender):
                    self.refuse(scheme.with_value(request, changed(value, at)), WRONG)
                for at in places(request.body, sender) if scheme.covers_body() else ():
                    self.refuse(request.replaced(body=changed(request.body, at)), WRONG)
                header = scheme.time_header()
                moment = request.header(header) if header else ""
                for at in (at for at in range(len(moment)) if moment[at].isdigit()):
                    digit = str((int(moment[at]) + 1) % 10)
                    self.refuse(request.with_header(header, moment[:at] + digit + moment[at + 1 :]), WRONG)
                self.check_stored(sender, [])

    def test_a_request_that_is_too_old_or_in_the_future_is_refused(self):
        timed = [sender for sender in self.verified if sender.scheme.is_timed()]
        self.serve(timed)
        for sender in timed:
            with self.subTest(sender.source):
                tolerance = sender.scheme.tolerance()
                oldest = tolerance + sender.scheme.lifetime(sender.request())
                self.refuse(sender.request(age=oldest + 30), {"timestamp_too_old"})
                self.refuse(sender.request(age=-tolerance - 30), {"timestamp_in_future"})
                self.check_stored(sender, [])
                self.accept(sender, sender.request(age=oldest - 30))
                self.accept(sender, sender.request(age=30 - tolerance))

    def test_any_key_of_the_settings_verifies_and_another_one_does_not(self):
        self.serve(self.verified)
        for sender in self.verified:
            with self.subTest(sender.source):
                self.refuse(sender.scheme.sign(sender.request(), stranger(sender), time.time()), FORGED)
                self.check_stored(sender, [])
                second = sender.request(key=1)
                self.accept(sender, second)
                self.check_stored(sender, sender.webhooks(second))

    def test_one_genuine_signature_among_several_is_enough(self):
        # Coinbase CDP sends one signature in one header; hookbox does not read a header that is there twice.
        of_several = [sender for sender in self.verified if sender.preset != "coinbase-cdp"]
        by_header = [sender for sender in of_several if sender.scheme.kind == "header"]
        self.serve(by_header)
        for sender in by_header:
            with self.subTest(sender.source):
                scheme, request = sender.scheme, sender.request()
                name, genuine = scheme.names[0], scheme.value(request)
                forged = scheme.value(scheme.sign(request, stranger(sender), time.time()))
                self.refuse(request.with_header(name, forged, forged), FORGED)
                self.check_stored(sender, [])
                self.accept(sender, request.with_header(name, forged, genuine))
                self.accept(sender, request.with_header(name, genuine, forged))
                if len(scheme.names) > 1:
                    self.accept(sender, request.with_header(name, forged).with_header(scheme.names[1], genuine))
                if scheme.separator:
                    *others, signature = scheme.items(genuine)
                    items = [*others, scheme.items(forged)[-1], signature]
                    self.accept(sender, request.with_header(name, scheme.separator.join(items)))

    def test_a_request_without_a_signature_or_with_an_empty_one_is_refused(self):
        self.serve(self.verified)
        for sender in self.verified:
            with self.subTest(sender.source):
                request, scheme = sender.request(), sender.scheme
                self.refuse(scheme.unsigned(request), {"signature_missing"})
                self.refuse(scheme.with_value(request, ""), {"signature_missing"})
                if scheme.prefix:
                    # That of Coinbase CDP lacks the time, too.
                    causes = {"signature_malformed", "timestamp_missing"}
                    self.refuse(scheme.with_value(request, scheme.prefix), causes)
                self.check_stored(sender, [])

    def test_a_header_that_is_there_twice_is_not_read(self):
        self.serve(self.senders)
        for sender in self.senders:
            with self.subTest(sender.source):
                request = sender.request()
                header = sender.scheme and sender.scheme.time_header()
                if header:
                    self.refuse(request.with_header(header, *[request.header(header)] * 2), {"timestamp_missing"})
                self.check_stored(sender, [])
                for name in sender.headers_of_key():
                    # Some senders sign it; of some, another header takes its place.
                    without = request.without(name).send(self.hookbox)
                    statuses = sender.statuses() if without.status < 300 else (400, 401)
                    self.assertIn(without.status, statuses, without)
                    stored = self.hookbox.stored(sender.source)
                    twice = request.with_header(name, *[request.header(name)] * 2).send(self.hookbox)
                    self.assertIn(twice.status, statuses, twice)
                    self.assertEqual(self.hookbox.stored(sender.source), stored)

    def test_an_event_that_is_sent_again_is_a_duplicate(self):
        self.serve(self.senders)
        for sender in self.senders:
            with self.subTest(sender.source):
                request = sender.request()
                self.accept(sender, request)
                self.accept(sender, request)
                self.check_stored(sender, sender.webhooks(request, times=2))

    def test_a_retry_with_another_body_is_a_duplicate_but_for_standard_webhooks(self):
        retrying = [sender for sender in self.senders if sender.vector["webhooks"]]
        self.serve(retrying)
        for sender in retrying:
            with self.subTest(sender.source):
                self.accept(sender, sender.request())
                before = self.stored(sender)
                retry = sender.request(body=sender.other_body())
                if sender.preset in SAME_BYTES:
                    answer = retry.send(self.hookbox)
                    self.assertEqual(answer.status, 422, answer)
                else:
                    self.accept(sender, retry)
                after = self.stored(sender)
                self.assertEqual([webhook for webhook in after if webhook in before], before)
                # Where the body is the name of a webhook, another body is another webhook.
                new = len(before) if sender.has_key_of_body() else sender.keys_of_request()
                self.assertEqual(len(after) - len(before), new)

    def test_of_two_at_once_exactly_one_is_new(self):
        self.serve(self.senders)
        for sender in self.senders:
            with self.subTest(sender.source):
                request, together, answers = sender.request(), threading.Barrier(2), []

                def send(request=request, together=together, answers=answers):
                    together.wait(10)
                    answers.append(request.send(self.hookbox).status)

                threads = [threading.Thread(target=send) for _ in range(2)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(60)
                self.assertEqual([status in sender.statuses() for status in answers], [True, True], answers)
                self.check_stored(sender, sender.webhooks(request, times=2))

    def test_a_request_that_is_not_verified_is_kept_apart_if_the_settings_say_so(self):
        takes = [sender for sender in self.verified if not sender.rules.get("probes")]
        single = [sender for sender in takes if sender.batch() is None]
        self.serve(single, unverified="quarantine")
        for sender in single:
            with self.subTest(sender.source):
                answer = sender.scheme.unsigned(sender.request()).send(self.hookbox)
                self.assertIn(answer.status, {202, *sender.statuses()}, answer)
                [shown] = self.stored(sender)
                said = shown["status"], shown["verdict"], shown["cause"], shown["jobs"]
                self.assertEqual(said, ("quarantined", "unverified", "signature_missing", []))
                # It does not take the key of a genuine one.
                self.accept(sender, sender.request())
                self.assertEqual(sum(shown["status"] != "quarantined" for shown in self.stored(sender)), 1)

    def test_the_url_that_is_signed_is_that_of_the_settings_whatever_the_host(self):
        by_url = [sender for sender in self.verified if "{url}" in sender.scheme.signed]
        self.assertGreater(len(by_url), 2)
        self.serve(by_url)
        for sender in by_url:
            with self.subTest(sender.source):
                request = sender.request()
                query = dict(urllib.parse.parse_qsl(request.query)) | {"added": "1"}
                self.refuse(request.replaced(query=urllib.parse.urlencode(query)), FORGED)
                elsewhere = request.replaced(origin=f"http://{self.hookbox.http}")
                self.refuse(sender.scheme.sign(elsewhere, sender.keys[0], time.time()), FORGED)
                self.accept(sender, request)
