"""A hookbox that holds one of everything that the page can show."""

import hashlib
import hmac
import http.server
import json
import threading
import urllib.parse

import harness

TOKEN = "a-token-of-the-tests-of-the-page"
SECRET = "a-secret-of-the-senders"
JSON = "application/json"
# What the targets of the routes answer, by path: status, headers and body.
ANSWERS = {
    "/taken": (200, {"Content-Type": JSON}, b'{"taken":true}'),
    "/refused": (422, {"Content-Type": JSON}, b'{"error":"no tax number","field":"customer.tax_number"}'),
    "/down": (503, {"Content-Type": "text/plain"}, b"the database is being moved"),
}
ORDER = {
    "order_id": "ORD-2024-1234",
    "customer": {"name": "Jan Kowalski", "email": "jan@example.com", "vip": None},
    "lines": [{"sku": "A-100", "count": 2, "price": 99.99}, {"sku": "B-7", "count": 1, "price": 100.01}],
    "total": 299.99,
    "paid": True,
    "tags": [],
}
BODIES = [
    ("file.form", "application/x-www-form-urlencoded", b"order=17&note=rush+job&tag=a&tag=b"),
    ("file.text", "text/plain; charset=utf-8", "Zażółć gęślą jaźń.\nThe second line.\n".encode()),
    ("file.xml", "application/xml", b'<?xml version="1.0"?>\n<order id="17"><total>12.50</total></order>\n'),
    ("file.bytes", "application/octet-stream", bytes(range(256)) * 4),
    ("file.empty", "text/plain", b""),
    ("file.broken", JSON, b'{"order": 17,\n "lines": [1, 2,]}'),
]


