"""No secret is in anything that hookbox shows, whatever is sent to it."""

import base64
import hashlib
import http.server
import threading
import urllib.parse

import grpc
import harness
import presets
import surface
from signer import PUBLIC_URL, Request, changed

ADMIN, LIMITED, GUESSED = "an-admin-token-of-the-tests", "hbx_a-limited-token-of-the-tests", "a-token-that-was-guessed"
ROUTE_SECRET, ROUTE_HEADER = "a-secret-of-the-route-that-signs", "Bearer a-header-of-the-route"
ROUTE_PATH = "a-path-of-the-route-that-is-secret"
# Presets whose token is in the body, which both APIs show. The pages hide it.
IN_BODY = {"figma", "microsoft-graph"}
# Of the senders whose keys are fetched, the only one with a secret. Its requests here need no key.
PLAID_SECRET = "a-secret-of-the-api-of-plaid"
PLAID = f"""
[sources.plaid-1]
preset = "plaid"
secrets = ["{PLAID_SECRET}"]
verify = {{ client_id = "a-client" }}
"""
LEASE = b'{"routes": ["kept"], "worker": "a-worker", "max_jobs": 10}'


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
{PLAID}
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
        yield "plaid", PLAID_SECRET
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
        for headers in [(), (("Plaid-Verification", "a.b.c"),)]:
            answer = self.send(Request("POST", "/v1/sources/plaid-1/webhooks", "", headers, "{}"))
            self.assertEqual(answer.status, 401, answer)
        for handshake in presets.RECORDED["handshakes"]:
            if handshake["preset"] not in presets.FETCHED:
                self.send(presets.Sender(handshake, f"{handshake['preset']}-1").request())

    def act(self):
        """What operators do. It is stored, and shown."""
        headers = [("Content-Type", "application/json"), *self.hookbox.bearer.items()]
        replay = b'{"filter": {"route": "delivered"}}'
        for path, body in [("/v1/pause?route=kept", b""), ("/v1/resume?route=kept", b""), ("/v1/replays", replay)]:
            answer = self.hookbox.send("POST", path, headers, body)
            self.assertEqual(answer.status // 100, 2, answer)
            self.show("answers", answer.body, answer.headers)

    def values(self, ids):
        """What there is, by the parameters of paths."""
        sources = ["plaid-1", *(sender.source for sender in self.senders)]
        return {"id": ids or ["nothing"], "source": sources, "route": ["delivered", "kept"], "number": ["1"]}

    def look(self, token):
        """Asks for everything over both APIs. Returns the ids of the webhooks that were listed."""
        headers = [("Authorization", f"Bearer {token}")]
        listed = self.hookbox.send("GET", "/v1/webhooks?page_size=500", headers)
        webhooks = listed.json()["webhooks"] if listed.status == 200 else []
        ids = [webhook["id"] for webhook in webhooks]
        names = {name: webhook[name] for webhook in webhooks[:1] for name in ("idempotency_key", "source")}
        for path, parameters, is_stream in surface.documented(self.hookbox):
            query = f"?{urllib.parse.urlencode(names)}" if "idempotency_key" in parameters else ""
            for filled in surface.filled(path, self.values(ids))[: 1 if is_stream else None]:
                answer = self.hookbox.send("GET", filled + query, headers, is_whole=not is_stream)
                self.show(self.place_of(token, path == "/v1/sources/{source}"), answer.body, answer.headers)
        answers = [self.hookbox.send("GET", path, headers) for path in ("/openapi.json", "/docs", "/v1/nothing")]
        lease = [("Content-Type", "application/json"), *headers]
        for answer in [listed, *answers, self.hookbox.send("POST", "/v1/work/lease", lease, LEASE)]:
            self.show("answers", answer.body, answer.headers)
        self.call(token, ids)
        return ids

    def place_of(self, token, is_of_source):
        """Where an answer is shown. Operators are shown the tokens of handshakes with the source."""
        return "sources of operators" if is_of_source and token == ADMIN else "answers"

    def look_at_pages(self, ids):
        """Looks at every view, as a browser that is logged in."""
        cookie = base64.urlsafe_b64encode(ADMIN.encode()).decode().rstrip("=")
        headers = [("Accept", "text/html"), ("Cookie", f"hookbox={cookie}")]
        views = surface.views()
        self.assertGreater(len(views), 12)
        for view in [*views, "/webhooks?verdict=verified"]:
            # A payload that is hidden is no file, and not every body can be edited. Who is logged in needs no login.
            statuses = (200, 303, 409) if view.startswith("/webhooks/{id}/") else (303,) if view == "/login" else (200,)
            for path in surface.filled(view, self.values(ids)):
                answer = self.hookbox.send("GET", path, headers)
                self.assertIn(answer.status, statuses, f"{path}: {answer}")
                self.show("pages", answer.body, answer.headers)

    def call(self, token, ids):
        """Asks for everything over gRPC."""
        metadata = [("authorization", f"Bearer {token}")]
        with grpc.insecure_channel(self.hookbox.grpc) as channel:
            for path, requests, is_stream in surface.calls(self.values(ids)):
                place = self.place_of(token, path.endswith("/GetSource"))
                # Answers stay bytes: what is shown is what is sent.
                begin = channel.unary_stream if is_stream else channel.unary_unary
                call = begin(path, type(requests[0]).SerializeToString)
                for request in requests[: 1 if is_stream else None]:
                    try:
                        answer = call(request, metadata=metadata, timeout=30)
                        self.show(place, next(answer) if is_stream else answer)
                    except grpc.RpcError as error:
                        self.show(place, error.details(), error.trailing_metadata())

    def commands(self):
        for arguments in [["config"], ["config", "check"], ["presets"], ["health"], ["reload"]]:
            _, output = self.hookbox.run(*arguments)
            self.show(f"hookbox {' '.join(arguments)}", output)

    def test_no_secret_is_in_a_log_an_error_a_metric_an_answer_or_a_trace(self):
        self.hookbox.serve()
        self.send_everything()
        harness.eventually("the failure of a delivery", lambda: self.hookbox.count("dead_lettered") > 0)
        self.act()
        # All that is stored is on one page.
        ids = self.look(ADMIN)
        self.assertIn(len(ids), range(len(self.senders), 500))
        self.look_at_pages(ids)
        self.look(LIMITED)
        self.look(GUESSED)
        self.commands()
        self.hookbox.program.terminate(seconds=60)
        self.show("the log", self.hookbox.program.log.read_bytes())
        self.show("the traces", *self.collector.received)
        # What is looked through is what it should be.
        self.assertGreater(len(self.collector.received), 0)
        for place in ("answers", "sources of operators", "pages", "the log", "the traces", "hookbox config"):
            for source in (b"stripe-1", b"plaid-1"):
                is_there = any(source in text for shown_at, text in self.shown if shown_at == place)
                self.assertTrue(is_there, f"{place} has no {source}")
        self.check()

    def check(self):
        leaks, of_operators = set(), set(self.handshake_tokens())
        for preset, secret in self.secrets():
            forms = [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")]
            for place, text in self.shown:
                in_body = preset in IN_BODY and place == "answers"
                is_shown = (preset, secret) in of_operators and place in ("pages", "sources of operators")
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
