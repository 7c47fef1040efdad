"""The page in a browser: what operators do, from the first click to the last."""

import hashlib
import http.client
import http.server
import json
import threading

import harness
from browser import in_browser

TOKEN, READER = "a-token-of-the-operator", "hbx_a-token-that-only-reads"
SECRET = "a secret of the tests"
PREFIX = "/hooks"

ORDERS = """
[[routes]]
name = "orders"
match = { event_type = "*" }
handler = "simulate"
simulate = { min = "1ms", max = "1ms" }
"""


class Flows(harness.TestCase):
    def test_logging_in_and_what_a_token_lets_its_holder_see(self):
        reader = f'''
[tokens.reader]
sha256 = "{hashlib.sha256(READER.encode()).hexdigest()}"
roles = ["read"]
'''
        target = served(self, Target, Targets())
        settings = reader + source("shop") + route("order", target)
        self.run_flow("access.mjs", settings, READER=READER, ROUTE="order", SOURCE="shop")

    def test_a_dead_letter_is_found_understood_and_retried(self):
        target = served(self, Target, Targets())
        settings = route("billing", target) + route("stock", target)
        self.run_flow("dead_letters.mjs", settings, TARGET=f"http://127.0.0.1:{target}")

    def test_everything_is_reached_and_done_by_keys_alone(self):
        target = served(self, Target, Targets())
        self.run_flow("keyboard.mjs", route("mail", target), TARGET=f"http://127.0.0.1:{target}")

    def test_the_list_follows_what_comes_in(self):
        self.run_flow("live.mjs", ORDERS)

    def test_many_webhooks_are_replayed_and_a_route_is_paused(self):
        count = 200
        hookbox = harness.Hookbox(self, ORDERS, token=TOKEN).serve()
        for number in range(count):
            hookbox.submit(f"order-{number}", "{}")
        harness.eventually("all jobs being completed", lambda: hookbox.count("completed") == count)
        in_browser(self, "flows/operating.mjs", hookbox, COUNT=str(count))

    def test_the_page_works_behind_a_proxy_that_removes_a_prefix(self):
        upstream = {}
        port = served(self, Proxy, upstream)
        settings = f'base_path = "{PREFIX}"\npublic_url = "http://127.0.0.1:{port}"\n{ORDERS}'
        hookbox = harness.Hookbox(self, settings, token=TOKEN).serve()
        upstream["address"] = hookbox.http
        in_browser(self, "flows/prefix.mjs", hookbox, PAGE_URL=f"http://127.0.0.1:{port}{PREFIX}", API_URL=hookbox.url)

    def test_a_search_in_bodies_goes_on_by_itself(self):
        hookbox = harness.Hookbox(self, ORDERS, token=TOKEN).serve()
        # One answer looks at 64 MiB of bodies, so it does not come to the oldest.
        for key in ["oldest", *(f"order-{number}" for number in range(78)), "newest"]:
            text = "hay" if key.startswith("order-") else "needle"
            hookbox.submit(key, json.dumps({"text": text, "more": "x" * 900 * 1024}))
        in_browser(self, "flows/search.mjs", hookbox)

    def test_the_last_columns_of_tables_stay_in_sight(self):
        far = """
[[routes]]
name = "far"
match = { event_type = "far.*" }
handler = "pull"
"""
        self.run_flow("tables.mjs", far + source("shop"))

    def test_quarantine_tests_of_sources_and_edited_webhooks(self):
        settings = source("kept", 'unverified = "quarantine"') + source("strict") + ORDERS
        self.run_flow("sources.mjs", settings, SECRET=SECRET)

    def run_flow(self, script, settings, **environment):
        in_browser(self, f"flows/{script}", harness.Hookbox(self, settings, token=TOKEN).serve(), **environment)


def source(name, *members):
    """The settings of a source that verifies as GitHub signs."""
    lines = [f"[sources.{name}]", 'preset = "github"', f"secrets = [{json.dumps(SECRET)}]", *members]
    return "\n" + "\n".join(lines) + "\n"


def route(name, target):
    """The settings of a route that delivers to a target at this port, and gives up at once."""
    return f"""
[[routes]]
name = "{name}"
match = {{ event_type = "{name}.*" }}
handler = "http"
url = "http://127.0.0.1:{target}/{name}"
allow = ["127.0.0.1"]
retry = {{ attempts = 1 }}
"""


def served(test, handler, state):
    """Serves HTTP by a handler, which finds `state` in its server, until the test is over. Returns the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.state = state
    threading.Thread(target=server.serve_forever, daemon=True).start()
    test.addCleanup(server.server_close)
    test.addCleanup(server.shutdown)
    return server.server_port


class Targets:
    """The names of targets that are mended, and of those that answer."""

    def __init__(self):
        self.mended, self.answering = set(), set()
        self.changed = threading.Condition()


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


class Target(Quiet):
    """Refuses webhooks to `/NAME` until `/NAME/mend` was asked for. From then on it takes them, and answers them once
    `/NAME/answer` was asked for."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, name, *does = self.path.split("/")
        targets = self.server.state
        with targets.changed:
            if does:
                {"mend": targets.mended, "answer": targets.answering}[does[0]].add(name)
                targets.changed.notify_all()
            elif name not in targets.mended:
                return self.answer(422, {"error": f"{name} has no customer 17"})
            elif not targets.changed.wait_for(lambda: name in targets.answering, 20):
                return self.answer(504, {"error": "the test did not ask for an answer"})
        return self.answer(200, {"bytes": len(body)})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Proxy(Quiet):
    """Serves what is at an address under a prefix, which it takes away. Passes on each part of an answer as it comes."""

    def do_GET(self):
        path = self.path.removeprefix(PREFIX)
        if path == self.path:
            return self.send_error(404)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection(self.server.state["address"], timeout=60)
        try:
            connection.request(self.command, path or "/", body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            while part := answer.read1():
                self.wfile.write(part)
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # the browser left, or hookbox ended
        finally:
            connection.close()

    do_POST = do_GET