class Target(http.server.BaseHTTPRequestHandler):
    """Answers as the server says for each path."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = self.server.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            # As UTF-8, which `send_header` does not write.
            self.send_header(name, value.encode().decode("latin-1"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def target(test, answers):
    """Starts a target with these answers. Returns its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    server.answers = answers
    threading.Thread(target=server.serve_forever, daemon=True).start()
    test.addCleanup(server.server_close)
    test.addCleanup(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


def http_route(name, match, url, more=""):
    """A route that delivers to a target on this machine."""
    return f'''
[[routes]]
name = "{name}"
match = {match}
handler = "http"
url = "{url}"
allow = ["127.0.0.1"]
{more}
'''


SOURCES = f'''
[sources.crm]
description = "Customers and their orders, from the CRM"
verify = "none"
key = {{ header = "X-Id" }}
event_type = {{ header = "X-Topic" }}
rate_limit = "1000/m"

[sources.shop]
description = "The web shop"
secrets = ["{SECRET}"]
verify = {{ hmac = "sha256", header = "X-Signature", encoding = "hex" }}
key = {{ header = "X-Id" }}
event_type = {{ header = "X-Topic" }}
unverified = "quarantine"
answer = {{ accepted = 200, body = "taken" }}
deadline = "5s"

[sources.bank]
secrets = ["{SECRET}"]
verify = {{ hmac = "sha256", header = "X-Signature", encoding = "hex" }}
key = {{ header = "X-Id" }}
event_type = {{ header = "X-Topic" }}
handshakes = [{{ verified = false, show = "token" }}]

[sources.clinic]
verify = "none"
key = {{ header = "X-Id" }}
event_type = {{ header = "X-Topic" }}
sensitive = true
'''

# It is removed while a job of it waits.
GONE = '''
[[routes]]
name = "old"
match = { event_type = "export.old" }
handler = "pull"
'''


def settings(url):
    several = '{ event_type = ["order.*", "file.*", "patient.*"] }'
    later = 'retry = { base = "24h", cap = "24h" }\n'
    breaker = 'breaker = { failures = 1, base = "1h", cap = "2h" }'
    return f'''
public_url = "https://hooks.example.com"
trace_url = "https://traces.example.com/trace/{{trace_id}}"
{SOURCES}
{http_route("orders", several, url + "/taken", 'secrets = ["a-secret-of-the-route"]')}
{http_route("invoices", '{ event_type = "order.paid" }', url + "/refused", "concurrency = 4")}
{http_route("mail", '{ event_type = "order.paid" }', url + "/down", later + "breaker = { failures = 0 }")}
{http_route("search", '{ event_type = "product.*" }', url + "/down", later + breaker)}
{http_route("alerts", '{ source = "hookbox" }', url + "/taken")}
[[routes]]
name = "vip"
match = {{ event_type = "order.*" }}
where = 'body.customer.vip > 1'

[[routes]]
name = "reports"
match = {{ source = "crm", event_type = "report.*" }}
rate = "50/s"

[[routes]]
name = "exports"
match = {{ event_type = "export.new" }}
handler = "pull"
order_by = "/customer/email"
'''


class Filled:
    """A hookbox, and the calls that fill it."""

    def __init__(self, test, text):
        self.test = test
        self.hookbox = harness.Hookbox(test, text, token=TOKEN).serve()

    def call(self, method, path, body=None, headers=()):
        """Calls hookbox with its token. Fails if the answer is an error."""
        body = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = [*self.hookbox.bearer.items(), *(headers or [("Content-Type", JSON)])]
        answer = self.hookbox.send(method, path, headers, body)
        self.test.assertLess(answer.status, 300, answer)
        return answer.json()

    def act(self, path, **parameters):
        """Does something as an operator does."""
        return self.call("POST", f"{path}?{urllib.parse.urlencode(parameters)}")

    def send(self, topic, body, content_type=JSON, key=None, source="crm", headers=()):
        """Sends a webhook to a source that does not verify. Returns its id."""
        key = key or f"{topic}-{hashlib.sha256(body).hexdigest()[:8]}"
        names = [("Content-Type", content_type), ("X-Id", key), ("X-Topic", topic)]
        return self.call("POST", f"/v1/sources/{source}/webhooks", body, [*names, *headers])["id"]

    def signed(self, source, topic, body, secret=SECRET, headers=()):
        """Sends a webhook with a signature. Returns the answer."""
        signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = [("Content-Type", JSON), ("X-Topic", topic), ("X-Signature", signature), *headers]
        return self.hookbox.send("POST", f"/v1/sources/{source}/webhooks", headers, body)

    def lease(self, routes, worker, most=1):
        """Leases jobs that wait. Returns the lease of each, by the id of its webhook."""
        asked = {"routes": routes, "worker": worker, "max_jobs": most, "wait": "10s", "lease": "12h"}
        return {job["webhook_id"]: job["lease"] for job in self.call("POST", "/v1/work/lease", asked)["jobs"]}

    def finish(self, worker, lease, **outcome):
        self.call("POST", "/v1/work/finish", {"worker": worker, "outcomes": [{"lease": lease, **outcome}]})

    def wait_for(self, **counts):
        """Waits until at least so many jobs have each status."""
        def reached():
            now = self.hookbox.get("/v1/stats")["counts"]
            return all(now[status] >= count for status, count in counts.items())
        harness.eventually(f"the jobs {counts}", reached)


def filled(test):
    """Starts a hookbox and fills it."""
    text = settings(target(test, ANSWERS))
    all = Filled(test, text + GONE)
    order = json.dumps(ORDER).encode()
    all.act("/v1/pause", route="reports", reason="the warehouse counts its stock")
    all.act("/v1/pause", source="bank")
    several = [all.send("order.paid", order.replace(b"1234", b"%d" % number)) for number in range(1234, 1237)]
    for topic, content_type, body in BODIES:
        all.send(topic, body, content_type)
    all.send("ping", b"{}")
    for product in (b'{"id":1}', b'{"id":2}'):
        all.send("product.changed", product)
        all.wait_for(retrying=len(several) + 1)
    daily, weekly = [all.send(f"report.{name}", b"{}") for name in ("daily", "weekly")]
    all.act(f"/v1/webhooks/{weekly}/cancel", reason="this week has no report")
    all.hookbox.submit("a-key-of-a-program", order.decode())
    fill_exports(all)
    fill_senders(all, order)
    all.wait_for(completed=len(several) + len(BODIES) + 4, dead_lettered=len(several) + 1)
    all.act(f"/v1/webhooks/{several[0]}/retry", route="invoices", reason="the tax number is there now")
    all.wait_for(dead_lettered=len(several) + 1)
    (all.hookbox.folder / "hookbox.toml").write_text(text)
    code, output = all.hookbox.run("reload")
    test.assertEqual(code, 0, output)
    # The `where` of a route fails on it, which is counted since the reload.
    all.hookbox.submit("a-key-after-the-reload", order.decode())
    all.wait_for(completed=len(several) + len(BODIES) + 5)
    refuse_another_body(all)
    all.call("POST", "/v1/replays", {"filter": {"status": ["dead_lettered"]}, "dry_run": True})
    # It waits, because its route is paused and has a job that is due.
    all.call("POST", "/v1/replays", {"filter": {"route": "reports"}, "rate": "5/s", "reason": "the stock is counted"})
    return all.hookbox


def fill_exports(all):
    """Jobs of workers: one that runs, one completed, one dead letter, and one of a route that is about to go."""
    worker = "exporter-1"
    for number, outcome in enumerate([
        {"completed": {"result": {"rows": 12, "file": "s3://exports/2024-12.csv"}}},
        {"failed": {"error": "no row 17 in the table of customers", "permanent": True}},
        None,
    ]):
        id = all.send("export.new", json.dumps({"export": number}).encode())
        leases = all.lease(["exports"], worker)
        if outcome:
            all.finish(worker, leases[id], **outcome)
    all.send("export.old", b"{}")


def refuse_another_body(all):
    """Sends another body under a key that is taken."""
    other = json.dumps(ORDER | {"total": 300.99, "tags": ["gift"]})
    body = f'{{"idempotency_key":"a-key-of-a-program","event_type":"order.created","payload":{other}}}'.encode()
    headers = [*all.hookbox.bearer.items(), ("Content-Type", JSON)]
    answer = all.hookbox.send("POST", "/v1/webhooks", headers, body)
    all.test.assertEqual(answer.status, 422, answer)


def fill_senders(all, order):
    """Webhooks that are verified, that are not, and whose payloads are hidden; requests that are refused, and one that
    brings a token."""
    all.send("patient.admitted", b'{"patient":"Ada Nowak","ward":"B2"}', source="clinic")
    token = b'{"token":"a-token-of-the-bank"}'
    answer = all.hookbox.send("POST", "/v1/sources/bank/webhooks", [("Content-Type", JSON)], token)
    all.test.assertEqual(answer.status, 200, answer)
    for secret in (SECRET, "another secret"):
        answer = all.signed("shop", "order.created", order, secret, [("X-Id", f"shop-{secret}")])
        all.test.assertEqual(answer.status, 200, answer)
    for secret, headers, status in ((SECRET, [], 400), ("another secret", [("X-Id", "1")], 401)):
        answer = all.signed("bank", "payment.received", order, secret, headers)
        all.test.assertEqual(answer.status, status, answer)
    answer = all.hookbox.send("POST", "/v1/sources/bank/webhooks", [("X-Id", "1")], b"{}")
    all.test.assertEqual(answer.status, 401, answer)
