"""The workers of examples/pull, against hookbox."""

import hashlib
import http.server
import json
import shutil
import threading
import time
import types

import harness

# Leases are cut to `timeout`, so that jobs whose lease was lost with hookbox start again soon.
SETTINGS = """
[[routes]]
name = "orders"
handler = "pull"
timeout = "5s"
retry = { attempts = 3, base = "100ms", cap = "200ms" }
"""
TOKEN = "hbx_a-token-of-the-worker"
TOKENS = f"""
[tokens.worker]
sha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"
roles = ["work"]
routes = ["orders"]
"""
WEBHOOKS = 50
WITHOUT_ORDER = range(0, WEBHOOKS, 10)


def payload(number):
    """The payload of a webhook, as JSON. The workers of the examples fail if it has no order_id."""
    return json.dumps({"amount": 1} if number in WITHOUT_ORDER else {"order_id": f"ORD-{number} żółw"})


class Workers:
    """What holds for the worker of every language."""

    def worker(self, hookbox, **environment):
        """Starts the worker."""
        # In a folder in which Node finds its packages; the others do not mind.
        script = shutil.copy(harness.ROOT / "examples" / "pull" / self.script, harness.folder(self))
        environment = {"HOOKBOX_GRPC": hookbox.grpc, "HOOKBOX_URL": hookbox.url, **environment}
        command = [*self.interpreter, script, "orders"]
        return harness.Program(self, self.script, command, harness.ROOT, environment)

    def check(self, hookbox, ids):
        """Waits until all jobs have ended, checks their results and errors, and returns the webhooks."""
        ended = lambda: hookbox.count("completed") + hookbox.count("dead_lettered") == WEBHOOKS
        harness.eventually("the end of all jobs", ended, seconds=120)
        webhooks = []
        for number, id in enumerate(ids):
            webhook = hookbox.webhook(id)
            if number in WITHOUT_ORDER:
                self.assertEqual(webhook["status"], "dead_lettered")
                self.assertIn("order_id", webhook["last_error"])
                self.assertEqual(webhook["attempts"][-1]["outcome"], "failed")
            else:
                self.assertEqual(webhook["status"], "completed")
                self.assertEqual(webhook["result"], {"shipped": f"ORD-{number} żółw"})
                self.assertEqual(webhook["attempts"][-1]["outcome"], "completed")
            webhooks.append(webhook)
        return webhooks

    def test_jobs_are_completed_and_failures_are_retried_until_they_are_dead_letters(self):
        hookbox = harness.Hookbox(self, SETTINGS).serve()
        self.worker(hookbox)
        ids = [hookbox.submit(f"evt-{number}", payload(number)) for number in range(WEBHOOKS)]
        for number, webhook in enumerate(self.check(hookbox, ids)):
            attempts = 3 if number in WITHOUT_ORDER else 1
            self.assertEqual(len(webhook["attempts"]), attempts, webhook)

    def test_jobs_are_completed_where_requests_need_a_token(self):
        hookbox = harness.Hookbox(self, SETTINGS + TOKENS, token="a-token-of-the-operator").serve()
        self.worker(hookbox, HOOKBOX_TOKEN=TOKEN)
        self.check(hookbox, [hookbox.submit(f"evt-{number}", payload(number)) for number in range(WEBHOOKS)])

    def test_two_workers_share_the_jobs_of_a_route(self):
        hookbox = harness.Hookbox(self, SETTINGS).serve()
        self.worker(hookbox)
        self.worker(hookbox)
        ids = []

        def both_worked():
            # More than one lease takes, so that jobs are left for the other worker, once it has started.
            ids.extend(hookbox.submit(f"evt-{len(ids) + number}", payload(1)) for number in range(15))
            return len({attempt["worker"] for id in ids for attempt in hookbox.webhook(id)["attempts"]}) == 2

        harness.eventually("both workers having run jobs", both_worked)
        harness.eventually("the end of all jobs", lambda: hookbox.count("completed") == len(ids))

    def test_all_jobs_end_though_hookbox_is_killed_and_starts_again(self):
        hookbox = harness.Hookbox(self, SETTINGS).serve()
        worker = self.worker(hookbox)
        ids, half_sent = [], threading.Event()

        def send():
            for number in range(WEBHOOKS):
                if number == WEBHOOKS // 2:
                    half_sent.set()
                ids.append(hookbox.submit(f"evt-{number}", payload(number)))

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        self.assertTrue(half_sent.wait(60))
        hookbox.program.kill()
        hookbox.serve()
        sender.join(60)
        self.check(hookbox, ids)
        self.assertIsNone(worker.process.poll(), "the worker has ended")

    def test_sigterm_ends_a_worker_amid_its_jobs_and_another_does_the_rest(self):
        hookbox = harness.Hookbox(self, SETTINGS).serve()
        ids = [hookbox.submit(f"evt-{number}", payload(number)) for number in range(WEBHOOKS)]
        worker = self.worker(hookbox)
        harness.eventually("the first completed job", lambda: hookbox.count("completed") > 0)
        self.assertEqual(worker.terminate(seconds=10), 0)
        self.worker(hookbox)
        self.check(hookbox, ids)

    def test_sigterm_ends_a_worker_that_waits_for_jobs(self):
        hookbox = harness.Hookbox(self, SETTINGS).serve()
        worker = self.worker(hookbox)
        id = hookbox.submit("evt-1", payload(1))
        harness.eventually("the worker being at work", lambda: hookbox.webhook(id)["status"] == "completed")
        self.assertEqual(worker.terminate(seconds=5), 0)

    def test_sigterm_ends_a_worker_while_hookbox_is_away(self):
        hookbox = harness.Hookbox(self, SETTINGS).serve()
        worker = self.worker(hookbox)
        id = hookbox.submit("evt-1", payload(1))
        harness.eventually("the worker being at work", lambda: hookbox.webhook(id)["status"] == "completed")
        hookbox.program.kill()
        worker.terminate(seconds=5)


class PythonWorkers(Workers, harness.TestCase):
    script, interpreter = "worker.py", [harness.PYTHON]


class NodeWorkers(Workers, harness.TestCase):
    script, interpreter = "worker.mjs", ["node"]


class Cut(http.server.BaseHTTPRequestHandler):
    """Answers the first lease with half of an answer, the second with a job, and all others with none."""

    LEASES = ['{"jobs":[{"lease":"a","payload":', '{"jobs":[{"lease":"b","delivery_id":"d","payload":{"order_id":1}}]}']

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/lease"):
            answer = dict(enumerate(self.LEASES)).get(len(self.server.leases), '{"jobs":[]}')
            self.server.leases.append(request)
            # As hookbox waits for jobs.
            time.sleep(0.1)
        else:
            answer = '{"jobs":[]}'
            self.server.finished.append(request)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        pass


class ShellWorkers(Workers, harness.TestCase):
    script, interpreter = "worker.sh", ["sh"]

    def test_after_an_answer_that_cannot_be_read_jobs_are_leased_one_by_one(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cut)
        server.leases, server.finished = [], []
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.worker(types.SimpleNamespace(grpc="", url=f"http://127.0.0.1:{server.server_port}"))
        harness.eventually("the end of the readable job", lambda: server.finished)
        self.assertEqual([lease["max_jobs"] for lease in server.leases[:2]], [10, 1])
        outcome = {"lease": "b", "completed": {"result": {"shipped": 1}}}
        self.assertEqual(server.finished[0]["outcomes"], [outcome])
