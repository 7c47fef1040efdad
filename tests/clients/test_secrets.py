"""No secret is in anything that hookbox shows, whatever is sent to it."""

import base64
import hashlib
import http.server
import sys
import threading

import grpc
import harness
import presets
from signer import PUBLIC_URL, changed

sys.path.append(str(harness.ROOT / "proto"))

ADMIN, LIMITED, GUESSED = "an-admin-token-of-the-tests", "hbx_a-limited-token-of-the-tests", "a-token-that-was-guessed"
ROUTE_SECRET, ROUTE_HEADER = "a-secret-of-the-route-that-signs", "Bearer a-header-of-the-route"
ROUTE_PATH = "a-path-of-the-route-that-is-secret"
# Presets whose token is in the body, which both APIs show. The pages hide it.
IN_BODY = {"figma", "microsoft-graph"}
# What is shown by REST, besides what is asked for below.
PATHS = ["/", "/healthz", "/readyz", "/openapi.json", "/v1/stats", "/v1/routes", "/v1/pauses", "/v1/sources"]
METHODS = [
    ("WebhookService", "GetStats", "GetStatsRequest"),
    ("OperationService", "ListRoutes", "ListRoutesRequest"),
    ("OperationService", "ListPauses", "ListPausesRequest"),
    ("OperationService", "ListSources", "ListSourcesRequest"),
    ("OperationService", "ReloadSettings", "ReloadSettingsRequest"),
]


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps the spans that hookbox exports, as the bytes that came."""

    def do_POST(self):
        self.server.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


class Secrets(harness.TestCase):
    def setUp(self):
        self.senders = presets.senders()
        self.shown = []  # pairs of a place and the bytes that it shows
        self.collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        self.collector.received = []
        threading.Thread(target=self.collector.serve_forever, daemon=True).start()
        self.addCleanup(self.collector.server_close)
        self.addCleanup(self.collector.shutdown)
        self.hookbox = self.configured()

    def configured(self):
        """A hookbox with every preset, and secrets in the file, the environment and files."""
        place, environment, sources = harness.folder(self), {}, []
        for number, sender in enumerate(self.senders):
            keys = []
            for at, key in enumerate(sender.keys):
                name = f"KEY_{number}_{at}"
                (place / name).write_text(key.text + "\n")
                environment[name] = key.text
                keys.append([key.text, f"env:{name}", f"file:{place / name}"][(number + at) % 3])
            sources.append(sender.settings(keys))
        (place / "header").write_text(ROUTE_HEADER)
        settings = f'''
public_url = "{PUBLIC_URL}"

{"".join(sources)}
[tokens.limited]
sha256 = "{hashlib.sha256(LIMITED.encode()).hexdigest()}"
roles = ["read"]
sources = ["stripe-*"]

[[routes]]
name = "delivered"
match = {{ source = "stripe-*" }}
handler = "http"
url = "env:ROUTE_URL"
allow = ["127.0.0.0/8"]
secrets = ["env:ROUTE_SECRET"]
headers = {{ Authorization = "file:{place / "header"}" }}
retry = {{ attempts = 1 }}

[[routes]]
name = "kept"
handler = "pull"
'''
        environment |= {
            "ROUTE_SECRET": ROUTE_SECRET,
            "ROUTE_URL": f"http://127.0.0.1:{harness.free_port()}/services/{ROUTE_PATH}",
            "HOOKBOX_LOG": "debug,hookbox=trace",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.collector.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }
        return harness.Hookbox(self, settings, environment, token=ADMIN)

    def secrets(self):
        """All secrets in use, each with the preset that it belongs to."""
        for sender in self.senders:
            for key in sender.keys:
                if key.kind == "secret":
                    yield sender.preset, key.text.removeprefix("whsec_")
            if sender.takes_token():
                yield sender.preset, sender.vector["verify_token"] or presets.VERIFY_TOKEN
        yield from self.handshake_tokens()
        for secret in (ADMIN, LIMITED, GUESSED, ROUTE_SECRET, ROUTE_PATH, ROUTE_HEADER.removeprefix("Bearer ")):
            yield None, secret
        yield None, hashlib.sha256(LIMITED.encode()).hexdigest()

    def handshake_tokens(self):
        """The tokens that senders send in handshakes, each with the preset. Only operators are shown them."""
        for handshake in presets.RECORDED["handshakes"]:
            if token := presets.recorded(handshake).json("/verification_token"):
                yield handshake["preset"], token

    def show(self, place, *shown):
        self.shown += [(place, text if isinstance(text, bytes) else str(text).encode()) for text in shown]

    def send(self, request):
        answer = request.send(self.hookbox)
        self.show("answers", answer.body, answer.headers)
        return answer

    def send_everything(self):
        """Genuine requests, handshakes, and all that is wrong."""
        for sender in self.senders:
            request = sender.request()
            self.send(request.replaced(path="/v1/sources/unknown/webhooks"))
            self.send(request.replaced(path="/v1/webhooks"))
            if sender.scheme:
                self.send(sender.scheme.unsigned(request))
                value = sender.scheme.value(request)
                self.send(sender.scheme.with_value(request, changed(value, len(value) // 2)))
                self.send(sender.request(key=1, age=100_000))
            else:
                request = request.with_header("Authorization", self.hookbox.bearer["Authorization"])
            answer = self.send(request)
            self.assertIn(answer.status, sender.statuses(), answer)
        for handshake in presets.RECORDED["handshakes"]:
            if handshake["preset"] not in presets.FETCHED:
                self.send(presets.Sender(handshake, f"{handshake['preset']}-1").request())

    def look(self, token):
        """Asks for everything over both APIs. Returns the ids of the webhooks that were listed."""
        sources = [sender.source for sender in self.senders]
        paths = PATHS + [f"/v1/sources/{source}/rejections" for source in sources]
        paths += ["/v1/webhooks?page_size=500", "/metrics", "/v1/nothing", "/v1/webhooks/nothing"]
        listed = []
        while paths:
            answer = self.hookbox.send("GET", paths.pop(), [("Authorization", f"Bearer {token}")])
            self.show("answers", answer.body, answer.headers)
            if answer.status == 200 and answer.body.startswith(b'{"webhooks":'):
                listed = [webhook["id"] for webhook in answer.json()["webhooks"]]
                paths += [f"/v1/webhooks/{id}" for id in listed]
        self.call(token, listed)
        return listed

    def look_at_pages(self, ids):
        """Looks at the pages of all sources and webhooks, as a browser that is logged in."""
        cookie = base64.urlsafe_b64encode(ADMIN.encode()).decode().rstrip("=")
        headers = [("Accept", "text/html"), ("Cookie", f"hookbox={cookie}")]
        views = ["/", "/sources", "/webhooks", "/webhooks?verdict=verified", "/routes"]
        views += [f"/sources/{sender.source}" for sender in self.senders]
        for view in [*views, *(f"/webhooks/{id}" for id in ids)]:
            answer = self.hookbox.send("GET", view, headers)
            self.assertEqual(answer.status, 200, f"{view}: {answer}")
            self.show("pages", answer.body)

    def call(self, token, ids):
        """Asks for everything over gRPC."""
        webhooks, _ = grpc.protos_and_services("hookbox/v1/webhook_service.proto")
        operations, _ = grpc.protos_and_services("hookbox/v1/operation_service.proto")
        protos = {"WebhookService": webhooks, "OperationService": operations}
        calls = [(service, method, getattr(protos[service], name)()) for service, method, name in METHODS]
        calls.append(("WebhookService", "ListWebhooks", webhooks.ListWebhooksRequest(page_size=500)))
        calls += [("WebhookService", "GetWebhook", webhooks.GetWebhookRequest(id=id)) for id in ids]
        for sender in self.senders:
            request = operations.ListRejectionsRequest(source=sender.source)
            calls.append(("OperationService", "ListRejections", request))
        with grpc.insecure_channel(self.hookbox.grpc) as channel:
            for service, method, request in calls:
                # Answers stay bytes: what is shown is what is sent.
                call = channel.unary_unary(f"/hookbox.v1.{service}/{method}", type(request).SerializeToString)
                try:
                    answer = call(request, metadata=[("authorization", f"Bearer {token}")], timeout=30)
                    self.show("answers", answer)
                except grpc.RpcError as error:
                    self.show("answers", error.details(), error.trailing_metadata())

    def commands(self):
        for arguments in [["config"], ["config", "check"], ["presets"], ["health"], ["reload"]]:
            _, output = self.hookbox.run(*arguments)
            self.show(f"hookbox {' '.join(arguments)}", output)

    def test_no_secret_is_in_a_log_an_error_a_metric_an_answer_or_a_trace(self):
        self.hookbox.serve()
        self.send_everything()
        # All that is stored is on one page.
        ids = self.look(ADMIN)
        self.assertIn(len(ids), range(len(self.senders), 500))
        self.look_at_pages(ids)
        self.look(LIMITED)
        self.look(GUESSED)
        self.commands()
        harness.eventually("the failure of a delivery", lambda: self.hookbox.count("dead_lettered") > 0)
        self.hookbox.program.terminate(seconds=60)
        self.show("the log", self.hookbox.program.log.read_bytes())
        self.show("the traces", *self.collector.received)
        # What is looked through is what it should be.
        self.assertGreater(len(self.collector.received), 0)
        for place in ("answers", "pages", "the log", "the traces", "hookbox config"):
            texts = [text for shown_at, text in self.shown if shown_at == place]
            self.assertTrue(any(b"stripe-1" in text for text in texts), f"{place} has no source")
        self.check()

    def check(self):
        leaks, of_operators = set(), set(self.handshake_tokens())
        for preset, secret in self.secrets():
            forms = [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")]
            for place, text in self.shown:
                in_body = preset in IN_BODY and place == "answers"
                is_shown = (preset, secret) in of_operators and place == "pages"
                if not in_body and not is_shown and any(form in text for form in forms):
                    leaks.add((preset, place, secret))
        self.assertEqual(leaks, set())

    def test_no_secret_is_in_what_is_said_of_wrong_settings(self):
        secrets = [f"a-secret-with-mistake-{number}" for number in range(6)]
        wrong = f'''
admin_token = "{secrets[0][:15]}"

[sources.one]
preset = "svix"
secrets = ["{secrets[1]} !"]

[sources.two]
preset = "stripe"
secret = "{secrets[2]}"

[sources.three]
preset = "stripe"
secrets = [{{ text = "{secrets[3]}" }}]

[sources.four]
preset = "meta"
secrets = ["{secrets[4]}"]
verify_token = {{ text = "{secrets[4]}" }}

[sources.five]
preset = "discord"
secrets = ["{secrets[5]}"]
'''
        cut_off = f'[sources.one]\npreset = "stripe"\nsecrets = ["{secrets[0]}'
        for settings in (wrong, cut_off):
            hookbox = harness.Hookbox(self, settings)
            for arguments in (["config", "check"], ["config"], ["serve"]):
                with self.subTest(settings[:20], arguments=arguments):
                    code, output = hookbox.run(*arguments)
                    self.assertNotEqual(code, 0)
                    self.assertIn("hookbox.toml:", output)
                    self.assertNotIn("a-secret-with", output)
