"""The examples of docs/HANDLERS.md that check the signature of the handler `http`, against hookbox."""

import http.client
import http.server
import re
import shutil
import subprocess
import threading

import harness

SECRETS = {"base64": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "text": "a secret that is no base64"}
# Spaces, and a number and letters that other programs write otherwise: the signature is over the bytes.
PAYLOAD = '{"order_id" : "ORD-1234",  "amount": 1.50, "name": "żółw"}'


def example(language):
    """The code under "Check the signature" in this language."""
    section = (harness.ROOT / "docs" / "HANDLERS.md").read_text().split("### Check the signature")[1]
    return re.search(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE).group(1)


def replaced(text, old, new):
    """The text with its only `old` replaced."""
    assert text.count(old) == 1, f"docs/HANDLERS.md has {old!r} {text.count(old)} times in an example, not once"
    return text.replace(old, new)


class Forger(http.server.BaseHTTPRequestHandler):
    """Passes a request on with another body, but the same headers."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        target = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=10)
        target.request("POST", "/", body.replace(b"1234", b"1235"), dict(self.headers))
        self.send_response(target.getresponse().status)
        self.end_headers()
        target.close()

    def log_message(self, *_):
        """Says nothing."""


def forger(test, target):
    """Starts a forger in front of the target at a port. Returns its own port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forger)
    server.target = target
    threading.Thread(target=server.serve_forever, daemon=True).start()
    test.addCleanup(server.server_close)
    test.addCleanup(server.shutdown)
    return server.server_port


class Signatures:
    """What holds for the example of every language."""

    def code(self):
        return example(self.language)

    def command(self, place):
        """What runs the code, which is in a file of this folder."""
        return [*self.interpreter, self.file]

    def check(self, secret, as_bytes):
        port = harness.free_port()
        code = replaced(self.code(), "9000", str(port))
        if as_bytes:
            code = replaced(code, *self.as_bytes)
        place = harness.folder(self)
        (place / self.file).write_text(code)
        environment = {"ORDERS_SECRET": secret}
        harness.Program(self, self.file, self.command(place), place, environment)
        harness.eventually("the example listening", lambda: harness.listens(port))

        targets = {"genuine": port, "forged": forger(self, port)}
        route = '[[routes]]\nname = "{}"\nhandler = "http"\nurl = "http://127.0.0.1:{}/"\n'
        rest = 'allow = ["127.0.0.0/8"]\nsecrets = ["env:ORDERS_SECRET"]\n'
        settings = "".join(route.format(*target) + rest for target in targets.items())
        hookbox = harness.Hookbox(self, settings, environment).serve()
        id = hookbox.submit("evt-1", PAYLOAD)

        def ended():
            jobs = {job["route"]: job for job in hookbox.webhook(id)["jobs"]}
            return all(job["completed_at"] for job in jobs.values()) and jobs

        jobs = harness.eventually("the end of both deliveries", ended)
        genuine, forged = jobs["genuine"], jobs["forged"]
        self.assertEqual((genuine["status"], genuine["result"]["status"]), ("completed", 204), genuine)
        # 401 is final.
        self.assertEqual((forged["status"], forged["attempt_count"]), ("dead_lettered", 1), forged)
        self.assertIn("401", forged["last_error"])

    def test_a_delivery_is_verified_and_a_changed_body_is_refused(self):
        self.check(SECRETS["base64"], as_bytes=False)

    def test_the_same_holds_for_a_secret_that_is_text(self):
        self.check(SECRETS["text"], as_bytes=True)


class PythonSignatures(Signatures, harness.TestCase):
    language, file, interpreter = "python", "target.py", [harness.PYTHON]
    as_bytes = 'os.environ["ORDERS_SECRET"]', 'os.environ["ORDERS_SECRET"].encode()'


class NodeSignatures(Signatures, harness.TestCase):
    language, file, interpreter = "js", "target.mjs", ["node"]
    as_bytes = "process.env.ORDERS_SECRET", 'process.env.ORDERS_SECRET, { format: "raw" }'


class RustSignatures(Signatures, harness.TestCase):
    language, file = "rust", "main.rs"
    as_bytes = "Webhook::new(&secret)?;", "Webhook::from_bytes(secret.into_bytes())?;"
    package = harness.ROOT / "tests" / "clients" / "rust"

    def code(self):
        return super().code() + (self.package / self.file).read_text()

    def command(self, place):
        for file in ["Cargo.toml", "Cargo.lock"]:
            shutil.copy(self.package / file, place)
        # Its dependencies are built once.
        into = harness.INSTALLED / "cargo"
        build = ["cargo", "build", "--quiet", "--locked", "--target-dir", into]
        built = subprocess.run(build, cwd=place, stderr=subprocess.PIPE, text=True)
        self.assertEqual(built.returncode, 0, built.stderr)
        # The next test builds another one in its place.
        return [shutil.copy(into / "debug" / "target", place)]
