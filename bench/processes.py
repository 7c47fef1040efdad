"""The processes that handlers.py, day.py and backup.py start: hookbox, nginx and children; and what they use of the
machine."""

import contextlib, http.client, json, multiprocessing, os, re, resource, shutil, signal, subprocess, sys, tempfile
import time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "127.0.0.1"
# The REST paths of WorkService begin with it.
WORK_SERVICE = "/v1/work"
TICKS = os.sysconf("SC_CLK_TCK")

# Children import the script anew, so that they share no threads and locks with it.
children = multiprocessing.get_context("spawn")


@contextlib.contextmanager
def child(run, *arguments):
    """A process that runs a function until it ends, or the block does."""
    process = children.Process(target=run, args=arguments, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def psql(server, database, sql):
    environment = {**os.environ, "PGOPTIONS": "-csearch_path=hookbox"}
    return subprocess.run(["psql", "-qtA", "-d", f"{server}/{database}", "-c", sql], check=True, env=environment,
                          capture_output=True, text=True).stdout.strip()


def create_database(server, database):
    """Creates a database anew, and returns its URL."""
    drop_database(server, database)
    psql(server, "postgres", f"CREATE DATABASE {database}")
    return f"{server}/{database}?sslmode=disable"


def drop_database(server, database):
    psql(server, "postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def most_open_files():
    """Lets this process and its children open as many files as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def stat(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def cpu(pid):
    """CPU seconds of a process."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def postgres_cpu(database):
    """CPU seconds of the connections of a database, without those that have ended."""
    total = 0.0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as file:
                title = file.read()
            if title.startswith("postgres: ") and f" {database} " in title:
                total += cpu(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def memory(pid):
    """VmRSS and RssAnon in MiB."""
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return [int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def wait_until(what, reached, seconds, pause=0.05):
    """Asks until `reached()` is true. Ends the run after `seconds`."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            sys.exit(f"after {seconds} s: not {what}")
        time.sleep(pause)


class Hookbox:
    """A process of hookbox in a folder of its own. `flags` are those of `serve`, without their dashes."""

    def __init__(self, program, url, settings, port, **flags):
        self.folder, self.port, self.grpc_port = tempfile.mkdtemp(prefix="hookbox-bench-"), port, port + 1
        with open(f"{self.folder}/hookbox.toml", "w") as file:
            file.write(settings)
        flags = {"database-url": url or f"sqlite://{self.folder}/hookbox.db", "http-addr": f"{HOST}:{port}",
                 "grpc-addr": f"{HOST}:{port + 1}", "max-backlog": 100_000_000, "shutdown-grace": "0s", "log": "warn",
                 **{name.replace("_", "-"): value for name, value in flags.items()}}
        self.command = [os.path.abspath(program), "serve"]
        for name, value in flags.items():
            self.command += [f"--{name}", str(value)]
        self.start()

    def start(self):
        with open(f"{self.folder}/log", "a") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, stderr=log, env={"PATH": os.environ["PATH"]})
        self.pid, deadline = self.process.pid, time.monotonic() + 60
        while not self.is_ready():
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.kill()
                sys.exit("hookbox did not start: " + open(f"{self.folder}/log").read())
            time.sleep(0.05)

    def is_ready(self):
        try:
            urllib.request.urlopen(f"http://{HOST}:{self.port}/readyz", timeout=5).close()
            return True
        except OSError:
            return False

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://{HOST}:{self.port}{path}", method=method,
                                         data=json.dumps(body).encode() if body else None,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def metric(self, name, label=""):
        """The sum of a metric over its labels that are not named."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines
                       if line.startswith(name) and label in line))

    def attempts(self, outcome):
        """How many attempts of this process ended like that."""
        return self.metric("hookbox_attempts_total{", f'outcome="{outcome}"')

    def counts(self, route):
        """How many jobs of a route have each status."""
        found = next(found for found in self.ask("GET", "/v1/routes")["routes"] if found["route"] == route)
        return {status: int(count) for status, count in found["counts"].items()}

    def load(self, seconds, connections=64):
        """Sends webhooks with wrk, and returns how many were accepted."""
        output = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", f"{HERE}/load.lua",
                                 f"http://{HOST}:{self.port}"], check=True, capture_output=True, text=True).stdout
        if "Non-2xx" in output or "Socket errors" in output:
            sys.exit(f"webhooks were refused:\n{output}")
        return int(re.search(r"(\d+) requests in", output).group(1))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        finally:
            self.kill()
            shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Nginx:
    """nginx that answers every request at once with an empty 200, and counts them."""

    CONFIGURATION = """
        daemon off;
        master_process off;
        pid nginx.pid;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            keepalive_requests 1000000000;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            uwsgi_temp_path uwsgi;
            scgi_temp_path scgi;
            server {{
                listen {host}:{port} backlog=4096;
                location / {{ return 200; }}
                location = /count {{ stub_status; }}
            }}
        }}
    """

    def __init__(self, port):
        self.port, self.folder, self.asked = port, tempfile.mkdtemp(prefix="hookbox-nginx-"), 0
        with open(f"{self.folder}/nginx.conf", "w") as file:
            file.write(self.CONFIGURATION.format(host=HOST, port=port))
        self.process = subprocess.Popen(["nginx", "-p", self.folder, "-c", "nginx.conf", "-e", "error.log"])
        self.connection = http.client.HTTPConnection(HOST, port, timeout=10)
        wait_until("nginx answers", self.answers, 10)

    def answers(self):
        try:
            self.count()
            return True
        except OSError:
            self.connection.close()
            return False

    def count(self):
        """How many requests it has answered, without those of this method."""
        self.connection.request("GET", "/count")
        answer = self.connection.getresponse().read().decode()
        self.asked += 1
        # Connections accepted and handled, and requests.
        return int(re.search(r"^ *\d+ +\d+ +(\d+)", answer, re.M).group(1)) - self.asked

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder)
