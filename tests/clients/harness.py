"""Starts hookbox and other programs, each in a folder of its own, and waits for what they do."""

import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where `run` has installed the packages of requirements.txt and package.json.
INSTALLED = ROOT / "target" / "clients"
PYTHON = INSTALLED / "venv" / "bin" / "python"


def free_port():
    """A port that nothing listens on, below those that systems choose for outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def eventually(what, probe, seconds=60):
    """Returns the first true value of `probe`. Fails after `seconds`; `what` says what was awaited."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = probe()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def listens(port):
    """Whether something accepts connections at a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def folder(test):
    """A folder that is removed after the test, below the packages, so that programs in Node find them."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="test-", dir=INSTALLED))
    test.addCleanup(shutil.rmtree, path, ignore_errors=True)
    return path


class TestCase(unittest.TestCase):
    """A test that prints what its programs have said if it fails."""

    def run(self, result):
        self.outputs = []
        failed = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > failed:
            for name, output in self.outputs:
                print(f"--- output of {name}\n{output[-10_000:]}")


class Program:
    """A running program. It is killed after the test."""

    def __init__(self, test, name, command, cwd, environment):
        self.name = name
        self.log = folder(test) / "log"
        with self.log.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            # As little of the environment as can be, so that no setting or proxy of this machine changes a test.
            environment = {"PATH": os.environ["PATH"]} | environment
            self.process = subprocess.Popen(list(map(str, command)), cwd=cwd, env=environment, **streams)
        test.addCleanup(self._end, test)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds):
        """Sends SIGTERM, and returns the exit code. Fails if the program is still running after `seconds`."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def _end(self, test):
        self.kill()
        test.outputs.append((self.name, self.log.read_text(errors="replace")))


class Answer:
    """The answer to a request."""

    def __init__(self, answer, is_whole=True):
        self.status, self.headers = answer.status, answer.getheaders()
        self.body = answer.read() if is_whole else answer.read1()

    def header(self, name):
        """The value of a header; none if it is not there."""
        return next((value for other, value in self.headers if other.lower() == name.lower()), None)

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body.decode(errors='replace')}"


class Hookbox:
    """hookbox with SQLite and these settings, on ports of its own. With a token, which has every role, requests need
    one."""

    def __init__(self, test, settings, environment=None, token=None):
        self.test = test
        self.folder = folder(test)
        (self.folder / "hookbox.toml").write_text(settings)
        self.http, self.grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.http}"
        addresses = {"HOOKBOX_HTTP_ADDR": self.http, "HOOKBOX_GRPC_ADDR": self.grpc}
        tokens = {"HOOKBOX_ADMIN_TOKEN": token} if token else {}
        self.environment = addresses | tokens | (environment or {})
        self.bearer = {"Authorization": f"Bearer {token}"} if token else {}
        self.program = None  # the last one that was started

    def serve(self):
        """Starts it, and waits until it is ready."""
        command = [os.environ["HOOKBOX_BIN"], "serve"]
        self.program = Program(self.test, "hookbox", command, self.folder, self.environment)
        eventually("hookbox being ready", self._ready)
        return self

    def submit(self, key, payload):
        """Submits a webhook whose payload is this JSON text, again and again until it is accepted. Returns its id."""
        body = f'{{"idempotency_key": "{key}", "event_type": "order.created", "payload": {payload}}}'.encode()
        headers = {"Content-Type": "application/json", **self.bearer}
        request = urllib.request.Request(self.url + "/v1/webhooks", body, headers)
        return eventually(f"webhook {key} being accepted", lambda: self._answer(request))["id"]

    def webhook(self, id):
        """A webhook with its jobs and attempts."""
        return self.get(f"/v1/webhooks/{id}")

    def count(self, status):
        """How many jobs have a status."""
        return self.get("/v1/stats")["counts"][status]

    def get(self, path):
        with urllib.request.urlopen(self._request(path), timeout=10) as answer:
            return json.load(answer)

    def stored(self, source):
        """The webhooks of a source, newest first."""
        return self.get(f"/v1/webhooks?page_size=500&source={source}")["webhooks"]

    def send(self, method, path, headers=(), body=b"", is_whole=True):
        """Sends exactly these headers, pairs of a name and a value, besides `Host` and `Content-Length`. Reads the
        whole answer, or its beginning."""
        connection = http.client.HTTPConnection(self.http, timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body or method == "POST":
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            return Answer(connection.getresponse(), is_whole)
        finally:
            connection.close()

    def run(self, *arguments):
        """Runs a command to its end. Returns its exit code, and what it printed on both streams."""
        command = [os.environ["HOOKBOX_BIN"], *arguments]
        environment = {"PATH": os.environ["PATH"]} | self.environment
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        ended = subprocess.run(command, cwd=self.folder, env=environment, timeout=60, **streams)
        return ended.returncode, ended.stdout.decode(errors="replace")

    def _answer(self, request):
        """The answer; none if hookbox is away. A refusal is an error."""
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            raise AssertionError(f"{request.full_url} answered {error.code}: {error.read().decode()}") from error
        except OSError:
            return None

    def _ready(self):
        if self.program.process.poll() is not None:
            raise AssertionError(f"hookbox ended: {self.program.log.read_text()}")
        return self._answer(self._request("/v1/stats"))

    def _request(self, path):
        return urllib.request.Request(self.url + path, headers=self.bearer)
